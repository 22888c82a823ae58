"""Schedules: each night the day that has just ended, after a week or month its report, and the weekly pruning.

Belongs here: when jobs run by themselves. RUNNING by default; stopped under a simulated clock, where no tomorrow will bring logs.
"""

import datetime as dt

import dagster as dg

from audit_pipeline.orchestration.jobs import AssetJob
from audit_pipeline.reports.periods import NOUNS, Kind, Period
from audit_pipeline.settings import Settings

AFTER_THE_NIGHT = {"weekly": 60, "monthly": 90}
"""Minutes after `run_at`: the night of the last day has to be over; a day that it lacks is named in the report"""
_PRUNE_AFTER = 180
_DAY = dt.timedelta(days=1)


def _status(settings: Settings) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.STOPPED if settings.clock == "simulated" else dg.DefaultScheduleStatus.RUNNING


def nightly_schedule(settings: Settings, job: AssetJob) -> dg.ScheduleDefinition:
    """A schedule of its own: Dagster's helper would not take a time of day that is configured."""
    at = settings.run_at

    @dg.schedule(
        name="nightly", job=job, cron_schedule=f"{at.minute} {at.hour} * * *", execution_timezone="UTC", default_status=_status(settings),
        description=f"At {at:%H:%M} UTC: yesterday, from collection to mail.",
    )  # fmt: skip
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(dt.UTC).date() - _DAY
        if day < settings.start:
            return dg.SkipReason(f"{day} lies before `start` ({settings.start}) in {settings.file.name}")
        return dg.RunRequest(run_key=day.isoformat(), partition_key=day.isoformat())

    return nightly


def periodic_schedule(settings: Settings, kind: Kind, job: AssetJob) -> dg.ScheduleDefinition:
    """The week or month that has just ended."""
    cron, words, late = _cron(settings, kind)

    @dg.schedule(
        name=kind, job=job, cron_schedule=cron, execution_timezone="UTC", default_status=_status(settings),
        description=f"{words} UTC: the {NOUNS[kind]} that has just ended.",
    )  # fmt: skip
    def periodic(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        last = (context.scheduled_execution_time.astimezone(dt.UTC) - late).date() - _DAY
        period = Period.of(kind, last)
        if period.last != last or last < settings.start:
            return dg.SkipReason(f"no {NOUNS[kind]} with days since {settings.start} ended on {last}")
        return dg.RunRequest(run_key=period.name, partition_key=period.first.isoformat())

    return periodic


def _cron(settings: Settings, kind: Kind) -> tuple[str, str, dt.timedelta]:
    """Cron, the same in words, and how long after midnight of the day after the period it is."""
    total = settings.run_at.hour * 60 + settings.run_at.minute + AFTER_THE_NIGHT[kind]
    days, minutes = divmod(total, 24 * 60)
    hour, minute = divmod(minutes, 60)
    clock = f"{hour:02}:{minute:02}"
    if kind == "weekly":
        return f"{minute} {hour} * * {1 + days}", f"{['Mondays', 'Tuesdays'][days]} at {clock}", dt.timedelta(days=days)
    return f"{minute} {hour} {1 + days} * *", f"On day {1 + days} of a month at {clock}", dt.timedelta(days=days)


def prune_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Sundays, well after the night."""
    total = (settings.run_at.hour * 60 + settings.run_at.minute + _PRUNE_AFTER) % (24 * 60)
    return dg.ScheduleDefinition(
        name="prune", job=job, cron_schedule=f"{total % 60} {total // 60} * * 0", execution_timezone="UTC", default_status=_status(settings),
        description="Sundays: Dagster's finished runs older than `retention.runs` are deleted.",
    )  # fmt: skip
