"""Editions of a report: files below `reports/<kind>/<period>/<edition>/`, written once, kept for good.

Belongs here: when a new edition is due, and writing one so that a kill at any moment heals. Not here: what is in the files.

`report.json` is written last: it marks an edition as whole. A folder without it was never an edition; the next run writes it again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import rfc8785

from audit_pipeline import __version__
from audit_pipeline.clock import SIMULATED_NOTE, Clock, rfc3339
from audit_pipeline.errors import LakeError
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import differences, page, tables
from audit_pipeline.reports.model import Report, encode

MARK = "report.json"
_NOT_PRINTED = ("edition", "corrects", "evidence", "provisional")
"""what may differ between two reports of the same edition: later collections move the chains' heads, and let a day settle"""
_PARTS = {
    "sources": "sources",
    "findings": "findings",
    "kpis": "KPIs",
    "effects": "fixes and effects",
    "adjustments": "fixes and effects",
    "releases": "releases",
    "anomalies": "anomalies",
    "set_aside": "exceptions",
    "access": "access to logs",
    "decisions": "decisions",
    "failures": "logging failures",
    "reviews": "reviews",
    "reported": "editions of days",
    "corrections": "corrections",
    "controls": "controls",
    "noise": "noise rules",
    "state": "the state",
}
"""parts of a report that a correction is told of, as the page names them"""
_TOLD = {
    "state": "the state",
    "verdict": "sources",
    "events": "sources",
    "kpi": "KPIs",
    "finding": "findings",
    "effect": "fixes and effects",
}
"""parts of `differences.between` as a correction names them"""
_METHOD_NOT_PRINTED = ("versions", "config_sha256")


@dataclass(frozen=True)
class Edition:
    """One whole edition."""

    kind: str
    period: str
    number: int
    report: Report
    """the model with its edition"""
    new: bool
    """whether this call wrote it"""

    @property
    def folder(self) -> str:
        """Its folder below the lake's root."""
        return folder(self.kind, self.period, self.number)


def folder(kind: str, period: str, number: int) -> str:
    """Where an edition lies, below the lake's root."""
    return f"reports/{kind}/{period}/{number}"


def publish(lake: Lake, kind: str, period: str, report: Report, *, clock: Clock, run_id: str | None = None) -> Edition:
    """Write the report as a new edition if a printed number, state or finding changed against the latest; else return that one.

    Args:
        lake: where it is written.
        kind: `daily`, `weekly` or `monthly`.
        period: `2026-11-23`, `2026-W47` or `2026-11`.
        report: the model, without an edition, fit to be stored (`pseudonyms.published`).
        clock: tells when it is made (only the edition's `manifest.json` knows).
        run_id: the run that makes it, for `manifest.json`.

    Raises:
        LakeError: the lake cannot be written, or the latest edition was damaged.
    """
    previous = latest(lake, kind, period)
    if previous is not None and printed(previous.report) == printed(report):
        return previous
    number = 1 if previous is None else previous.number + 1
    whole = {**report, "edition": number, "corrects": None if previous is None else _corrects(previous, report)}
    files = {"report.html": page.render(whole).encode(), **tables.csv_files(whole)}
    mark = encode(whole)
    manifest = _manifest({**files, MARK: mark}, clock, run_id)
    target = folder(kind, period, number)
    for name, data in {**files, "manifest.json": manifest}.items():
        lake.write(f"{target}/{name}", data)
    lake.create(f"{target}/{MARK}", mark)
    return Edition(kind, period, number, whole, new=True)


def latest(lake: Lake, kind: str, period: str) -> Edition | None:
    """The newest whole edition; none is `None`."""
    found = numbers(lake, kind, period)
    return read(lake, kind, period, found[-1]) if found else None


def numbers(lake: Lake, kind: str, period: str) -> list[int]:
    """The whole editions of a period, in order."""
    found = sorted(int(name) for name in lake.names(f"reports/{kind}/{period}") if name.isdigit())
    return [number for number in found if lake.exists(f"{folder(kind, period, number)}/{MARK}")]


def read(lake: Lake, kind: str, period: str, number: int) -> Edition:
    """One edition that is there.

    Raises:
        LakeError: it was damaged.
    """
    return Edition(kind, period, number, _read(lake, f"{folder(kind, period, number)}/{MARK}"), new=False)


