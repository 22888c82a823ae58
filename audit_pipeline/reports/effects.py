"""Whether fixes and releases did what they should: the rows of table `effects` as a reader needs them.

Belongs here: joining a comparison with the finding, the fix and the people it is about, and ordering. Not here: the comparison and
its verdict (`effects`), the drawing (`charts.effect`), words (`wording`).
"""

from __future__ import annotations

from audit_pipeline.clock import DAY
from audit_pipeline.reports.inputs import EFFECT_DAYS, Inputs, Row

PENDING = "pending"
VERDICTS = ("ineffective", "inconclusive", "verified", PENDING)
"""of a remediation, in the order in which they ask for a person"""
RELEASE_WINDOWS = ("24h", "7d")
_NUMBERS = (
    "kpi_id", "scope", "before_start", "before_end", "after_start", "after_end", "days_before", "days_after", "left_out", "rate_before",
    "rate_after", "unit", "ratio", "low", "high", "p", "p_weeks", "p_trend", "detectable", "promised", "verdict", "reason", "decision_date",
    "series",
)  # fmt: skip
_OWN_SERIES = {"detections": "Detections of the finding", "recurring_errors": "Events of the recurring error"}


def remediations(inputs: Inputs) -> list[Row]:
    """The fixes that were made: those that were judged (newest first, what did not work before what did), then those that wait.

    Judged ones are those of the period's days, in a daily report of the last `EFFECT_DAYS`; earlier ones stand in earlier reports.
    A fix that the table does not have yet is shown from its proposal, as pending; one whose decision date has passed is `late`.
    """
    titles = _titles(inputs)
    proposals = {one["seq"]: one for one in inputs.decided if one["action"] == "propose"}
    rows = [_remediation(inputs, row, proposals, titles) for row in inputs.effects if row["subject"] == "remediation"]
    known = {row["subject_id"] for row in rows}
    rows += [
        _remediation(inputs, row, proposals, titles) for row in _proposed(inputs) if row["subject_id"] not in known
    ]
    since = inputs.days[0] if inputs.of_period else (inputs.day - EFFECT_DAYS * DAY).isoformat()
    kept = [row for row in rows if row["verdict"] == PENDING or (row["decision_date"] or since) >= since]
    return sorted(kept, key=_order)


def _order(row: Row) -> tuple[bool, int, int, str]:
    """Judged before pending; the newest judgement first; of one day what did not work first."""
    judged = row["verdict"] != PENDING
    day = int((row["decision_date"] or "0").replace("-", ""))
    rank = VERDICTS.index(row["verdict"]) if row["verdict"] in VERDICTS else len(VERDICTS)
    return (not judged, -day if judged else day, rank, row["subject_id"])


def _proposed(inputs: Inputs) -> list[Row]:
    """Fixes in place that no run has compared yet, as rows of `effects` without numbers."""
    found = []
    for finding in inputs.findings:
        made = _of(inputs, finding["finding_id"], "implement")
        if finding["state"] != "implemented" or not made:
            continue
        proposal = made[-1]["payload"].get("proposal")
        subject = f"{finding['finding_id']}:{proposal}"
        lacking = dict.fromkeys(("effect_id", *_NUMBERS))
        found.append({**lacking, "subject_id": subject, "finding_id": finding["finding_id"], "kind": None, "left_out": [], "series": [], "verdict": PENDING})  # fmt: skip
    return found


def _of(inputs: Inputs, finding_id: str, action: str) -> list[Row]:
    return [one for one in inputs.decided if one["finding_id"] == finding_id and one["action"] == action]


