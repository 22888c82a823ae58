"""When things run by themselves: nights, weeks, months, whatever the time of day that is configured."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.orchestration.build import build_definitions
from audit_pipeline.orchestration.partitions import ending_with, periodic
from audit_pipeline.reports.periods import KINDS, Period
from audit_pipeline.settings import Settings

DAYS = st.dates(dt.date(2020, 1, 1), dt.date(2030, 12, 31))


def settings(more: str = "") -> Settings:
    return Settings.from_text(
        "start: 2026-01-07\nsources: {one: {type: files, format: cloudtrail, paths: [x]}}\n" + more,
        Path("/nowhere/pipeline.yaml"),
    )


def request(name: str, at: str, more: str = "") -> dg.RunRequest | dg.SkipReason:
    """What a schedule asks for at a moment."""
    repository = build_definitions(settings(more)).get_repository_def()
    context = dg.build_schedule_context(scheduled_execution_time=dt.datetime.fromisoformat(at), repository_def=repository)  # fmt: skip
    found = repository.get_schedule_def(name).evaluate_tick(context)
    return found.run_requests[0] if found.run_requests else dg.SkipReason(found.skip_message)


@given(DAYS)
def test_a_day_lies_in_its_period_and_periods_follow_each_other(day: dt.date) -> None:
    for kind in KINDS:
        period = Period.of(kind, day)
        assert period.first <= day <= period.last
        assert Period.of(kind, period.last) == period
        assert period.following.first == period.last + dt.timedelta(days=1)
        assert (period in ending_with(day)) == (day == period.last)


def test_the_first_week_and_month_are_those_with_the_start_in_them() -> None:
    now = dt.datetime(2026, 3, 3, 12, tzinfo=dt.UTC)
    assert periodic(settings(), "weekly").get_partition_keys(current_time=now)[:2] == ["2026-01-05", "2026-01-12"]
    assert periodic(settings(), "monthly").get_partition_keys(current_time=now) == ["2026-01-01", "2026-02-01"]


@pytest.mark.parametrize(
    ("name", "at", "run_at", "wanted"),
    [
        ("nightly", "2026-03-03T03:00:00+00:00", "03:00", "2026-03-02"),
        ("weekly", "2026-03-02T04:00:00+00:00", "03:00", "2026-02-23"),
        ("weekly", "2026-03-03T00:30:00+00:00", "23:30", "2026-02-23"),
        ("monthly", "2026-03-01T04:30:00+00:00", "03:00", "2026-02-01"),
        ("monthly", "2026-03-02T01:00:00+00:00", "23:30", "2026-02-01"),
    ],
)
def test_a_schedule_asks_for_what_has_just_ended(name: str, at: str, run_at: str, wanted: str) -> None:
    found = request(name, at, f'run_at: "{run_at}"\n')
    assert isinstance(found, dg.RunRequest)
    assert found.partition_key == wanted


@pytest.mark.parametrize("name", ["nightly", "weekly", "monthly"])
def test_nothing_is_asked_for_before_the_start(name: str) -> None:
    at = {"nightly": "2026-01-07T03:00:00+00:00", "weekly": "2026-01-05T04:00:00+00:00", "monthly": "2026-01-01T04:30:00+00:00"}[name]  # fmt: skip
    assert isinstance(request(name, at), dg.SkipReason)


@pytest.mark.parametrize(("clock", "status"), [("system", "RUNNING"), ("simulated", "STOPPED")])
def test_schedules_run_unless_the_clock_is_simulated(clock: str, status: str) -> None:
    defs = build_definitions(settings(f"clock: {clock}\n"))
    assert {s.name: s.default_status.value for s in defs.schedules or []} == dict.fromkeys(["nightly", "weekly", "monthly", "prune"], status)  # fmt: skip


def test_the_jobs_hold_what_they_say() -> None:
    repository = build_definitions(settings()).get_repository_def()
    assets = {
        name: {key.to_user_string() for key in repository.get_job(name).asset_layer.executable_asset_keys}
        for name in ("nightly", "recompute", "weekly", "monthly")
    }
    assert {"raw/one", "mail/daily"} <= assets["nightly"]
    assert not {key for key in assets["nightly"] if "weekly" in key or "monthly" in key}
    assert not {key for key in assets["recompute"] if key.startswith(("raw/", "mail/"))}
    assert (assets["weekly"], assets["monthly"]) == ({"report/weekly", "mail/weekly"}, {"report/monthly", "mail/monthly"})  # fmt: skip
