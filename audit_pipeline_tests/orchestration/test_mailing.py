"""Who mails: a schedule and `--send`. A backfill from the UI, a run without `--send` and a recomputation write the mail and send nothing."""

from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.orchestration.build import build_definitions
from audit_pipeline.orchestration.home import instance
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import mailbox
from audit_pipeline_tests.support.project import Project

DAY = trail.DAYS[0]


def _run(project: Project, job: str, **tags: Any) -> None:
    result = build_definitions(project.settings).resolve_job_def(job).execute_in_process(
        instance=instance(project.settings), partition_key=DAY.isoformat(), tags=tags, raise_on_error=True
    )  # fmt: skip
    assert result.success


@pytest.mark.slow
def test_only_a_schedule_or_send_mails_and_that_once(tmp_path: Path) -> None:
    with mailbox() as box:
        project = Project.make(tmp_path / "project", **box.keys)
        trail.write_days(project.logs)
        _run(project, "nightly", **{"dagster/backfill": "abcdefgh"})
        _run(project, "recompute")
        assert project.cli("run", "--date", DAY).code in (0, 1)
        assert box.messages == []
        (written,) = project.lake.glob(f"reports/daily/{DAY}/1/mail/all.eml")
        assert b"written only" in written.read_bytes()
        _run(project, "nightly", **{"dagster/schedule_name": "nightly"})
        assert len(box.messages) == 1
        _run(project, "nightly", **{"dagster/schedule_name": "nightly"})
        _run(project, "nightly", **{"audit_pipeline/send": "true"})
        assert len(box.messages) == 1, "never twice"
