"""Simulated series of which the truth is known: families A to J, and a campaign that ends by itself.

Belongs here: the generator. Not here: the comparison (`effects`).

Daily counts of about 40 with a weekly cycle, negative binomial dispersion 0.1, a latent AR(1) of rho 0.5 and standard deviation
0.2, 28 days before and 28 after; each family changes one thing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from audit_pipeline.effects.model import Point

WEEKDAYS = np.array([1.1, 1.15, 1.1, 1.05, 1.0, 0.45, 0.4])
FIRST = dt.date(2026, 1, 5)


@dataclass(frozen=True)
class Family:
    """How a series is drawn."""

    title: str
    mean: float = 40.0
    dispersion: float = 0.1
    rho: float = 0.5
    sd: float = 0.2
    before: int = 28
    after: int = 28
    trend: float = 0.0
    """change a day"""
    bursts: float = 0.0
    """share of days with three to eight times as many"""
    shared: bool = False
    """half of the noise comes from outside (the control of family G), so that there is more of it"""
    campaign: int = 0
    """days of doubling that end with the last day before"""


BASE = Family("A base")
FAMILIES = {
    "A": BASE,
    "B": replace(BASE, title="B no autocorrelation, dispersion 0.05", rho=0.0, sd=0.0, dispersion=0.05),
    "C": replace(BASE, title="C rho 0.7, sd 0.3", rho=0.7, sd=0.3),
    "D": replace(BASE, title="D mean 4", mean=4.0),
    "E": replace(BASE, title="E bursts on 4 % of days", bursts=0.04),
    "F": replace(BASE, title="F falls 0.6 % a day", trend=-0.006),
    "G": replace(BASE, title="G noise shared with a control", shared=True),
    "H": replace(BASE, title="H 84 days before", before=84),
    "I": replace(BASE, title="I 56 days before, 7 after", before=56, after=7),
    "J": replace(BASE, title="J pure Poisson", rho=0.0, sd=0.0, dispersion=0.0),
}
CAMPAIGNS = {
    f"K{days}": replace(BASE, title=f"K campaign of {days} days that ends by itself", before=84, campaign=days)
    for days in (14, 21, 28)
}


def _ar1(rng: np.random.Generator, n: int, rho: float, sd: float) -> npt.NDArray[np.float64]:
    noise = rng.normal(0, sd * np.sqrt(1 - rho**2), n)
    found = np.empty(n)
    found[0] = rng.normal(0, sd) if sd else 0.0
    for i in range(1, n):
        found[i] = rho * found[i - 1] + noise[i]
    return found


def draw(family: Family, seed: int, effect: float = 0.0) -> tuple[list[Point], list[Point]]:
    """One series as days before and after; `effect`: share by which the rate falls after the change."""
    rng = np.random.default_rng([seed, 7919])
    n = family.before + family.after
    day = np.arange(n)
    mean = family.mean * WEEKDAYS[day % 7] / WEEKDAYS.mean() * (1 + family.trend) ** day
    log_noise = _ar1(rng, n, family.rho, family.sd)
    if family.shared:
        log_noise = log_noise + _ar1(rng, n, family.rho, family.sd)
    mean = mean * np.exp(log_noise - log_noise.var() / 2)
    if family.bursts:
        mean = np.where(rng.random(n) < family.bursts, mean * rng.uniform(3, 8, n), mean)
    if family.campaign:
        mean = np.where((day >= family.before - family.campaign) & (day < family.before), mean * 2, mean)
    mean = np.where(day >= family.before, mean * (1 - effect), mean)
    if family.dispersion:
        mean = rng.gamma(1 / family.dispersion, mean * family.dispersion)
    counts = rng.poisson(mean)
    points = [Point(FIRST + dt.timedelta(days=int(i)), float(counts[i])) for i in day]
    return points[: family.before], points[family.before :]
