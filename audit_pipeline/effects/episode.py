"""The episode that opened a finding: the run of days on which a series lies above the band expected from the days before.

Belongs here: where a run begins and ends. Not here: which window follows from it (`windows`).

A cumulative sum chart (Page 1954, https://doi.org/10.1093/biomet/41.1-2.100) of log counts against the 21 to 84 days before the run,
by weekday: k = 0.5 and h = 5 standard deviations. A run begins after the sum's last zero, the usual estimate of a change, and ends
where the sum is highest. A false alarm makes the window before shorter, never a fix better than it was.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from audit_pipeline.effects.model import Point

LEAST, MOST = 21, 84
"""days before that the band is expected from"""
_SLACK, _ALARM = 0.5, 5.0
_LEAST_SD = 0.15


class Run(NamedTuple):
    """Days above the band, as places in the list of points."""

    first: int
    last: int
    """where the sum is highest"""
    alarm: int
    """where the sum told of it"""


def episode(
    points: Sequence[Point], opened: dt.date, until: dt.date, direction: str = "down"
) -> tuple[dt.date, dt.date] | None:
    """First and last day of the earliest run that touches the days from `opened` to `until`; none where there is none.

    Args:
        points: the days that can be used, in order, up to `until`.
        opened: the day of the finding's first detection.
        until: the day of the fix.
        direction: the good side; a run lies on the other.
    """
    days = [(points[run.first].day, points[run.last].day) for run in runs(points, direction)]
    return next((run for run in days if run[1] >= opened and run[0] <= until), None)


def runs(points: Sequence[Point], direction: str = "down") -> list[Run]:
    """The runs above the band, in order; `direction` is the good side, and a run lies on the other."""
    found: list[Run] = []
    sign = 1.0 if direction == "down" else -1.0
    logs = np.array([math.log((one.n + 0.5) / one.exposure) for one in points])
    begin: int | None = None
    alarm: int | None = None
    total = highest = 0.0
    peak = 0
    for i in range(len(points)):
        base = slice(max(0, (i if begin is None else begin) - MOST), i if begin is None else begin)
        if base.stop - base.start < LEAST:
            continue
        total = max(0.0, total + sign * _deviation(points, logs, base, i) - _SLACK)
        begin = i if begin is None and total else begin
        if total > highest:
            highest, peak = total, i
        alarm = i if alarm is None and highest >= _ALARM else alarm
        if begin is None or (total and not (alarm is not None and i - peak > LEAST)):
            continue  # nothing has begun, or it goes on; long over, what follows is a run of its own
        found += [] if alarm is None else [Run(begin, peak, alarm)]
        begin = alarm = None
        total = highest = 0.0
    return [*found, Run(begin, peak, alarm)] if begin is not None and alarm is not None else found


def _deviation(
    points: Sequence[Point], logs: np.ndarray[tuple[int], np.dtype[np.float64]], base: slice, i: int
) -> float:
    """How many standard deviations a day lies above what its weekday had in the days before, as far as it had."""
    weekdays = np.array([one.day.weekday() for one in points[base]])
    values = logs[base]
    means = {day: float(values[weekdays == day].mean()) for day in set(weekdays.tolist())}
    expected = means.get(points[i].day.weekday(), float(values.mean()))
    residuals = values - np.array([means[day] for day in weekdays.tolist()])
    free = max(len(values) - len(means), 1)
    return float((logs[i] - expected) / max(math.sqrt(float(residuals @ residuals) / free), _LEAST_SD))
