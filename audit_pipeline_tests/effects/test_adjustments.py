"""Adjustments: declared in a file, judged once by the engine of fixes, and told where they cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from audit_pipeline.cli import main
from audit_pipeline.clock import DAY, SimulatedClock, midnight
from audit_pipeline.effects.adjustments import load
from audit_pipeline.effects.model import Point
from audit_pipeline.preflight import check
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline_tests.effects.place import KPI, SCOPE, Place
from benchmarks.effects_families import BASE, CAMPAIGNS, FIRST, draw

AT = FIRST + 56 * DAY
DECISION = AT + 29 * DAY
ENTRY = {"id": "lockout-5", "title": "Lock after five failures", "at": midnight(AT), "kpi_id": KPI, "scope": SCOPE, "direction": "down", "owner": "cloud"}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


def declare(place: Place, *entries: object) -> None:
    (place.settings.root / "adjustments.yaml").write_text(yaml.safe_dump(list(entries)), encoding="utf-8")


def series(effect: float, seed: int = 3) -> list[Point]:
    before, after = draw(replace(BASE, before=56, after=29), seed, effect)
    return [*before, *after]


@pytest.mark.parametrize(
    ("effect", "direction", "verdict"),
    [
        (0.6, "down", "better"),
        (0.6, "up", "worse"),
        (-1.5, "down", "worse"),
        (-1.5, "up", "better"),
        (0.0, "down", "no_change_seen"),
    ],
)
def test_judged_once_on_its_date_in_its_own_words(place: Place, effect: float, direction: str, verdict: str) -> None:
    place.days(series(effect))
    declare(place, {**ENTRY, "direction": direction})
    assert place.effects(AT - DAY) == []
    (waiting,) = place.effects(DECISION - DAY)
    assert (waiting["verdict"], waiting["decision_date"]) == ("pending", DECISION)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == verdict, row["reason"]
    assert (row["subject"], row["subject_id"], row["finding_id"], row["kind"], row["promised"]) == ("adjustment", "lockout-5", None, None, None)  # fmt: skip
    assert row["reason"].startswith("Lock after five failures (cloud): ")
    assert (row["days_before"], row["days_after"]) == (56, 28)
    place.days([Point(DECISION + n * DAY, 9000.0) for n in range(3)])
    place.kpi(AT + 3 * DAY, 9000.0)
    assert place.effects(DECISION + 2 * DAY) == [row]


def test_a_campaign_that_ends_by_itself_makes_no_adjustment_better(place: Place) -> None:
    before, after = draw(CAMPAIGNS["K21"], 5)
    at = after[0].day
    place.days([*before, *after, Point(after[-1].day + DAY, 40.0)])
    declare(place, {**ENTRY, "at": midnight(at), "decision_date": at + 28 * DAY})
    (row,) = place.effects(at + 28 * DAY)
    assert row["verdict"] != "better", row["reason"]
    assert "where an episode began" in row["reason"]


def test_a_change_beside_it_that_could_explain_it_makes_it_inconclusive(place: Place) -> None:
    place.days(series(0.6))
    place.detection(AT + 2 * DAY, rule="own", group="{}", attack=["T1562.008"])
    declare(place, ENTRY)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == "inconclusive"
    assert "a change beside the adjustment could explain" in row["reason"]


def test_too_few_days_are_not_no_change(place: Place) -> None:
    place.days([one for one in series(0.6) if one.day >= AT - 9 * DAY])
    declare(place, ENTRY)
    assert place.effects(DECISION)[0]["verdict"] == "inconclusive"


def test_without_a_file_there_are_none(place: Place) -> None:
    place.days(series(0.6))
    assert place.effects(DECISION) == []
    assert load(place.settings) == ([], [])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**ENTRY, "kpi_id": "no_such"}, "there is no KPI no_such"),
        ({**ENTRY, "scope": "finding:1"}, "scope"),
        ({**ENTRY, "at": midnight(AT).replace(tzinfo=None)}, "with its zone"),
        ({**ENTRY, "direction": "better"}, "direction"),
        ({**ENTRY, "decision_date": AT}, "decision_date"),
        ({**ENTRY, "colour": "red"}, "colour"),
        ({name: value for name, value in ENTRY.items() if name != "owner"}, "owner"),
        ("text", "entry 2"),
    ],
    ids=["kpi", "scope", "zone", "direction", "date", "unknown", "owner", "text"],
)
def test_an_entry_that_cannot_be_used_is_told_and_stops_no_other(place: Place, entry: Any, words: str) -> None:
    place.days(series(0.6))
    declare(place, ENTRY, {**entry, "id": "b"} if isinstance(entry, dict) else entry)
    rows = {row["subject_id"]: row for row in place.effects(DECISION)}
    assert rows["lockout-5"]["verdict"] == "better"
    wrong = rows["adjustments.yaml entry 2"]
    assert wrong["verdict"] == "inconclusive"
    assert words in wrong["reason"]
    assert [probe.detail for probe in check(place.settings) if probe.what == "adjustment"] == [wrong["reason"]]


def test_ids_are_unique_and_a_broken_file_is_named(place: Place) -> None:
    declare(place, ENTRY, ENTRY)
    assert "twice" in str(load(place.settings)[1][0])
    for text in ("{a: 1}", "- [", "\xff"):
        (place.settings.root / "adjustments.yaml").write_bytes(text.encode("latin-1"))
        assert load(place.settings)[0] == []
        assert "adjustments.yaml" in str(load(place.settings)[1][0])


def test_the_report_tells_of_it_under_fixes_and_effects(place: Place) -> None:
    place.days(series(0.6))
    declare(place, {**ENTRY, "title": "Lock <after> five"})
    place.effects(DECISION)
    edition = publish_daily(place.settings, place.lake, DECISION, SimulatedClock(midnight(DECISION) + 2 * DAY))
    (row,) = edition.report["adjustments"]
    assert (row["subject_id"], row["verdict"]) == ("lockout-5", "better")
    html = place.lake.read(f"{edition.folder}/report.html").decode()
    assert "Lock &lt;after&gt; five" in html
    (place.settings.root / "adjustments.yaml").unlink()
    place.effects(DECISION)
    again = publish_daily(place.settings, place.lake, DECISION, SimulatedClock(midnight(DECISION) + 2 * DAY))
    assert "adjustments" not in again.report  # without the file a report is as it was before there were any


def test_the_command_line_lists_and_explains_it(place: Place) -> None:
    place.days(series(0.6))
    declare(place, ENTRY)
    place.effects(DECISION)
    (place.settings.root / "pipeline.yaml").write_text("start: 2026-01-01\nsources: {idp: {type: files, format: cloudtrail}}\n")  # fmt: skip
    for words in (["list"], ["explain", "lockout-5"]):
        said = CliRunner().invoke(main, ["-c", str(place.settings.root / "pipeline.yaml"), "effects", *words])
        assert said.exit_code == 0, said.output
        assert "better" in said.output
        assert "adjustment" in said.output
