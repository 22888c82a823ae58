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
from audit_pipeline.reports import (
    access,
    anomalies,
    asked,
    coverage,
    effects,
    exceptions,
    inputs,
    measures,
    method,
    watching,
    wording,
)
from audit_pipeline.settings import Settings

VERSION = 2
Report = dict[str, Any]


def build_daily(settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date, clock: Clock) -> Report:
    """The report of one UTC day, from stored tables, decisions before the day's as-of, and the heads of the evidence chains.

    The clock is asked only whether it is simulated: the same lake gives the same report whenever it is built.

    Returns:
        plain JSON values; times RFC 3339, durations in seconds, shares from 0 to 1, no data as null.
    """
    found = inputs.read(settings, lake, engine, day)
    sources, kpis, findings = coverage.sources(found), measures.kpis(found), asked.findings(found)
    evidence, work = method.evidence(found), judgement(found, findings)
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
        "not_judged": coverage.not_judged(found, sources, kpis) + work_not_judged(found, work),
        "not_computed": sorted(inputs.TABLES - found.computed),
        **work,
        "changes": asked.changes(found, findings, sources),
        "failures": coverage.failures(sources),
        "logging_changes": watching.logging_changes(found, findings),
        "kpis": kpis,
        "noise": exceptions.noise(found, day),
        "people": asked.people(found, kpis, work.get("access")),
        "method": method.method(found),
        "evidence": evidence,
    }
    return {**report, "state": wording.state(report), "verdict": wording.verdict(report)}


def judgement(found: inputs.Inputs, findings: list[inputs.Row]) -> Report:
    """What deserves a person's time, who decides, and whether fixes worked: the parts that reports of all kinds share."""
    return {
        "findings": findings,
        "decisions": asked.decisions(findings),
        "budget": asked.budget(found, findings),
        "effects": effects.remediations(found),
        **({"adjustments": declared} if (declared := effects.adjustments(found)) else {}),
        "releases": effects.releases(found),
        "anomalies": anomalies.anomalies(found, findings),
        "set_aside": exceptions.set_aside(found),
        **({"access": shown} if (shown := access.access(found)) else {}),
    }


def work_not_judged(found: inputs.Inputs, work: Report) -> list[inputs.Row]:
    """Rules and the anomaly model, where they could not judge."""
    return [*watching.rules_not_judged(found), *anomalies.not_judged(work["anomalies"])]


def encode(report: Report) -> bytes:
    """The report's canonical JSON (RFC 8785)."""
    return rfc8785.dumps(report)
