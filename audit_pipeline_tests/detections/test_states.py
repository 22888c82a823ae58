"""What each rule could say of a day, correlations, and comparison with the actor's own days."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.detections import rule_tests, sigma
from audit_pipeline.detections.run import detect
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline_tests.detections.helpers import (
    DAY,
    at,
    burst,
    failed,
    make_settings,
    open_lake,
    write_completeness,
    write_events,
)

BURST = "7d0c1b2e-3f45-4b8a-8a52-6f1f0b9f3c20"
SPRAYING = "5b8d1e44-0a3c-5e1b-8c77-91f0c2a4d102"
NEW_NETWORK = "8a7c3f10-6d52-5b0e-9e1f-4c0d5e6f7a01"


def states(settings: Settings, lake: Lake, day: dt.date = DAY) -> dict[str, dict[str, Any]]:
    detect(settings, lake, day)
    with connect(lake, since=day, until=day, tables=["rule_states"]) as con:
        return {row["rule_id"]: row for row in con.sql("FROM rule_states").to_arrow_table().to_pylist()}


def test_a_rule_is_evaluated_with_what_it_found_or_says_why_not(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst("alice", at(8), 12))
    write_completeness(lake, DAY, {"idp": "no_gap_seen", "vpn": "missing"})
    found = states(settings, lake)
    known, errors = sigma.load(settings)
    assert set(found) == {rule.id for rule in known}
    assert errors == []
    assert {one["state"] for one in found.values()} == {"evaluated", "not_evaluated", "not_applicable"}
    assert (found[BURST]["state"], found[BURST]["n"], found[BURST]["sources"]) == ("evaluated", 1, ["idp"])
    assert found[BURST]["reason"] == "vpn: missing"
    kubernetes = [one for rule in known if not rule.sources for one in [found[rule.id]]]
    assert kubernetes
    assert {one["state"] for one in kubernetes} == {"not_applicable"}
    assert all("is configured" in one["reason"] and one["n"] is None for one in kubernetes)


@pytest.mark.parametrize(
    ("verdicts", "codes", "reason"),
    [
        ({"idp": "missing", "vpn": "missing"}, {}, "idp: missing; vpn: missing"),
        ({"idp": "unknown", "vpn": "missing"}, {"idp": "not_collected"}, "idp: not collected; vpn: missing"),
        ({"idp": "unknown", "vpn": "missing"}, {}, "vpn: missing"),
    ],
)
def test_a_day_without_its_sources_evaluates_nothing(
    tmp_path: Path, verdicts: dict[str, str], codes: dict[str, str], reason: str
) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_completeness(lake, DAY, verdicts, codes)
    one = states(settings, lake)[BURST]
    assert one["reason"] == reason
    assert (one["state"] == "evaluated") == ("idp" not in reason)
    assert (one["n"] is None) == ("idp" in reason)


def test_a_column_that_no_event_of_seven_days_has(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst("alice", at(8), 12))
    write_completeness(lake, DAY, {"vpn": "missing"})
    one = states(settings, lake)[SPRAYING]
    assert one["state"] == "not_evaluated"
    assert one["reason"] == "idp: no event of 7 days has src_endpoint_ip; vpn: missing"
    for days, state in ((7, "not_evaluated"), (6, "evaluated")):
        write_events(lake, [failed("alice", at(8, day=DAY - dt.timedelta(days=days)), src_endpoint_ip="203.0.113.1")])
        assert states(settings, lake)[SPRAYING]["state"] == state


def test_a_rule_that_cannot_be_run_has_a_row_with_the_reason(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "bad.yml").write_text("title: [", encoding="utf-8")
    one = states(settings, lake)["bad.yml"]
    assert one["state"] == "not_evaluated"
    assert one["reason"]


def actor_days(lake: Lake, n: int, networks: list[str]) -> None:
    for day in range(1, n + 1):
        rows = rule_tests.actor_days(
            [{"x_actor": "alice", "days": [day, day], "hours": {9: 4}, "networks": networks}], DAY
        )
        lake.write_table("actor_days", rows, DAY - dt.timedelta(days=day))


def test_history_rules_wait_until_there_is_history(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    act = {"time": at(9), "x_actor": "alice", "x_actor_kind": "human", "status_id": 1, "x_read_only": False, "class_uid": 6003, "activity_id": 3, "src_endpoint_ip": "203.0.113.9"}  # fmt: skip
    write_events(lake, [act])
    actor_days(lake, 9, ["198.51.0.0/16"])
    one = states(settings, lake)[NEW_NETWORK]
    assert (one["state"], one["n"]) == ("not_evaluated", None)
    assert one["reason"] == "9 of the 10 days of history that it needs are on record"
    actor_days(lake, 10, ["198.51.0.0/16"])
    one = states(settings, lake)[NEW_NETWORK]
    assert (one["state"], one["n"]) == ("evaluated", 1)
    before = lake.read(f"detections/day={DAY}/detections.parquet")
    today = rule_tests.actor_days([{"x_actor": "alice", "days": [0, 0], "networks": ["203.0.0.0/16"]}], DAY)
    lake.write_table("actor_days", today, DAY)
    assert states(settings, lake)[NEW_NETWORK]["n"] == 1, "the day itself is no history of its own"
    assert lake.read(f"detections/day={DAY}/detections.parquet") == before


def selection(name: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"title": name, "name": name, "id": f"00000000-0000-4000-8000-{number:012}", "logsource": {"product": "ocsf"}, "detection": {"s": fields, "condition": "s"}}  # fmt: skip


def correlated(tmp_path: Path, correlation: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    top = {"title": "Both", "id": "99999999-9999-4999-8999-999999999999", "level": "high", "correlation": correlation}
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "both.yml").write_text(
        yaml.safe_dump_all([selection("one", 1, api_operation="A"), selection("two", 2, api_operation="B"), top])
    )
    write_events(lake, rows)
    return [row for row in detect(settings, lake, DAY).to_pylist() if row["rule_id"] == top["id"]]


def act(operation: str, minute: float, **more: Any) -> dict[str, Any]:
    return {"time": at(10, 0, minute * 60), "api_operation": operation, "x_actor": "alice", "status_id": 1, **more}


@pytest.mark.parametrize(
    ("kind", "acts", "n"),
    [
        ("temporal", [("A", 0), ("B", 5)], 2),
        ("temporal", [("B", 0), ("A", 5)], 2),
        ("temporal", [("A", 0), ("A", 5)], 0),
        ("temporal", [("A", 0), ("B", 5.1)], 0),
        ("temporal_ordered", [("A", 0), ("B", 5)], 2),
        ("temporal_ordered", [("B", 0), ("A", 5)], 0),
        ("temporal_ordered", [("A", 0), ("B", 5.1)], 0),
        ("temporal_ordered", [("A", 0), ("A", 4), ("B", 8), ("B", 20)], 2),
    ],
)
def test_several_selections_together_or_in_order(
    tmp_path: Path, kind: str, acts: list[tuple[str, float]], n: int
) -> None:
    said = {"type": kind, "rules": ["one", "two"], "group-by": ["x_actor"], "timespan": "5m"}
    found = correlated(tmp_path, said, [act(*one) for one in acts])
    assert sum(row["n"] for row in found) == n


def test_groups_of_selections_are_kept_apart_and_aliases_join_them(tmp_path: Path) -> None:
    rows = [act("A", 0, user_name="bob"), act("B", 1, x_actor="bob")]
    said = {"type": "temporal", "rules": ["one", "two"], "group-by": ["who"], "timespan": "5m", "aliases": {"who": {"one": "user_name", "two": "x_actor"}}}  # fmt: skip
    (tmp_path / "a").mkdir()
    (found,) = correlated(tmp_path / "a", said, rows)
    assert found["group_key"] == '{"who":"bob"}'
    (tmp_path / "b").mkdir()
    apart = {"type": "temporal", "rules": ["one", "two"], "group-by": ["x_actor"], "timespan": "5m"}
    assert correlated(tmp_path / "b", apart, rows) == []


def test_different_values_are_counted_not_events(tmp_path: Path) -> None:
    said = {"type": "value_count", "rules": ["one"], "group-by": ["x_actor"], "timespan": "10m", "condition": {"field": "resource_name", "gte": 3}}  # fmt: skip
    rows = [act("A", n / 10, resource_name=f"r{n % 2}") for n in range(20)]
    rows += [act("A", n, resource_name=f"r{n}", x_actor="bob") for n in range(4)]
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    top = {
        "title": "Many",
        "id": "99999999-9999-4999-8999-999999999999",
        "level": "high",
        "counts": "reads",
        "correlation": said,
    }
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "many.yml").write_text(yaml.safe_dump_all([selection("one", 1, api_operation="A"), top]))
    write_events(lake, rows)
    (found,) = [row for row in detect(settings, lake, DAY).to_pylist() if row["rule_id"] == top["id"]]
    assert (found["x_actor"], found["n"]) == ("bob", 4)
    assert "with 4 different resource_name" in found["explanation"]


def test_rules_of_others_load_by_the_names_of_sigmas_log_sources(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path, "sources: {k8s: {type: files, format: kubernetes_audit}, host: {type: files, format: linux_auth}}"
    )
    lake = open_lake(tmp_path)
    (tmp_path / "rules").mkdir()
    theirs = {"title": "Exec", "id": "99999999-9999-4999-8999-999999999991", "level": "medium", "logsource": {"category": "application", "product": "kubernetes", "service": "audit"}, "detection": {"s": {"verb": "create", "objectRef.resource": "pods", "objectRef.subresource": "exec"}, "condition": "s"}}  # fmt: skip
    words = {"title": "Words", "id": "99999999-9999-4999-8999-999999999992", "level": "medium", "logsource": {"product": "linux", "service": "auth"}, "detection": {"keywords": ["session opened"], "condition": "keywords"}}  # fmt: skip
    field = {
        **words,
        "id": "99999999-9999-4999-8999-999999999993",
        "detection": {"s": {"proc.name": "x"}, "condition": "s"},
    }
    for i, rule in enumerate((theirs, words, field)):
        (tmp_path / "rules" / f"r{i}.yml").write_text(yaml.safe_dump(rule))
    write_events(
        lake,
        [
            {"time": at(8), "x_source": "k8s", "api_operation": "create", "resource_type": "pods/exec", "x_actor": "eve"},
            {"time": at(8), "x_source": "k8s", "api_operation": "create", "resource_type": "pods", "x_actor": "bob"},
            {"time": at(8), "x_source": "host", "raw_data": "sshd: Session opened for root", "x_actor": "root"},
        ],
    )  # fmt: skip
    rows = {row["rule_id"]: row for row in detect(settings, lake, DAY).to_pylist()}
    assert rows[theirs["id"]]["x_actor"] == "eve"
    assert rows[words["id"]]["sources"] == ["host"]
    (error,) = sigma.load(settings)[1]
    assert "are text without fields" in error.reason
