"""The nightly schedule: each night at `run_at` UTC, the day that has just ended.

Belongs here: when jobs run by themselves. RUNNING by default; stopped under a simulated clock, where no tomorrow will bring logs.
"""

import datetime as dt

import dagster as dg

from audit_pipeline.orchestration.jobs import AssetJob
from audit_pipeline.settings import Settings


def nightly_schedule(settings: Settings, job: AssetJob) -> dg.ScheduleDefinition:
    """A schedule of its own: Dagster's helper would not take a time of day that is configured."""
    at = settings.run_at
    status = dg.DefaultScheduleStatus.STOPPED if settings.clock == "simulated" else dg.DefaultScheduleStatus.RUNNING

    @dg.schedule(
        name="nightly", job=job, cron_schedule=f"{at.minute} {at.hour} * * *", execution_timezone="UTC", default_status=status,
        description=f"At {at:%H:%M} UTC: yesterday, from collection to mail.",
    )  # fmt: skip
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(dt.UTC).date() - dt.timedelta(days=1)
        if day < settings.start:
            return dg.SkipReason(f"{day} lies before `start` ({settings.start}) in {settings.file.name}")
        return dg.RunRequest(run_key=day.isoformat(), partition_key=day.isoformat())

    return nightly
