"""Expectations as data: what passes, fails, crashes and cannot be evaluated is told apart, and failures show their events."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from audit_pipeline.clock import midnight
from audit_pipeline.errors import ConfigError
from audit_pipeline.quality.checks import check
from audit_pipeline.quality.expectations import Outcome, judge
from audit_pipeline.quality.suite import CHECKS, Expected, load
from audit_pipeline_tests.quality.world import HOUR_US, START, World, document


def expected(expect: str = "expect_column_values_to_be_between", **given: object) -> Expected:
    return Expected.model_validate(
        {"name": "one", "check": "fields", "expect": expect, "with": given, "meaning": "as said"}
    )


def one(frame: pd.DataFrame, wanted: Expected) -> Outcome:
    (outcome,) = judge(frame, [wanted])
    return outcome


FRAME = pd.DataFrame({"source": ["a", "b", "c", "d"], "share": [0.0, 0.5, 0.9, None], "n": [1, 2, 3, 4]})


def test_pass_and_fail_with_count_and_share() -> None:
    good = one(FRAME, expected(column="n", min_value=1))
    assert (good.state, good.count, good.share, good.failed) == ("pass", 0, 0.0, ())
    bad = one(FRAME, expected(column="share", max_value=0.1))
    assert (bad.state, bad.count) == ("fail", 2)
    assert bad.share == pytest.approx(2 / 3)
    assert (bad.failed, bad.left_out) == (("b", "c"), ("d",))
    assert bad.examples == [{"share": 0.5, "source": "b"}, {"share": 0.9, "source": "c"}]
    assert bad.exception is None


def test_no_data_is_not_a_pass() -> None:
    nothing = FRAME[FRAME["source"] == "d"]
    assert one(nothing, expected(column="share", max_value=0.1)).state == "not_evaluated"
    assert one(nothing, expected(column="share", max_value=0.1)).left_out == ("d",)
    assert one(FRAME[:0], expected(column="n", min_value=1)).state == "not_evaluated"


def test_what_holds_where_there_is_data_and_has_none_elsewhere_is_incomplete() -> None:
    outcome = one(FRAME, expected(column="share", max_value=1))
    assert (outcome.state, outcome.count, outcome.left_out) == ("incomplete", 0, ("d",))
    assert one(FRAME[:3], expected(column="share", max_value=1)).state == "pass"
    assert one(FRAME, expected(column="share", max_value=0.1)).state == "fail"  # the worst first
    assert one(FRAME, expected(column="nope", max_value=0.1)).state == "crashed"


def test_an_expectation_about_nulls_sees_them() -> None:
    outcome = one(FRAME, expected("expect_column_values_to_not_be_null", column="share"))
    assert (outcome.state, outcome.count, outcome.failed) == ("fail", 1, ("d",))


@pytest.mark.parametrize(
    "broken",
    [
        expected(column="no_such_column", max_value=1),
        expected("expect_column_values_to_be_splendid", column="n"),
        expected(column="n", no_such_argument=1),
        expected("expect_column_values_to_match_regex", column="n", regex="("),
    ],
)
def test_a_broken_check_is_not_bad_data(broken: Expected) -> None:
    outcome = one(FRAME, broken)
    assert outcome.state == "crashed"
    assert outcome.exception
    assert outcome.count is None


def test_one_crash_does_not_touch_the_others() -> None:
    wanted = [
        expected(column="nope", max_value=1),
        expected(column="n", min_value=1),
        expected(column="n", max_value=1),
    ]
    assert [outcome.state for outcome in judge(FRAME, wanted)] == ["crashed", "pass", "fail"]


def test_the_same_expectation_twice_is_judged_twice() -> None:
    """Those that read the same rows are judged together; each has an outcome of its own, in the suite's order."""
    twin = {"check": "fields", "expect": "expect_column_values_to_be_between", "with": {"column": "n", "max_value": 1}}
    names = ["b", "a", "c"]
    wanted = [Expected.model_validate({**twin, "name": name, "meaning": name}) for name in names]
    found = judge(FRAME, [*wanted, expected(column="share", max_value=1)])
    assert [outcome.name for outcome in found] == [*names, "one"]
    assert [outcome.count for outcome in found] == [3, 3, 3, 0]
    assert [outcome.meaning for outcome in found] == [*names, "as said"]


