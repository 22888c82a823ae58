"""The mail of a published daily report.

Belongs here: recipients, the link to the page, and whether it is sent. Not here: what it says or how it travels.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.clock import Clock
from audit_pipeline.errors import UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail import message
from audit_pipeline.mail.delivery import BACKFILL, WRITTEN_ONLY, Outcome, deliver
from audit_pipeline.reports.daily import KIND
from audit_pipeline.reports.editions import latest
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

RECENT = dt.timedelta(hours=24)


def mail_daily(settings: Settings, lake: Lake, day: dt.date, clock: Clock, *, send: bool) -> tuple[list[Outcome], str]:
    """Write the mail beside the newest edition and, if asked to, send it; the outcomes, and where the copy lies in the lake.

    Holds the lake's lock meanwhile: another run must neither send the same mail nor clean up a copy that is half written.

    Raises:
        UserError: the day has no report yet.
    """
    edition = latest(lake, KIND, day.isoformat())
    if edition is None:
        raise UserError(
            f"mail {KIND} {day}: there is no report of that day. Run `audit-pipeline run --date {day}` first."
        )
    page = f"{edition.folder}/report.html"
    url = f"{settings.reports.base_url.rstrip('/')}/{page}" if settings.reports.base_url else lake.path(page)
    engine = open_state(settings.state_url_resolved)
    try:
        with lake.lock():
            outcomes = deliver(
                engine, settings, clock, kind=KIND, period=day.isoformat(), edition=edition.number, recipients=settings.reports.daily.to, send=send, lake=lake,
                message_for=lambda recipient: message.build(
                    edition.report, recipient=recipient, settings=settings, clock=clock, page_url=url, lake=lake),
                why_not=BACKFILL if clock.now() - settings.as_of(day) > RECENT else WRITTEN_ONLY,
            )  # fmt: skip
    finally:
        engine.dispose()
    return outcomes, f"{edition.folder}/mail/{message.EVERYBODY}.eml"
