"""The weekly report, Monday to Sunday: the way in for orchestration and command line.

Belongs here: nothing but that. Not here: the model (`periodic`), editions.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.clock import Clock
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports.editions import Edition
from audit_pipeline.reports.periodic import publish_period
from audit_pipeline.reports.periods import Period
from audit_pipeline.settings import Settings

KIND = "weekly"


def publish_weekly(
    settings: Settings, lake: Lake, week_start: dt.date, clock: Clock, run_id: str | None = None
) -> Edition:
    """Publish the report of the week that holds the day; the edition that stands is returned when nothing printed changed.

    Raises:
        UserError: none of its days can be told yet.
    """
    return publish_period(settings, lake, Period.of("weekly", week_start), clock, run_id)
