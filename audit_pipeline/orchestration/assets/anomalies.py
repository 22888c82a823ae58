"""`actor_days` and `anomalies`: what each accountable identity did, and what of it was unlike its other days.

Belongs here: thin calls of the box. Not here: any number's meaning (`anomaly`).
"""

import json

import dagster as dg

from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state


def anomaly_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The two assets."""

    @dg.asset(
        deps=[dg.AssetKey(["events", name]) for name in settings.sources],
        partitions_def=daily(settings),
        group_name="anomaly",
        kinds={"duckdb", "parquet"},
        description="What each accountable identity did on the day, in numbers: the features that anomalies are judged by.",
        metadata={"dagster/column_schema": md.column_schema("actor_days")},
    )
    def actor_days(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from audit_pipeline.anomaly import features

        lake, day = Lake.open(settings.lake_url), day_of(context)
        with lake.lock():
            table = features.actor_days(settings, lake, day)
        nobody = (lake.table_metadata("actor_days", day) or {}).get(features.WITHOUT_ACTOR, "")
        return dg.MaterializeResult(
            metadata={"dagster/row_count": table.num_rows, "events that name nobody": md.cell(nobody)}
        )

    @dg.asset(
        deps=[actor_days, "completeness", "decision_files"],
        partitions_def=daily(settings),
        group_name="anomaly",
        kinds={"scikitlearn"},
        description="Actor-days unlike the same actor's other days and its peers', by isolation forests trained on days before this one; cut by a threshold on days held out and by the budget.",
        metadata={"dagster/column_schema": md.column_schema("anomalies")},
    )
    def anomalies(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from audit_pipeline.anomaly import night

        lake, day = Lake.open(settings.lake_url), day_of(context)
        engine = open_state(settings.state_url_resolved)
        try:
            with lake.lock():
                table = night.anomalies(settings, lake, engine, day)
        finally:
            engine.dispose()
        card = json.loads((lake.table_metadata("anomalies", day) or {}).get("card", "{}"))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "the model's card": dg.MetadataValue.json(card),
                "anomalies": md.arrow_rows(table, ["level", "x_actor", "explanation", "score", "threshold", "verdict"]),
            }
        )

    return [actor_days, anomalies]
