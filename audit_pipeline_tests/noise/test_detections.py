"""Detection rules and noise: they see marked events unless they say otherwise, and may ask for what the configuration knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.detections.rule_tests import failures
from audit_pipeline.detections.run import detect, rule_errors, rules
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline_tests.context.test_context import DAY, HEADER, at, configured, lake_with
from audit_pipeline_tests.noise.test_noise import RULE

ID = "5e5a4a0c-55a1-4c5e-9d07-6b0f7d1c2a11"
DETECTION: dict[str, Any] = {
    "title": "Pings", "id": ID, "level": "low", "logsource": {"product": "ocsf"}, "detection": {"sel": {"api_operation": ["Ping", "Delete"]}, "condition": "sel"},
}  # fmt: skip
HOURS = 'hours: {zone: UTC, from: "07:00", to: "19:00"}\n'


def project(root: Path, rule: dict[str, Any], more: str = "", **files: str) -> tuple[Settings, Lake]:
    settings = configured(root, more, **files)
    for folder, name, text in (("rules", "pings.yml", rule), ("noise", "probes.yaml", RULE)):
        (root / folder).mkdir()
        (root / folder / name).write_text(yaml.safe_dump(text), encoding="utf-8")
    rows = [
        {"x_actor": "a", "api_operation": "Ping", "time": at(9), "status_id": 1},
        {"x_actor": "a", "api_operation": "Delete", "time": at(10), "status_id": 1},
        {"x_actor": "b", "api_operation": "Ping", "time": at(20), "status_id": 1},
    ]
    return settings, lake_with(root, [{**row, "x_segment": "s", "x_line": n} for n, row in enumerate(rows)])


def hits(settings: Settings, lake: Lake) -> dict[str, int]:
    assert not rule_errors(settings)
    return {row["x_actor"]: row["n"] for row in detect(settings, lake, DAY).to_pylist() if row["rule_id"] == ID}


def test_a_rule_sees_marked_events_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert hits(*project(tmp_path / "all", DETECTION)) == {"a": 2, "b": 1}
    assert hits(*project(tmp_path / "less", {**DETECTION, "noise": "exclude"})) == {"a": 1}


def test_another_word_about_noise_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    settings, _ = project(tmp_path, {**DETECTION, "noise": "hide"})
    (error,) = rule_errors(settings)
    assert "pings.yml" in str(error)
    assert "noise: exclude" in str(error)


def test_a_rule_may_ask_for_working_hours_and_the_inventory(tmp_path: Path) -> None:
    late = {**DETECTION, "detection": {"sel": {"api_operation": "Ping", "x_off_hours": True}, "condition": "sel"}}
    assert hits(*project(tmp_path / "hours", late, HOURS)) == {"b": 1}
    assert hits(*project(tmp_path / "none", late)) == {}, "without hours nobody knows"
    team = {**DETECTION, "detection": {"sel": {"x_actor_team": "cloud"}, "condition": "sel"}}
    listed = HEADER + "one,b,Bo,dev,human,,cloud,,\n"
    assert hits(*project(tmp_path / "team", team, identities=listed)) == {"Bo": 1}


def test_one_persons_accounts_are_one_detection(tmp_path: Path) -> None:
    listed = HEADER + "one,a,Bo,dev,human,,cloud,,\none,b,Bo,dev,human,,cloud,,\n"
    assert hits(*project(tmp_path, DETECTION, identities=listed)) == {"Bo": 3}


def test_test_events_may_say_what_the_configuration_would(tmp_path: Path) -> None:
    late = {**DETECTION, "detection": {"sel": {"x_off_hours": True}, "condition": "sel"}}
    settings, _ = project(tmp_path, late)
    event = {"time": at(9), "x_actor": "a"}
    case = {"name": "n", "day": DAY}
    cases = {"positive": [{**case, "events": [{**event, "x_off_hours": True}]}], "negative": [{**case, "events": [event]}]}  # fmt: skip
    (tmp_path / "rules" / "pings.tests.yml").write_text(yaml.safe_dump(cases), encoding="utf-8")
    (rule,) = [one for one in rules(settings) if one.id == ID]
    assert failures(rule) == []


@pytest.mark.parametrize("product", ["ocsf", "cloudtrail"])
def test_a_column_of_ours_that_does_not_exist_is_an_error_in_every_format(tmp_path: Path, product: str) -> None:
    wrong = {**DETECTION, "logsource": {"product": product}, "detection": {"sel": {"x_actr": "a"}, "condition": "sel"}}
    settings, _ = project(tmp_path, wrong)
    (error,) = rule_errors(settings)
    assert "'x_actr' is no event column" in str(error)
