"""A day's profile against numbers counted by hand and by NumPy."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.lake.views import connect
from audit_pipeline.quality import words
from audit_pipeline.quality.profile import Gap, Profile, profile
from audit_pipeline_tests.quality.world import HOUR_US, START, World, at

MINUTE_US = HOUR_US // 60


def profiled(world: World, day: dt.date = START, source: str = "app") -> Profile:
    con = connect(world.lake, since=day - DAY, until=day, tables=["events", "rejects"])
    try:
        return profile(con, source, day)
    finally:
        con.close()


def test_counts_shares_and_hours(tmp_path: Path) -> None:
    world = World(tmp_path, sources=("app", "dns"))
    times = np.array([0, 1, 2, 3 * HOUR_US, 23 * HOUR_US], np.int64)
    columns = {
        "x_records": [1, 3, 1, 1, 2],
        "x_duplicates": [0, 2, 0, 0, 0],
        "actor_user_name": ["ana", None, None, None, None],
        "user_name": [None, "bob", None, None, None],
        "api_operation": None,
        "metadata_event_code": ["x", None, None, None, None],
        "status_id": [1, 2, 0, None, 1],
        "src_endpoint_ip": None,
        "src_endpoint_hostname": "s3.example.com",
    }
    world.tables(START, times, columns=columns, rejects=[{"member": "m", "reason": "no_time"}] * 2)
    world.tables(START, times[:1], source="dns")
    found = profiled(world)
    assert (found.records, found.events, found.duplicates, found.rejects) == (8, 5, 2, 2)
    assert (found.rejects_share, found.duplicates_share) == (0.2, 0.25)
    assert found.null_shares == {"time": 0.0, "actor": 0.6, "operation": 0.8, "outcome": 0.4, "address": 0.0}
    assert found.hours == [3, 0, 0, 1] + [0] * 19 + [1]
    assert (found.earliest, found.latest) == (at(START, 0), at(START, 23))


def test_an_act_on_its_own_host_needs_no_address(tmp_path: Path) -> None:
    world = World(tmp_path)
    columns = {"src_endpoint_ip": None, "device_hostname": ["db-1", "db-1", "db-1", None]}
    world.tables(START, np.arange(4, dtype=np.int64), columns=columns)
    assert profiled(world).null_shares["address"] == 0.25


def test_no_events_have_no_shares(tmp_path: Path) -> None:
    found = profiled(World(tmp_path))
    assert (found.events, found.records, found.gaps, found.earliest) == (0, 0, (), None)
    assert set(found.null_shares.values()) == {None}
    assert (found.lag_p50_s, found.rejects_share, found.duplicates_share) == (None, None, None)


def test_gaps_reach_back_to_the_day_before_and_to_midnight(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tables(START - DAY, np.array([5 * HOUR_US, 20 * HOUR_US], np.int64))
    world.tables(START, np.array([6, 7, 15, 18], np.int64) * HOUR_US)
    world.tables(START + DAY, np.array([HOUR_US], np.int64))  # a later day must not be seen
    found = profiled(world)
    assert found.before == at(START - DAY, 20)
    assert found.gaps[:3] == (
        Gap(at(START - DAY, 20), at(START, 6)),
        Gap(at(START, 7), at(START, 15)),
        Gap(at(START, 18), at(START, 24)),
    )
    assert found.gaps[0].seconds == 10 * 3600


@pytest.mark.parametrize("seed", range(3))
def test_gaps_of_more_than_a_minute_are_exact(tmp_path: Path, seed: int) -> None:
    """Occupied minutes lose nothing that is longer than a minute, whatever the order of rows."""
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 24 * HOUR_US, 900)
    world = World(tmp_path)
    world.tables(START, times)
    ordered = np.concatenate([[0], np.sort(times), [24 * HOUR_US]])
    longest = np.sort(np.diff(ordered))[::-1][:10] / 1e6
    assert [gap.seconds for gap in profiled(world).gaps] == longest.tolist()


def test_lag_and_future(tmp_path: Path) -> None:
    world = World(tmp_path)
    times = np.arange(100, dtype=np.int64) * MINUTE_US
    base = int(at(START, 0).timestamp()) * 1_000_000
    lags = np.arange(100, dtype=np.int64) * 1_000_000
    lags[0], lags[1] = -300_000_000, -300_000_001
    visible = pa.array(times + base + lags).cast(pa.timestamp("us", tz="UTC"))
    world.tables(START, times, columns={"x_visible_time": visible})
    found = profiled(world)
    assert found.future == 1  # five minutes are forgiven, one microsecond more is not
    assert found.lag_p50_s == pytest.approx(float(np.quantile(lags, 0.5)) / 1e6)
    assert found.lag_p95_s == pytest.approx(float(np.quantile(lags, 0.95)) / 1e6)
    assert found.lag_max_s == 99
    arrivals = (times + lags) / 1e6 - 24 * 3600
    assert found.arrival_p95_s == pytest.approx(float(np.quantile(arrivals, 0.95)))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(45, "45 s"), (240, "4 min"), (32_460, "9 h 1 min"), (7200, "2 h"), (59.7, "1 min"), (0, "0 s")],
)
def test_spans_in_words(seconds: float, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(12_400, "12,400 events"), (1, "1 event"), (0.4, "0.4 events"), (0, "0 events"), (9.96, "10.0 events")],
)
def test_counts_in_words(number: float, said: str) -> None:
    assert words.count(number) == said


def test_what_is_not_nothing_is_never_shown_as_nothing() -> None:
    assert words.share(0.0001) == "under 0.1 %"
    assert words.share(0.031) == "3.1 %"


def test_the_end_of_a_day_in_words() -> None:
    assert words.clock(at(START, 24), START) == "24:00"
    assert words.clock(at(START, 8.05), START) == "08:03"
    assert words.clock(at(START, -1.5), START) == "22:30 on 2026-03-01"
