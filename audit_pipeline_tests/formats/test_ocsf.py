"""Events that are OCSF already; what we export comes back as the same columns. Real examples: github.com/ocsf/examples."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline_tests.formats.test_ecs import SIGN_IN, hit, page
from audit_pipeline_tests.formats.test_routed import LINE, k8s
from audit_pipeline_tests.ocsf.published import faults
from audit_pipeline_tests.sources.world import NOON
from audit_pipeline_tests.support import trail

SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
OURS = ("x_format", "raw_data", "x_line", "x_records", "x_duplicates")
"""Columns that tell of the reading, not of the event."""


def rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parsed.lines]


def flat(data: bytes | str, name: str = "ocsf", **options: Any) -> list[dict[str, Any]]:
    return rows(parse(name, data.encode() if isinstance(data, str) else data, mode="flat", **options))


def there_and_back(name: str, data: bytes, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The columns of a log, and those of its OCSF export: times in milliseconds and nothing for an empty text, as OCSF has them."""
    nested = list(parse(name, data, mode="nested", **options).lines)
    found = []
    for some in (flat(data, name, **options), flat("\n".join(nested))):
        kept = [{key: None if value == "" else value for key, value in row.items() if key not in OURS} for row in some]
        found.append([row | {"time": str(row["time"]).rstrip("Z")[:23]} for row in kept])
    return found[0], found[1]


LINUX = f"""{LINE}
Jun  2 12:00:02 web-1 sudo:  ann : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls
Jun  2 12:00:03 web-1 syslogd 1.4.1: restart.
Jun  2 12:00:04 web-1 useradd[3]: new user: name=eve, UID=0
Jun  2 12:00:05 web-1 sshd[9]: Accepted publickey for ann from 2001:db8::1 port 1 ssh2
"""
SAMPLES: list[tuple[str, bytes]] = [
    ("cloudtrail", json.dumps({"Records": [trail.record("1", NOON), trail.refused("2", NOON), trail.record("3", NOON, eventName="CreateUser", eventSource="iam.amazonaws.com", requestParameters={"userName": "bob"}), trail.record("4", NOON, resources=[{"ARN": "arn:aws:s3:::b", "type": "AWS::S3::Bucket"}])]}).encode()),
    ("kubernetes_audit", b"\n".join(json.dumps(k8s(n, verb=verb, impersonatedUser={"username": "bob"})).encode() for n, verb in enumerate(["get", "create", "delete", "nonsense"]))),
    ("linux_auth", LINUX.encode()),
    ("ecs", page(hit(1, SIGN_IN), hit(2, SIGN_IN | {"event": {"category": ["iam"], "type": ["group", "creation"]}, "group": {"name": "ops"}}), hit(3, {"@timestamp": "2025-06-02T12:00:00Z", "event": {"action": "x"}, "user": {"name": "ann"}}))),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(SAMPLES)), ids=[name for name, _ in SAMPLES])
def test_what_is_exported_comes_back_as_the_same_columns(at: int) -> None:
    name, data = SAMPLES[at]
    before, after = there_and_back(name, data, **({"year": 2025} if name == "linux_auth" else {}))
    assert len(before) >= 3
    assert after == before


WORDS = st.text(max_size=12).filter(lambda text: text != "unknown") | st.sampled_from(["ann", "é", "\x00", "\ud800", "<b>", "'", '"'])  # fmt: skip


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.tuples(WORDS, WORDS, st.sampled_from(["IAMUser", "Root", "AWSService", "AssumedRole"]), st.booleans()), min_size=30, max_size=60))  # fmt: skip
def test_whatever_a_record_says_comes_back(said: list[tuple[str, str, str, bool]]) -> None:
    records = [
        trail.record(f"{n}", NOON, user=user, userAgent=agent, readOnly=read_only, errorMessage=agent or None)
        | {"userIdentity": {"type": kind, "userName": user, "invokedBy": agent}}
        for n, (user, agent, kind, read_only) in enumerate(said)
    ]
    before, after = there_and_back("cloudtrail", json.dumps({"Records": records}).encode())
    assert after == before


@pytest.mark.slow
def test_real_logs_come_back(request: pytest.FixtureRequest) -> None:
    if not SHARED.is_dir():
        pytest.skip("shared data is absent")
    files = sorted((SHARED / "cloudtrail_sans504").rglob("*.json.gz"))[::60]
    records = [record for file in files for record in json.loads(gzip.decompress(file.read_bytes()))["Records"]]
    logs = [("cloudtrail", json.dumps({"Records": records}).encode()), ("kubernetes_audit", (SHARED / "k8s_audit2rbac" / "demo.log").read_bytes())]  # fmt: skip
    for name, data in logs:
        before, after = there_and_back(name, data)
        assert len(before) > 30, request.node.name
        assert after == before


@pytest.mark.slow
def test_the_ocsf_project_s_own_examples_are_events() -> None:
    files = sorted((SHARED / "pairs_ocsf").rglob("*.ocsf"))
    if not files:
        pytest.skip("shared data is absent")
    text = "\n".join(file.read_text() for file in files)
    events: list[dict[str, Any]] = []
    at = 0
    while at < len(text):
        event, end = json.JSONDecoder().raw_decode(text, at)
        events.append(event)
        at = end + len(text[end:]) - len(text[end:].lstrip())
    parsed = parse("ocsf", text.encode(), mode="flat")
    found = {
        (row["class_uid"], row["type_uid"], row["message"], row["user_name"], row["src_endpoint_ip"])
        for row in rows(parsed)
    }
    assert parsed.rejects == []
    assert parsed.summary["records"] == len(events) > 30
    assert found == {
        (event["class_uid"], event.get("type_uid", event["class_uid"] * 100 + event.get("activity_id", 0)), event.get("message"), event.get("user", {}).get("name"), event.get("src_endpoint", {}).get("ip"))
        for event in events
    }  # fmt: skip


