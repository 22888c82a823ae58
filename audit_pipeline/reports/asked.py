"""What asks for a person: findings with their detections, the decisions that wait, and what changed since the day before.

Belongs here: selecting and ordering. Not here: the life cycle itself (`findings`).
"""

from __future__ import annotations

import datetime as dt
import json
import re

from audit_pipeline.clock import rfc3339
from audit_pipeline.findings.risk import TERM
from audit_pipeline.findings.states import CLOSED
from audit_pipeline.reports.inputs import Inputs, Row

ASKS = {
    "open": ("acknowledge", "acknowledge, or mark as false positive"),
    "acknowledged": ("propose", "propose a fix, or accept the risk"),
    "proposed": ("approve", "approve or reject the fix"),
    "approved": ("implement", "make the change, and record that it is made"),
    "ineffective": ("decide again", "the fix did not work: decide again"),
    "inconclusive": ("decide again", "the effect is not clear: decide again"),
}
"""what a finding's state asks for, in a word and in a sentence; other states wait for nobody until their date has passed"""
SOON = dt.timedelta(days=3)
"""time before its date from which an acknowledged finding asks for a fix"""
EXPIRING = dt.timedelta(days=7)
"""time before the end of an acceptance from which it asks to be renewed"""
SEVERITIES = ("critical", "high", "medium", "low", "informational")
STATE_WORDS = {"false_positive": "false positive"}
DETECTIONS_KEPT, REFS_KEPT = 5, 5
_FIX = ("fix", "kind", "kpi_id", "scope", "direction", "promised", "decision_date", "covered_days", "change_id")
_WHO = re.compile("actor|user|account|person|principal")
_NO_NAMES = (
    "x_source",
    "api_",
    "class_",
    "cloud_",
    "device_",
    "dst_",
    "http_",
    "metadata_",
    "src_",
    "status",
    "type_",
    "service",
    "template",
    "version",
)
"""columns, or how they begin, that hold no account or person"""
_NOBODY = frozenset({"root", "Root"})
"""accounts that every system has"""


def findings(inputs: Inputs) -> list[Row]:
    """Open findings, and those that were closed or seen since the report of the day before; the most urgent first.

    What the budget holds back stands last, and asks for nothing.
    """
    rows = [_finding(inputs, row) for row in inputs.findings]
    kept = [row for row in rows if not row["closed"] or row["change"] or row["ask"] or _seen_today(row, inputs)]
    return sorted(kept, key=_urgency)


def _finding(inputs: Inputs, row: Row) -> Row:
    detections = inputs.detections.get((row["rule_id"], row["group_key"]), [])
    closed = row["state"] in CLOSED
    fix = _proposal(row["fix"])
    verb, ask = _ask({**row, "fix": fix}, inputs) if row["shown"] is not False else (None, None)
    return {
        **{name: row[name] for name in row if name not in ("x_actor", "x_actor_kind")},
        "actor": row["x_actor"],
        "actor_kind": row["x_actor_kind"],
        "fix": fix,
        "risk_terms": row["risk_terms"].split(TERM) if row["risk_terms"] else [],
        "closed": closed,
        "change": _change(row, inputs.findings_before.get(row["finding_id"])),
        "verb": verb,
        "ask": ask,
        "detections": [_detection(item) for item in detections[:DETECTIONS_KEPT]],
        "detections_total": len(detections),
    }


def _ask(row: Row, inputs: Inputs) -> tuple[str | None, str | None]:
    """What is asked of a person, in a word and in a sentence; nulls where nothing is."""
    moment = inputs.settings.as_of(inputs.day)
    if row["state"] == "accepted" and row["expires_at"] and row["expires_at"] <= rfc3339(moment + EXPIRING):
        return "renew", f"the acceptance ends on {row['expires_at'][:10]}: renew it, or propose a fix"
    if row["state"] == "implemented" and ((row["fix"] or {}).get("decision_date") or "9999") <= inputs.day.isoformat():
        return "judge", "its decision date has come, and nothing was judged"
    waits = row["state"] != "acknowledged" or not row["due_at"] or row["due_at"] <= rfc3339(moment + SOON)
    if row["state"] in ASKS and waits:
        return ASKS[row["state"]]
    return ("overdue", "its date has passed") if row["overdue"] and row["state"] != "implemented" else (None, None)


def _proposal(text: str | None) -> Row | None:
    """The proposal of a fix; what it lacks is null."""
    found = json.loads(text) if text else None
    return {name: found.get(name) for name in _FIX} if isinstance(found, dict) else None


