"""The weekly and the monthly report as one versioned model, in the shape of the daily one where they tell of the same things.

Belongs here: putting the parts together. Not here: the parts (`period_parts`, `coverage`, `asked`, `measures`, `controls`), words
(`wording`), looks. Everything comes from stored tables, stored reports, deliveries, and decisions before the last day's as-of.
"""

from __future__ import annotations

import sqlalchemy as sa

from audit_pipeline.clock import DAY, SIMULATED_NOTE, Clock, midnight, rfc3339
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import (
    asked,
    coverage,
    exceptions,
    inputs,
    measures,
    method,
    period_parts,
    pseudonyms,
    watching,
    wording,
)
from audit_pipeline.reports.controls.table import controls
from audit_pipeline.reports.editions import Edition, publish
from audit_pipeline.reports.inputs import Row
from audit_pipeline.reports.model import VERSION, Report, judgement, work_not_judged
from audit_pipeline.reports.period_kpis import period_kpis
from audit_pipeline.reports.periods import NOUNS, Period
from audit_pipeline.reports.reviews import expects_delivery
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state


def build_periodic(settings: Settings, lake: Lake, engine: sa.Engine, period: Period, clock: Clock) -> Report:
    """The report of a week or month; of one that is not over yet, the days so far.

    The clock is asked whether it is simulated, and how far a period that is not over can be told: once it is over, the same lake
    gives the same report whenever it is built.

    Returns:
        plain JSON values as in `model.build_daily`. `sources[].today` and `kpis[].today` hold what the whole period shows.

    Raises:
        UserError: none of its days can be told yet.
    """
    days = period.days(settings, clock)
    found = inputs.read(settings, lake, engine, days[-1], days)
    sources = period_parts.sources(coverage.sources(found))
    kpis, failed = period_kpis(found, engine, measures.kpis(found))
    findings = asked.findings(found)
    calendar = period_parts.calendar(found, engine)
    evidence, work = method.evidence(found), judgement(found, findings)
    report: Report = {
        "v": VERSION,
        "kind": period.kind,
        "period": period.name,
        "day": found.day.isoformat(),
        "start": rfc3339(midnight(period.first)),
        "end": rfc3339(midnight(period.last) + DAY),
        "as_of": rfc3339(settings.as_of(found.day)),
        "next_mail_due": rfc3339(settings.as_of(period.following.last)),
        "clock_note": SIMULATED_NOTE if clock.simulated else None,
        "provisional": coverage.provisional(found, evidence["chains"]),
        "settles_at": coverage.settles_at(found),
        "days_to_come": (period.last - found.day).days,
        "days": list(found.days),
        "sources": sources,
        "not_judged": period_parts.not_judged(found, sources, kpis, failed) + work_not_judged(found, work),
        "not_computed": sorted(name for name in inputs.TABLES if not period_parts.computed(found, name)),
        **work,
        "life": period_parts.life(found, findings),
        "changes": period_parts.changes(found, findings),
        "failures": coverage.failures(sources),
        "logging_changes": watching.logging_changes(found, findings),
        "kpis": kpis,
        "noise": exceptions.noise(found, days[0]),
        "reviews": calendar,
        "reported": period_parts.reported(found, calendar),
        "corrections": period_parts.corrections(found),
        "controls": controls(found, engine, calendar, findings, kpis) if period.kind == "monthly" else None,
        "people": asked.people(found, kpis, work.get("access")),
        "method": _method(found, period),
        "evidence": evidence,
    }
    return {**report, "state": wording.state(report), "verdict": wording.verdict(report)}


def publish_period(settings: Settings, lake: Lake, period: Period, clock: Clock, run_id: str | None = None) -> Edition:
    """Publish the report of a week or month; the edition that stands is returned when nothing printed changed.

    Raises:
        UserError: none of its days can be told yet.
    """
    engine = open_state(settings.state_url_resolved)
    try:
        report = build_periodic(settings, lake, engine, period, clock)
    finally:
        engine.dispose()
    report = pseudonyms.published(report, settings, lake)
    return publish(lake, period.kind, period.name, report, clock=clock, run_id=run_id)


def _method(found: inputs.Inputs, period: Period) -> Row:
    noun = NOUNS[period.kind]
    page = found.settings.privacy.monthly if period.kind == "monthly" else found.settings.privacy.page
    made = method.method(found)
    return {
        **made,
        "period": f"one {noun} of UTC days, from the first midnight (included) to the last (excluded)",
        "history_days": len(found.days),
        "people": {**made["people"], "page": page},
        "delivery_expected": expects_delivery(found.settings),
    }
