"""verify: any change of the evidence is named with its file and, inside a segment, with the member."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from audit_pipeline.lake import manifest
from audit_pipeline.lake.verify import Problem, verify
from audit_pipeline_tests.sources.world import HOUR, NOON, SOURCE, World, document, packed, record


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
