"""The statistics behind KPIs: intervals of shares and counts, and the median of times of which some are still running.

Belongs here: formulas with their sources. Not here: what they are applied to.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterable

_Z95 = statistics.NormalDist().inv_cdf(0.975)
_EXACT = 100
"""counts up to this have the exact interval; beyond, Byar's approximation differs from it by less than one part in a thousand"""


def wilson(n: int, population: int) -> tuple[float, float]:
    """Score interval (95 %) of the share n of population (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    share, z2 = n / population, _Z95**2
    middle = (share + z2 / (2 * population)) / (1 + z2 / population)
    half = _Z95 / (1 + z2 / population) * math.sqrt(share * (1 - share) / population + z2 / (4 * population**2))
    low = 0.0 if n == 0 else max(0.0, middle - half)
    return low, 1.0 if n == population else min(1.0, middle + half)


@functools.lru_cache(maxsize=4096)
def poisson(n: int) -> tuple[float, float]:
    """Interval (95 %) of the expected count where n were counted (Garwood 1936, https://doi.org/10.1093/biomet/28.3-4.437).

    Above 100 it is Byar's approximation (Breslow and Day 1987, IARC Scientific Publications 82, page 69).
    """
    if n > _EXACT:
        return _byar(n, -_Z95), _byar(n + 1, _Z95)
    low = 0.0 if n == 0 else _root(lambda mean: _at_most(n - 1, mean) - 0.975, n)
    return low, _root(lambda mean: _at_most(n, mean) - 0.025, n)


def _byar(n: int, z: float) -> float:
    return n * (1 - 1 / (9 * n) + z / (3 * math.sqrt(n))) ** 3


def _at_most(n: int, mean: float) -> float:
    """Probability that a Poisson count is at most n."""
    return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(n + 1)) if mean else 1.0


def _root(falling: Callable[[float], float], n: int) -> float:
    """Where a falling function of the mean crosses 0, by halving."""
    low, high = 0.0, 4.0 * n + 20
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def kaplan_meier_median(cases: Iterable[tuple[float, bool]]) -> float | None:
    """Median of durations of which some have not ended (Kaplan and Meier 1958, https://doi.org/10.1080/01621459.1958.10501452).

    Args:
        cases: duration so far and whether it has ended; one that has not is censored.

    Returns:
        The first duration at which half have ended or more, as far as can be known; null where that was not reached.
    """
    ordered = sorted(cases)
    surviving, at_risk = 1.0, len(ordered)
    for duration in sorted({one for one, _ in ordered}):
        here = [done for one, done in ordered if one == duration]
        surviving *= 1 - sum(here) / at_risk
        if surviving <= 0.5 + 1e-12:  # one half is reached, whatever rounding says
            return duration
        at_risk -= len(here)
    return None
