"""Manifest entries: the facts of one collection, chained by hash. Canonical JSON (RFC 8785), one file an entry.

Belongs here: the shape of an entry, its hash, reading and appending. Not here: what is collected (`sources`) or checked (`verify`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import rfc8785

from audit_pipeline.errors import LakeError
from audit_pipeline.lake.store import Lake

VERSION = 1
NO_PREVIOUS = "0" * 64
_NAME = re.compile(r"(?:[0-9]{8}|[1-9][0-9]{8,})\.json")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file or page as collected, a slice of the segment."""

    name: str
    offset: int
    length: int
    sha256: str
    visible_time: str | None = None
    """RFC 3339; see `visible_from`"""
    visible_from: str = "collected"
    """`delivery` (stamp of the source), `modified` (time of the file) or `collected`"""
    encoding: str = "plain"
    """plain | gzip | zstd | bzip2 | xz"""
    at: int = 0
    """where the slice begins in the inflated file; more than 0 when earlier lines were collected before"""
    inflated: int = 0
    """length of the slice when inflated, for files of lines"""
    prefix: str | None = None
    """SHA-256 of the inflated file from 0 to the slice's end: how a file of lines is known again; null for documents"""
    size: int | None = None
    """size of the file when it was taken whole"""
    modified: str | None = None
    """RFC 3339 modification time of the file"""
    error: str | None = None
    """what was wrong already at collection (`unreadable: ...`); null for a readable file"""
    etag: str | msgspec.UnsetType = msgspec.UNSET
    """the object store's own mark of this version of the object; absent, also from the stored entry, where it was not asked for"""
    inflated_sha256: str | msgspec.UnsetType = msgspec.UNSET
    """SHA-256 of the inflated document, where the source's own record names that one; absent otherwise"""


class Remark(msgspec.Struct, frozen=True):
    """What the source or the collector said about completeness; `code` is a reason code of contracts.md."""

    code: str
    detail: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One collection: at most one segment. `segment` is null when there was nothing new: that it was asked is a fact too."""

    v: int = VERSION
    source: str
    sequence: int
    previous: str = NO_PREVIOUS
    segment: str | None = None
    """path below the lake's root"""
    bytes: int = 0
    sha256: str | None = None
    root: str | None = None
    records: int | None = None
    """how many records the source said it gave; null where it does not say"""
    members: list[Member] = []
    request: dict[str, Any] = {}
    """what was asked: `from` and `to` (RFC 3339, null for open) bound the event days that the collection covers"""
    cursor_in: str | None = None
    cursor_out: str | None = None
    collected_at: str
    clock: str = "system"
    remarks: list[Remark] = []
    collector: str = ""
    hash: str = ""

    def covers(self, day: dt.date) -> bool:
        """Whether the collection asked for the whole of a UTC day, and did not fail."""
        if any(remark.code == "collection_failed" for remark in self.remarks):
            return False
        start, end = day.isoformat(), (day + dt.timedelta(days=1)).isoformat()
        low, high = self.request.get("from"), self.request.get("to")
        return (low is None or low <= start + "T00:00:00Z") and (high is None or high >= end + "T00:00:00Z")


def folder(source: str) -> str:
    """Where a source's entries lie."""
    return f"raw/{source}/manifest"


def file(source: str, sequence: int) -> str:
    """The file of one entry."""
    return f"{folder(source)}/{sequence:08d}.json"


def encode(entry: Entry) -> bytes:
    """The entry's canonical JSON with its hash: the bytes that are stored."""
    rest = msgspec.to_builtins(msgspec.structs.replace(entry, members=[]))
    parts = {key: rfc8785.dumps(value) for key, value in rest.items() if key != "hash"}
    # Thousands of members without a float: there the two encoders give the same bytes (a test compares), and this one is quick.
    parts["members"] = msgspec.json.encode(entry.members, order="sorted")
    digest = hashlib.sha256(_object(parts)).hexdigest()
    return _object({**parts, "hash": rfc8785.dumps(digest)})


def _object(parts: dict[str, bytes]) -> bytes:
    """The canonical object of canonical values; its keys are an entry's, ASCII words that sort as RFC 8785 wants them."""
    return b"{" + b",".join(b'"%b":%b' % (key.encode(), parts[key]) for key in sorted(parts)) + b"}"


def decode(data: bytes) -> Entry:
    """The entry in stored bytes.

    Raises:
        msgspec.DecodeError: they are no entry.
    """
    return msgspec.json.decode(data, type=Entry)


def sequences(lake: Lake, source: str) -> list[int]:
    """The numbers of a source's entries, in order."""
    return sorted(int(name[:-5]) for name in lake.names(folder(source)) if _NAME.fullmatch(name))


def read(lake: Lake, source: str, sequence: int) -> Entry:
    """One entry.

    Raises:
        LakeError: the file is no entry any more; names it.
    """
    try:
        return decode(lake.read(file(source, sequence)))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LakeError(
            f"{lake.path(file(source, sequence))}: is no readable manifest entry ({error}): the evidence was changed or damaged. "
            "Run `audit-pipeline verify`, then put the file back from a copy; until then nothing is added to this chain."
        ) from error


def entries(lake: Lake, source: str) -> list[Entry]:
    """All entries of a source, in order."""
    return [read(lake, source, sequence) for sequence in sequences(lake, source)]


def newest_first(lake: Lake, source: str, day: dt.date) -> Iterator[Entry]:
    """The entries that end a collection for a day up to `day`, newest first, each read when it is asked for."""
    for sequence in reversed(sequences(lake, source)):
        entry = read(lake, source, sequence)
        if "" < str(entry.request.get("day") or "") <= day.isoformat():
            yield entry


def append(lake: Lake, entry: Entry) -> Entry:
    """Store the entry as the next of its source's chain.

    The sequence must be the last one plus one; `previous` is set here to the SHA-256 of the last entry's file as stored.

    Raises:
        FileExistsError: another collector was first.
    """
    previous = (
        NO_PREVIOUS
        if entry.sequence == 1
        else hashlib.sha256(lake.read(file(entry.source, entry.sequence - 1))).hexdigest()
    )
    data = encode(msgspec.structs.replace(entry, previous=previous))
    lake.create(file(entry.source, entry.sequence), data)
    return decode(data)
