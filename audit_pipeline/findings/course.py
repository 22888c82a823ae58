"""The way of one finding through its states, from its decisions and from what happened otherwise, and whether a step may follow.

Belongs here: order in time, expiry, and what must have been decided before. Not here: the table of states (`states`), the log (`decisions`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit_pipeline.clock import midnight, rfc3339
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings import duties
from audit_pipeline.findings.payloads import Context, read_payload
from audit_pipeline.findings.states import OPEN, after, allowed, words

if TYPE_CHECKING:
    from audit_pipeline.findings.decisions import Decision


@dataclass(frozen=True)
class Step:
    """Something that may change a finding's state: when, its name, and the decision or the effect behind it."""

    time: dt.datetime
    name: str
    """an action, or a name of `states.EVENTS`"""
    about: int | None = None
    """number of the decision; of what nobody decided, that of the proposal or acceptance it tells of (null: any)"""
    decision: Decision | None = None
    effect_id: str | None = None


class AlreadyRecordedError(UserError):
    """An entry of a file that is in the log already."""


def check(row: dict[str, Any], made: list[Decision], context: Context | None) -> None:
    """What must be so before: the state, the proposal that is spoken of, an entry of a file that is not in the log yet."""
    now, payload = dt.datetime.fromisoformat(row["recorded_at"]), read_payload(row["payload"])
    if payload.get("entry") is not None and any(
        read_payload(one.payload).get("entry") == payload["entry"] for one in made
    ):
        raise AlreadyRecordedError(
            f"{row['action']} about finding {row['finding_id']}: this entry is in the log already."
        )
    state = state_at(made, context.events if context else (), now)
    if row["action"] not in allowed(state):
        raise UserError(
            f"finding {row['finding_id']} is {words([state])}: {words([row['action']])} is not possible now. "
            f"Possible: {words(allowed(state)) or 'nothing'}."
        )
    if row["action"] in ("approve", "reject", "implement"):
        _check_proposal(row, payload, made)


def _check_proposal(row: dict[str, Any], payload: dict[str, Any], made: list[Decision]) -> None:
    proposed, _ = duties.in_force(made) or (None, None)
    if proposed is None or payload.get("proposal") != proposed.seq:
        there = f"it is {proposed.seq}" if proposed else "there is none"
        raise UsageError(f"{row['action']}: proposal {payload.get('proposal')} is not the one in force: {there}.")
    if row["action"] != "implement":
        return
    effective = dt.datetime.fromisoformat(row["effective_at"])
    if effective < proposed.recorded_at:
        raise UsageError(
            f"implement: took effect {row['effective_at']}, before it was proposed ({rfc3339(proposed.recorded_at)}): its promise could not be judged."
        )
    if effective.date().isoformat() >= str(read_payload(proposed.payload).get("decision_date")):
        raise UsageError(
            "implement: its decision date has passed. Reject the proposal, and propose it with a later one."
        )


def check_cycle(rows: Iterable[Mapping[str, Any]], row: Mapping[str, Any]) -> None:
    """A finding is no duplicate of itself, nor of its own duplicates."""
    of: dict[str, str | None] = {}
    for one in rows:
        of[one["finding_id"]] = read_payload(one["payload"]).get("of") if one["action"] == "duplicate" else None
    seen: str | None = read_payload(row["payload"])["of"]
    for _ in range(len(of) + 1):
        if seen == row["finding_id"]:
            raise UsageError("duplicate: a finding is no duplicate of itself, nor of one that is its duplicate.")
        seen = of.get(seen) if seen else None


def follow(
    made: Iterable[Decision], events: Iterable[Step] = (), until: dt.datetime | None = None
) -> Iterator[tuple[Step, str, str]]:
    """The way of one finding: each step with the state before and after it, in order; that moment included.

    What tells of a proposal or an acceptance that is no longer in force is left out.

    Args:
        made: the finding's decisions, in their order.
        events: what happened otherwise (`states.EVENTS`). That an acceptance expired follows from its decision and need not be given.
        until: up to when; `None`: all that is known, but no expiry.
    """
    steps = [*events]
    for one in made:
        steps.append(Step(one.recorded_at, one.action, one.seq, one))
        ends = expiry(one) if one.action == "accept" and until else None
        steps += [Step(ends, "expired", one.seq)] if ends else []
    state, in_force, kind = OPEN, None, None
    for step in sorted(steps, key=lambda one: (one.time, one.about or 0 if one.decision else 0)):
        if until is not None and step.time > until:
            return
        if step.decision is None and step.about not in (None, in_force):
            continue
        if step.name == "detected" and kind == "rate":  # fewer were promised, not none
            continue
        before, state = state, after(state, step.name)
        if step.name in ("propose", "accept") and state != before:
            in_force = step.about
            kind = read_payload(step.decision.payload).get("kind") if step.decision else None
        yield step, before, state


def expiry(one: Decision) -> dt.datetime | None:
    """When an acceptance ends: the first moment (UTC) of the day that it names."""
    try:
        return midnight(dt.date.fromisoformat(str(read_payload(one.payload).get("expires"))[:10]))
    except ValueError:
        return None


def state_at(made: Iterable[Decision], events: Iterable[Step] = (), until: dt.datetime | None = None) -> str:
    """The state of a finding at a moment; see `follow`."""
    return ([OPEN] + [state for _, _, state in follow(made, events, until)])[-1]