FOREIGN: dict[str, Any] = {
    "class_uid": 3002, "category_uid": 3, "activity_id": 1, "type_uid": 300201, "time": 1748865600123, "severity_id": 1, "status_id": 2, "status_detail": "bad password", "message": "sign-in",
    "metadata": {"version": "1.3.0", "uid": "u-1", "product": {"name": "Sign", "vendor_name": "Example"}, "log_name": "audit"}, "actor": {"user": {"name": "unknown", "email_addr": "ann@example.com", "type_id": 4}},
    "user": {"name": "bob", "uid": "7"}, "src_endpoint": {"ip": "203.0.113.9", "name": "laptop"}, "service": {"name": "sso"}, "is_mfa": True, "unmapped": {"user": {"type": "x"}},
}  # fmt: skip


def test_an_event_of_another_producer() -> None:
    (found,) = flat(json.dumps(FOREIGN))
    want = {
        "time": "2025-06-02T12:00:00.123000Z", "class_uid": 3002, "type_uid": 300201, "status_id": 2, "status_detail": "bad password", "metadata_uid": "u-1", "metadata_product_name": "Sign",
        "metadata_product_vendor_name": "Example", "actor_user_name": "ann@example.com", "user_name": "bob", "user_uid": "7", "user_type": None, "src_endpoint_ip": "203.0.113.9", "src_endpoint_hostname": "laptop",
        "api_service_name": "sso", "is_mfa": True, "x_actor": "bob", "x_actor_kind": "service", "x_format": "ocsf/1",
    }  # fmt: skip
    assert {name: found[name] for name in want} == want
    (line,) = parse("ocsf", json.dumps(FOREIGN).encode()).lines
    assert faults(json.loads(line)) == []


@pytest.mark.parametrize(
    ("fields", "time"),
    [({"time": 1748865600}, "2025-06-02T12:00:00Z"), ({"time": "2025-06-02T14:00:00+02:00"}, "2025-06-02T12:00:00Z"), ({"time": "1748865600123"}, "2025-06-02T12:00:00.123000Z"), ({"time": None, "time_dt": "2025-06-02T12:00:00.5Z"}, "2025-06-02T12:00:00.500000Z")],
)  # fmt: skip
def test_times_as_producers_write_them(fields: dict[str, Any], time: str) -> None:
    assert flat(json.dumps(FOREIGN | fields))[0]["time"] == time


@pytest.mark.parametrize(
    ("fields", "want"),
    [({"class_uid": 201004, "type_uid": 20100403}, (201004, 20100403)), ({"type_uid": None}, (3002, 300201)), ({"class_uid": None}, (3002, 300201)), ({"activity_id": None, "type_uid": None}, (3002, 300200)), ({"class_uid": 2**40}, (3002, 300201))],
)  # fmt: skip
def test_a_class_that_is_not_known_stays(fields: dict[str, Any], want: tuple[int, int]) -> None:
    (found,) = flat(json.dumps(FOREIGN | fields))
    assert (found["class_uid"], found["type_uid"]) == want


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ({"class_uid": None, "type_uid": None}, "not_a_record"), ({"class_uid": "3002", "type_uid": True}, "not_a_record"), ({"time": None}, "no_time"), ({"time": "soon"}, "no_time"),
        ({"time": 2**70}, "no_time"), ({"time": -5}, "bad_time"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_a_reject(text: dict[str, Any], reason: str) -> None:
    parsed = parse("ocsf", f"{json.dumps(FOREIGN)}\n{json.dumps(FOREIGN | text)}\n".encode())
    assert [reject.reason for reject in parsed.rejects] == [reason]
    assert parsed.summary["records"] == parsed.summary["events"] + 1 == 2


def test_ids_are_unique_within_class_and_product_and_events_without_one_within_their_text() -> None:
    other = FOREIGN | {"metadata": FOREIGN["metadata"] | {"product": {"name": "Other"}}}
    bare = FOREIGN | {"metadata": {"version": "1.0.0"}}
    parsed = parse("ocsf", json.dumps([FOREIGN, FOREIGN, other, FOREIGN | {"class_uid": 3001}, bare, bare]).encode())
    assert parsed.summary == {"records": 6, "events": 5, "rejects": 0, "duplicates": 1}


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["user", "name", "uid", "unmapped", "actor", "class_uid", "resources", "metadata", "product", "time"]), inner, max_size=4), max_leaves=8), min_size=20, max_size=60))  # fmt: skip
def test_whatever_stands_where_it_is_an_event_or_a_reject(values: list[Any]) -> None:
    fields = [value if isinstance(value, dict) else {"user": value} for value in values]
    text = "\n".join(
        json.dumps({"time": 1748865600123, "class_uid": 3002, "n": n} | one) for n, one in enumerate(fields)
    )
    parsed = parse("ocsf", text.encode())
    assert len(list(parsed.lines)) == parsed.summary["events"]
    assert parsed.summary["events"] + parsed.summary["rejects"] == len(values)
