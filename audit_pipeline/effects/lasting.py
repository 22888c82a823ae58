"""Whether a verified fix of a rate lasts: when its KPI was above the band again after the decision date.

Belongs here: the watch after a verdict, which it never changes. Not here: the verdict (`judge`), what reopens (`findings.spells`).

A rate was promised to fall, not to vanish: that its rule detects something again says nothing. It is back when its series runs above
the band of the days since the fix (the test of `episode`) and the run lies beyond what was promised.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from audit_pipeline.clock import DAY
from audit_pipeline.effects.episode import runs
from audit_pipeline.effects.model import Point

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
        for last in range(run.alarm, run.last + 1):
            if points[last].day >= decision and _broken(points[run.first : last + 1], rate_before, promised, direction):
                return points[last].day
    return None


def _broken(run: Sequence[Point], rate_before: float, promised: float | None, direction: str) -> bool:
    """Whether the run lies beyond what was promised."""
    rate = sum(one.n for one in run) / sum(one.exposure for one in run)
    if promised is None:
        return True
    return rate > rate_before * (1 - promised) if direction == "down" else rate < rate_before * (1 + promised)


def watched(decision: dt.date, day: dt.date) -> bool:
    """Whether a day lies in the time for which a fix is watched."""
    return decision < day <= decision + WATCHED - DAY
