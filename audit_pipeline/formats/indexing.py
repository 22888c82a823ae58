"""The index: which record of which segment belongs to which day. Derived from raw, rebuildable, one small file a segment and day.

Belongs here: making and reading index files. Not here: the events themselves (`unify`).
The marker `index/source=S/<sequence>.json` is written last: a segment without one, or with one of an older format version, is
indexed anew. So a kill, a mended zone or a new parser version heal by themselves.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline.formats import received
from audit_pipeline.formats.base import Damage, Format
from audit_pipeline.formats.inflate import inflate
from audit_pipeline.formats.rows import MemberRows, Rows, kept
from audit_pipeline.lake import manifest, raw
from audit_pipeline.lake.manifest import Entry, Member
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import INDEX_SCHEMA, TIME, index_folder

_EPOCH = dt.date(1970, 1, 1)
_TOGETHER = 16
"""Members from which on two threads are worth their start."""
LAYOUT = 2
"""Raised when index files change in themselves."""
_DICTIONARY = ["source", "segment", "member", "reason", "detail", "visible_time"]
_COMPRESSION = {
    name: "none" if name.endswith("_hash") else "zstd" for name in INDEX_SCHEMA.names
}  # hashes do not compress


class Marker(msgspec.Struct, frozen=True):
    """That a segment is indexed, by what, and what it holds."""

    format: str
    entry: str
    """the entry's hash"""
    counts: list[int]
    """records of each member, in order: where a member's lines begin"""
    days: dict[str, list[int]]
    """event day to [records, rejects]"""
    own: list[str] | None = None
    """days of a store's own records (`received`), where these become events of other days; null where events are they"""


def version(form: Format) -> str:
    """What an index was made by: format, its version and settings, and the layout of the index."""
    variant = f"+{hashlib.sha256(form.variant.encode()).hexdigest()[:16]}" if form.variant else ""
    return f"{form.name}/{form.version}.{LAYOUT}{variant}"


def ensure(lake: Lake, source: str, form: Format) -> list[dt.date]:
    """Index every segment that is not indexed yet; returns the days that got rows."""
    touched: set[dt.date] = set()
    names = set(lake.names(index_folder(source)))
    for sequence in manifest.sequences(lake, source):
        marker = _read_marker(lake, source, sequence) if f"{sequence:08d}.json" in names else None
        if marker is None or marker.format != version(form):
            touched.update(_index(lake, manifest.read(lake, source, sequence), form))
    return sorted(touched)


def markers(lake: Lake, source: str) -> dict[int, Marker]:
    """All markers of a source by sequence."""
    names = [name for name in lake.names(index_folder(source)) if name.endswith(".json")]
    return {
        int(name[:-5]): msgspec.json.decode(lake.read(f"{index_folder(source)}/{name}"), type=Marker) for name in names
    }


def indexed_days(lake: Lake, source: str) -> list[dt.date]:
    """The days that have records or rejects in the index, in order."""
    return sorted({dt.date.fromisoformat(day) for marker in markers(lake, source).values() for day in marker.days})


def index_count(lake: Lake, source: str, day: dt.date) -> int:
    """Rows that the index gives a day: records and rejects."""
    return sum(sum(marker.days.get(day.isoformat(), [0, 0])) for marker in markers(lake, source).values())


def input_hash(lake: Lake, source: str, day: dt.date, known: dict[int, Marker] | None = None) -> str:
    """What the events of a day are made from: format and the entries that have rows of it. Equal inputs, equal events.

    `known` are the source's markers where the caller has read them already.
    """
    found = {n: m for n, m in (known or markers(lake, source)).items() if day.isoformat() in m.days}
    text = "\n".join(f"{marker.format} {number} {marker.entry}" for number, marker in sorted(found.items()))
    return hashlib.sha256(f"{day.isoformat()}\n{text}".encode()).hexdigest()


def file(source: str, day: dt.date, sequence: int) -> str:
    """The index file of a segment and day."""
    return f"{index_folder(source)}/day={day.isoformat()}/{sequence:08d}.parquet"


def day_files(lake: Lake, source: str, form: Format, day: dt.date) -> list[str]:
    """The index files of a day, below the lake's root; one that was lost is made anew from raw."""
    wanted = [number for number, marker in sorted(markers(lake, source).items()) if day.isoformat() in marker.days]
    paths = [file(source, day, number) for number in wanted]
    present = set(lake.names(f"{index_folder(source)}/day={day.isoformat()}"))
    for number, path in zip(wanted, paths, strict=True):
        if path.rsplit("/", 1)[1] not in present:
            _index(lake, manifest.read(lake, source, number), form)
    return paths


def _read_marker(lake: Lake, source: str, sequence: int) -> Marker | None:
    try:
        return msgspec.json.decode(lake.read(f"{index_folder(source)}/{sequence:08d}.json"), type=Marker)
    except msgspec.DecodeError:
        return None


