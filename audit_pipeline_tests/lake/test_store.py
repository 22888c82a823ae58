"""The store: a reader sees the old file or the new one and never half of one; only the first creates; one writer a lake."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline.errors import BusyError, LakeError
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.views import add_view, connect, partition_files, quote

DAY = dt.date(2025, 6, 2)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def _rejects(*reasons: str) -> pa.Table:
    schema = TABLES["rejects"].schema
    rows = [{name: reason if name == "reason" else None for name in schema.names} for reason in reasons]
    return pa.Table.from_pylist(rows, schema=schema)


def test_read_write_list_remove(lake: Lake) -> None:
    lake.write("a/b/c.txt", b"0123456789")
    lake.write("a/b/b.txt", b"")
    assert lake.names("a/b") == ["b.txt", "c.txt"]
    assert lake.names("nowhere") == []
    assert (lake.read("a/b/c.txt"), lake.read("a/b/c.txt", 2, 5), lake.read("a/b/c.txt", 8)) == (b"0123456789", b"234", b"89")  # fmt: skip
    lake.remove("a/b/c.txt")
    lake.remove("a/b/c.txt")
    assert not lake.exists("a/b/c.txt")
    assert lake.names(".tmp") == []


@pytest.mark.parametrize("how", ["write", "staged", "write_table"])
def test_replacing_a_file_leaves_the_old_one_whole_for_who_reads_it(lake: Lake, how: str) -> None:
    """Who opened the file before still reads the old content to its end: it was exchanged, not written over."""
    relative = TABLES["rejects"].file(DAY, "s")
    lake.write_table("rejects", _rejects("old") if how == "write_table" else _rejects("x"), DAY, "s")
    path = Path(lake.path(relative))
    old = path.read_bytes()
    with path.open("rb", buffering=0) as reader:
        assert reader.read(10) == old[:10]
        if how == "write":
            lake.write(relative, b"new")
        elif how == "staged":
            with lake.staged(relative) as temporary:
                temporary.write_bytes(b"ne")
                assert path.read_bytes() == old  # half written, and nobody sees it
                temporary.write_bytes(b"new")
        else:
            lake.write_table("rejects", _rejects("new"), DAY, "s")
        assert reader.read() == old[10:]
    assert path.read_bytes() != old
    assert lake.names(".tmp") == []


def test_a_writer_that_fails_leaves_the_old_file_and_no_rubbish(lake: Lake) -> None:
    lake.write("a.txt", b"old")

    def fail() -> None:
        with lake.staged("a.txt") as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (lake.read("a.txt"), lake.names(".tmp")) == (b"old", [])


def test_readers_during_many_replacements_see_only_whole_files(lake: Lake) -> None:
    contents = [bytes([65 + n]) * 200_000 for n in range(4)]
    lake.write("a.txt", contents[0])
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(lake.read("a.txt"))

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(60):
        lake.write("a.txt", contents[n % 4])
    done.set()
    thread.join()
    assert seen <= set(contents)
    assert seen


def test_what_a_killed_writer_left_is_no_file_and_the_next_run_removes_it(lake: Lake) -> None:
    lake.write("a.txt", b"old")
    code = (
        "import os, signal, sys\nfrom audit_pipeline.lake.store import Lake\nlake = Lake.open(sys.argv[1])\n"
        "with lake.lock(), lake.staged('a.txt') as temporary:\n    temporary.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, lake.root], check=False).returncode == -9
    assert lake.read("a.txt") == b"old"
    assert len(lake.names(".tmp")) == 1
    with lake.lock(timeout_s=5):  # the lock of a killed process is free
        assert lake.names(".tmp") == []


def test_only_the_first_of_many_creates(lake: Lake) -> None:
    gate = threading.Barrier(8)
    won: list[int] = []

    def create(n: int) -> None:
        gate.wait()
        try:
            lake.create("one.json", b"%d" % n)
            won.append(n)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert lake.read("one.json") == b"%d" % winner
    assert lake.names(".tmp") == []


def test_a_second_writer_waits_and_is_told_when_it_waited_too_long(lake: Lake) -> None:
    with lake.lock():
        begin = time.monotonic()
        with pytest.raises(BusyError, match="another run has been writing"), Lake.open(lake.root).lock(timeout_s=0.2):
            pass
        assert time.monotonic() - begin < 5
    with lake.lock(timeout_s=0.2):
        pass


@pytest.mark.parametrize("url", ["nosuch://x/y", "{root}/file/lake"])
def test_a_lake_that_cannot_be_is_said_with_its_place(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    url = url.format(root=tmp_path)
    with pytest.raises(LakeError, match=url):
        Lake.open(url)


def test_columns_are_those_of_the_registry(lake: Lake) -> None:
    with pytest.raises(ValueError, match="columns differ"):
        lake.write_table("rejects", _rejects("x").drop_columns(["raw"]), DAY, "s")
    with pytest.raises(ValueError, match="columns differ"):
        lake.write_table("rejects", _rejects("x").append_column("own", pa.array([1])), DAY, "s")
    assert lake.days("rejects", "s") == []
    shuffled = _rejects("x").select(list(reversed(TABLES["rejects"].schema.names)))
    lake.write_table("rejects", shuffled, DAY, "s", {"input_hash": "h"})
    note = lake.table_metadata("rejects", DAY, "s") or {}
    assert (note["input_hash"], note["table"], set(note)) == ("h", "rejects", {"input_hash", "table", "schema_version", "code_version"})  # fmt: skip
    assert lake.table_metadata("rejects", DAY, "other") is None


def test_equal_rows_are_equal_bytes(lake: Lake, tmp_path: Path) -> None:
    other = Lake.open(str(tmp_path / "other"))
    for one in (lake, other):
        one.write_table("rejects", _rejects("a", "b"), DAY, "s", {"input_hash": "h"})
    relative = TABLES["rejects"].file(DAY, "s")
    assert lake.read(relative) == other.read(relative)


def test_views_see_the_days_asked_for_and_no_later_one(lake: Lake) -> None:
    for n in range(4):
        lake.write_table("rejects", _rejects(f"day {n}"), DAY + dt.timedelta(days=n), "s")
    lake.write_table("rejects", _rejects("other"), DAY, "odd ' source")
    first, last = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)
    with connect(lake, since=first, until=last, tables=["rejects"]) as con:
        assert con.execute("SELECT reason FROM rejects ORDER BY 1").fetchall() == [("day 1",), ("day 2",)]
    with connect(lake, tables=["rejects"]) as con:
        assert con.execute("SELECT count(*) FROM rejects").fetchone() == (5,)
        assert con.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
    assert len(partition_files(lake, "rejects", source="s")) == 4


def test_an_older_file_without_a_column_reads_as_null(lake: Lake) -> None:
    new, old = lake.path("new.parquet"), lake.path("old.parquet")
    pq.write_table(_rejects("new"), new)
    pq.write_table(_rejects("old").drop_columns(["raw", "detail"]), old)
    for files in ([old], [new, old], [old, new], []):
        with connect(lake, tables=["rejects"]) as con:
            add_view(con, "v", TABLES["rejects"].schema, files)
            found = con.execute("SELECT reason, raw, detail FROM v ORDER BY reason").fetchall()
            assert found == [(Path(file).stem, None, None) for file in sorted(files)]
            assert [column[0] for column in con.execute("SELECT * FROM v").description or []] == TABLES["rejects"].schema.names  # fmt: skip


@pytest.mark.parametrize("text", ["", "'", "''", "a'b", "\\'", "'; DROP VIEW v; --", "\n", "é😀"])
def test_a_quoted_text_is_itself(text: str, lake: Lake) -> None:
    with connect(lake, tables=[]) as con:
        assert con.execute(f"SELECT {quote(text)}").fetchone() == (text,)


def test_the_lake_survives_odd_folders(tmp_path: Path) -> None:
    for name in ("with space", "quote'd", "percent%20", "é", "[brackets]", "star*"):
        lake = Lake.open(str(tmp_path / name))
        lake.write_table("rejects", _rejects("x"), DAY, "s")
        with connect(lake, tables=["rejects"]) as con:
            assert con.execute("SELECT reason FROM rejects").fetchall() == [("x",)], name
    assert (tmp_path / "star*").is_dir()
