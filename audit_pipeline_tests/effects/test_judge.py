"""The arithmetic: the joint rule, its symmetries, and published series."""

from __future__ import annotations

import csv
import datetime as dt
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.effects.episode import episode
from audit_pipeline.effects.judge import judge
from audit_pipeline.effects.model import NoEstimateError, Point, estimate, trend_p
from audit_pipeline.effects.weeks import permutation_p, smallest_p, week_rates
from benchmarks.effects_families import BASE, CAMPAIGNS, FAMILIES, FIRST, draw

PUBLISHED = (
    Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    / "effect_published"
)
real = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="shared data is absent")


def steady(n: float, days: int, first: dt.date = FIRST) -> list[Point]:
    """The same count each day, but for a little."""
    return [Point(first + i * DAY, n + (i * 7) % 3) for i in range(days)]


def test_a_clear_fall_is_verified_and_a_rise_is_not() -> None:
    before, after = draw(FAMILIES["B"], 1, 0.6)
    assert judge(before, after, promised=0.5).verdict == "verified"
    assert judge(before, after, direction="up", promised=0.5).verdict == "ineffective"


@pytest.mark.parametrize("seed", [4, 11])  # beside a trend the step is a rise, or an unclear fall
def test_what_falls_anyway_is_no_fix(seed: int) -> None:
    """Red without the trend guard: the level falls, whole weeks agree, and a straight line says all of it."""
    before, after = draw(replace(FAMILIES["B"], trend=-0.015), seed)
    found = judge(before, after, promised=0.1)
    assert found.estimate is not None
    assert found.estimate.p < 0.05
    assert found.p_weeks is not None
    assert found.p_weeks <= 0.10
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("trend")


def test_exchanged_directions_give_mirrored_verdicts() -> None:
    before, after = draw(FAMILIES["B"], 4, 0.5)
    turned = [replace(point, day=FIRST + i * DAY) for i, point in enumerate(reversed([*before, *after]))]
    down, up = judge(before, after, promised=0.3), judge(turned[:28], turned[28:], direction="up", promised=0.3)
    assert down.estimate is not None
    assert up.estimate is not None
    assert down.verdict == up.verdict == "verified"
    assert math.log(up.estimate.ratio) == pytest.approx(-math.log(down.estimate.ratio), rel=0.1)
    assert up.p_weeks == down.p_weeks


@pytest.mark.parametrize("factor", [0.001, 7.0, 1e6])
def test_the_unit_of_exposure_does_not_matter(factor: float) -> None:
    before, after = draw(BASE, 8, 0.3)
    plain = judge(before, after, promised=0.2)
    scaled = judge(*([replace(point, exposure=factor) for point in points] for points in (before, after)), promised=0.2)
    assert plain.estimate is not None
    assert scaled.estimate is not None
    assert scaled.estimate.ratio == pytest.approx(plain.estimate.ratio, rel=1e-6)
    assert scaled.estimate.p == pytest.approx(plain.estimate.p, rel=1e-4, abs=1e-9)
    assert scaled.verdict == plain.verdict


def test_a_rate_is_not_fooled_by_more_attempts() -> None:
    before, after = draw(FAMILIES["B"], 2)
    more = [Point(point.day, point.n * 3, 3.0) for point in after]
    assert judge(before, more, promised=0.5).verdict == "ineffective"
    found = estimate(before, more)
    assert 0.8 < found.ratio < 1.25


def test_nothing_left_after_is_verified_with_a_bound_below_one() -> None:
    found = judge(steady(6, 28), [Point(FIRST + (28 + i) * DAY, 0.0) for i in range(28)], promised=0.9)
    assert found.verdict == "verified", found.reason
    assert found.estimate is not None
    assert found.estimate.method == "exact comparison of two counts"
    assert found.estimate.ratio == 0
    assert 0 < found.estimate.high < 0.1


def test_too_few_events_say_nothing_rather_than_ineffective() -> None:
    before = [Point(FIRST + i * DAY, float(i in (3, 20))) for i in range(28)]
    after = [Point(FIRST + (28 + i) * DAY, float(i == 9)) for i in range(28)]
    found = judge(before, after, promised=0.5)
    assert found.verdict == "inconclusive"
    assert found.estimate is not None
    assert found.estimate.low < 0.5 < 1 < found.estimate.high


def test_nothing_at_all_cannot_be_judged() -> None:
    zeros = [Point(FIRST + i * DAY, 0.0) for i in range(56)]
    assert judge(zeros[:28], zeros[28:], promised=0.5).verdict == "inconclusive"
    with pytest.raises(NoEstimateError):
        estimate(zeros[:28], zeros[28:])


