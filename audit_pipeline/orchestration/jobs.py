"""Jobs: what runs together.

Belongs here: selections of assets, and the job that prunes Dagster's own history. Not here: when they run (`schedules`, `sensors`).
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from audit_pipeline.clock import SystemClock
from audit_pipeline.reports.periods import KINDS, NOUNS, Kind
from audit_pipeline.settings import Settings

AssetJob = UnresolvedAssetJobDefinition
"""What `define_asset_job` returns; Dagster does not export it."""
SCHEDULE_TAG = "dagster/schedule_name"
"""Dagster's tag of runs that a schedule made: only they mail and try a failing source again."""
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_AT_ONCE = 200
"""Runs deleted a time, so that a stopped job has lost little"""


def _report_keys(kind: str) -> list[dg.AssetKey]:
    return [dg.AssetKey([what, kind]) for what in ("report", "mail")]


def nightly() -> AssetJob:
    """Collection to mail, for one day."""
    others = [key for kind in KINDS for key in _report_keys(kind)]
    return dg.define_asset_job(
        "nightly",
        selection=dg.AssetSelection.all() - dg.AssetSelection.assets(*others),
        description="One night: collect, unify, judge, detect, count, report, mail.",
        executor_def=dg.in_process_executor,
    )


def recompute(settings: Settings) -> AssetJob:
    """The tables and the report of a day from what the lake holds."""
    keys = [dg.AssetKey(["events", name]) for name in settings.sources]
    keys += [
        dg.AssetKey([name])
        for name in (
            "log_access",
            "completeness",
            "detections",
            "actor_days",
            "anomalies",
            "effects",
            "findings",
            "kpis",
        )
    ] + [dg.AssetKey(["report", "daily"])]
    return dg.define_asset_job(
        "recompute",
        selection=dg.AssetSelection.assets(*keys),
        description="A day's tables and report anew from stored evidence, after late records came: collects nothing, mails nothing.",
        executor_def=dg.in_process_executor,
    )


def periodic_report(kind: Kind) -> AssetJob:
    """The report of a week or month from stored tables, and its mail."""
    return dg.define_asset_job(
        kind,
        selection=dg.AssetSelection.assets(*_report_keys(kind)),
        description=f"The {kind} report of a {NOUNS[kind]} from stored tables, and its mail. Collects and computes nothing.",
        executor_def=dg.in_process_executor,
    )


def prune(settings: Settings) -> dg.JobDefinition:
    """Deletes old runs of Dagster, whose history otherwise grows without bound; touches neither lake nor decisions."""
    days = settings.retention.runs.days

    @dg.op(description=f"Deletes finished runs older than {days} days from Dagster's history.")
    def delete_old_runs(context: dg.OpExecutionContext) -> None:
        instance = context.instance
        old = dg.RunsFilter(statuses=_FINISHED, created_before=SystemClock().now() - settings.retention.runs)
        deleted = 0
        while records := instance.get_run_records(old, limit=_AT_ONCE, ascending=True):
            for record in records:
                instance.delete_run(record.dagster_run.run_id)
            deleted += len(records)
        context.log.info("deleted %d runs older than %d days", deleted, days)

    @dg.job(
        name="prune", executor_def=dg.in_process_executor,
        description=f"Dagster's own history: finished runs older than {days} days (`retention.runs`) are deleted. Evidence, tables and reports stay.",
    )  # fmt: skip
    def prune_job() -> None:
        delete_old_runs()

    return prune_job
