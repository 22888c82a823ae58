"""The daily report as one versioned model: every number that page, mail and CSV print, and nothing that depends on when it was made.

Belongs here: putting the parts together. Not here: the parts (`coverage`, `asked`, `measures`, `method`), words (`wording`), looks.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import DAY, SIMULATED_NOTE, Clock, midnight, rfc3339
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import asked, coverage, exceptions, inputs, measures, method, watching, wording
from audit_pipeline.settings import Settings

VERSION = 1
Report = dict[str, Any]


def build_daily(settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date, clock: Clock) -> Report:
    """The report of one UTC day, from stored tables, decisions before the day's as-of, and the heads of the evidence chains.

    The clock is asked only whether it is simulated: the same lake gives the same report whenever it is built.

    Returns:
        plain JSON values; times RFC 3339, durations in seconds, shares from 0 to 1, no data as null.
    """
    found = inputs.read(settings, lake, engine, day)
    sources, kpis, findings = coverage.sources(found), measures.kpis(found), asked.findings(found)
    evidence = method.evidence(found)
    report: Report = {
        "v": VERSION,
        "kind": "daily",
        "period": day.isoformat(),
        "day": day.isoformat(),
        "start": rfc3339(midnight(day)),
        "end": rfc3339(midnight(day) + DAY),
        "as_of": rfc3339(settings.as_of(day)),
        "next_mail_due": rfc3339(settings.as_of(day + DAY)),
        "clock_note": SIMULATED_NOTE if clock.simulated else None,
        "provisional": coverage.provisional(found, evidence["chains"]),
        "settles_at": coverage.settles_at(found),
        "days": list(found.days),
        "sources": sources,
        "not_judged": coverage.not_judged(found, sources, kpis),
        "not_computed": sorted(inputs.TABLES - found.computed),
        "findings": findings,
        "decisions": asked.decisions(findings),
        "changes": asked.changes(found, findings, sources),
        "failures": coverage.failures(sources),
        "logging_changes": watching.logging_changes(found, findings),
        "kpis": kpis,
        "noise": exceptions.noise(found, day),
        "people": asked.people(found),
        "method": method.method(found),
        "evidence": evidence,
    }
    return {**report, "state": wording.state(report), "verdict": wording.verdict(report)}


def encode(report: Report) -> bytes:
    """The report's canonical JSON (RFC 8785)."""
    return rfc8785.dumps(report)
