"""Each verdict and each reason by a scenario of its own, on a lake that was really written."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake.manifest import Remark
from audit_pipeline.lake.store import Lake
from audit_pipeline.quality.completeness import assess, changes
from audit_pipeline.quality.reasons import lowering
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of
from audit_pipeline_tests.quality import simulate
from audit_pipeline_tests.quality.world import HOUR_US, START, Times, World, at, codes, days, document, reason, without

NONE = np.zeros(0, np.int64)
D = START + 3 * DAY


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="session")
def three_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake after three healthy nights: tests begin from a copy of it."""
    root = tmp_path_factory.mktemp("three")
    history(World(root))
    return root


@pytest.fixture
def known(three_nights: Path, tmp_path: Path) -> World:
    """A source with three healthy nights behind it."""
    shutil.copytree(three_nights / "lake", tmp_path / "lake")
    return World(tmp_path)


def steady(n: int = 2000, seed: int = 0) -> Times:
    return np.sort(np.random.default_rng(seed).integers(0, 24 * HOUR_US, n))


def history(world: World, n: int = 3) -> None:
    """`n` healthy nights before `START + n`."""
    for number, day in enumerate(days(n)):
        world.night(day, steady(seed=number))


# --- what was asked for ---


def test_a_day_that_no_run_has_collected_is_unknown(known: World) -> None:
    known.tables(D, steady())  # records came with the collection of another day
    row = known.judge(D)
    assert (row["verdict"], codes(row)[0]) == ("unknown", "not_collected")
    assert row["collected_until"] is None


def test_a_collection_that_failed_empty_handed_is_missing(known: World) -> None:
    known.collect(D, remarks=[Remark("collection_failed", "s3://logs: access denied")])
    row = known.judge(D)
    assert row["verdict"] == "missing"
    assert reason(row, "collection_failed")["detail"] == "s3://logs: access denied"


def test_a_collection_that_failed_half_way_is_partial(known: World) -> None:
    known.collect(D, remarks=[Remark("collection_failed", "timeout")], counts={D: [900, 0]})
    known.tables(D, steady(900))
    row = known.judge(D)
    assert (row["verdict"], row["events"]) == ("partial", 900)
    assert "collection_failed" in lowering(row["reasons"])


def test_a_failure_is_healed_by_the_next_collection(known: World) -> None:
    known.collect(D, remarks=[Remark("collection_failed", "timeout")])
    assert known.judge(D)["verdict"] == "missing"
    known.put(D, steady(), at=at(D, 30))
    row = known.judge(D)
    assert row["verdict"] == "no_gap_seen"
    assert row["edition"] == 2


def test_a_failure_by_its_time_where_the_request_names_no_day(known: World) -> None:
    known.collect(D, remarks=[Remark("collection_failed", "timeout")], request={"day": None})
    assert known.judge(D)["verdict"] == "missing"
    assert known.judge(D + DAY)["verdict"] == "unknown"


def test_an_entry_without_a_request_covers_nothing(known: World) -> None:
    """A collection of several segments carries its request in the last entry; one that was killed has none."""
    entry = known.collect(D, counts={D: [2000, 0]})
    assert known.judge(D)["verdict"] == "partial"  # covered, but its tables are not made: the index disagrees
    bare = World(Path(known.settings.file).parent / "other")
    bare.collect(START, request={"day": None, "from": None, "to": None}, counts={START: [5, 0]})
    assert entry.covers(D)
    from audit_pipeline.lake import manifest

    raw = manifest.entries(bare.lake, "app")[0]
    manifest.append(bare.lake, type(raw)(source="app", sequence=2, collected_at=raw.collected_at, segment="raw/app/x"))
    assert manifest.entries(bare.lake, "app")[1].covers(START)  # which is why it is not asked alone
    lone = World(Path(known.settings.file).parent / "lone")
    manifest.append(lone.lake, type(raw)(source="app", sequence=1, collected_at=raw.collected_at, segment="raw/app/x"))
    assert codes(lone.judge(START)) == ["not_collected"]


