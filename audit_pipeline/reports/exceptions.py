"""What is set aside: the noise rules in force on a report's days, and how many events each marked.

Belongs here: reading the rules for a report. Not here: what a rule is (`noise`); findings set aside stand among the findings.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.reports.inputs import Inputs, Row

_MARKED = "SELECT x_noise_rule, count(*) FROM events WHERE x_noise_rule IS NOT NULL GROUP BY 1"


def noise(inputs: Inputs, first: dt.date) -> list[Row]:
    """The rules in force on a day from `first` to the report's last, by id, with the number of events that each marked."""
    from audit_pipeline.context import connect  # reads the inventory: not needed to import this package
    from audit_pipeline.noise.rules import load

    rules = [one.rule for one in load(inputs.settings)[0]]
    in_force = sorted(
        (one for one in rules if one.created <= inputs.day and one.expires > first), key=lambda one: one.id
    )
    if not in_force:
        return []
    with connect(inputs.settings, inputs.lake, since=first, until=inputs.day, tables=["events"]) as con:
        marked = dict(con.sql(_MARKED).fetchall())
    return [
        {
            "id": one.id,
            "title": one.title,
            "reason": one.reason,
            "owner": one.owner,
            "created": one.created.isoformat(),
            "expires": one.expires.isoformat(),
            "events": marked.get(one.id, 0),
        }
        for one in in_force
    ]
