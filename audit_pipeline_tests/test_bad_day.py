"""A day on which one source is broken, one silent for six busy hours, one late: every place that tells of it says each rightly.

And the way back: what was missing is collected again, the day is computed again, and the next mail says what that changed.
"""

from __future__ import annotations

import datetime as dt
import json
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit_pipeline.orchestration.home import instance
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import mailbox
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import Project

DAYS = [dt.date(2025, 6, 2) + dt.timedelta(days=n) for n in range(10)]
BAD = DAYS[7]
SOURCES = {name: f"{name}/**/*.json.gz" for name in ("broken", "late", "silent", "well")}
SILENT_HOURS = range(9, 15)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Seven good nights, and the logs of the eighth day as they were that night."""
    project = Project.make(tmp_path_factory.mktemp("bad") / "project", SOURCES, reports={"daily": {"to": ["all@example.com"]}})  # fmt: skip
    for name in SOURCES:
        trail.write_days(project.root / name, DAYS, prefix=name)
    (project.root / "aside").mkdir()
    for file in _files(project, "broken", BAD, range(3)):  # else the night before would have them: it is at 03:00
        file.rename(project.root / "aside" / file.name)
    for day in DAYS[:7]:
        night(project.settings, day)
    (project.root / "broken").rename(project.root / "elsewhere")
    for file in _files(project, "silent", BAD, SILENT_HOURS):
        file.rename(project.root / "aside" / file.name)
    for file in _files(project, "late", BAD, range(14, 24)):  # delivered two days later, by their names
        later = trail.at(BAD + dt.timedelta(days=2), 1, int(file.name[-9:-8]))
        target = project.root / "late" / trail.name(later, f"Later{file.name[-20:-8]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    return project


def _files(project: Project, source: str, day: dt.date, hours: range) -> list[Path]:
    """The files of a day's hours, which were delivered 65 minutes after each hour began."""
    wanted = [trail.at(day, 0) + dt.timedelta(hours=hour, minutes=65) for hour in hours]
    return [project.root / source / trail.name(at, f"{source}File{hour:012}") for at, hour in zip(wanted, hours, strict=True)]  # fmt: skip


def _verdicts(project: Project, day: dt.date) -> dict[str, tuple[str, set[str]]]:
    rows = project.query(f"SELECT source, verdict, list_transform(reasons, lambda r: r.code)::VARCHAR AS codes FROM completeness WHERE day = DATE '{day}'")  # fmt: skip
    return {row["source"]: (row["verdict"], set(row["codes"].strip("[]").replace(" ", "").split(","))) for row in rows}


def _page(project: Project, day: dt.date, edition: int) -> str:
    return (project.lake / f"reports/daily/{day}/{edition}/report.html").read_text(encoding="utf-8")


def _mail(project: Project, day: dt.date) -> str:
    newest = max(project.lake.glob(f"reports/daily/{day}/*/mail/all.eml"))
    message = message_from_bytes(newest.read_bytes(), policy=policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    return f"{message['Subject']}\n{body.get_content()}"


def _kpis(project: Project, day: dt.date) -> list[dict[str, Any]]:
    said = project.cli("query", f"SELECT kpi_id, scope, value, state, verdict FROM kpis WHERE CAST(start AS DATE) = DATE '{day}' AND period = '{day}'", "--format", "json")  # fmt: skip
    assert said.code == 0, said.text
    return [json.loads(line) for line in said.out.splitlines()]


@pytest.mark.slow
def test_a_bad_day_and_the_way_back(prepared: Project) -> None:
    with mailbox() as box:
        with (prepared.root / "pipeline.yaml").open("a", encoding="utf-8") as config:
            config.write(f"smtp: {{host: 127.0.0.1, port: {box.port}, from: audit@example.com}}\n")
        _bad_day(prepared)
        _way_back(prepared)
    assert len(box.messages) == 3, "one a night; a correction is no mail of its own"


def _bad_day(project: Project) -> None:
    said = project.cli("run", "--date", BAD, "--send", timeout=240)
    assert said.code == 1, said.text
    found = _verdicts(project, BAD)
    assert found["broken"][0] == "missing"
    assert "collection_failed" in found["broken"][1]
    assert found["silent"][0] == "partial"
    assert "silent" in found["silent"][1]
    assert found["late"][0] == "partial"
    assert found["well"][0] == "no_gap_seen"

    status = project.cli("status")
    page, mail = _page(project, BAD, 1), _mail(project, BAD)
    for name in ("broken", "silent", "late"):
        assert name in said.out
        assert name in status.text
        assert name in page
        assert name in mail, mail
    assert "provisional" in page or "missing" in page
    assert mail.startswith(("[BAD]", "[ATTENTION]"))
    assert "3 sources incomplete" in mail.splitlines()[0]
    for kpi in _kpis(project, BAD):
        if kpi["scope"] == "source:broken":
            assert kpi["value"] is None or kpi["kpi_id"] in ("completeness", "coverage"), kpi
        if kpi["kpi_id"] != "reviews_on_time":  # that none was delivered in time is seen, whatever the sources gave
            assert not (kpi["value"] == 0 and kpi["verdict"] == "missing"), f"0 for what was not seen: {kpi}"
    assert _failed_checks(project)


def _way_back(project: Project) -> None:
    """The folder is there again, the hours were found, the late files arrive."""
    page = _page(project, BAD, 1)
    (project.root / "elsewhere").rename(project.root / "broken")
    for file in (project.root / "aside").iterdir():
        both = [*_files(project, "silent", BAD, SILENT_HOURS), *_files(project, "broken", BAD, range(3))]
        file.rename(next(path for path in both if path.name == file.name))
    project.cli("run", "--from", DAYS[8], "--to", DAYS[9], "--send", timeout=300)
    healed = _verdicts(project, BAD)
    assert {name: verdict for name, (verdict, _) in healed.items()} == {
        "broken": "no_gap_seen", "silent": "no_gap_seen", "late": "no_gap_seen", "well": "no_gap_seen",
    }, healed  # fmt: skip
    counts = project.query(f"SELECT x_source, count(*) AS n, count(DISTINCT metadata_uid) AS d FROM events WHERE day = DATE '{BAD}' GROUP BY 1")  # fmt: skip
    assert {row["x_source"]: (row["n"], row["d"]) for row in counts} == dict.fromkeys(SOURCES, ("192", "192"))
    editions = sorted(int(path.parent.name) for path in project.lake.glob(f"reports/daily/{BAD}/*/report.json"))
    assert len(editions) >= 2
    assert editions[0] == 1, "the first edition is kept"
    assert _page(project, BAD, 1) == page
    told = _mail(project, DAYS[9])
    assert str(BAD) in told, f"the next mail tells of the correction: {told}"
    assert project.problems() == []


def _failed_checks(project: Project) -> list[str]:
    """Checks of the last nightly run that did not pass, as Dagster keeps them."""
    history = instance(project.settings)
    run = history.get_runs(dg.RunsFilter(job_name="nightly"), limit=1)[0]
    logs = history.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]
    return [one.check_name for one in found if not one.passed]
