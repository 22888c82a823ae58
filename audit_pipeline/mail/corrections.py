"""What later editions changed of reports that somebody has got already: told in the next mail, never by a mail of its own.

Belongs here: which corrections a recipient has not been told. Not here: what differs between two editions (`reports.differences`).

A recipient knows the edition that was mailed to him, and each one that a later mail told of as a correction; both stand in the
table `deliveries`. So it needs no clock to know what is new to whom.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import differences, editions
from audit_pipeline.state import deliveries

LOOKED_BACK = 45
"""newest earlier reports of a kind that are looked at"""


@dataclass(frozen=True)
class Correction:
    """A report that a recipient knows by an older edition."""

    period: str
    edition: int
    changes: tuple[dict[str, Any], ...]
    """rows of `reports.differences.between`; empty where nothing of what the recipient gets differs"""


def pending(
    engine: sa.Engine,
    lake: Lake,
    kind: str,
    period: str,
    recipients: Collection[str],
    cut: Callable[[dict[str, Any]], dict[str, Any]],
) -> list[Correction]:
    """Earlier reports of the kind with an edition that these recipients have not been told of, oldest first.

    Args:
        engine: the database with the table `deliveries`.
        lake: holds the reports.
        kind: kind of report.
        period: of the mail that will tell; later reports are not looked at.
        recipients: those who get that mail.
        cut: makes of a stored report what they may see of it.

    Raises:
        LakeError: an edition was damaged.
    """
    found = []
    for earlier, known in _known(engine, kind, period, recipients):
        newest = (editions.numbers(lake, kind, earlier) or [known])[-1]
        if newest > known:
            before, after = (cut(editions.read(lake, kind, earlier, number).report) for number in (known, newest))
            found.append(Correction(earlier, newest, tuple(differences.between(before, after))))
    return sorted(found, key=lambda one: one.period)


def _known(engine: sa.Engine, kind: str, period: str, recipients: Collection[str]) -> list[tuple[str, int]]:
    """The newest edition of each earlier report that any of the recipients has got."""
    columns = deliveries.c
    query = (
        sa.select(columns.period, sa.func.max(columns.edition))
        .where(
            columns.kind == kind,
            columns.period < period,
            columns.outcome == "accepted",
            columns.recipient.in_(sorted(recipients)),
        )
        .group_by(columns.period)
        .order_by(columns.period.desc())
        .limit(LOOKED_BACK)
    )
    with engine.connect() as connection:
        return [(str(row[0]), int(row[1])) for row in connection.execute(query)]
