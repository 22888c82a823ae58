"""The only assembly point: settings in, Dagster definitions out.

Belongs here: putting assets, checks, jobs, schedules and sensors together, and the graph that stands in for a configuration that
cannot be used. Not here: any of those things themselves.
"""

import warnings
from pathlib import Path

import dagster as dg

from audit_pipeline.errors import ConfigError
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.assets.access import log_access_asset
from audit_pipeline.orchestration.assets.anomalies import anomaly_assets
from audit_pipeline.orchestration.assets.days import day_assets
from audit_pipeline.orchestration.assets.decisions import decision_files_asset
from audit_pipeline.orchestration.assets.effects import effects_asset
from audit_pipeline.orchestration.assets.reports import periodic_assets, report_assets
from audit_pipeline.orchestration.assets.sources import events_asset, raw_asset
from audit_pipeline.orchestration.checks import completeness_checks
from audit_pipeline.orchestration.jobs import nightly, periodic_report, prune, recompute
from audit_pipeline.orchestration.schedules import nightly_schedule, periodic_schedule, prune_schedule
from audit_pipeline.orchestration.sensors import (
    check_failure_sensor,
    late_records_sensor,
    missed_nights_sensor,
    run_failure_sensor,
)
from audit_pipeline.reports.periods import KINDS
from audit_pipeline.settings import Settings

_EXAMPLE = """
start: 2026-01-01
sources:
  example: {type: files, format: cloudtrail, paths: ["logs/**/*.json.gz"]}
"""


def build_definitions(settings: Settings) -> dg.Definitions:
    """The graph of a configuration."""
    with warnings.catch_warnings():
        # checks by partition are a preview, some of Dagster's own calls use beta parameters: known, pinned, and said once in docs/adr
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        night, again, pruning = nightly(), recompute(settings), prune(settings)
        reports = {kind: periodic_report(kind) for kind in KINDS}
        sources = [
            asset for name in settings.sources for asset in (raw_asset(settings, name), events_asset(settings, name))
        ]
        judged = [
            log_access_asset(settings),
            decision_files_asset(settings),
            *anomaly_assets(settings),
            effects_asset(settings),
        ]
        periods = [asset for kind in KINDS for asset in periodic_assets(settings, kind)]
        return dg.Definitions(
            assets=[*sources, *day_assets(settings), *judged, *report_assets(settings), *periods],
            asset_checks=[completeness_checks(settings)],
            jobs=[night, again, *reports.values(), pruning],
            schedules=[
                nightly_schedule(settings, night),
                *(periodic_schedule(settings, kind, job) for kind, job in reports.items()),
                prune_schedule(settings, pruning),
            ],
            sensors=[
                run_failure_sensor(settings),
                check_failure_sensor(settings),
                missed_nights_sensor(settings, night),
                late_records_sensor(settings, again),
            ],
            executor=dg.in_process_executor,
        )


def load_definitions() -> dg.Definitions:
    """The graph of the configuration that is found; where none can be used, an example's graph and an asset that says why."""
    try:
        return build_definitions(Settings.load())
    except ConfigError as error:
        return _stand_in(str(error))


def _stand_in(problem: str) -> dg.Definitions:
    """A graph to look at, no schedule and no sensor, and the message where one cannot miss it."""

    @dg.asset(
        group_name="configuration",
        description=f"**No configuration is in use.**\n\n> {md.markdown(problem)}\n\nThe other assets show the graph of an example. `make demo`, then `make ui`, shows one with data.",
    )
    def configuration_is_missing() -> None:
        raise dg.Failure(description=problem, allow_retries=False)

    example = build_definitions(Settings.from_text(_EXAMPLE, Path("example.yaml").absolute()))
    specs = [
        spec.replace_attributes(description=f"(example) {spec.description}")
        for spec in example.resolve_all_asset_specs()
    ]
    return dg.Definitions(assets=[configuration_is_missing, *specs])
