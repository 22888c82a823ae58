"""`log_access`: who can read, change or delete logs at their source, or stop logging.

Belongs here: a thin call of the box. Not here: asking the sources (`sources`), what is approved (`access`).
"""

import dagster as dg

from audit_pipeline.access import snapshot
from audit_pipeline.errors import UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.settings import Settings


def log_access_asset(settings: Settings) -> dg.AssetsDefinition:
    """The one asset."""

    @dg.asset(
        deps=[dg.AssetKey(["raw", name]) for name in settings.sources],
        partitions_def=daily(settings),
        group_name="access",
        kinds={"parquet"},
        description="Who may read, write, delete logs at their source, stop logging or change how long they are kept: the newest snapshot of each source that shows it, held against the approved list.",
        metadata={"dagster/column_schema": md.column_schema("access")},
    )
    def log_access(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        lake, day = Lake.open(settings.lake_url), day_of(context)
        try:
            with lake.lock():
                table = snapshot.review(settings, lake, day)
        except UserError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        told = snapshot.states(lake, day) or {}
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "not approved": sum(value is False for value in table["approved"].to_pylist()),
                "sources": md.rows([{"source": name, **found} for name, found in told.items()]),
                "grants": md.arrow_rows(table, ["source", "principal", "right", "via", "approved", "seen_at"]),
            }
        )

    return log_access
