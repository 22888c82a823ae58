"""`noise list`, `noise test` and `check` as a person types them: what they print and how they end."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner, Result

from audit_pipeline.cli import main
from audit_pipeline.clock import DAY as ONE_DAY
from audit_pipeline.clock import SystemClock
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.preflight import check
from audit_pipeline.settings import Settings
from audit_pipeline_tests.context.test_context import BASE, DAY, HEADER, at, lake_with
from audit_pipeline_tests.noise.test_noise import RULE

TODAY = SystemClock().now().date()
LATER = TODAY + 90 * ONE_DAY


def project(root: Path, *rules: dict[str, Any], more: str = "") -> Settings:
    (root / "pipeline.yaml").write_text(BASE + more, encoding="utf-8")
    (root / "noise").mkdir()
    for n, rule in enumerate(rules):
        (root / "noise" / f"{n}.yaml").write_text(yaml.safe_dump(rule), encoding="utf-8")
    return Settings.load(root / "pipeline.yaml")


def asked(root: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["-c", str(root / "pipeline.yaml"), "noise", *words])


def lines(result: Result) -> list[dict[str, Any]]:
    text = result.stdout.strip()
    found = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    assert isinstance(found, list)
    return found


def with_events(root: Path) -> Lake:
    rows = [{"api_operation": "Ping", "x_actor": f"actor{n}", "time": at(n)} for n in range(7)]
    lake = lake_with(root, [*rows, {"api_operation": "Delete", "time": at(9)}])
    judged = pa.Table.from_pylist([{"day": DAY, "source": "one", "verdict": "proven", "reasons": []}], schema=TABLES["completeness"].schema)  # fmt: skip
    lake.write_table("completeness", judged, DAY)
    return lake


@pytest.mark.parametrize(
    ("days", "state", "code"),
    [((-9, 9), "in force", 0), ((-9, -2), "expired", 1), ((5, 9), "not yet", 0)],
)
def test_list_says_what_counts_and_ends_with_1_for_what_has_expired(
    tmp_path: Path, days: tuple[int, int], state: str, code: int
) -> None:
    created, expires = (TODAY + n * ONE_DAY for n in days)
    project(tmp_path, {**RULE, "created": created, "expires": expires})
    result = asked(tmp_path, "list", "--format", "json")
    (row,) = lines(result)
    assert (row["state"], row["owner"], row["reason"], result.exit_code) == (state, "cloud", "they ask all day", code)


def test_list_names_a_broken_file_beside_those_that_count(tmp_path: Path) -> None:
    project(tmp_path, {**RULE, "expires": LATER}, {**RULE, "id": "second", "where": {"x_no_such": 1}, "expires": LATER})
    result = asked(tmp_path, "list")
    assert result.exit_code == 1
    assert "probes" in result.stdout
    assert "1.yaml: this noise rule marks nothing: where: field 'x_no_such' is no event column" in result.stderr


def test_test_counts_by_day_and_shows_five_examples(tmp_path: Path) -> None:
    project(tmp_path, RULE)
    with_events(tmp_path)
    (row,) = lines(asked(tmp_path, "test", "probes", "--format", "json"))
    assert (row["day"], row["marked"], row["events"], row["share"]) == (DAY.isoformat(), 7, 8, 0.875)
    shown = asked(tmp_path, "test", "probes")
    assert shown.exit_code == 0
    assert [f"actor{n}" in shown.stdout for n in range(7)] == [True] * 5 + [False] * 2
    assert "5 of the events" in shown.stdout


def test_a_rule_that_marks_nothing_says_so_and_a_field_that_no_record_has_is_named(tmp_path: Path) -> None:
    project(tmp_path, {**RULE, "where": {"eventNmae": "Ping"}})
    with_events(tmp_path)
    shown = asked(tmp_path, "test", "probes")
    assert "no event of these days is marked" in shown.stdout
    assert "'eventNmae' is in none of the 8 events" in shown.stderr


def test_test_before_the_first_night_says_what_to_do(tmp_path: Path) -> None:
    project(tmp_path, RULE)
    result = asked(tmp_path, "test", "probes")
    assert result.exit_code == 1
    assert "no day is computed yet" in result.stderr


def told(settings: Settings, what: str) -> list[tuple[bool, str]]:
    return [(probe.ok, probe.detail) for probe in check(settings) if probe.what == what]


def test_check_tells_of_rules_that_end_ended_or_cannot_be_used(tmp_path: Path) -> None:
    begin = dt.date(2026, 1, 1)
    settings = project(
        tmp_path,
        {**RULE, "id": "a-ended", "created": begin, "expires": TODAY - ONE_DAY},
        {**RULE, "id": "b-ends", "created": begin, "expires": TODAY + 3 * ONE_DAY},
        {**RULE, "id": "c-lasts", "created": begin, "expires": LATER},
        {**RULE, "id": "d-broken", "created": begin, "expires": LATER, "where": {"message|re": "("}},
    )
    found = told(settings, "noise rule")
    assert [(ok, word) for ok, text in found for word in ("a-ended expired", "b-ends expires", "3.yaml", "c-lasts") if word in text] == [
        (False, "3.yaml"), (False, "a-ended expired"), (True, "b-ends expires"),
    ]  # fmt: skip


def test_check_reads_the_inventory_as_a_night_would(tmp_path: Path) -> None:
    settings = project(tmp_path, more="identities: identities.csv\n")
    (tmp_path / "identities.csv").write_text(HEADER + "one,a,A,r,human,,,,\n", encoding="utf-8")
    assert told(settings, "context") == [(True, "1 identities, 0 releases, no working hours")]
    (tmp_path / "identities.csv").write_text(HEADER + "one,a,A,r,robot,,,,\n", encoding="utf-8")
    ((ok, text),) = told(settings, "context")
    assert not ok
    assert "identities.csv line 2: kind is 'robot'" in text
