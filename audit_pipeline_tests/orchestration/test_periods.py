"""A week's end makes its report, through Dagster, by the command line: written, mailed once, found by the UI's asset."""

import datetime as dt
from pathlib import Path

import pytest

from audit_pipeline.orchestration.home import instance
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import mailbox
from audit_pipeline_tests.support.project import Project, days

SUNDAY = trail.DAYS[0] - dt.timedelta(days=1)


@pytest.mark.slow
def test_the_night_of_a_periods_last_day_makes_its_report(tmp_path: Path) -> None:
    with mailbox() as box:
        reports = {"reports": {kind: {"to": [f"{kind}@example.com"]} for kind in ("daily", "weekly", "monthly")}}
        project = Project.make(tmp_path / "project", start=SUNDAY - dt.timedelta(days=1), **{**box.keys, **reports})
        trail.write_days(project.logs)
        said = project.cli("run", *days(SUNDAY - dt.timedelta(days=1), SUNDAY), "--send", timeout=200)
        assert "weekly" in said.out, said.text
        assert "monthly" in said.out, "the day before was the last of May"
        (week,) = sorted(path.parent.parent.name for path in project.lake.glob("reports/weekly/*/1/report.json"))
        year, number, _ = SUNDAY.isocalendar()
        assert week == f"{year}-W{number:02}"
        mailed = [message for message in box.messages if "weekly@example.com" in str(message["To"])]
        assert len(mailed) == 1
        again = project.cli("run", "--date", SUNDAY, "--send", timeout=200)
        assert again.code in (0, 1), again.text
        assert len([one for one in box.messages if "weekly@example.com" in str(one["To"])]) == 1, (
            "nothing printed changed"
        )
        assert len(list(project.lake.glob("reports/weekly/*/*/report.json"))) == 1
        assert [path.parent.parent.name for path in project.lake.glob("reports/monthly/*/1/report.json")] == ["2025-05"]
    history = instance(project.settings)
    assert {run.job_name for run in history.get_runs()} >= {"nightly", "weekly", "monthly"}
    assert project.problems() == []
