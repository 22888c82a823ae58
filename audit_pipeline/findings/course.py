"""The way of one finding through its states, from its decisions and from what happened otherwise, and whether a step may follow.

Belongs here: order in time, expiry, and what must have been decided before. Not here: the table of states (`states`), the log (`decisions`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from audit_pipeline.clock import midnight, rfc3339
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings import duties
from audit_pipeline.findings.payloads import Context, read_payload
from audit_pipeline.findings.states import OPEN, after, allowed, words

if TYPE_CHECKING:
    from audit_pipeline.findings.decisions import Decision

Event = tuple[dt.datetime, str, int | None]
"""What happened without a decision: time, name of `states.EVENTS`, the number of the proposal that it is about (null: any)."""


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
    made: Iterable[Decision],
    events: Sequence[tuple[dt.datetime, str, int | None]] = (),
    until: dt.datetime | None = None,
) -> Iterator[tuple[dt.datetime, str, str]]:
    """The way of one finding: time, step and the state after it, in order; that moment included.

    Args:
        made: the finding's decisions, in their order.
        events: what happened otherwise: time, a name of `states.EVENTS`, the number of the proposal that it is about (null: any).
            That an acceptance expired follows from its decision and need not be given.
        until: up to when; `None`: all that is known, but no expiry.
    """
    decided = list(made)
    steps: list[tuple[dt.datetime, int, str, int | None]] = [
        (one.recorded_at, one.seq, one.action, one.seq) for one in decided
    ]
    steps += [(at, 0, event, about) for at, event, about in events]
    steps += [
        (at, 0, "expired", one.seq) for one in decided if one.action == "accept" and until and (at := _expiry(one))
    ]
    state, about = OPEN, None
    for at, seq, step, reference in sorted(steps, key=lambda item: item[:2]):
        if until is not None and at > until:
            return
        if seq == 0 and reference not in (None, about):
            continue  # it tells of a proposal or an acceptance that is no longer in force
        before, state = state, after(state, step)
        if step in ("propose", "accept") and state != before:
            about = reference
        yield at, step, state


def _expiry(one: Decision) -> dt.datetime | None:
    """When an acceptance ends: the first moment of the day it names."""
    try:
        return midnight(dt.date.fromisoformat(str(read_payload(one.payload).get("expires"))))
    except ValueError:
        return None


def state_at(made: Iterable[Decision], events: Sequence[Event] = (), until: dt.datetime | None = None) -> str:
    """The state of a finding at a moment; see `follow`."""
    return ([OPEN] + [state for _, _, state in follow(made, events, until)])[-1]
