"""Running the jobs in this process: the command line's way to the same runs that the schedule makes.

Belongs here: one run a day, recomputation of days that late records touched, the progress that is told. Not here: printing (`cli`).
"""

import datetime as dt
import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from audit_pipeline.formats import unify
from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import orphans
from audit_pipeline.orchestration.assets.reports import NIGHT_TAG, SEND_TAG
from audit_pipeline.orchestration.build import build_definitions
from audit_pipeline.orchestration.home import REPOSITORY_TAG, instance, kept_open
from audit_pipeline.orchestration.partitions import ending_with
from audit_pipeline.settings import Settings

_COLLECT_EVERY = 100_000
"""Allocations between two looks for garbage. A night makes many objects and Dagster's graph keeps many more, so that Python's
default of 700 spends a twentieth of the time on looking."""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Progress = Callable[[str, dt.date], None]


@dataclass
class Night:
    """What a run of a day gave."""

    day: dt.date
    job: str
    run_id: str
    success: bool
    failures: list[str] = field(default_factory=list)
    """step and reason of what failed"""
    crashed_checks: list[str] = field(default_factory=list)


class Runner:
    """Definitions and instance, opened once for many days."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instance = instance(settings)
        orphans.bury(self._instance)
        self._alive, self._lock = orphans.sign_of_life(self._instance)
        gc.set_threshold(_COLLECT_EVERY, 50, 100)
        self._kept = kept_open(Path(self._instance.root_directory))
        self._defs = build_definitions(settings)

    def run(self, days: Iterable[dt.date], *, send: bool = False, progress: Progress | None = None) -> list[Night]:
        """The nightly job for each day, `recompute` for earlier days that its collection touched, and the reports of periods that end with it."""
        wanted = list(days)
        nights: list[Night] = []
        for place, day in enumerate(wanted):
            nights.append(self._one("nightly", day, {SEND_TAG: "true"} if send else {}, progress))
            tags = {"audit_pipeline/why": f"late records, found by the night of {day}", NIGHT_TAG: day.isoformat()}
            nights += [self._one("recompute", late, tags, progress) for late in self._touched(set(wanted[place:]))]
            nights += [self._one(period.kind, period.first, {SEND_TAG: "true"} if send else {}, progress) for period in ending_with(day)]  # fmt: skip
        return nights

    def _touched(self, still_to_come: set[dt.date]) -> list[dt.date]:
        lake = Lake.open(self._settings.lake_url)
        return sorted({day for name in self._settings.sources for day in unify.stale(lake, name)} - still_to_come)

    def _one(self, job: str, day: dt.date, tags: dict[str, str], progress: Progress | None) -> Night:
        if progress:
            progress(job, day)
        result = self._defs.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            partition_key=day.isoformat(),
            tags={**REPOSITORY_TAG, **self._alive, **tags},
            raise_on_error=False,
            run_config=_QUIET,
        )
        night = Night(day, job, result.run_id, result.success)
        for event in result.all_node_events:
            if event.is_step_failure:
                error = event.step_failure_data.error
                night.failures.append(f"{event.step_key}: {_root(error)}")
        for evaluation in result.get_asset_check_evaluations():
            state = evaluation.metadata.get("state")
            if state is not None and state.value == "crashed":
                night.crashed_checks.append(evaluation.check_name)
        return night


def _root(error: object) -> str:
    """The message of our own error, which says what to do; of the innermost where none is ours. Without Dagster's wrapping."""
    text = ""
    while error is not None and not text.startswith("audit_pipeline."):
        text = str(getattr(error, "message", error) or "").strip()
        error = getattr(error, "cause", None)
    return text.split(": ", 1)[-1] if text.startswith(("dagster.", "audit_pipeline.")) else text
