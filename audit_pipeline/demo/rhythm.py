"""When people and services act: working hours in their own zone, weekly rhythm, nightly batches, and pauses between bursts of clicks.

Belongs here: days and seconds. Not here: what is called (`operations`) or planted stories (`stories`).
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.clock import UTC
from audit_pipeline.demo.company import Actor

Seconds = NDArray[np.int64]
"""Seconds since the UTC day's midnight, ascending, in 0..86399."""

DAY_S = 86_400
_WEEKEND_SHARE = {"sre": 0.25, "support": 0.15, "engineer": 0.04, "admin": 0.04}
_SERVICE_WEEKEND = {"ci": 0.25, "web": 0.8, "etl": 0.9}
_NIGHTLY = {"backup": (0.5, 4.0), "scanner": (2.0, 6.0)}
"""Hours (UTC) between which a service does most of its work."""


def day_weight(actor: Actor, day: dt.date) -> float:
    """How much of its calls an actor makes on this day, relative to an engineer's working day."""
    if actor.kind == "service":
        return actor.activity * (_SERVICE_WEEKEND.get(actor.role, 1.0) if day.weekday() >= 5 else 1.0)
    return actor.activity * (1.0 if day.weekday() in actor.weekdays else _WEEKEND_SHARE.get(actor.role, 0.0))


def session_start(actor: Actor, day: dt.date, rng: np.random.Generator) -> int:
    """When a person begins their local day `day`, in seconds since that UTC day's midnight, within the day."""
    begin = dt.datetime.combine(day, dt.time(), ZoneInfo(actor.zone)) + dt.timedelta(hours=actor.hours[0])
    offset = (begin.astimezone(UTC) - dt.datetime.combine(day, dt.time(), UTC)).total_seconds()
    return int(np.clip(offset + rng.normal(0, 900), 60, DAY_S - 4 * 3600))


def human_times(actor: Actor, start: int, n: int, rng: np.random.Generator) -> Seconds:
    """`n` calls from `start` on: bursts of about six, a dip at noon, none after the working day or the UTC day."""
    length = (actor.hours[1] - actor.hours[0]) * 3600
    at = np.sort(rng.random(max(1, n // 6)))
    at = np.where((at > 0.44) & (at < 0.53), at - 0.3 * rng.random(at.size), at)  # lunch
    centres = start + 30 + at * length
    times = rng.choice(centres, n) + rng.exponential(25, n)
    return _within_day(times, start + 10)


def service_times(actor: Actor, n: int, rng: np.random.Generator) -> Seconds:
    """`n` calls over day and night: most services steadily, web and builds with the users' day, backups at night."""
    if actor.role in _NIGHTLY:
        low, high = _NIGHTLY[actor.role]
        steady = rng.random(n) < 0.2
        return _within_day(np.where(steady, rng.random(n) * 24, rng.uniform(low, high, n)) * 3600, 0)
    if actor.role == "etl":
        return _within_day(rng.integers(0, 24, n) * 3600 + 240 + rng.gamma(2.0, 240, n), 0)
    if actor.role in ("web", "ci"):
        wave = rng.random(n) < (0.45 if actor.role == "web" else 0.8)
        return _within_day(np.where(wave, rng.normal(12.5, 3.2, n) % 24, rng.random(n) * 24) * 3600, 0)
    return _within_day(rng.random(n) * DAY_S, 0)


def _within_day(times: NDArray[np.float64], first: int) -> Seconds:
    """Whole seconds, sorted; what runs over an edge of the day is folded back into it."""
    room = DAY_S - first
    folded = first + np.mod(times - first, room)
    return np.sort(folded.astype(np.int64))
