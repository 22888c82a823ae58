"""What detectors, people and comparisons add to the synthetic company: effects, anomalies, rules that could not judge, decided findings.

The rows are made by hand in the shapes of `lake.tables` and ADR 7; nothing here computes a verdict.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import pyarrow as pa

from audit_pipeline.clock import DAY
from audit_pipeline.lake.tables import FINDINGS_SCHEMA, TABLES
from audit_pipeline_tests.reports.company import LAST, Company, at

Row = dict[str, Any]
CARD = {
    "people": {"actors": 41, "days": 28, "left_out": ["2026-11-15"]},
    "services": {"actors": 12, "days": 28},
    "threshold": 0.71,
    "budget": 5,
    "sizes": [256, 2048],
    "choice": "256: stated default, 4 verdicts so far",
    "verdicts_used": 4,
}


def effect(finding_id: str, seq: int, verdict: str, **more: Any) -> Row:
    """A remediation's row; judged ones have their numbers, pending ones their date."""
    before, fixed, decided = LAST - 55 * DAY, LAST - 21 * DAY, LAST
    row: Row = {
        "effect_id": f"e{seq:03}{finding_id[:8]}", "subject": "remediation", "subject_id": f"{finding_id}:{seq}", "finding_id": finding_id, "kind": "rate",
        "kpi_id": "error_rate_by_service", "scope": "service:checkout", "before_start": before, "before_end": fixed - 9 * DAY,
        "after_start": fixed, "after_end": decided - DAY, "days_before": 24, "days_after": 20,
        "left_out": [{"day": before + 10 * DAY, "reason": "linux_edge partial"}, {"day": before + 11 * DAY, "reason": "linux_edge partial"}],
        "rate_before": 0.0101, "rate_after": 0.0042, "unit": "share", "ratio": 0.42, "low": 0.34, "high": 0.51, "p": 0.0001, "p_weeks": 0.008,
        "p_trend": 0.02, "detectable": 0.24, "promised": 0.5, "verdict": verdict, "reason": "interval, whole weeks and trend agree",
        "as_of": at(LAST + DAY, "03:00"), "decision_date": decided, "series": series(before, fixed, decided, 0.0101, 0.0042),
    }  # fmt: skip
    if verdict == "pending":
        row |= dict.fromkeys(("rate_after", "ratio", "low", "high", "p", "p_weeks", "p_trend", "reason"))
        row |= {"decision_date": LAST + 9 * DAY, "days_after": 6}
    return {**row, **more}


def series(first: dt.date, fixed: dt.date, end: dt.date, before: float, after: float) -> list[Row]:
    """Days with a weekly wave; two left out, eight of an episode before the fix."""
    found = []
    for step in range((end - first).days):
        day = first + step * DAY
        wave = 1 + 0.15 * (-1) ** step - (0.2 if day.weekday() >= 5 else 0)
        window = "after" if day >= fixed else "episode" if day >= fixed - 8 * DAY else "before"
        level = after if window == "after" else before * (1.9 if window == "episode" else 1)
        window = "left_out" if step in (10, 11) else window
        found.append({"day": day, "value": level * wave * 9_000, "population": 9_000.0, "window": window})
    return found


def release(service: str, version: str, day: dt.date, verdicts: tuple[str, str]) -> list[Row]:
    """Both windows of a release."""
    base = effect(
        "",
        0,
        verdicts[0],
        subject="release",
        subject_id=f"{service}@{version}",
        promised=None,
        decision_date=None,
        series=[],
    )
    ratio = {"worse": (2.6, 1.9, 3.6), "better": (0.7, 0.6, 0.9)}
    rows = []
    for kind, verdict in zip(("24h", "7d"), verdicts, strict=True):
        value, low, high = ratio.get(verdict, (1.04, 0.9, 1.2))
        rows.append({**base, "finding_id": None, "effect_id": f"{version}{kind}", "kind": kind, "verdict": verdict, "ratio": value, "low": low, "high": high, "after_start": day, "after_end": day, "reason": f"against 3 unreleased services, {kind}"})  # fmt: skip
    return rows


def anomaly(day: dt.date, actor: str, score: float = 0.83) -> Row:
    """A detection of the model."""
    return {
        "detection_id": hashlib.sha256(f"anomaly {day} {actor}".encode()).hexdigest()[:32], "day": day, "rule_id": "anomaly", "rule_version": "1", "kind": "anomaly", "level": "medium", "x_actor": actor,
        "x_target": None, "sources": ["cloudtrail_prod"], "first_time": at(day, "22:11"), "last_time": at(day, "23:40"), "n": 412, "score": score,
        "threshold": 0.71, "explanation": f"{actor}: 412 reads of secrets, usual 0 to 9 on working days (21 days); 14 networks, usual 1 to 2", "attack": [],
        "group_key": json.dumps({"actor": actor}), "verdict": "no_gap_seen",
        "refs": [{"source": "cloudtrail_prod", "segment": f"raw/cloudtrail_prod/{day}/00000014.segment", "line": line, "uid": f"u{line}"} for line in range(7)],
    }  # fmt: skip


def rule_state(day: dt.date, rule: str, state: str, reason: str | None = None) -> Row:
    """A rule on a day."""
    return {"day": day, "rule_id": rule, "rule_version": "1", "title": rule.replace("_", " ").capitalize(), "level": "high", "state": state, "reason": reason, "n": 0, "sources": ["cloudtrail_prod"]}  # fmt: skip


def write(company: Company, name: str, rows: list[Row], day: dt.date, **metadata: str) -> None:
    """Replace a partition; columns that a row lacks are null."""
    schema = TABLES[name].schema
    filled = [{column: row.get(column) for column in schema.names} for row in rows]
    company.lake.write_table(name, pa.Table.from_pylist(filled, schema=schema), day, metadata=metadata or None)


def decided(table: pa.Table, changes: dict[str, Row]) -> pa.Table:
    """The view `findings` with columns changed, by a part of the title."""
    rows = table.to_pylist()
    for row in rows:
        for part, change in changes.items():
            if part in row["title"]:
                row.update(change)
    return pa.Table.from_pylist(rows, schema=FINDINGS_SCHEMA)
