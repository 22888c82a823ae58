"""Rows of the index while a segment is read: kept by member, made columns at once at the end.

Belongs here: the shape in memory. Not here: what a member holds (`indexing`) or where rows are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_128_digest

from audit_pipeline.formats.base import Keys
from audit_pipeline.formats.records import MAX_DAMAGE
from audit_pipeline.lake.tables import TIME

_DAY_US = 86_400_000_000
_HASH = 16


class Fate(NamedTuple):
    """Why a record, or a part of a member, is no event."""

    place: int | None
    """which record of the member; null where it was none"""
    reason: str
    detail: str | None
    raw: str | None


def kept(piece: bytes) -> str:
    """The text of a reject that is kept with it, bounded; the segment has the rest."""
    return piece[:MAX_DAMAGE].decode("utf-8", "replace").replace("\x00", "\ufffd")


@dataclass
class MemberRows:
    """What one member gives the index: a row a record, then a row for each part that is no record or cannot be trusted."""

    number: int
    fallback: int
    """the day (since 1970) of what has no event time"""
    records: int = 0
    """into how many it was cut: what the lines of the next member begin after"""
    key: bytes = b""
    """hashes, one behind the other"""
    content: bytes = b""
    version: Sequence[int] | None = None
    own: list[tuple[bytes, int | None]] | None = None
    time_us: list[int | None] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    """of records that have a row by `add` already"""
    rejects: list[Fate] = field(default_factory=list)
    """rows of their own"""

    def add(self, records: Sequence[bytes], keys: Keys) -> None:
        """The member's records, with what the format says of each."""
        self.key = b"".join(map(xxh3_128_digest, keys.key))
        self.content = b"".join(map(xxh3_128_digest, records))
        self.version, self.time_us, self.own = keys.version, keys.time_us, keys.own
        if any(keys.reason):
            found = enumerate(zip(keys.reason, keys.detail, records, strict=True))
            self.fates = [Fate(at, why, detail, kept(record)) for at, (why, detail, record) in found if why]

    def reject(self, place: int | None, reason: str, detail: str, raw: str = "") -> None:
        """A record, or a part of the member, that is no event."""
        self.rejects.append(Fate(place, reason, detail, raw))


@dataclass(frozen=True)
class Rows:
    """The rows of a segment, members in order."""

    member: npt.NDArray[np.int64]
    day: npt.NDArray[np.int32]
    columns: dict[str, pa.Array]
    """line, hashes, version, time and fate, as in `lake.tables.INDEX_SCHEMA`"""

    @classmethod
    def of(cls, members: Sequence[MemberRows]) -> Rows:
        """Columns of all members."""
        added = np.array([len(one.time_us) for one in members], np.int64)
        sizes = added + np.array([len(one.rejects) for one in members], np.int64)
        starts = np.cumsum(sizes) - sizes
        records = np.array([one.records for one in members], np.int64)
        lines = np.cumsum(records) - records
        where = np.arange(sizes.sum())
        own = where - np.repeat(starts + added, sizes) < 0  # a record's row, not one of a reject beside it
        time = pa.array(chain.from_iterable([*one.time_us, *[None] * len(one.rejects)] for one in members), pa.int64())
        line = where + np.repeat(lines - starts, sizes)
        columns = {
            "line": _lines(line, own, lines, members),
            "key_hash": _hashes([one.key for one in members], members, own),
            "content_hash": _hashes([one.content for one in members], members, own),
            "version": _versions(members, sizes),
            "time": time.cast(TIME),
            **_fates(members, starts, added, len(where)),
        }
        fallback = np.repeat(np.array([one.fallback for one in members], np.int64), sizes)
        days = time.fill_null(0).to_numpy() // _DAY_US
        if time.null_count:
            days = np.where(time.is_null().to_numpy(zero_copy_only=False), fallback, days)
        return cls(
            np.repeat(np.array([one.number for one in members], np.int64), sizes), days.astype(np.int32), columns
        )


def _lines(
    line: npt.NDArray[np.int64], own: npt.NDArray[np.bool_], lines: npt.NDArray[np.int64], members: Sequence[MemberRows]
) -> pa.Array:
    if own.all():
        return pa.array(line)
    places = [
        None if fate.place is None else int(begin) + fate.place
        for begin, one in zip(lines, members, strict=True)
        for fate in one.rejects
    ]
    found = line.astype(object)
    found[~own] = places
    return pa.array(found, pa.int64())


def _hashes(parts: Sequence[bytes], members: Sequence[MemberRows], own: npt.NDArray[np.bool_]) -> pa.Array:
    data = b"".join(
        chain.from_iterable((part, bytes(_HASH * len(one.rejects))) for part, one in zip(parts, members, strict=True))
    )
    valid = None if own.all() else pa.py_buffer(np.packbits(own, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(_HASH), len(own), [valid, pa.py_buffer(data)])


def _versions(members: Sequence[MemberRows], sizes: npt.NDArray[np.int64]) -> pa.Array:
    if all(one.version is None for one in members):
        return pa.nulls(int(sizes.sum()), pa.int64())
    found: list[int | None] = []
    for one in members:
        found += one.version if one.version is not None else [None] * len(one.time_us)
        found += [None] * len(one.rejects)
    return pa.array(found, pa.int64())


def _fates(
    members: Sequence[MemberRows], starts: npt.NDArray[np.int64], added: npt.NDArray[np.int64], n: int
) -> dict[str, pa.Array]:
    """Reason, detail and raw text; nulls alone where all is well."""
    names = ("reason", "detail", "raw")
    if not any(one.fates or one.rejects for one in members):
        return {name: pa.nulls(n, pa.string()) for name in names}
    lists: list[list[str | None]] = [[None] * n for _ in names]
    for start, size, one in zip(starts.tolist(), added.tolist(), members, strict=True):
        rows = chain(((start + (fate.place or 0), fate) for fate in one.fates), enumerate(one.rejects, start + size))
        for row, fate in rows:
            for found, value in zip(lists, fate[1:], strict=True):
                found[row] = value
    return {name: pa.array(found, pa.string()) for name, found in zip(names, lists, strict=True)}
