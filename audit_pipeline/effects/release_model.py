"""How many errors a service was to be expected to have after a release: plain arithmetic over days of 24 hours, counted from the release.

Belongs here: expectation, spread and the comparison with it. Not here: which days are on record, what the other services did (`releases`).

A rate of errors per request, by weekday, from four weeks of days; what is above or below what such days hold anyway counts at most as
much as the largest that is ordinary (winsorised at 2.5 standard deviations; Huber 1964, https://doi.org/10.1214/aoms/1177703732), so that
one day of other trouble neither raises what is expected nor hides in the spread. The spread is that of a negative binomial, as in
`model`, widened for autocorrelation. As ordinary days are not all that there is, a day (or week) must also lie beyond every one of the four
weeks before: where nothing was changed, and days can be exchanged, that is so of one day in 29, whatever their distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit_pipeline.effects.model import dispersion

Array = npt.NDArray[np.float64]
_ORDINARY = 2.5
"""standard deviations beyond which a day is none of the ordinary ones"""
_MAD = 1.4826
"""of a normal distribution, the standard deviation by its median absolute deviation"""
_LOST = 1.06
"""by how much the variance of a normal distribution is larger than that of what is left of it after winsorising at 2.5"""
_CALM = 3.0
"""dispersions' worth of errors with which a weekday is held to be as any other"""
_MOST_RHO = 0.8
_LEAST_FREE = 3.0


@dataclass(frozen=True)
class Change:
    """Errors after against those expected: their ratio with its 95 % interval, two-sided p, and whether they lie beyond all days before."""

    ratio: float
    low: float
    high: float
    p: float
    detectable: float
    """share by which errors must rise to be seen in four of five cases"""
    beyond: bool


@dataclass(frozen=True)
class _Expected:
    """Errors expected of each day, before and after, and how they spread (variance mean + alpha mean²)."""

    mean: Array
    alpha: float
    rho: float
    free: float


def change(errors: Sequence[float], exposure: Sequence[float], weekday: Sequence[int], before: int) -> Change:
    """Compare the last days with the first.

    Args:
        errors: of each day, in order; at least 21 before.
        exposure: requests of each day, times what happened to other services' error rates on it.
        weekday: a number from 0 to 6 of each day.
        before: how many of the days lie before the release; the others after.
    """
    from scipy.stats import t

    n, x, days = np.asarray(errors, float), np.asarray(exposure, float), np.asarray(weekday)
    found = _expected(n[:before], x, days, before)
    after, mean = _without_one(n[before:], found.mean[before:]), float(found.mean[before:].sum())
    span = len(n) - before
    same = np.isin(days[:before], days[before:])
    wide = (1 + found.rho) / (1 - found.rho)
    effect = math.log((after + 0.5) / (mean + 0.5))
    own = 1 / (min(after, mean) + 0.5) + found.alpha * _share(found.mean[before:]) * (wide if span > 1 else 1.0)
    usual = found.mean[:before][same]
    se = math.sqrt(own + 1 / (float(usual.sum()) + 0.5) + found.alpha * _share(usual) * wide)
    half = float(t.ppf(0.975, found.free)) * se
    ratios = _windows(n, found.mean, span)
    now, past = ratios[-1], ratios[: before - span + 1]
    return Change(
        math.exp(effect), math.exp(effect - half), math.exp(min(effect + half, 700)), float(2 * t.sf(abs(effect) / se, found.free)),
        math.expm1(min((half / se + 0.84) * se, 50.0)), bool(now > past.max() if effect > 0 else now < past.min()),
    )  # fmt: skip


def _share(mean: Array) -> float:
    """One over the number of days, where all expect the same; a week whose errors are those of its Sunday is as one day."""
    return float(mean @ mean) / max(float(mean.sum()) ** 2, 0.25)


def _without_one(n: Array, mean: Array) -> float:
    """Errors of some days, the one farthest from the expected no farther than the next: one day of trouble is no week's change."""
    ratios = (n + 0.5) / (mean + 0.5)
    if len(n) == 1:
        return float(n[0])
    far = int(np.argmax(np.abs(np.log(ratios))))
    others = np.delete(ratios, far)
    held = min(max(float(ratios[far]), float(others.min())), float(others.max()))
    return max(float(n.sum()) - float(n[far]) + held * float(mean[far] + 0.5) - 0.5, 0.0)


def _windows(n: Array, mean: Array, span: int) -> Array:
    """Errors of what was expected, of each run of so many days, in order."""
    sums = np.convolve(n, np.ones(span), "valid") + 0.5
    return np.asarray(sums / (np.convolve(mean, np.ones(span), "valid") + 0.5))


def _expected(n: Array, x: Array, days: npt.NDArray[np.int_], before: int) -> _Expected:
    past, weekday = x[:before], days[:before]
    ratios = (n + 0.5) / (past + 1)
    rate = float(np.median(ratios))
    calm = _CALM * _spread(n, rate * past)
    medians = np.array([rate if not (weekday == day).any() else float(np.median(ratios[weekday == day])) for day in range(7)])  # fmt: skip
    rough = rate * past * _shrunk(medians[weekday] / rate * rate * past, rate * past, weekday, calm)[weekday]
    spread = np.sqrt(_spread(n, rough) * np.maximum(rough, 0.5))
    kept = np.clip(n, rough - _ORDINARY * spread, rough + _ORDINARY * spread)
    rate = float(kept.sum() / past.sum())
    mean = rate * x * _shrunk(kept, rate * past, weekday, calm)[days]
    pearson = (kept - mean[:before]) / np.sqrt(np.maximum(mean[:before], 0.5))
    alpha = _LOST * dispersion(kept, np.maximum(mean[:before], 0.5), before - 7)
    rho = _rho(pearson)
    return _Expected(mean, alpha, rho, max((before - 7) * (1 - rho) / (1 + rho), _LEAST_FREE))


def _shrunk(had: Array, expected: Array, weekday: npt.NDArray[np.int_], calm: float) -> Array:
    """What a weekday has of the usual; with few errors it is held to be as any other."""
    sums = (np.bincount(weekday, one, 7) + calm for one in (had, expected))
    return np.asarray(next(sums) / next(sums))


def _spread(n: Array, mean: Array) -> float:
    """Dispersion by the median, which a few days of trouble do not move; not below Poisson's."""
    pearson = (n - mean) / np.sqrt(np.maximum(mean, 0.5))
    return max(1.0, float(_MAD * np.median(np.abs(pearson - np.median(pearson)))) ** 2)


def _rho(residuals: Array) -> float:
    """Lag-1 autocorrelation, corrected for what a fit of seven weekdays takes from it; from 0 to 0.8."""
    squares = float(residuals @ residuals)
    if squares <= 0:
        return 0.0
    n = len(residuals)
    found = float(residuals[1:] @ residuals[:-1]) / squares
    return min(max((found * n + 2) / (n - 4), 0.0), _MOST_RHO)
