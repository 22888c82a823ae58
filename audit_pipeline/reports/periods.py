"""Weeks and months of reports: which days they hold, how they are called, and how far one can be told.

Belongs here: calendar arithmetic of ISO 8601 weeks and of months, UTC. Not here: partitions (`orchestration`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from audit_pipeline.clock import DAY, Clock
from audit_pipeline.errors import UserError
from audit_pipeline.settings import Settings

Kind = Literal["weekly", "monthly"]
KINDS: tuple[Kind, ...] = ("weekly", "monthly")
NOUNS = {"daily": "day", "weekly": "week", "monthly": "month"}


@dataclass(frozen=True)
class Period:
    """A week from Monday to Sunday, or a calendar month; both ends included."""

    kind: Kind
    first: dt.date
    last: dt.date

    @classmethod
    def of(cls, kind: Kind, day: dt.date) -> Period:
        """The period of a kind that holds the day."""
        if kind == "weekly":
            first = day - DAY * day.weekday()
            return cls(kind, first, first + 6 * DAY)
        first = day.replace(day=1)
        return cls(kind, first, (first + 31 * DAY).replace(day=1) - DAY)

    @property
    def name(self) -> str:
        """`2026-W47` (ISO 8601) or `2026-11`."""
        if self.kind == "weekly":
            year, week, _ = self.first.isocalendar()
            return f"{year}-W{week:02}"
        return f"{self.first:%Y-%m}"

    @property
    def following(self) -> Period:
        """The next period of the kind."""
        return Period.of(self.kind, self.last + DAY)

    def days(self, settings: Settings, clock: Clock) -> list[dt.date]:
        """Its days from `start` on whose as-of has passed: all of them once the period is over.

        Raises:
            UserError: there is none yet.
        """
        first = max(self.first, settings.start)
        found = [first + DAY * step for step in range((self.last - first).days + 1)]
        found = [day for day in found if settings.as_of(day) <= clock.now()]
        if not found:
            raise UserError(
                f"report {self.kind} {self.name}: none of its days can be told yet. The first is {first}, from "
                f"{settings.as_of(first):%Y-%m-%d %H:%M} UTC on (`start` and `run_at` in {settings.file})."
            )
        return found
