"""Asset checks: what Great Expectations says of the day's profile, shown in the UI.

Belongs here: outcomes to check results, a broken check told apart from bad data and from data that is not there. Not here:
expectations (`quality/suites`). Never blocking: the report must tell of incomplete data. Checks by partition are a preview in
Dagster 1.13, so their warning is silenced in this module's caller.
"""

from collections.abc import Iterator

import dagster as dg

from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.quality.checks import check
from audit_pipeline.quality.expectations import Outcome
from audit_pipeline.quality.suite import CHECKS
from audit_pipeline.settings import Settings

_ASSET = dg.AssetKey("completeness")


def completeness_checks(settings: Settings) -> dg.AssetChecksDefinition:
    """One step with the few named checks of the day."""
    partitions = daily(settings)
    specs = [
        dg.AssetCheckSpec(name=name, asset=_ASSET, description=text, partitions_def=partitions)
        for name, text in CHECKS.items()
    ]

    @dg.multi_asset_check(name="completeness_checks", specs=specs)
    def completeness_check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        outcomes = check(settings, Lake.open(settings.lake_url), day_of(context))
        for name in CHECKS:
            found = outcomes.get(name, [])
            bad = [one for one in found if one.state in ("fail", "crashed")]
            judged = [one for one in found if one.state != "not_evaluated"]
            worst = any(one.state == "crashed" or one.severity == "error" for one in bad)
            yield dg.AssetCheckResult(
                asset_key=_ASSET,
                check_name=name,
                passed=bool(judged) and not bad,
                severity=dg.AssetCheckSeverity.ERROR if worst else dg.AssetCheckSeverity.WARN,
                metadata={
                    "state": _state(found),
                    "expectations": md.rows(
                        [
                            {
                                "expectation": o.name,
                                "state": o.state,
                                "observed": o.observed,
                                "count": o.count,
                                "share": o.share,
                                "left out": ", ".join(o.left_out),
                                "meaning": o.meaning,
                            }
                            for o in found
                        ]
                    ),
                    "examples": md.rows(
                        [{"expectation": o.name, "example": str(example)} for o in bad for example in o.examples]
                    ),
                    "exceptions": md.rows(
                        [{"expectation": o.name, "exception": o.exception} for o in bad if o.exception]
                    ),
                },
            )

    return completeness_check


def _state(found: list[Outcome]) -> str:
    states = {one.state for one in found}
    return next((state for state in ("crashed", "fail", "incomplete", "pass") if state in states), "not_evaluated")
