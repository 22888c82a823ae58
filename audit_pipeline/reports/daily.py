"""The daily report of a day, from stored tables to a published edition.

Belongs here: the order model, edition. Not here: any of the three.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.clock import Clock
from audit_pipeline.lake import computed
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import pseudonyms
from audit_pipeline.reports.editions import Edition, publish
from audit_pipeline.reports.model import build_daily
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

KIND = "daily"


def publish_daily(settings: Settings, lake: Lake, day: dt.date, clock: Clock, run_id: str | None = None) -> Edition:
    """Publish the day's report; the edition that stands is returned when nothing printed changed."""
    engine = open_state(settings.state_url_resolved)
    try:
        report = build_daily(settings, lake, engine, day, clock)
    finally:
        engine.dispose()
    report = pseudonyms.published(report, settings, lake)
    edition = publish(lake, KIND, day.isoformat(), report, clock=clock, run_id=run_id)
    computed.done(lake, day)
    return edition
