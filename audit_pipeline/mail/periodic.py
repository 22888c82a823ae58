"""The mails of a published report, daily, weekly or monthly: to everybody, and to each team what is theirs.

Belongs here: putting edition, audiences, corrections and delivery together. Not here: each of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from typing import Any

import sqlalchemy as sa

from audit_pipeline.clock import Clock
from audit_pipeline.errors import UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail import audience, message
from audit_pipeline.mail.audience import Audience
from audit_pipeline.mail.corrections import Correction, pending
from audit_pipeline.mail.delivery import BACKFILL, WRITTEN_ONLY, Outcome, deliver
from audit_pipeline.mail.smtp import Patience
from audit_pipeline.reports import pseudonyms
from audit_pipeline.reports.editions import Edition, latest
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

RECENT = dt.timedelta(hours=24)


def mail_report(
    settings: Settings, lake: Lake, kind: str, period: str, clock: Clock, *, send: bool
) -> tuple[list[Outcome], str]:
    """Write the mails beside the newest edition and, if asked to, send them; the outcomes, and where the copy for all lies.

    Holds the lake's lock meanwhile: another run must neither send the same mail nor clean up a copy that is half written. Whoever
    got an earlier edition of the same report is not mailed again: the next mail tells what changed.

    Args:
        settings: recipients, teams, mail server, privacy.
        lake: holds the report; the copies go beside it.
        kind: `daily`, `weekly` or `monthly`.
        period: `2026-11-23`, `2026-W47` or `2026-11`.
        clock: gives the Date, and tells a backfill.
        send: whether to send.

    Raises:
        UserError: there is no such report yet.
    """
    edition = latest(lake, kind, period)
    if edition is None:
        raise UserError(f"mail {kind} {period}: there is no report of it. {_make(kind, period)}")
    engine = open_state(settings.state_url_resolved)
    try:
        with lake.lock():
            outcomes = _Mails(settings, lake, engine, clock, edition).deliver(send=send)
    finally:
        engine.dispose()
    return outcomes, f"{edition.folder}/mail/{audience.EVERYBODY}.eml"


def _make(kind: str, period: str) -> str:
    how = f"audit-pipeline run --date {period}" if kind == "daily" else f"audit-pipeline report {kind} --date DAY"
    return f"Run `{how}` first."


@dataclass(frozen=True)
class _Mails:
    """The mails of one edition."""

    settings: Settings
    lake: Lake
    engine: sa.Engine
    clock: Clock
    edition: Edition

    def deliver(self, *, send: bool) -> list[Outcome]:
        patience, outcomes = Patience.of(self.settings), list[Outcome]()
        as_of = dt.datetime.fromisoformat(self.edition.report["as_of"])
        why_not = BACKFILL if self.clock.now() - as_of > RECENT else WRITTEN_ONLY
        for group in audience.audiences(self.settings, self.edition.kind):
            outcomes += deliver(
                self.engine, self.settings, self.clock, kind=self.edition.kind, period=self.edition.period, edition=self.edition.number,
                recipients=group.recipients, send=send, lake=self.lake, why_not=why_not, patience=patience, copy=group.name,
                message_for=self._message_for(group), told_by=partial(self._told, group),
            )  # fmt: skip
        return outcomes

    def _message_for(self, group: Audience) -> Callable[[str], EmailMessage]:
        report = self._cut(group)(self.edition.report)
        page = f"{self.edition.folder}/report.html"
        base = self.settings.reports.base_url
        url = f"{base.rstrip('/')}/{page}" if base else self.lake.path(page)

        def build(recipient: str) -> EmailMessage:
            return message.build(
                report, recipient=recipient, settings=self.settings, clock=self.clock, page_url=url, lake=self.lake,
                corrections=self._pending(group, recipient), listed=group.recipients,
            )  # fmt: skip

        return build

    def _cut(self, group: Audience) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def cut(report: dict[str, Any]) -> dict[str, Any]:
            if self.settings.privacy.mail == "pseudonyms":
                report = pseudonyms.hide(report, pseudonyms.key(self.settings, self.lake))
            return audience.cut(report, self.settings, group.teams)

        return cut

    def _pending(self, group: Audience, recipient: str) -> list[Correction]:
        who = group.recipients if recipient == audience.EVERYBODY else (recipient,)
        return pending(self.engine, self.lake, self.edition.kind, self.edition.period, who, self._cut(group))

    def _told(self, group: Audience, recipient: str) -> list[tuple[str, int]]:
        return [(one.period, one.edition) for one in self._pending(group, recipient)]
