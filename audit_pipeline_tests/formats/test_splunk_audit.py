"""Splunk's audit trail to OCSF. Lines after published examples, with other names: "What is it doing?" (blogs.splunk.com), "How administrators
can identify users" (macnica.co.jp), "About structured audit trail logs" (help.splunk.com); rows as `search/jobs/export` gives them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.errors import UsageError
from audit_pipeline.formats import open_format
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline.formats.routed import routed
from audit_pipeline.formats.splunk_audit import ENVELOPE, FORMAT
from audit_pipeline.sections import FormatRule
from audit_pipeline_tests.ocsf.published import faults

SIGN_IN = 'Audit:[timestamp=02-20-2023 14:41:59.309, user=ann, action=login attempt, info=failed reason=user-initiated useragent="Mozilla/5.0 (X11)" clientip=10.1.2.3 method=Splunk session=abc123]'
STRUCTURED: dict[str, Any] = {
    "timestamp": "09-18-2025 13:44:11.703", "category": "system", "action": "edit", "actor": {"name": "ann", "roles": ["admin"]}, "correlation_id": "F7E9", "result": "success", "session_id": "8171",
    "data": {"name": "bob", "type": "account", "attributes": {"roles": "admin", "is_user_locked": False}}, "previous_data": {"attributes": {"roles": "user"}}, "url": "/services/authentication/users/bob",
}  # fmt: skip


def audit(action: str, tail: str = "", user: str = "ann") -> str:
    return f"Audit:[timestamp=07-02-2026 19:15:29.443, user={user}, action={action}{tail}]"


def exported(raw: str, n: int = 1, **fields: Any) -> dict[str, Any]:
    """A row as a search with the collector's fields has it."""
    return {
        "_bkt": "_audit~10~FED9", "_cd": f"10:{n}", "_indextime": "1748865601", "_raw": raw, "_time": "2025-06-02T14:00:00.250+02:00", "event_time": "1748865600.250000",
        "host": "sh1", "index": "_audit", "source": "audittrail", "sourcetype": "audittrail", "splunk_server": "idx1",
    } | fields  # fmt: skip


def answer(*rows: dict[str, Any], messages: list[dict[str, str]] | None = None) -> bytes:
    lines: list[dict[str, Any]] = [{"messages": messages}] if messages else []
    lines += [{"preview": False, "offset": n, "result": row} for n, row in enumerate(rows)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, {"preview": False, "lastrow": True}])


def rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parsed.lines]


def row(raw: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    (found,) = rows(parse("splunk_audit", answer(exported(text, **fields)), mode="flat"))
    return found


def test_columns_of_a_sign_in() -> None:
    want = {
        "time": "2025-06-02T12:00:00.250000Z", "type_uid": 300201, "status_id": 2, "status_detail": "user-initiated", "message": SIGN_IN, "metadata_uid": "_audit~10~FED9-10:1", "metadata_log_name": "audittrail",
        "actor_user_name": "ann", "user_name": "ann", "actor_session_uid": "abc123", "src_endpoint_ip": "10.1.2.3", "http_request_user_agent": "Mozilla/5.0 (X11)", "device_hostname": "sh1", "api_operation": "login attempt", "x_actor": "ann",
    }  # fmt: skip
    found = row(SIGN_IN)
    assert {name: found[name] for name in want} == want


def test_columns_of_the_structured_trail() -> None:
    want = {
        "type_uid": 300199, "status_id": 1, "message": "edit account bob", "actor_user_name": "ann", "user_name": "bob", "actor_session_uid": "8171", "http_request_uid": "F7E9", "metadata_log_name": "audittrailv2", "api_operation": "edit",
    }  # fmt: skip
    found = row(STRUCTURED, sourcetype="audittrailv2")
    assert {name: found[name] for name in want} == want


CLASSES: list[tuple[str | dict[str, Any], int, int]] = [
    (audit("login attempt", ", info=succeeded"), 300201, 1),
    (audit("logout", ", info=succeeded reason=user-initiated"), 300202, 1),
    (audit("edit_user", ', info=granted object="jdoe" operation=create, cap=1'), 300101, 1),
    (audit("edit_user", ', info=denied object="jdoe" operation=edit, cap=1'), 300199, 2),
    (audit("edit_user", ', info=granted object="jdoe" operation=remove'), 300106, 1),
    (audit("edit_user", ', info=granted object="jdoe" operation=list, cap=1'), 600302, 1),
    (audit("edit_user", ", info=granted "), 99, 1),
    (audit("change_own_password", ", info=succeeded"), 300103, 1),
    (audit("edit_roles", ', info=granted object="can_delete" operation=edit'), 300699, 1),
    (audit("edit_index", ", info=success, name=main, owner=nobody, app=search, modified_settings=[x]"), 600303, 1),
    (audit("delete_by_keyword", ", info=granted "), 600304, 1),
    (audit("search", ", info=granted , search_id='1.2', search='search index=_* | head 3', autojoin='1'"), 600302, 1),
    (audit("search", ", info=completed, search_id='1.2', total_run_time=0.14, event_count=0"), 600302, 1),
    (audit("list_health", ', info=denied object="deployment" operation=list, cap=1'), 600302, 2),
    (audit("artifact_deleted"), 99, 0),
    (STRUCTURED | {"action": "create"}, 300101, 1),
    (STRUCTURED | {"data": {"name": "can_delete", "type": "role"}}, 300699, 1),
    (STRUCTURED | {"data": {"name": "s", "type": "saved_search"}, "category": "object", "action": "delete"}, 600304, 1),
    (STRUCTURED | {"category": "authn", "action": "login", "data": {"attributes": {}}, "result": "failure"}, 300201, 2),
    (STRUCTURED | {"category": "action", "action": "search", "data": {"type": "search", "attributes": {}}}, 600302, 1),
    ("07-14-2008 10:59:09.434 INFO AuditLogger - Audit:[timestamp=Mon Jul 14 10:59:09 2008, user=ann, action=login attempt, info=succeeded][n/a]", 300201, 1),
    ("no audit at all", 99, 0),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(CLASSES)))
