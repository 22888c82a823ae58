"""Remediations as decided: what was proposed, and when it took effect.

Belongs here: reading the log of decisions. Not here: who may decide what (`findings`), the comparison (`judge`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from audit_pipeline.clock import UTC
from audit_pipeline.findings.decisions import Decision

ADJUSTMENT = "adjustment"
"""kind of a change that is no remediation (`adjustments`)"""
COVERED_DAYS = 14
"""days without a recurrence that are enough where the proposal names no number"""


@dataclass(frozen=True)
class Fix:
    """A proposal that was implemented, or a change that is compared like one."""

    finding_id: str
    proposal: int
    kind: str
    kpi_id: str
    scope: str
    direction: str
    promised: float | None
    decision: dt.date
    covered_days: int
    fixed: dt.date
    """UTC day on which it took effect"""
    adjustment: str | None = None
    """id of an adjustment, which has neither finding nor proposal"""

    @property
    def subject_id(self) -> str:
        """`<finding>:<number of the proposal>`, or the adjustment's id."""
        return self.adjustment or f"{self.finding_id}:{self.proposal}"


def fixes(decided: Iterable[Decision]) -> list[Fix]:
    """The remediations that these decisions implemented, in the order of their proposals; the first implementation of one counts."""
    proposals: dict[int, Decision] = {}
    newest: dict[str, int] = {}
    found: dict[int, Fix] = {}
    for one in decided:
        if one.action == "propose":
            proposals[one.seq], newest[one.finding_id] = one, one.seq
        elif one.action == "implement":
            seq = int(_payload(one).get("proposal") or newest.get(one.finding_id, 0))
            if seq in proposals and seq not in found and proposals[seq].finding_id == one.finding_id:
                found[seq] = _fix(proposals[seq], one)
    return [found[seq] for seq in sorted(found)]


def _fix(proposal: Decision, done: Decision) -> Fix:
    said = _payload(proposal)
    promised = said.get("promised")
    return Fix(
        finding_id=proposal.finding_id,
        proposal=proposal.seq,
        kind=str(said.get("kind") or "rate"),
        kpi_id=str(said.get("kpi_id") or "detections"),
        scope=str(said.get("scope") or f"finding:{proposal.finding_id}"),
        direction="up" if said.get("direction") == "up" else "down",
        promised=None if promised is None else float(promised),
        decision=dt.date.fromisoformat(str(said["decision_date"])[:10]),
        covered_days=int(said.get("covered_days") or COVERED_DAYS),
        fixed=done.effective_at.astimezone(UTC).date(),
    )


def _payload(one: Decision) -> dict[str, Any]:
    return dict(json.loads(one.payload))
