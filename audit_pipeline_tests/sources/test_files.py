"""Files as they live: growing, rotated, truncated, packed, renamed, unreadable. Nothing is lost, nothing taken twice in silence."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_pipeline_tests.sources.world import HOUR, NOON, SOURCE, World, document, lines, packed, record


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_unfinished_last_line_is_left_and_taken_when_it_is_finished(world: World) -> None:
    line = record(3) + b"\n"
    world.put("app.log", lines(1, 2) + line[:20])
    assert world.collect().bytes == len(lines(1, 2))
    world.put("app.log", lines(1, 2) + line, NOON + HOUR)
    got = world.collect(NOON + 2 * HOUR)
    assert [(m.at, m.length) for e in got.entries for m in e.members] == [(len(lines(1, 2)), len(line))]
    assert (got.remarks, world.collect(NOON + 3 * HOUR).members) == ([], 0)
    (built,) = world.build().values()
    assert (world.uids(), built.duplicates, built.rejects) == (["e-1", "e-2", "e-3"], 0, 0)


def test_a_last_line_without_its_end_is_taken_when_the_file_is_old(world: World) -> None:
    """The source settles after two hours: then nobody will finish the line any more."""
    world.put("app.log", lines(1) + record(2))
    world.collect(NOON + HOUR)
    world.build()
    assert world.uids() == ["e-1"]
    world.night(NOON + 3 * HOUR)
    assert world.uids() == ["e-1", "e-2"]
    assert world.collect(NOON + 4 * HOUR).members == 0


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_rotation_by_renaming_takes_only_what_is_new(world: World, ending: str) -> None:
    """`app.log` becomes `app.log.1` (perhaps packed) with a last line more, and a new `app.log` begins; three nights long."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": zstandard.ZstdCompressor().compress,
    }
    pack = packers[ending]  # fmt: skip
    world.put("app.log", lines(1, 2))
    world.collect()
    for night in range(1, 4):
        at = NOON + night * HOUR
        for n in range(night - 1, 0, -1):
            (world.root / f"logs/app.log.{n}{ending}").rename(world.root / f"logs/app.log.{n + 1}{ending}")
        content = (world.root / "logs/app.log").read_bytes() + lines(100 + night)
        world.put(f"app.log.1{ending}", pack(content), at)
        world.put("app.log", lines(200 + night, 300 + night), at)
        got = world.collect(at + HOUR)
        assert sorted(world.names(got)) == ["app.log", f"app.log.1{ending}"]
        assert sum(member.inflated for entry in got.entries for member in entry.members) == len(lines(101, 201, 301))
    world.build()
    assert len(world.uids()) == 2 + 3 * 3
    assert world.rows("SELECT sum(x_duplicates)::INT FROM events") == [(0,)]


def test_copytruncate_loses_no_line_and_takes_none_twice(world: World) -> None:
    log = world.put("app.log", lines(1, 2))
    world.collect()
    world.put("app.log.1", log.read_bytes() + lines(3), NOON + HOUR)
    world.put("app.log", b"", NOON + HOUR)
    world.collect(NOON + HOUR)
    world.put("app.log", lines(4, 5, 6, 7), NOON + 2 * HOUR)
    world.night(NOON + 3 * HOUR)
    assert world.uids() == [f"e-{n}" for n in range(1, 8)]
    assert world.rows("SELECT sum(x_duplicates)::INT FROM events") == [(0,)]


def test_a_file_replaced_by_a_shorter_one_is_taken_from_its_start_and_said_so(world: World) -> None:
    world.put("app.log", lines(1, 2, 3))
    world.collect()
    world.put("app.log", lines(9), NOON + HOUR)
    got = world.collect(NOON + HOUR)
    assert (got.bytes, [remark.code for remark in got.remarks]) == (len(lines(9)), ["replaced"])
    world.build()
    assert world.uids() == ["e-1", "e-2", "e-3", "e-9"]


def test_a_file_replaced_by_one_of_the_same_size_is_seen(world: World) -> None:
    world.put("app.log", lines(1, 2))
    world.collect()
    world.put("app.log", lines(3, 4), NOON + HOUR)
    assert world.collect(NOON + HOUR).bytes == len(lines(3, 4))


@pytest.mark.parametrize("content", [lines(1, 2), document(record(1), record(2)), packed(record(1), record(2))])
def test_the_same_content_under_two_living_names_is_counted_as_copies(world: World, content: bytes) -> None:
    world.put("a.json", content)
    world.put("b.json", content)
    assert world.names(world.collect()) == ["a.json", "b.json"]
    (built,) = world.build().values()
    assert (built.events, built.records, built.duplicates) == (2, 4, 2)


