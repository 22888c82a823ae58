"""The one clock: nothing else in the package reads the time.

Belongs here: what "now" and "as of" mean. Not here: time zones of sources (formats) or schedules (orchestration).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

UTC = dt.UTC
DAY = dt.timedelta(days=1)
SIMULATED_NOTE = "simulated clock, not evidence"


class Clock(Protocol):
    """Tells the time of a run; timezone-aware, UTC."""

    @property
    def simulated(self) -> bool:
        """Whether the time is made up; every output then says so."""
        ...

    def now(self) -> dt.datetime:
        """The time of the run."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The machine's clock."""

    simulated: bool = False

    def now(self) -> dt.datetime:
        """The machine's time in UTC."""
        return dt.datetime.now(UTC)


@dataclass(frozen=True)
class SimulatedClock:
    """A clock that stands still at `at`: the demo's nights and the tests."""

    at: dt.datetime
    simulated: bool = True

    def now(self) -> dt.datetime:
        """The moment it was set to."""
        return self.at


def midnight(day: dt.date) -> dt.datetime:
    """The first moment of a UTC day."""
    return dt.datetime.combine(day, dt.time(), UTC)


def as_of(day: dt.date, run_at: dt.time) -> dt.datetime:
    """The next midnight UTC plus `run_at`: decisions after it do not enter the day's tables."""
    return midnight(day) + DAY + dt.timedelta(hours=run_at.hour, minutes=run_at.minute, seconds=run_at.second)


def rfc3339(moment: dt.datetime) -> str:
    """`2026-11-23T03:00:00Z`; microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
