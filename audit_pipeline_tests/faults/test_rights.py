"""What cannot be read or written: a sentence with the place and the remedy, never a traceback; what was there stays; mended, it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import Project, command
from audit_pipeline_tests.support.rights import bound_by_modes
from audit_pipeline_tests.support.shared import done, mine

__all__ = ["done", "mine"]
DAY = trail.DAYS[-1]
READ = ("query", "SELECT count(*) FROM events")
RUN = ("run", "--date", DAY)


def folders(root: Path) -> list[Path]:
    return [root, *(path for path in root.rglob("*") if path.is_dir())]


def events(project: Project) -> list[Path]:
    return list(project.lake.glob("events/*/*/events.parquet"))


@pytest.mark.parametrize(
    ("args", "places", "mode", "code", "says"),
    [
        (READ, lambda p: [p.root / "pipeline.yaml"], 0, 2, "pipeline.yaml: cannot be read"),
        (READ, lambda p: [p.lake], 0, 1, "lake: cannot be made or written"),
        (READ, events, 0, 1, "events.parquet"),
        (("verify",), lambda p: list(p.lake.glob("raw/*/manifest/*.json")), 0, 1, "00000001.json"),
        (("verify",), lambda p: list(p.lake.glob("raw/*/*/*.segment")), 0, 1, ".segment"),
        (("status",), lambda p: list(p.lake.glob("reports/*/*/*/manifest.json")), 0, 1, "manifest.json"),
        (("findings", "list"), lambda p: [p.root / "state.db"], 0, 1, "state.db: cannot be opened"),
        (("findings", "list"), lambda p: list(p.lake.glob("detections/*/*.parquet")), 0, 1, "detections.parquet"),
        (("report", "daily", "--date", DAY), lambda p: folders(p.lake), 0o555, 1, "lake: cannot be"),
        (RUN, lambda p: folders(p.lake), 0o555, 1, "lake: cannot be written (Permission denied"),
        (RUN, lambda p: [p.root], 0o555, 1, ".dagster: Dagster's history cannot be kept there"),
        (("init", "sub"), lambda p: [p.root], 0o555, 1, "sub: cannot be written"),
        (("parse", "cloudtrail", "pipeline.yaml"), lambda p: [p.root / "pipeline.yaml"], 0, 2, "Permission denied"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_said(
    args: tuple[object, ...], places: Callable[[Project], list[Path]], mode: int, code: int, says: str, mine: Project
) -> None:
    before = bound_by_modes()
    content = mine.content()
    found = places(mine)
    modes = {path: path.stat().st_mode for path in found}
    assert found
    for path in reversed(found):
        path.chmod(mode)
    try:
        said = mine.cli(*args, before=before)
    finally:
        for path in found:
            path.chmod(modes[path])
    assert (said.code, says in said.text) == (code, True), said.text
    assert said.err
    assert mine.content() == content
    assert mine.problems() == []


@pytest.mark.slow
def test_a_file_and_a_folder_of_logs_that_cannot_be_read(done: Project, tmp_path: Path) -> None:
    before = bound_by_modes()
    project = Project.make(tmp_path / "project")
    trail.write_days(project.logs)
    file = min(project.logs.rglob("*T0105Z*.gz"))
    folder = file.parent.parent / "03"
    file.chmod(0)
    folder.chmod(0)
    try:
        said = project.cli("run", "--date", trail.DAYS[0], before=before)
    finally:
        file.chmod(0o644)
        folder.chmod(0o755)
    assert said.code == 1
    assert "folder cannot be read" in said.out
    (row,) = project.query("SELECT verdict, events, reasons::VARCHAR AS reasons FROM completeness")
    assert (row["verdict"], row["events"]) == (
        "partial",
        str(192 - 8 - 8 - 2),
    )  # the file, 23:00 in the folder, two late ones
    assert f"{folder}: folder cannot be read" in row["reasons"]
    assert [found["member"] for found in project.query("SELECT member FROM rejects")] == [str(file)]

    for day in trail.DAYS[1:]:
        night(project.settings, day)
    assert project.content() == done.content()
    assert project.problems() == []


def test_a_lake_on_a_file_is_said(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project", lake="./pipeline.yaml")
    said = project.cli(*RUN)
    assert (said.code, "lake" in said.err) == (1, True)


def test_a_configuration_that_is_a_folder(tmp_path: Path) -> None:
    said = command("-c", tmp_path, "check", cwd=tmp_path)
    assert (said.code, "cannot be read" in said.err) == (2, True)
