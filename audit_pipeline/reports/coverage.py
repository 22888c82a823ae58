"""How whole the logs were: each source's verdict by day, the reasons in words, and the failures of logging.

Belongs here: completeness as a reader sees it. Not here: how a verdict is reached (`quality`).
"""

from __future__ import annotations

from typing import Any

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.reports import text
from audit_pipeline.reports.inputs import Inputs, Row

NOT_COMPUTED = "not_computed"
WHOLE = ("proven", "no_gap_seen")
WORST_FIRST = ("missing", "partial", "unknown", NOT_COMPUTED, "proven", "no_gap_seen")
VERDICT_WORDS = {
    "missing": "missing",
    "partial": "partial",
    "unknown": "unknown",
    NOT_COMPUTED: "not computed",
    "proven": "proven whole",
    "no_gap_seen": "no gap seen",
}
REASON_WORDS = {
    "not_collected": "not collected",
    "collection_failed": "collection failed",
    "no_data": "no records",
    "silent": "silent",
    "volume_low": "fewer events than usual",
    "volume_high": "more events than usual",
    "rejects": "records rejected",
    "mismatch": "counts disagree",
    "unreadable": "input unreadable",
    "corrupt": "input corrupt",
    "lag": "records came late",
    "future": "records from the future",
    "cold_start": "first days, no history yet",
    "window_edge": "edge of what was collected",
    "source_partial": "source reported a part missing",
    "sender_silent": "sender silent",
    "policy_changed": "what is logged was changed",
    "restarted": "source restarted",
}
INFORMING = ("lag", "future", "volume_high", "policy_changed", "restarted")
"""reasons that stand beside a verdict without lowering it"""
FAILURES = (
    "collection_failed",
    "corrupt",
    "mismatch",
    "no_data",
    "not_collected",
    "rejects",
    "sender_silent",
    "silent",
    "source_partial",
    "unreadable",
)
"""reasons that tell of a failure of logging or of its collection (NIST AU-5, PCI DSS 10.7.2)"""
_NUMBERS = (
    "events",
    "records",
    "rejects",
    "duplicates",
    "expected_low",
    "expected_high",
    "smallest_gap_s",
    "baseline_days",
    "lag_p95_s",
    "future",
    "edition",
)


def sources(inputs: Inputs) -> list[Row]:
    """One row a source, the worst of the day first; each with its last 14 days, a day no run has computed included."""
    rows = [_source(inputs, name) for name in inputs.sources]
    return sorted(rows, key=lambda row: (WORST_FIRST.index(row["today"]["verdict"]), row["name"]))


def _source(inputs: Inputs, name: str) -> Row:
    configured = inputs.settings.sources.get(name)
    days = [_day(inputs.completeness.get((name, day)), day) for day in inputs.days]
    return {
        "name": name,
        "team": configured.team if configured else None,
        "format": ", ".join(configured.formats) if configured else None,
        "configured": configured is not None,
        "days": days,
        "today": days[-1],
    }


def _day(row: Row | None, day: str) -> Row:
    if row is None:
        return {"day": day, "verdict": NOT_COMPUTED, "reasons": [], **dict.fromkeys(_NUMBERS)}
    reasons = [_reason(reason, day) for reason in row["reasons"] or []]
    return {"day": day, "verdict": row["verdict"], "reasons": reasons, **{name: row[name] for name in _NUMBERS}}


def _reason(reason: Row, day: str) -> Row:
    """The reason with a short phrase beside its numbers: `silent 08:02 to 17:03`."""
    label = REASON_WORDS.get(reason["code"], reason["code"])
    when = text.span(reason["from"], reason["to"], day)
    return {**reason, "phrase": f"{label} {when}".rstrip()}


def phrase(day: Row) -> str:
    """Why a day is not whole, in a few words."""
    if day["verdict"] == NOT_COMPUTED:
        return "no run has computed this day"
    return ", ".join(reason["phrase"] for reason in _telling(day)[:2]) or "no reason recorded"


def _telling(day: Row) -> list[Row]:
    """The reasons that explain the verdict; those that only inform where there are no others."""
    return [reason for reason in day["reasons"] if reason["code"] not in INFORMING] or day["reasons"]


def not_judged(inputs: Inputs, rows: list[Row], kpis: list[Row]) -> list[Row]:
    """What this day's report cannot speak about: sources, and tables or KPIs that rest on them."""
    found = [
        {
            "subject": row["name"],
            "kind": "source",
            "verdict": row["today"]["verdict"],
            "phrase": phrase(row["today"]),
            "detail": [reason["detail"] for reason in _telling(row["today"]) if reason["detail"]],
        }
        for row in rows
        if row["today"]["verdict"] not in WHOLE
    ]
    for table, subject, consequence in (
        ("detections", "Detections", "no rule has run for this day"),
        ("kpis", "KPIs", "none was computed for this day"),
    ):
        if table not in inputs.computed:
            found.append(_other(subject, NOT_COMPUTED, consequence))
    for what, failed in inputs.errors.items():
        if failed:
            found.append(_other(text.count(failed, what, capital=True), "unknown", "could not be run"))
    lacking = without_data(kpis)
    if lacking and "kpis" in inputs.computed:
        found.append(_other(text.count(len(lacking), "KPI", capital=True), "unknown", "no data: " + ", ".join(lacking)))
    return found


def without_data(kpis: list[Row]) -> list[str]:
    """Titles of the KPIs that lack data because sources lack it.

    One that has nothing to measure yet although the sources are whole (no remediation on record) says `no data` in its own place.
    """
    return [
        row["title"]
        for row in kpis
        if row["today"]["state"] == "no_data" and row["today"]["verdict"] in ("missing", "partial", "unknown")
    ]


def _other(subject: str, verdict: str, consequence: str) -> dict[str, Any]:
    return {"subject": subject, "kind": "table", "verdict": verdict, "phrase": consequence, "detail": []}


def failures(rows: list[Row]) -> list[Row]:
    """Failures of logging of the 14 days, newest first."""
    found = [
        {"source": row["name"], "day": day["day"], "verdict": day["verdict"], **reason}
        for row in rows
        for day in row["days"]
        for reason in day["reasons"]
        if reason["code"] in FAILURES
    ]
    found.sort(key=lambda item: (item["source"], item["from"] or "", item["code"]))
    return sorted(found, key=lambda item: item["day"], reverse=True)


def settles_at(inputs: Inputs) -> dict[str, str]:
    """By source, when the records of the last day have normally all arrived (`settles_after`); RFC 3339."""
    end = midnight(inputs.day) + DAY
    return {name: rfc3339(end + source.settles_after) for name, source in sorted(inputs.settings.sources.items())}


def provisional(inputs: Inputs, chains: list[Row]) -> list[str]:
    """Sources that were last collected before their last day had settled: late records may still change it.

    What counts is the newest entry of the evidence chain, not the hour: a day that nobody looked at again has not settled.
    """
    collected = {chain["source"]: chain["collected_at"] for chain in chains}
    return [name for name, settled in settles_at(inputs).items() if (collected.get(name) or "") < settled]
