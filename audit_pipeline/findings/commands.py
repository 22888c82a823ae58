"""What the command line does with findings: plain data in and out, ids by their beginning, errors that name what exists.

Belongs here: finding the finding meant, and one function a command. Not here: printing, options, who the user is (`cli`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from audit_pipeline.clock import Clock
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings import decisions
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.states import STATES
from audit_pipeline.findings.view import findings_table, show
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

SHORTEST_PREFIX = 6
_SHOWN = 10


def list_findings(
    settings: Settings,
    lake: Lake,
    engine: sa.Engine,
    *,
    until: dt.date | None = None,
    state: str | None = None,
    team: str | None = None,
) -> list[dict[str, Any]]:
    """The findings, worst first; only those of a state or a team where one is given.

    Raises:
        UsageError: there is no such state or team.
    """
    if state is not None and state not in STATES:
        raise UsageError(f"no state is named {state!r}: one of {', '.join(sorted(STATES))}.")
    if team is not None and team not in settings.teams:
        raise UsageError(f"no team is named {team!r}: one of {', '.join(sorted(settings.teams)) or 'none yet'}.")
    rows = findings_table(settings, lake, engine, until).to_pylist()
    return [row for row in rows if state in (None, row["state"]) and team in (None, row["team"])]


def show_finding(
    settings: Settings, lake: Lake, engine: sa.Engine, prefix: str, *, until: dt.date | None = None
) -> dict[str, Any]:
    """One finding whole (`view.show`), by the beginning of its id.

    Raises:
        UsageError: the beginning is too short, or fits none or several.
    """
    found = show(settings, lake, engine, find(settings, lake, engine, prefix, until=until), until)
    if found is None:
        raise UserError(f"finding {prefix}: its detections were removed just now. List the findings again.")
    return found


def acknowledge(
    settings: Settings,
    lake: Lake,
    engine: sa.Engine,
    prefix: str,
    *,
    person: str,
    identity: str,
    clock: Clock,
    reason: str = "",
) -> Decision:
    """Say that somebody looks after the finding; see `decide`."""
    return decide(settings, lake, engine, prefix, action="acknowledge", person=person, identity=identity, clock=clock, reason=reason)  # fmt: skip


def false_positive(
    settings: Settings,
    lake: Lake,
    engine: sa.Engine,
    prefix: str,
    *,
    person: str,
    identity: str,
    clock: Clock,
    reason: str,
) -> Decision:
    """Say that it is none: closes it, and the same rule and group do not come back; see `decide`."""
    return decide(settings, lake, engine, prefix, action="false_positive", person=person, identity=identity, clock=clock, reason=reason)  # fmt: skip


def decide(
    settings: Settings,
    lake: Lake,
    engine: sa.Engine,
    prefix: str,
    *,
    action: str,
    person: str,
    identity: str,
    clock: Clock,
    reason: str = "",
    payload: dict[str, Any] | None = None,
) -> Decision:
    """Record a decision about the finding whose id begins with `prefix`; `action` also by its word on the command line (`false-positive`).

    Raises:
        UsageError: no such finding or action, or something that the action needs is missing.
        UserError: the finding's state does not allow it.
    """
    return decisions.record(
        engine,
        finding_id=find(settings, lake, engine, prefix),
        action=action.replace("-", "_"),
        person=person,
        identity=identity,
        reason=reason,
        clock=clock,
        payload=payload,
    )


def find(settings: Settings, lake: Lake, engine: sa.Engine, prefix: str, *, until: dt.date | None = None) -> str:
    """The id of the one finding that begins with `prefix` (at least 6 digits).

    Raises:
        UsageError: the beginning is too short, or fits none or several; names what exists.
    """
    rows = findings_table(settings, lake, engine, until).to_pylist()
    if len(prefix) < SHORTEST_PREFIX:
        raise UsageError(f"finding {prefix!r}: give at least {SHORTEST_PREFIX} digits of its id. {_existing(rows)}")
    matching = [row for row in rows if row["finding_id"].startswith(prefix.lower())]
    if len(matching) == 1:
        return str(matching[0]["finding_id"])
    if not matching:
        raise UsageError(f"no finding's id begins with {prefix!r}. {_existing(rows)}")
    raise UsageError(f"{len(matching)} findings' ids begin with {prefix!r}: give more digits. {_existing(matching)}")


def _existing(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "There are no findings yet."
    shown = "; ".join(f"{row['finding_id'][:12]} {row['title']} ({row['state']})" for row in rows[:_SHOWN])
    more = f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"There is: {shown}{more}."