def test_the_source_said_that_it_gave_a_part(known: World) -> None:
    known.collect(D, remarks=[Remark("source_partial", "2 of 5 shards failed")], counts={D: [2000, 0]})
    known.tables(D, steady())
    row = known.judge(D)
    assert row["verdict"] == "partial"
    assert reason(row, "source_partial")["detail"] == "2 of 5 shards failed"
    known.collect(D, at=at(D, 40))  # asked again, and whole this time
    assert known.judge(D)["verdict"] == "no_gap_seen"


@pytest.mark.parametrize(
    ("request_", "verdict"),
    [
        ({"checkpoint": rfc3339(at(D + DAY, 0)), "counted": {D.isoformat(): 2000}}, "proven"),
        ({"checkpoint": rfc3339(at(D + DAY, 0)), "counted": {D.isoformat(): 2001}}, "partial"),
        ({"checkpoint": rfc3339(at(D + DAY, 0)), "counted": {D.isoformat(): 2000}, "selector": "other"}, "partial"),
        ({"checkpoint": rfc3339(at(D, 20)), "counted": {D.isoformat(): 2000}}, "partial"),
        ({"checkpoint": rfc3339(at(D + DAY, 0))}, "partial"),
        ({"counted": {D.isoformat(): 2000}}, "partial"),
    ],
)
def test_a_day_is_healed_by_a_later_proof_and_by_nothing_less(known: World, request_: dict[str, Any], verdict: str) -> None:  # fmt: skip
    """Having read everything later proves nothing: what was there at first may be gone by then."""
    known.collect(D, remarks=[Remark("source_partial", "2 of 5 shards failed")], counts={D: [2000, 0]})
    known.tables(D, steady())
    known.collect(D + DAY, request=request_)
    assert known.judge(D)["verdict"] == verdict


@pytest.mark.parametrize(("received", "verdict", "code"), [(24, "proven", []), (23, "partial", ["mismatch"])])
def test_the_sources_own_record_of_its_parts_proves_or_lacks(known: World, received: int, verdict: str, code: list[str]) -> None:  # fmt: skip
    parts = {"expected": 24, "received": received, "of": "log files"}
    known.collect(D, counts={D: [2000, 0]}, request={"attested": {D.isoformat(): parts}})
    known.tables(D, steady())
    row = known.judge(D)
    assert (row["verdict"], [one for one in codes(row) if one == "mismatch"]) == (verdict, code)
    if code:
        found = reason(row, "mismatch")
        assert (found["expected"], found["seen"], "24 log files" in found["detail"]) == (24, 23, True)


@pytest.mark.parametrize(("received", "remarks", "verdict"), [(24, [], "proven"), (23, [], "partial"), (24, [Remark("source_partial", "a file was altered")], "partial")])  # fmt: skip
def test_what_was_read_and_not_proven_is_healed_by_a_proof_without_a_doubt(known: World, received: int, remarks: list[Remark], verdict: str) -> None:  # fmt: skip
    known.collect(D, remarks=[Remark("source_partial", "a file was altered")], counts={D: [2000, 0]}, request={"checkpoint": rfc3339(at(D + DAY, 2))})  # fmt: skip
    known.tables(D, steady())
    assert known.judge(D)["verdict"] == "partial"
    parts = {"expected": 24, "received": received, "of": "log files"}
    known.collect(D + DAY, remarks=remarks, request={"checkpoint": rfc3339(at(D + 2 * DAY, 2)), "attested": {D.isoformat(): parts}})  # fmt: skip
    assert known.judge(D)["verdict"] == verdict


def test_a_later_night_s_remark_is_not_this_day_s(known: World) -> None:
    known.put(D, steady())
    before = known.judge(D)
    known.collect(D + DAY, remarks=[Remark("source_partial", "shards")])
    assert known.judge(D) == before


