"""Day-level assets: `completeness`, `detections`, `findings`, `kpis`.

Belongs here: thin calls of the boxes. Not here: any number's meaning.
"""

import dagster as dg

from audit_pipeline.detections.run import detect
from audit_pipeline.findings.view import findings_table
from audit_pipeline.kpis.compute import compute
from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.quality.completeness import assess
from audit_pipeline.reports.reviews import reviews
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state


def day_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The four day-level assets."""
    return [_completeness(settings), _detections(settings), _findings(settings), _kpis(settings)]


def _completeness(settings: Settings) -> dg.AssetsDefinition:
    """Verdicts of the day."""

    @dg.asset(
        deps=[dg.AssetKey(["events", name]) for name in settings.sources],
        partitions_def=daily(settings),
        group_name="quality",
        kinds={"duckdb", "parquet"},
        description="One verdict for each source and day (proven, no_gap_seen, partial, missing, unknown) with its reasons: accounting, silence, window edges, unreadable input, lag.",
        metadata={"dagster/column_schema": md.column_schema("completeness")},
    )
    def completeness(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        lake = Lake.open(settings.lake_url)
        with lake.lock():
            table = assess(settings, lake, day_of(context))
        found = table.to_pylist()
        shown = [
            {
                "source": row["source"], "verdict": row["verdict"], "events": row["events"], "rejects": row["rejects"],
                "reasons": "; ".join(f"{reason['code']}: {reason['detail']}" for reason in row["reasons"] or []) or "none", "baseline days": row["baseline_days"],
            }
            for row in found
        ]  # fmt: skip
        whole = sum(row["verdict"] in ("proven", "no_gap_seen") for row in found)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "judged whole": f"{whole} of {len(found)} sources",
                "verdicts": md.rows(shown),
            }
        )

    return completeness


def _detections(settings: Settings) -> dg.AssetsDefinition:
    """The rules' hits."""

    @dg.asset(
        deps=["completeness", "log_access"],
        partitions_def=daily(settings),
        group_name="detections",
        kinds={"sigma", "duckdb"},
        description="Hits of the Sigma rules in the day, with the events behind them.",
        metadata={"dagster/column_schema": md.column_schema("detections")},
    )
    def detections(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        lake = Lake.open(settings.lake_url)
        with lake.lock():
            table = detect(settings, lake, day_of(context))
        broken = (lake.table_metadata("detections", day_of(context)) or {}).get("rule_errors", "")
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "rules that could not run": md.cell(broken or "none"),
                "hits": md.arrow_rows(
                    table, ["level", "rule_id", "explanation", "n", "first_time", "last_time", "verdict"]
                ),
            }
        )

    return detections


def _findings(settings: Settings) -> dg.AssetsDefinition:
    """What teams have to decide, as of the day."""

    @dg.asset(
        deps=["detections", "anomalies", "effects"],
        partitions_def=daily(settings),
        group_name="findings",
        kinds={"decisions"},
        description="Detections grouped by what a team has to decide, with owner, due date and state as of the day; decisions made later do not enter.",
    )
    def findings(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        lake = Lake.open(settings.lake_url)
        engine = open_state(settings.state_url_resolved)
        try:
            table = findings_table(settings, lake, engine, until=day_of(context))
        finally:
            engine.dispose()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "findings": md.arrow_rows(table, ["severity", "state", "title", "team", "owner", "due_at", "n"]),
            }
        )

    return findings


def _kpis(settings: Settings) -> dg.AssetsDefinition:
    """Key figures of the day."""

    @dg.asset(
        deps=["findings", "completeness"],
        partitions_def=daily(settings),
        group_name="kpis",
        kinds={"duckdb", "parquet"},
        description="Key figures of the day with unit, population, n, uncertainty and the completeness verdict of what they were computed from; `no_data` where nothing was seen.",
        metadata={"dagster/column_schema": md.column_schema("kpis")},
    )
    def kpis(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        lake, day = Lake.open(settings.lake_url), day_of(context)
        engine = open_state(settings.state_url_resolved)
        try:
            calendar = reviews(settings, lake, engine, until=day)
        finally:
            engine.dispose()
        with lake.lock():
            table = compute(settings, lake, day, tables={"reviews": calendar})
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "figures": md.arrow_rows(
                    table, ["kpi_id", "scope", "value", "unit", "n", "population", "state", "verdict", "trend"]
                ),
            }
        )

    return kpis
