"""The one daily partition: a UTC day, from the configured start.

Belongs here: partitions and the day of a context. Not here: schedules.
"""

import datetime as dt

import dagster as dg

from audit_pipeline.settings import Settings


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """UTC days from `start`; a day exists once it has ended."""
    return dg.DailyPartitionsDefinition(start_date=settings.start.isoformat(), timezone="UTC")


def day_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> dt.date:
    """The day that a run computes."""
    return dt.date.fromisoformat(context.partition_key)
