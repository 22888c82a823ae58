"""A night without Dagster: the same boxes in the same order as the job `nightly`, for tests that ask about the boxes.

Belongs here: their order, as in `orchestration/assets`. Run as a module it does the night of a day: CONFIG DAY [send].
"""

from __future__ import annotations

import datetime as dt
import sys

from audit_pipeline.access import snapshot
from audit_pipeline.detections.run import detect
from audit_pipeline.formats import indexing, unify
from audit_pipeline.kpis.compute import compute
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail.daily import mail_daily
from audit_pipeline.quality.completeness import assess
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.reviews import reviews
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of
from audit_pipeline.state import open_state


def night(settings: Settings, day: dt.date, *, send: bool = False) -> None:
    """Collection to mail for one day, then earlier days that its collection touched."""
    lake = Lake.open(settings.lake_url)
    clock = settings.clock_for(day)
    for name in settings.sources:
        with lake.lock():
            collect(settings, lake, name, day, clock)
            indexing.ensure(lake, name, format_of(settings, name))
    recompute(settings, lake, day)
    mail_daily(settings, lake, day, clock, send=send)
    for late in sorted({late for name in settings.sources for late in unify.stale(lake, name)}):
        recompute(settings, lake, late, night=day)


def recompute(settings: Settings, lake: Lake, day: dt.date, night: dt.date | None = None) -> None:
    """A day's tables and report from what the lake holds, in the night after it or in a later one."""
    with lake.lock():
        for name in settings.sources:
            unify.build(lake, name, format_of(settings, name), day)
        assess(settings, lake, day)
        snapshot.review(settings, lake, day)
        detect(settings, lake, day)
        engine = open_state(settings.state_url_resolved)
        try:
            calendar = reviews(settings, lake, engine, until=day)
        finally:
            engine.dispose()
        compute(settings, lake, day, tables={"reviews": calendar})
        publish_daily(settings, lake, day, settings.clock_for(night or day))


def main(config: str, day: str, send: str = "") -> None:
    """The night of a day, from the command line."""
    night(Settings.load(config), dt.date.fromisoformat(day), send=send == "send")


if __name__ == "__main__":
    main(*sys.argv[1:])
