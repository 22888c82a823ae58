"""Partitions: a UTC day from the configured start, and the weeks and months that periodic reports cover.

Belongs here: partitions, the day or period of a context, and which periods end with a day. Not here: schedules.
"""

import datetime as dt

import dagster as dg

from audit_pipeline.settings import Settings

_DAY = dt.timedelta(days=1)


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """UTC days from `start`; a day exists once it has ended."""
    return dg.DailyPartitionsDefinition(start_date=settings.start.isoformat(), timezone="UTC")


def periodic(settings: Settings, kind: str) -> dg.TimeWindowPartitionsDefinition:
    """Weeks from Monday (`weekly`) or calendar months (`monthly`), the one with `start` in it first; its key is its first day."""
    first = first_day(kind, settings.start).isoformat()
    if kind == "weekly":
        return dg.WeeklyPartitionsDefinition(start_date=first, timezone="UTC", day_offset=1)
    return dg.MonthlyPartitionsDefinition(start_date=first, timezone="UTC")


def first_day(kind: str, day: dt.date) -> dt.date:
    """The first day of the week or month that holds a day."""
    return day - _DAY * day.weekday() if kind == "weekly" else day.replace(day=1)


def last_day(kind: str, first: dt.date) -> dt.date:
    """The last day of a period that begins so."""
    return first + 6 * _DAY if kind == "weekly" else (first + 31 * _DAY).replace(day=1) - _DAY


def ending_with(day: dt.date) -> list[tuple[str, dt.date]]:
    """The periods that end with a day: kind and first day."""
    found = [(kind, first_day(kind, day)) for kind in ("weekly", "monthly")]
    return [(kind, first) for kind, first in found if last_day(kind, first) == day]


def day_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> dt.date:
    """The day that a run computes; of a period, its first."""
    return dt.date.fromisoformat(context.partition_key)
