"""Entries and segments: canonical JSON that others can recompute, a chain, and kills between two writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.lake import manifest, raw
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.verify import verify
from audit_pipeline_tests.sources.world import NOON, RealClock

_TEXT = st.text(max_size=12)
_MEMBER = st.builds(Member, name=_TEXT, offset=st.integers(0, 2**40), length=st.integers(0, 99), sha256=st.just("00"), error=st.none() | _TEXT)  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def _item(name: str, data: bytes) -> Item:
    return Item(data, Member(name=name, offset=0, length=0, sha256=""))


def _append(lake: Lake, *items: Item, **more: Any) -> list[Entry]:
    return raw.append(lake, "s", items, clock=RealClock(NOON), collector="test/1", request=more.get("request", {}), remarks=more.get("remarks", []))  # fmt: skip


@given(members=st.lists(_MEMBER, max_size=4), remarks=st.lists(st.builds(Remark, code=_TEXT, detail=_TEXT), max_size=3), cursor=st.none() | _TEXT, source=_TEXT)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_an_entry_is_canonical_json_with_its_hash(
    members: list[Member], remarks: list[Remark], cursor: str | None, source: str
) -> None:
    """By the standard library alone: sorted keys (ASCII here), no blanks, UTF-8; the hash is over the rest of it."""
    entry = Entry(source=source, sequence=3, members=members, remarks=remarks, cursor_out=cursor, collected_at="2025-06-02T00:00:00Z")  # fmt: skip
    data = manifest.encode(entry)
    fields = json.loads(data)
    assert data.decode() == json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    stated = fields.pop("hash")
    body = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert stated == hashlib.sha256(body).hexdigest()
    assert manifest.encode(manifest.decode(data)) == data
    assert msgspec.structs.replace(manifest.decode(data), hash="") == entry


@given(members=st.lists(_MEMBER, max_size=4))
@settings(max_examples=300, deadline=None)
def test_members_are_as_the_standard_encoder_writes_them(members: list[Member]) -> None:
    """RFC 8785 by its own package, whatever characters are in names and errors."""
    whole = rfc8785.dumps(msgspec.to_builtins(members))
    assert b'"members":' + whole + b"," in manifest.encode(
        Entry(source="s", sequence=1, members=members, collected_at="")
    )


def test_entries_are_a_chain_over_the_files_as_stored(lake: Lake) -> None:
    for n in range(3):
        _append(lake, _item(f"f{n}", b"x" * n), request={"from": None, "to": "2025-06-02T12:00:00Z"})
    files = [lake.read(manifest.file("s", n)) for n in (1, 2, 3)]
    previous = [json.loads(data)["previous"] for data in files]
    assert previous == ["0" * 64, hashlib.sha256(files[0]).hexdigest(), hashlib.sha256(files[1]).hexdigest()]
    assert [entry.sequence for entry in manifest.entries(lake, "s")] == [1, 2, 3]


def test_members_lie_in_the_segment_as_they_came(lake: Lake) -> None:
    parts = {"a.json": b"first", "b.json": b"", "c": bytes(range(256))}
    (entry,) = _append(lake, *(_item(name, data) for name, data in parts.items()))
    stored = lake.read(str(entry.segment))
    assert stored == b"".join(parts.values())
    assert (entry.bytes, entry.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    for member, (name, data) in zip(entry.members, parts.items(), strict=True):
        assert (member.name, stored[member.offset : member.offset + member.length]) == (name, data)
        assert member.sha256 == hashlib.sha256(data).hexdigest()
    assert [data for _, data in raw.members(lake, entry, range(3))] == list(parts.values())
    assert list(raw.members(lake, entry, [2])) == [(2, bytes(range(256)))]


def test_many_members_are_several_segments_and_only_the_last_carries_the_remarks(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(raw, "SEGMENT_MEMBERS", 3)
    sizes = [60, 60, 60, 1, 1, 1, 1, 500, 0]
    written = _append(lake, *(_item(f"m{n}", bytes(size)) for n, size in enumerate(sizes)), remarks=[Remark("x")])
    assert [len(entry.members) for entry in written] == [2, 3, 3, 1]
    assert [len(entry.remarks) for entry in written] == [0, 0, 0, 1]
    assert [member.name for entry in written for member in entry.members] == [f"m{n}" for n in range(9)]
    assert verify(lake)[0] == []


def test_that_there_was_nothing_new_is_a_fact_too(lake: Lake) -> None:
    (entry,) = _append(lake, remarks=[Remark("collection_failed", "no folder")])
    assert (entry.segment, entry.members, entry.remarks) == (None, [], [Remark("collection_failed", "no folder")])
    assert verify(lake)[0] == []


def test_a_simulated_clock_is_said_in_the_entry(lake: Lake) -> None:
    (entry,) = raw.append(lake, "s", [], clock=SimulatedClock(NOON), collector="t", request={}, remarks=[])
    assert (entry.clock, entry.collected_at) == ("simulated", "2025-06-02T12:00:00Z")


def test_a_collection_killed_before_its_entry_is_collected_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment lies there without an entry: verify names it, the next collection removes it, nothing acknowledged is touched."""
    (first,) = _append(lake, _item("a", b"kept"))
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _append(lake, _item("b", b"half way"))
    assert [problem.problem for problem in verify(lake)[0]] == ["unlisted_segment"]
    (second,) = _append(lake, _item("b", b"half way"), _item("c", b"more"))
    assert (verify(lake)[0], second.sequence) == ([], 2)
    assert lake.read(str(first.segment)) == b"kept"
    assert lake.read(str(second.segment)) == b"half waymore"


@pytest.mark.parametrize("name", ["notes.txt", "00000001-abc.txt", "x.segment", ".hidden", "99999999-abc"])
def test_a_foreign_file_beside_segments_stops_nothing_and_is_named(lake: Lake, name: str) -> None:
    (entry,) = _append(lake, _item("a", b"x"))
    folder = str(entry.segment).rsplit("/", 1)[0]
    lake.write(f"{folder}/{name}", b"what is this")
    _append(lake, _item("b", b"y"))
    assert lake.read(f"{folder}/{name}") == b"what is this"
    assert [(p.problem, p.file) for p in verify(lake)[0]] == [("unlisted_segment", f"{folder}/{name}")]


def test_an_entry_covers_the_days_that_were_asked_for() -> None:
    day = NOON.date()

    def covers(low: str | None, high: str | None, *codes: str) -> bool:
        entry = Entry(source="s", sequence=1, collected_at="x", request={"from": low, "to": high}, remarks=[Remark(code) for code in codes])  # fmt: skip
        return entry.covers(day)

    assert covers(None, None)
    assert covers("2025-06-02T00:00:00Z", "2025-06-03T00:00:00Z")
    assert not covers("2025-06-02T00:00:01Z", None)
    assert not covers(None, "2025-06-02T23:59:59Z")
    assert not covers(None, None, "collection_failed")
    assert covers(None, None, "source_partial")