def made_at(lake: Lake, kind: str, period: str, number: int) -> dt.datetime:
    """When an edition was made.

    Raises:
        LakeError: its manifest was damaged or removed.
    """
    file = f"{folder(kind, period, number)}/manifest.json"
    try:
        return dt.datetime.fromisoformat(json.loads(lake.read(file))["generated_at"])
    except (ValueError, TypeError, KeyError, FileNotFoundError) as error:
        raise LakeError(
            f"{lake.path(file)}: does not say when the report was made ({type(error).__name__}). Restore it from a copy."
        ) from None


def first_made(lake: Lake, kind: str, period: str) -> dt.datetime | None:
    """When the first whole edition of a period was made; without one `None`."""
    found = numbers(lake, kind, period)
    return made_at(lake, kind, period, found[0]) if found else None


def corrections(
    lake: Lake, since: dt.datetime, *, kinds: Iterable[str] = ("daily",), periods: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """The editions made after `since` that corrected an earlier one, oldest first.

    Args:
        lake: where the reports lie.
        since: editions made at or before it are known already.
        kinds: kinds of report.
        periods: only of these days, weeks or months; `None` for all.

    Returns:
        rows of `kind`, `period`, `edition`, `corrects` (number of the edition before), `made_at` (RFC 3339), `parts` (names of
        what differs, earlier days included) and `changes` (`differences.between`; empty where only earlier days differ).
    """
    found = []
    for kind in kinds:
        for period in lake.names(f"reports/{kind}"):
            if periods is None or period in periods:
                found += _corrections_of(lake, kind, period, since)
    return sorted(found, key=lambda row: (row["made_at"], row["kind"], row["period"], row["edition"]))


def _corrections_of(lake: Lake, kind: str, period: str, since: dt.datetime) -> list[dict[str, Any]]:
    found = []
    for earlier, later in pairwise(numbers(lake, kind, period)):
        made = made_at(lake, kind, period, later)
        if made <= since:
            continue
        before, after = (read(lake, kind, period, number).report for number in (earlier, later))
        row = {"kind": kind, "period": period, "edition": later, "corrects": earlier, "made_at": rfc3339(made)}
        parts = (after["corrects"] or {}).get("changed", [])
        found.append({**row, "parts": parts, "changes": differences.between(before, after)})
    return found


def _read(lake: Lake, file: str) -> Report:
    try:
        return dict(json.loads(lake.read(file)))
    except (ValueError, TypeError) as error:
        raise LakeError(
            f"{lake.path(file)}: is no report ({error}). It was changed after it was written: restore it, or remove it to have this edition written again."
        ) from None


def _corrects(previous: Edition, report: Report) -> dict[str, Any]:
    """The edition that this one replaces, and the parts in which it differs.

    Another version of the model has parts and columns that the one before lacks: that is no other number, and only words that both
    print are compared.
    """
    before = previous.report
    if before["v"] != report["v"]:
        told = {_TOLD[row["part"]] for row in differences.between(before, report)}
        changed = [name for name in dict.fromkeys(_PARTS.values()) if name in told]
    else:
        changed = [
            name
            for part, name in _PARTS.items()
            if part in report and rfc8785.dumps(before.get(part)) != rfc8785.dumps(report[part])
        ]
    return {"edition": previous.number, "changed": changed}


def printed(report: Report) -> bytes:
    """What counts as a change, as canonical JSON: the report without edition, evidence and versions."""
    kept = {name: value for name, value in report.items() if name not in _NOT_PRINTED}
    kept["method"] = {name: value for name, value in report["method"].items() if name not in _METHOD_NOT_PRINTED}
    return encode(kept)


def _manifest(files: dict[str, bytes], clock: Clock, run_id: str | None) -> bytes:
    body: dict[str, Any] = {
        "v": 1,
        "generated_at": rfc3339(clock.now()),
        "clock": SIMULATED_NOTE if clock.simulated else "system",
        "code_version": __version__,
        "run_id": run_id,
        "files": [
            {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        ],
    }
    return rfc8785.dumps(body)