def _index(lake: Lake, entry: Entry, form: Format) -> list[dt.date]:
    """Read every member of a segment once; write a file a day, then the marker."""
    members = [member for part in _parts(lake, entry, form) for member in part]
    counts = [member.records for member in members]
    days = dict(_write_days(lake, entry, Rows.of(members)))
    own = received.write(lake, entry, members)
    marker = Marker(version(form), entry.hash, counts, {day.isoformat(): found for day, found in days.items()}, own)
    lake.write(f"{index_folder(entry.source)}/{entry.sequence:08d}.json", msgspec.json.encode(marker))
    return sorted(days)


def _parts(lake: Lake, entry: Entry, form: Format) -> Iterator[list[MemberRows]]:
    """The members' rows; those of a large segment are read in two threads, as inflating needs no lock of the interpreter."""
    numbers = range(len(entry.members))
    if len(numbers) < _TOGETHER:
        yield _read(lake, entry, form, numbers)
        return
    half = len(numbers) // 2
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda part: _read(lake, entry, form, part), [numbers[:half], numbers[half:]])


def _read(lake: Lake, entry: Entry, form: Format, numbers: range) -> list[MemberRows]:
    return [_index_member(entry, number, data, form) for number, data in raw.members(lake, entry, numbers)]


def _index_member(entry: Entry, number: int, data: bytes, form: Format) -> MemberRows:
    """Rows of one member."""
    member = entry.members[number]
    rows = MemberRows(number, _fallback_day(entry, number))
    if member.error:
        rows.reject(None, "unreadable", member.error)
        return rows
    inflated = inflate(data, member.name)
    split = form.split(inflated.data, inflated.whole) if inflated.data or inflated.whole else None
    records = split.records if split else []
    rows.records = len(records)
    if inflated.fault == "corrupt":  # the checksum fails: nobody can tell which record changed, or into what
        for offset, record in enumerate(records):
            rows.reject(offset, "corrupt", inflated.detail, kept(record))
        if not records:
            rows.reject(None, "corrupt", inflated.detail)
        return rows
    rows.add(records, form.keys(records, _visible(member)))
    damaged = list(split.damaged) if split else []
    if inflated.fault and not any(damage.reason == inflated.fault for damage in damaged):
        damaged.append(Damage(len(inflated.data), inflated.fault, inflated.detail))
    for damage in damaged:
        detail = inflated.detail if damage.reason == inflated.fault and inflated.detail else damage.detail
        rows.reject(None, damage.reason, f"{detail} (byte {damage.position} of the inflated member)", kept(damage.raw))
    return rows


def _fallback_day(entry: Entry, number: int) -> int:
    """The day (since 1970) of what has no event time: of the member's visible time, else of its collection."""
    moment = dt.datetime.fromisoformat(entry.members[number].visible_time or entry.collected_at)
    return (moment.date() - _EPOCH).days


def _write_days(lake: Lake, entry: Entry, rows: Rows) -> Iterator[tuple[dt.date, list[int]]]:
    if not len(rows.day):
        return
    names = pa.array([member.name for member in entry.members], pa.string())
    visible = pa.array(
        [_micros(member.visible_time) if member.visible_from != "collected" else None for member in entry.members],
        pa.int64(),
    ).cast(TIME)
    members = pa.array(rows.member)
    table = pa.table(
        {
            "source": _constant(entry.source, len(rows.day)),
            "day": pa.array(rows.day).cast(pa.date32()),
            "sequence": pa.array(np.full(len(rows.day), entry.sequence, dtype=np.int64)),
            "segment": _constant(entry.segment, len(rows.day)),
            "member": names.take(members),
            "visible_time": visible.take(members),
            **rows.columns,
        }
    ).select(INDEX_SCHEMA.names)
    for number in np.unique(rows.day):
        chosen = _of_day(table, rows.day, number)
        day = _EPOCH + dt.timedelta(days=int(number))
        with lake.staged(file(entry.source, day, entry.sequence)) as temporary:
            pq.write_table(
                chosen.cast(INDEX_SCHEMA),
                temporary,
                compression=_COMPRESSION,
                use_dictionary=_DICTIONARY,
                write_statistics=False,
            )
        rejects = len(chosen) - chosen["reason"].null_count
        yield day, [len(chosen) - rejects, rejects]


def _of_day(table: pa.Table, days: npt.NDArray[np.int32], number: np.int32) -> pa.Table:
    """The rows of a day: a slice where they lie together, as those of an archive usually do."""
    found = np.flatnonzero(days == number)
    if found[-1] - found[0] + 1 == len(found):
        return table.slice(found[0], len(found))
    return table.take(pa.array(found))


def _constant(value: Any, length: int) -> pa.Array:
    return pa.array([value], pa.string()).take(pa.array(np.zeros(length, dtype=np.int64)))


def _visible(member: Member) -> dt.datetime | None:
    return dt.datetime.fromisoformat(member.visible_time) if member.visible_time else None


def _micros(stamp: str | None) -> int | None:
    if stamp is None:
        return None
    return (dt.datetime.fromisoformat(stamp) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
