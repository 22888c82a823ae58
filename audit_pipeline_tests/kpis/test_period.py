"""Weeks and months: measured again over the days that can be used, the others named; never a 0 for what was not seen."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from audit_pipeline.kpis.compute import compute
from audit_pipeline.kpis.period import Period, label, measure_period
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline_tests.detections.helpers import (
    DAY,
    at,
    burst,
    make_settings,
    open_lake,
    write_completeness,
    write_events,
)

ONE_DAY = dt.timedelta(days=1)
WEEK = [DAY + ONE_DAY * n for n in range(7)]  # Monday to Sunday
Place = tuple[Settings, Lake]


def call(time: dt.datetime, duration: int, status: int = 1) -> dict[str, Any]:
    return {"time": time, "class_uid": 6003, "category_uid": 6, "api_service_name": "shop", "api_operation": "GET", "status_id": status, "duration": duration}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A week: whole on Monday and Tuesday, partial on Wednesday, nothing on Thursday, whole on Friday, never computed after."""
    root = tmp_path_factory.mktemp("week")
    settings, lake = make_settings(root), open_lake(root)
    rows: list[dict[str, Any]] = []
    for number, day in enumerate(WEEK[:5]):
        if number == 3:
            continue
        rows += burst("alice", at(8, day=day), 11 if number != 2 else 500)
        rows += [call(at(9, 0, i, day=day), 1000 * (number + 1), status=2 if i == 0 else 1) for i in range(10 * (number + 1))]  # fmt: skip
    write_events(lake, rows)
    verdicts = ["no_gap_seen", "proven", "partial", "missing", "no_gap_seen"]
    for day, verdict in zip(WEEK, verdicts, strict=False):
        write_completeness(lake, day, {"idp": verdict, "vpn": "proven"})
        compute(settings, lake, day)
    return settings, lake


@pytest.fixture(scope="module")
def week(place: Place) -> Period:
    return measure_period(*place, WEEK[0], WEEK[6])


def row(period: Period, kpi: str, scope: str = "all") -> dict[str, Any]:
    (found,) = (one for one in period.table.to_pylist() if (one["kpi_id"], one["scope"]) == (kpi, scope))
    return dict(found)


def test_counts_are_those_of_whole_days_and_the_others_are_named(week: Period) -> None:
    found = row(week, "failed_sign_ins")
    assert (found["value"], found["n"], found["population"]) == (33.0, 33, 33)
    assert (found["days_used"], found["days_left_out"]) == (3, 4)
    assert found["left_out"] == [WEEK[2], WEEK[3], WEEK[5], WEEK[6]]
    assert (found["verdict"], found["period"]) == ("partial", "2026-W10")
    assert (found["start"], found["end"]) == (at(0), at(24, day=WEEK[6]))


def test_one_account_on_three_days_is_one_account(week: Period) -> None:
    assert row(week, "accounts_under_guessing")["value"] == 1.0


def test_a_percentile_is_measured_over_the_events_of_the_days_that_are_used(week: Period) -> None:
    """10 calls of 1 s, 20 of 2 s, 50 of 5 s; the 30 of Wednesday, 3 s each, are left out."""
    found = row(week, "slow_operations", "service:shop")
    assert (found["value"], found["population"]) == (5.0, 80)
    assert week.details["slow_operations"][0]["n"] == 80


def test_rates_have_the_interval_of_the_pooled_numbers(week: Period) -> None:
    found = row(week, "error_rate_by_service")
    assert (found["n"], found["population"], found["value"]) == (3, 80, 3 / 80)
    assert 0.01 < found["low"] < 3 / 80 < found["high"] < 0.11


def test_what_measures_incompleteness_uses_every_day_that_was_computed(week: Period) -> None:
    assert (row(week, "completeness")["n"], row(week, "completeness")["population"]) == (8, 10)
    assert (row(week, "coverage")["n"], row(week, "coverage")["population"]) == (9, 10)
    assert row(week, "completeness")["left_out"] == WEEK[5:]
    assert row(week, "completeness")["state"] == "bad"
    assert row(week, "completeness", "source:vpn")["value"] == 1.0
    assert row(week, "completeness", "source:vpn")["state"] == "not_evaluated"  # two days of the week were not computed


def test_a_source_that_is_whole_keeps_its_days(week: Period) -> None:
    found = row(week, "failed_sign_ins", "source:vpn")
    assert (found["value"], found["days_used"], found["left_out"]) == (0.0, 5, WEEK[5:])


def test_days_that_nobody_computed_have_no_value(place: Place) -> None:
    later = measure_period(*place, WEEK[5], WEEK[6]).table.to_pylist()
    assert {(one["value"], one["state"], one["n"], one["days_used"]) for one in later} == {(None, "no_data", None, 0)}


def test_the_period_before_is_compared_only_where_half_of_it_can_be_used(place: Place) -> None:
    after_two = row(measure_period(*place, WEEK[2], WEEK[4]), "failed_sign_ins")  # before it: a Sunday unknown, then two whole days  # fmt: skip
    assert (after_two["value"], after_two["previous"], after_two["trend"]) == (11.0, 22.0, -0.5)
    assert row(measure_period(*place, WEEK[4], WEEK[4]), "failed_sign_ins")["previous"] is None  # Thursday was missing
    assert row(measure_period(*place, WEEK[1], WEEK[1]), "failed_sign_ins")["previous"] == 11.0


def test_a_file_that_fails_fails_alone(tmp_path: Any) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    (tmp_path / "kpis").mkdir()
    (tmp_path / "kpis" / "broken.yaml").write_text(
        "{id: broken, title: B, unit: count, direction: lower_is_better, owner: o, kind: count, explanation: e, population: nonsense = 1}"
    )
    write_events(lake, burst("alice", at(8), 3))
    write_completeness(lake, DAY, {"idp": "proven", "vpn": "proven"})
    compute(settings, lake, DAY)
    found = measure_period(settings, lake, DAY, DAY)
    assert row(found, "failed_sign_ins")["value"] == 3.0
    assert row(found, "broken")["value"] is None
    assert [error.file.name for error in found.errors] in (
        [],
        ["broken.yaml"],
    )  # no day of it can be used: not asked again


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-11-23", "2026-11-23", "2026-11-23"),
        ("2026-11-16", "2026-11-22", "2026-W47"),
        ("2026-12-28", "2027-01-03", "2026-W53"),
        ("2026-11-01", "2026-11-30", "2026-11"),
        ("2026-02-01", "2026-02-28", "2026-02"),
        ("2026-11-02", "2026-11-09", "2026-11-02/2026-11-09"),
        ("2026-11-01", "2026-12-31", "2026-11-01/2026-12-31"),
    ],
)
def test_periods_have_the_names_of_reports(start: str, end: str, expected: str) -> None:
    assert label(dt.date.fromisoformat(start), dt.date.fromisoformat(end)) == expected
