"""Events of a day: the same whatever the packing, the order and the number of collections; late records and kills heal."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake import manifest
from audit_pipeline_tests.sources.world import DAY, HOUR, NOON, SOURCE, World, document, packed, record

SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _records(n: int = 40) -> list[bytes]:
    return [record(i, NOON + (i % 5) * HOUR / 7, userAgent=f"agent {i % 3}") for i in range(n)]


@pytest.fixture
def plain(tmp_path: Path) -> World:
    world = World(tmp_path / "plain")
    world.put("all.json", document(*_records()))
    world.night()
    return world


def test_split_shuffled_packed_and_doubled_give_the_same_content(plain: World, tmp_path: Path) -> None:
    records = _records() + _records()[:7]
    random.Random(3).shuffle(records)
    other = World(tmp_path / "other")
    for at in range(0, len(records), 9):
        other.put(f"part-{at}.json.gz", packed(*records[at : at + 9]))
    (built,) = other.night().values()
    assert (built.events, built.records, built.duplicates, built.rejects) == (40, 47, 7, 0)
    assert other.content_hash() == plain.content_hash()
    assert other.account() == (47, 0, 47)


def test_collected_twice_under_another_name_changes_nothing_but_the_copies(plain: World) -> None:
    before = plain.content_hash()
    plain.put("again.json", document(*_records()))
    (built,) = plain.night(NOON + 2 * HOUR).values()
    assert (built.events, built.duplicates) == (40, 40)
    assert plain.content_hash() == before


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_the_newest_version_of_a_key_wins_whatever_was_collected_first(tmp_path: Path, order: tuple[str, str]) -> None:
    world = World(tmp_path)
    when = {"old": NOON, "new": NOON + HOUR}
    for night, name in enumerate(order):
        world.put(f"{name}.json", document(record(1, userAgent=name)), when[name])
        world.night(NOON + (2 + night) * HOUR)
    assert world.rows("SELECT http_request_user_agent, x_records, x_duplicates FROM events") == [("new", 2, 0)]


@pytest.mark.parametrize("odd", [b"a\x01b", b"a\tb"])
def test_a_record_that_only_the_engine_refuses_costs_no_other_its_columns(
    odd: bytes, plain: World, tmp_path: Path
) -> None:
    """A raw control character in a string: kept with its text as a Base Event, the other records as they are without it."""
    strange = record("strange", userAgent="a_b").replace(b"a_b", odd)
    other = World(tmp_path / "other")
    other.put("all.json", document(*_records()))
    other.put("strange.json.gz", packed(strange))
    (built,) = other.night().values()
    assert (built.events, built.rejects) == (41, 0)
    assert other.rows("SELECT class_uid, contains(raw_data, 'e-strange') FROM events WHERE metadata_uid IS NULL") == [
        (0, True)
    ]
    columns = "metadata_uid, class_uid, api_operation, http_request_user_agent, x_actor, time"
    same = f"SELECT {columns} FROM events WHERE metadata_uid IS NOT NULL ORDER BY ALL"
    assert other.rows(same) == plain.rows(same)
    assert len(other.rows(same)) == 40


def _behind(world: World) -> bool:
    """Whether the stored events are made from less than raw and index hold now."""
    note = world.lake.table_metadata("events", DAY, SOURCE) or {}
    return note["input_hash"] != indexing.input_hash(world.lake, SOURCE, DAY)


def test_a_late_record_makes_its_day_stale_until_it_is_computed_again(plain: World) -> None:
    assert not _behind(plain)
    plain.put("late.json", document(record("late")), NOON + 30 * HOUR)
    plain.collect(NOON + 31 * HOUR)
    plain.index()
    assert _behind(plain)
    assert unify.stale(plain.lake, SOURCE) == [DAY]
    plain.build(DAY)
    assert not _behind(plain)
    assert "e-late" in plain.uids()


def test_an_index_without_its_marker_or_its_file_is_made_anew(plain: World) -> None:
    before = plain.content_hash()
    folder = Path(plain.lake.root, f"index/source={SOURCE}")
    (marker,) = folder.glob("*.json")
    marker.unlink()
    plain.build()
    assert plain.content_hash() == before
    (file,) = folder.glob("day=*/*.parquet")
    file.unlink()
    marker.unlink()
    plain.build()
    assert plain.content_hash() == before


def test_a_writer_that_fails_leaves_the_old_partition_whole(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = plain.content_hash()
    file = Path(plain.lake.root, f"events/source={SOURCE}/day={DAY}/events.parquet")
    kept = file.read_bytes()

    def half(temporary: Path, _relative: str) -> None:
        assert temporary.parent != file.parent
        raise OSError("cut here")

    plain.put("more.json", document(record("more")))
    plain.collect(NOON + 2 * HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(type(plain.lake), "publish", lambda _self, temporary, relative: half(temporary, relative))
        with pytest.raises(Exception, match="cut here"):
            unify.build(plain.lake, SOURCE, plain.form, DAY)
    assert file.read_bytes() == kept
    assert plain.content_hash() == before
    assert list(Path(plain.lake.root, ".tmp").glob("*")) == []


def test_thousands_of_damaged_members_lose_no_readable_record_and_name_every_other(tmp_path: Path) -> None:
    """Cut, flipped, not JSON: what is whole is there; what is not is named, each file and no other; the sums agree."""
    rng = random.Random(11)
    world = World(tmp_path)
    good: set[str] = set()
    every: set[str] = set()
    hurt: set[str] = set()
    for n in range(2000):
        ids = [f"{n}-{i}" for i in range(3)]
        every |= {f"e-{i}" for i in ids}
        data = packed(*[record(i, pad="x" * rng.randrange(200)) for i in ids])
        kind = rng.choice(["whole", "cut", "flip", "rubbish", "text"])
        if kind == "whole":
            good |= {f"e-{i}" for i in ids}
        else:
            hurt.add(f"f{n}.json.gz")
            if kind == "cut":
                data = data[: rng.randrange(1, len(data))]
            elif kind == "flip":
                at = rng.randrange(12, len(data))
                data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
            elif kind == "rubbish":
                data = rng.randbytes(200)
            else:
                data = b"not json at all\n"
        world.put(f"f{n}.json.gz", data)
    world.night()
    have = set(world.uids())
    assert good <= have <= every
    named = {member.rsplit("/", 1)[1] for (member,) in world.rows("SELECT DISTINCT member FROM rejects")}
    assert named == hurt
    records, rejects, indexed = world.account()
    assert records + rejects == indexed


@pytest.mark.slow
def test_the_real_set_has_its_known_records_events_and_copies(tmp_path: Path) -> None:
    real = SHARED / "cloudtrail_sans504"
    if not real.is_dir():
        pytest.skip("shared data is absent")
    world = World(tmp_path, glob=str(real / "**/*.json.gz"))
    built = world.night()
    assert sum(len(entry.members) for entry in manifest.entries(world.lake, SOURCE)) == 3872
    assert [b.records for b in built.values()] == [1, 1124, 10718, 7804, 7626, 3204]
    assert (sum(b.events for b in built.values()), sum(b.duplicates for b in built.values())) == (23981, 6496)
