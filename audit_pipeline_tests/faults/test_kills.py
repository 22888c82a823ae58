"""SIGKILL at many moments of a night: the next run heals it, nothing is lost, nothing is there twice.

The night that is killed is the third of `trail.DAYS`: it brings new records, and late ones of the day before. It is compared with
the same nights undisturbed.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from audit_pipeline.evidence import verify_all
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.state import deliveries, open_state
from audit_pipeline_tests.support import child, killer, trail
from audit_pipeline_tests.support.killer import POINTS
from audit_pipeline_tests.support.mailbox import Mailbox, mailbox
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import CONTENT, Project

KILLED = trail.DAYS[2]
TOUCHED = trail.DAYS[1]
_EDITION = {"completeness": "edition"}
Tables = dict[str, list[Any]]


def tables(project: Project) -> Tables:
    """What all tables say, without the edition."""
    con = connect(Lake.open(str(project.lake)))
    try:
        found: Tables = {"events": con.execute(CONTENT).fetchall()}
        for name in ("rejects", "completeness", "detections", "kpis"):
            without = f"EXCLUDE ({_EDITION[name]})" if name in _EDITION else ""
            found[name] = con.execute(f"SELECT * {without} FROM {name} ORDER BY ALL").fetchall()
        found["accounting"] = con.execute(
            "SELECT day, sum(x_records)::BIGINT, sum(x_duplicates)::BIGINT FROM events GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        return found
    finally:
        con.close()


def newest_report(project: Project, day: Any) -> bytes:
    """The newest whole edition of a day's report."""
    files = sorted(
        (project.lake / "reports" / "daily" / str(day)).glob("*/report.json"), key=lambda p: int(p.parent.name)
    )
    return files[-1].read_bytes()


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    """One mail server for all."""
    with mailbox() as found:
        yield found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, box: Mailbox) -> Project:
    """Two nights done, the third to come."""
    project = Project.make(tmp_path_factory.mktemp("kills") / "project", **box.keys)
    assert trail.write_days(project.logs) == 588
    for day in trail.DAYS[:2]:
        night(project.settings, day)
    return project


@pytest.fixture(scope="module")
def undisturbed(before: Project) -> Tables:
    """All three nights without a disturbance."""
    project = copy_of(before, before.root.parent / "undisturbed")
    night(project.settings, KILLED)
    found = tables(project)
    assert sum(row[2] for row in found["events"]) == 588
    assert len(found["completeness"]) == 3
    assert found["detections"]
    return found


def copy_of(project: Project, root: Path) -> Project:
    """A copy in another folder, with logs of the same names (the evidence names them by path): moved by a link."""
    shutil.copytree(project.root, root, symlinks=True)
    text = (root / "pipeline.yaml").read_text(encoding="utf-8")
    (root / "pipeline.yaml").write_text(text.replace("logs/**", f"{project.logs}/**"), encoding="utf-8")
    return Project(root)


def kill(project: Project, point: str) -> None:
    """Run the night in a child that dies at the point."""
    args = (point, "night", str(project.root / "pipeline.yaml"), KILLED.isoformat(), "send")
    code, _, err = child.run(killer.main, args, project.root, os.environ, timeout=120)
    assert code == -signal.SIGKILL, err.decode()


def recorded(project: Project) -> list[Any]:
    """What is on record about mails."""
    engine = open_state(project.settings.state_url_resolved)
    try:
        with engine.connect() as connection:
            return list(connection.execute(sa.select(deliveries)).all())
    finally:
        engine.dispose()


PARTIAL: dict[str, Callable[[Project], object]] = {
    "segment staged": lambda p: p.leftovers(),
    "segment published, no entry": lambda p: segments(p) == 3 and entries(p) == 2,
    "entry created": lambda p: entries(p) == 3 and markers(p) == 2,
    "one index file of two": lambda p: len(list(p.lake.glob("index/*/*/00000003.parquet"))) == 1 and markers(p) == 2,
    "index marker": lambda p: markers(p) == 3 and not table(p, "events", KILLED),
    "events staged": lambda p: p.leftovers() and not table(p, "events", KILLED),
    "events published, rejects not": lambda p: table(p, "events", KILLED) and not table(p, "rejects", KILLED),
    "rejects published": lambda p: table(p, "rejects", KILLED) and not table(p, "completeness", KILLED),
    "completeness published": lambda p: table(p, "completeness", KILLED) and not table(p, "detections", KILLED),
    "kpis published": lambda p: table(p, "kpis", KILLED) and not list(p.lake.glob(f"reports/daily/{KILLED}/*")),
    "page before report.json": lambda p: (
        [f.name for f in p.lake.glob(f"reports/daily/{KILLED}/1/*")] == ["report.html"]
    ),
    "intent stored, mail not sent": lambda p: [row.outcome for row in recorded(p)] == [None],
    "mail sent, outcome not stored": lambda p: [row.outcome for row in recorded(p)] == [None],
    "late day: events published": lambda p: [row.outcome for row in recorded(p)] == ["accepted"],
}
"""What a kill must leave half done; a point that leaves nothing would prove nothing."""


def segments(project: Project) -> int:
    return len(list(project.lake.glob("raw/trail/*/*.segment")))


def entries(project: Project) -> int:
    return len(list(project.lake.glob("raw/trail/manifest/*.json")))


def markers(project: Project) -> int:
    return len(list(project.lake.glob("index/source=trail/*.json")))


def table(project: Project, name: str, day: Any) -> bool:
    return bool(list(project.lake.glob(f"{name}/**/day={day}/*.parquet")))


@pytest.mark.parametrize("point", POINTS)
def test_killed_night_heals(point: str, before: Project, undisturbed: Tables, box: Mailbox, tmp_path: Path) -> None:
    sent_before = len(box.messages)
    project = copy_of(before, tmp_path / "project")
    kill(project, point)
    assert PARTIAL[point](project), "the kill left nothing half done"

    night(project.settings, KILLED, send=True)

    assert tables(project) == undisturbed
    problems, told = verify_all(project.settings)
    assert problems == [], told
    assert project.leftovers() == []
    for day in (TOUCHED, KILLED):
        assert newest_report(project, day)
    _mailed_and_recorded(project, box.messages[sent_before:], point)


def _mailed_and_recorded(project: Project, mails: list[Any], point: str) -> None:
    """At most twice, and then with the same Message-ID, and the record says so."""
    (row,) = recorded(project)
    twice = point == "mail sent, outcome not stored"
    assert len(mails) == (2 if twice else 1)
    assert {mail["Message-ID"] for mail in mails} == {row.message_id}
    assert row.outcome == "accepted"
    assert ("sent again" in row.detail) == (point in ("intent stored, mail not sent", "mail sent, outcome not stored"))


def test_a_point_for_each_kind_of_half_done_state() -> None:
    assert set(PARTIAL) == set(POINTS)
    assert len(POINTS) >= 10
