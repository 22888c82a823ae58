"""Documents in the Elastic Common Schema to OCSF. Examples after the schema's reference of categorisation fields, in own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.formats.ecs import FORMAT
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline_tests.ocsf.published import faults

SIGN_IN: dict[str, Any] = {
    "@timestamp": "2025-06-02T12:00:00.123456789Z", "ecs": {"version": "8.17"}, "message": "sign-in of ann", "event": {"category": ["authentication"], "type": ["start"], "action": "user_login", "outcome": "failure", "dataset": "shop.audit", "module": "shop", "duration": 2500000, "reason": "wrong password"},
    "user": {"name": "ann", "id": "u-1"}, "source": {"ip": "203.0.113.9"}, "host": {"name": "web-1"}, "user_agent": {"original": "curl/8"}, "error": {"code": "E7", "message": "no"},
}  # fmt: skip


def hit(n: int, source: Any, **fields: Any) -> dict[str, Any]:
    return {"_index": "logs", "_id": f"d{n}", "_score": None, "_source": source, "sort": [n, n]} | fields


def page(*hits: Any) -> bytes:
    return json.dumps(
        {"pit_id": "p", "took": 1, "timed_out": False, "hits": {"max_score": None, "hits": hits}}
    ).encode()


def rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parsed.lines]


def row(document: Any) -> dict[str, Any]:
    (found,) = rows(parse("ecs", page(hit(1, document)), mode="flat"))
    return found


def test_columns() -> None:
    want = {
        "time": "2025-06-02T12:00:00.123456Z", "class_uid": 3002, "activity_id": 1, "type_uid": 300201, "status_id": 2, "status_code": "E7", "status_detail": "wrong password", "message": "sign-in of ann", "duration": 2,
        "metadata_uid": "d1", "metadata_log_name": "shop.audit", "metadata_product_name": "shop", "actor_user_name": "ann", "actor_user_uid": "u-1", "user_name": "ann", "src_endpoint_ip": "203.0.113.9", "device_hostname": "web-1",
        "http_request_user_agent": "curl/8", "api_operation": "user_login", "x_actor": "ann", "x_format": "ecs/1",
    }  # fmt: skip
    found = row(SIGN_IN)
    assert {name: found[name] for name in want} == want


CLASSES: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({"category": ["authentication"], "type": ["end"]}, {}, 300202),
    ({"category": "authentication", "type": "info", "action": "Signed in"}, {}, 300299),
    ({"category": "authentication", "type": "info", "action": "sign-in"}, {}, 300201),
    ({"category": ["iam"], "type": ["user", "creation"]}, {"user": {"name": "ann", "target": {"name": "bob"}}}, 300101),
    ({"category": ["iam"], "type": ["user", "deletion"]}, {"user": {"target": {"name": "bob"}}}, 300106),
    ({"category": ["iam"], "type": ["group", "creation"]}, {"group": {"name": "ops"}}, 300606),
    ({"category": ["iam"], "type": ["group", "change"]}, {"group": {"id": "7"}}, 300699),
    ({"category": ["api"], "type": ["access"]}, {}, 600302),
    ({"category": ["api"], "type": ["deletion"]}, {}, 600304),
    ({"category": ["process"], "type": ["start"]}, {}, 99),
    ({"category": None}, {}, 99),
    ({}, {}, 99),
]


@pytest.mark.parametrize("at", range(len(CLASSES)))
def test_categories_become_classes_that_are_valid_ocsf(at: int) -> None:
    event, fields, want = CLASSES[at]
    document = {"@timestamp": "2025-06-02T12:00:00Z", "event": event} | fields
    assert row(document)["type_uid"] == want
    (line,) = parse("ecs", page(hit(1, document))).lines
    assert faults(json.loads(line)) == []


def test_who_was_acted_on() -> None:
    found = row(SIGN_IN | {"event": {"category": ["iam"], "type": ["user", "change"], "outcome": "success"}, "user": {"name": "ann", "target": {"name": "bob", "id": "9"}}})  # fmt: skip
    assert [found[name] for name in ("actor_user_name", "user_name", "user_uid", "status_id")] == ["ann", "bob", "9", 1]


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("2025-06-02T12:00:00.5+02:00", "2025-06-02T10:00:00.500000Z"),
        ("2025-06-02T12:00:00", "2025-06-02T12:00:00Z"),
        (1748865600123, "2025-06-02T12:00:00.123000Z"),
        ("1748865600123", "2025-06-02T12:00:00.123000Z"),
    ],
)
def test_dates_as_the_store_reads_them(stamp: Any, time: str) -> None:
    assert row(SIGN_IN | {"@timestamp": stamp})["time"] == time


def test_a_page_a_line_a_hit_and_a_document_give_the_same_events() -> None:
    bare = SIGN_IN | {"event": SIGN_IN["event"] | {"id": "e-1"}}
    pages = rows(parse("ecs", page(hit(1, bare), hit(2, bare)), mode="flat"))
    lines = rows(parse("ecs", b"\n".join(json.dumps(hit(n, bare)).encode() for n in (1, 2)), mode="flat"))
    alone = rows(parse("ecs", json.dumps(bare).encode(), mode="flat"))
    assert [r["metadata_uid"] for r in pages] == [r["metadata_uid"] for r in lines] == ["d1", "d2"]
    assert (alone[0]["metadata_uid"], alone[0]["user_name"]) == ("e-1", "ann")


def test_a_document_read_twice_is_the_same_record_twice_whatever_the_search_adds() -> None:
    parsed = parse("ecs", page(hit(1, SIGN_IN, sort=["a", 5]), hit(1, SIGN_IN, sort=["a", 77])), mode="flat")
    assert (parsed.summary["events"], parsed.summary["duplicates"]) == (1, 1)
    assert '"sort"' not in rows(parsed)[0]["raw_data"]


def test_the_newest_version_of_a_document_stands_for_it() -> None:
    old, new = hit(1, SIGN_IN, _version=1), hit(1, SIGN_IN | {"message": "changed"}, _version=2)
    parsed = parse("ecs", page(new, old), mode="flat")
    (found,) = rows(parsed)
    assert (found["message"], found["x_records"]) == ("changed", 2)


@pytest.mark.parametrize(
    ("document", "reason"),
    [({"message": "no time"}, "no_time"), ({"@timestamp": "soon"}, "no_time"), ({"@timestamp": str(2**70)}, "no_time"), ({"@timestamp": 2**70}, "no_time"), ("text", "not_an_object"), ({"@timestamp": "1999-01-01T00:00:00Z"}, "bad_time")],
)  # fmt: skip
def test_what_is_no_event_is_a_reject(document: Any, reason: str) -> None:
    parsed = parse("ecs", page(hit(1, document), hit(2, SIGN_IN)), mode="flat")
    assert [reject.reason for reject in parsed.rejects] == [reason]
    assert parsed.summary == {"records": 2, "events": 1, "rejects": 1, "duplicates": 0}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["event", "category", "user", "name", "_source", "@timestamp", "source", "x"]), inner, max_size=4), max_leaves=12))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_whatever_a_document_holds_it_is_an_event_or_a_reject(value: Any) -> None:
    document = {"@timestamp": "2025-06-02T12:00:00Z", "event": value, "user": value, "source": value}
    parsed = parse("ecs", page(hit(1, document), hit(2, value)))
    events = [json.loads(line) for line in parsed.lines]
    assert len(events) + len(parsed.rejects) == 2
    assert [fault for event in events for fault in faults(event)] == []


@pytest.mark.parametrize(("head", "framing"), [(page(), "document"), (b'{"@timestamp":1}\n', "lines"), (b"", "document"), (b'[{"a":1},\n', "document")])  # fmt: skip
def test_framing(head: bytes, framing: str) -> None:
    assert FORMAT.framing(head) == framing


def test_a_document_with_a_lone_surrogate_costs_its_page_nothing() -> None:
    parsed = parse("ecs", page(hit(1, SIGN_IN | {"message": "\ud800"}), hit(2, SIGN_IN), hit(3, SIGN_IN)), mode="flat")
    assert parsed.summary == {"records": 3, "events": 3, "rejects": 0, "duplicates": 0}
    assert [found["metadata_uid"] for found in rows(parsed)] == ["d1", "d2", "d3"]
