"""The days before and after that are compared.

Belongs here: where the windows begin and end. Not here: the episode's own days (`episode`), what else changed in them (`changes`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from audit_pipeline.clock import DAY
from audit_pipeline.effects.episode import LEAST, MOST, episode
from audit_pipeline.effects.model import Point
from audit_pipeline.effects.series import Series

ALWAYS = "no time without the problem on record"


@dataclass(frozen=True)
class Windows:
    """First and last days, both included, of before and after, and of the episode where there was one."""

    before: tuple[dt.date, dt.date]
    after: tuple[dt.date, dt.date]
    episode: tuple[dt.date, dt.date] | None = None
    remark: str | None = None

    def points(self, series: Series, window: str) -> list[Point]:
        """The days of `before` or `after` that can be used."""
        first, last = self.before if window == "before" else self.after
        return [point for point in series.points if first <= point.day <= last]

    def of(self, day: dt.date) -> str | None:
        """`before`, `episode` or `after`; null for the day of the fix and days beside."""
        for name, span in (("after", self.after), ("before", self.before), ("episode", self.episode)):
            if span is not None and span[0] <= day <= span[1]:
                return name
        return None


def windows(
    series: Series, *, opened: dt.date | None, fixed: dt.date, decision: dt.date, direction: str = "down"
) -> Windows:
    """Before ends where the episode began that opened the finding, else on the day before the fix; after begins on the day after it.

    Where fewer than 21 days lie before the episode, before is the episode itself up to the fix, at least 21 days of it: days from
    before the problem would make the comparison one of two worlds.

    Args:
        series: days up to the one before the decision.
        opened: the first day on which the finding was detected; null where no detection is stored.
        fixed: the day on which the fix took effect; being of both times, it is of neither window.
        decision: the decision date; the window after ends on the day before it.
        direction: the good side.
    """
    past = [point for point in series.points if point.day < fixed]
    after = (fixed + DAY, decision - DAY)
    first = past[0].day if past else fixed - DAY
    opened = max(opened or first, first)
    run = episode(past, opened, fixed, direction) if past else None
    last = run[0] - DAY if run is not None else fixed - DAY
    old = sum(point.day < opened for point in past) < LEAST  # the problem is as old as its records, or nearly
    begin = max(opened if old else first, last - (MOST - 1) * DAY)
    if sum(begin <= point.day <= last for point in past) >= LEAST and not (old and run is None):
        cut = None if run is None else (run[0], fixed - DAY)
        return Windows((begin, last), after, cut, ALWAYS if old else None)
    start = opened if run is None else min(opened, run[0])
    return Windows((max(first, min(start, fixed - LEAST * DAY)), fixed - DAY), after, None, ALWAYS)
