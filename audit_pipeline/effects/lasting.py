"""Whether a verified fix of a rate lasts: when its KPI was above the band again after the decision date.

Belongs here: the watch after a verdict, which it never changes. Not here: the verdict (`judge`), what reopens (`findings.spells`).

A rate was promised to fall, not to vanish: that its rule detects something again says nothing. It is back when its series runs above
the band of the days since the fix (the test of `episode`) for a week at least, and lies beyond what was promised on most days of it: a
single bad day breaks no promise. As a run is sought until one is found, the step up to it must also stand by itself (`model`, p < 0.001), with
what days that resemble each other leave of it.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Sequence

from audit_pipeline.clock import DAY
from audit_pipeline.effects.episode import runs
from audit_pipeline.effects.model import Point, estimate

P = 0.001
A_WEEK = 7
"""days that a run has at least"""
WATCHED = dt.timedelta(days=366)
"""after its decision date, for which a fix is watched"""


def back(
    points: Sequence[Point], decision: dt.date, *, rate_before: float, promised: float | None, direction: str = "down"
) -> dt.date | None:
    """The first day, from the decision date on, by which the rate was back; none where it is not.

    Args:
        points: the days that can be used since the fix, in order.
        decision: the decision date; days before it were judged.
        rate_before: the rate before the fix.
        promised: the share by which it was to change; without one any run counts.
        direction: the good side.
    """
    for run in runs(points, direction):
        for last in range(max(run.alarm, run.first + A_WEEK - 1), run.last + 1):
            usual, above = points[: run.first], points[run.first : last + 1]
            if points[last].day < decision or not _broken(above, rate_before, promised, direction):
                continue
            if estimate(usual, above).p < P:
                return points[last].day
    return None


def _broken(run: Sequence[Point], rate_before: float, promised: float | None, direction: str) -> bool:
    """Whether most days of the run lie beyond what was promised."""
    if promised is None:
        return True
    rate = statistics.median(one.n / one.exposure for one in run)
    return rate > rate_before * (1 - promised) if direction == "down" else rate < rate_before * (1 + promised)


def watched(decision: dt.date, day: dt.date) -> bool:
    """Whether a day lies in the time for which a fix is watched."""
    return decision < day <= decision + WATCHED - DAY
