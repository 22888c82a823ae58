"""Rules over days: bursts, midnight, evidence, hostile values, broken rules."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.detections import rule_tests, sigma
from audit_pipeline.detections.rule import noun
from audit_pipeline.detections.run import detect, rule_errors, rules
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline_tests.detections.helpers import (
    DAY,
    at,
    burst,
    failed,
    introduce,
    make_settings,
    open_lake,
    write_completeness,
    write_events,
)

YESTERDAY = DAY - dt.timedelta(days=1)
BURST = "7d0c1b2e-3f45-4b8a-8a52-6f1f0b9f3c20"


def found(settings: Settings, lake: Lake, day: dt.date = DAY) -> list[dict[str, Any]]:
    return list(detect(settings, lake, day).to_pylist())


def write_rule(root: Path, name: str, *documents: dict[str, Any]) -> Path:
    (root / "rules").mkdir(exist_ok=True)
    file = root / "rules" / name
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return file


def simple(**more: Any) -> dict[str, Any]:
    """A rule of a user's own whose every event is a hit."""
    return {
        "title": "Root acts",
        "id": "11111111-1111-4111-8111-111111111111",
        "level": "medium",
        "logsource": {"product": "ocsf"},
        "detection": {"root": {"actor_user_name": "root"}, "condition": "root"},
        **more,
    }


def test_a_burst_becomes_one_detection_with_numbers_and_evidence(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    events = [
        failed("alice", at(10, 0, 7 * i), src_endpoint_ip=f"203.0.113.{i % 3}", x_actor="alice@example.com")
        for i in range(52)
    ]
    write_events(lake, [*events, failed("alice", at(15)), failed("bob", at(10))])
    write_completeness(lake, DAY, {"idp": "no_gap_seen", "vpn": "missing"})
    (one,) = (row for row in found(settings, lake) if row["rule_id"] == BURST)
    assert one["explanation"] == "52 failed sign-ins for alice at idp from 3 addresses in 6 min; threshold 10 in 10 min"
    assert (one["n"], one["threshold"], one["score"], one["level"], one["kind"]) == (52, 10.0, None, "high", "rule")
    assert (one["first_time"], one["last_time"]) == (at(10), at(10, 0, 7 * 51))
    assert (one["x_actor"], one["x_target"], one["sources"]) == ("alice@example.com", "alice", ["idp"])
    assert one["verdict"] == "no_gap_seen"  # of the sources that were used, not of all
    assert {"T1110", "T1110.001"} <= set(one["attack"])
    assert json.loads(one["group_key"]) == {"user_name": "alice", "x_source": "idp"}
    assert [ref["line"] for ref in one["refs"]] == list(range(52))
    assert one["refs"][0] == {"source": "idp", "segment": "raw/idp/1", "line": 0, "uid": "e0"}


def test_two_bursts_of_a_day_are_one_detection_and_what_lies_between_is_not_counted(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, [*burst("alice", at(8), 12), failed("alice", at(12)), *burst("alice", at(20), 15)])
    (one,) = found(settings, lake)
    assert one["n"] == 27
    assert (one["first_time"], one["last_time"]) == (at(8), at(20, 0, 140))


def test_groups_are_kept_apart_by_account_and_by_source(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(
        lake,
        [*burst("alice", at(8), 9), *burst("alice", at(8), 9, x_source="vpn"), *burst("bob", at(8), 9), *burst(None, at(8), 9)],
    )  # fmt: skip
    assert found(settings, lake) == []
    write_events(lake, [*burst("alice", at(8), 10), *burst(None, at(8), 10)])
    assert [json.loads(row["group_key"])["user_name"] for row in found(settings, lake)] == ["alice", None]


def test_only_the_first_hundred_references_are_kept_and_the_number_says_all(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst("alice", at(8), 250, every=1))
    (one,) = found(settings, lake)
    assert one["n"] == 250
    assert [ref["line"] for ref in one["refs"]] == list(range(100))


def test_a_burst_over_midnight_belongs_to_the_day_of_its_last_event(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst("alice", at(23, 58, day=YESTERDAY), 12, every=20))  # 6 before midnight, 6 after
    assert found(settings, lake, YESTERDAY) == []
    (one,) = found(settings, lake)
    assert (one["n"], one["day"]) == (12, DAY)
    assert one["first_time"] == at(23, 58, day=YESTERDAY)
    assert found(settings, lake, DAY + dt.timedelta(days=1)) == []


def test_a_day_never_sees_the_days_after_it(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst("alice", at(23, 50, day=YESTERDAY), 12, every=20))
    before = found(settings, lake, YESTERDAY)
    write_events(lake, burst("alice", at(0), 12, every=20))
    assert found(settings, lake, YESTERDAY) == before != []


def test_ids_and_bytes_are_the_same_again_whatever_the_order_of_rows(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    rows = [
        {**row, "x_line": i} for i, row in enumerate([*burst("alice", at(8), 30), *burst("bob", at(8), 30, every=0)])
    ]
    seen = set()
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        write_events(lake, [{**row, "metadata_uid": f"u{row['x_line']}"} for row in rows])
        detect(settings, lake, DAY)
        seen.add(lake.read(f"detections/day={DAY}/detections.parquet"))
    assert len(seen) == 1


def test_ids_differ_by_day_and_by_group(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, [*burst("alice", at(8), 12), *burst("bob", at(8), 12)])
    write_events(lake, burst("alice", at(8, day=YESTERDAY), 12))
    ids = [row["detection_id"] for day in (YESTERDAY, DAY) for row in found(settings, lake, day)]
    assert len(set(ids)) == 3


HOSTILE = "'; DROP TABLE events; --\"\n\x1b[31m\u202eevil<script>" + "x" * 500


def test_hostile_values_are_data_in_keys_and_one_printable_line_in_words(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst(HOSTILE, at(8), 12, src_endpoint_ip=HOSTILE, x_actor=HOSTILE))
    (one,) = found(settings, lake)
    assert json.loads(one["group_key"])["user_name"] == HOSTILE == one["x_actor"]
    assert one["explanation"].isprintable()
    assert len(one["explanation"]) < 400


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"idp": "proven", "vpn": "no_gap_seen"}, "no_gap_seen"),
        ({"idp": "proven", "vpn": "proven"}, "proven"),
        ({"idp": "unknown", "vpn": "no_gap_seen"}, "unknown"),
        ({"idp": "unknown", "vpn": "partial"}, "partial"),
        ({"idp": "missing", "vpn": "partial"}, "missing"),
        ({"vpn": "no_gap_seen"}, "no_gap_seen"),
        ({}, None),
    ],
)
def test_the_verdict_is_the_worst_of_the_sources(
    tmp_path: Path, verdicts: dict[str, str], expected: str | None
) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_rule(tmp_path, "root.yml", simple())
    rows = [
        {"time": at(8), "x_source": source, "actor_user_name": "root", "x_actor": "carol"} for source in ("idp", "vpn")
    ]
    write_events(lake, rows)
    write_completeness(lake, DAY, verdicts)
    (one,) = found(settings, lake)
    assert (one["verdict"], one["sources"], one["n"]) == (expected, ["idp", "vpn"], 2)


