"""`decision_files`: what people decided by files in a git repository is taken into the log of decisions, once each.

Belongs here: a thin call. Not here: what an entry may say (`findings.files`).
"""

import dagster as dg

from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state


def decision_files_asset(settings: Settings) -> dg.AssetsDefinition:
    """The one asset."""

    @dg.asset(
        partitions_def=daily(settings),
        group_name="findings",
        kinds={"yaml", "git"},
        description=f"Decisions in `{settings.decisions.folder}/*.yaml` beside the configuration, recorded once each. An entry that could not be taken in is named every night until it is mended.",
    )
    def decision_files(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from audit_pipeline.findings.files import take_in

        engine = open_state(settings.state_url_resolved)
        try:
            problems = take_in(settings, Lake.open(settings.lake_url), engine, settings.clock_for(day_of(context)))
        finally:
            engine.dispose()
        for problem in problems:
            context.log.warning(md.markdown(str(problem)))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(problems),
                "not taken in": md.rows([{"file": one.file, "line": one.line, "why": one.reason} for one in problems]),
            }
        )

    return decision_files
