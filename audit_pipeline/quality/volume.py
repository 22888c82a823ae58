"""How much a source writes, held against its own weekdays and hours.

Belongs here: `volume_low` and `volume_high`; both inform and lower no verdict, since less work is not loss. Not here: silences (`rhythm`).

From 28 days of history on a day is held against the same weekday of the last four to eight weeks, before that against like days
(working days, or weekends and holidays). Median and robust spread (Rousseeuw & Croux 1993, JASA 88:1273) let one holiday or outage
among them pass.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from audit_pipeline.clock import midnight
from audit_pipeline.quality import words
from audit_pipeline.quality.profile import Minutes, Profile
from audit_pipeline.quality.reasons import Reason
from audit_pipeline.quality.rhythm import SEASON

_Counts = npt.NDArray[np.float64]
BAND = 3
"""Width of the expected range of events, in robust standard deviations."""
SHORTEST_H = 2
"""Hours of low volume in a row that are worth telling."""
SEARCHED = 1.5
"""How much deeper than its band a window has to lie that was chosen as the worst of all windows of the day."""


@dataclass(frozen=True)
class Calendar:
    """Days off, beside the weekend."""

    holidays: frozenset[dt.date] = frozenset()

    def off(self, day: dt.date) -> bool:
        """Whether it is a weekend or holiday."""
        return day.weekday() >= 5 or day in self.holidays

    def alike(self, day: dt.date, days: Collection[dt.date]) -> set[dt.date]:
        """The days to hold a day against: its own weekday where enough are known, else days of its kind."""
        kind = {known for known in days if self.off(known) == self.off(day)}
        same = {known for known in kind if known.weekday() == day.weekday()}
        return same if len(same) >= SEASON and day not in self.holidays else kind


def band(events: Sequence[float]) -> tuple[float, float] | None:
    """The events that like days let expect: median and robust spread, never narrower than a Poisson count or a twentieth."""
    if not events:
        return None
    middle = float(np.median(events))
    mad = float(_mad(np.array(events, np.float64)[:, None])[0])
    spread = BAND * max(mad, middle**0.5, 0.05 * middle) * (1 + 2 / len(events))
    return max(middle - spread, 0.0), middle + spread


def _mad(counts: _Counts) -> _Counts:
    """The robust standard deviation of each column."""
    return np.asarray(1.4826 * np.median(np.abs(counts - np.median(counts, axis=0)), axis=0))


def volume(day: Profile, expected: tuple[float, float] | None) -> list[Reason]:
    """The whole day against like days."""
    if expected is None or expected[0] <= day.events <= expected[1]:
        return []
    low = day.events < expected[0]
    detail = f"{words.count(day.events)}; like days had {expected[0]:,.0f} to {expected[1]:,.0f}"
    code, limit = ("volume_low", expected[0]) if low else ("volume_high", expected[1])
    return [Reason(code, detail, expected=limit, seen=float(day.events))]


def quiet_hours(day: Minutes, usual: Sequence[Minutes]) -> list[Reason]:
    """`volume_low` of hours in a row: one of two servers that stopped leaves no silence, but half the events.

    Args:
        day: the day.
        usual: days of its kind; with fewer than four of the same weekday nothing is said.
    """
    same = [known for known in usual if known.day.weekday() == day.day.weekday()]
    if len(same) < SEASON:
        return []
    begins, ends = np.triu_indices(25, SHORTEST_H)
    sums = _windows([*same, day], begins, ends)
    counts, seen = sums[:-1], sums[-1]
    middle = np.median(counts, axis=0)
    burst, level = _dispersion(usual)
    spread = np.maximum.reduce(
        [_mad(counts), np.sqrt(burst * middle), max(level, 0.05) * middle, np.full_like(middle, 1e-9)]
    )
    depth = (middle - seen) / (BAND * (1 + 2 / len(same)) * spread)
    if depth.max() <= SEARCHED:
        return []
    clear = (middle - seen) / np.sqrt(
        burst * np.maximum(middle, 1.0)
    )  # of all windows that are low, the one that stands out most
    worst = int(np.argmax(np.where(depth > SEARCHED, clear, -np.inf)))
    begin, end, expected = int(begins[worst]), int(ends[worst]), float(middle[worst])
    detail = (
        f"{words.count(float(seen[worst]))} from {begin:02d}:00 to {end:02d}:00; "
        f"this weekday had {words.count(expected)} then, the median of {len(same)} weeks"
    )
    start = midnight(day.day)
    hours = (start + dt.timedelta(hours=begin), start + dt.timedelta(hours=end))
    part = float(seen[worst]) / expected
    return [Reason("volume_low", detail, *hours, expected=expected, seen=float(seen[worst]), share=part)]


def _windows(days: Sequence[Minutes], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> _Counts:
    """Events of each day (rows) in each window of hours (columns)."""
    until = np.concatenate([np.zeros((len(days), 1)), np.cumsum([known.hours for known in days], axis=1)], axis=1)
    return np.asarray(until[:, ends] - until[:, begins])


def _dispersion(days: Sequence[Minutes]) -> tuple[float, float]:
    """How bursty hours are (variance by mean, at least 1), and how much whole days differ (robust, relative to the median day)."""
    hours = np.stack([known.hours for known in days])
    totals = hours.sum(axis=1)
    expected = np.median(hours, axis=0) * (totals / max(float(np.median(totals)), 1e-9))[:, None]
    burst = float(((hours - expected) ** 2).sum() / max(float(expected.sum()), 1e-9))
    return max(burst, 1.0), float(_mad(totals[:, None])[0]) / max(float(np.median(totals)), 1e-9)


def explained(reason: Reason, holiday: bool, others: tuple[int, int] | None) -> Reason:
    """`volume_low` with what else is known of the day.

    Args:
        reason: the reason; others than `volume_low` of a day that has a band are returned as they are.
        holiday: whether the calendar says so.
        others: how many of the other sources were low too, of how many that could be told; null where there are none.
    """
    if reason.code != "volume_low" or reason.expected is None:
        return reason
    if holiday:
        said = "a holiday by the calendar"
    elif others is None or not others[1]:
        return reason
    elif others[0]:
        said = f"{others[0]} of {words.count(others[1], 'other source')} low too: a holiday, or a fault that they share"
    else:
        said = f"no other source was low: this one lost something, or had less to tell ({words.count(others[1], 'other source')})"
    return replace(reason, detail=f"{reason.detail}; {said}")