def test_an_empty_day_is_an_empty_table_and_written(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    assert found(settings, lake) == []
    assert lake.days("detections") == [DAY]


def test_a_rule_without_correlation_groups_by_the_actor_or_as_it_says(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_rule(tmp_path, "root.yml", simple())
    rows = [
        {"time": at(8 + i), "actor_user_name": "root", "x_actor": who, "cloud_region": region}
        for i, (who, region) in enumerate([("carol", "eu"), ("carol", "us"), (None, "eu")])
    ]
    write_events(lake, rows)
    assert [(json.loads(row["group_key"]), row["n"]) for row in found(settings, lake)] == [({"actor": "carol"}, 2), ({"actor": "root"}, 1)]  # fmt: skip
    write_rule(tmp_path, "root.yml", simple(group_by=["cloud_region"]))
    assert [(json.loads(row["group_key"]), row["n"]) for row in found(settings, lake)] == [({"cloud_region": "eu"}, 2), ({"cloud_region": "us"}, 1)]  # fmt: skip


def test_a_window_of_days_looks_back_so_many_days(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    base, top = list(yaml.safe_load_all((sigma.SHIPPED / "signin_burst.yml").read_text(encoding="utf-8")))
    top |= {"id": "22222222-2222-4222-8222-222222222222"}
    top["correlation"] |= {"timespan": "3d", "condition": {"gt": 2}}
    write_rule(tmp_path, "slow.yml", base, top)
    for days in (2, 1, 0):
        write_events(lake, [failed("alice", at(8, day=DAY - dt.timedelta(days=days)))])
    (one,) = found(settings, lake)
    assert (one["n"], one["threshold"]) == (3, 3.0)
    assert found(settings, lake, YESTERDAY) == []


def test_a_rule_for_a_format_sees_only_that_formats_sources(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path, "sources: {aws: {type: files, format: cloudtrail}, idp: {type: files, format: own}}"
    )
    lake = open_lake(tmp_path)
    write_rule(tmp_path, "trail.yml", simple(logsource={"product": "aws", "service": "cloudtrail"}, detection={"s": {"eventName": "StopLogging", "requestParameters.name|contains": "main"}, "condition": "s"}))  # fmt: skip
    raw = json.dumps({"requestParameters": {"name": "arn:trail/Main"}})
    rows = [{"time": at(8), "x_source": source, "api_operation": "StopLogging", "raw_data": raw, "x_actor": "eve"} for source in ("aws", "idp")]  # fmt: skip
    write_events(lake, rows)
    (one,) = (row for row in found(settings, lake) if row["rule_id"] == simple()["id"])
    assert one["sources"] == ["aws"]


BROKEN = {
    "syntax.yml": "title: [",
    "empty.yml": "",
    "list.yml": "- a",
    "no_id.yml": yaml.safe_dump({**simple(), "id": None}),
    "bad_id.yml": yaml.safe_dump(simple(id="seven")),
    "condition.yml": yaml.safe_dump(simple(detection={"a": {"user_name": "x"}, "condition": "b"})),
    "detection.yml": yaml.safe_dump(simple(detection="nothing")),
    "level.yml": yaml.safe_dump(simple(level="awful")),
    "field.yml": yaml.safe_dump(simple(detection={"a": {"nowhere": "x"}, "condition": "a"})),
    "format.yml": yaml.safe_dump(simple(logsource={"product": "mainframe"})),
    "group.yml": yaml.safe_dump(simple(group_by="x")),
    "binary.yml": "\x00\x01",
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_rule_is_named_and_does_not_stop_the_others(tmp_path: Path, name: str) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_rule(tmp_path, "root.yml", simple())
    (tmp_path / "rules" / name).write_text(BROKEN[name], encoding="utf-8")
    write_events(lake, [*burst("alice", at(8), 12), {"time": at(9), "actor_user_name": "root"}])
    assert {row["rule_id"] for row in found(settings, lake)} == {BURST, simple()["id"]}
    (error,) = rule_errors(settings)
    assert str(tmp_path / "rules" / name) in str(error)
    assert len(error.reason) > 10
    (told,) = json.loads((lake.table_metadata("detections", DAY) or {})["rule_errors"])
    assert told["file"] == name


def test_a_rule_that_fails_only_when_run_is_named_too(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_rule(
        tmp_path, "look.yml", simple(detection={"a": {"user_name|re": "(?=a)b"}, "condition": "a"})
    )  # RE2 has no look-ahead
    write_events(lake, burst("alice", at(8), 12))
    assert [row["rule_id"] for row in found(settings, lake)] == [BURST]
    (told,) = json.loads((lake.table_metadata("detections", DAY) or {})["rule_errors"])
    assert told["file"] == "look.yml"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "value_sum", "condition": {"gte": 3, "field": "count"}}, "value_sum"),
        ({"condition": {"lt": 3}}, "lt is not supported"),
        ({"timespan": "60d"}, "longer than"),
        ({"rules": ["nobody"]}, "nobody"),
        ({"group-by": ["usr"]}, "usr"),
    ],
)
def test_correlations_that_cannot_be_run_say_why(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    base, top = list(yaml.safe_load_all((sigma.SHIPPED / "signin_burst.yml").read_text(encoding="utf-8")))
    top["correlation"] |= change
    file = write_rule(tmp_path, "mine.yml", base, top)
    with pytest.raises(sigma.RuleError, match=reason):
        sigma.read(file, make_settings(tmp_path))


def test_a_users_rule_replaces_a_shipped_one_and_two_of_the_same_id_are_an_error(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    write_rule(tmp_path, "a.yml", simple(id=BURST, title="Mine"))
    assert [rule.title for rule in rules(settings) if rule.id == BURST] == ["Mine"]
    write_rule(tmp_path, "b.yml", simple(id=BURST, title="Also mine"))
    assert [rule.title for rule in rules(settings) if rule.id == BURST] == ["Mine"]
    assert "also that of" in rule_errors(settings)[0].reason


def test_every_shipped_rule_says_what_people_need_and_holds_by_its_test_events(tmp_path: Path) -> None:
    formats = {"aws": "cloudtrail", "cluster": "kubernetes_audit", "hosts": "linux_auth", "gate": "hoop"}
    each = ", ".join(f"{name}: {{type: files, format: {form}}}" for name, form in formats.items())
    known, errors = sigma.load(make_settings(tmp_path, f"sources: {{{each}}}"))
    assert errors == []
    assert len(known) >= 20
    assert {"T1562", "T1070", "T1078"} <= {technique for rule in known for technique in rule.attack}
    for rule in known:
        assert rule_tests.failures(rule) == []
        assert rule.description
        assert rule.runbook
        assert rule.owner
        assert rule.falsepositives
        assert rule.blind_spots
        assert any(tag.startswith("T") for tag in rule.attack)
        assert rule.level in sigma.LEVELS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gte: 10", "gte: 11"),
        ("gte: 10", "gte: 9"),
        ("timespan: 10m", "timespan: 599s"),
        ("timespan: 10m", "timespan: 601s"),
        ("    status_id: 2\n", ""),
        ("    activity_id: 1\n", ""),
        ("    class_uid: 3002\n", ""),
        ("    - user_name\n", ""),
    ],
)
def test_the_test_events_catch_a_changed_rule(tmp_path: Path, old: str, new: str) -> None:
    text = (sigma.SHIPPED / "signin_burst.yml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "signin_burst.yml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    (tmp_path / "signin_burst.tests.yml").write_bytes((sigma.SHIPPED / "signin_burst.tests.yml").read_bytes())
    assert rule_tests.failures(sigma.read(file, make_settings(tmp_path))) != []


@pytest.mark.parametrize(
    "text", [None, "{", "positive: []\nnegative: []", "positive: [{name: a}]\nnegative: [{name: b}]", "[]"]
)
def test_missing_or_empty_test_events_are_a_failure(tmp_path: Path, text: str | None) -> None:
    file = write_rule(tmp_path, "root.yml", simple())
    if text is not None:
        (tmp_path / "rules" / "root.tests.yml").write_text(text, encoding="utf-8")
    assert rule_tests.failures(sigma.read(file, make_settings(tmp_path))) != []


def test_what_only_failed_to_sign_in_is_kept_by_a_token_alone(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    typed = [*burst("Hunter2!secret", at(8), 12), *burst("hunter2!SECRET", at(9), 13), *burst("mallory", at(9), 14)]
    write_events(
        lake, [{**row, "actor_user_name": row["user_name"], "x_actor": row["user_name"]} for row in typed], known=False
    )
    rows = found(settings, lake)
    assert sorted(row["n"] for row in rows) == [12, 13, 14], "groups were made before the names went"
    assert len({row["detection_id"] for row in rows}) == 3
    for row in rows:
        told = json.dumps(row, default=str).casefold()
        assert "hunter2" not in told
        assert "mallory" not in told
        assert row["explanation"].split(" for ")[1].startswith("(unlisted name) user-")
    stored = lake.read(f"detections/day={DAY}/detections.parquet").lower()
    assert b"hunter2" not in stored
    introduce(lake, {"mallory"})
    assert {row["x_target"] for row in found(settings, lake) if row["n"] == 14} == {"mallory"}
    write_events(
        lake,
        [
            {
                "time": at(8, day=DAY + dt.timedelta(days=1)),
                "class_uid": 3002,
                "status_id": 1,
                "user_name": "Hunter2!secret",
            }
        ],
        known=False,
    )
    assert "hunter2" not in json.dumps(found(settings, lake), default=str).casefold(), (
        "a later success changes no earlier day"
    )


@pytest.mark.parametrize(("days", "known"), [(0, True), (29, True), (31, False)])
def test_an_account_is_known_by_what_it_did_in_thirty_days(tmp_path: Path, days: int, known: bool) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    success = {"time": at(7, day=DAY - dt.timedelta(days=days)), "class_uid": 6003, "status_id": 1, "x_actor": "alice"}
    write_events(lake, [*burst("alice", at(8), 12), success], known=False)
    (one,) = found(settings, lake)
    assert (one["x_target"] == "alice") == known


def test_the_inventory_lets_a_name_be_printed(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        "source,account,person,role,kind,zone,team\n*,svc-old,Ada,,service,,\n", encoding="utf-8"
    )
    settings = make_settings(tmp_path, "identities: people.csv\nsources: {idp: {type: files, format: cloudtrail}}")
    lake = open_lake(tmp_path)
    write_events(lake, [*burst("svc-old", at(8), 12), *burst("stranger", at(8), 13)], known=False)
    assert {row["n"]: row["x_target"] == "svc-old" for row in found(settings, lake)} == {12: True, 13: False}


@pytest.mark.parametrize(
    ("what", "one"),
    [
        ("acts of root", "act of root"), ("failed sign-ins", "failed sign-in"), ("refused deliveries of logs", "refused delivery of logs"), ("anonymous acts", "anonymous act"),
        ("credentials made for others", "credential made for others"), ("failed tries from public addresses", "failed try from public addresses"), ("different addresses", "different address"),
        ("boxes", "box"), ("Anmeldungen", "Anmeldungen"), ("", ""), ("access to data", "access to data"),
    ],
)  # fmt: skip
def test_one_of_something_is_told_in_the_singular(what: str, one: str) -> None:
    assert (noun(1, what), noun(0, what), noun(2, what)) == (one, what, what)


def test_one_event_is_explained_as_one(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_rule(tmp_path, "own.yml", simple(counts="acts of root"))
    write_events(lake, [failed("x", at(8), actor_user_name="root")])
    assert "1 act of root " in " ".join(row["explanation"] for row in found(settings, lake))
