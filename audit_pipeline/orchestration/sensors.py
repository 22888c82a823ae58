"""Sensors: mail when a run failed or a check crashed, run missed nights, and recompute the days that late records touched.

Belongs here: what the daemon watches. Not here: how a mail is built or sent (`mail`).
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from audit_pipeline.clock import DAY, SystemClock
from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail.failure import mail_failure
from audit_pipeline.orchestration.assets.reports import FAILED_AFTER_MAIL, SEND_TAG
from audit_pipeline.orchestration.jobs import AssetJob
from audit_pipeline.settings import Settings

PER_TICK = 10
MAILS_A_DAY = 5
"""failure mails in 24 hours: a broken disk must not fill a mailbox, the UI has the rest"""
GRACE = dt.timedelta(hours=1)
"""after `run_at` a night is given this long to begin by itself"""
TRIES = 2
"""runs of a night after which a person has to look: a run that was killed deserves another, one that fails again does not"""
LOOK_BACK = 30
"""days that are looked through for missed nights; older ones are a backfill that a person asks for"""
_RETRY = "dagster/retry_number"
_UNDERWAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def _running(settings: Settings) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.STOPPED if settings.clock == "simulated" else dg.DefaultSensorStatus.RUNNING


def run_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """One mail for a run that failed before its report was mailed; the first attempt only, and not without end."""

    @dg.run_failure_sensor(
        name="run_failure", monitor_all_code_locations=True, default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Mails when a run failed and no report could tell of it; at most {MAILS_A_DAY} in 24 hours. Runs of the command line count too.",
    )  # fmt: skip
    def run_failure(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        message = context.failure_event.message or "no message"
        steps = [
            str(getattr(event.event_specific_data, "error_display_string", ""))
            for event in context.get_step_failure_events()
        ]
        if int(run.tags.get(_RETRY, "0")) > 0:
            return dg.SkipReason("not the first attempt: it was mailed then")
        if any(FAILED_AFTER_MAIL in text for text in steps):
            return dg.SkipReason("the day's report has told of it")
        return _mail(settings, context, run, "\n\n".join(steps) or message)

    return run_failure


def check_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """One mail for a run whose checks crashed: such a run succeeds, and what it should have judged is not judged."""

    @dg.run_status_sensor(
        name="check_failure", run_status=dg.DagsterRunStatus.SUCCESS, monitor_all_code_locations=True,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Mails when a check crashed; at most {MAILS_A_DAY} in 24 hours. A check that fails on the data is told by the day's report.",
    )  # fmt: skip
    def check_failure(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        crashed = _crashed(context.instance, context.dagster_run.run_id)
        if not crashed:
            return dg.SkipReason("no check crashed")
        detail = f"Checks that crashed, so that nothing was judged: {', '.join(crashed)}. The run itself went through."
        return _mail(settings, context, context.dagster_run, detail)

    return check_failure


def _crashed(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The names of a run's checks whose state is `crashed`."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    return sorted(one.check_name for one in found if getattr(one.metadata.get("state"), "value", None) == "crashed")


def _mail(
    settings: Settings, context: dg.RunStatusSensorContext, run: dg.DagsterRun, detail: str
) -> dg.SkipReason | None:
    """Send the failure mail unless enough were sent in the last 24 hours."""
    clock = SystemClock()
    recent = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=clock.now() - DAY)
    earlier = [record for record in context.instance.get_run_records(recent, limit=MAILS_A_DAY + 2) if record.dagster_run.run_id != run.run_id]  # fmt: skip
    if len(earlier) > MAILS_A_DAY:
        return dg.SkipReason(f"more than {MAILS_A_DAY} runs failed in 24 hours: the mails before this one told of it")
    if len(earlier) == MAILS_A_DAY:
        detail = (
            f"This is the last of {MAILS_A_DAY + 1} such mails in 24 hours: look at the runs in the UI.\n\n{detail}"
        )
    day = run.tags.get("dagster/partition")
    outcome = mail_failure(settings, clock, job=run.job_name, run_id=run.run_id, day=day, detail=detail)
    context.log.info("failure mail: %s", outcome)
    return None


def missed_nights_sensor(settings: Settings, job: AssetJob) -> dg.SensorDefinition:
    """Requests the night of days that no run has computed though they are due: the machine was off, or the daemon was."""

    @dg.sensor(
        name="missed_nights", job=job, minimum_interval_seconds=900, default_status=_running(settings),
        description=f"Nights of the last {LOOK_BACK} days that were due and never ran are run, the oldest first. Only one that is less than 24 hours late is mailed.",
    )  # fmt: skip
    def missed_nights(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = SystemClock().now()
        computed = set(Lake.open(settings.lake_url).days("completeness"))
        due = [now.date() - DAY * back for back in range(LOOK_BACK, 0, -1)]
        due = [day for day in due if day >= settings.start and settings.as_of(day) + GRACE < now]
        tries = {day: _tries(context.instance, job.name, day) for day in due if day not in computed}
        wanted = [(day, made) for day, made in tries.items() if made is not None and made < TRIES]
        if not wanted:
            yield dg.SkipReason("every night that is due was run, is under way, or failed more than once")
        for day, made in wanted[:PER_TICK]:
            tags = {
                "audit_pipeline/why": "missed night",
                **({SEND_TAG: "true"} if now - settings.as_of(day) < DAY else {}),
            }
            yield dg.RunRequest(run_key=f"{day.isoformat()}:{made}", partition_key=day.isoformat(), tags=tags)

    return missed_nights


def _tries(instance: dg.DagsterInstance, job: str, day: dt.date) -> int | None:
    """Runs of the day's night that have ended; null where one is under way."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, tags={"dagster/partition": day.isoformat()}), limit=TRIES + 1)
    return None if any(run.status in _UNDERWAY for run in runs) else len(runs)


def late_records_sensor(settings: Settings, job: AssetJob) -> dg.SensorDefinition:
    """Requests `recompute` for computed days that got records since."""

    @dg.sensor(
        name="late_records", job=job, minimum_interval_seconds=300, default_status=_running(settings),
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