# --- nothing came ---


def test_nothing_where_there_was_something_before(known: World) -> None:
    row = known.night(D, NONE)
    assert row["verdict"] == "missing"
    found = reason(row, "no_data")
    assert found["seen"] == 0
    assert "2026-03-04" in found["detail"]
    assert row["lag_p95_s"] is None


def test_nothing_ever(world: World) -> None:
    row = world.night(START, NONE)
    assert (row["verdict"], reason(row, "no_data")["detail"]) == (
        "missing",
        "nothing was ever received from this source",
    )


# --- what came and could not be read ---


@pytest.mark.parametrize(
    ("why", "code"),
    [("corrupt", "corrupt"), ("truncated", "unreadable"), ("not_json", "unreadable"), ("no_time", "rejects")],
)
def test_rejects_make_a_day_partial(known: World, why: str, code: str) -> None:
    entry = known.collect(D, members=[document("a.gz")], counts={D: [2000, 20]})
    rejects = [{"member": "a.gz", "reason": why, "detail": "so it is"}] * 20
    known.tables(D, steady(), segment=entry.segment or "", rejects=rejects)
    row = known.judge(D)
    assert (row["verdict"], row["rejects"]) == ("partial", 20)
    found = reason(row, code)
    assert found["seen"] == 20
    assert found["share"] == pytest.approx(20 / 2020)
    assert "a.gz" in found["detail"]
    assert "so it is" in found["detail"]


def test_a_day_of_which_nothing_could_be_read_is_partial_not_missing(known: World) -> None:
    entry = known.collect(D, members=[document("a.gz")], counts={D: [0, 1]})
    known.tables(D, NONE, segment=entry.segment or "", rejects=[{"member": "a.gz", "reason": "unreadable"}])
    assert known.judge(D)["verdict"] == "partial"


def test_a_member_that_was_collected_again_whole_is_healed(known: World) -> None:
    first = known.collect(D, members=[document("a.gz")], counts={D: [1500, 1]})
    known.tables(D, steady(1500), segment=first.segment or "", rejects=[{"member": "a.gz", "reason": "truncated"}])
    assert known.judge(D)["verdict"] == "partial"
    known.collect(D, members=[document("b.gz")], counts={D + DAY: [1, 0]}, at=at(D, 40))
    assert known.judge(D)["verdict"] == "partial"  # another file heals nothing
    known.collect(D, members=[document("a.gz")], counts={D: [500, 0]}, at=at(D, 45))
    known.tables(D, steady(2000), segment=first.segment or "", rejects=[{"member": "a.gz", "reason": "truncated"}])
    row = known.judge(D)
    assert (row["verdict"], row["rejects"]) == ("no_gap_seen", 1)


def test_a_member_that_came_again_and_was_rejected_again_is_not_healed(known: World) -> None:
    first = known.collect(D, members=[document("a.gz")], counts={D: [2000, 1]})
    known.tables(D, steady(), segment=first.segment or "", rejects=[{"member": "a.gz", "reason": "truncated"}])
    late = D + 2 * DAY  # the second try lies on the day of its own visible time
    known.collect(
        D,
        members=[document("a.gz"), document("other.gz")],
        counts={late: [3, 1]},
        at=at(D, 60),
        rejects=[{"day": late, "member": "a.gz", "reason": "truncated"}],
    )
    assert known.judge(D)["verdict"] == "partial"


def test_what_a_growing_file_wrote_later_does_not_heal_its_bad_line(known: World) -> None:
    first = known.collect(D, members=[document("app.log", at=0, inflated=900, prefix="p")], counts={D: [2000, 1]})
    known.tables(D, steady(), segment=first.segment or "", rejects=[{"member": "app.log", "reason": "not_json"}])
    known.collect(D + DAY, members=[document("app.log", at=900, inflated=100, prefix="q")], counts={D + DAY: [5, 0]})
    assert known.judge(D)["verdict"] == "partial"


