"""What the command line does with findings: plain data in and out, ids by their beginning, errors that name what exists.

Belongs here: finding the finding meant, who decides, and one function a command. Not here: printing and options (`cli`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from audit_pipeline.clock import Clock, SystemClock
from audit_pipeline.errors import UsageError
from audit_pipeline.findings import decisions
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.states import CLOSED, STATES
from audit_pipeline.findings.view import findings_table, show
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

SHORTEST_PREFIX = 6
_SHOWN = 10


def list_findings(
    settings: Settings,
    *,
    include_closed: bool = True,
    state: str | None = None,
    team: str | None = None,
    until: dt.date | None = None,
) -> list[dict[str, Any]]:
    """The findings, worst first: of a state or a team where one is given, as of a day where one is given.

    Raises:
        UsageError: there is no such state or team.
    """
    if state is not None and state not in STATES:
        raise UsageError(f"no state is named {state!r}: one of {', '.join(sorted(STATES))}.")
    if team is not None and team not in settings.teams:
        raise UsageError(f"no team is named {team!r}: one of {', '.join(sorted(settings.teams)) or 'none yet'}.")
    with _opened(settings) as (lake, engine):
        rows = findings_table(settings, lake, engine, until).to_pylist()
    return [
        row
        for row in rows
        if state in (None, row["state"])
        and team in (None, row["team"])
        and (include_closed or state is not None or row["state"] not in CLOSED)
    ]


def show_finding(settings: Settings, prefix: str, *, until: dt.date | None = None) -> dict[str, Any]:
    """One finding whole (`view.show`), by the beginning of its id.

    Raises:
        UsageError: the beginning is too short, or fits none or several; names what exists.
    """
    with _opened(settings) as (lake, engine):
        rows = findings_table(settings, lake, engine, until).to_pylist()
        return show(settings, lake, engine, _find(rows, prefix), until)


def acknowledge(
    settings: Settings, prefix: str, *, reason: str = "", person: str | None = None, clock: Clock | None = None
) -> Decision:
    """Say that somebody has taken the finding up; see `decide`."""
    return decide(settings, prefix, "acknowledge", reason=reason, person=person, clock=clock)


def false_positive(
    settings: Settings, prefix: str, *, reason: str, person: str | None = None, clock: Clock | None = None
) -> Decision:
    """Say that it tells of nothing bad: it is closed, and the same rule and group do not come back; see `decide`."""
    return decide(settings, prefix, "false_positive", reason=reason, person=person, clock=clock)


def comment(
    settings: Settings, prefix: str, *, reason: str, person: str | None = None, clock: Clock | None = None
) -> Decision:
    """Write something down about the finding; see `decide`."""
    return decide(settings, prefix, "comment", reason=reason, person=person, clock=clock)


def assign(
    settings: Settings,
    prefix: str,
    *,
    owner: str,
    reason: str = "",
    person: str | None = None,
    clock: Clock | None = None,
) -> Decision:
    """Say who looks after the finding; see `decide`."""
    return decide(settings, prefix, "assign", reason=reason, person=person, clock=clock, payload={"owner": owner})


def decide(
    settings: Settings,
    prefix: str,
    action: str,
    *,
    reason: str = "",
    person: str | None = None,
    clock: Clock | None = None,
    payload: dict[str, Any] | None = None,
) -> Decision:
    """Record a decision about the finding whose id begins with `prefix`.

    Args:
        settings: where findings and decisions are.
        prefix: at least 6 digits of the finding's id.
        action: a name of `states.ACTIONS`, or its word on the command line (`false-positive`).
        reason: why.
        person: who decides, recorded as `claimed`; `None`: the operating system's user, recorded as `os`.
        clock: when; `None`: the machine's, also where nights are simulated, as a person decides now.
        payload: what the action needs besides.

    Raises:
        UsageError: no such finding or action, or something that the action needs is missing.
        UserError: the finding's state does not allow it.
    """
    with _opened(settings) as (lake, engine):
        rows = findings_table(settings, lake, engine, None).to_pylist()
        return decisions.record(
            engine,
            finding_id=_find(rows, prefix),
            action=action.replace("-", "_"),
            person=_user() if person is None else person,
            identity="os" if person is None else "claimed",
            reason=reason,
            clock=clock or SystemClock(),
            payload=payload,
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name (OSError since Python 3.13)
        raise UsageError("the operating system does not say who you are. Say it with --as.") from None


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Lake, sa.Engine]]:
    engine = open_state(settings.state_url_resolved)
    try:
        yield Lake.open(settings.lake_url), engine
    finally:
        engine.dispose()


def _find(rows: list[dict[str, Any]], prefix: str) -> str:
    """The id of the one finding that begins with `prefix`."""
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
