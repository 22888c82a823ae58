"""What people decide after the as-of of a day does not enter that day, however late it is computed again."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.findings.commands import false_positive
from audit_pipeline.lake.store import Lake
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.night import night, recompute
from audit_pipeline_tests.support.project import Project
from audit_pipeline_tests.support.shared import done, mine

__all__ = ["done", "mine"]
BURST, NEXT = trail.DAYS[1], trail.DAYS[2]
SECOND = dt.timedelta(seconds=1)
TABLES = ("events", "rejects", "completeness", "detections", "kpis")


def report(project: Project, day: dt.date) -> dict[str, Any]:
    """The newest edition."""
    files = project.lake.glob(f"reports/daily/{day}/*/report.json")
    return dict(json.loads(max(files, key=lambda file: int(file.parent.name)).read_bytes()))


def editions(project: Project, day: dt.date) -> list[str]:
    return sorted(file.parent.name for file in project.lake.glob(f"reports/daily/{day}/*/report.json"))


def tables(project: Project, day: dt.date) -> dict[str, Any]:
    """The bytes of the day's tables; of the events every value of every row, as their order in the file is free."""
    found: dict[str, Any] = {}
    for name in TABLES:
        (file,) = project.lake.glob(f"{name}/**/day={day}/*.parquet")
        if name == "events":
            rows = pq.ParquetFile(file).read()
            found[name] = rows.sort_by([("x_segment", "ascending"), ("x_line", "ascending")]).to_pylist()
        else:
            found[name] = file.read_bytes()
    return found


def decide(project: Project, moment: dt.datetime) -> None:
    (finding,) = project.query("SELECT finding_id FROM findings")
    false_positive(
        project.settings, finding["finding_id"], reason="a test we ordered", person="kim", clock=SimulatedClock(moment)
    )


def again(project: Project, day: dt.date) -> None:
    recompute(project.settings, Lake.open(str(project.lake)), day)


def test_a_later_decision_does_not_enter_the_day(mine: Project) -> None:
    before, stored = report(mine, BURST), tables(mine, BURST)
    numbers = editions(mine, BURST)
    assert "a test we ordered" not in json.dumps(before)
    assert [one["state"] for one in before["findings"]] == ["open"]
    decide(mine, mine.settings.as_of(BURST) + SECOND)
    again(mine, BURST)
    assert tables(mine, BURST) == stored
    assert editions(mine, BURST) == numbers
    assert report(mine, BURST) == before
    again(mine, NEXT)  # the same decision was made before the next day's as-of: there it counts
    assert [one["state"] for one in report(mine, NEXT)["findings"]] != ["open"]


def test_an_earlier_decision_enters_it(mine: Project) -> None:
    """The other half: without it, a report that never looks at decisions would pass."""
    numbers = editions(mine, BURST)
    decide(mine, mine.settings.as_of(BURST) - SECOND)
    again(mine, BURST)
    assert [one["state"] for one in report(mine, BURST)["findings"]] != ["open"]
    assert len(editions(mine, BURST)) == len(numbers) + 1


def test_late_records_of_later_days_do_not_enter_the_day(mine: Project, tmp_path: Path) -> None:
    stored = tables(mine, BURST)
    later = [trail.record("known", trail.at(NEXT, 18), "mallory"), *trail.burst("later", trail.at(NEXT, 19), "mallory")]
    trail.write(mine.logs, trail.at(NEXT, 20), later, "Later00000000000")
    night(mine.settings, NEXT)
    again(mine, BURST)
    assert tables(mine, BURST) == stored
    assert any("mallory" in json.dumps(one) for one in report(mine, NEXT)["findings"])


@pytest.mark.parametrize("day", [BURST, NEXT])
def test_computing_a_day_again_changes_no_byte(day: dt.date, mine: Project) -> None:
    again(mine, day)  # once, as late records changed the day before it since it was computed first
    stored, told, numbers = tables(mine, day), report(mine, day), editions(mine, day)
    again(mine, day)
    assert (tables(mine, day), report(mine, day), editions(mine, day)) == (stored, told, numbers)
