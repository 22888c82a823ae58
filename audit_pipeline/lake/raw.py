"""Raw evidence: members packed into segments, append-only, by the day of collection.

Belongs here: writing a segment and its manifest entry so that a kill at any moment loses nothing and doubles nothing, and reading
a member back. Not here: where members come from (`sources`), checking (`verify`).

Order of writes: the segment (staged, renamed), then its entry (created exclusively). A segment without an entry was never
acknowledged; the next collection removes it and collects its members again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from audit_pipeline.clock import Clock, rfc3339
from audit_pipeline.errors import LakeError
from audit_pipeline.lake import manifest, merkle
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import index_folder

SEGMENT_BYTES = 64 * 2**20
SEGMENT_MEMBERS = 20_000


@dataclass(frozen=True)
class Item:
    """What a source hands over to be kept: bytes, and the facts of the member that it becomes."""

    data: bytes
    member: Member


def append(
    lake: Lake,
    source: str,
    items: Iterable[Item],
    *,
    clock: Clock,
    collector: str,
    request: dict[str, object],
    remarks: list[Remark],
) -> list[Entry]:
    """Pack items into segments and chain an entry for each; the last entry carries request and remarks.

    `remarks` is read after the last item, so a source may add to it while it is asked. Even without items one entry is written:
    that the source was asked, and had nothing new, is a fact too.

    Raises:
        LakeError: entries that were there are gone, or the lake cannot be written.
        FileExistsError: another collector was first; nothing of this call is lost, it is collected again.
    """
    sequence = (manifest.sequences(lake, source) or [0])[-1] + 1
    _refuse_after_loss(lake, source, sequence)
    _remove_unacknowledged(lake, source, sequence)
    day = clock.now().date().isoformat()
    common = Entry(
        source=source,
        sequence=0,
        collected_at=rfc3339(clock.now()),
        clock="simulated" if clock.simulated else "system",
        collector=collector,
    )
    written: list[Entry] = []
    pending: Entry | None = None
    for packed in _segments(lake, source, sequence, day, items):
        if pending is not None:
            written.append(manifest.append(lake, pending))
        pending = msgspec.structs.replace(
            packed, collected_at=common.collected_at, clock=common.clock, collector=collector
        )
    last = pending or msgspec.structs.replace(common, sequence=sequence)
    written.append(manifest.append(lake, msgspec.structs.replace(last, request=request, remarks=list(remarks))))
    return written


def _segments(lake: Lake, source: str, sequence: int, day: str, items: Iterable[Item]) -> Iterator[Entry]:
    """Segments of bounded size, each stored before it is yielded."""
    iterator = iter(items)
    first = next(iterator, None)
    while first is not None:
        folder = f"raw/{source}/{day}"
        with _Part(lake, folder, sequence) as part:
            while first is not None and part.fits():
                part.add(first)
                first = next(iterator, None)
        yield part.entry(source)
        sequence += 1


class _Part:
    """One segment while it is written."""

    def __init__(self, lake: Lake, folder: str, sequence: int) -> None:
        self._lake, self._folder, self._sequence = lake, folder, sequence
        self._members: list[Member] = []
        self._size = 0
        self._digest = hashlib.sha256()
        self._temporary: Path
        self._file: BinaryIO
        self.path = ""

    def __enter__(self) -> _Part:
        with self._lake.explained("cannot be written"):
            self._temporary = self._lake.temporary()
            self._file = self._temporary.open("wb")
        return self

    def fits(self) -> bool:
        return self._size < SEGMENT_BYTES and len(self._members) < SEGMENT_MEMBERS

    def add(self, item: Item) -> None:
        with self._lake.explained("cannot be written"):
            self._file.write(item.data)
        self._digest.update(item.data)
        sha256 = item.member.sha256 or hashlib.sha256(item.data).hexdigest()
        self._members.append(
            msgspec.structs.replace(item.member, offset=self._size, length=len(item.data), sha256=sha256)
        )
        self._size += len(item.data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._lake.explained("cannot be written"):
                self._file.close()
                if kind is None and self._size:
                    self.path = f"{self._folder}/{self._sequence:08d}-{self._digest.hexdigest()[:12]}.segment"
                    self._lake.publish(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def entry(self, source: str) -> Entry:
        return Entry(
            source=source,
            sequence=self._sequence,
            segment=self.path or None,
            bytes=self._size,
            sha256=self._digest.hexdigest() if self.path else None,
            root=merkle.root([bytes.fromhex(member.sha256) for member in self._members]).hex(),
            members=self._members,
            collected_at="",
        )


def _refuse_after_loss(lake: Lake, source: str, sequence: int) -> None:
    """An index of an entry that is not there says that the entry was: its segment is evidence, and nothing may be put in its place."""
    lost = [
        name for name in lake.names(index_folder(source)) if name.endswith(".json") and name >= f"{sequence:08d}.json"
    ]
    if lost:
        raise LakeError(
            f"{lake.path(manifest.file(source, int(lost[0][:-5])))}: the entry was there and is gone. Its segment was kept and nothing was collected. "
            f"Bring the entry back from a copy of the lake; if it is lost for good, move {index_folder(source)} away and its segments with it."
        )


def _remove_unacknowledged(lake: Lake, source: str, sequence: int) -> None:
    """Segments of a collection that was killed before its entry: never acknowledged, and about to be collected again."""
    for day in lake.names(f"raw/{source}"):
        if day != "manifest":
            for name in lake.names(f"raw/{source}/{day}"):
                head = name.split("-", 1)[0]  # a foreign file is left alone; `verify` names it
                if name.endswith(".segment") and head.isdecimal() and int(head) >= sequence:
                    lake.remove(f"raw/{source}/{day}/{name}")


def members(lake: Lake, entry: Entry, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The bytes of the members with these numbers, in ascending order, as stored."""
    if entry.segment is None:  # nothing was stored, since all its members are empty or could not be read
        yield from ((number, b"") for number in wanted)
        return
    if lake.local:
        with Path(lake.path(entry.segment)).open("rb") as file:
            for number in wanted:
                member = entry.members[number]
                file.seek(member.offset)
                yield number, file.read(member.length)
        return
    if not wanted:
        return
    begin, last = entry.members[wanted[0]].offset, entry.members[wanted[-1]]
    part = lake.read(entry.segment, begin, last.offset + last.length)  # one request beats one for each small member
    for number in wanted:
        member = entry.members[number]
        yield number, part[member.offset - begin : member.offset - begin + member.length]
