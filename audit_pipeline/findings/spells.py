"""The way of a finding through its spells: state, times and how often it came back, from decisions, judged effects, days and time.

Belongs here: what closes a spell and what opens the next. Not here: which step a state allows (`states`), what is new (`budget`).
A false positive does not come back, whatever the version of its rule. An acceptance ends at the midnight that begins its day
`expires`. A verified fix whose problem is detected again on a day after those it was judged by opens a new spell, whatever its kind.
A fix judged ineffective does too; the finding then keeps the state `ineffective`, so that it says why. Each new spell has a new due date.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit_pipeline.clock import midnight
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.states import CLOSED, JUDGED, OPEN, after

_TIMES = {"propose": "proposed_at", "approve": "approved_at", "implement": "implemented_at"}


@dataclass(frozen=True)
class Step:
    """Something that may change a finding's state: when, its name, and the decision or effect behind it."""

    time: dt.datetime
    name: str
    decision: Decision | None = None
    about: int | None = None
    """number of the proposal or acceptance that it tells of"""
    effect_id: str | None = None


@dataclass
class Way:
    """A finding's columns at the end of its way, and what its spells were."""

    row: dict[str, Any]
    openings: list[dt.datetime] = field(default_factory=list)
    """when spells after the first began"""
    decided: list[dt.datetime] = field(default_factory=list)
    """when people decided about it"""
    about: int | None = None


def way(
    made: Iterable[Decision],
    effects: Iterable[dict[str, Any]],
    detected: Sequence[dt.datetime],
    moment: dt.datetime | None,
    team: str | None = None,
) -> Way:
    """Follow a finding up to a moment, that moment included.

    Args:
        made: its decisions, in their order.
        effects: judged remediations: `subject_id`, `effect_id`, `verdict`, `as_of`.
        detected: the as-of of each day with a detection.
        moment: until when; without one no acceptance expires.
        team: who owns it until somebody is named.
    """
    names = (*_TIMES.values(), "acknowledged_at", "verified_at", "closed_at", "expires_at", "effect_id", "identity", "approved_by", "fix")  # fmt: skip
    found = Way({**dict.fromkeys(names), "state": OPEN, "owner": team, "reopened": 0})
    for step in _steps(made, effects, detected, moment):
        if moment is None or step.time <= moment:
            _take(found, step)
    return found


def _steps(
    made: Iterable[Decision],
    effects: Iterable[dict[str, Any]],
    detected: Sequence[dt.datetime],
    moment: dt.datetime | None,
) -> list[Step]:
    steps: list[tuple[dt.datetime, int, Step]] = []
    for one in made:
        steps.append((one.recorded_at, one.seq, Step(one.recorded_at, one.action, one, one.seq)))
        ends = _expiry(one) if one.action == "accept" else None
        if ends is not None and moment is not None:
            steps.append((ends, 0, Step(ends, "expired", about=one.seq)))
    for effect in effects:
        seq = int(str(effect["subject_id"]).rpartition(":")[2])
        judged = Step(effect["as_of"], effect["verdict"], about=seq, effect_id=effect["effect_id"])
        steps.append((effect["as_of"], 0, judged))
    steps += [(time, 0, Step(time, "recurred")) for time in detected]
    return [step for _, _, step in sorted(steps, key=lambda item: item[:2])]


def _take(found: Way, step: Step) -> None:
    row, before = found.row, found.row["state"]
    if step.decision is None and step.about not in (None, found.about):
        return  # it tells of a proposal or an acceptance that is no longer in force
    row["state"] = after(before, step.name)
    changed = row["state"] != before
    if step.decision is not None:
        _decided(found, step.decision, changed=changed)
    elif changed and step.name in JUDGED:
        row["effect_id"] = step.effect_id
        row["verified_at"] = step.time if step.name == "verified" else None
    if changed and (before in CLOSED or row["state"] == "ineffective" or step.name == "reopen"):
        row["reopened"] += 1
        row["closed_at"] = None
        found.openings.append(step.time)
    if changed and row["state"] in CLOSED:
        row["closed_at"] = step.time


def _decided(found: Way, decision: Decision, *, changed: bool) -> None:
    row, payload = found.row, json.loads(decision.payload)
    found.decided.append(decision.recorded_at)
    if decision.action == "assign":
        row["owner"] = payload.get("owner")
    if not changed:
        return
    row["identity"] = decision.identity
    if decision.action == "acknowledge":
        row["acknowledged_at"] = row["acknowledged_at"] or decision.recorded_at
    elif decision.action == "propose":
        row |= dict.fromkeys(["approved_at", "approved_by", "implemented_at", "verified_at", "effect_id"])
        row["fix"], found.about = decision.payload, decision.seq
    elif decision.action == "approve":
        row["approved_by"] = decision.person
    elif decision.action == "accept":
        row["expires_at"], found.about = _expiry(decision), decision.seq
    if decision.action in _TIMES:
        fixed = decision.action == "implement"
        row[_TIMES[decision.action]] = decision.effective_at if fixed else decision.recorded_at
    if decision.action == "reject":
        row |= dict.fromkeys(["proposed_at", "approved_at", "approved_by", "fix"])


def _expiry(decision: Decision) -> dt.datetime | None:
    """When an acceptance ends: the first moment (UTC) of the day that it names."""
    try:
        return midnight(dt.date.fromisoformat(str(json.loads(decision.payload).get("expires"))[:10]))
    except ValueError:
        return None