def test_actions_become_classes_that_are_valid_ocsf(at: int) -> None:
    raw, kind, status = CLASSES[at]
    found = row(raw, sourcetype="audittrailv2" if isinstance(raw, dict) else "audittrail")
    assert (found["type_uid"], found["status_id"]) == (kind, status)
    text = raw if isinstance(raw, str) else json.dumps(raw)
    (line,) = parse("splunk_audit", answer(exported(text))).lines
    assert faults(json.loads(line)) == []


def test_words_of_searches_roles_and_indexes() -> None:
    search = row(CLASSES[11][0])
    assert (search["message"], search["api_operation"]) == ("search index=_* | head 3", "search")
    assert row(CLASSES[12][0])["duration"] == 140
    assert row(CLASSES[8][0])["group_name"] == "can_delete"
    assert row(CLASSES[9][0])["resource_name"] == "main"


@pytest.mark.parametrize(("user", "actor", "kind"), [("n/a", None, None), ("splunk-system-user", "splunk-system-user", "service"), ("ann", "ann", "unknown")])  # fmt: skip
def test_who(user: str, actor: str | None, kind: str | None) -> None:
    found = row(audit("search", ", info=granted", user=user))
    assert (found.get("x_actor"), found.get("x_actor_kind")) == (actor, kind)


@pytest.mark.parametrize(
    "line",
    [
        audit("login attempt", ", info=failed reason=user-initiated clientip=10.0.0.1", user="x, action=login attempt, info=succeeded"),
        audit("login attempt", ', info=failed useragent="a, action=login attempt, info=succeeded" clientip=10.0.0.1'),
    ],
)  # fmt: skip
def test_a_name_or_agent_that_forges_an_outcome_gives_none(line: str) -> None:
    assert row(line)["status_id"] == 0


def test_an_address_inside_a_user_agent_is_none() -> None:
    found = row(audit("login attempt", ', info=failed useragent="x clientip=1.1.1.1 y" clientip=10.0.0.1 method=Splunk'))  # fmt: skip
    assert found["src_endpoint_ip"] == "10.0.0.1"


def test_a_row_of_another_log_is_a_base_event_even_when_it_looks_like_the_trail() -> None:
    found = row(SIGN_IN, sourcetype="access_combined", index="web")
    assert (found["type_uid"], found["status_id"], found["message"], found["metadata_log_name"]) == (99, 0, SIGN_IN, "access_combined")  # fmt: skip
    assert [found.get(name) for name in ("x_actor", "api_operation", "src_endpoint_ip", "status_detail")] == [None] * 4


