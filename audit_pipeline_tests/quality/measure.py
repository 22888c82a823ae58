"""How often the rhythm cries wolf and what it overlooks, on simulated sources: the table of docs/explanation/completeness.md.

`python -m audit_pipeline_tests.quality.measure` prints it (about a minute).
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from audit_pipeline.clock import DAY
from audit_pipeline.quality.history import HISTORY_DAYS
from audit_pipeline.quality.profile import DAY_US, Minutes
from audit_pipeline.quality.rhythm import Rhythm
from audit_pipeline.quality.volume import Calendar, quiet_hours
from audit_pipeline_tests.quality import simulate
from audit_pipeline_tests.quality.world import HOUR_US, Times, without

FIRST = dt.date(2026, 2, 9)  # a Monday; summer time begins on the 49th day
DAYS = 90
QUARTER_US = HOUR_US // 4
CALENDAR = Calendar(frozenset(simulate.HOLIDAYS))


@dataclass
class Part:
    """How many of the trials went as they should."""

    right: int = 0
    tried: int = 0

    def add(self, right: bool) -> None:
        """One more trial."""
        self.right += right
        self.tried += 1

    @property
    def part(self) -> float:
        """Share that went right; no trial is none that went right."""
        return self.right / self.tried if self.tried else 0.0

    def __str__(self) -> str:
        return f"{self.right} of {self.tried}" if self.tried else "none"


@dataclass
class Found:
    """What was measured of a source."""

    judged: int = 0
    alarms: int = 0
    six: Part = field(default_factory=Part)
    larger: Part = field(default_factory=Part)
    smaller: Part = field(default_factory=Part)
    smallest_s: list[float | None] = field(default_factory=list)
    low: int = 0
    """days told to be low in volume, of those from the 29th day on that are no holiday"""
    compared: int = 0


def minutes(day: dt.date, times: Times) -> Minutes:
    """The occupied minutes of these times."""
    times = np.sort(times)
    _, at, count = np.unique(times // 60_000_000, return_index=True, return_counts=True)
    return Minutes(day, times[at], times[at + count - 1], count)


def nights(days: Iterable[Minutes]) -> Iterator[tuple[dt.date, Rhythm, bool]]:
    """Every day from the third on, what was usual before it, and whether it alarms; a day with an alarm teaches nothing."""
    usual: list[Minutes] = []
    for day in days:
        known = [other for other in usual if day.day - other.day <= HISTORY_DAYS * DAY]
        rhythm = Rhythm.learn(known) if len(known) >= 2 else None
        alarm = rhythm is not None and rhythm.silences(day)[0].ratio > 1
        if not alarm:
            usual.append(day)
        if rhythm is not None:
            yield day.day, rhythm, alarm


def measure(kind: str, seeds: int = 3, every: int = 4) -> Found:
    """Ninety days of a source, `seeds` times; from the 29th day on, holes are cut into every so manieth day."""
    found = Found()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        first = FIRST + seed * 2 * DAY  # begins on a Monday, a Wednesday, a Friday
        times = {day: np.sort(simulate.ALL[kind](rng, day)) for day in (first + n * DAY for n in range(DAYS))}
        for day, rhythm, alarm in nights(minutes(day, stamps) for day, stamps in times.items()):
            found.judged += 1
            found.alarms += alarm
            if (day - first).days >= 28 and day not in CALENDAR.holidays:
                usual = [known for known in rhythm.days if CALENDAR.off(known.day) == CALENDAR.off(day)]
                found.compared += 1
                found.low += bool(quiet_hours(minutes(day, times[day]), usual))
            if (day - first).days >= 28 and (day - first).days % every == 0:
                _holes(found, rhythm, day, times[day])
    return found


def _holes(found: Found, rhythm: Rhythm, day: dt.date, times: Times) -> None:
    if day.weekday() < 5 and day not in simulate.HOLIDAYS:
        found.six.add(_noticed(rhythm, day, times, _busiest(times, 6 * HOUR_US), 6 * HOUR_US))
    smallest = rhythm.smallest_s(minutes(day, times))
    found.smallest_s.append(smallest)
    if smallest is not None:
        length = int(smallest * 1e6)
        middle = _busiest(times, length)
        found.larger.add(_noticed(rhythm, day, times, middle, length * 5 // 4))
        found.smaller.add(not _noticed(rhythm, day, times, middle, length * 3 // 4))


def _busiest(times: Times, length: int) -> int:
    """The middle of the window of that length in which most was written."""
    starts = np.arange(0, max(DAY_US - length, 1), QUARTER_US)
    inside = np.searchsorted(times, starts + length) - np.searchsorted(times, starts)
    return int(starts[int(inside.argmax())]) + length // 2


def _noticed(rhythm: Rhythm, day: dt.date, times: Times, middle: int, length: int) -> bool:
    begin, end = max(middle - length / 2, 0), min(middle + length / 2, DAY_US)
    rest = minutes(day, without(times, begin / HOUR_US, end / HOUR_US))
    found = rhythm.silences(rest) if rest.events else []
    return any(one.ratio > 1 and one.start_us <= middle <= one.end_us for one in found)


def main() -> None:
    """Print the table."""
    sys.stdout.write(
        "| source | false alarms | six-hour holes found | smallest noticed (median) | a quarter larger found | a quarter smaller not found | told low |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    for kind, source in simulate.ALL.items():
        found = measure(kind)
        told = [one for one in found.smallest_s if one is not None]
        median = f"{np.median(told) / 60:.0f} min" if len(told) > len(found.smallest_s) / 2 else "none"
        words = (source.__doc__ or kind).rstrip(".")
        sys.stdout.write(f"| {words} | {found.alarms} of {found.judged} days | {found.six} | {median} | {found.larger} | {found.smaller} | {found.low} of {found.compared} days |\n")  # fmt: skip


if __name__ == "__main__":
    main()
