"""The way of a finding through its spells: state, times and how often it came back, from decisions, judged effects, days and time.

Belongs here: what closes a spell and what opens the next. Not here: which step a state allows (`states`), what is new (`budget`).
A false positive does not come back, whatever the version of its rule. An acceptance ends at the midnight that begins its day
`expires`. A verified fix of kind `state` or `recurrence` whose problem is detected again on a day after those it was judged by opens a
new spell; one of kind `rate` promised fewer, not none: it does so when its KPI is above its band again (`effects.lasting`).
A fix judged ineffective does too; the finding then keeps the state `ineffective`, so that it says why. Each new spell has a new due date.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit_pipeline.findings.course import Step, expiry, follow
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.states import CLOSED, JUDGED, OPEN

_TIMES = {"propose": "proposed_at", "approve": "approved_at", "implement": "implemented_at"}


@dataclass
class Way:
    """A finding's columns at the end of its way, and what its spells were."""

    row: dict[str, Any]
    openings: list[dt.datetime] = field(default_factory=list)
    """when spells after the first began"""
    decided: list[dt.datetime] = field(default_factory=list)
    """when people decided about it"""


def way(
    made: Iterable[Decision],
    effects: Sequence[dict[str, Any]],
    detected: Sequence[dt.datetime],
    moment: dt.datetime | None,
    team: str | None = None,
) -> Way:
    """Follow a finding up to a moment, that moment included.

    Args:
        made: its decisions, in their order.
        effects: judged remediations: `subject_id`, `effect_id`, `verdict`, `as_of`, `recurred_at`.
        detected: the as-of of each day with a detection.
        moment: until when; without one no acceptance expires.
        team: who owns it until somebody is named.
    """
    names = (*_TIMES.values(), "acknowledged_at", "verified_at", "closed_at", "expires_at", "effect_id", "identity", "approved_by", "fix")  # fmt: skip
    found = Way({**dict.fromkeys(names), "state": OPEN, "owner": team, "reopened": 0})
    events = [
        Step(one["as_of"], one["verdict"], int(str(one["subject_id"]).rpartition(":")[2]), effect_id=one["effect_id"])
        for one in effects
    ]
    events += [Step(one["recurred_at"], "recurred", int(str(one["subject_id"]).rpartition(":")[2])) for one in effects if one["recurred_at"]]  # fmt: skip
    events += [Step(time, "detected") for time in detected]
    for step, before, state in follow(made, events, moment):
        _take(found, step, before, state)
    return found


def _take(found: Way, step: Step, before: str, state: str) -> None:
    row, changed = found.row, state != before
    row["state"] = state
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
        row["fix"] = decision.payload
    elif decision.action == "approve":
        row["approved_by"] = decision.person
    elif decision.action == "accept":
        row["expires_at"] = expiry(decision)
    if decision.action in _TIMES:
        fixed = decision.action == "implement"
        row[_TIMES[decision.action]] = decision.effective_at if fixed else decision.recorded_at
    if decision.action == "reject":
        row |= dict.fromkeys(["proposed_at", "approved_at", "approved_by", "fix"])
