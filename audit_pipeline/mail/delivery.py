"""Delivering a report's mail once: the intent is stored before SMTP, the outcome after, and a copy always lies beside the report.

Belongs here: the delivery record. Not here: the dialogue (`smtp`), what the mail says (`message`), when to send (orchestration).

Trouble with a mail server is an outcome, never an exception: the report is out, the mail's fate is a fact beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

import sqlalchemy as sa

from audit_pipeline.clock import Clock, rfc3339
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail import smtp
from audit_pipeline.mail.audience import EVERYBODY
from audit_pipeline.mail.smtp import ACCEPTED, REFUSED, Patience
from audit_pipeline.reports import editions
from audit_pipeline.reports.text import visible
from audit_pipeline.settings import Settings
from audit_pipeline.state import deliveries

CORRECTS = "not sent: a correction, told in the next mail"
AGAIN = "unknown, sent again"
UNKNOWN = "unknown after two tries, not sent again"
WRITTEN_ONLY = "written only"
BACKFILL = "not sent: backfill"
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
"""RFC 5321 dot-atoms without quoting: what we are willing to hand to a server"""

MessageFor = Callable[[str], EmailMessage]
ToldBy = Callable[[str], Sequence[tuple[str, int]]]


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
    copy: str = EVERYBODY,
    told_by: ToldBy = lambda _: (),
    patience: Patience | None = None,
) -> list[Outcome]:
    """Write the mail beside the report, and send it to each recipient who has not got it yet, nor an earlier edition of it.

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
        lake: where the copy is written, below the edition.
        why_not: what the copy's header says when nothing is sent (`WRITTEN_ONLY` or `BACKFILL`).
        copy: what the copy is called: `all` is `mail/all.eml`.
        told_by: periods and editions that the mail to a recipient tells of as corrections.
        patience: how long to try; by default as configured.

    Raises:
        LakeError: the copy cannot be written.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be written; nothing was sent without a stored intent.
    """
    delivery = _Delivery(engine, clock, kind, period, edition)
    addresses = list(dict.fromkeys(recipients))
    outcomes = [delivery.settled(recipient) for recipient in addresses] if send else []
    note = why_not if not send else WRITTEN_ONLY if not addresses else CORRECTS if all(outcomes) else None
    _write_copy(lake, delivery, addresses, message_for(EVERYBODY), (copy, note))
    if not send:
        return []
    line = _Line(settings, message_for, told_by, patience or Patience.of(settings))
    return [known or _send(delivery, line, recipient) for recipient, known in zip(addresses, outcomes, strict=True)]


@dataclass(frozen=True)
class _Line:
    """What sending to any recipient takes."""

    settings: Settings
    message_for: MessageFor
    told_by: ToldBy
    patience: Patience


def _write_copy(
    lake: Lake, delivery: _Delivery, recipients: list[str], message: EmailMessage, name_and_note: tuple[str, str | None]
) -> None:
    """The copy in the lake; once a delivery is on record it stays as it is, so that no sent mail is called `not sent`."""
    name, note = name_and_note
    file = f"{editions.folder(delivery.kind, delivery.period, delivery.edition)}/mail/{name}.eml"
    if delivery.any(recipients) and lake.exists(file):
        return
    if note is not None:
        message["X-Audit-Pipeline"] = note
    lake.write(file, message.as_bytes())


def _send(delivery: _Delivery, line: _Line, recipient: str) -> Outcome:
    """Intent, SMTP, outcome for one recipient; an outcome that cannot be known is followed by one more mail of the same Message-ID."""
    known = delivery.find(recipient)
    unknown = known is not None and known.outcome is None
    message, told = line.message_for(recipient), line.told_by(recipient)
    identity = str(message["Message-ID"])
    delivery.intend(recipient, identity, AGAIN if unknown else None, known is not None)
    answer = smtp.send(line.settings, recipient, message, line.patience)
    if answer.outcome is None and not unknown:
        unknown = True
        delivery.intend(recipient, identity, AGAIN, known=True)
        answer = smtp.send(line.settings, recipient, message, line.patience)
    if answer.outcome is None:
        return Outcome(recipient, None, f"{UNKNOWN}: {answer.detail}", sent_now=True)
    detail = f"{AGAIN}: {answer.detail}" if unknown else answer.detail
    delivery.record(recipient, answer.outcome, detail)
    if answer.outcome == ACCEPTED:
        delivery.tell(recipient, identity, told)
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

    def any(self, recipients: Iterable[str]) -> bool:
        """Whether anything about any of them is on record."""
        return any(self.find(recipient) is not None for recipient in recipients)

    def settled(self, recipient: str) -> Outcome | None:
        """What became of it where nothing is left to send; `None` where it has to be sent."""
        if not is_address(recipient):
            return Outcome(visible(recipient, 80), REFUSED, "not an address that we send to", sent_now=False)
        known = self.find(recipient)
        if known is not None and known.outcome == ACCEPTED:
            return Outcome(recipient, ACCEPTED, f"already accepted at {known.outcome_at}", sent_now=False)
        if known is not None and known.outcome is None and known.detail == AGAIN:
            return Outcome(recipient, None, UNKNOWN, sent_now=False)
        earlier = self._earlier(recipient)
        if earlier is not None:
            told = f"edition {earlier} was accepted; what changed is told in the next mail"
            return Outcome(recipient, ACCEPTED, told, sent_now=False)
        return None

    def _earlier(self, recipient: str) -> int | None:
        """The newest earlier edition that the recipient has got, or may have."""
        columns = deliveries.c
        query = sa.select(sa.func.max(columns.edition)).where(
            columns.kind == self.kind,
            columns.period == self.period,
            columns.edition < self.edition,
            columns.recipient == recipient,
            sa.or_(columns.outcome == ACCEPTED, columns.outcome.is_(None)),
        )
        with self.engine.connect() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else int(found)

    def tell(self, recipient: str, message_id: str, told: Sequence[tuple[str, int]]) -> None:
        """Record which editions of earlier reports this mail told of: the recipient knows them now."""
        moment = rfc3339(self.clock.now())
        values = {"kind": self.kind, "recipient": recipient, "message_id": message_id, "intended_at": moment}
        values |= {
            "outcome": ACCEPTED,
            "outcome_at": moment,
            "detail": f"told as a correction in the mail of {self.period}",
        }
        with self.engine.begin() as connection:
            for period, edition in told:
                earlier = _Delivery(self.engine, self.clock, self.kind, period, edition)
                connection.execute(sa.delete(deliveries).where(earlier._key(), deliveries.c.recipient == recipient))
                connection.execute(sa.insert(deliveries).values(**values, period=period, edition=edition))

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
