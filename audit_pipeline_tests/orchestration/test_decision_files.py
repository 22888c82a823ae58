"""A night takes decisions in from files, once each, and what it could not take in is told in Dagster."""

from pathlib import Path

import dagster as dg
import pytest

from audit_pipeline.findings import decisions
from audit_pipeline.findings.commands import list_findings
from audit_pipeline.orchestration.build import build_definitions
from audit_pipeline.orchestration.home import instance
from audit_pipeline.state import open_state
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.project import Project


@pytest.mark.slow
def test_a_night_takes_decisions_in_once_and_names_what_it_could_not(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    trail.write_days(project.logs)
    assert project.cli("run", "--from", trail.DAYS[0], "--to", trail.DAYS[-1]).code in (0, 1)
    found = list_findings(project.settings)[0]
    folder = project.settings.root / project.settings.decisions.folder
    folder.mkdir()
    entry = f"- {{finding: {found['finding_id'][:12]}, action: acknowledge, person: ana, reason: looking into it}}\n"
    (folder / "team.yaml").write_text(
        entry + "- {finding: ffffffffff, action: acknowledge, person: ana}\n", encoding="utf-8"
    )
    for _ in range(2):
        result = build_definitions(project.settings).resolve_job_def("nightly").execute_in_process(
            instance=instance(project.settings), partition_key=trail.DAYS[-1].isoformat(), raise_on_error=False
        )  # fmt: skip
        (told,) = result.asset_materializations_for_node("decision_files")
        shown = told.metadata["not taken in"]
        assert isinstance(shown, dg.TableMetadataValue)
        assert [(row.data["file"], row.data["line"]) for row in shown.records] == [("team.yaml", 2)]
    engine = open_state(project.settings.state_url_resolved)
    try:
        assert [(one.action, one.person) for one in decisions.read(engine)] == [("acknowledge", "ana")]
    finally:
        engine.dispose()
    assert {row["state"] for row in list_findings(project.settings) if row["finding_id"] == found["finding_id"]} == {
        "acknowledged"
    }