def test_great_expectations_is_loaded_by_judging_alone() -> None:
    code = (
        "import sys, audit_pipeline.quality.checks, audit_pipeline.quality.completeness\n"
        "assert 'great_expectations' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_judging_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    judge(FRAME, [expected(column="n", min_value=1), expected(column="nope", min_value=1)])
    assert capfd.readouterr() == ("", "")


# --- the suite ---


def test_the_suite_of_the_package(tmp_path: Path) -> None:
    suite = load(World(tmp_path).settings)
    assert {wanted.check for wanted in suite} == set(CHECKS)
    assert all(wanted.meaning and wanted.columns for wanted in suite)


def write(root: Path, text: str) -> None:
    (root / "expectations").mkdir(exist_ok=True)
    (root / "expectations" / "own.yaml").write_text(text, encoding="utf-8")


OWN = """expectations:
  - {name: few_rejects, check: accounting, expect: expect_column_values_to_be_between, with: {column: rejects_share, max_value: 0.5}, meaning: half}
  - {name: at_least_ten, check: fields, expect: expect_column_values_to_be_between, with: {column: events, min_value: 10}, meaning: ten}
"""


def test_the_user_s_own_replace_and_add(tmp_path: Path) -> None:
    world = World(tmp_path)
    before = len(load(world.settings))
    write(tmp_path, OWN)
    suite = {wanted.name: wanted for wanted in load(world.settings)}
    assert len(suite) == before + 1
    assert suite["few_rejects"].with_["max_value"] == 0.5
    assert suite["at_least_ten"].severity == "error"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("expectations: [{name: a}]", "expectations.0.check"),
        ("[1, 2", "own.yaml"),
        ("other: 1", "expectations"),
        (OWN + OWN.split("\n", 1)[1], "twice"),
        ("expectations: [{name: a, check: beauty, expect: expect_x, meaning: m}]", "expectations.0.check"),
    ],
)
def test_a_file_that_is_no_suite_is_named(tmp_path: Path, text: str, told: str) -> None:
    world = World(tmp_path)
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"own\.yaml") as caught:
        load(world.settings)
    assert told in str(caught.value)


# --- the checks of a day ---


def outcomes(world: World, source_day: object = START) -> dict[str, Outcome]:
    return {outcome.name: outcome for found in check(world.settings, world.lake, START).values() for outcome in found}


def test_a_good_day(tmp_path: Path) -> None:
    world = World(tmp_path)
    times = np.arange(2000, dtype=np.int64) * 40_000_000
    stamps = pa.array(times + 1_772_409_600_000_000 + 60_000_000).cast(pa.timestamp("us", tz="UTC"))
    world.night(START, times, columns={"x_visible_time": stamps})
    found = outcomes(world)
    assert {name for name, outcome in found.items() if outcome.state == "not_evaluated"} == {
        "no_unusual_silence"
    }  # the first day
    assert all(outcome.state == "pass" for name, outcome in found.items() if name != "no_unusual_silence")


def test_a_day_without_data_passes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.judge(START)
    assert {outcome.state for outcome in outcomes(world).values()} == {"not_evaluated"}


def test_without_visible_times_nothing_is_said_of_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.night(START, np.arange(100, dtype=np.int64))
    found = outcomes(world)
    assert {found[name].state for name in ("settled_in_time", "no_future_dates")} == {"not_evaluated"}


