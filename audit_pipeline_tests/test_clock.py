"""The one clock: UTC, aware, and read nowhere else."""

from __future__ import annotations

import ast
import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.clock import DAY, UTC, SimulatedClock, SystemClock, as_of, midnight, rfc3339

ROOT = Path(__file__).parent.parent / "audit_pipeline"
_READS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"), ("time", "time_ns"), ("time", "gmtime"), ("time", "localtime")}  # fmt: skip


def test_the_machines_clock_is_aware_and_says_that_it_is_real() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.tzinfo is UTC
    assert first <= second
    assert not clock.simulated


def test_a_simulated_clock_stands_still_and_says_so() -> None:
    at = dt.datetime(2025, 6, 2, 3, tzinfo=UTC)
    assert (SimulatedClock(at).now(), SimulatedClock(at).simulated) == (at, True)


@given(day=st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 30)), run_at=st.times())
def test_as_of_is_the_next_midnight_and_run_at(day: dt.date, run_at: dt.time) -> None:
    found = as_of(day, run_at.replace(microsecond=0))
    assert found.date() == day + DAY
    assert found.time() == run_at.replace(microsecond=0)
    assert midnight(day) < found < midnight(day) + 2 * DAY


@given(moment=st.datetimes(timezones=st.timezones()))
def test_rfc3339_reads_back_as_the_same_instant(moment: dt.datetime) -> None:
    try:
        text = rfc3339(moment)
    except OverflowError:  # the year 1 or 9999 in another zone
        return
    assert text.endswith("Z")
    assert dt.datetime.fromisoformat(text) == moment.astimezone(UTC)


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_else_reads_the_time(file: Path) -> None:
    if file.name == "clock.py":
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            assert (owner, node.attr) not in _READS, f"{file}:{node.lineno}"