def test_the_envelope_tells_what_a_row_holds() -> None:
    fields = exported('{"a": "\u00fc"}', sourcetype="json", index="app", source="/var/log/a.json")
    assert ENVELOPE.facts(fields) == {"index": "app", "sourcetype": "json", "source": "/var/log/a.json", "host": "sh1"}
    assert ENVELOPE.payload(fields) == '{"a": "ü"}'.encode()
    assert ENVELOPE.payload({"count": "3"}) is None
    assert ENVELOPE.facts({"index": ["a"], "host": 3}) == {}
    assert set(ENVELOPE.facts(fields)) == set(ENVELOPE.names)


def test_another_system_s_log_in_splunk_is_read_by_its_own_format() -> None:
    rules = [FormatRule(format="splunk_audit"), FormatRule(format="linux_auth", when={"sourcetype": ["linux_secure"]})]
    form = routed("splunk", rules, lambda name: open_format(name))
    line = "Jun  2 12:00:01 web1 sshd[9]: Failed password for root from 203.0.113.5 port 22 ssh2"
    data = answer(exported(line, 1, sourcetype="linux_secure"), exported(SIGN_IN, 2))
    found = {part.reading.label: part.records for part in form.parts(form.split(data, whole=True).records)}
    assert found["linux_auth/1"] == [line.encode()]
    assert len(found["splunk_audit/1"]) == 1
    keys = form.keys(form.split(data, whole=True).records)
    assert [time for time in keys.time_us if time] == [1748865601000000, 1748865600250000]


def test_an_answer_a_document_and_lines_hold_the_same_events() -> None:
    both = [exported(SIGN_IN, 1), exported(audit("logout"), 2)]
    documents = [answer(*both), json.dumps({"preview": False, "init_offset": 0, "results": both}).encode(), b"\n".join(json.dumps(one).encode() for one in both)]  # fmt: skip
    found = [rows(parse("splunk_audit", data, mode="flat")) for data in documents]
    for one in found:
        for event in one:
            del event["raw_data"]
    assert found[0] == found[1] == found[2]
    lines = rows(parse("splunk_audit", f"{SIGN_IN}\n{json.dumps(STRUCTURED)}\n".encode(), mode="flat"))
    assert [(one["time"], one["type_uid"]) for one in lines] == [("2023-02-20T14:41:59.309000Z", 300201), ("2025-09-18T13:44:11.703000Z", 300199)]  # fmt: skip


def test_messages_and_previews_are_no_records() -> None:
    preview = json.dumps({"preview": True, "offset": 0, "result": exported(SIGN_IN, 7)}).encode() + b"\n"
    data = preview + answer(exported(SIGN_IN), messages=[{"type": "WARN", "text": "peer down"}])
    assert parse("splunk_audit", data).summary == {"records": 1, "events": 1, "rejects": 0, "duplicates": 0}


@pytest.mark.parametrize(
    "line",
    [
        {"messages": ["a"], "at": 1},
        {"result": {"_raw": "x"}, "at": 1},
        {"result": "success"},
        {"lastrow": True, "_time": "1748865600"},
    ],
)
def test_a_line_of_another_log_with_the_same_words_is_not_dropped(line: dict[str, Any]) -> None:
    data = json.dumps(line).encode() + b"\n" + answer(exported(SIGN_IN))
    parsed = parse("splunk_audit", data)
    assert (parsed.summary["records"], len(parsed.rejects) + parsed.summary["events"]) == (2, 2)
    assert json.loads(FORMAT.split(data, whole=True).records[0]) == line


def test_a_search_over_several_lines_is_one_event() -> None:
    text = audit("search", ", info=granted , search_id='1.2', search='search index=_*\n| stats count', autojoin='1'")
    parsed = parse("splunk_audit", f"{text}\n{SIGN_IN}\n".encode(), mode="flat")
    assert [(found["type_uid"], found["message"]) for found in rows(parsed)] == [(600302, "search index=_*\n| stats count"), (300201, SIGN_IN)]  # fmt: skip
    assert parsed.summary["rejects"] == 0


