"""Results that several test modules start from, made once a session. Fixtures: import them where they are used.

Belongs here: projects that nothing has disturbed. Tests that change one work on a copy.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import Project


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """`trail.DAYS` done night by night, without Dagster and without mail server."""
    project = Project.make(tmp_path_factory.mktemp("done") / "project")
    assert trail.write_days(project.logs) == 588
    for day in trail.DAYS:
        night(project.settings, day)
    return project


@pytest.fixture
def mine(done: Project, tmp_path: Path) -> Project:
    """A copy that a test may break; its logs are a copy too."""
    return Project(Path(shutil.copytree(done.root, tmp_path / "project", symlinks=True)))
