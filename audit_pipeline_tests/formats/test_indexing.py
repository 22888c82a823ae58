"""The index: derived from raw and made anew whenever it is behind; each record in its day, each fault under its member."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.base import Keys
from audit_pipeline.formats.cloudtrail import CloudTrail
from audit_pipeline.lake import manifest
from audit_pipeline_tests.sources.world import DAY, HOUR, NOON, SOURCE, World, document, lines, packed, record

NEXT = DAY + dt.timedelta(days=1)


class _Newer(CloudTrail):
    """A parser that was mended: every event happened a day later."""

    version = 99

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:
        found = super().keys(records, visible)
        found.time_us = [None if time is None else time + 86_400_000_000 for time in found.time_us]
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _index(world: World, day: dt.date) -> list[dict[str, Any]]:
    """All index rows of a day, as stored."""
    folder = Path(world.lake.root, f"index/source={SOURCE}/day={day}")
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file, partitioning=None).to_pylist()]  # fmt: skip


def test_each_record_is_in_its_day_to_the_last_microsecond(world: World) -> None:
    times = ["2025-06-01T23:59:59.999999Z", "2025-06-02T00:00:00Z", "2025-06-02T23:59:59Z", "2025-06-03T01:00:00+02:00", "2025-06-03T00:00:00Z"]  # fmt: skip
    world.put("a.json", document(*(record(n, eventTime=time) for n, time in enumerate(times))))
    world.collect(NOON + 48 * HOUR)
    assert world.index() == [DAY - dt.timedelta(days=1), DAY, NEXT]
    assert [[row["line"] for row in _index(world, day)] for day in indexing.indexed_days(world.lake, SOURCE)] == [[0], [1, 2, 3], [4]]  # fmt: skip
    assert [indexing.index_count(world.lake, SOURCE, day) for day in (DAY, NEXT, DAY + 9 * dt.timedelta(1))] == [
        3,
        1,
        0,
    ]


def test_lines_count_through_the_whole_segment(world: World) -> None:
    """`x_segment` and `x_line` lead back to the record's own bytes, whatever stands between."""
    world.put("a.json", document(record(0), record(1)))
    world.put("b.json.gz", packed(record(2))[:-3])
    world.put("c.json", lines(3, 4) + b"{broken\n" + lines(5))
    world.night()
    entry = manifest.read(world.lake, SOURCE, 1)
    every = [
        r
        for m in entry.members
        for r in world.form.split(_inflated(world.lake.read(str(entry.segment), m.offset, m.offset + m.length)), True).records
    ]  # fmt: skip
    for uid, segment, line, raw in world.rows("SELECT metadata_uid, x_segment, x_line, raw_data FROM events"):
        assert segment == entry.segment
        assert every[line].decode() == raw == record(uid[2:]).decode()
    assert world.uids() == [f"e-{n}" for n in range(6)]


def _inflated(data: bytes) -> bytes:
    import zlib

    return zlib.decompressobj(31).decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"", ["empty"]),
        (b"not json", ["not_json"]),
        (packed(record(1))[:-1], ["truncated"]),
        (packed(record(1)) + b"tail", ["trailing"]),
        (gzip.compress(b"", mtime=0), ["empty"]),
        (document(b'{"eventID":"x"}'), ["no_time"]),
        (document(b"7", b'"text"', b"null"), ["not_an_object"] * 3),
        (document(record(1, eventTime="1999-01-01T00:00:00Z")), ["bad_time"]),
        (document(record(1), record(2))[:-2], ["truncated"]),
        (b'{"Records":[]}', []),
    ],
)
def test_a_fault_alone_in_its_collection_is_a_reject_under_its_member(world: World, data: bytes, reasons: list[str]) -> None:  # fmt: skip
    world.put("only.json.gz" if data[:2] == b"\x1f\x8b" else "only.json", data)
    world.night(NOON + 5 * HOUR)
    found = world.rows("SELECT reason, member, day FROM rejects")
    assert [reason for reason, _, _ in found] == reasons
    assert all(member.endswith(("/only.json", "/only.json.gz")) for _, member, _ in found)
    assert all(day == (dt.date(1999, 1, 1) if reason == "bad_time" else DAY) for reason, _, day in found)
    records, rejects, rows = world.account()
    assert records + rejects == rows


