"""What the daemon watches: missed nights, crashed checks, failed runs without end, old runs."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import jobs, sensors
from audit_pipeline.orchestration.build import build_definitions
from audit_pipeline.settings import Settings

NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}}) as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(sensors, "SystemClock", lambda: SimulatedClock(NOW))
    return Settings.from_text(
        "start: 2026-03-06\nsources: {one: {type: files, format: cloudtrail, paths: [x]}}\n", tmp_path / "pipeline.yaml"
    )


def _requested(settings: Settings, instance: dg.DagsterInstance) -> dict[str, bool]:
    """Days that are asked for, and whether their mail is sent."""
    job = build_definitions(settings).get_repository_def().get_job("nightly")
    sensor = sensors.missed_nights_sensor(settings, job)  # type: ignore[arg-type]
    context = dg.build_sensor_context(instance=instance, definitions=build_definitions(settings))
    found = sensor.evaluate_tick(context).run_requests or []
    return {str(one.partition_key): one.tags.get("audit_pipeline/send") == "true" for one in found}


def _computed(settings: Settings, day: str) -> None:
    Lake.open(settings.lake_url).write(f"completeness/day={day}/completeness.parquet", b"")


def test_missed_nights_are_run_and_only_a_young_one_is_mailed(settings: Settings, instance: dg.DagsterInstance) -> None:
    _computed(settings, "2026-03-07")
    assert _requested(settings, instance) == {"2026-03-06": False, "2026-03-08": False, "2026-03-09": True}


def test_a_night_that_is_not_due_or_under_way_is_left_alone(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = dt.datetime(2026, 3, 10, 3, 30, tzinfo=dt.UTC)
    monkeypatch.setattr(sensors, "SystemClock", lambda: SimulatedClock(early))
    job = build_definitions(settings).get_repository_def().get_job("nightly")
    instance.create_run_for_job(job, tags={"dagster/partition": "2026-03-08"}, status=dg.DagsterRunStatus.STARTED)
    assert set(_requested(settings, instance)) == {"2026-03-06", "2026-03-07"}


def test_a_night_that_ended_without_its_tables_is_tried_once_more(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(settings).get_repository_def().get_job("nightly")
    for ended in range(3):
        assert ("2026-03-08" in _requested(settings, instance)) == (ended < sensors.TRIES), ended
        instance.create_run_for_job(job, tags={"dagster/partition": "2026-03-08"}, status=dg.DagsterRunStatus.FAILURE)


@dg.op
def _nothing() -> None:
    """Does nothing."""


@dg.job
def trivial() -> None:
    """A run to count."""
    _nothing()


def test_old_finished_runs_are_pruned_and_young_ones_stay(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = [trivial.execute_in_process(instance=instance).run_id for _ in range(3)]
    open_run = instance.create_run_for_job(trivial, status=dg.DagsterRunStatus.STARTED).run_id
    young = settings.model_copy(update={"retention": settings.retention.model_copy(update={"runs": dt.timedelta(days=9)})})  # fmt: skip
    monkeypatch.setattr(jobs, "SystemClock", lambda: SimulatedClock(dt.datetime.now(dt.UTC)))
    jobs.prune(young).execute_in_process(instance=instance)
    assert {run.run_id for run in instance.get_runs()} >= {*ended, open_run}, "none is nine days old"
    monkeypatch.setattr(jobs, "SystemClock", lambda: SimulatedClock(dt.datetime.now(dt.UTC) + dt.timedelta(days=10)))
    jobs.prune(young).execute_in_process(instance=instance)
    left = {run.run_id for run in instance.get_runs()}
    assert open_run in left
    assert not left & set(ended)


class _Mailed(list[str]):
    def __call__(self, *_: Any, detail: str, **__: Any) -> str:
        self.append(detail)
        return "sent"


def _tell(settings: Settings, instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.SkipReason | None:
    context = dg.build_run_status_sensor_context(
        sensor_name="check_failure",
        dagster_instance=instance,
        dagster_run=run,
        dagster_event=dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name, message="over"),
    )
    found = sensors.check_failure_sensor(settings)(context)
    return found if isinstance(found, dg.SkipReason) else None


def _checked(state: str, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run whose one check ends so."""

    @dg.asset
    def thing() -> None:
        """Something to check."""

    @dg.asset_check(asset=thing)
    def judged() -> dg.AssetCheckResult:
        """Says what it is told to."""
        return dg.AssetCheckResult(passed=False, metadata={"state": state})

    return dg.materialize([thing, judged], instance=instance).dagster_run


@pytest.mark.parametrize(("state", "mails"), [("crashed", 1), ("fail", 0), ("not_evaluated", 0)])
def test_a_crashed_check_is_mailed_and_bad_data_is_the_reports_to_tell(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, state: str, mails: int
) -> None:
    mailed = _Mailed()
    monkeypatch.setattr(sensors, "mail_failure", mailed)
    skipped = _tell(settings, instance, _checked(state, instance))
    assert len(mailed) == mails
    assert all("judged" in text for text in mailed)
    assert (skipped is None) == bool(mails)


def test_failure_mails_end_before_a_mailbox_is_full(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailed = _Mailed()
    monkeypatch.setattr(sensors, "mail_failure", mailed)
    monkeypatch.setattr(sensors, "SystemClock", lambda: SimulatedClock(dt.datetime.now(dt.UTC)))
    for _ in range(sensors.MAILS_A_DAY + 3):
        _tell(settings, instance, _checked("crashed", instance))
        instance.create_run_for_job(trivial, status=dg.DagsterRunStatus.FAILURE)
    assert len(mailed) == sensors.MAILS_A_DAY + 1
    assert "last of" in mailed[-1]
    assert not any("last of" in text for text in mailed[:-1])
