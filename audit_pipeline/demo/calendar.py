"""Days that are unlike others: public holidays, the company's own day off, changes of the clock, and who was not hired yet.

Belongs here: dates. Not here: hours of a day (`rhythm`), or what happens on them (`plot`).
Holidays are those of the whole of Germany (national law; Easter by the algorithm of Meeus, Jones and Butcher).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from audit_pipeline.clock import DAY, UTC, midnight
from audit_pipeline.demo import rhythm
from audit_pipeline.demo.company import Actor

HOME = ZoneInfo("Europe/Berlin")
"""Where the company's own machines stand."""
_FIXED = {(1, 1): "New Year", (5, 1): "Labour Day", (10, 3): "German Unity Day", (12, 25): "Christmas Day", (12, 26): "Second Day of Christmas"}  # fmt: skip
_MOVING = {-2: "Good Friday", 1: "Easter Monday", 39: "Ascension Day", 50: "Whit Monday"}
"""Days after Easter Sunday."""
_SUNDAY = 6


@dataclass(frozen=True)
class Calendar:
    """What is special about the days of one demo."""

    days_off: Mapping[dt.date, str] = field(default_factory=dict)
    """Day to the holiday's name; nobody but those on call works"""
    hired: Mapping[str, dt.date] = field(default_factory=dict)
    """Account of someone new to the first day"""

    def weight(self, actor: Actor, day: dt.date) -> float:
        """How much of its calls an actor makes on this day: `rhythm.day_weight`, a holiday being like a Sunday."""
        if actor.account in self.hired and day < self.hired[actor.account]:
            return 0.0
        return rhythm.day_weight(actor, sunday_of(day) if day in self.days_off else day)

    def is_working(self, day: dt.date) -> bool:
        """Whether most people work."""
        return day.weekday() < 5 and day not in self.days_off


def sunday_of(day: dt.date) -> dt.date:
    """The Sunday of a day's week."""
    return day + (_SUNDAY - day.weekday()) * DAY


def holidays(first: dt.date, last: dt.date) -> dict[dt.date, str]:
    """The public holidays of a period, both ends included."""
    found: dict[dt.date, str] = {}
    for year in range(first.year, last.year + 1):
        found |= {dt.date(year, *at): name for at, name in _FIXED.items()}
        found |= {_easter(year) + after * DAY: name for after, name in _MOVING.items()}
    return {day: found[day] for day in sorted(found) if first <= day <= last}


def _easter(year: int) -> dt.date:
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    return dt.date(year, (h + k - 7 * m + 114) // 31, (h + k - 7 * m + 114) % 31 + 1)


def clock_changes(first: dt.date, last: dt.date) -> list[dt.date]:
    """The UTC days of a period on which clocks in `HOME` change."""
    return [first + n * DAY for n in range((last - first).days + 1) if len({offset(first + n * DAY, s) for s in (0, rhythm.DAY_S - 1)}) > 1]  # fmt: skip


def offset(day: dt.date, second: int) -> int:
    """Seconds by which clocks in `HOME` are ahead of UTC at a second of a UTC day."""
    shift = (midnight(day) + dt.timedelta(seconds=second)).astimezone(HOME).utcoffset()
    return int((shift or dt.timedelta()).total_seconds())


def local(day: dt.date, hour: int, minute: int) -> dt.datetime:
    """A time on the clocks of `HOME`, in UTC."""
    return dt.datetime.combine(day, dt.time(hour, minute), HOME).astimezone(UTC)