@pytest.mark.parametrize("content", [lines(1, 2), document(record(1), record(2)), packed(record(1), record(2))])
def test_a_renamed_file_is_not_taken_again(world: World, content: bytes) -> None:
    path = world.put("a.json", content)
    world.collect()
    path.rename(path.with_name("z.json"))
    assert world.collect(NOON + 2 * HOUR).members == 0
    # also when something else has taken its old name, and however often it is looked at
    world.put("a.json", document(record(7)), NOON + HOUR)
    assert world.names(world.collect(NOON + 3 * HOUR)) == ["a.json"]
    assert world.collect(NOON + 4 * HOUR).members == 0


def test_two_files_that_only_begin_alike_are_two_files(world: World) -> None:
    """The second one's first lines are not taken for the first one's, which still has them: both hosts wrote them."""
    world.put("host-a.log", lines(1))
    world.collect()
    world.put("host-a.log", lines(1, 2), NOON + HOUR)
    world.put("host-b.log", lines(1, 3), NOON + HOUR)
    got = world.collect(NOON + HOUR)
    assert {(m.name[-10:], m.at) for e in got.entries for m in e.members} == {
        ("host-a.log", len(lines(1))),
        ("host-b.log", 0),
    }


_STEP = st.sampled_from(["write", "half", "finish", "rename", "copytruncate", "pack", "collect"])


