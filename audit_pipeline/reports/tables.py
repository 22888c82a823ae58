"""The reading copies of a report's tables: findings.csv, effects.csv, sources.csv, kpis.csv, of periods reviews.csv and corrections.csv. The evidence is the lake and report.json.

Belongs here: columns and CSV writing. Cells are guarded (`text.csv_cell`), so text may differ from the evidence by an apostrophe
or a visible escape; no data is an empty cell.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from audit_pipeline.reports.measures import SHOWN
from audit_pipeline.reports.text import csv_cell

_FINDINGS = (
    "finding_id",
    "title",
    "severity",
    "state",
    "change",
    "team",
    "owner",
    "due_at",
    "overdue",
    "ask",
    "kind",
    "risk",
    "shown",
    "held_back",
    "approval",
    "approved_by",
    "expires_at",
    "reopened",
    "first_time",
    "detected_at",
    "closed_at",
    "n",
    "rule_id",
    "group_key",
)
_EFFECTS = (
    "subject",
    "subject_id",
    "finding_id",
    "title",
    "fix",
    "kind",
    "kpi_id",
    "scope",
    "verdict",
    "decision_date",
    "ratio",
    "low",
    "high",
    "promised",
    "reached",
    "detectable",
    "rate_before",
    "rate_after",
    "unit",
    "before_start",
    "before_end",
    "after_start",
    "after_end",
    "days_before",
    "days_after",
    "days_left_out",
    "p",
    "p_weeks",
    "p_trend",
    "approval",
    "reason",
)
_OF_PERIODS = ("reviews.csv", "corrections.csv")
_CORRECTIONS = ("kind", "period", "edition", "corrects", "made_at", "part", "subject", "from", "to")
_CONTROL_DAYS = ("not_operated", "not_evaluated", "operated")
_CONTROLS = (
    "framework",
    "control",
    "words",
    "state",
    "days_not_operated",
    "days_not_evaluated",
    "days_operated",
    "not_operated_on",
    "not_evaluated_on",
    "checks",
    "why",
    "supports",
    "does_not_show",
)
_ACCESS = ("source", "state", "principal", "rights", "via", "approved", "change", "detail")
_REVIEWS = ("kind", "day", "state", "due_at", "generated_at", "delivered_at")
_REPORTED = ("edition", "whole", "of", "root", "page")
_DAYS = (
    "day",
    "verdict",
    "events",
    "expected_low",
    "expected_high",
    "records",
    "rejects",
    "duplicates",
    "smallest_gap_s",
    "baseline_days",
    "lag_p95_s",
    "future",
    "edition",
)


def csv_files(report: dict[str, Any]) -> dict[str, bytes]:
    """File name to bytes (UTF-8, RFC 4180) of every table; all rows, also those that the page leaves out."""
    found = {
        "findings.csv": _csv(_FINDINGS, ([row[name] for name in _FINDINGS] for row in report["findings"])),
        "sources.csv": _csv(("source", *_DAYS, "reasons"), _source_rows(report)),
        "effects.csv": _csv(_EFFECTS, ([row.get(name) for name in _EFFECTS] for row in _effect_rows(report))),
        "kpis.csv": _csv(("kpi_id", "scope", "day", *SHOWN), _kpi_rows(report)),
    }
    if "access" in report:
        found["access.csv"] = _csv(_ACCESS, _access_rows(report["access"]))
    if report["kind"] != "daily":
        found["reviews.csv"] = _csv((*_REVIEWS, *_REPORTED), _review_rows(report))
        found["corrections.csv"] = _csv(_CORRECTIONS, _correction_rows(report))
    if report["kind"] == "monthly":
        found["controls.csv"] = _csv(_CONTROLS, _control_rows(report))
    return found


def names(report: dict[str, Any]) -> list[str]:
    """The names of the files, for the page that lies beside them."""
    more = {"daily": (), "weekly": _OF_PERIODS, "monthly": (*_OF_PERIODS, "controls.csv")}[report["kind"]]
    access = ["access.csv"] if "access" in report else []
    return ["findings.csv", "effects.csv", "sources.csv", "kpis.csv", *access, *more]


def _access_rows(found: dict[str, Any]) -> Iterable[list[Any]]:
    """A row for each principal of a source, then the sources that show none."""
    for row in found["grants"]:
        yield [row["source"], "seen", row["principal"], " ".join(row["rights"]), "; ".join(row["via"]), row["approved"], row["change"], None]  # fmt: skip
    for row in found["sources"]:
        if row["principals"] is None:
            yield [row["source"], row["state"], None, None, None, None, None, row["detail"]]


def _effect_rows(report: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Fixes, then the windows of releases."""
    for row in report["effects"]:
        yield {**row, "subject": "remediation", "days_left_out": len(row["left_out"])}
    for release in report["releases"]:
        head = {"subject": "release", "subject_id": release["subject_id"]}
        for kind, row in release["windows"].items():
            yield {**row, **head, "kind": kind, "days_left_out": len(row["left_out"] or [])}


def _control_rows(report: dict[str, Any]) -> Iterable[list[Any]]:
    for framework in report["controls"]["frameworks"]:
        for row in framework["rows"]:
            days = [" ".join(row["days"][state]) if row["days"] else None for state in _CONTROL_DAYS]
            counts = [len(row["days"][state]) if row["days"] else None for state in _CONTROL_DAYS]
            why = [*row["why"], *(f"{check['name']}: {one['why']}" for check in row["checks"] for one in check["why"])]
            checks = " ".join(check["name"] for check in row["checks"])
            head = [framework["framework"], row["id"], row["words"], row["state"]]
            yield [*head, *counts, *days[:2], checks, "; ".join(why), row["supports"], row["not_shown"]]


def _correction_rows(report: dict[str, Any]) -> Iterable[list[Any]]:
    for row in report["corrections"]:
        head = [row[name] for name in _CORRECTIONS[:5]]
        for change in row["changes"] or [
            {"part": "earlier days", "subject": ", ".join(row["parts"]), "from": None, "to": None}
        ]:
            yield [*head, *(change[name] for name in _CORRECTIONS[5:])]


def _review_rows(report: dict[str, Any]) -> Iterable[list[Any]]:
    for review, day in zip(report["reviews"], report["reported"], strict=True):
        yield [*(review[name] for name in _REVIEWS), *(day[name] for name in _REPORTED)]


def _source_rows(report: dict[str, Any]) -> Iterable[list[Any]]:
    for source in report["sources"]:
        for day in source["days"]:
            reasons = "; ".join(
                f"{reason['phrase']}: {reason['detail'] or ''}".rstrip(": ") for reason in day["reasons"]
            )
            yield [source["name"], *(day[name] for name in _DAYS), reasons]


def _kpi_rows(report: dict[str, Any]) -> Iterable[list[Any]]:
    for kpi in report["kpis"]:
        for row in kpi["history"]:
            yield [kpi["id"], "all", row["day"], *(row[name] for name in SHOWN)]
        if report["kind"] != "daily":
            yield [kpi["id"], "all", report["period"], *(kpi["today"][name] for name in SHOWN)]
        for row in kpi["detail"]:
            yield [
                kpi["id"],
                row["scope"],
                report["day"] if report["kind"] == "daily" else report["period"],
                *(row[name] for name in SHOWN),
            ]


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8", "backslashreplace")
