"""The verdict about a change of a rate: plain arithmetic over two lists of days.

Belongs here: the joint rule and its words. Not here: which days (`windows`), the model (`model`), lake or settings.

`verified`: the interval excludes no effect on the good side (p < 0.05), whole weeks exchanged agree (p <= 0.10), and the step stands
beside a straight trend (same sign, p < 0.2). `ineffective`: not verified, and the interval excludes the promise. Else `inconclusive`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from audit_pipeline.effects.model import Estimate, NoEstimateError, Point, estimate, trend_p
from audit_pipeline.effects.weeks import permutation_p, smallest_p, week_rates, weeks_needed

VERIFIED, INEFFECTIVE, INCONCLUSIVE, PENDING = "verified", "ineffective", "inconclusive", "pending"
LEAST_BEFORE, LEAST_AFTER = 21, 7
"""days that are needed to say anything"""
P_STEP, P_WEEKS, P_TREND = 0.05, 0.10, 0.20


@dataclass(frozen=True)
class Judgement:
    """A verdict with the numbers that it rests on; null where there is none."""

    verdict: str
    reason: str
    rate_before: float | None = None
    rate_after: float | None = None
    estimate: Estimate | None = None
    p_weeks: float | None = None
    p_trend: float | None = None
    detectable: float | None = None


def judge(
    before: Sequence[Point], after: Sequence[Point], *, direction: str = "down", promised: float | None = None
) -> Judgement:
    """Whether the rate moved in the promised direction, and whether by as much as promised.

    Args:
        before: days that are used of the window before.
        after: days that are used of the window after.
        direction: `down` or `up`, the good side.
        promised: the share by which the rate was to change (0.5: by half); null where nothing was promised.
    """
    first, second = _rate(before), _rate(after)
    if lacking := _lacking(before, after):
        return Judgement(INCONCLUSIVE, lacking, first, second)
    try:
        found = estimate(before, after)
    except NoEstimateError as error:
        return Judgement(
            INCONCLUSIVE, f"{error}; a fix of what did not happen cannot be judged by its rate", first, second
        )
    weeks = week_rates(before, after)
    p_weeks = permutation_p(*weeks)
    sign, p_trend = trend_p(before, after)
    verdict, reason = _verdict(found, weeks, p_weeks, (sign, p_trend), direction, promised, after[-1].day)
    return Judgement(verdict, reason, first, second, found, p_weeks, p_trend, found.detectable(direction))


def _rate(points: Sequence[Point]) -> float | None:
    exposure = sum(point.exposure for point in points)
    return sum(point.n for point in points) / exposure if exposure else None


def _lacking(before: Sequence[Point], after: Sequence[Point]) -> str | None:
    if len(before) < LEAST_BEFORE:
        return f"{len(before)} days before can be used, {LEAST_BEFORE} are needed; days that were left out may be collected and computed again"
    if len(after) < LEAST_AFTER:
        return (
            f"{len(after)} days after can be used, {LEAST_AFTER} are needed; propose again with a later decision date"
        )
    return None


def _verdict(
    found: Estimate,
    weeks: tuple[list[float], list[float]],
    p_weeks: float,
    trend: tuple[float, float],
    direction: str,
    promised: float | None,
    last: dt.date,
) -> tuple[str, str]:
    good = found.ratio < 1 if direction == "down" else found.ratio > 1
    stands = good and found.p < P_STEP
    steady = trend[0] == (-1 if direction == "down" else 1) and trend[1] < P_TREND
    if stands and p_weeks <= P_WEEKS and steady:
        return VERIFIED, f"{changed(found)}; {_promise(found, direction, promised)}"
    if _excludes_promise(found, direction, promised):
        return INEFFECTIVE, f"{changed(found)}; the promised {_per_cent(promised or 0)} lies outside of it"
    if stands and p_weeks <= P_WEEKS:
        return INCONCLUSIVE, f"trend: {changed(found)}, but a straight trend through both windows explains it (p {trend[1]:.2f} beside it); a longer time before would tell them apart"  # fmt: skip
    if stands:
        return INCONCLUSIVE, f"{changed(found)}, but {_weeks_say(weeks, p_weeks, last)}"
    return INCONCLUSIVE, f"{changed(found)}: no effect and the promise are both possible; {_would_decide(found, direction)}"  # fmt: skip


def _weeks_say(weeks: tuple[list[float], list[float]], p_weeks: float, last: dt.date) -> str:
    before, after = map(len, weeks)
    if smallest_p(before, after) <= P_WEEKS:
        return f"whole weeks exchanged do not confirm it (p {p_weeks:.2f}); more weeks after would decide it"
    needed = weeks_needed(before, P_WEEKS)
    if needed is None:
        return f"{before} whole weeks before are too few to confirm it by whole weeks"
    when = last + dt.timedelta(weeks=needed - after)
    return f"{before} and {after} whole weeks are too few to confirm it; it can be decided from {when} on"


def _would_decide(found: Estimate, direction: str) -> str:
    return f"a change of {_per_cent(found.detectable(direction))} would have been seen, a smaller one needs more days"


def _excludes_promise(found: Estimate, direction: str, promised: float | None) -> bool:
    if promised is None:
        return False
    return found.low > 1 - promised if direction == "down" else found.high < 1 + promised


def _promise(found: Estimate, direction: str, promised: float | None) -> str:
    if promised is None:
        return "nothing was promised"
    reached = found.ratio <= 1 - promised if direction == "down" else found.ratio >= 1 + promised
    return f"the promised {_per_cent(promised)} {'was' if reached else 'was not'} reached"


def changed(found: Estimate) -> str:
    """The change in words, with its interval: `-60 % (95 % interval -70 % to -47 %)`."""
    return f"{_signed(found.ratio)} (95 % interval {_signed(found.low)} to {_signed(found.high)})"


def _signed(ratio: float) -> str:
    return "unbounded" if math.isinf(ratio) or ratio > 1e6 else f"{(ratio - 1) * 100:+.0f} %"


def _per_cent(share: float) -> str:
    return f"{share * 100:.0f} %"
