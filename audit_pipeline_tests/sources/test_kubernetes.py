"""An API server's audit log is collected to the last line, however it rotates; what was dropped or deleted is a fact."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from audit_pipeline.lake.verify import verify
from audit_pipeline.sources.collect import Collected
from audit_pipeline_tests.sources.kubernetes_world import KubernetesWorld
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR

MINUTE = dt.timedelta(minutes=1)
THREE = BEGIN + DAY + 3 * HOUR
"""The night after the first day."""


@pytest.fixture
def world(tmp_path: Path) -> KubernetesWorld:
    return KubernetesWorld(tmp_path)


def usual(world: KubernetesWorld, name: str, begin: dt.datetime, n: int = 70) -> list[str]:
    """A day's events, twenty minutes apart; their ids."""
    names = [f"{name}-{k:03d}" for k in range(n)]
    for k, one in enumerate(names):
        world.happen(one, at=begin + k * 20 * MINUTE)
    return names


def codes(got: Collected) -> list[str]:
    return [remark.code for remark in got.remarks]


def unread(world: KubernetesWorld) -> list[tuple[str, str]]:
    return [(one["from"], one["to"]) for one in world.request().get("unread", [])]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
def test_every_line_is_one_event_through_rotations(tmp_path: Path, compress: bool) -> None:
    world = KubernetesWorld(tmp_path, compress=compress)
    names: list[str] = []
    for night in range(4):
        names += usual(world, f"a{night}", BEGIN + night * DAY)
        world.server.now = BEGIN + night * DAY + 23 * HOUR + 30 * MINUTE
        if night != 1:
            world.server.rotate()
        names += usual(world, f"b{night}", BEGIN + (night + 1) * DAY - 25 * MINUTE, 1)
        assert world.night(THREE + night * DAY).remarks == []
    assert world.uids() == sorted(names)
    assert world.rows("SELECT sum(x_duplicates)::INT, sum(x_records)::INT FROM events") == [(0, len(names))]
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert (unread(world), verify(world.lake)[0]) == ([], [])
    assert world.verdict((BEGIN + 3 * DAY).date())[0] == "no_gap_seen"


def test_what_was_collected_is_told_in_the_entry(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.server.now = BEGIN + 23 * HOUR + 30 * MINUTE
    world.server.rotate()
    world.happen("b", at=BEGIN + DAY - MINUTE)
    world.collect(THREE)
    told = world.request()
    assert (told["checkpoint"], told["oldest"], told["newest"]) == ("2025-06-02T03:00:00Z", "2025-06-01T00:00:00Z", "2025-06-01T23:59:00Z")  # fmt: skip
    assert [told["counters"][name] for name in ("events", "errors", "rejected", "lines", "short")] == [71, {}, 0, 71, 0]
    assert told["access"] == []


def test_copies_deleted_before_they_were_read_are_said_for_good(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, maxbackup=1, http=False)
    usual(world, "a", BEGIN)
    world.night(THREE)
    for n in range(3):
        world.happen(f"b{n}", at=THREE + (6 * n + 1) * HOUR)
        world.server.now += HOUR
        world.server.rotate()
    world.happen("c", at=THREE + 20 * HOUR)
    got = world.night(THREE + DAY)
    assert (unread(world), got.remarks) == ([("2025-06-02T03:00:00Z", "2025-06-02T16:00:00Z")], [])
    world.happen("d", at=THREE + DAY + HOUR)
    world.night(THREE + 2 * DAY)
    assert unread(world) == []
    verdict, reasons = world.verdict((BEGIN + DAY).date())
    assert verdict == "partial"
    assert "may have been deleted unread" in reasons["source_partial"]
    assert "source_partial" not in world.verdict((BEGIN + 2 * DAY).date())[1]


def test_an_emptied_folder_is_said(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, http=False)
    usual(world, "a", BEGIN)
    world.night(THREE)
    world.server.log.unlink()
    world.night(THREE + DAY)
    assert unread(world) == [("2025-06-02T03:00:00Z", "2025-06-03T03:00:00Z")]


def test_deletion_of_what_was_read_is_no_loss_and_tells_the_horizon(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, maxbackup=1)
    for night in range(3):
        usual(world, f"a{night}", BEGIN + night * DAY)
        world.night(THREE + night * DAY)
        kept = (2 * DAY - MINUTE).total_seconds() if night == 2 else None
        assert (unread(world), world.request().get("horizon_s")) == ([], kept)
        world.server.rotate()
        world.happen(f"b{night}", at=THREE + night * DAY + MINUTE)
    world.night(THREE + 3 * DAY)
    assert (unread(world), world.request()["oldest"]) == ([], "2025-06-03T03:01:00Z")
    assert world.request()["horizon_s"] == (2 * DAY - MINUTE).total_seconds()
    world.night(THREE + 4 * DAY)
    assert world.request()["horizon_s"] == (2 * DAY - MINUTE).total_seconds()
