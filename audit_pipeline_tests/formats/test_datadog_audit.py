"""Datadog's audit and log events to OCSF. Examples after the recorded answers and the list of audit events, in own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.formats import cloudtrail
from audit_pipeline.formats.datadog_audit import ENVELOPE, FORMAT
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline.formats.routed import Routed
from audit_pipeline_tests.ocsf.published import faults

REQUEST: dict[str, Any] = {
    "status": "info", "http": {"status_code": "200", "url_details": {"path": "/api/v1/monitor", "host": "us1.example"}, "method": "GET", "useragent": "curl/8"},
    "network": {"bytes_read": 0, "client": {"ip": "203.0.113.9"}, "bytes_written": 104}, "timestamp": "2025-06-02T12:00:00.123456", "usr": {"email": "ann@example.com", "id": "ann@example.com", "uuid": "u-1"},
    "action": "accessed", "org": {"uuid": "o-1"}, "evt": {"name": "Request", "actor": {"type": "USER"}}, "auth_method": "SESSION",
}  # fmt: skip
STAMP = "2025-06-02T12:00:00.123Z"


def audit(attributes: Any, n: int | str = 1, **fields: Any) -> dict[str, Any]:
    return {"id": f"A{n}", "type": "audit", "attributes": {"attributes": attributes, "message": "GET request made", "tags": ["source:audit"], "timestamp": STAMP} | fields}  # fmt: skip


def log(n: int = 1, **fields: Any) -> dict[str, Any]:
    usual = {
        "service": "shop",
        "host": "web-1",
        "status": "error",
        "message": "line",
        "tags": ["source:nginx", "env:prod"],
        "timestamp": STAMP,
    }
    return {"id": f"L{n}", "type": "log", "attributes": usual | fields}


def page(*events: Any) -> bytes:
    return json.dumps(
        {"meta": {"status": "done", "page": {"after": "x"}}, "data": events, "links": {"next": "y"}}
    ).encode()


def rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parsed.lines]


def row(event: Any) -> dict[str, Any]:
    (found,) = rows(parse("datadog_audit", page(event), mode="flat"))
    return found


def test_columns_of_a_request() -> None:
    want = {
        "time": "2025-06-02T12:00:00.123000Z", "class_uid": 6003, "type_uid": 600302, "status_id": 1, "message": "GET request made", "metadata_uid": "A1", "metadata_event_code": "Request",
        "metadata_log_name": "audit", "actor_user_name": "ann@example.com", "actor_user_uid": "u-1", "src_endpoint_ip": "203.0.113.9", "http_request_user_agent": "curl/8", "http_response_code": 200,
        "api_operation": "Request.accessed", "resource_name": "/api/v1/monitor", "cloud_account_uid": "o-1", "x_actor": "ann@example.com", "x_actor_kind": "human", "x_format": "datadog_audit/1",
    }  # fmt: skip
    found = row(audit(REQUEST))
    assert {name: found[name] for name in want} == want


CLASSES: list[tuple[dict[str, Any], int]] = [
    ({"evt": {"name": "Authentication"}, "action": "login"}, 300201),
    ({"evt": {"name": "Authentication"}, "action": "logout"}, 300202),
    ({"evt": {"name": "Authentication"}, "action": "created", "asset": {"type": "api_key"}}, 600301),
    ({"evt": {"name": "Authentication"}, "action": "deleted", "asset": {"type": "application_key"}}, 300199),
    ({"evt": {"name": "Authentication"}, "action": "listed", "asset": {"type": "application_key"}}, 600302),
    ({"evt": {"name": "Access Management"}, "action": "created", "asset": {"type": "user", "name": "bob"}}, 300101),
    ({"evt": {"name": "Access Management"}, "action": "modified", "asset": {"type": "user", "name": "bob"}}, 300199),
    ({"evt": {"name": "Access Management"}, "action": "deleted", "asset": {"type": "user", "id": "7"}}, 300106),
    ({"evt": {"name": "Access Management"}, "action": "modified", "asset": {"type": "password"}}, 300103),
    ({"evt": {"name": "Access Management"}, "action": "modified", "asset": {"type": "role", "name": "ops"}}, 300699),
    ({"evt": {"name": "Access Management"}, "action": "created", "asset": {"type": "role", "name": "ops"}}, 300606),
    ({"evt": {"name": "Access Management"}, "action": "deleted", "asset": {"type": "role", "id": "9"}}, 300605),
    ({"evt": {"name": "Access Management"}, "action": "modified", "asset": {"type": "role"}}, 600303),
    ({"evt": {"name": "Access Management"}, "action": "modified", "asset": {"type": "restriction_policy"}}, 600303),
    ({"evt": {"name": "Log Management"}, "action": "modified", "asset": {"type": "exclusion filter"}}, 600303),
    ({"evt": {"name": "Monitor"}, "action": "resolved", "asset": {"type": "monitor"}}, 600399),
    ({"evt": {"name": "Dashboard"}, "action": "deleted", "asset": {"type": "dashboard"}}, 600304),
    ({"evt": "no object", "action": {"no": "text"}}, 600399),
    ({}, 600399),
]


def test_events_become_classes_that_are_valid_ocsf() -> None:
    who = {"usr": {"email": "ann@example.com", "uuid": "u-1"}}
    data = page(*(audit(attributes | who, n) for n, (attributes, _) in enumerate(CLASSES)))
    lines = [json.loads(line) for line in parse("datadog_audit", data).lines]
    assert [(n, line["type_uid"]) for n, line in enumerate(lines)] == [(n, want) for n, (_, want) in enumerate(CLASSES)]
    assert [faults(line) for line in lines] == [[]] * len(CLASSES)


def test_a_log_is_a_base_event_with_what_it_says() -> None:
    found = row(log(attributes={"usr": {"name": "ann"}, "network": {"client": {"ip": "203.0.113.9"}}, "http": {"status_code": 500}}))  # fmt: skip
    want = {"type_uid": 99, "status_id": 0, "message": "line", "device_hostname": "web-1", "metadata_log_name": "shop", "severity_id": 3, "actor_user_name": "ann", "src_endpoint_ip": "203.0.113.9", "http_response_code": 500}  # fmt: skip
    assert {name: found[name] for name in want} == want
    (line,) = parse("datadog_audit", page(log())).lines
    assert faults(json.loads(line)) == []


ENDS: list[tuple[dict[str, Any], int]] = [
    ({"http": {"status_code": "403"}}, 2), ({"http": {"status_code": 201}}, 1), ({"status": "error"}, 2), ({"status": "info"}, 1), ({"status": "warn"}, 0), ({}, 0),
    ({"status": "info", "evt": {"outcome": "failure"}}, 2), ({"status": "error", "evt": {"outcome": "success"}}, 1), ({"http": {"status_code": "x"}}, 0),
]  # fmt: skip


def test_how_it_ended() -> None:
    data = page(*(audit(attributes, n) for n, (attributes, _) in enumerate(ENDS)))
    assert [one["status_id"] for one in rows(parse("datadog_audit", data, mode="flat"))] == [want for _, want in ENDS]


ACTORS: list[tuple[dict[str, Any], str]] = [
    ({"evt": {"actor": {"type": "USER"}}, "auth_method": "SESSION"}, "human"), ({"evt": {"actor": {"type": "SUPPORT_USER"}}}, "human"),
    ({"evt": {"actor": {"type": "USER"}}, "auth_method": "API_AND_APP_KEY"}, "unknown"), ({"evt": {"actor": {"type": "SERVICE_ACCOUNT"}}}, "service"), ({}, "unknown"),
]  # fmt: skip


def test_who_is_a_person() -> None:
    data = page(*(audit(attributes, n) for n, (attributes, _) in enumerate(ACTORS)))
    assert [one["x_actor_kind"] for one in rows(parse("datadog_audit", data, mode="flat"))] == [
        want for _, want in ACTORS
    ]


def test_who_was_acted_on() -> None:
    ann = {"usr": {"email": "ann@example.com", "uuid": "u-1"}}
    login = row(audit({"action": "login"} | ann))
    assert (login["user_name"], login["user_uid"]) == ("ann@example.com", "u-1")
    changed = row(
        audit({"action": "modified", "asset": {"type": "user", "id": "u-2", "name": "bob@example.com"}} | ann)
    )
    assert (changed["actor_user_name"], changed["user_name"], changed["user_uid"]) == (
        "ann@example.com",
        "bob@example.com",
        "u-2",
    )
    role = row(audit({"action": "modified", "asset": {"type": "role", "id": "r-1", "name": "ops"}} | ann))
    assert (role["group_name"], role["group_uid"], role.get("user_name")) == ("ops", "r-1", None)


def test_an_event_is_known_by_type_and_id() -> None:
    events = [audit(REQUEST, 1), audit(REQUEST, 1), audit(REQUEST, 2), {**log(), "id": "A1"}, log(2) | {"id": ""}]
    keys = FORMAT.keys([json.dumps(one).encode() for one in events])
    assert len(set(keys.key)) == 4
    assert keys.reason == [None] * 5


@pytest.mark.parametrize(
    ("event", "reason"),
    [(audit(REQUEST, timestamp="soon"), "no_time"), (audit(REQUEST, timestamp=None), "no_time"), ({"id": "A1", "type": "audit", "attributes": 3}, "no_time"), (audit(REQUEST, timestamp="1969-01-01T00:00:00Z"), "bad_time"), ([], "not_an_object")],
)  # fmt: skip
def test_what_is_no_event_is_a_reject(event: Any, reason: str) -> None:
    parsed = parse("datadog_audit", page(log(2), event))
    assert (len(list(parsed.lines)), [reject.reason for reject in parsed.rejects]) == (1, [reason])


def test_pages_arrays_lines_and_single_events_are_read() -> None:
    events = [audit(REQUEST, 1), log(2)]
    wrapped = [
        page(*events),
        json.dumps(events).encode(),
        b"\n".join(json.dumps(one).encode() for one in events),
        b"".join(map(page, events)),
    ]
    for data in wrapped:
        assert [one["metadata"]["uid"] for one in rows(parse("datadog_audit", data))] == ["A1", "L2"]
    assert FORMAT.framing(wrapped[0]) == "document"
    assert FORMAT.framing(wrapped[2]) == "lines"


def test_an_empty_page_is_no_damage() -> None:
    parsed = parse("datadog_audit", b'{"data":[]}')
    assert (list(parsed.lines), parsed.rejects) == ([], [])


def test_a_page_that_was_cut_keeps_what_is_whole() -> None:
    data = page(audit(REQUEST, 1), log(2), log(3))
    parsed = parse("datadog_audit", data[: data.index(b'"L3"') + 40])
    assert "L2" in [one["metadata"]["uid"] for one in rows(parsed)]
    assert parsed.rejects


def test_events_that_mention_data_are_all_read() -> None:
    parsed = parse("datadog_audit", page(log(1, attributes={"data": [1, 2]}), log(2, message='"data"')))
    assert len(list(parsed.lines)) == 2


def test_a_log_carries_another_systems_record() -> None:
    plain = log(message="sshd[1]: Accepted", tags=["source:sshd", "env:prod", "nonsense", 7])
    assert dict(ENVELOPE.facts(plain)) == {"service": "shop", "host": "web-1", "source": "sshd", "env": "prod"}
    assert ENVELOPE.payload(plain) == b"sshd[1]: Accepted"
    taken_apart = log(message="", attributes={"eventID": "e", "n": 1})
    assert json.loads(ENVELOPE.payload(taken_apart) or b"") == {"eventID": "e", "n": 1}
    assert ENVELOPE.payload(log(message=None)) is None
    assert ENVELOPE.payload(audit(REQUEST)) is None
    assert ENVELOPE.facts({"attributes": 3}) == {}


def test_a_trail_that_lies_in_datadog_is_read_as_a_trail() -> None:
    """By the integration that Datadog names; taken apart by Datadog or as it was sent, the event is one by its own id."""
    inner = {"eventVersion": "1.08", "eventID": "e-1", "eventTime": "2025-06-02T12:00:00Z", "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "awsRegion": "eu-central-1"}  # fmt: skip
    sent = log(1, message=json.dumps(inner), tags=["source:cloudtrail"])
    taken_apart = log(2, message=None, attributes=inner | {"ddsource": "cloudtrail"}, tags=[])
    routed = Routed(FORMAT, ENVELOPE, [({"source": ["cloudtrail"]}, cloudtrail.FORMAT)], named=True)
    keys = routed.keys([json.dumps(one).encode() for one in (sent, taken_apart, log(3))])
    assert keys.key[0] == keys.key[1] != keys.key[2]
    assert keys.reason == [None] * 3


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usr", "evt", "name", "action", "asset", "type", "id", "http", "status_code", "x"]), inner, max_size=4), max_leaves=12)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.lists(_JSON, min_size=3, max_size=12))
def test_whatever_an_event_holds_it_is_an_event_or_a_reject(found: list[Any]) -> None:
    events = [audit(one, n) if n % 2 else log(n, attributes=one, service=one) for n, one in enumerate(found)]
    parsed = parse("datadog_audit", page(*events))
    lines = list(parsed.lines)
    assert len(lines) + len(parsed.rejects) == len(events)
    for line in lines:
        assert faults(json.loads(line)) == []
