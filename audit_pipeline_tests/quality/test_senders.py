"""Senders that must be heard: never heard, not heard today, stopped, and silent for a while, each with its from and to."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_pipeline.clock import DAY
from audit_pipeline_tests.quality.world import HOUR_US, START, Times, World, at, days, reason, without

D = START + 3 * DAY


def pair(seed: int) -> tuple[Times, Times]:
    rng = np.random.default_rng(seed)
    first, second = (np.sort(rng.integers(0, 24 * HOUR_US, 1000)) for _ in range(2))
    return first, second


def put(world: World, day: dt.date, first: Times, second: Times, column: str = "device_hostname") -> dict[str, Any]:
    """A night of two senders, named in a column."""
    times = np.concatenate([first, second])
    names = np.array(["web-1"] * len(first) + ["web-2"] * len(second))
    order = np.argsort(times, kind="stable")
    return world.night(day, times[order], columns={column: names[order].tolist()})


def known(root: Path, expected: str = "[web-1, web-2]", column: str = "device_hostname") -> World:
    world = World(root, more=f", expected: {expected}")
    for number, day in enumerate(days(3)):
        put(world, day, *pair(number), column)
    return world


@pytest.mark.parametrize(
    "column", ["device_hostname", "src_endpoint_hostname", "cloud_account_uid", "metadata_log_name"]
)
def test_whole_senders_say_nothing(tmp_path: Path, column: str) -> None:
    row = put(known(tmp_path, column=column), D, *pair(9), column)
    assert (row["verdict"], row["reasons"]) == ("no_gap_seen", [])


def test_an_event_that_names_two_senders_is_of_both_and_one_that_names_one_twice_counts_once(tmp_path: Path) -> None:
    world = World(tmp_path, more=", expected: [web-1, web-2, web-3]")
    for number, day in enumerate([*days(3), D]):
        times = pair(number)[0]
        kept = np.arange(len(times)) < (500 if day == D else len(times))
        device = np.where(kept, "web-1", "other").tolist()
        endpoint = np.where(kept, np.where(np.arange(len(times)) % 2, "web-2", "web-1"), "other").tolist()
        row = world.night(day, times, columns={"device_hostname": device, "src_endpoint_hostname": endpoint})
    found = {one["detail"].split(":")[0]: one for one in row["reasons"] if one["code"] == "sender_silent"}
    assert set(found) == {"web-1", "web-2", "web-3"}
    assert "never heard" in found["web-3"]["detail"]
    assert found["web-1"]["from"] == at(D, 0) + dt.timedelta(microseconds=int(pair(3)[0][499]))
    assert found["web-1"]["expected"] == pytest.approx(500, rel=0.2)  # a thousand a day, though most name it twice
    assert found["web-2"]["expected"] == pytest.approx(250, rel=0.2)


def test_a_sender_that_stopped_is_told_with_when(tmp_path: Path) -> None:
    first, second = pair(9)
    row = put(known(tmp_path), D, first, second[second < 10 * HOUR_US])
    assert row["verdict"] == "partial"
    found = reason(row, "sender_silent")
    assert at(D, 9.5) < found["from"] <= at(D, 10)
    assert found["to"] == at(D, 24)
    assert found["detail"].startswith("web-2: stopped, silent from 09:")
    assert found["expected"] == pytest.approx(1000 * 14 / 24, rel=0.2)
    assert found["seen"] == 0


def test_a_sender_that_paused_is_told_with_from_and_to(tmp_path: Path) -> None:
    first, second = pair(9)
    found = reason(put(known(tmp_path), D, without(first, 9, 15), second), "sender_silent")
    assert found["detail"].startswith("web-1: silent from 08:5")
    assert abs(found["to"] - at(D, 15)) < dt.timedelta(minutes=10)


def test_a_sender_that_is_gone_is_told_with_when_it_was_last_heard(tmp_path: Path) -> None:
    world = known(tmp_path)
    first, second = pair(9)
    put(world, D, first, second[second < 10 * HOUR_US])
    row = put(world, D + DAY, first, second[:0])
    found = reason(row, "sender_silent")
    assert at(D, 9.5) < found["from"] <= at(D, 10)  # on a day that teaches nothing, being partial
    assert found["to"] == at(D + DAY, 24)
    assert "not heard on this day; last heard 09:5" in found["detail"]
    assert f"on {D}" in found["detail"]
    assert found["expected"] == pytest.approx(1000)


def test_a_sender_that_was_never_heard(tmp_path: Path) -> None:
    row = put(known(tmp_path, "[web-1, 'x''; DROP TABLE events --']"), D, *pair(9))
    found = reason(row, "sender_silent")
    assert found["detail"].startswith("x'; DROP TABLE events --: never heard")
    assert (found["from"], found["to"], found["expected"], found["seen"]) == (at(D, 0), at(D, 24), None, 0)


def test_each_silent_sender_has_a_reason_of_its_own(tmp_path: Path) -> None:
    row = put(known(tmp_path, "[web-1, web-2, web-3, web-4]"), D, *pair(9))
    assert [one["detail"].split(":")[0] for one in row["reasons"]] == ["web-3", "web-4"]
    assert row["baseline_days"] == 3  # for the rest such days show what is usual


def test_the_silence_of_the_whole_source_is_not_said_of_each_sender_again(tmp_path: Path) -> None:
    first, second = pair(9)
    row = put(known(tmp_path), D, without(first, 9, 15), without(second, 9, 15))
    codes = [one["code"] for one in row["reasons"]]
    assert "silent" in codes
    assert "sender_silent" not in codes


def test_a_day_without_any_of_the_senders_and_a_first_day_are_judged(tmp_path: Path) -> None:
    nothing: Times = np.zeros(0, np.int64)
    first = put(World(tmp_path / "first", more=", expected: [web-1, web-2]"), START, nothing, nothing)
    assert {one["code"] for one in first["reasons"]} == {"no_data"}
    row = put(known(tmp_path / "later"), D, nothing, nothing)
    assert row["verdict"] in ("partial", "missing")
    assert row["reasons"]
