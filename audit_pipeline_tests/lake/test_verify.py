"""verify: any change of the evidence is named with its file and, inside a segment, with the member."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import msgspec
import pytest

from audit_pipeline.errors import LakeError
from audit_pipeline.evidence import verify_all
from audit_pipeline.lake import manifest, merkle, roots
from audit_pipeline.lake.verify import Problem, verify
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline_tests.sources.world import DAY, HOUR, NOON, SOURCE, RealClock, World, document, packed, record


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three collections: packed and plain documents."""
    found = World(tmp_path)
    for night in range(3):
        for n in range(8):
            at = NOON + night * HOUR
            found.put(f"n{night}-{n}.json.gz", packed(record(f"{night}-{n}", at), record(f"{night}-{n}-b", at)), at)
        found.put(f"n{night}.json", document(record(f"{night}-plain")), NOON + night * HOUR)
        found.collect(NOON + (night + 1) * HOUR)
    return found


def _files(world: World) -> list[Path]:
    return sorted(path for path in Path(world.lake.root, "raw").rglob("*") if path.is_file())


def _problems(world: World) -> list[Problem]:
    return verify(world.lake)[0]


def test_untouched_evidence_is_green_and_counted(world: World) -> None:
    problems, summary = verify(world.lake)
    assert problems == []
    assert (summary.entries, summary.segments, summary.members) == (3, 3, 27)
    assert summary.bytes == sum(path.stat().st_size for path in _files(world) if path.suffix == ".segment")


def test_two_hundred_random_flips_are_each_named_with_file_and_member(world: World) -> None:
    files = _files(world)
    segments = {entry.sequence: entry.segment for entry in manifest.entries(world.lake, SOURCE)}
    rng = random.Random(5)
    for k in range(200):
        file = files[k % len(files)] if k < 3 * len(files) else rng.choice(files)  # each file, the newest entry too
        kept = file.read_bytes()
        at = rng.randrange(len(kept))
        file.write_bytes(kept[:at] + bytes([kept[at] ^ 1 << rng.randrange(8)]) + kept[at + 1 :])
        problems = _problems(world)
        file.write_bytes(kept)
        named = {problem.file for problem in problems}
        assert str(file.relative_to(world.lake.root)) in named
        if (
            file.suffix == ".json"
        ):  # an entry that cannot be read, or names another segment, leaves its own one unlisted
            assert named - {str(file.relative_to(world.lake.root))} <= {segments[int(file.stem)]}
        else:
            assert len(named) == 1
            entry = next(e for e in manifest.entries(world.lake, SOURCE) if e.segment == problems[0].file)
            (hit,) = (m for m in entry.members if m.offset <= at < m.offset + m.length)
            assert [(p.member, p.position) for p in problems] == [(hit.name, hit.offset)]
    assert _problems(world) == []


def test_an_entry_written_anew_with_a_right_hash_is_betrayed_by_the_next_one(world: World) -> None:
    """Its own hash is right again; only the link of the entry after it remembers the old one."""
    entry = manifest.read(world.lake, SOURCE, 2)
    forged = manifest.encode(msgspec.structs.replace(entry, collected_at="2020-01-01T00:00:00Z"))
    world.lake.write(manifest.file(SOURCE, 2), forged)
    assert [(p.problem, p.file) for p in _problems(world)] == [("broken_link", manifest.file(SOURCE, 2))]


def test_what_is_taken_away_is_missed(world: World) -> None:
    (first, second) = (manifest.read(world.lake, SOURCE, number) for number in (1, 2))
    world.lake.remove(str(second.segment))
    assert [(p.problem, p.file) for p in _problems(world)] == [("missing_segment", second.segment)]
    world.lake.remove(manifest.file(SOURCE, 1))
    found = {(p.problem, p.file) for p in _problems(world)}
    assert ("missing_entry", manifest.file(SOURCE, 1)) in found
    assert ("unlisted_segment", first.segment) in found


def test_swapped_entries_and_a_segment_cut_short_are_named(world: World) -> None:
    one, two = (world.lake.read(manifest.file(SOURCE, number)) for number in (1, 2))
    world.lake.write(manifest.file(SOURCE, 1), two)
    world.lake.write(manifest.file(SOURCE, 2), one)
    assert {manifest.file(SOURCE, 1), manifest.file(SOURCE, 2)} <= {problem.file for problem in _problems(world)}
    world.lake.write(manifest.file(SOURCE, 1), one)
    world.lake.write(manifest.file(SOURCE, 2), two)
    segment = Path(world.lake.path(str(manifest.read(world.lake, SOURCE, 3).segment)))
    segment.write_bytes(segment.read_bytes()[:-5])
    assert {p.problem for p in _problems(world)} == {"changed_size", "changed_member"}


def test_a_second_writer_of_the_same_sequence_is_refused(world: World) -> None:
    entry = manifest.read(world.lake, SOURCE, 3)
    with pytest.raises(FileExistsError):
        manifest.append(world.lake, entry)
    assert _problems(world) == []


def test_what_nobody_listed_is_named(world: World) -> None:
    """A segment put beside the others under a sequence that has an entry, and a strange name in the chain's folder."""
    folder = str(manifest.read(world.lake, SOURCE, 1).segment).rsplit("/", 1)[0]
    segments = [f"{folder}/{name}" for name in ("00000001-ffffffffffff.segment", "²-x.segment", "a")]
    chain = [
        f"{manifest.folder(SOURCE)}/{name}" for name in ("readme.txt", "1.json", "²²².json", "000000002.json", ".json")
    ]
    for path in segments + chain:
        world.lake.write(path, b"extra")
    expected = {("unlisted_segment", path) for path in segments} | {("unlisted_file", path) for path in chain}
    assert {(p.problem, p.file) for p in _problems(world)} == expected
    assert world.collect(NOON + 9 * HOUR).entries[0].sequence == 4


