"""Noise rules mark and hide nothing; they count on their days, for their sources, and a broken one marks nothing and is told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.context import connect
from audit_pipeline.errors import UsageError
from audit_pipeline.lake.store import Lake
from audit_pipeline.noise.rules import load
from audit_pipeline.noise.trial import trial
from audit_pipeline.settings import Settings
from audit_pipeline_tests.context.test_context import DAY, at, configured, lake_with

RULE: dict[str, Any] = {
    "id": "probes", "title": "Probes", "reason": "they ask all day", "owner": "cloud", "created": DAY, "expires": DAY + dt.timedelta(days=1),
    "sources": "all", "where": {"api_operation": "Ping"},
}  # fmt: skip
EXAMPLE = Path(__file__).parents[2] / "examples" / "noise" / "health_checks.yaml"


def with_rules(root: Path, *rules: dict[str, Any] | str) -> Settings:
    settings = configured(root)
    (root / "noise").mkdir(exist_ok=True)
    for n, rule in enumerate(rules):
        text = rule if isinstance(rule, str) else yaml.safe_dump(rule)
        (root / "noise" / f"{n}.yaml").write_text(text, encoding="utf-8")
    return settings


def marked(settings: Settings, lake: Lake) -> list[tuple[Any, ...]]:
    con = connect(settings, lake, tables=["events"])
    try:
        return con.execute("SELECT metadata_uid, x_noise_rule FROM events ORDER BY ALL").fetchall()
    finally:
        con.close()


def some_events(root: Path) -> Lake:
    rows = [
        {"metadata_uid": "a", "api_operation": "Ping"},
        {"metadata_uid": "b", "api_operation": "Delete"},
        {"metadata_uid": "c"},
    ]
    return lake_with(root, [{**row, "time": at(9)} for row in rows])  # fmt: skip


def test_events_are_marked_and_none_is_gone(tmp_path: Path) -> None:
    lake = some_events(tmp_path)
    assert marked(with_rules(tmp_path, RULE), lake) == [("a", "probes"), ("b", None), ("c", None)]


@pytest.mark.parametrize(
    "change",
    [
        {"created": DAY + dt.timedelta(days=1), "expires": DAY + dt.timedelta(days=9)},
        {"created": DAY - dt.timedelta(days=9), "expires": DAY},
        {"sources": ["two"]},
    ],
)
def test_a_rule_counts_only_on_its_days_and_for_its_sources(tmp_path: Path, change: dict[str, Any]) -> None:
    assert {rule for _, rule in marked(with_rules(tmp_path, {**RULE, **change}), some_events(tmp_path))} == {None}


def test_of_several_rules_the_first_by_id_marks(tmp_path: Path) -> None:
    everything = {**RULE, "id": "zz-all", "where": {"sel": {"class_uid": None}, "condition": "sel or not sel"}}
    found = marked(with_rules(tmp_path, everything, RULE), some_events(tmp_path))
    assert found == [("a", "probes"), ("b", "zz-all"), ("c", "zz-all")]


def test_an_edit_counts_at_once_and_rewrites_nothing(tmp_path: Path) -> None:
    lake = some_events(tmp_path)
    settings = with_rules(tmp_path, RULE)
    stored = {file: file.read_bytes() for file in Path(lake.root).rglob("*") if file.is_file()}
    assert marked(settings, lake)[0] == ("a", "probes")
    file = tmp_path / "noise" / "0.yaml"
    file.write_text(yaml.safe_dump({**RULE, "where": {"api_operation": "Delete"}}))
    import os

    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000))
    assert marked(settings, lake) == [("a", None), ("b", "probes"), ("c", None)]
    assert {file: file.read_bytes() for file in Path(lake.root).rglob("*") if file.is_file()} == stored


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({**RULE, "where": {"api_operatoin": "Ping"}, "sources": "all"}, "api_operatoin"),
        ({**RULE, "where": {"message|re": "("}}, "where"),
        ({**RULE, "sources": ["three"]}, "source 'three' is not configured"),
        ({**RULE, "expires": DAY}, "expires is not after created"),
        ({key: value for key, value in RULE.items() if key != "owner"}, "owner: Field required"),
        ({**RULE, "reason": ""}, "reason"),
        ({**RULE, "colour": "red"}, "colour"),
        ("id: [", "no YAML"),
        ({**RULE, "where": {"sel": {"api_operation": "x"}, "condition": "nothing"}}, "where"),
    ],
)
def test_a_broken_rule_marks_nothing_is_told_and_stops_no_other(tmp_path: Path, rule: Any, said: str) -> None:
    if isinstance(rule, dict) and "api_operatoin" in str(rule):
        text = "start: 2026-03-01\nsources:\n  one: {type: files, format: cloudtrail, paths: [x]}\n  two: {type: files, format: kubernetes_audit, paths: [x]}\n"
        with_rules(tmp_path, rule, {**RULE, "id": "fine"})
        settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    else:
        settings = with_rules(tmp_path, rule, {**RULE, "id": "fine"})
    rules, errors = load(settings)
    assert [one.rule.id for one in rules] == ["fine"]
    assert len(errors) == 1
    assert said in str(errors[0])
    assert "0.yaml" in str(errors[0])
    assert marked(settings, some_events(tmp_path))[0] == ("a", "fine")


def test_two_rules_of_one_id_are_told(tmp_path: Path) -> None:
    rules, errors = load(with_rules(tmp_path, RULE, RULE))
    assert (len(rules), len(errors)) == (1, 1)
    assert "is also that of" in str(errors[0])


def test_hostile_ids_and_values_are_data(tmp_path: Path) -> None:
    rule = {**RULE, "where": {"api_operation": "x' OR true --"}}
    assert {found for _, found in marked(with_rules(tmp_path, rule), some_events(tmp_path))} == {None}
    _, errors = load(with_rules(tmp_path, {**RULE, "id": "x' OR true"}))
    assert errors


def test_a_trial_counts_as_if_in_force(tmp_path: Path) -> None:
    settings = with_rules(
        tmp_path, {**RULE, "created": DAY + dt.timedelta(days=5), "expires": DAY + dt.timedelta(days=9)}
    )
    days, examples = trial(settings, some_events(tmp_path), "probes", DAY, DAY)
    assert [(row["day"], row["marked"], row["events"], round(row["share"], 3), row["in_force"]) for row in days] == [
        (DAY, 1, 3, 0.333, False)
    ]
    assert [row["api_operation"] for row in examples] == ["Ping"]
    with pytest.raises(UsageError, match="known: probes"):
        trial(settings, some_events(tmp_path), "other", DAY, DAY)


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    lake = lake_with(
        tmp_path,
        [{"metadata_uid": str(n), "http_request_user_agent": "ELB-HealthChecker/2.0", "status_id": n} for n in (1, 2)],
    )
    assert marked(with_rules(tmp_path, EXAMPLE.read_text()), lake) == [("1", "health_checks"), ("2", None)]
