"""What is kept of earlier days is a shortcut: with it, without it, and with it broken, the verdict is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.quality.history import remembered
from audit_pipeline_tests.quality.world import HOUR_US, START, Times, World, days, without

D = START + 4 * DAY


def times(seed: int) -> Times:
    return np.sort(np.random.default_rng(seed).integers(0, 24 * HOUR_US, 2000))


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, sources=("app", "dns"))
    for number, day in enumerate(days(4)):
        world.put(day, times(number))
        world.put(day, times(number)[::2], source="dns")
        world.judge(day)
    world.put(D, without(times(9), 8, 10))
    world.put(D, times(9)[::2], source="dns")
    return world


def kept(world: World) -> list[Path]:
    return sorted(Path(world.lake.path("index/minutes")).glob("*.parquet"))


def test_each_source_and_day_is_kept(world: World) -> None:
    world.judge(D)
    found = remembered(world.lake, D)
    assert {source: list(known) for source, known in found.items()} == {"app": days(4), "dns": days(4)}
    assert [minutes.events for minutes in found["dns"].values()] == [1000] * 4
    assert int(found["app"][START].first[0]) == int(times(0)[0])
    assert remembered(world.lake, D + 60 * DAY) == {}  # eight weeks are looked back on


@pytest.mark.parametrize("harm", ["lost", "broken", "empty"])
def test_without_what_was_kept_the_row_is_the_same(world: World, harm: str) -> None:
    row = world.judge(D)
    for file in kept(world):
        if harm == "lost":
            file.unlink()
        else:
            file.write_bytes(b"" if harm == "empty" else file.read_bytes()[:-20])
    assert world.judge(D) == row
    assert row["baseline_days"] == 4
    assert row["verdict"] == "partial"


def test_what_was_kept_of_other_events_is_not_used(world: World) -> None:
    """A day whose row tells of more events than were kept is read again."""
    old = kept(world)[0].read_bytes()
    world.put(START, np.concatenate([times(0), times(50)]))
    world.judge(START)
    honest = world.judge(D)
    kept(world)[0].write_bytes(old)
    assert world.judge(D) == honest
