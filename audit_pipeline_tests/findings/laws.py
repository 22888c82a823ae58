"""What each step of a finding needs, said once more and independently of the program, from stored rows alone.

Belongs here: the laws that random histories are held to. Not here: how histories are made (`test_histories`, `test_channels`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
Judged = tuple[str, str, int]
"""when (RFC 3339), verdict, number of the proposal"""

WORK = {"open", "acknowledged", "proposed", "approved", "ineffective", "inconclusive"}
CLOSED = {"accepted", "false_positive", "duplicate", "verified"}
FROM = {
    "acknowledge": {"open"},
    "propose": {"acknowledged", "ineffective", "inconclusive"},
    "approve": {"proposed"},
    "reject": {"proposed", "approved"},
    "implement": {"approved"},
    "accept": WORK,
    "false_positive": WORK,
    "duplicate": WORK,
    "reopen": CLOSED | {"implemented", "ineffective", "inconclusive"},
    "assign": WORK | {"implemented"},
    "comment": WORK | CLOSED | {"implemented"},
}
TO = {
    "acknowledge": "acknowledged", "propose": "proposed", "approve": "approved", "reject": "acknowledged", "implement": "implemented",
    "accept": "accepted", "false_positive": "false_positive", "duplicate": "duplicate", "reopen": "open",
}  # fmt: skip
WORDLESS = {"acknowledge", "propose", "approve", "implement", "duplicate", "assign"}
"""what may be decided without a reason"""
PROMISE = {"fix", "kind", "kpi_id", "scope", "direction", "promised", "decision_date"}


def said(row: Row) -> Row:
    return dict(json.loads(row["payload"]))


def state(rows: Sequence[Row], finding: str, judged: Sequence[Judged], moment: str) -> str:
    """Where a finding stands at a moment: its decisions, the verdicts of its fixes, and the ends of its acceptances, in their order."""
    steps: list[tuple[str, int, str, Any]] = [(row["recorded_at"], row["seq"], row["action"], row) for row in rows if row["finding_id"] == finding]  # fmt: skip
    steps += [(when, 0, verdict, proposal) for when, verdict, proposal in judged]
    steps += [(f"{said(row)['expires']}T00:00:00Z", 0, "expired", row["seq"]) for row in rows if row["finding_id"] == finding and row["action"] == "accept"]  # fmt: skip
    now, spoken_of = "open", None
    for when, _, name, about in sorted(steps, key=lambda one: one[:2]):
        if when > moment:
            break
        if name in ("verified", "ineffective", "inconclusive"):
            now = name if now == "implemented" and about == spoken_of else now
        elif name == "expired":
            now = "open" if now == "accepted" and about == spoken_of else now
        else:
            now = TO.get(name, now)
            spoken_of = about["seq"] if name in ("propose", "accept") else spoken_of
    return now


def proposal(rows: Sequence[Row], finding: str) -> tuple[Row | None, Row | None]:
    """The proposal of a finding that nothing has taken back, and its approval."""
    proposed: Row | None = None
    approved: Row | None = None
    for row in (row for row in rows if row["finding_id"] == finding):
        if row["action"] == "propose":
            proposed, approved = row, None
        elif row["action"] == "approve":
            approved = row
        elif row["action"] in ("reject", "reopen", "accept", "false_positive", "duplicate"):
            proposed, approved = None, None
    return proposed, approved


def lawful(before: Sequence[Row], row: Row, judged: Sequence[Judged] = ()) -> None:
    """Fail unless a row has, among those before it, all that it needs."""
    action, payload, finding = row["action"], said(row), row["finding_id"]
    assert state(before, finding, judged, row["recorded_at"]) in FROM[action], row
    assert row["person"].strip()
    assert row["reason"].strip() or action in WORDLESS, row
    assert row["effective_at"] <= row["recorded_at"]
    assert (row["identity"] == "ssh") == (row["signature"] is not None)
    today, limit = (
        dt.date.fromisoformat(row["recorded_at"][:10]),
        dt.date.fromisoformat(row["recorded_at"][:10]) + dt.timedelta(days=366),
    )
    proposed, approved = proposal(before, finding)
    if action == "propose":
        assert set(payload) >= PROMISE, row
        assert today + dt.timedelta(days=2) <= dt.date.fromisoformat(payload["decision_date"]) <= limit
    elif action in ("approve", "reject", "implement"):
        assert proposed is not None, row
        assert payload["proposal"] == proposed["seq"], row
    if action == "approve" and proposed is not None:
        assert row["person"].strip().casefold() != proposed["person"].strip().casefold(), "somebody approved their own"
    elif action == "implement":
        assert approved is not None, row
        assert proposed is not None
        assert proposed["recorded_at"] <= row["effective_at"]
        assert row["effective_at"][:10] < said(proposed)["decision_date"]
    elif action == "accept":
        assert payload["approver"].strip()
        assert today < dt.date.fromisoformat(payload["expires"]) <= limit
    elif action == "duplicate":
        assert payload["of"] != finding
    elif action == "assign":
        assert payload["owner"].strip()


def no_cycle(rows: Sequence[Row]) -> None:
    """Fail where a finding is a duplicate of itself, by however many steps."""
    of: dict[str, str | None] = {}
    for row in rows:
        if row["action"] in ("duplicate", "reopen"):
            of[row["finding_id"]] = said(row).get("of")
    for start in of:
        seen, at = {start}, of[start]
        while at is not None:
            assert at not in seen, "a circle of duplicates"
            seen.add(at)
            at = of.get(at)
