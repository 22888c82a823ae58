"""Sensors: mail when a run failed, and recompute the days that late records touched.

Belongs here: what the daemon watches. Not here: how a mail is built or sent (`mail`).
"""

from collections.abc import Iterator

import dagster as dg

from audit_pipeline.clock import SystemClock
from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail.failure import mail_failure
from audit_pipeline.orchestration.assets.reports import FAILED_AFTER_MAIL
from audit_pipeline.orchestration.jobs import AssetJob
from audit_pipeline.settings import Settings

PER_TICK = 10


def run_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """One mail for a run that failed before its report was mailed; the first attempt only."""

    @dg.run_failure_sensor(
        name="run_failure", monitor_all_code_locations=True, default_status=dg.DefaultSensorStatus.RUNNING,
        description="Mails when a run failed and no report could tell of it. Runs of the command line count too.",
    )  # fmt: skip
    def run_failure(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        message = context.failure_event.message or "no message"
        steps = [
            str(getattr(event.event_specific_data, "error_display_string", ""))
            for event in context.get_step_failure_events()
        ]
        if int(run.tags.get("dagster/retry_number", "0")) > 0:
            return dg.SkipReason("not the first attempt: it was mailed then")
        if any(FAILED_AFTER_MAIL in text for text in steps):
            return dg.SkipReason("the day's report has told of it")
        detail = "\n\n".join(steps) or message
        outcome = mail_failure(
            settings,
            SystemClock(),
            job=run.job_name,
            run_id=run.run_id,
            day=run.tags.get("dagster/partition"),
            detail=detail,
        )
        context.log.info("failure mail: %s", outcome)
        return None

    return run_failure


def late_records_sensor(settings: Settings, job: AssetJob) -> dg.SensorDefinition:
    """Requests `recompute` for computed days that got records since."""

    @dg.sensor(
        name="late_records", job=job, minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.STOPPED if settings.clock == "simulated" else dg.DefaultSensorStatus.RUNNING,
        description="Days that were computed before late records came are computed again: one run a day, once for each set of inputs.",
    )  # fmt: skip
    def late_records(_context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        lake = Lake.open(settings.lake_url)
        wanted = sorted((day, name) for name in settings.sources for day in unify.stale(lake, name))
        if not wanted:
            yield dg.SkipReason("no computed day has late records")
        for day, name in wanted[:PER_TICK]:
            key = f"{name}:{day.isoformat()}:{indexing.input_hash(lake, name, day)[:16]}"
            yield dg.RunRequest(
                run_key=key, partition_key=day.isoformat(), tags={"audit_pipeline/why": f"late records of {name}"}
            )

    return late_records
