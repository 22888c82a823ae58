"""Sources as they write: an office, a service, a sparse one, bursts, batches, weekends, holidays, a DST change. Microseconds since midnight."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from audit_pipeline.clock import DAY
from audit_pipeline_tests.quality.world import HOUR_US, START, Times

Rng = np.random.Generator
Source = Callable[[Rng, dt.date], Times]
OFFICE = np.array([0.02] * 6 + [0.1, 0.5, 1, 1, 1, 0.9, 0.6, 0.9, 1, 1, 0.9, 0.6, 0.3, 0.1, 0.05] + [0.02] * 3)
OFFICE = OFFICE / OFFICE.sum()
HOLIDAYS = {START + dt.timedelta(days=n) for n in (10, 31, 32, 45)}


def flow(rng: Rng, hourly: npt.NDArray[np.float64]) -> Times:
    """Independent events at hourly rates."""
    counts = rng.poisson(hourly)
    return np.sort(np.concatenate([hour * HOUR_US + rng.integers(0, HOUR_US, n) for hour, n in enumerate(counts)]))


def bursts(rng: Rng, hourly: npt.NDArray[np.float64], size: int) -> Times:
    """Events in scripts and sessions of `size` on average, within minutes."""
    starts = flow(rng, hourly / size)
    parts = [start + np.cumsum(rng.exponential(24e6, rng.geometric(1 / size))) for start in starts]
    return _day(np.concatenate(parts) if parts else np.zeros(0))


def _day(times: npt.NDArray[np.floating]) -> Times:
    kept = times[(times >= 0) & (times < 24 * HOUR_US)]
    return np.sort(kept.astype(np.int64))


def office(rng: Rng, day: dt.date) -> Times:
    """People from seven to six, in sessions, a few machines at night; weekends and holidays are left to the machines and the duty."""
    level = 100 if day.weekday() >= 5 or day in HOLIDAYS else 2000 * rng.lognormal(0, 0.2)
    people = bursts(rng, OFFICE * level, 8) + rng.normal(0, 20 * 60e6)
    return _day(np.concatenate([flow(rng, np.full(24, 4.0)), people]))


def people(rng: Rng, day: dt.date) -> Times:
    """People alone: nearly nothing at night, hardly anything at weekends and on holidays."""
    level = 40 if day.weekday() >= 5 or day in HOLIDAYS else 600
    return _day(bursts(rng, OFFICE * level * rng.lognormal(0, 0.3), 6) + rng.normal(0, 20 * 60e6))


def service(rng: Rng, day: dt.date) -> Times:
    """Day and night, a slight wave."""
    return flow(rng, 200 * (1 + 0.3 * np.sin(np.arange(24) / 24 * 2 * np.pi)))


def batches(rng: Rng, day: dt.date) -> Times:
    """Day and night, but in batches of fifteen."""
    return bursts(rng, np.full(24, 100.0), 15)


def sparse(rng: Rng, day: dt.date) -> Times:
    """Thirty events a day, whenever."""
    return flow(rng, np.full(24, 30 / 24))


def nightly(rng: Rng, day: dt.date) -> Times:
    """A backup at two in the morning, and little else."""
    job = 2 * HOUR_US + rng.normal(0, 5 * 60e6) + rng.uniform(0, 20 * 60e6, 3000)
    return _day(np.concatenate([job, flow(rng, np.full(24, 3.0))]))


def growing(rng: Rng, day: dt.date) -> Times:
    """Three per cent more each day."""
    return flow(rng, np.full(24, 30 * 1.03 ** ((day - START).days)))


def weekly(rng: Rng, day: dt.date) -> Times:
    """Little all week, and a batch of four hours on Sunday morning."""
    batch = 2 * HOUR_US + rng.normal(0, 5 * 60e6) + rng.uniform(0, 4 * HOUR_US, 20_000 * (day.weekday() == 6))
    return _day(np.concatenate([flow(rng, np.full(24, 6.0)), batch]))


def month_end(rng: Rng, day: dt.date) -> Times:
    """An office that closes its books on the last day of the month."""
    level = (60 if day.weekday() >= 5 else 1200) * rng.lognormal(0, 0.2) + 8000 * ((day + DAY).day == 1)
    return _day(np.concatenate([flow(rng, np.full(24, 5.0)), bursts(rng, OFFICE * level, 6)]))


def summer_time(rng: Rng, day: dt.date) -> Times:
    """An office that keeps Berlin's time: on 2026-03-29 its day moves an hour forward in UTC."""
    offset = dt.datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("Europe/Berlin")).utcoffset()
    hours = int((offset or dt.timedelta()) / dt.timedelta(hours=1))
    level = (100 if day.weekday() >= 5 else 2000) * rng.lognormal(0, 0.2)
    return _day(np.concatenate([flow(rng, np.full(24, 4.0)), bursts(rng, np.roll(OFFICE, -hours) * level, 8)]))


ALL: dict[str, Source] = {
    "office": office, "people": people, "service": service, "batches": batches, "sparse": sparse, "nightly": nightly, "growing": growing,
    "weekly": weekly, "month_end": month_end, "summer_time": summer_time,
}  # fmt: skip