def test_a_row_read_twice_is_one_event_and_equal_rows_without_a_place_are_two() -> None:
    twice = parse("splunk_audit", answer(exported(SIGN_IN), exported(SIGN_IN)))
    assert (twice.summary["events"], twice.summary["duplicates"]) == (1, 1)
    same, moved = (FORMAT.keys([json.dumps(one).encode()]).key for one in (exported(SIGN_IN), exported(SIGN_IN, splunk_server="idx2")))  # fmt: skip
    assert same == moved
    assert parse("splunk_audit", answer(exported(SIGN_IN, 1), exported(SIGN_IN, 2))).summary["events"] == 2
    bare = {name: value for name, value in exported(SIGN_IN).items() if name not in ("_bkt", "_cd")}
    assert parse("splunk_audit", answer(bare, bare)).summary["events"] == 2
    kept, other = (FORMAT.keys([json.dumps(one).encode()]).key for one in (bare, bare | {"splunk_server": "idx2"}))
    assert kept == other != FORMAT.keys([json.dumps(bare | {"host": "sh2"}).encode()]).key


@pytest.mark.parametrize(
    ("stamps", "zone", "time"),
    [
        ({"event_time": "1748865600.123456"}, "UTC", "2025-06-02T12:00:00.123456Z"),
        ({"event_time": None}, "UTC", "2025-06-02T12:00:00.250000Z"),
        ({"event_time": "1748865600.%6N"}, "UTC", "2025-06-02T12:00:00.250000Z"),
        ({"event_time": None, "_time": "2025-06-02 12:00:00.500 UTC"}, "UTC", "2025-06-02T12:00:00.500000Z"),
        ({"event_time": None, "_time": "2025-06-02 12:00:00.500 CEST"}, "Europe/Berlin", "2025-06-02T10:00:00.500000Z"),
        ({"event_time": None, "_time": "1748865600"}, "UTC", "2025-06-02T12:00:00Z"),
    ],
)
def test_times_of_rows(stamps: dict[str, Any], zone: str, time: str) -> None:
    (found,) = rows(parse("splunk_audit", answer(exported(SIGN_IN, **stamps)), mode="flat", zone=zone))
    assert found["time"] == time


@pytest.mark.parametrize("stamp", ["2025-06-02 12:00:00.500 PST", "2025-06-02T12:00:00", "soon", True, [1], ""])
def test_a_time_that_could_mean_several_is_none(stamp: Any) -> None:
    parsed = parse("splunk_audit", answer(exported(SIGN_IN, event_time=None, _time=stamp), exported(SIGN_IN, 2)))
    assert ([reject.reason for reject in parsed.rejects], parsed.summary["events"]) == (["no_time"], 1)


def test_lines_have_the_time_of_the_servers_zone() -> None:
    (found,) = rows(parse("splunk_audit", SIGN_IN.encode(), mode="flat", zone="Europe/Berlin"))
    assert found["time"] == "2023-02-20T13:41:59.309000Z"
    assert open_format("splunk_audit", zone="Europe/Berlin").variant == "zone=Europe/Berlin"
    with pytest.raises(UsageError, match="zone"):
        open_format("splunk_audit", zone="Mars/Base")


def test_an_answer_that_was_cut_loses_only_its_last_row() -> None:
    data = answer(exported(SIGN_IN, 1), exported(SIGN_IN, 2))
    parsed = parse("splunk_audit", data[: data.rindex(b"_raw")])
    assert (parsed.summary["events"], [reject.reason for reject in parsed.rejects]) == (1, ["not_json"])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["_raw", "_time", "_bkt", "_cd", "action", "actor", "data", "result", "x"]), inner, max_size=4), max_leaves=12))  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_whatever_a_row_holds_it_is_an_event_or_a_reject(value: Any) -> None:
    trail = json.dumps({"action": value, "actor": value, "data": value, "result": value})
    parsed = parse("splunk_audit", answer(exported(trail), exported("x", 2, _raw=value, host=value, sourcetype=value)))
    events = [json.loads(line) for line in parsed.lines]
    assert len(events) + len(parsed.rejects) == 2
    assert [fault for event in events for fault in faults(event)] == []


@pytest.mark.parametrize(("head", "framing"), [(answer(exported(SIGN_IN)), "lines"), (SIGN_IN.encode(), "lines"), (b'{"preview":false,"results":[{"_raw"', "document"), (b"", "lines"), (b'[{"a":1},\n', "document")])  # fmt: skip
def test_framing(head: bytes, framing: str) -> None:
    assert FORMAT.framing(head) == framing
