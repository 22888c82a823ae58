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
from audit_pipeline.findings import course, decisions, signing
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.duties import in_force
from audit_pipeline.findings.payloads import Context
from audit_pipeline.findings.states import CLOSED, OPEN, STATES
from audit_pipeline.findings.view import findings_table, show
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

SHORTEST_PREFIX = 6
_SHOWN = 10
_JUDGED = (
    "SELECT DISTINCT as_of, verdict, subject_id FROM effects WHERE subject = 'remediation' AND subject_id LIKE ? "
    "AND verdict IN ('verified', 'ineffective', 'inconclusive') ORDER BY ALL"
)


def list_findings(
    settings: Settings,
    *,
    include_closed: bool = True,
    state: str | None = None,
    team: str | None = None,
    until: dt.date | None = None,
    owner: str | None = None,
    overdue: bool = False,
) -> list[dict[str, Any]]:
    """The findings, worst first: of a state, team or owner where one is given, as of a day where one is given, or overdue ones alone.

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
        and (owner is None or _is_of(settings, row["owner"], owner))
        and (not overdue or row["overdue"])
        and (include_closed or state is not None or row["state"] not in CLOSED)
    ]


def me() -> str:
    """The operating system's user."""
    return _user()


def _is_of(settings: Settings, owner: str | None, person: str) -> bool:
    """Whether a finding is a person's, or that of a team of which the person is a member."""
    return owner == person or (owner in settings.teams and person in settings.teams[str(owner)].members)


def show_finding(settings: Settings, prefix: str, *, until: dt.date | None = None) -> dict[str, Any]:
    """One finding whole (`view.show`), by the beginning of its id.

    Raises:
        UsageError: the beginning is too short, or fits none or several; names what exists.
    """
    with _opened(settings) as (lake, engine):
        rows = findings_table(settings, lake, engine, until).to_pylist()
        return show(settings, lake, engine, find(rows, prefix), until)


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
    effective_at: dt.datetime | None = None,
    sign: str | None = None,
) -> Decision:
    """Record a decision about the finding whose id begins with `prefix`.

    Args:
        settings: where findings and decisions are.
        prefix: at least 6 digits of the finding's id.
        action: a name of `states.ACTIONS`, or its word on the command line (`false-positive`).
        reason: why.
        person: who decides, recorded as `claimed`; `None`: the operating system's user, recorded as `os`.
        clock: when; `None`: the machine's, also where nights are simulated, as a person decides now.
        payload: what the action needs besides (`payloads`); without `proposal` the one in force is meant.
        effective_at: when it took effect, where that was earlier.
        sign: file of the SSH key to sign with, empty for the person's usual one; recorded as `ssh`.

    Raises:
        UsageError: no such finding or action, or something that the action needs is missing.
        UserError: the finding's state does not allow it, somebody approves their own, or the signature does not verify.
    """
    action, content = action.replace("-", "_"), dict(payload or {})
    with _opened(settings) as (lake, engine):
        rows = findings_table(settings, lake, engine, None).to_pylist()
        finding = find(rows, prefix)
        if action == "duplicate" and content.get("of"):
            content["of"] = find(rows, str(content["of"]))
        made = [one for one in decisions.read(engine) if one.finding_id == finding]
        proposed = (in_force(made) or (None, None))[0]
        if action in ("approve", "reject", "implement") and not content.get("proposal") and proposed:
            content["proposal"] = proposed.seq
        clock = clock or SystemClock()
        return decisions.record(
            engine,
            finding_id=finding,
            action=action,
            person=_user() if person is None else person,
            identity="os" if person is None else "claimed",
            reason=reason,
            clock=clock,
            payload=content,
            effective_at=effective_at,
            context=context(settings, lake, rows, finding, made, clock.now()),
            sign=None if sign is None else signing.signer(settings, sign or None),
        )


def context(
    settings: Settings, lake: Lake, rows: list[dict[str, Any]], finding: str, made: list[Decision], now: dt.datetime
) -> Context:
    """What the log of decisions does not know about a finding: other findings, its team, verdicts of its fixes, and whether it came back."""
    row = next(row for row in rows if row["finding_id"] == finding)
    with connect(lake, tables=["effects"]) as con:
        judged = con.execute(_JUDGED, [f"{finding}:%"]).fetchall()
    events = [
        course.Step(at, verdict, int(str(subject).rpartition(":")[2])) for at, verdict, subject in judged if at <= now
    ]
    if row["state"] == OPEN and course.state_at(made, events, now) == "verified":
        events.append(course.Step(now, "recurred"))  # only detections and effects tell, and the view has asked them
    return Context(settings, frozenset(row["finding_id"] for row in rows), row["team"], tuple(events))


def take_in(settings: Settings, clock: Clock | None = None) -> list[str]:
    """Take decisions in from files (`files.take_in`); what could not be, a line each."""
    from audit_pipeline.findings.files import take_in as files_taken_in  # it uses this module

    with _opened(settings) as (lake, engine):
        return [str(problem) for problem in files_taken_in(settings, lake, engine, clock or SystemClock())]


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


def find(rows: list[dict[str, Any]], prefix: str) -> str:
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
