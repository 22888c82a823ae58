"""What is set aside: accepted risks, approvals without a second person, false positives and duplicates; noise rules in force.

Belongs here: selecting and counting. Not here: what a noise rule is (`noise`), the life cycle (`findings`).
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


def set_aside(inputs: Inputs) -> Row:
    """Accepted risks in force (soonest to expire first), fixes approved by who proposed them, and counts of what was closed as no finding.

    `false_positive` and `duplicate` count all on record.
    """
    accepted = [row for row in inputs.findings if row["state"] == "accepted"]
    alone = [row for row in inputs.findings if row["approval"] == "self-approved"]
    return {
        "accepted": sorted(
            (_accepted(inputs, row) for row in accepted),
            key=lambda row: (row["expires_at"] or "9999", row["finding_id"]),
        ),
        "self_approved": [_brief(row, "approved_by", "approved_at", "state") for row in alone],
        **{name: sum(row["state"] == name for row in inputs.findings) for name in ("false_positive", "duplicate")},
    }


def _brief(row: Row, *more: str) -> Row:
    return {name: row[name] for name in ("finding_id", "title", "severity", "team", "owner", *more)}


def _accepted(inputs: Inputs, row: Row) -> Row:
    made = [one for one in inputs.decided if one["finding_id"] == row["finding_id"] and one["action"] == "accept"]
    last: Row = made[-1] if made else {"payload": {}, "reason": None, "recorded_at": row["closed_at"]}
    return {
        **_brief(row, "expires_at"),
        "approver": last["payload"].get("approver"),
        "reason": last["reason"],
        "accepted_at": last["recorded_at"],
    }
