"""`verify` holds the log of decisions to the heads that stored reports printed: cut short, rewritten and chained anew, and made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from audit_pipeline.clock import DAY as ONE
from audit_pipeline.evidence import verify_all
from audit_pipeline.findings import decisions
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.state import decisions as log
from audit_pipeline.state import open_state
from audit_pipeline_tests.sources.world import DAY, HOUR, NOON, RealClock, World, packed, record

REPORT = "reports/daily/{}/1/report.json"
FIRST, SECOND = (REPORT.format(day) for day in (DAY, DAY + ONE))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two nights: three decisions before the first report, two more before the second, one after it."""
    found = World(tmp_path)
    found.put("a.json.gz", packed(record(1)))
    found.night()
    engine = _engine(found)
    for night, made in enumerate((3, 2)):
        for n in range(made):
            decisions.record(engine, finding_id="f1", action="comment", person="ann", identity="claimed", reason=f"{night}.{n}", clock=RealClock(NOON + night * 24 * HOUR))  # fmt: skip
        publish_daily(found.settings, found.lake, DAY + night * ONE, RealClock(NOON + (20 + 24 * night) * HOUR))
    decisions.record(engine, finding_id="f1", action="comment", person="ann", identity="claimed", reason="later", clock=RealClock(NOON + 90 * HOUR))  # fmt: skip
    return found


def _engine(world: World) -> sa.Engine:
    return open_state(world.settings.state_url_resolved)


def _rows(world: World) -> list[dict[str, Any]]:
    with _engine(world).connect() as con:
        return [dict(row) for row in con.execute(sa.select(log).order_by(log.c.seq)).mappings()]


def _replace(world: World, rows: list[dict[str, Any]]) -> None:
    """These rows instead of all, chained anew by somebody who has the database and this program."""
    previous = decisions.NO_PREVIOUS
    with _engine(world).begin() as con:
        con.execute(sa.delete(log))
        for row in rows:
            row["previous"] = previous
            row["hash"] = previous = decisions.row_hash(row)
            con.execute(sa.insert(log).values(**row))


def _named(world: World) -> list[tuple[str, int, str]]:
    return [(one["problem"], one["seq"], one["detail"].split()[0]) for one in verify_all(world.settings)[0]]


def test_reports_print_the_heads_as_of_their_days_and_an_untouched_log_has_them(world: World) -> None:
    printed = [json.loads(world.lake.read(path))["evidence"]["decisions"] for path in (FIRST, SECOND)]
    rows = _rows(world)
    assert printed == [{"seq": seq, "hash": rows[seq - 1]["hash"]} for seq in (3, 5)]
    assert _named(world) == []
    _replace(world, rows)  # the same content gives the same chain
    assert _named(world) == []


def test_the_newest_may_be_lost_unseen_only_where_no_report_printed_them(world: World) -> None:
    _replace(world, _rows(world)[:5])
    assert _named(world) == []


@pytest.mark.parametrize("kept", [4, 2, 0])
def test_a_log_cut_short_is_named_with_report_and_number(world: World, kept: int) -> None:
    _replace(world, _rows(world)[:kept])
    engine = _engine(world)
    assert decisions.verify(engine) == []  # the chain itself cannot tell
    expected = [("other_head", seq, path) for seq, path in ((3, FIRST), (5, SECOND)) if seq > kept]
    assert _named(world) == expected
    assert "has no decision 5" in verify_all(world.settings)[0][-1]["detail"]


@pytest.mark.parametrize("at", [1, 3, 4])
@pytest.mark.parametrize("column", ["reason", "person", "recorded_at"])
def test_a_row_rewritten_and_all_after_it_chained_anew_is_named(world: World, at: int, column: str) -> None:
    rows = _rows(world)
    rows[at - 1][column] = "2025-06-02T11:00:00Z" if column == "recorded_at" else "forged"
    _replace(world, rows)
    assert decisions.verify(_engine(world)) == []
    assert _named(world) == [("other_head", seq, path) for seq, path in ((3, FIRST), (5, SECOND)) if seq >= at]


def test_a_head_that_editions_repeat_is_named_once(world: World) -> None:
    report = json.loads(world.lake.read(SECOND))
    world.lake.write(SECOND.replace("/1/", "/2/"), json.dumps({**report, "edition": 2}).encode())
    _replace(world, _rows(world)[:4])
    assert _named(world) == [("other_head", 5, SECOND)]


def test_a_report_of_before_has_no_head_and_one_without_its_head_is_unreadable(world: World) -> None:
    report = json.loads(world.lake.read(FIRST))
    del report["evidence"]["decisions"]
    world.lake.write(FIRST, json.dumps({**report, "v": 1}).encode())
    assert _named(world) == []
    world.lake.write(FIRST, json.dumps(report).encode())
    assert [(one["problem"], one["file"]) for one in verify_all(world.settings)[0]] == [("unreadable_report", FIRST)]