@given(steps=st.lists(_STEP, max_size=14))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_log_goes_through_every_line_is_one_event(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A log of lines that is written, rotated, truncated and packed in any order, with a collection at any moment."""
    world = World(tmp_path_factory.mktemp("life"))
    logs = world.root / "logs"
    log, content, written, rest, now = logs / "app.log", b"", 0, b"", NOON

    def save() -> None:
        world.put("app.log", content, now)

    for step in [*steps, "finish", "collect"]:
        now += dt.timedelta(minutes=1)
        if step in ("write", "half"):
            written += 1
            line = rest + record(written) + b"\n"
            cut = len(line) - 9 if step == "half" else len(line)
            content, rest = content + line[:cut], line[cut:]
            save()
        elif step == "finish":
            content, rest = content + rest, b""
            save()
        elif step == "collect":
            world.collect(now)
        elif not rest and log.exists() and content:
            old = sorted(logs.glob("app.log.*"), key=lambda path: int(path.name.split(".")[2]), reverse=True)
            for path in old:
                parts = path.name.split(".")
                parts[2] = str(int(parts[2]) + 1)
                path.rename(logs / ".".join(parts))
            if step == "pack":
                world.put("app.log.1.gz", gzip.compress(content), now)
            elif step == "rename":
                log.rename(logs / "app.log.1")
            else:
                shutil.copy2(log, logs / "app.log.1")
            content = b""
            save()
    world.build()
    assert world.uids() == sorted(f"e-{n}" for n in range(1, written + 1))
    assert world.rows("SELECT coalesce(sum(x_duplicates), 0)::INT FROM events") == [(0,)]
    assert world.rows("SELECT * FROM rejects WHERE reason <> 'empty'") == []


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_taken(world: World) -> None:
    world.put("good.json", document(record(1)))
    (world.root / "logs/gone.json").symlink_to(world.root / "nowhere")
    os.mkfifo(world.root / "logs/pipe")
    for name in ("gone.json", "pipe"):
        os.utime(world.root / "logs" / name, (NOON.timestamp(), NOON.timestamp()), follow_symlinks=False)
    world.night()
    assert world.uids() == ["e-1"]
    found = {member.rsplit("/", 1)[1]: detail for member, detail in world.rows("SELECT member, detail FROM rejects")}
    assert set(found) == {"gone.json", "pipe"}
    assert "No such file" in found["gone.json"]
    assert "no regular file" in found["pipe"]
    # it is tried again, and taken when it can be read
    (world.root / "nowhere").write_bytes(document(record(2)))
    os.utime(world.root / "nowhere", (NOON.timestamp(), NOON.timestamp()))
    world.night(NOON + 2 * HOUR)
    assert world.uids() == ["e-1", "e-2"]


def test_rights_that_are_missing_are_named(world: World) -> None:
    world.put("good.json", document(record(1)))
    secret = world.put("secret.json", document(record(2)))
    folder = world.put("closed/inside.json", document(record(3))).parent
    secret.chmod(0)
    folder.chmod(0)
    try:
        if os.access(secret, os.R_OK):
            pytest.skip("root may read everything: the faults suite tries this without root's rights")
        got = world.collect()
    finally:
        folder.chmod(0o755)
    errors = {member.name.rsplit("/", 1)[1]: member.error for entry in got.entries for member in entry.members}
    assert errors == {"good.json": None, "secret.json": "unreadable: Permission denied"}
    (remark,) = got.remarks
    assert remark.code == "source_partial"
    assert "closed: folder cannot be read" in remark.detail


def test_a_path_that_is_not_there_is_a_failed_collection_and_a_fact_of_the_chain(tmp_path: Path) -> None:
    world = World(tmp_path, glob="mount/**/*.json")
    got = world.collect()
    assert "no such folder" in (got.failed or "")
    assert str(tmp_path / "mount") in (got.failed or "")
    assert [entry.sequence for entry in got.entries] == [1]
    assert not got.entries[0].covers(dt.date(2025, 6, 1))
    (tmp_path / "mount").mkdir()
    assert world.collect().failed is None


@pytest.mark.parametrize("name", ["a b.json", "[1].json", "q?*.json", "new\nline.json", "é😀.json", "'; DROP--.json", "<b>.json", "=1+1.json", "\x1b[31m.json", "#%25.json", b"\xff\xfe.json"])  # fmt: skip
def test_names_with_odd_characters(world: World, name: str | bytes) -> None:
    folder = os.fsencode(world.root / "logs")
    path = folder + b"/" + os.fsencode(name)
    with open(path, "wb") as file:  # noqa: PTH123 - bytes of a name
        file.write(document(record(1), b'{"eventID":"undated"}'))
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    world.night()
    assert world.uids() == ["e-1"]
    ((member,),) = world.rows("SELECT member FROM rejects")
    shown = name if isinstance(name, str) else "\\xff\\xfe.json"
    assert member == f"{world.root}/logs/{shown}"
    assert world.collect(NOON + 2 * HOUR).members == 0


def test_a_file_from_the_future_is_left_and_said_so(world: World) -> None:
    world.put("now.json", document(record(1)))
    world.put("later.json", document(record(2)), NOON + 5 * HOUR)
    got = world.collect()
    assert world.names(got) == ["now.json"]
    assert [(remark.code, remark.detail[:7]) for remark in got.remarks] == [("future", "1 files")]
    assert world.names(world.collect(NOON + 6 * HOUR)) == ["later.json"]


def test_a_log_that_is_written_to_while_the_run_begins_is_taken(world: World) -> None:
    """A busy log is always a little younger than the run; of a simulated night it is of the future all the same."""
    world.put("live.log", lines(1), NOON + dt.timedelta(seconds=2))
    assert world.collect(NOON, simulated=True).members == 0
    got = world.collect(NOON)
    assert (world.names(got), got.remarks) == (["live.log"], [])


def test_a_simulated_night_sees_what_cloudtrail_had_delivered_by_then(world: World) -> None:
    """By the stamp in the name, whatever time the file has; that later files exist is then no surprise."""
    for hour in (11, 13, 15):
        name = f"123456789012_CloudTrail_eu-central-1_20250602T{hour}00Z_A.json.gz"
        world.put(name, packed(record(hour)), dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    got = world.collect(NOON + 2 * HOUR, simulated=True)
    assert ["T1100Z" in name or "T1300Z" in name for name in world.names(got)] == [True, True]
    assert (got.remarks, got.entries[0].clock) == ([], "simulated")
    assert [m.visible_time for m in got.entries[0].members] == ["2025-06-02T11:00:00Z", "2025-06-02T13:00:00Z"]
    assert {m.visible_from for m in got.entries[0].members} == {"delivery"}
    assert len(world.names(world.collect(NOON + 4 * HOUR, simulated=True))) == 1


def test_probe_says_what_it_tried(world: World) -> None:
    from audit_pipeline.sources.collect import source_of

    assert [(probe.what, probe.ok) for probe in source_of(world.settings, SOURCE).probe()] == [("paths", False)]
    world.put("a.json", document(record(1)))
    assert all(probe.ok for probe in source_of(world.settings, SOURCE).probe())


@pytest.mark.parametrize("name", ["fresh.json.gz", "fresh.json"])
def test_a_file_without_content_is_named_however_young_it_is(world: World, name: str) -> None:
    world.put("good.json", document(record(1)))
    world.put(name, b"", NOON + HOUR)
    world.night(NOON + HOUR)
    assert world.uids() == ["e-1"]
    assert [m.rsplit("/", 1)[1] for (m,) in world.rows("SELECT member FROM rejects WHERE reason = 'empty'")] == [name]