def test_failures_show_their_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    times = np.arange(100, dtype=np.int64) * HOUR_US // 10
    entry = world.collect(START, members=[document("a.gz")], counts={START: [101, 2]})
    zero = 1_772_409_600_000_000
    visible = times + zero + np.where(np.arange(100) >= 90, 27 * HOUR_US - times, 1)
    visible[3] = times[3] + zero - 400_000_000
    columns = {
        "actor_user_name": ["ana"] * 60 + [None] * 40,
        "metadata_uid": [f"id-{n}" for n in range(100)],
        "x_visible_time": pa.array(visible).cast(pa.timestamp("us", tz="UTC")),
    }
    rejects = [{"member": "a.gz", "line": n, "reason": "no_time", "detail": "<b>"} for n in (7, 8)]
    world.tables(START, times, segment=entry.segment or "", columns=columns, rejects=rejects)
    world.judge(START)
    found = outcomes(world)
    assert [example["uid"] for example in found["actor_present"].examples] == [
        "id-60",
        "id-61",
        "id-62",
        "id-63",
        "id-64",
    ]
    assert found["actor_present"].examples[0]["segment"] == entry.segment
    assert [example["line"] for example in found["few_rejects"].examples] == [7, 8]
    assert [example["uid"] for example in found["no_future_dates"].examples] == ["id-3"]
    assert [example["uid"] for example in found["settled_in_time"].examples] == [f"id-{n}" for n in range(90, 95)]
    assert found["every_record_accounted_for"].examples == [{"accounting_difference": 1.0, "source": "app"}]
    assert found["time_present"].state == "pass"
    assert (found["actor_present"].events, found["actor_present"].events_share) == (40, 0.4)
    assert found["actor_present"].observed == "1 of 1 sources unexpected; 40 rows of 100 (40.0 %)"
    assert (found["settled_in_time"].events, found["settled_in_time"].events_share) == (10, 0.1)
    assert (found["few_rejects"].events, found["few_rejects"].events_share) == (2, 2 / 102)
    assert found["every_record_accounted_for"].events is None


def test_a_suite_of_the_user_s_shows_count_share_and_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    write(
        tmp_path,
        """expectations:
  - {name: no_copies, check: accounting, expect: expect_column_values_to_be_between, with: {column: duplicates_share, max_value: 0}, meaning: none}
""",
    )
    copies = [int(n in (3, 30, 60)) for n in range(100)]
    columns = {
        "x_records": [1 + n for n in copies],
        "x_duplicates": copies,
        "metadata_uid": [f"id-{n}" for n in range(100)],
    }
    world.put(START, np.arange(100, dtype=np.int64), columns=columns)
    world.judge(START)
    found = outcomes(world)["no_copies"]
    assert (found.state, found.count, found.share, found.failed) == ("fail", 1, 1.0, ("app",))
    assert (found.events, found.events_share) == (3, 0.03)
    assert [example["uid"] for example in found.examples] == ["id-3", "id-30", "id-60"]


def test_an_unusual_silence_fails_the_check(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(4):
        day = START.replace(day=START.day + number)
        times = np.sort(np.random.default_rng(number).integers(0, 24 * HOUR_US, 2000))
        world.night(day, times if number < 3 else times[:1000])
    found = {o.name: o for o in check(world.settings, world.lake, day)["timeliness"]}
    silence = found["no_unusual_silence"]
    assert silence.state == "fail"
    assert silence.events is None
    stamps = [example["time"] for example in silence.examples]
    assert stamps == [midnight(day) + dt.timedelta(microseconds=int(times[999]))]  # the last event before it


def test_a_suite_of_the_user_s_that_is_broken_is_crashed_not_failed(tmp_path: Path) -> None:
    world = World(tmp_path)
    write(tmp_path, OWN.replace("column: events", "column: evnets"))
    world.night(START, np.arange(100, dtype=np.int64))
    assert outcomes(world)["at_least_ten"].state == "crashed"


def test_a_suite_that_cannot_be_read_does_not_cost_a_night_its_checks(tmp_path: Path) -> None:
    world = World(tmp_path)
    write(tmp_path, "expectations: [{name: a}]")
    world.night(START, np.arange(100, dtype=np.int64))
    found = check(world.settings, world.lake, START)
    for wanted in found.values():
        broken = wanted[-1]
        assert (broken.name, broken.state) == ("expectations/own.yaml", "crashed")
        assert "expectations.0.check" in (broken.exception or "")
        assert len(wanted) > 1
    assert outcomes(world)["every_record_accounted_for"].state == "pass"


def test_judging_a_day_is_quick(tmp_path: Path) -> None:
    """200,000 events: a fifth of the day that is promised half a second; a generous bound for a shared machine."""
    world = World(tmp_path)
    times = np.sort(np.random.default_rng(1).integers(0, 24 * HOUR_US, 200_000))
    world.put(START, times)
    check(world.settings, world.lake, START)  # loads the libraries
    begin = time.process_time()
    check(world.settings, world.lake, START)
    assert time.process_time() - begin < 1.5
