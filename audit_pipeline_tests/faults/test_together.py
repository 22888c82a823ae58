"""Two runs at once on one lake, also the very first ones: both end well, nothing is lost, nothing is there or mailed twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.errors import BusyError
from audit_pipeline.lake.store import Lake
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import mailbox
from audit_pipeline_tests.support.project import Project, checked

FIRST = trail.DAYS[0]


@pytest.mark.slow
def test_two_first_runs_at_once(tmp_path: Path) -> None:
    with mailbox() as box:
        project = Project.make(tmp_path / "project", **box.keys)
        trail.write_days(project.logs)
        children = [project.start("run", "--date", FIRST, "--send") for _ in range(2)]
        said = []
        for child in children:
            out, err = child.communicate(timeout=120)
            said.append(checked(child.returncode, out, err))
    assert [(one.code, one.err) for one in said] == [(0, ""), (0, "")]
    assert project.query("SELECT count(*) AS n, sum(x_records) AS records FROM events") == [
        {"n": "190", "records": "190"}
    ]
    assert len(box.messages) == 1
    assert project.query("SELECT outcome FROM deliveries") == [{"outcome": "accepted"}]
    members = [member["sha256"] for entry in entries(project) for member in entry["members"]]
    assert len(members) == len(set(members)) > 20
    assert [entry["sequence"] for entry in entries(project)] == [1, 2]
    assert [file.parent.name for file in project.lake.glob("reports/daily/*/*/report.json")] == ["1"]
    assert project.problems() == []
    assert project.leftovers() == []


def entries(project: Project) -> list[dict[str, Any]]:
    """The chain as plain JSON."""
    return [json.loads(file.read_bytes()) for file in sorted(project.lake.glob("raw/trail/manifest/*.json"))]


@pytest.mark.slow
def test_a_run_waits_for_another(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    trail.write_days(project.logs)
    with Lake.open(str(project.lake)).lock():
        waiting = project.boxes(FIRST)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
        assert entries(project) == []
    out, err = waiting.communicate(timeout=120)
    assert checked(waiting.returncode, out, err).code == 0
    assert len(entries(project)) == 1


def test_a_wait_that_takes_too_long_is_said(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"))
    with lake.lock(), pytest.raises(BusyError, match="another run has been writing"), lake.lock(timeout_s=0.2):
        raise AssertionError("two hold the lock")
