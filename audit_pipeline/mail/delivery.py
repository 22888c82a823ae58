"""Delivering a report's mail once: the intent is stored before SMTP, the outcome after, and a copy always lies beside the report.

Belongs here: the delivery record. Not here: the dialogue (`smtp`), what the mail says (`message`), when to send (orchestration).

Trouble with a mail server is an outcome, never an exception: the report is out, the mail's fate is a fact beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import EmailMessage

import sqlalchemy as sa

from audit_pipeline.clock import Clock, rfc3339
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail import smtp
from audit_pipeline.mail.message import EVERYBODY
from audit_pipeline.mail.smtp import ACCEPTED, REFUSED, Patience
from audit_pipeline.reports import editions
from audit_pipeline.reports.text import visible
from audit_pipeline.settings import Settings
from audit_pipeline.state import deliveries

AGAIN = "unknown, sent again"
UNKNOWN = "unknown after two tries, not sent again"
WRITTEN_ONLY = "written only"
BACKFILL = "not sent: backfill"
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
"""RFC 5321 dot-atoms without quoting: what we are willing to hand to a server"""

MessageFor = Callable[[str], EmailMessage]


@dataclass(frozen=True)
class Outcome:
    """What became of the mail to one recipient; `outcome` is accepted, refused, failed, or null where it cannot be known."""

    recipient: str
    outcome: str | None
    detail: str
    sent_now: bool
    """whether this call spoke to a server about it"""


def deliver(
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    *,
    kind: str,
    period: str,
    edition: int,
    message_for: MessageFor,
    recipients: Iterable[str],
    send: bool,
    lake: Lake,
    why_not: str = WRITTEN_ONLY,
) -> list[Outcome]:
    """Write the mail beside the report, and send it to each recipient who has not got it yet.

    Args:
        engine: the database with the table `deliveries`.
        settings: the mail server; its password is read from the environment.
        clock: tells when an intent and an outcome are recorded.
        kind: kind of report; with period, edition and recipient the key of a delivery.
        period: period of the report.
        edition: edition of the report.
        message_for: builds the mail to one recipient, and to `message.EVERYBODY` for the copy.
        recipients: addresses.
        send: whether to send; a backfill only writes.
        lake: where the copy is written, as `mail/all.eml` below the edition.
        why_not: what the copy's header says when nothing is sent (`WRITTEN_ONLY` or `BACKFILL`).

    Raises:
        LakeError: the copy cannot be written.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be written; nothing was sent without a stored intent.
    """
    delivery = _Delivery(engine, clock, kind, period, edition)
    _write_copy(lake, delivery, message_for(EVERYBODY), None if send else why_not)
    if not send:
        return []
    patience = Patience.of(settings)
    return [_one(delivery, settings, message_for, recipient, patience) for recipient in dict.fromkeys(recipients)]


def _write_copy(lake: Lake, delivery: _Delivery, message: EmailMessage, note: str | None) -> None:
    """The copy in the lake; once a delivery is on record it stays as it is, so that no sent mail is called `not sent`."""
    file = f"{editions.folder(delivery.kind, delivery.period, delivery.edition)}/mail/{EVERYBODY}.eml"
    if delivery.any() and lake.exists(file):
        return
    if note is not None:
        message["X-Audit-Pipeline"] = note
    lake.write(file, message.as_bytes())


def _one(
    delivery: _Delivery, settings: Settings, message_for: MessageFor, recipient: str, patience: Patience
) -> Outcome:
    """Intent, SMTP, outcome for one recipient; an outcome that cannot be known is followed by one more mail of the same Message-ID."""
    if not is_address(recipient):
        return Outcome(visible(recipient, 80), REFUSED, "not an address that we send to", sent_now=False)
    known = delivery.find(recipient)
    if known is not None and known.outcome == ACCEPTED:
        return Outcome(recipient, ACCEPTED, f"already accepted at {known.outcome_at}", sent_now=False)
    unknown = known is not None and known.outcome is None
    if unknown and known is not None and known.detail == AGAIN:
        return Outcome(recipient, None, UNKNOWN, sent_now=False)
    message = message_for(recipient)
    delivery.intend(recipient, str(message["Message-ID"]), AGAIN if unknown else None, known is not None)
    answer = smtp.send(settings, recipient, message, patience)
    if answer.outcome is None and not unknown:
        unknown = True
        delivery.intend(recipient, str(message["Message-ID"]), AGAIN, known=True)
        answer = smtp.send(settings, recipient, message, patience)
    if answer.outcome is None:
        return Outcome(recipient, None, f"{UNKNOWN}: {answer.detail}", sent_now=True)
    detail = f"{AGAIN}: {answer.detail}" if unknown else answer.detail
    delivery.record(recipient, answer.outcome, detail)
    return Outcome(recipient, answer.outcome, detail, sent_now=True)


def is_address(recipient: str) -> bool:
    """Whether it is a plain mailbox address (ASCII, no name, no line break): what may stand in a header and an envelope."""
    return _ADDRESS.fullmatch(recipient) is not None


@dataclass(frozen=True)
class _Delivery:
    """The rows of one edition in the table `deliveries`."""

    engine: sa.Engine
    clock: Clock
    kind: str
    period: str
    edition: int

    def _key(self) -> sa.ColumnElement[bool]:
        columns = deliveries.c
        return sa.and_(columns.kind == self.kind, columns.period == self.period, columns.edition == self.edition)

    def any(self) -> bool:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(deliveries.c.recipient).where(self._key())).first() is not None

    def find(self, recipient: str) -> sa.Row[tuple[object, ...]] | None:
        query = sa.select(deliveries).where(self._key(), deliveries.c.recipient == recipient)
        with self.engine.connect() as connection:
            return connection.execute(query).first()

    def intend(self, recipient: str, message_id: str, detail: str | None, known: bool) -> None:
        """Store the intent; committed when this returns."""
        values = {"message_id": message_id, "intended_at": rfc3339(self.clock.now())}
        values_all = {**values, "outcome": None, "outcome_at": None, "detail": detail}
        if known:
            self._update(recipient, values_all)
            return
        key = {"kind": self.kind, "period": self.period, "edition": self.edition, "recipient": recipient}
        with self.engine.begin() as connection:
            connection.execute(sa.insert(deliveries).values(**key, **values_all))

    def record(self, recipient: str, outcome: str, detail: str) -> None:
        self._update(recipient, {"outcome": outcome, "outcome_at": rfc3339(self.clock.now()), "detail": detail})

    def _update(self, recipient: str, values: dict[str, str | None]) -> None:
        statement = sa.update(deliveries).where(self._key(), deliveries.c.recipient == recipient).values(**values)
        with self.engine.begin() as connection:
            connection.execute(statement)
