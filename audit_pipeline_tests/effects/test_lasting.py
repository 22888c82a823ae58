"""A verified rate is watched: chance seldom says that it is back, and a true return is seen within a fortnight; the seeds are fixed."""

from __future__ import annotations

import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.effects.lasting import back
from audit_pipeline.effects.model import Point
from benchmarks.effects import lasting
from benchmarks.effects_families import FAMILIES, FIRST


@pytest.mark.parametrize(("family", "most"), [("A", 7.5), ("E", 12.5)])
def test_chance_seldom_brings_a_rate_back_and_a_return_is_seen(family: str, most: float) -> None:
    """Red without the step that must stand by itself: 13 % and more, as each night looks again."""
    by_chance, _ = lasting(FAMILIES[family], 40)
    seen, late = lasting(FAMILIES[family], 40, 2.5)
    assert by_chance <= most
    assert seen >= 95
    assert late <= 14


def test_a_few_bad_days_are_no_return() -> None:
    """Red without the week that a run must last and the median day of it."""
    counts = [20 + (n * 7) % 5 for n in range(60)]
    points = [Point(FIRST + n * DAY, float(400 if n in (45, 46, 47) else one)) for n, one in enumerate(counts)]
    assert back(points, FIRST + 28 * DAY, rate_before=50.0, promised=0.5) is None
    lasting_ = [Point(FIRST + n * DAY, float(60 if n >= 45 else one)) for n, one in enumerate(counts)]
    found = back(lasting_, FIRST + 28 * DAY, rate_before=50.0, promised=0.5)
    assert found is not None
    assert FIRST + 51 * DAY <= found <= FIRST + 53 * DAY
    assert back(lasting_, FIRST + 28 * DAY, rate_before=200.0, promised=0.5) is None  # within the promise
