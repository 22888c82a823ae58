"""A source that fails beside a healthy one: report and mail name it, the run fails after the mail, the other source is whole."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from audit_pipeline.orchestration.assets.reports import FAILED_AFTER_MAIL
from audit_pipeline.orchestration.home import instance
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import mailbox
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import Project
from audit_pipeline_tests.support.rights import bound_by_modes

SOURCES = {"healthy": "healthy/**/*.json.gz", "sick": "sick/**/*.json.gz"}
FIRST, SECOND, THIRD = trail.DAYS


def verdicts(project: Project) -> dict[tuple[str, str], str]:
    rows = project.query("SELECT source, day, verdict, reasons::VARCHAR AS reasons FROM completeness")
    return {(row["source"], row["day"]): row["verdict"] + row["reasons"] for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["vanished", "unreadable"])
def test_a_failing_source(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bound_by_modes()
    with mailbox() as box:
        project = Project.make(tmp_path / "project", SOURCES, **box.keys)
        for name in SOURCES:
            trail.write_days(project.root / name, prefix=name)
        night(project.settings, FIRST)
        good = [row for row in project.content() if row[0] == "healthy"]

        sick = project.root / "sick"
        if how == "vanished":
            sick.rename(project.root / "elsewhere")
        else:
            sick.chmod(0)
        try:
            code, told = tried(project, how, before)
        finally:
            if how == "vanished":
                (project.root / "elsewhere").rename(sick)
            else:
                sick.chmod(0o755)

        assert code == (1 if how == "vanished" else 0), told  # the boxes alone never fail for it
        assert "Traceback" not in told
        found = verdicts(project)
        assert found["sick", str(SECOND)].startswith(("missing", "partial"))
        assert found["healthy", str(SECOND)].startswith("unknown"), "a source's second day"
        healthy = [row for row in project.content() if row[0] == "healthy"]
        assert {row[1]: row[2] for row in healthy} == {FIRST: 192, SECOND: 202}
        assert len(good) == 1
        (mail,) = box.messages
        page = (project.lake / f"reports/daily/{SECOND}/1/report.html").read_text(encoding="utf-8")
        body = mail.get_body(("plain",))
        assert body is not None
        assert "sick" in body.get_content()
        assert "sick" in page
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        if how == "vanished":
            assert "sick" in told
            _recorded_as_failed_after_the_mail(project)

        night(project.settings, THIRD)
    sources = {name: [row[1:3] for row in project.content() if row[0] == name] for name in SOURCES}
    assert sources["sick"] == sources["healthy"] == [(FIRST, 192), (SECOND, 204), (THIRD, 192)]
    assert verdicts(project)["sick", str(THIRD)].startswith(("no_gap_seen", "unknown"))
    assert project.problems() == []


def tried(project: Project, how: str, before: list[str]) -> tuple[int, str]:
    """The second night: one of the two through the command line and Dagster, the other through the boxes; code and what was said."""
    if how == "vanished":
        said = project.cli("run", "--date", SECOND, "--send")
        return said.code, said.text
    child = project.boxes(SECOND, before)
    out, err = child.communicate(timeout=120)
    return child.returncode, out + err


def _recorded_as_failed_after_the_mail(project: Project) -> None:
    """Dagster's history: `raw/sick` went through, the mail's step failed after its materialization."""
    with instance(project.settings) as history:
        runs = [run for run in history.get_runs() if run.job_name == "nightly"]
        assert [run.tags["dagster/partition"] for run in runs] == [str(SECOND)]
        failed = [
            entry.dagster_event for entry in history.all_logs(runs[0].run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        ]
        made = [
            entry.dagster_event
            for entry in history.all_logs(runs[0].run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        ]
        keys = {event.asset_key.to_user_string() for event in made if event and event.asset_key}
        assert {"raw/sick", "raw/healthy", "events/sick", "events/healthy", "report/daily", "mail/daily"} <= keys
        assert runs[0].status == dg.DagsterRunStatus.FAILURE
        assert [event.step_key for event in failed if event] == ["mail__daily"]
        assert FAILED_AFTER_MAIL in str(failed)
