"""SIGKILL in the middle of a run through Dagster: its history opens, says what was made and what was not, and the next run heals both.

The boxes' own kill points are in `test_kills`; here three of them, one a stage, with Dagster around.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from audit_pipeline.orchestration import orphans
from audit_pipeline.orchestration.home import instance
from audit_pipeline_tests.faults.test_kills import KILLED, PARTIAL, Tables, before, box, copy_of, tables, undisturbed
from audit_pipeline_tests.support import child, killer
from audit_pipeline_tests.support.mailbox import Mailbox
from audit_pipeline_tests.support.project import Project

__all__ = ["before", "box", "undisturbed"]
STAGES = ("raw/trail", "events/trail", "completeness", "detections", "kpis", "report/daily", "mail/daily")
DEATHS = {
    "segment published, no entry": "raw/trail",
    "events staged": "events/trail",
    "page before report.json": "report/daily",
}
"""Kill point to the stage that dies: the stages before it are materialised, it and those after it are not."""


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """`instance` sets both for this process."""
    for name in ("DAGSTER_HOME", "AUDIT_PIPELINE_CONFIG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def materialised(project: Project) -> set[str]:
    """The stages that Dagster's history holds for the day."""
    with instance(project.settings) as history:
        return {
            stage
            for stage in STAGES
            if KILLED.isoformat() in history.get_materialized_partitions(dg.AssetKey(stage.split("/")))
        }


def sound(project: Project) -> bool:
    """Whether SQLite finds each of Dagster's databases whole."""
    files = list((project.root / ".dagster").rglob("*.db"))
    assert files
    for file in files:
        with closing(sqlite3.connect(file)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("point", DEATHS)
def test_a_killed_run_heals(point: str, before: Project, undisturbed: Tables, box: Mailbox, tmp_path: Path) -> None:
    sent_before = len(box.messages)
    project = copy_of(before, tmp_path / "project")
    night = ("run", "--date", KILLED.isoformat(), "--send")
    code, _, err = child.run(killer.main, (point, "cli", *night), project.root, os.environ, timeout=120)
    assert code == -signal.SIGKILL, err.decode()
    assert PARTIAL[point](project), "the kill left nothing half done"
    assert sound(project)
    assert materialised(project) == set(STAGES[: STAGES.index(DEATHS[point])])
    assert box.messages[sent_before:] == []

    said = project.cli(*night)

    assert "FAILED" not in said.text
    assert tables(project) == undisturbed
    assert materialised(project) == set(STAGES)
    assert sound(project)
    assert len(box.messages[sent_before:]) == 1
    assert project.problems() == []
    assert project.leftovers() == []
    with instance(project.settings) as history:
        runs = [run for run in history.get_runs() if run.job_name == "nightly"]
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
        assert history.event_log_storage.get_concurrency_run_ids() == set(), "a place in a pool is held for ever"


def test_a_run_whose_process_lives_is_left_alone(before: Project, tmp_path: Path) -> None:
    """The other half: whoever takes every open run for dead ends the run of a process that is at work."""
    project = copy_of(before, tmp_path / "project")
    with instance(project.settings) as history:
        tag, lock = orphans.sign_of_life(history)
        run = dg.DagsterRun(job_name="nightly", tags=tag, status=dg.DagsterRunStatus.STARTED)
        foreign = dg.DagsterRun(job_name="nightly", status=dg.DagsterRunStatus.STARTED)
        for one in (run, foreign):
            history.add_run(one)
        assert orphans.bury(history) == []
        assert len(list((project.root / ".dagster" / "runners").iterdir())) == 1
        lock.release()
        assert orphans.bury(history) == [run.run_id]
        assert orphans.bury(history) == []
        assert list((project.root / ".dagster" / "runners").iterdir()) == []
        states = {found.run_id: found.status for found in history.get_runs()}
        assert states == {
            run.run_id: dg.DagsterRunStatus.FAILURE,
            foreign.run_id: dg.DagsterRunStatus.STARTED,
        }
