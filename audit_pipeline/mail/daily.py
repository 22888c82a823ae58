"""The mails of a published daily report: the way in for orchestration.

Belongs here: nothing but that. Not here: recipients, corrections, delivery (`periodic`).
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.clock import Clock
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail.delivery import Outcome
from audit_pipeline.mail.periodic import mail_report
from audit_pipeline.reports.daily import KIND
from audit_pipeline.settings import Settings


def mail_daily(settings: Settings, lake: Lake, day: dt.date, clock: Clock, *, send: bool) -> tuple[list[Outcome], str]:
    """Write the day's mails and, if asked to, send them; see `periodic.mail_report`.

    Raises:
        UserError: the day has no report yet.
    """
    return mail_report(settings, lake, KIND, day.isoformat(), clock, send=send)
