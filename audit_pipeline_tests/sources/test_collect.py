"""A night's collection: what a source gave is kept, what it could not give is a fact, and a failing source stops nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.errors import ConfigError, UserError
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.lake.verify import verify
from audit_pipeline.settings import Settings
from audit_pipeline.sources import collect as collecting
from audit_pipeline.sources.base import Collection, Grant, Probe, SourceError
from audit_pipeline_tests.sources.world import DAY, HOUR, NOON, SOURCE, RealClock, World, document, record


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_entry_holds_the_facts_of_its_collection(world: World) -> None:
    world.put("a.json", document(record(1)))
    (entry,) = world.collect().entries
    assert (entry.source, entry.sequence, entry.clock) == (SOURCE, 1, "system")
    assert entry.collected_at == "2025-06-02T13:00:00Z"
    assert entry.collector.startswith("files/")
    assert entry.request == {"day": "2025-06-02", "from": None, "to": "2025-06-02T13:00:00Z"}
    assert (entry.covers(DAY - dt.timedelta(days=1)), entry.covers(DAY)) == (True, False)
    (member,) = entry.members
    assert (member.visible_time, member.visible_from, member.size) == ("2025-06-02T12:00:00Z", "modified", entry.bytes)


def test_every_asking_is_an_entry_even_without_news(world: World) -> None:
    world.put("a.json", document(record(1)))
    for night in range(3):
        world.collect(NOON + (night + 1) * HOUR)
    assert [len(entry.members) for entry in manifest.entries(world.lake, SOURCE)] == [1, 0, 0]
    assert verify(world.lake)[0] == []


class _Breaking:
    """A source that gives one file and then fails."""

    def collect(self, collection: Collection) -> Iterator[Item]:
        yield Item(document(record(1)), Member(name="page-1", offset=0, length=0, sha256=""))
        collection.remarks.append(Remark("source_partial", "shard 2 of 3"))
        raise SourceError("the service answered 503 for an hour: try again tomorrow")

    def probe(self) -> list[Any]:
        return []


def test_what_came_before_a_failure_is_kept_and_the_failure_is_a_fact(world: World, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(collecting, "source_of", lambda *_: _Breaking())
    got = world.collect()
    assert got.failed == "the service answered 503 for an hour: try again tomorrow"
    assert [remark.code for remark in got.remarks] == ["source_partial", "collection_failed"]
    assert not got.entries[0].covers(DAY - dt.timedelta(days=1))
    world.build()
    assert world.uids() == ["e-1"]
    assert verify(world.lake)[0] == []


def test_an_unknown_collector_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    text = '{"start": "2025-06-01", "sources": {"trail": {"type": "nosuch", "format": "cloudtrail"}}}'
    with pytest.raises(
        ConfigError, match=r"sources\.trail\.type: unknown type of source 'nosuch': .*elasticsearch, files"
    ):
        Settings.from_text(text, tmp_path / "pipeline.yaml")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index": "a", "querry": {}}, r"sources\.trail\.options\.querry: unknown key, did you mean 'query'\?"),
        ({}, r"sources\.trail\.options\.index: is missing"),
        ({"index": "a", "page_size": 0}, r"sources\.trail\.options\.page_size: .*greater than or equal to 1"),
    ],
)
def test_wrong_options_are_refused_by_the_collector(tmp_path: Path, options: dict[str, object], said: str) -> None:
    source = {"type": "elasticsearch", "format": "ecs", "http": {"url": "http://localhost"}, "options": options}
    with pytest.raises(ConfigError, match=said):
        Settings.from_text(json.dumps({"start": "2025-06-01", "sources": {"trail": source}}), tmp_path / "pipeline.yaml")  # fmt: skip


def test_a_collector_without_its_section_is_a_failed_collection_that_says_which(world: World, tmp_path: Path) -> None:
    source = {"type": "elasticsearch", "format": "ecs", "options": {"index": "a"}}
    settings = Settings.from_text(json.dumps({"start": "2025-06-01", "sources": {"trail": source}}), tmp_path / "pipeline.yaml")  # fmt: skip
    got = collecting.collect(settings, world.lake, SOURCE, DAY, RealClock(NOON))
    assert "needs the section http" in (got.failed or "")
    assert len(manifest.entries(world.lake, SOURCE)) == 1


class _Told:
    """A source that tells who may do what, or that it may not be asked."""

    def __init__(self, refused: bool) -> None:
        self._refused = refused

    def collect(self, collection: Collection) -> Iterator[Item]:
        return iter(())

    def access(self) -> list[Grant]:
        if self._refused:
            raise SourceError("ask for the right to list roles")
        return [Grant("role:ops", "delete", "logs_admin")]

    def probe(self) -> list[Probe]:
        return []


@pytest.mark.parametrize(("refused", "kept"), [(False, {"access": [["role:ops", "delete", "logs_admin"]]}), (True, {"access_refused": "ask for the right to list roles"})])  # fmt: skip
def test_who_may_do_what_lies_in_the_entry_and_a_refusal_fails_no_collection(world: World, refused: bool, kept: dict[str, object]) -> None:  # fmt: skip
    got = collecting.gather(world.settings, world.lake, SOURCE, DAY, RealClock(NOON), _Told(refused))
    request = manifest.entries(world.lake, SOURCE)[-1].request
    assert {key: value for key, value in request.items() if key.startswith("access")} == kept
    assert got.remarks == []


def test_a_chain_that_cannot_be_read_is_said_with_its_file_and_nothing_is_written(world: World) -> None:
    """On a damaged chain nothing is built; who runs it reads which file it is."""
    world.put("a.json", document(record(1)))
    world.collect()
    file = manifest.file(SOURCE, 1)
    world.lake.write(file, world.lake.read(file)[:50])
    with pytest.raises(UserError, match=r"00000001\.json.*verify"):
        world.collect(NOON + 2 * HOUR)
    assert manifest.sequences(world.lake, SOURCE) == [1]


def test_two_sources_of_one_lake_do_not_mix(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.put("a.json", document(record(1)))
    world.collect()
    before = manifest.read(world.lake, SOURCE, 1)
    text = f'{{"start": "2025-06-01", "sources": {{"trail_2": {{"type": "files", "format": "cloudtrail", "paths": ["{tmp_path}/logs/*"]}}}}}}'
    settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    got = collecting.collect(settings, world.lake, "trail_2", DAY, RealClock(NOON + HOUR))
    assert [entry.sequence for entry in got.entries] == [1]
    assert manifest.read(world.lake, SOURCE, 1) == before
    assert verify(world.lake)[1].sources == 2


def test_how_far_a_collection_is_is_told_while_it_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "PROGRESS_MEMBERS", 2)
    for n in range(5):
        world.put(f"{n}.json", document(record(n)))
    told: list[tuple[int, int]] = []
    collecting.collect(world.settings, world.lake, SOURCE, DAY, RealClock(NOON + HOUR), lambda n, size: told.append((n, size)))  # fmt: skip
    size = len(document(record(0)))
    assert told == [(2, 2 * size), (4, 4 * size)]
