"""The weekly review of the invented company: what no script is about is looked through on Mondays, as teams do.

Belongs here: which findings are closed or taken up in the review, and in which words. Not here: the stories' own decisions (`people`).
Routine of known people is closed as a false positive and does not come back; what is grave, an anomaly or an error is taken up, and waits
for a fix like everywhere else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from audit_pipeline.clock import DAY

_MONDAY = 0
_ROUTINE = ("medium", "low", "informational")
_KNOWN = "Weekly review: the person was asked, it is known work."
_TAKEN_UP = "Weekly review: taken up."


class Reviewed(NamedTuple):
    """What the review decides about a finding."""

    finding_id: str
    action: str
    reason: str


def review(rows: Collection[dict[str, Any]], day: dt.date, taken: Collection[str | None]) -> Iterator[Reviewed]:
    """What is decided on a day about findings of at least two days' age.

    Args:
        rows: the view `findings` as of the night before.
        day: the day; nothing is reviewed but on Mondays.
        taken: findings that somebody works on already.
    """
    if day.weekday() != _MONDAY:
        return
    for row in sorted(rows, key=lambda one: str(one["finding_id"])):
        if row["state"] != "open" or row["finding_id"] in taken or row["detected_at"].date() > day - 2 * DAY:
            continue
        routine = row["kind"] == "rule" and row["severity"] in _ROUTINE
        yield Reviewed(
            row["finding_id"], "false_positive" if routine else "acknowledge", _KNOWN if routine else _TAKEN_UP
        )
