"""The interrupted time series: a negative binomial regression of daily counts with weekdays and a step, and what may replace it.

Belongs here: estimates with standard errors that know of autocorrelation. Not here: verdicts (`judge`), whole weeks (`weeks`).

The step is a ratio of rates (log link). Model: statsmodels GLM, NegativeBinomial, dispersion by the moment equation of Breslow
(1984, https://doi.org/10.2307/2347661). Standard errors are widened by sqrt((1 + r) / (1 - r)) for an autocorrelation r of the
Pearson residuals, and judged by t with n (1 - r) / (1 + r) - 2 degrees of freedom (Bayley and Hammersley 1946,
https://doi.org/10.2307/2983560). Interrupted time series: Lopez Bernal et al. 2017, https://doi.org/10.1093/ije/dyw098.
"""

from __future__ import annotations

import datetime as dt
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FEW = 10
"""events before or after, below which the regression is no guide and the exact comparison of two counts takes its place"""
MOST_RHO = 0.9
_DETECTABLE_SE = 2.8
"""standard errors that a step must have to be seen in four of five cases at 5 %, two-sided (1.96 + 0.84)"""


@dataclass(frozen=True)
class Point:
    """A day that is used: `n` events of `exposure` (attempts, requests; 1 where there is nothing to divide by)."""

    day: dt.date
    n: float
    exposure: float = 1.0


@dataclass(frozen=True)
class Estimate:
    """A step: `ratio` of the rate after to the rate before with its 95 % interval, and two-sided p."""

    ratio: float
    low: float
    high: float
    p: float
    rho: float
    """lag-1 autocorrelation of the residuals, corrected for its bias, not below 0"""
    se: float
    """standard error of log(ratio)"""
    method: str

    def detectable(self, direction: str) -> float:
        """The smallest change (a share of the rate before) that would be seen in four of five cases."""
        lowered = 1 - math.exp(-_DETECTABLE_SE * self.se)
        return lowered if direction == "down" else math.expm1(min(_DETECTABLE_SE * self.se, 50))


class NoEstimateError(ValueError):
    """Nothing can be estimated from these days; says why."""


def estimate(before: Sequence[Point], after: Sequence[Point]) -> Estimate:
    """The step between two windows.

    Raises:
        NoEstimateError: nothing happened on any day.
    """
    first, second = (sum(point.n for point in points) for points in (before, after))
    if not first and not second:
        raise NoEstimateError("nothing was counted before or after")
    if min(first, second) >= FEW:
        found = _regression(_Days.of(before, after), trend=False)
        if found is not None:
            return found
    return _two_counts(before, after)


def with_trend(before: Sequence[Point], after: Sequence[Point]) -> Estimate:
    """The step beside a straight trend through both windows: a series that falls anyway falls without a step."""
    days = _Days.of(before, after)
    counted = min(sum(point.n for point in points) for points in (before, after)) >= FEW
    return (_regression(days, trend=True) if counted else None) or _log_linear(days)


def trend_p(before: Sequence[Point], after: Sequence[Point]) -> tuple[float, float]:
    """The trend guard: sign (-1, 0, 1) of the step beside a trend, and its two-sided p."""
    found = with_trend(before, after)
    return float(np.sign(math.log(found.ratio))) if found.ratio > 0 else -1.0, found.p


@dataclass(frozen=True)
class _Days:
    """Both windows as arrays, in the order of days."""

    ordinal: Array
    n: Array
    exposure: Array
    step: Array

    @classmethod
    def of(cls, before: Sequence[Point], after: Sequence[Point]) -> _Days:
        points = [*before, *after]
        ordinal = np.array([point.day.toordinal() for point in points], dtype=float)
        order = np.argsort(ordinal, kind="stable")
        step = np.array([0.0] * len(before) + [1.0] * len(after))
        n = np.array([point.n for point in points], dtype=float)
        exposure = np.array([point.exposure for point in points], dtype=float)
        return cls(ordinal[order], n[order], exposure[order], step[order])

    def design(self, *, trend: bool) -> Array:
        """Step, constant, weekdays and, if asked for, days as a straight line."""
        weekday = self.ordinal.astype(int) % 7
        known = sorted(set(weekday.tolist()))[1:]
        columns = [self.step, np.ones_like(self.step), *((weekday == one).astype(float) for one in known)]
        if trend:
            columns.append((self.ordinal - self.ordinal.mean()) / 7)
        return np.column_stack(columns)


def _regression(days: _Days, *, trend: bool) -> Estimate | None:
    """The negative binomial regression; none where it cannot be fitted."""
    design = days.design(trend=trend)
    if len(days.n) - design.shape[1] < design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    mean = _fitted(days, design, 0.0)
    if mean is None:
        return None
    alpha = dispersion(days.n, np.asarray(mean.mu), len(days.n) - design.shape[1])
    fit = _fitted(days, design, alpha)
    if fit is None:
        return None
    mu = np.asarray(fit.mu)
    pearson = (days.n - mu) / np.sqrt(mu + alpha * mu**2)
    return _told(float(fit.params[0]), float(fit.bse[0]), _rho(pearson, days.ordinal, design.shape[1]), len(days.n), "negative binomial regression")  # fmt: skip