def _forge(world: World, number: int) -> None:
    """Change a segment, and make its hashes, its root and its entry fit."""
    entry = manifest.read(world.lake, SOURCE, number)
    data = world.lake.read(str(entry.segment))
    forged = bytes([data[0] ^ 1]) + data[1:]
    hashes = [hashlib.sha256(forged[m.offset : m.offset + m.length]) for m in entry.members]
    world.lake.write(str(entry.segment), forged)
    fitting = msgspec.structs.replace(
        entry,
        members=[msgspec.structs.replace(m, sha256=h.hexdigest()) for m, h in zip(entry.members, hashes, strict=True)],
        root=merkle.root([h.digest() for h in hashes]).hex(),
        sha256=hashlib.sha256(forged).hexdigest(),
    )
    world.lake.write(manifest.file(SOURCE, number), manifest.encode(fitting))


def test_a_segment_and_its_entry_forged_together_are_betrayed_by_the_next_entry(world: World) -> None:
    """Everything agrees but the link: only `previous` remembers what stood there."""
    _forge(world, 2)
    assert [(p.problem, p.file) for p in _problems(world)] == [("broken_link", manifest.file(SOURCE, 2))]


def test_days_of_collection_choose_the_bytes_and_never_the_links(world: World) -> None:
    segment = str(manifest.read(world.lake, SOURCE, 1).segment)
    world.lake.write(segment, b"X" + world.lake.read(segment)[1:])
    assert [p.file for p in verify(world.lake, "2025-06-02", "2025-06-02")[0]] == [segment]
    assert verify(world.lake, "2025-06-03")[0] == []
    world.lake.remove(manifest.file(SOURCE, 2))
    assert "missing_entry" in {p.problem for p in verify(world.lake, "2025-06-03")[0]}


def _report(world: World) -> None:
    publish_daily(world.settings, world.lake, DAY, RealClock(NOON + 20 * HOUR))


@pytest.mark.parametrize("how", ["forged", "entry gone", "entry and segment gone"])
def test_a_rewritten_end_of_the_chain_is_betrayed_by_the_head_that_a_report_printed(world: World, how: str) -> None:
    """The chain alone cannot tell: nothing stands behind its last entry. The mail of the night can."""
    _report(world)
    problems, said = verify_all(world.settings)
    assert (problems, said.split(":")[0]) == ([], "verified")
    last = manifest.read(world.lake, SOURCE, 3)
    if how == "forged":
        _forge(world, 3)
        assert _problems(world) == []
    else:
        world.lake.remove(manifest.file(SOURCE, 3))
        if how == "entry and segment gone":
            world.lake.remove(str(last.segment))
            assert _problems(world) == []
    problems, said = verify_all(world.settings)
    (head,) = [problem for problem in problems if problem["problem"] == "head_differs"]
    assert (head["file"], head["sequence"]) == (manifest.file(SOURCE, 3), 3)
    assert "reports/daily/2025-06-02/1/report.json" in head["detail"]
    assert said.startswith(f"{len(problems)} problems")


def test_a_report_that_cannot_be_read_is_named(world: World) -> None:
    _report(world)
    path = "reports/daily/2025-06-02/1/report.json"
    for broken in (b"{", b"[]", b'{"evidence": 3}', b'{"evidence": {"chains": 7}}', b'{"evidence": {"chains": [{}]}}', b"\xff"):  # fmt: skip
        world.lake.write(path, broken)
        assert [(p["problem"], p["file"]) for p in verify_all(world.settings)[0]] == [("unreadable_report", path)]


def test_an_empty_lake_has_nothing_to_verify(tmp_path: Path) -> None:
    problems, said = verify_all(World(tmp_path).settings)
    assert problems == []
    assert said.startswith("nothing to verify")


def test_the_daily_root_is_over_the_newest_heads(world: World) -> None:
    """Recomputed by the standard library: SHA-256 over `[[source, hash]…]`, sorted; a source without a chain is null."""
    newest = json.loads(world.lake.read(manifest.file(SOURCE, 3)))["hash"]
    text = json.dumps([["another", None], [SOURCE, newest]], separators=(",", ":"))
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert roots.daily_root(world.lake, [SOURCE, "another", SOURCE]) == expected
    _forge(world, 3)
    assert roots.daily_root(world.lake, [SOURCE, "another"]) != expected


def test_after_the_newest_entry_is_lost_no_collection_removes_its_segment(world: World) -> None:
    """The index remembers the entry: it was acknowledged, and nothing may be put in its place."""
    world.index()
    last = manifest.read(world.lake, SOURCE, 3)
    kept = world.lake.read(str(last.segment))
    entry = world.lake.read(manifest.file(SOURCE, 3))
    world.lake.remove(manifest.file(SOURCE, 3))
    with pytest.raises(LakeError, match="the entry was there and is gone"):
        world.collect(NOON + 5 * HOUR)
    assert world.lake.read(str(last.segment)) == kept
    world.lake.write(manifest.file(SOURCE, 3), entry)
    assert world.collect(NOON + 5 * HOUR).entries[-1].sequence == 4
    assert _problems(world) == []
