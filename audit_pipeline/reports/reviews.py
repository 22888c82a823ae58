"""The review calendar: every expected day, whether or not anything happened on it, and when its review was ready.

Belongs here: the view `reviews`. Not here: the share of reviews on time (`kpis`), what a report says.

The population of a daily control is the calendar (PCI DSS 10.4.1, SOC 2 sampling): a day without a report is a row too. What
counts is the first report, and its delivery where the configuration has a mail server and recipients; later editions change nothing.
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import sqlalchemy as sa

from audit_pipeline.clock import DAY, Clock
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import editions
from audit_pipeline.settings import Settings
from audit_pipeline.state import deliveries

IN_TIME = dt.timedelta(hours=24)
"""time from a day's as-of to the end of its review"""
ON_TIME, LATE, MISSED = "on_time", "late", "missed"
KIND = "daily"
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("day", pa.date32()),
        ("due_at", _TIME),
        ("generated_at", _TIME),
        ("delivered_at", _TIME),
        ("state", pa.string()),
    ]
)
"""Columns of the view `reviews`; `state` is null while a review is neither done nor due."""


def reviews(settings: Settings, lake: Lake, engine: sa.Engine, until: dt.date) -> pa.Table:
    """One row a day from `start` through `until`: `on_time`, `late`, `missed`, or null where it is not due at the as-of of `until`.

    Times are UTC. A report that was made or delivered after its due time is `late` however the day went: so is every backfilled day.
    """
    moment = settings.as_of(until)
    delivered = _delivered(engine) if expects_delivery(settings) else None
    days = [settings.start + DAY * step for step in range((until - settings.start).days + 1)]
    return pa.Table.from_pylist([_row(settings, lake, day, delivered, moment) for day in days], schema=SCHEMA)


def last_day(settings: Settings, lake: Lake, clock: Clock) -> dt.date:
    """The last day that the calendar can speak about: the newest whose as-of has passed; under a simulated clock the newest computed."""
    computed = lake.days("completeness")
    if settings.clock == "simulated":
        return computed[-1] if computed else settings.start - DAY
    now = clock.now()
    ended = now.date() - DAY
    return ended if settings.as_of(ended) <= now else ended - DAY


def expects_delivery(settings: Settings) -> bool:
    """Whether a report has to reach somebody by mail to count as given to review."""
    return settings.smtp is not None and bool(settings.reports.daily.to)


def _row(
    settings: Settings,
    lake: Lake,
    day: dt.date,
    delivered: dict[str, dt.datetime] | None,
    moment: dt.datetime,
) -> dict[str, object]:
    due = settings.as_of(day) + IN_TIME
    generated = editions.first_made(lake, KIND, day.isoformat())
    arrived = None if delivered is None else delivered.get(day.isoformat())
    done = generated if delivered is None else max(generated, arrived) if generated and arrived else None
    state = ON_TIME if done and done <= due else LATE if done else MISSED if due <= moment else None
    return {
        "kind": KIND,
        "day": day,
        "due_at": due,
        "generated_at": generated,
        "delivered_at": arrived,
        "state": state,
    }


def _delivered(engine: sa.Engine) -> dict[str, dt.datetime]:
    """When a day's report first reached somebody."""
    columns = deliveries.c
    query = sa.select(columns.period, columns.outcome_at).where(
        columns.kind == KIND, columns.outcome == "accepted", columns.outcome_at.is_not(None)
    )
    found: dict[str, dt.datetime] = {}
    with engine.connect() as connection:
        for period, moment in connection.execute(query):
            when = dt.datetime.fromisoformat(moment)
            found[period] = min(when, found.get(period, when))
    return found