def _remediation(inputs: Inputs, row: Row, proposals: dict[int, Row], titles: dict[str, str]) -> Row:
    finding_id, _, seq = row["subject_id"].partition(":")
    finding_id = row["finding_id"] or finding_id
    finding: Row = next((one for one in inputs.findings if one["finding_id"] == finding_id), {})
    proposal = proposals.get(int(seq)) if seq.isdecimal() else None
    payload = proposal["payload"] if proposal else {}
    made = [
        one for one in _of(inputs, finding_id, "implement") if one["payload"].get("proposal") in (None, int(seq or 0))
    ]
    shown = {name: row[name] if row[name] is not None else payload.get(name) for name in _NUMBERS}
    shown["left_out"], shown["series"] = row["left_out"] or [], _rates(row)
    return {
        **shown,
        "effect_id": row["effect_id"],
        "subject_id": row["subject_id"],
        "finding_id": finding_id,
        "title": finding.get("title") or finding_id[:12],
        "team": finding.get("team"),
        "owner": finding.get("owner"),
        "fix": payload.get("fix"),
        "kind": row["kind"] or payload.get("kind"),
        "direction": payload.get("direction") or "down",
        "kpi": titles.get(shown["kpi_id"] or "", shown["kpi_id"]),
        "approval": finding.get("approval"),
        "proposed_by": proposal["person"] if proposal else None,
        "implemented_at": made[-1]["effective_at"] if made else finding.get("implemented_at"),
        "reached": reached(shown, payload.get("direction") or "down"),
        "late": shown["verdict"] == PENDING and (shown["decision_date"] or "9999") <= inputs.day.isoformat(),
        "judged_today": shown["verdict"] != PENDING and shown["decision_date"] in _days(inputs),
    }


def _rates(row: Row) -> list[Row]:
    """The series as the rates that are compared: what was counted by what it was counted among."""
    return [{**one, "value": _share(one)} for one in row["series"] or []]


def _share(one: Row) -> float | None:
    return one["value"] / one["population"] if one["value"] is not None and one["population"] else None


def left_out(row: Row) -> list[Row]:
    """The days left out, grouped by reason: rows of `reason` and `days`, in the order of their first day."""
    found: dict[str, list[str]] = {}
    for one in row["left_out"]:
        found.setdefault(one["reason"] or "no reason recorded", []).append(one["day"])
    return [{"reason": reason, "days": sorted(days)} for reason, days in found.items()]


def _days(inputs: Inputs) -> tuple[str, ...]:
    return inputs.days if inputs.of_period else inputs.days[-1:]


def _titles(inputs: Inputs) -> dict[str, str]:
    from audit_pipeline.kpis import catalogue  # reads files: not needed to import this package

    return {**_OWN_SERIES, **{name: kpi.title for name, kpi in catalogue(inputs.settings).items()}}


def reached(row: Row, direction: str) -> bool | None:
    """Whether the effect is at least what was promised (0.5: by half); null where either is not known, or nothing is clear."""
    if row["ratio"] is None or row["promised"] is None or row["verdict"] not in ("verified", "ineffective"):
        return None
    change = row["ratio"] - 1
    return bool(change >= row["promised"]) if direction == "up" else bool(-change >= row["promised"])


def releases(inputs: Inputs) -> list[Row]:
    """Releases of the report's days with what was compared over 24 hours and 7 days, the harmful and then the newest first."""
    found: dict[str, Row] = {}
    for row in inputs.effects:
        if row["subject"] != "release" or (row["after_start"] or "") < inputs.days[0]:
            continue
        service, _, version = row["subject_id"].rpartition("@")
        one = found.setdefault(row["subject_id"], {"subject_id": row["subject_id"], "service": service, "version": version, "day": row["after_start"], "windows": {}})  # fmt: skip
        one["windows"][row["kind"]] = {name: row[name] for name in _NUMBERS if name != "series"}
    rows = sorted(found.values(), key=lambda one: (one["day"] or "", one["subject_id"]), reverse=True)
    for row in rows:
        row["harmful"] = any(window["verdict"] == "worse" for window in row["windows"].values())
    return sorted(rows, key=lambda one: not one["harmful"])


def adjustments(inputs: Inputs) -> list[Row]:
    """Changes that are neither fix nor release and took effect, those judged in the report's time or waiting; by id."""
    since = inputs.days[0] if inputs.of_period else (inputs.day - EFFECT_DAYS * DAY).isoformat()
    rows = [row for row in inputs.effects if row["subject"] == "adjustment"]
    kept = [row for row in rows if row["verdict"] == PENDING or (row["decision_date"] or since) >= since]
    shown = ("effect_id", "subject_id", *(name for name in _NUMBERS if name not in ("series", "promised")))
    return [{name: row[name] for name in shown} for row in sorted(kept, key=lambda row: row["subject_id"])]
