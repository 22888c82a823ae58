"""What asks for a person: findings with their detections, the decisions that wait, and what changed since the day before.

Belongs here: selecting and ordering. Not here: the life cycle itself (`findings`).
"""

from __future__ import annotations

import json

from audit_pipeline.clock import rfc3339
from audit_pipeline.reports.inputs import Inputs, Row

CLOSED = frozenset({"verified", "false_positive", "duplicate", "accepted"})
ASKS = {
    "open": "acknowledge, or mark as false positive",
    "proposed": "approve or reject the remediation",
    "ineffective": "the fix did not work: decide again",
    "inconclusive": "the effect is not clear: decide again",
}
"""what a finding's state asks for; other states wait for nobody until their date has passed"""
SEVERITIES = ("critical", "high", "medium", "low", "informational")
STATE_WORDS = {"false_positive": "false positive"}
DETECTIONS_KEPT, REFS_KEPT = 5, 5
_NO_NAMES = ("x_source", "api_", "class_", "cloud_", "device_", "dst_", "http_", "metadata_", "src_", "status", "type_")
"""columns, or how they begin, that hold no account or person"""


def findings(inputs: Inputs) -> list[Row]:
    """Open findings, and those that were closed or seen since the report of the day before; the most urgent first."""
    rows = [_finding(inputs, row) for row in inputs.findings]
    kept = [row for row in rows if not row["closed"] or row["change"] or _seen_today(row, inputs)]
    return sorted(kept, key=_urgency)


def _finding(inputs: Inputs, row: Row) -> Row:
    detections = inputs.detections.get((row["rule_id"], row["group_key"]), [])
    closed = row["state"] in CLOSED
    overdue = not closed and row["due_at"] is not None and row["due_at"] < rfc3339(inputs.settings.as_of(inputs.day))
    return {
        **row,
        "closed": closed,
        "overdue": overdue,
        "change": _change(row, inputs.findings_before.get(row["finding_id"])),
        "ask": ASKS.get(row["state"]) or ("its date has passed" if overdue else None),
        "detections": [_detection(item) for item in detections[:DETECTIONS_KEPT]],
        "detections_total": len(detections),
    }


def _detection(row: Row) -> Row:
    refs = row.pop("refs", None) or []
    return {
        **{name: row[name] for name in row if name not in ("x_actor", "x_target")},
        "actor": row["x_actor"],
        "target": row["x_target"],
        "refs": refs[:REFS_KEPT],
        "refs_total": len(refs),
    }


def _change(row: Row, before: Row | None) -> str | None:
    """`new`, `closed` or `reopened` since the day before; null for no change."""
    if before is None:
        return "new"
    was, now = before["state"] in CLOSED, row["state"] in CLOSED
    if was != now:
        return "closed" if now else "reopened"
    return None


def _seen_today(row: Row, inputs: Inputs) -> bool:
    return any(item["day"] == inputs.day.isoformat() for item in row["detections"])


def _urgency(row: Row) -> tuple[bool, bool, bool, int, str, int, str]:
    severity = SEVERITIES.index(row["severity"]) if row["severity"] in SEVERITIES else len(SEVERITIES)
    return (
        row["closed"],
        row["ask"] is None,
        not row["overdue"],
        severity,
        row["due_at"] or "9999",
        -(row["n"] or 0),
        row["finding_id"],
    )


def decisions(rows: list[Row]) -> list[Row]:
    """The decisions that wait, with owner, date, title and severity."""
    names = ("finding_id", "title", "team", "owner", "severity", "state", "due_at", "overdue", "ask", "first_time", "n")
    return [{name: row[name] for name in names} for row in rows if row["ask"]]


def changes(inputs: Inputs, rows: list[Row], sources: list[Row]) -> Row:
    """New, closed and reopened findings and changed verdicts of sources, against the day before."""
    found: dict[str, list[Row]] = {"new": [], "closed": [], "reopened": []}
    for row in rows:
        if row["change"]:
            found[row["change"]].append({name: row[name] for name in ("finding_id", "title", "severity", "state")})
    verdicts = [
        {"source": row["name"], "before": row["days"][-2]["verdict"], "after": row["today"]["verdict"]}
        for row in sources
        if row["days"][-2]["verdict"] != row["today"]["verdict"]
    ]
    return {"since": inputs.days[-2], **found, "verdicts": sorted(verdicts, key=lambda item: item["source"])}


def people(inputs: Inputs) -> list[str]:
    """The accounts and persons that the findings name: what a mail with pseudonyms must not show.

    Values of a group key count as names, except those whose column says that they are none (`_NO_NAMES`).
    """
    found = {row["owner"] for row in inputs.findings if row["owner"] not in inputs.settings.teams}
    for row in inputs.findings:
        found |= _group_names(row["group_key"])
        for detection in inputs.detections.get((row["rule_id"], row["group_key"]), []):
            found.add(detection["x_actor"])
            found |= {detection["x_target"]} if _is_account(detection["x_target"]) else set()
    return sorted(name for name in found if name)


def _group_names(group_key: str | None) -> set[str]:
    try:
        group = json.loads(group_key or "{}")
    except ValueError:
        return {group_key or ""}
    pairs = group.items() if isinstance(group, dict) else [("", group)]
    return {value for column, value in pairs if isinstance(value, str) and not column.startswith(_NO_NAMES)}


def _is_account(target: str | None) -> bool:
    """A target may be a service such as `s3.amazonaws.com`; that is no account."""
    return bool(target) and not (target or "").endswith((".amazonaws.com", ".googleapis.com"))