def _fitted(days: _Days, design: Array, alpha: float) -> Any | None:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    family = sm.families.NegativeBinomial(alpha=alpha) if alpha > 0 else sm.families.Poisson()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # what they would tell shows in `converged` and in the estimate
        try:
            fit = sm.GLM(days.n, design, family=family, exposure=days.exposure).fit(maxiter=50)
        except (np.linalg.LinAlgError, ValueError):
            return None
    usable = fit.converged and np.isfinite(fit.bse[0]) and abs(fit.params[0]) < 15 and fit.bse[0] > 0
    return fit if usable else None


def dispersion(n: Array, mu: Array, free: int) -> float:
    """Alpha of variance mu + alpha mu², so that the squared Pearson residuals sum to their degrees of freedom; 0 where Poisson is enough."""
    low, high = 0.0, 1e-6

    def excess(alpha: float) -> float:
        return float(np.sum((n - mu) ** 2 / (mu + alpha * mu**2))) - free

    if excess(0.0) <= 0:
        return 0.0
    while excess(high) > 0 and high < 1e6:
        high *= 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def _rho(residuals: Array, ordinal: Array, parameters: int) -> float:
    """Lag-1 autocorrelation over neighbouring days; a fit of k parameters to n days draws it down by about (k + 4 r) / n."""
    neighbours = np.diff(ordinal) == 1
    squares = float(np.sum(residuals**2))
    pairs = int(neighbours.sum())
    if pairs < 10 or squares <= 0:
        return 0.0
    n = len(residuals)
    found = float(np.sum((residuals[1:] * residuals[:-1])[neighbours])) / squares * n / pairs
    corrected = (found * n + parameters) / max(n - 4, 1)
    return min(max(corrected, 0.0), MOST_RHO)


def _told(log_ratio: float, se: float, rho: float, n: int, method: str) -> Estimate:
    from scipy.stats import t

    wide = se * math.sqrt((1 + rho) / (1 - rho))
    free = max(n * (1 - rho) / (1 + rho) - 2, 1.0)
    half = float(t.ppf(0.975, free)) * wide
    return Estimate(
        ratio=math.exp(log_ratio),
        low=math.exp(log_ratio - half),
        high=math.exp(min(log_ratio + half, 700)),
        p=float(2 * t.sf(abs(log_ratio) / wide, free)),
        rho=rho,
        se=wide,
        method=method,
    )


def _log_linear(days: _Days) -> Estimate:
    """Least squares of log((n + 1/2) / exposure) with a trend: rough, for counts that are too few for the regression."""
    design = days.design(trend=True)
    y = np.log((days.n + 0.5) / days.exposure)
    inverse = np.linalg.pinv(design.T @ design)
    beta = inverse @ design.T @ y
    residuals = y - design @ beta
    free = max(len(y) - int(np.linalg.matrix_rank(design)), 1)
    se = math.sqrt(max(float(residuals @ residuals) / free * float(inverse[0, 0]), 1e-12))
    return _told(float(beta[0]), se, _rho(residuals, days.ordinal, design.shape[1]), len(y), "log-linear")


def _two_counts(before: Sequence[Point], after: Sequence[Point]) -> Estimate:
    """Two counts compared exactly, given their sum (Przyborowski and Wilenski 1940, https://doi.org/10.1093/biomet/31.3-4.313).

    Counts that cluster tell less than they seem to: both are divided by their dispersion.
    """
    from scipy.stats import beta

    days = _Days.of(before, after)
    share = {side: float(days.exposure[days.step == side].sum()) for side in (0.0, 1.0)}
    counts = {side: float(days.n[days.step == side].sum()) for side in (0.0, 1.0)}
    wide, rho = _clustering(days, share, counts)
    x, y = counts[1.0] / wide, counts[0.0] / wide
    odds = share[0.0] / share[1.0]
    low = 0.0 if not x else _odds(float(beta.ppf(0.025, x, y + 1))) * odds
    high = math.inf if not y else _odds(float(beta.ppf(0.975, x + 1, y))) * odds
    fair = share[1.0] / (share[0.0] + share[1.0])
    tails = [float(beta.sf(fair, x + 1, y)) if y else 1.0, float(beta.cdf(fair, x, y + 1)) if x else 1.0]
    ratio = counts[1.0] / counts[0.0] * odds if counts[0.0] else math.inf
    se = math.sqrt(1 / (x + 0.5) + 1 / (y + 0.5))
    return Estimate(ratio, low, high, min(1.0, 2 * min(tails)), rho, se, "exact comparison of two counts")


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else math.inf


def _clustering(days: _Days, share: dict[float, float], counts: dict[float, float]) -> tuple[float, float]:
    """How much wider than Poisson the counts are about the rates of their windows, and their autocorrelation."""
    mu = np.array([counts[side] / share[side] for side in days.step.tolist()]) * days.exposure
    usable = mu > 0
    if usable.sum() <= 2:
        return 1.0, 0.0
    pearson = (days.n - mu)[usable] / np.sqrt(mu[usable])
    rho = _rho(pearson, days.ordinal[usable], 2)
    dispersion = float(pearson @ pearson) / (int(usable.sum()) - 2)
    return max(1.0, dispersion * (1 + rho) / (1 - rho)), rho
