"""Silence statistics on simulated and real sources: nothing cries wolf, and what is missing is found."""

from __future__ import annotations

import datetime as dt
import functools
import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.quality.profile import DAY_US
from audit_pipeline.quality.rhythm import SHORTEST_S, Rhythm
from audit_pipeline_tests.quality import simulate
from audit_pipeline_tests.quality.measure import Found, measure, minutes, nights
from audit_pipeline_tests.quality.world import HOUR_US, START, without


@functools.cache
def measured(kind: str) -> Found:
    return measure(kind, seeds=1)


@pytest.mark.parametrize("kind", simulate.ALL)
def test_ninety_days_without_a_false_alarm_and_no_hole_overlooked(kind: str) -> None:
    """The table in docs/explanation/completeness.md, for one seed; `python -m audit_pipeline_tests.quality.measure` prints all of it."""
    found = measured(kind)
    assert found.judged == 88
    assert found.alarms <= (1 if kind == "weekly" else 0)
    if kind in ("office", "people", "service", "batches", "growing", "month_end", "summer_time"):
        assert found.six.part >= 0.95
        assert found.six.tried >= 5


def test_the_smallest_gap_that_is_told_is_the_smallest_that_is_noticed() -> None:
    """A hole a quarter larger is found, one a quarter smaller is not, nine times of ten."""
    kinds = ("office", "service", "batches", "growing", "month_end", "summer_time")
    found = [measured(kind) for kind in kinds]
    for sort in ("larger", "smaller"):
        tried = sum(getattr(one, sort).tried for one in found)
        assert tried > 80
        assert sum(getattr(one, sort).right for one in found) / tried >= 0.9


@pytest.mark.parametrize("kind", ["office", "service", "batches", "growing"])
@pytest.mark.parametrize(("number", "hours"), [(3, (8, 17)), (21, (8, 17)), (21, (9, 15))])
def test_a_silence_in_working_hours_is_found(kind: str, number: int, hours: tuple[int, int]) -> None:
    for seed in range(3):
        rng = np.random.default_rng(100 + seed)
        days = [START + n * DAY for n in range(number)]
        rhythm = Rhythm.learn([minutes(day, simulate.ALL[kind](rng, day)) for day in days])
        assert rhythm is not None
        day = START + number * DAY
        assert day.weekday() < 5
        whole = simulate.ALL[kind](rng, day)
        worst = rhythm.silences(minutes(day, without(whole, *hours)))[0]
        if kind != "batches" or number > 3:  # batches of fifteen need longer to know themselves
            assert worst.ratio > 1
        assert worst.start_us <= hours[0] * HOUR_US < hours[1] * HOUR_US <= worst.end_us


def test_what_is_expected_is_what_was_taken_away() -> None:
    rng = np.random.default_rng(5)
    rhythm = Rhythm.learn([minutes(START + n * DAY, simulate.service(rng, START)) for n in range(10)])
    assert rhythm is not None
    whole = simulate.service(rng, START)
    gone = whole[(whole >= 8 * HOUR_US) & (whole <= 17 * HOUR_US)]
    worst = rhythm.silences(minutes(START + 10 * DAY, without(whole, 8, 17)))[0]
    assert worst.expected == pytest.approx(len(gone), rel=0.1)


def test_a_source_that_dies_in_the_morning_is_not_taken_for_a_holiday() -> None:
    rng = np.random.default_rng(7)
    days = [START + n * DAY for n in range(15)]
    rhythm = Rhythm.learn([minutes(day, simulate.office(rng, day)) for day in days])
    assert rhythm is not None
    day = START + 15 * DAY
    dead = rhythm.silences(minutes(day, without(simulate.office(rng, day), 6.5, 24)))[0]
    assert dead.end_us == DAY_US
    assert dead.ratio > 2


