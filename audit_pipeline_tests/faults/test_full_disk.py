"""A disk that is full, at several moments of a night: it is said, nothing half written stays, and with room the next run heals."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_pipeline.errors import LakeError
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import Project
from audit_pipeline_tests.support.shared import done

__all__ = ["done"]
PAGE = 4096


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted: a full disk needs a small one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Take all room but `free` bytes."""
    ballast = folder / "ballast"
    ballast.write_bytes(b"\xff" * (shutil.disk_usage(folder).free - free - PAGE))
    return ballast


def project_on(small: Path, tmp_path: Path) -> Project:
    project = Project.make(tmp_path / "project", lake=str(small / "lake"))
    trail.write_days(project.logs)
    return project


def healed(project: Project, small: Path, done: Project) -> None:
    for day in trail.DAYS:
        night(project.settings, day)
    there = Project(small)  # the lake lies below it under its usual name
    assert there.content() == done.content()
    assert there.leftovers() == []
    assert project.problems() == []


@pytest.mark.parametrize("free", [5, 40], ids=lambda pages: f"{pages} pages")
def test_no_room(free: int, small: Path, tmp_path: Path, done: Project) -> None:
    project = project_on(small, tmp_path)
    night(project.settings, trail.DAYS[0])
    before = {path: path.read_bytes() for path in (small / "lake").rglob("*") if path.is_file()}
    ballast = fill(small, free * PAGE)
    with pytest.raises(LakeError, match="Make room or mend the rights, then run again: nothing is lost"):
        night(project.settings, trail.DAYS[1])
    evidence = {path: data for path, data in before.items() if path.is_relative_to(small / "lake" / "raw")}
    assert evidence
    assert {path: path.read_bytes() for path in evidence} == evidence
    # a segment without an entry was never acknowledged: named until the next collection, and nothing worse
    assert {problem["problem"] for problem in project.problems()} <= {"unlisted_segment"}
    ballast.unlink()
    healed(project, small, done)


@pytest.mark.slow
def test_no_room_on_the_command_line(small: Path, tmp_path: Path, done: Project) -> None:
    project = project_on(small, tmp_path)
    ballast = fill(small, 30 * PAGE)
    said = project.cli("run", "--date", trail.DAYS[0])
    assert said.code == 1
    assert "No space left on device" in said.err
    assert "Make room" in said.err
    ballast.write_bytes(b"\xff" * (ballast.stat().st_size + shutil.disk_usage(small).free))
    full = project.cli("run", "--date", trail.DAYS[0])
    assert (full.code, "cannot be written (No space left on device; 0 MiB free)" in full.err) == (1, True), full.text
    assert full.out == ""
    ballast.unlink()
    healed(project, small, done)
