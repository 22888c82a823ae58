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


@dataclass(frozen=True)
class Traffic:
    """How the hours of a service are drawn; errors are 1 % of its requests."""

    requests: float = 300.0
    day: float = 0.2
    """standard deviation of the log of a day's factor"""
    rho: float = 0.0
    """correlation of neighbouring days"""
    hour: float = 0.3
    """dispersion of the errors of an hour"""
    trouble: float = 0.0
    """share of days with 2 to 12 hours of three to ten times as many errors"""
    weekend: float = 1.0
    """how many times as many errors a request has on Saturdays and Sundays"""


def hours(
    traffic: Traffic, rng: np.random.Generator, at: dt.datetime, factor: float
) -> dict[dt.datetime, tuple[int, int]]:
    """Requests and errors of each hour from 29 days before a release to 8 after; from the release on, `factor` times as many errors."""
    n, before = 37 * 24, 29 * 24
    first = at - dt.timedelta(hours=before)
    days = np.exp(_ar1(rng, 40, traffic.rho, traffic.day))
    number = (np.arange(n) + first.hour) // 24
    mean = 0.01 * days[number]
    for day in np.flatnonzero(rng.random(40) < traffic.trouble):
        begin, long = rng.integers(0, 22), rng.integers(2, 13)
        mean[(number == day) & (np.arange(n) + first.hour - day * 24 >= begin) & (np.arange(n) + first.hour - day * 24 < begin + long)] *= rng.uniform(3, 10)  # fmt: skip
    weekend = (first.weekday() + number) % 7 >= 5
    mean = np.where(weekend, mean * traffic.weekend, mean)
    mean = np.where(np.arange(n) > before, mean * factor, mean)
    requests = rng.poisson(traffic.requests, n)
    errors = np.minimum(rng.poisson(rng.gamma(1 / traffic.hour, requests * mean * traffic.hour)), requests)
    return {first + dt.timedelta(hours=i): (int(requests[i]), int(errors[i])) for i in range(n)}