def test_short_silences_are_no_loss_worth_a_verdict() -> None:
    rng = np.random.default_rng(8)
    busy = np.full(24, 3000.0)
    rhythm = Rhythm.learn([minutes(START + n * DAY, simulate.flow(rng, busy)) for n in range(5)])
    assert rhythm is not None
    whole = simulate.flow(rng, busy)
    day = START + 5 * DAY
    assert rhythm.silences(minutes(day, without(whole, 10, 10 + 280 / 3600)))[0].ratio == 0
    assert rhythm.silences(minutes(day, without(whole, 10, 10 + 320 / 3600)))[0].ratio > 1
    assert rhythm.smallest_s(minutes(day, whole)) == SHORTEST_S


def test_an_outage_among_the_first_days_does_not_hide_the_next() -> None:
    rng = np.random.default_rng(10)
    days = [START + n * DAY for n in range(6)]
    whole = [simulate.batches(rng, day) for day in days]
    honest = Rhythm.learn([minutes(day, times) for day, times in zip(days[1:], whole[1:], strict=True)])
    taught = [
        minutes(days[0], without(whole[0], 6, 20)),
        *(minutes(day, times) for day, times in zip(days[1:], whole[1:], strict=True)),
    ]
    rhythm = Rhythm.learn(taught)
    assert rhythm is not None
    assert honest is not None
    assert [day.day for day in rhythm.days] == days[1:]
    assert rhythm.tail == honest.tail


def test_what_is_usual_is_that_of_like_days() -> None:
    """Weekends and one holiday do not make a silence of a working day usual."""
    rng = np.random.default_rng(4)
    days = [START + n * DAY for n in range(30)]
    rhythm = Rhythm.learn([minutes(day, simulate.people(rng, day)) for day in days])
    assert rhythm is not None
    wednesday = START + 30 * DAY
    assert 0 < rhythm.usual_s(wednesday, 8 * HOUR_US, 14 * HOUR_US) < 3 * 3600
    assert rhythm.usual_s(wednesday + 3 * DAY, 8 * HOUR_US, 14 * HOUR_US) > 3 * 3600


def test_without_days_there_is_nothing_usual() -> None:
    assert Rhythm.learn([]) is None


def test_a_source_of_three_events_a_day_cannot_be_seen_to_be_silent() -> None:
    rng = np.random.default_rng(9)
    few = [minutes(START + n * DAY, np.sort(rng.integers(0, DAY_US, 3))) for n in range(20)]
    rhythm = Rhythm.learn(few[:-1])
    assert rhythm is not None
    assert rhythm.smallest_s(few[-1]) is None


def shared(folder: str) -> Path:
    root = os.environ.get("AUDIT_PIPELINE_SHARED_DATA") or str(Path(__file__).parents[3] / "shared" / "data")
    if not (Path(root) / folder).is_dir():
        pytest.skip("shared data is absent")
    return Path(root) / folder


@pytest.mark.slow
def test_forty_days_of_a_real_honeypot() -> None:
    """No alarm on 40 real days, and nine hours taken out of the fourth and of the twentieth are found."""
    stamp = re.compile(rb'"timestamp":\s*"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})')
    found: list[bytes] = []
    for file in sorted(shared("cowrie_ssh").rglob("*.gz")):
        found += stamp.findall(gzip.decompress(file.read_bytes()))
    times = np.sort(np.array([item.decode() for item in found], "datetime64[us]").astype(np.int64))
    epoch = dt.date(1970, 1, 1)
    days = [
        minutes(epoch + int(day) * DAY, times[times // DAY_US == day] - day * DAY_US)
        for day in np.unique(times // DAY_US)
    ]
    assert len(days) == 40
    assert [day for day, _, alarm in nights(days) if alarm] == []
    for number in (3, 19):
        day = days[number]
        stamps = np.concatenate([times[times // DAY_US == (day.day - epoch).days] % DAY_US])
        rhythm = Rhythm.learn(days[:number])
        assert rhythm is not None
        assert rhythm.silences(minutes(day.day, without(stamps, 8, 17)))[0].ratio > 1
