"""Jobs: `nightly` (all of a day) and `recompute` (what a day's tables are made from stored evidence; collects and mails nothing)."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from audit_pipeline.settings import Settings

AssetJob = UnresolvedAssetJobDefinition
"""What `define_asset_job` returns; Dagster does not export it."""


def nightly() -> AssetJob:
    """Collection to mail, for one day."""
    return dg.define_asset_job(
        "nightly",
        selection=dg.AssetSelection.all(),
        description="One night: collect, unify, judge, detect, count, report, mail.",
        executor_def=dg.in_process_executor,
    )


def recompute(settings: Settings) -> AssetJob:
    """The tables and the report of a day from what the lake holds."""
    keys = [dg.AssetKey(["events", name]) for name in settings.sources]
    keys += [dg.AssetKey([name]) for name in ("completeness", "detections", "findings", "kpis")] + [
        dg.AssetKey(["report", "daily"])
    ]
    return dg.define_asset_job(
        "recompute",
        selection=dg.AssetSelection.assets(*keys),
        description="A day's tables and report anew from stored evidence, after late records came: collects nothing, mails nothing.",
        executor_def=dg.in_process_executor,
    )