@pytest.mark.parametrize(("visible", "day"), [(rfc3339(at(D, 20)), D), (None, D)])
def test_a_file_without_the_right_to_read_it(known: World, visible: str | None, day: dt.date) -> None:
    bad = document("secret.gz", error="unreadable: Permission denied", visible_time=visible)
    known.collect(D, members=[bad], counts={D: [2000, 0]})
    known.tables(D, steady())
    row = known.judge(D)
    assert row["verdict"] == "partial"
    assert "secret.gz" in reason(row, "unreadable")["detail"]
    known.put(D + DAY, steady(seed=9))
    assert "unreadable" not in codes(known.judge(D + DAY))


def test_hostile_names_and_details_stay_text(known: World) -> None:
    name = "'; DROP TABLE events; --\x1b[31m<script>.gz"
    entry = known.collect(D, members=[document(name)], counts={D: [2000, 1]})
    known.tables(
        D, steady(), segment=entry.segment or "", rejects=[{"member": name, "reason": "corrupt", "detail": "%s{0}"}]
    )
    assert name in reason(known.judge(D), "corrupt")["detail"]


# --- accounting ---


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.integers(1, 5), min_size=1, max_size=30),
    rejects=st.integers(0, 4),
    lost=st.integers(-3, 3),
)
def test_records_and_rejects_add_up_to_the_index(world: World, records: list[int], rejects: int, lost: int) -> None:
    """Whatever merges and copies there are: the day balances exactly when nothing was lost and nothing invented."""
    source = f"s{abs(hash((tuple(records), rejects, lost)))}"
    own = World(Path(world.settings.file).parent / source)
    total = sum(records)
    own.collect(START, counts={START: [total + lost, rejects]})
    times = np.arange(len(records), dtype=np.int64) * 1000
    columns = {"x_records": records, "x_duplicates": [n - 1 for n in records]}
    own.tables(START, times, columns=columns, rejects=[{"member": "m", "reason": "no_time"}] * rejects)
    row = own.judge(START)
    assert ("mismatch" in codes(row)) is (lost != 0)
    assert row["records"] == total
    assert row["duplicates"] == total - row["events"]
    if lost:
        found = reason(row, "mismatch")
        assert (found["expected"], found["seen"]) == (total + lost + rejects, total + rejects)
        assert row["verdict"] == "partial"


def test_a_second_count_proves_the_day_or_convicts_it(known: World) -> None:
    exact = {"from": rfc3339(at(D, 0)), "to": rfc3339(at(D, 24))}
    known.collect(D, counts={D: [2000, 0]}, records=2000, request=exact)
    known.tables(D, steady())
    assert known.judge(D)["verdict"] == "proven"
    told = D + DAY
    exact = {"from": rfc3339(at(told, 0)), "to": rfc3339(at(told, 24))}
    known.collect(told, counts={told: [2000, 0]}, records=2001, request=exact)
    known.tables(told, steady(seed=4))
    row = known.judge(told)
    assert row["verdict"] == "partial"
    assert reason(row, "mismatch")["detail"] == "the source counts 2,001 records, 2,000 were received"


def test_a_count_that_says_nothing_of_this_day_proves_nothing(known: World) -> None:
    known.collect(D, counts={D: [2000, 0]}, records=2000)  # open at its beginning
    known.tables(D, steady())
    assert known.judge(D)["verdict"] == "no_gap_seen"


@pytest.mark.parametrize(("rejects", "taught"), [(1, 4), (2, 3)])
def test_a_few_rejects_lower_the_verdict_and_not_what_is_usual(known: World, rejects: int, taught: int) -> None:
    """Fewer than one record in a thousand: the day's rhythm is as good as any; from there on it teaches nothing."""
    entry = known.collect(D, members=[document("a.gz")], counts={D: [1998, rejects]})
    bad = [{"member": "a.gz", "reason": "no_time"}] * rejects
    known.tables(D, steady(1998), segment=entry.segment or "", rejects=bad)
    assert known.judge(D)["verdict"] == "partial"
    assert known.night(D + DAY, steady(seed=9))["baseline_days"] == taught