def test_all_records_of_a_corrupt_member_are_rejects(world: World) -> None:
    forged = bytearray(packed(record(1), record(2)))
    forged[-8] ^= 1
    world.put("a.json.gz", bytes(forged))
    world.put("b.json.gz", packed(record(3)))
    world.night()
    assert world.uids() == ["e-3"]
    assert world.rows("SELECT reason, line, raw FROM rejects ORDER BY line") == [
        ("corrupt", 0, record(1).decode()),
        ("corrupt", 1, record(2).decode()),
    ]


def test_nothing_is_indexed_twice_and_a_new_collection_touches_only_its_days(world: World) -> None:
    world.put("a.json", document(record(1), record(2, NOON + 24 * HOUR)))
    world.collect()
    assert world.index() == [DAY, NEXT]
    assert world.index() == []
    world.build()
    world.put("late.json", document(record(3)), NOON + 30 * HOUR)
    world.collect(NOON + 31 * HOUR)
    before = {day: indexing.input_hash(world.lake, SOURCE, day) for day in (DAY, NEXT)}
    assert world.index() == [DAY]
    after = {day: indexing.input_hash(world.lake, SOURCE, day) for day in (DAY, NEXT)}
    assert (before[DAY] != after[DAY], before[NEXT] == after[NEXT]) == (True, True)


def test_a_collection_without_news_makes_no_day_behind(world: World) -> None:
    world.put("a.json", document(record(1)))
    world.night()
    before = indexing.input_hash(world.lake, SOURCE, DAY)
    world.collect(NOON + 5 * HOUR)
    assert world.index() == []
    assert indexing.input_hash(world.lake, SOURCE, DAY) == before


def test_a_raised_version_indexes_anew_and_records_reach_their_true_day(world: World) -> None:
    world.put("a.json", document(record(1)))
    world.night()
    old = indexing.input_hash(world.lake, SOURCE, DAY)
    world.form = _Newer()
    assert world.index() == [NEXT]
    assert indexing.input_hash(world.lake, SOURCE, DAY) != old
    assert world.build(DAY, NEXT)[NEXT].events == 1
    assert world.rows("SELECT day, metadata_uid FROM events") == [(NEXT, "e-1")]
    assert (indexing.indexed_days(world.lake, SOURCE), indexing.index_count(world.lake, SOURCE, DAY)) == ([NEXT], 0)


@pytest.mark.parametrize("lost", ["marker", "file", "both", "folder", "marker broken"])
def test_what_is_lost_of_the_index_is_made_anew(world: World, lost: str) -> None:
    world.put("a.json", document(record(1), record(2, NOON + 24 * HOUR)))
    world.night()
    world.put("b.json", document(record(3), b'{"eventID":"undated"}'), NOON + HOUR)
    world.night(NOON + 2 * HOUR)
    content, account = world.content_hash(), world.account()
    folder = Path(world.lake.root, f"index/source={SOURCE}")
    marker, file = folder / "00000002.json", folder / f"day={DAY}" / "00000002.parquet"
    if lost in ("marker", "both"):
        marker.unlink()
    if lost in ("file", "both"):
        file.unlink()
    if lost == "folder":
        for path in folder.rglob("*.parquet"):
            path.unlink()
    if lost == "marker broken":
        marker.write_bytes(marker.read_bytes()[:20])
    built = world.build(DAY, NEXT)
    assert (built[DAY].events, built[DAY].rejects, built[NEXT].events) == (2, 1, 1)
    assert (world.content_hash(), world.account()) == (content, account)


def test_a_kill_between_index_files_and_marker_leaves_nothing_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Files without a marker do not count: neither before nor after the next run."""
    world.put("a.json", document(record(1)))
    world.night()
    world.put("b.json", document(record(2)), NOON + HOUR)
    world.collect(NOON + 2 * HOUR)

    def killed(_lake: object, relative: str, _data: bytes) -> None:
        assert relative.endswith("00000002.json")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(world.lake), "write", killed)
        with pytest.raises(KeyboardInterrupt):
            world.index()
    assert Path(world.lake.root, indexing.file(SOURCE, DAY, 2)).exists()
    assert unify.build(world.lake, SOURCE, world.form, DAY).events == 1
    assert world.build(DAY)[DAY].events == 2


def test_the_same_raw_gives_the_same_bytes_of_index(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        world = World(tmp_path / name, glob=str(tmp_path / "logs/*"))
        (tmp_path / "logs").mkdir(exist_ok=True)
        if name == "one":
            World(tmp_path).put("a.json", document(record(1), record(2)))
        world.collect()
        world.index()
        contents.append(Path(world.lake.root, indexing.file(SOURCE, DAY, 1)).read_bytes())
    assert contents[0] == contents[1]
