"""Partitions: a UTC day from the configured start, and the weeks and months that periodic reports cover.

Belongs here: partitions, the day or period of a context, and which periods end with a day. Not here: schedules.
"""

import datetime as dt

import dagster as dg

from audit_pipeline.reports.periods import KINDS, Kind, Period
from audit_pipeline.settings import Settings


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """UTC days from `start`; a day exists once it has ended."""
    return dg.DailyPartitionsDefinition(start_date=settings.start.isoformat(), timezone="UTC")


def periodic(settings: Settings, kind: Kind) -> dg.TimeWindowPartitionsDefinition:
    """Weeks from Monday (`weekly`) or calendar months (`monthly`), the one with `start` in it first; its key is its first day."""
    first = Period.of(kind, settings.start).first.isoformat()
    if kind == "weekly":
        return dg.WeeklyPartitionsDefinition(start_date=first, timezone="UTC", day_offset=1)
    return dg.MonthlyPartitionsDefinition(start_date=first, timezone="UTC")


def ending_with(day: dt.date) -> list[Period]:
    """The periods that end with a day."""
    periods = [Period.of(kind, day) for kind in KINDS]
    return [period for period in periods if period.last == day]


def day_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> dt.date:
    """The day that a run computes; of a period, its first."""
    return dt.date.fromisoformat(context.partition_key)
