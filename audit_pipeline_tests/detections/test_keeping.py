"""Findings about the keeping of logs: half of a horizon without a whole collection, and rights that nobody approved."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.access import snapshot
from audit_pipeline.clock import DAY
from audit_pipeline.detections import keeping
from audit_pipeline.detections.run import detect
from audit_pipeline.findings.view import findings_table
from audit_pipeline.state import open_state
from audit_pipeline_tests.access.world import DELETE, FIRST, READ, Keeping, approval

WEEK = 7 * DAY


def told(world: Keeping, day: dt.date) -> list[dict[str, Any]]:
    return keeping.detections(world.settings, world.lake, day)


def test_collected_within_half_of_the_horizon_is_silent(tmp_path: Path) -> None:
    world = Keeping(tmp_path)
    for n in range(0, 10, 3):  # every third day of seven
        world.whole("elastic", FIRST + n * DAY, WEEK)
    assert [row for n in range(10) for row in told(world, FIRST + n * DAY)] == []


@pytest.mark.parametrize("how", ["failing", "silent"])
def test_half_a_horizon_without_a_whole_collection_is_told_each_day(tmp_path: Path, how: str) -> None:
    """Whether collections fail or none runs; nothing is told before."""
    world = Keeping(tmp_path)
    world.whole("elastic", FIRST, WEEK)
    if how == "failing":
        for n in range(1, 9):
            world.entry("elastic", FIRST + n * DAY, failed=True)
    found = {n: told(world, FIRST + n * DAY) for n in range(9)}
    assert [n for n, rows in found.items() if rows] == [4, 5, 6, 7, 8]
    (row,) = found[4]
    assert (row["rule_id"], row["level"], row["sources"]) == (keeping.HORIZON, "high", ["elastic"])
    assert "begins to be lost at 2025-06-09T03:00:00" in row["explanation"]
    assert len({rows[0]["group_key"] for rows in found.values() if rows}) == 1
    assert "is lost" in found[8][0]["explanation"]


def test_a_late_collection_tells_what_it_was_late_for(tmp_path: Path) -> None:
    """Within the horizon everything was still there; beyond it what was not read is gone."""
    world = Keeping(tmp_path)
    world.whole("elastic", FIRST, WEEK)
    world.whole("elastic", FIRST + 5 * DAY, WEEK)
    world.whole("elastic", FIRST + 6 * DAY, WEEK)
    world.whole("elastic", FIRST + 20 * DAY, WEEK)
    (late,), nothing, (lost,) = (told(world, FIRST + n * DAY) for n in (5, 6, 20))
    assert (late["level"], nothing, lost["level"]) == ("medium", [], "high")
    assert "read in time" in late["explanation"]
    assert "is lost" in lost["explanation"]


def test_a_later_collection_does_not_change_an_earlier_day(tmp_path: Path) -> None:
    world = Keeping(tmp_path)
    world.whole("elastic", FIRST, WEEK)
    before = told(world, FIRST + 5 * DAY)
    world.whole("elastic", FIRST + 6 * DAY, WEEK)
    assert told(world, FIRST + 5 * DAY) == before != []


def test_a_source_that_tells_no_horizon_has_none(tmp_path: Path) -> None:
    world = Keeping(tmp_path)
    world.whole("elastic", FIRST)
    world.entry("files", FIRST)
    assert told(world, FIRST + 300 * DAY) == []


def test_rights_that_nobody_approved_are_a_finding_of_the_sources_team(tmp_path: Path) -> None:
    world = Keeping(tmp_path, [approval("role:auditor", "read")])
    world.entry("elastic", FIRST, access=[READ, DELETE, ["user:eve", "read", "role superuser"], ["user:bob", "read", "role ops"]])  # fmt: skip
    snapshot.review(world.settings, world.lake, FIRST)
    detect(world.settings, world.lake, FIRST)
    engine = open_state(world.settings.state_url_resolved)
    found = {row["title"]: row for row in findings_table(world.settings, world.lake, engine, FIRST).to_pylist()}
    engine.dispose()
    assert {title: (row["severity"], row["team"]) for title, row in found.items()} == {
        "Right to logs that nobody approved: user:eve, elastic": ("high", "cloud"),
        "Right to logs that nobody approved: user:bob, elastic": ("medium", "cloud"),
    }  # fmt: skip


def test_without_a_list_nothing_is_unapproved(tmp_path: Path) -> None:
    world = Keeping(tmp_path)
    world.entry("elastic", FIRST, access=[DELETE])
    snapshot.review(world.settings, world.lake, FIRST)
    assert told(world, FIRST) == []


def test_a_principal_that_would_be_markup_is_one_line(tmp_path: Path) -> None:
    world = Keeping(tmp_path, [])
    world.entry("elastic", FIRST, access=[["user:<b>\x1b[31m\n", "read", "x\r\ny"]])
    snapshot.review(world.settings, world.lake, FIRST)
    (row,) = told(world, FIRST)
    assert row["explanation"].isprintable()
