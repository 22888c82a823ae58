"""Volume against the source's own weekdays and hours: told with its hours, its holiday and its company, and never a verdict."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.quality.volume import Calendar, band, quiet_hours
from audit_pipeline_tests.quality import simulate
from audit_pipeline_tests.quality.measure import minutes
from audit_pipeline_tests.quality.world import HOUR_US, START, Times, World, at, codes, days, reason

WEEKS = 5
CALENDAR = Calendar(frozenset(simulate.HOLIDAYS))
D = START + WEEKS * 7 * DAY  # a Monday


def office(day: dt.date, level: float = 1.0) -> Times:
    hourly = simulate.OFFICE * (2000 if day.weekday() < 5 else 200) * level + 2
    return simulate.flow(np.random.default_rng(day.toordinal()), hourly)


def known(root: Path, *, more: str = "", sources: tuple[str, ...] = ("app",), last: int = 7) -> World:
    """Five weeks of an office; only the days that a Monday is held against, and the last week, are judged one by one."""
    world = World(root, sources=sources, config=more)
    for day in days(WEEKS * 7):
        if day.weekday() == 0 or (D - day).days <= last:
            for source in sources:
                world.put(day, office(day), source=source)
            world.judge(day)
    return world


def test_half_the_events_of_six_hours_are_told_with_their_hours(tmp_path: Path) -> None:
    """One of two servers stops: no silence, and half the events."""
    world = known(tmp_path)
    times = office(D)
    inside = (times > 9 * HOUR_US) & (times < 15 * HOUR_US)
    row = world.night(D, times[~inside | (np.arange(len(times)) % 2 == 0)])
    assert (row["verdict"], codes(row)) == ("no_gap_seen", ["volume_low"])
    found = reason(row, "volume_low")
    assert abs(found["from"] - at(D, 9)) <= dt.timedelta(hours=1)
    assert abs(found["to"] - at(D, 15)) <= dt.timedelta(hours=1)
    assert found["share"] == pytest.approx(0.5, abs=0.1)
    assert found["seen"] == pytest.approx(found["expected"] / 2, rel=0.2)
    assert f"{found['from']:%H:%M} to {found['to']:%H:%M}" in found["detail"]


def test_an_ordinary_day_tells_nothing(tmp_path: Path) -> None:
    assert codes(known(tmp_path).night(D, office(D))) == []


HOLIDAY = {"hours": "hours: {zone: UTC, holidays: holidays.csv}\n"}


def test_a_holiday_of_the_calendar_is_held_against_days_off(tmp_path: Path) -> None:
    (tmp_path / "holidays.csv").write_text(f"date,name\n{D},May Day\n", encoding="utf-8")
    world = known(tmp_path, more=HOLIDAY["hours"])
    row = world.night(D, office(D, 0.1))
    assert (row["verdict"], codes(row)) == ("no_gap_seen", [])
    assert row["expected_high"] < 1000


def test_a_day_off_that_no_calendar_knows_is_told(tmp_path: Path) -> None:
    row = known(tmp_path).night(D, office(D, 0.1))
    assert codes(row) == ["volume_low"]
    assert row["expected_low"] > 1000
    assert "source" not in reason(row, "volume_low")["detail"]  # nobody to compare it with


def test_low_volume_that_other_sources_share_is_said_to_be_shared(tmp_path: Path) -> None:
    world = known(tmp_path, sources=("app", "dns", "vpn"), last=2)
    for source, level in (("app", 0.1), ("dns", 0.1), ("vpn", 1.0)):
        world.put(D, office(D, level), source=source)
    assert "1 of 2 other sources low too" in reason(world.judge(D, "app"), "volume_low")["detail"]
    assert codes(world.judge(D, "vpn")) == []
    world.put(D, office(D), source="dns")
    assert "no other source was low" in reason(world.judge(D, "app"), "volume_low")["detail"]


def test_days_are_held_against_their_own_weekday_from_the_fourth_week_on() -> None:
    calendar = Calendar(frozenset({START + 7 * DAY}))
    monday = START + 28 * DAY
    few, many = days(21), days(28 + 7)
    assert calendar.alike(monday, few) == {d for d in few if d.weekday() < 5 and d != START + 7 * DAY}
    assert calendar.alike(monday + 7 * DAY, many) == {d for d in many if d.weekday() == 0 and d != START + 7 * DAY}
    assert START + 7 * DAY in calendar.alike(START + 26 * DAY, few)  # a Saturday: a holiday is a day off like it


def test_one_odd_week_among_five_does_not_widen_the_band() -> None:
    usual, odd = band([1000, 1010, 990, 1005, 995]), band([1000, 1010, 990, 1005, 20])
    assert usual is not None
    assert odd is not None
    assert odd[0] > 700
    assert band([]) is None


@pytest.mark.parametrize("kind", ["office", "service", "batches", "month_end", "summer_time"])
def test_hours_are_seldom_told_of_days_that_are_whole(kind: str) -> None:
    """At most one day in twenty; holidays, which no calendar knows here, apart."""
    rng = np.random.default_rng(3)
    whole = [minutes(day, simulate.ALL[kind](rng, day)) for day in days(90)]
    told = judged = 0
    for number, day in enumerate(whole):
        usual = [one for one in whole[max(number - 56, 0) : number] if CALENDAR.off(one.day) == CALENDAR.off(day.day)]
        if number >= 28 and day.day not in simulate.HOLIDAYS:
            judged += 1
            told += bool(quiet_hours(day, usual))
    assert judged > 50
    assert told / judged <= 0.05
