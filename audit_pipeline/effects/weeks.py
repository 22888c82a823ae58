"""The cross-check: whole weeks exchanged between before and after, which needs no model of counts or of days that resemble each other.

Belongs here: weeks and their permutation. Not here: the model that it checks (`model`).
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Sequence

import numpy as np

from audit_pipeline.effects.model import Point

ENOUGH = 5
"""days of a week that must be known"""
_EXACT = 13_000
"""arrangements up to which all are looked at (16 weeks, 8 of them after: 12,870)"""
_DRAWN = 4_999


def week_rates(before: Sequence[Point], after: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Logs of weekly rates, of weeks counted back from the last day before and forth from the first day after.

    The half event that is added keeps a week without any comparable.
    """
    return _weeks(before, backwards=True), _weeks(after, backwards=False)


def _weeks(points: Sequence[Point], *, backwards: bool) -> list[float]:
    if not points:
        return []
    days = [point.day for point in points]
    edge = max(days) if backwards else min(days)
    weeks: dict[int, list[Point]] = {}
    for point in points:
        weeks.setdefault(abs((point.day - edge).days) // 7, []).append(point)
    whole = [weeks[number] for number in sorted(weeks) if len(weeks[number]) >= ENOUGH]
    return [math.log((sum(one.n for one in week) + 0.5) / sum(one.exposure for one in week)) for week in whole]


def smallest_p(before: int, after: int) -> float:
    """The smallest p that so many weeks can give; with equally many on both sides each arrangement has its mirror image."""
    return min(1.0, (2 if before == after else 1) / math.comb(before + after, after)) if before and after else 1.0


def weeks_needed(before: int, p: float, most: int = 52) -> int | None:
    """Weeks after that make p reachable; none within a year."""
    return next((after for after in range(1, most + 1) if smallest_p(before, after) <= p), None)


def permutation_p(before: Sequence[float], after: Sequence[float]) -> float:
    """Share of arrangements of the weeks whose means lie as far apart as those observed, two-sided (Fisher's randomization test).

    All arrangements where there are at most 13,000, else 4,999 drawn with a fixed seed.
    """
    if not before or not after:
        return 1.0
    values, k = np.array([*before, *after]), len(after)
    total, n = values.sum(), len(values)
    if math.comb(n, k) <= _EXACT:
        chosen = np.array(list(itertools.combinations(range(n), k)))
        sums = values[chosen].sum(axis=1)
        extra = 0
    else:
        ranks = np.random.default_rng(len(values)).random((_DRAWN, n)).argsort(axis=1)[:, :k]
        sums = values[ranks].sum(axis=1)
        extra = 1
    apart = np.abs(sums / k - (total - sums) / (n - k))
    observed = abs(float(np.mean(after)) - float(np.mean(before)))
    return float((np.count_nonzero(apart >= observed - 1e-12) + extra) / (len(apart) + extra))


def shift(day: dt.date, weeks: int) -> dt.date:
    """So many weeks later."""
    return day + dt.timedelta(weeks=weeks)
