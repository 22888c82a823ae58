"""What stands behind an anomaly: its events, and whether the forest sees it by the features that are told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audit_pipeline.anomaly import words
from audit_pipeline.anomaly.features import features
from audit_pipeline.anomaly.forest import Forest
from audit_pipeline.context import connect
from audit_pipeline.lake.store import Lake
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings

DAY = dt.date(2026, 3, 2)
ONE = {one.name: one for one in features()}


def _lines(root: Path, feature: str, rows: Sequence[Mapping[str, object]]) -> list[int]:
    settings = Settings.from_text("start: 2026-03-01\nsources: {one: {type: files, format: cloudtrail, paths: [x]}}\n", root / "pipeline.yaml")  # fmt: skip
    lake, blank = Lake.open(str(root / "lake")), dict.fromkeys(EVENT_SCHEMA.names)
    base = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    made = [blank | {"day": DAY, "x_source": "one", "x_segment": "s", "x_actor": "o'hara", "x_line": line, "time": base + dt.timedelta(minutes=line), **row} for line, row in enumerate(rows)]  # fmt: skip
    lake.write_table("events", pa.Table.from_pylist(made, schema=EVENT_SCHEMA), DAY, "one", {"input_hash": "x"})
    with connect(settings, lake, since=DAY, until=DAY, tables=["events"]) as con:
        return [ref["line"] for ref in words.refs(con, "o'hara", ONE[feature], DAY)]


@pytest.mark.parametrize(
    ("feature", "column", "values", "lines"),
    [
        ("operations", "api_operation", ["a", "a", "b", None, "'", "b"], [0, 2, 4]),
        ("hosts", "device_hostname", [None, "h1", "h1", "h2"], [1, 3]),
        ("network_count", "src_endpoint_ip", ["10.0.0.1", "10.0.9.9", "no address", None, "10.1.0.1", "::1"], [0, 4, 5]),
    ],
    ids=["operations", "hosts", "networks"],
)  # fmt: skip
def test_behind_different_values_is_the_first_event_of_each(
    tmp_path: Path, feature: str, column: str, values: list[str | None], lines: list[int]
) -> None:
    assert _lines(tmp_path, feature, [{column: value} for value in values]) == lines


def test_behind_errors_are_failed_calls_that_are_no_refusals(tmp_path: Path) -> None:
    call = {"category_uid": 6, "status_id": 2, "api_operation": "GetObject"}
    rows = [call, call | {"http_response_code": 403}, call | {"status_id": 1}, call | {"status_code": "Throttling"}, {"x_actor": "eve"} | call]  # fmt: skip
    assert _lines(tmp_path / "a", "errors", rows) == [0, 3]
    assert _lines(tmp_path / "b", "refusals", rows) == [1]


def test_references_are_not_without_end(tmp_path: Path) -> None:
    rows = [{"api_operation": f"o{n}"} for n in range(words.MAX_REFS + 20)]
    assert _lines(tmp_path, "operations", rows) == list(range(words.MAX_REFS))


def test_without_the_feature_that_made_a_row_odd_the_forest_takes_it_for_usual() -> None:
    draw = np.random.default_rng(2)
    train = np.maximum(draw.normal(size=(3000, 8)), 0)
    odd = np.maximum(draw.normal(size=(5, 8)), 0) * 0.1
    odd[np.arange(5), [0, 2, 3, 5, 7]] = 9.0
    told = words.occlusion(Forest(train, 1), train, odd)
    assert (
        told == "of 5 told, the feature that weighs most in the forest is the first told in 5, one of those told in 5"
    )


def test_a_feature_that_nobody_ever_had_does_not_weigh_in_the_forest_and_that_is_said() -> None:
    draw = np.random.default_rng(2)
    train = np.maximum(draw.normal(size=(3000, 8)), 0)
    train[:, 4] = 0
    odd = np.full((1, 8), 0.2)
    odd[0, 4] = 30.0
    told = words.occlusion(Forest(train, 1), train, odd)
    assert told is not None
    assert "the first told in 0" in told
    assert words.occlusion(Forest(train, 1), train, odd[:0]) is None