def test_too_few_weeks_say_from_when_it_can_be_decided() -> None:
    before, after = draw(replace(FAMILIES["B"], before=21, after=7), 3, 0.7)
    found = judge(before, after, promised=0.5)
    assert found.verdict == "inconclusive"
    assert "it can be decided from" in found.reason
    assert str(after[-1].day + 7 * DAY) in found.reason


def test_too_few_days_are_named() -> None:
    assert "20 days before" in judge(steady(5, 20), steady(5, 28, FIRST + 20 * DAY)).reason
    assert "6 days after" in judge(steady(5, 28), steady(5, 6, FIRST + 28 * DAY)).reason


def test_weeks() -> None:
    assert [round(smallest_p(before, 1), 3) for before in (4, 8, 12)] == [0.2, 0.111, 0.077]
    assert smallest_p(3, 3) == 0.1
    assert permutation_p([5.0, 5.1, 5.2], [1.0, 1.1, 1.2]) == pytest.approx(0.1)
    assert permutation_p([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]) == 1.0
    assert permutation_p(list(range(12)), [100.0 + i for i in range(12)]) < 0.001  # drawn, not all looked at
    partly = [point for point in steady(5, 28) if point.day.weekday() < 4]
    assert week_rates(partly, steady(5, 13))[0] == []


def test_an_episode_is_found_where_it_began_and_not_where_there_is_none() -> None:
    begun, none = [], 0
    for seed in range(20):
        before, after = draw(CAMPAIGNS["K28"], seed)
        run = episode(before, after[0].day - 20 * DAY, after[0].day)
        begun.append(None if run is None else (run[0] - (after[0].day - 28 * DAY)).days)
        quiet, _ = draw(replace(FAMILIES["H"]), seed)
        none += episode(quiet, quiet[-1].day - 20 * DAY, quiet[-1].day) is None
    assert sum(one is not None and abs(one) <= 5 for one in begun) >= 14, begun
    assert none >= 12


def test_one_effect_takes_at_most_40_ms_of_a_processor() -> None:
    before, after = draw(FAMILIES["H"], 1, 0.3)
    judge(before, after, promised=0.5)
    begin = time.process_time()
    for _ in range(5):
        judge(before, after, promised=0.5)
    assert (time.process_time() - begin) / 5 < 0.04


def _rows(name: str) -> list[dict[str, str]]:
    assert PUBLISHED is not None
    with (PUBLISHED / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@real
def test_sicily() -> None:
    """Smoking ban (Lopez Bernal 2017): the paper's model gives 0.894 [0.839, 0.953] beside a trend; ours is the step beside one."""
    rows = _rows("sicily.csv")
    points = [Point(FIRST + i * DAY, float(row["aces"]), float(row["stdpop"])) for i, row in enumerate(rows)]
    before = [point for point, row in zip(points, rows, strict=True) if row["smokban"] == "0"]
    after = [point for point, row in zip(points, rows, strict=True) if row["smokban"] == "1"]
    assert sum(point.n for point in before) / len(before) == pytest.approx(810.9, abs=0.1)
    assert sum(point.n for point in after) / len(after) == pytest.approx(857.5, abs=0.1)
    sign, p = trend_p(before, after)
    assert sign == -1
    assert p < 0.05
    from audit_pipeline.effects.model import with_trend

    found = with_trend(before, after)
    assert found.ratio == pytest.approx(0.894, abs=0.01)
    assert found.low < 0.894 < found.high < 1


@real
def test_seat_belts() -> None:
    """Harvey and Durbin 1986: drivers -23 %, front seats -30 %, rear seats +3 %; ours beside a trend, 84 months before, exposure by month."""
    from audit_pipeline.effects.model import with_trend

    rows = _rows("Seatbelts.csv")
    for column, published in (("drivers", -0.23), ("front", -0.30), ("rear", 0.03)):
        cut = next(i for i, row in enumerate(rows) if row["law"] == "1")
        months = [sum(float(row[column]) for row in rows[i:cut:12]) / len(rows[i:cut:12]) for i in range(12)]
        points = [Point(FIRST + i * DAY, float(row[column]), months[i % 12]) for i, row in enumerate(rows)]
        found = with_trend(points[cut - 84 : cut], points[cut:])
        assert found.low - 1 < published < found.high - 1, (column, found)
        assert (found.high < 1) == (published < 0)
