"""hoop.dev's sessions and admin acts to OCSF. Examples after the gateway's OpenAPI document, in own words."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.formats.hoop import FORMAT, is_final, version_of
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline_tests.ocsf.published import faults

REVIEW: dict[str, Any] = {
    "id": "r-1", "type": "onetime", "access_duration": 1_800_000_000_000, "status": "EXECUTED", "revoke_at": None, "created_at": "2025-06-02T12:00:00.2Z", "min_approvals": 1, "access_request_rule_name": "prod", "force_approval_groups": ["admin"],
    "review_groups_data": [{"id": "g-1", "group": "dba", "status": "APPROVED", "reviewed_by": {"id": "u-2", "name": "Bob", "email": "bob@example.com", "slack_id": ""}, "review_date": "2025-06-02T12:00:40Z", "forced_review": False}],
}  # fmt: skip
SESSION: dict[str, Any] = {
    "id": "s-1", "org_id": "o-1", "script": {"data": ""}, "script_size": 12, "labels": None, "metadata": {}, "metrics": {"event_size": 356}, "user": "ann@example.com", "user_id": "u-1", "user_name": "Ann",
    "type": "database", "connection_subtype": "postgres", "connection": "orders-prod", "connection_tags": {"env": "prod"}, "review": REVIEW, "verb": "exec", "status": "done", "exit_code": 0, "event_size": 356,
    "start_date": "2025-06-02T12:00:00.123456Z", "end_date": "2025-06-02T12:02:00.223456Z", "ai_analysis": None, "guardrails_info": None, "identity_type": "user",
}  # fmt: skip
HIT = {"rule_name": "no drop", "rule": {"type": "deny_words_list", "words": ["DROP"]}, "direction": "input", "matched_words": ["DROP"], "message": "not here"}  # fmt: skip
ACT: dict[str, Any] = {
    "id": "a-1", "org_id": "o-1", "actor_subject": "u-9", "actor_email": "root@example.com", "actor_name": "Root", "created_at": "2025-06-02T13:00:00.5Z", "resource_type": "guardrails", "action": "delete", "http_method": "DELETE", "http_status": 204,
    "http_path": "/api/guardrails/7", "client_ip": "203.0.113.9", "request_payload_redacted": {"name": "no drop"}, "outcome": True, "error_message": "",
}  # fmt: skip


def page(*records: Any) -> bytes:
    return json.dumps(
        {"data": records, "total": len(records), "total_is_capped": False, "has_next_page": False}
    ).encode()


def rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parsed.lines]


def row(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (found,) = rows(parse("hoop", page(record | changes), mode="flat"))
    return found


def reviewed(**group: Any) -> dict[str, Any]:
    """The review with a group that decided otherwise."""
    found = copy.deepcopy(REVIEW)
    found["review_groups_data"][0] |= group
    return found


def test_a_session_is_an_act_on_its_connection() -> None:
    want = {
        "time": "2025-06-02T12:00:00.123456Z", "type_uid": 600399, "status_id": 1, "status_code": None, "status_detail": "review EXECUTED; approved by bob@example.com", "duration": 120100, "message": "exec orders-prod done",
        "metadata_uid": "s-1", "metadata_event_code": "session", "metadata_product_name": "hoop.dev", "metadata_log_name": "sessions", "actor_user_name": "ann@example.com", "actor_user_uid": "u-1", "user_name": None,
        "api_operation": "exec", "api_service_name": "hoop.dev", "resource_type": "database/postgres", "resource_name": "orders-prod", "x_actor": "ann@example.com", "x_actor_kind": "human", "x_format": "hoop/1",
    }  # fmt: skip
    found = row(SESSION)
    assert {name: found[name] for name in want} == want


CODES: list[tuple[dict[str, Any], str, int]] = [
    ({"review": None}, "session unreviewed", 1),
    ({"review": reviewed(forced_review=True)}, "session forced_review", 1),
    ({"review": reviewed(reviewed_by={"id": "u-1", "email": ""})}, "session self_approved", 1),
    ({"review": reviewed(reviewed_by={"id": "x", "email": "Ann@Example.com"})}, "session self_approved", 1),
    ({"review": reviewed(status="REJECTED") | {"status": "REJECTED"}}, "session rejected", 2),
    ({"review": REVIEW | {"status": "REVOKED"}}, "session revoked", 2),
    ({"review": reviewed(status="PENDING", reviewed_by=None) | {"status": "PENDING"}, "status": "open"}, "session", 0),
    ({"guardrails_info": [HIT], "exit_code": 1}, "session guardrail", 2),
    ({"exit_code": -100}, "session", 1),
    ({"user": "", "user_id": "", "review": reviewed(reviewed_by={"id": "", "email": ""})}, "session", 1),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(CODES)))
def test_what_is_remarkable_about_a_session_is_in_its_code(at: int) -> None:
    changes, code, status = CODES[at]
    found = row(SESSION, **changes)
    assert (found["metadata_event_code"], found["status_id"]) == (code, status)


def test_who_forced_it_and_which_guardrail_was_hit_is_said() -> None:
    found = row(SESSION, review=reviewed(forced_review=True), guardrails_info=[HIT], ai_analysis={"risk_level": "high"})
    said = "review EXECUTED; approved by bob@example.com; forced by bob@example.com; guardrail no drop; risk high"
    assert (found["status_detail"], found["finding_info_title"]) == (said, "no drop")


ACTS: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
    ({}, 600304, {"resource_name": "no drop", "src_endpoint_ip": "203.0.113.9", "http_response_code": 204, "api_operation": "delete", "resource_type": "guardrails", "metadata_event_code": "admin"}),
    ({"resource_type": "users", "action": "create", "request_payload_redacted": {"email": "eve@example.com"}}, 300101, {"user_name": "eve@example.com"}),
    ({"resource_type": "users", "action": "delete", "http_path": "/api/users/u-7", "request_payload_redacted": None}, 300106, {"user_name": "u-7"}),
    ({"resource_type": "users", "action": "update", "http_path": "/api/users", "request_payload_redacted": {}}, 600303, {"user_name": None}),
    ({"resource_type": "user_groups", "action": "create", "request_payload_redacted": {"name": "dba"}}, 300606, {"group_name": "dba"}),
    ({"resource_type": "api_keys", "action": "revoke"}, 600399, {"api_operation": "revoke"}),
    ({"outcome": False, "http_status": 403, "error_message": "no"}, 600304, {"status_id": 2, "status_code": "403", "status_detail": "no"}),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(ACTS)))
def test_admin_acts(at: int) -> None:
    changes, kind, want = ACTS[at]
    found = row(ACT, **changes)
    assert (found["type_uid"], {name: found[name] for name in want}) == (kind, want)
    assert (found["time"], found["actor_user_name"]) == ("2025-06-02T13:00:00.500000Z", "root@example.com")


@pytest.mark.parametrize("at", range(len(CODES) + len(ACTS)))
def test_each_is_valid_ocsf(at: int) -> None:
    record = SESSION | CODES[at][0] if at < len(CODES) else ACT | ACTS[at - len(CODES)][0]
    (line,) = parse("hoop", page(record)).lines
    assert faults(json.loads(line)) == []


def test_a_page_a_line_an_array_and_an_object_give_the_same_events() -> None:
    records = [SESSION, SESSION | {"id": "s-2"}, ACT]
    texts = [json.dumps(record).encode() for record in records]
    ways = [page(*records), b"\n".join(texts), b"[" + b",".join(texts) + b"]"]
    found = [rows(parse("hoop", data, mode="flat")) for data in ways]
    assert [row["metadata_uid"] for row in found[0]] == ["s-1", "s-2", "a-1"]
    assert found[0] == found[1] == found[2]
    assert rows(parse("hoop", texts[0], mode="flat")) == found[0][:1]


LIFE: list[dict[str, Any]] = [
    {"status": "open", "end_date": None, "review": None},
    {"status": "open", "end_date": None, "review": reviewed(status="PENDING") | {"status": "PENDING"}},
    {"status": "ready", "end_date": None, "review": REVIEW | {"status": "APPROVED"}},
    {"status": "ready", "end_date": None, "review": REVIEW | {"status": "PROCESSING"}},
    {"status": "done", "end_date": None, "review": REVIEW | {"status": "PROCESSING"}},
    {"status": "done", "review": REVIEW},
    {"status": "done", "end_date": "2025-06-02T12:02:01Z", "review": REVIEW},
    {"status": "done", "end_date": "2025-06-02T12:02:01Z", "review": REVIEW, "ai_analysis": {"risk_level": "low"}},
]


def test_a_later_state_stands_for_an_earlier_one_in_whatever_order_they_came() -> None:
    states = [SESSION | change for change in LIFE]
    versions = [version_of(state) for state in states]
    assert versions == sorted(set(versions))
    assert max(versions) < 2**63
    for earlier, later in itertools.pairwise(states):
        for order in ((earlier, later), (later, earlier)):
            (found,) = rows(parse("hoop", page(*order), mode="flat"))
            assert json.loads(found["raw_data"]) == later
    parsed = parse("hoop", page(*states, states[-1]), mode="flat")
    (found,) = rows(parsed)
    assert (found["x_records"], parsed.summary["duplicates"]) == (9, 1)


def test_which_states_are_the_last() -> None:
    assert [is_final(SESSION | change) for change in LIFE] == [False] * 5 + [True] * 3
    ends = {status: is_final(SESSION | {"review": REVIEW | {"status": status}}) for status in ("PENDING", "APPROVED", "PROCESSING", "EXECUTED", "REJECTED", "REVOKED", "UNKNOWN")}  # fmt: skip
    assert [status for status, final in ends.items() if not final] == ["PENDING", "APPROVED", "PROCESSING"]


def test_a_session_and_an_act_with_one_id_are_two_events() -> None:
    assert len(rows(parse("hoop", page(SESSION, ACT | {"id": "s-1"}), mode="flat"))) == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [({"id": "x", "verb": "exec"}, "no_time"), (SESSION | {"start_date": "soon"}, "no_time"), (SESSION | {"start_date": 5}, "no_time"), ("text", "not_an_object"), (ACT | {"created_at": "1999-01-01T00:00:00Z"}, "bad_time")],
)  # fmt: skip
def test_what_is_no_event_is_a_reject(record: Any, reason: str) -> None:
    parsed = parse("hoop", page(record), mode="flat")
    assert (list(parsed.lines), [reject.reason for reject in parsed.rejects]) == ([], [reason])


def test_an_empty_page_holds_nothing_and_a_cut_one_what_is_whole() -> None:
    assert parse("hoop", page()).summary["records"] == 0
    cut = parse("hoop", page(SESSION, SESSION | {"id": "s-2"})[:-200], mode="flat")
    assert [found["metadata_uid"] for found in rows(cut)] == ["s-1"]
    assert [reject.reason for reject in cut.rejects] == ["not_json"]


@pytest.mark.parametrize(("head", "framing"), [(page(SESSION), "document"), (json.dumps(SESSION).encode() + b"\n", "lines"), (b"[{", "document"), (b"", "document")])  # fmt: skip
def test_framing(head: bytes, framing: str) -> None:
    assert FORMAT.framing(head) == framing


WRONG = st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.text(max_size=12), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=4), st.none(), max_size=2))  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(set(SESSION) | set(ACT))), WRONG, max_size=5), st.booleans())
def test_no_record_is_lost_whatever_its_fields_hold(wrong: dict[str, Any], session: bool) -> None:
    parsed = parse("hoop", page((SESSION if session else ACT) | wrong))
    assert parsed.summary["events"] + parsed.summary["rejects"] == 1
    for line in parsed.lines:
        assert faults(json.loads(line)) == []