def test_one_reject_every_day_leaves_a_source_its_baseline(world: World) -> None:
    for number, day in enumerate(days(5)):
        entry = world.collect(day, members=[document("a.gz")], counts={day: [2000, 1]})
        bad = [{"member": "a.gz", "reason": "no_time"}]
        world.tables(day, steady(seed=number), segment=entry.segment or "", rejects=bad)
        row = world.judge(day)
    assert (row["verdict"], row["baseline_days"]) == ("partial", 4)
    assert row["smallest_gap_s"] is not None
    assert lowering(row["reasons"]) == {"rejects"}


def test_few_rejects_beside_a_silence_teach_nothing(known: World) -> None:
    entry = known.collect(D, members=[document("a.gz")], counts={D: [len(without(steady(), 8, 17)), 1]})
    bad = [{"member": "a.gz", "reason": "no_time"}]
    known.tables(D, without(steady(), 8, 17), segment=entry.segment or "", rejects=bad)
    known.judge(D)
    assert known.night(D + DAY, steady(seed=9))["baseline_days"] == 3


# --- the real collector ---


def test_a_path_that_vanishes_is_missing_and_never_whole(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    text = f"""lake: lake
clock: simulated
start: {START}
sources:
  app: {{type: files, format: cloudtrail, paths: ["logs/*.json.gz"]}}
"""
    config = Settings.from_text(text, tmp_path / "pipeline.yaml")
    lake = Lake.open(config.lake_url)
    rows = []
    for number, day in enumerate(days(4)):
        if number == 3:
            shutil.rmtree(logs)
        else:
            write_trail(logs / f"{day}.json.gz", day)
        collect(config, lake, "app", day, config.clock_for(day))
        form = format_of(config, "app")
        indexing.ensure(lake, "app", form)
        unify.build(lake, "app", form, day)
        rows.append(assess(config, lake, day).to_pylist()[0])
    assert [row["verdict"] for row in rows] == ["unknown", "unknown", "no_gap_seen", "missing"]
    found = reason(rows[3], "collection_failed")
    assert "no such folder" in found["detail"]
    assert rows[3]["events"] == 0
    assert rows[3]["lag_p95_s"] is None


def write_trail(file: Path, day: dt.date) -> None:
    """A CloudTrail file with a record a minute."""
    records = [
        {
            "eventVersion": "1.08", "eventID": f"{day}-{minute}", "eventTime": rfc3339(at(day, minute / 60)), "eventName": "GetObject",
            "eventSource": "s3.amazonaws.com", "awsRegion": "eu-west-1", "userIdentity": {"type": "IAMUser", "userName": "ana"}, "sourceIPAddress": "192.0.2.1",
        }
        for minute in range(1440)
    ]  # fmt: skip
    file.write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    stamp = at(day, 24.2).timestamp()
    os.utime(file, (stamp, stamp))


# --- first days and edges ---


def test_the_first_two_days_are_unknown_and_the_third_is_judged(world: World) -> None:
    rows = [world.night(day, steady(seed=number)) for number, day in enumerate(days(4))]
    assert [row["verdict"] for row in rows] == ["unknown", "unknown", "no_gap_seen", "no_gap_seen"]
    assert [row["baseline_days"] for row in rows] == [0, 0, 2, 3]
    assert codes(rows[0]) == codes(rows[1]) == ["cold_start"]
    assert rows[0]["smallest_gap_s"] is None
    assert 300 <= rows[3]["smallest_gap_s"] < 3600


def test_faults_count_in_the_first_days_too(world: World) -> None:
    entry = world.collect(START, members=[document("a")], counts={START: [500, 1]})
    world.tables(START, steady(500), segment=entry.segment or "", rejects=[{"member": "a", "reason": "no_time"}])
    assert world.judge(START)["verdict"] == "partial"


def test_a_source_that_begins_at_noon_has_a_window_edge(world: World) -> None:
    row = world.night(START, steady()[1000:])
    assert row["verdict"] == "partial"
    found = reason(row, "window_edge")
    assert found["from"] == at(START, 0)
    assert abs(found["to"] - at(START, 12)) < dt.timedelta(minutes=10)
    assert lowering(row["reasons"]) == {"window_edge"}


def test_one_lonely_first_record_is_a_window_edge(world: World) -> None:
    assert world.night(START, np.array([15 * HOUR_US]))["verdict"] == "partial"


def test_a_late_start_is_no_edge_once_there_were_records_before(world: World) -> None:
    world.night(START, steady())
    assert world.night(START + DAY, steady()[1000:])["verdict"] == "unknown"


def archive(world: World, last_h: float, after: bool) -> dict[str, object]:
    """Five days read at one go a year later; the last one ends early, or is followed by another."""
    late = at(START, 24 * 400)
    for number, day in enumerate(days(5)):
        times = steady(seed=number)
        world.put(day, without(times, last_h, 24) if number == 4 else times, at=late)
        if number < 4:
            world.judge(day)
    if after:
        world.put(START + 5 * DAY, steady(seed=77), at=late)
    return world.judge(START + 4 * DAY)


def test_the_end_of_an_archive_is_an_edge_not_a_silence(world: World) -> None:
    row = archive(world, 10, after=False)
    assert row["verdict"] == "partial"
    assert lowering(row["reasons"]) == {"window_edge"}  # type: ignore[arg-type]
    found = reason(row, "window_edge")
    assert found["to"] == at(START + 4 * DAY, 24)
    assert found["expected"] > 1000


def test_with_a_later_day_it_is_a_silence(world: World) -> None:
    assert lowering(archive(world, 10, after=True)["reasons"]) == {"silent"}  # type: ignore[arg-type]


def test_a_whole_last_day_is_no_edge(world: World) -> None:
    assert archive(world, 24, after=False)["verdict"] == "no_gap_seen"


def test_a_two_day_archive_that_ends_at_ten(world: World) -> None:
    late = at(START, 24 * 400)
    world.night(START, steady(), at=late)
    row = world.night(START + DAY, without(steady(seed=1), 10, 24), at=late)
    assert (row["verdict"], lowering(row["reasons"])) == ("partial", {"window_edge"})


def test_a_live_day_that_ends_early_is_silent(known: World) -> None:
    row = known.night(D, without(steady(seed=5), 10, 24))
    assert (row["verdict"], lowering(row["reasons"])) == ("partial", {"silent"})
    assert reason(row, "silent")["to"] == at(D, 24)


# --- silence ---


@pytest.mark.parametrize(("kind", "number"), [("office", 3), ("service", 3), ("office", 18)])
def test_nine_hours_of_silence(world: World, number: int, kind: str) -> None:
    rng = np.random.default_rng(number)
    for day in days(number):
        world.night(day, simulate.ALL[kind](rng, day))
    day = START + number * DAY
    assert day.weekday() < 5
    whole = simulate.ALL[kind](rng, day)
    row = world.night(day, without(whole, 8, 17))
    assert (row["verdict"], row["baseline_days"]) == ("partial", number)
    found = reason(row, "silent")
    before = whole[whole <= 8 * HOUR_US][-1] / HOUR_US
    after = whole[whole >= 17 * HOUR_US][0] / HOUR_US
    assert abs(found["from"] - at(day, before)) < dt.timedelta(minutes=1)
    assert abs(found["to"] - at(day, after)) < dt.timedelta(minutes=1)
    taken = int(((whole > 8 * HOUR_US) & (whole < 17 * HOUR_US)).sum())
    assert found["seen"] == 0
    assert taken / 3 < found["expected"] < taken * 3
    assert found["detail"].startswith("silent from 0")
    assert "expected" in found["detail"]
    assert "longest silence usual at these hours is" in found["detail"]


def test_a_silence_over_midnight_names_when_it_began(known: World) -> None:
    known.night(D, without(steady(seed=3), 21, 24))
    row = known.night(D + DAY, without(steady(seed=4), 0, 3))
    found = reason(row, "silent")
    assert at(D, 20.8) < found["from"] <= at(D, 21)
    assert f"on {D}" in found["detail"]
    assert "on this day" in found["detail"]
    assert found["expected"] == pytest.approx(250, rel=0.3)


def test_a_partial_day_does_not_teach(known: World) -> None:
    known.night(D, without(steady(seed=5), 8, 17))
    row = known.night(D + DAY, steady(seed=6))
    assert (row["verdict"], row["baseline_days"]) == ("no_gap_seen", 3)


def test_volume_is_told_and_does_not_judge(world: World) -> None:
    history(world, 4)
    day = START + 4 * DAY
    row = world.night(day, steady(9000))
    assert (row["verdict"], codes(row)) == ("no_gap_seen", ["volume_high"])
    assert row["expected_low"] < 2000 < row["expected_high"] < 9000
    few = world.night(day + 3 * DAY, steady(600))
    assert (few["verdict"], codes(few)) == ("no_gap_seen", ["volume_low"])


def test_a_source_too_sparse_to_be_seen_silent_says_so(world: World) -> None:
    for number, day in enumerate(days(3)):
        world.night(day, steady(4, seed=number))
    row = world.night(D, steady(4, seed=8))
    assert row["smallest_gap_s"] is None
    assert "no silence shorter than a day would have been noticed" in reason(row, "volume_low")["detail"]


# --- time ---


def test_lag_and_future_stand_beside_the_verdict(known: World) -> None:
    times = steady()
    base = int(at(D, 0).timestamp()) * 1_000_000
    lag = np.where(
        np.arange(2000) % 10 == 0, 27 * HOUR_US - times, HOUR_US // 60
    )  # a tenth three hours after the day's end
    lag[:7] = -600 * 1_000_000
    visible = pa.array(times + base + lag, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    row = known.night(D, times, columns={"x_visible_time": visible})
    assert row["verdict"] == "no_gap_seen"
    assert set(codes(row)) == {"lag", "future"}
    p95 = float(np.quantile(lag, 0.95)) / 1e6
    assert (row["future"], row["lag_p50_s"], row["lag_max_s"]) == (7, 60, float(lag.max()) / 1e6)
    assert row["lag_p95_s"] == pytest.approx(p95)
    found = reason(row, "lag")
    assert (found["expected"], found["seen"]) == (7200, 3 * 3600)
    assert (
        "3 h passed after the end of the day until 95 % of the records were visible; settles_after is 2 h"
        in found["detail"]
    )


def test_a_host_that_hands_its_log_over_once_a_day_is_not_late(known: World) -> None:
    times = steady()
    base = int(at(D, 0).timestamp()) * 1_000_000
    visible = pa.array(np.full(2000, base + 24 * HOUR_US + HOUR_US // 3), pa.int64())
    row = known.night(D, times, columns={"x_visible_time": visible.cast(pa.timestamp("us", tz="UTC"))})
    assert (row["verdict"], codes(row)) == ("no_gap_seen", [])
    assert row["lag_p95_s"] > 20 * 3600


def test_stamps_far_before_the_delivery_are_late(known: World) -> None:
    times = steady()
    base = int(at(D, 0).timestamp()) * 1_000_000
    lag = np.full(2000, HOUR_US // 60)
    lag[:30] = 36 * HOUR_US + np.arange(30)  # the first is not more than a day and a half
    visible = pa.array(times + base + lag, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    row = known.night(D, times, columns={"x_visible_time": visible})
    assert (row["verdict"], codes(row)) == ("no_gap_seen", ["lag"])
    found = reason(row, "lag")
    assert found["share"] == pytest.approx(29 / 2000)
    assert "29 events (1.5 %) dated more than 36 h before they were visible" in found["detail"]


def test_unknown_visible_times_give_no_lag(known: World) -> None:
    row = known.night(D, steady())
    assert (row["lag_p50_s"], row["lag_p95_s"], row["lag_max_s"]) == (None, None, None)


def test_a_sender_that_must_be_heard(tmp_path: Path) -> None:
    world = World(tmp_path, more=", expected: [web-1, web-2]")
    for number, day in enumerate(days(3)):
        world.night(day, steady(seed=number), columns={"device_hostname": ["web-1", "web-2"] * 1000})
    assert world.night(D, steady(), columns={"device_hostname": ["web-2", "web-1"] * 1000})["verdict"] == "no_gap_seen"
    row = world.night(D, steady(), columns={"device_hostname": "web-1"})
    assert row["verdict"] == "partial"
    assert "web-2" in reason(row, "sender_silent")["detail"]


# --- purity ---


def test_days_after_change_nothing(known: World) -> None:
    row = known.night(D, steady(seed=3))
    file = Path(known.lake.path(f"completeness/day={D}/completeness.parquet"))
    before = file.read_bytes()
    for number in range(1, 4):
        known.night(D + number * DAY, steady(9000, seed=number))
    assert known.judge(D) == row
    assert file.read_bytes() == before


def test_late_records_move_the_edition_and_how_far_was_collected(known: World) -> None:
    row = known.night(D, steady(1990))
    assert row["collected_until"] == known.settings.as_of(D)
    known.collect(D + DAY, counts={D: [10, 0], D + DAY: [1, 0]})
    known.tables(D, steady(2000))
    late = known.judge(D)
    assert (row["edition"], late["edition"], late["events"]) == (1, 2, 2000)
    assert late["collected_until"] == known.settings.as_of(D + DAY)
    assert known.judge(D)["edition"] == 2


def test_what_late_records_changed_is_noted(known: World) -> None:
    known.night(D, steady(1990))
    assert changes(known.lake, D) == {}
    known.judge(D)
    assert changes(known.lake, D) == {}  # computed again, and nothing new
    for number, records in enumerate((2000, 2013)):
        known.collect(D + DAY, counts={D: [records - (1990, 2000)[number], 0], D + DAY: [1, 0]})
        known.tables(D, steady(records))
        known.judge(D)
    noted = [{"edition": 2, "before": 1990, "after": 2000}, {"edition": 3, "before": 2000, "after": 2013}]
    assert changes(known.lake, D) == {"app": noted}
    assert known.judge(D)["edition"] == 3
    assert changes(known.lake, D) == {"app": noted}


def test_each_source_has_its_row_and_knows_nothing_of_the_other(tmp_path: Path) -> None:
    world = World(tmp_path, sources=("app", "dns"))
    for number, day in enumerate(days(3)):
        world.put(day, steady(seed=number), source="app")
        world.put(day, steady(seed=number), source="dns")
        world.judge(day)
    world.put(D, steady(seed=3), source="app")
    world.put(D, without(steady(seed=3), 8, 17), source="dns")
    assert world.judge(D, "app")["verdict"] == "no_gap_seen"
    assert world.judge(D, "dns")["verdict"] == "partial"


def test_the_input_hash_follows_what_was_used(known: World) -> None:
    known.night(D, steady(seed=3))
    first = known.lake.table_metadata("completeness", D) or {}
    known.judge(D)
    assert (known.lake.table_metadata("completeness", D) or {})["input_hash"] == first["input_hash"]
    known.tables(START + DAY, steady(1500))  # a baseline day changes
    known.judge(START + DAY)
    known.judge(D)
    assert (known.lake.table_metadata("completeness", D) or {})["input_hash"] != first["input_hash"]