def _detection(row: Row) -> Row:
    refs = row["refs"] or []
    return {
        **{name: row[name] for name in row if name not in ("x_actor", "x_target", "refs")},
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


def _urgency(row: Row) -> tuple[bool, bool, bool, bool, int, float, str, int, str]:
    severity = SEVERITIES.index(row["severity"]) if row["severity"] in SEVERITIES else len(SEVERITIES)
    return (
        row["shown"] is False,
        row["closed"] and row["ask"] is None,
        row["ask"] is None,
        not row["overdue"],
        severity,
        -(row["risk"] or 0),
        row["due_at"] or "9999",
        -(row["n"] or 0),
        row["finding_id"],
    )


def decisions(rows: list[Row]) -> list[Row]:
    """The decisions that wait, with owner, title, severity, and the date by which they are due (`_due`)."""
    names = ("finding_id", "title", "team", "owner", "severity", "state", "overdue", "verb", "ask", "first_time", "n")
    return [{**{name: row[name] for name in names}, "due_at": _due(row)} for row in rows if row["ask"]]


def _due(row: Row) -> str | None:
    """The end of an acceptance, the date of a judgement, else the finding's own date."""
    if row["verb"] == "renew":
        return str(row["expires_at"])
    return f"{row['fix']['decision_date']}T00:00:00Z" if row["verb"] == "judge" else row["due_at"]


def changes(inputs: Inputs, rows: list[Row], sources: list[Row]) -> Row:
    """New, closed and reopened findings and changed verdicts of sources, against the day before."""
    found: dict[str, list[Row]] = {"new": [], "closed": [], "reopened": []}
    for row in rows:
        if row["change"] and row["shown"] is not False:
            found[row["change"]].append({name: row[name] for name in ("finding_id", "title", "severity", "state")})
    verdicts = [
        {"source": row["name"], "before": row["days"][-2]["verdict"], "after": row["today"]["verdict"]}
        for row in sources
        if row["days"][-2]["verdict"] != row["today"]["verdict"]
    ]
    return {"since": inputs.days[-2], **found, "verdicts": sorted(verdicts, key=lambda item: item["source"])}


def budget(inputs: Inputs, rows: list[Row]) -> Row:
    """How many findings are shown and how many are held back by the budget (each with why), and its ceilings."""
    held = [row for row in rows if row["shown"] is False]
    ceilings = inputs.settings.budgets
    return {
        "shown": len(rows) - len(held),
        "held_back": len(held),
        "per_team_and_day": ceilings.findings_per_team_and_day,
        "per_day": ceilings.findings_per_day,
        "anomalies_per_day": ceilings.anomalies_per_day,
    }


def people(inputs: Inputs, kpis: list[Row], access: Row | None) -> list[str]:
    """The accounts and persons that the findings name: what a mail with pseudonyms must not show.

    Values of a group key count as names, except those whose column says that they are none (`_NO_NAMES`), and so does a target;
    a service that the configuration says a team owns is none (a log cannot make one of a person), and `root` is nobody's.
    """
    found = {row["owner"] for row in inputs.findings if row["owner"] not in inputs.settings.teams}
    found |= {one["person"] for one in inputs.decided} | {one["payload"].get("approver") for one in inputs.decided}
    found |= {value for kpi in kpis for row in kpi["details"] for value in _named(row)}
    for row in inputs.findings:
        found.add(row["x_actor"])
        found |= _group_names(row["group_key"])
        for detection in inputs.detections.get((row["rule_id"], row["group_key"]), []):
            found.add(detection["x_actor"])
            found |= {detection["x_target"]} if _is_account(detection["x_target"]) else set()
    found |= _principals(access)
    owned = {one.removeprefix("service:") for team in inputs.settings.teams.values() for one in team.owns}
    return sorted(name for name in found if name and name not in owned | _NOBODY)


def _principals(access: Row | None) -> set[str]:
    """People among those that have rights to logs (the report's part `access`): a principal of kind `user`."""
    rows = [*access["grants"], *access["gone"]] if access else []
    kinds = [row["principal"].partition(":") for row in rows]
    return {name for kind, _, name in kinds if kind == "user"}


def _named(row: Row) -> list[str]:
    """What a row of details has in columns that name an account or person."""
    return [value for name, value in row.items() if isinstance(value, str) and _WHO.search(name)]


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
