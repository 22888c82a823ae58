"""One file through a format, without a lake: what `audit-pipeline parse` prints.

Belongs here: bytes in; lines, rejects and a summary out, by the same SQL as the lake's path. Not here: reading files or printing
(`cli`), what a record means (the format).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from audit_pipeline import formats
from audit_pipeline.clock import rfc3339
from audit_pipeline.formats.base import Format, Keys
from audit_pipeline.formats.inflate import Inflated, inflate
from audit_pipeline.formats.records import MAX_DAMAGE, texts
from audit_pipeline.lake.views import quote
from audit_pipeline.ocsf.columns import COLUMNS, TIME
from audit_pipeline.ocsf.nested import nested

Mode = Literal["nested", "flat", "facets"]
_ROWS = 2048
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_OUTCOMES = {1: "success", 2: "failure"}
_AUTHENTICATION = 3002
_BATCH = pa.schema(
    [
        ("doc", pa.string()),
        ("raw", pa.string()),
        ("n", pa.int64()),
        ("time", TIME),
        ("copies", pa.int32()),
        ("parts", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Reject:
    """A record, or a part of the file, that is no event."""

    line: int | None
    """the record's number from 0; null for a part that is no record"""
    offset: int | None
    """where it begins, in bytes of the inflated file, where that is known"""
    reason: str
    detail: str
    raw: str
    """its first bytes"""


@dataclass
class Parsed:
    """What a file gave: `lines` are made as they are read, everything else is known at once."""

    lines: Iterator[str]
    events: int = 0
    duplicates: int = 0
    parts: int = 0
    """records merged into an event that another record stands for"""
    rejects: list[Reject] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, int]:
        """Counts; records = events + rejects + duplicates, and what was merged."""
        rejects = len(self.rejects)
        return {
            "records": self.events + rejects + self.duplicates + self.parts,
            "events": self.events,
            "rejects": rejects,
            "duplicates": self.duplicates,
        }


@dataclass
class _Good:
    """A record that becomes an event."""

    line: int
    record: bytes
    time_us: int
    copies: int = 0
    parts: int = 0
    """further records that are parts of this event, such as the other stages of a request"""


def parse(
    format_name: str,
    data: bytes,
    *,
    name: str = "-",
    mode: Mode = "nested",
    year: int | None = None,
    zone: str = "UTC",
    mapping: Path | None = None,
) -> Parsed:
    """Normalise a file: one JSON line an event, in the order of the input.

    Byte-identical further copies of a record are dropped and counted. The lines are ASCII: no log content reaches a terminal raw.

    Args:
        format_name: such as `cloudtrail`.
        data: the file, compressed or not.
        name: its name, for the encoding.
        mode: `nested` OCSF events, `flat` columns of the lake, or `facets`.
        year: the year, for formats without one.
        zone: the time zone, for formats without one.
        mapping: file with the mapping, for formats that need one.

    Raises:
        UsageError: there is no such format, or it takes no mapping.
    """
    form = formats.open_format(format_name, year=year, zone=zone, mapping=mapping)
    inflated = inflate(data, name)
    split = form.split(inflated.data, inflated.whole) if inflated.data or inflated.whole else None
    records = split.records if split else []
    result = Parsed(iter(()))
    if inflated.fault == "corrupt":  # the checksum fails: nobody can tell which record changed, or into what
        _reject(result, inflated.data, [(n, "corrupt", inflated.detail) for n in range(len(records))], records)
        _tell_fault(inflated, result)
        return result
    con = _connect()
    good = _sorted_out(con, form, records, inflated.data, result)
    for damage in split.damaged if split else []:
        result.rejects.append(Reject(None, damage.position, damage.reason, damage.detail, _kept(damage.raw)))
    _tell_fault(inflated, result)
    result.rejects.sort(key=lambda reject: (reject.offset is None, reject.offset or 0, reject.line or 0))
    result.events = len(good)
    result.lines = _lines(con, form, good, _PRINTERS[mode])
    return result


def _tell_fault(inflated: Inflated, result: Parsed) -> None:
    """That the archive is broken, unless a reject says so already."""
    if inflated.fault and not any(reject.reason == inflated.fault for reject in result.rejects):
        result.rejects.append(Reject(None, len(inflated.data), inflated.fault, inflated.detail, ""))


def _sorted_out(
    con: duckdb.DuckDBPyConnection, form: Format, records: Sequence[bytes], data: bytes, result: Parsed
) -> list[_Good]:
    """The records that become events; rejects and further copies are told in the result."""
    keys = form.keys(records)
    seen: dict[tuple[bytes, bytes], _Good] = {}
    bad: list[tuple[int, str, str]] = []
    for n, (key, record, time, reason, detail) in enumerate(
        zip(keys.key, records, keys.time_us, keys.reason, keys.detail, strict=True)
    ):
        if reason is not None or time is None:
            bad.append((n, reason or "no_time", detail or ""))
        elif (key, record) in seen:
            seen[key, record].copies += 1
        else:
            seen[key, record] = _Good(n, record, time)
    good = list(seen.values())
    unreadable = _unreadable(con, form, good)
    for found in good:
        if found.line in unreadable:
            bad.append((found.line, "not_json", "the engine cannot read this record"))
            bad += [(found.line, "not_json", "a further copy of a record that cannot be read")] * found.copies
    good = _merged([found for found in good if found.line not in unreadable], keys)
    result.duplicates = sum(found.copies for found in good)
    result.parts = sum(found.parts for found in good)
    _reject(result, data, bad, records)
    return good


def _merged(good: list[_Good], keys: Keys) -> list[_Good]:
    """One event for the records of a key that are parts of it: the newest stands for them, as in the lake."""
    if keys.version is None:
        return good
    newest: dict[bytes, _Good] = {}
    kept: list[_Good] = []
    for found in sorted(good, key=lambda item: (-keys.version[item.line], item.line)):  # type: ignore[index]
        first = newest.setdefault(keys.key[found.line], found)
        if first is found or keys.version[first.line] == keys.version[found.line]:
            kept.append(found)
        else:
            first.parts += 1
            first.copies += found.copies
    return sorted(kept, key=lambda item: item.line)


def _reject(result: Parsed, data: bytes, bad: list[tuple[int, str, str]], records: Sequence[bytes]) -> None:
    if not bad:
        return
    offsets = _offsets(data, records, max(n for n, _, _ in bad))
    result.rejects += [Reject(n, offsets[n], reason, detail, _kept(records[n])) for n, reason, detail in sorted(bad)]


def _offsets(data: bytes, records: Sequence[bytes], last: int) -> list[int | None]:
    """Where the records up to `last` begin; a record that was unwrapped from another is nowhere by itself."""
    found: list[int | None] = []
    at = 0
    for record in records[: last + 1]:
        place = data.find(record, at)
        found.append(None if place < 0 else place)
        at = at if place < 0 else place + len(record)
    return found


def _kept(piece: bytes) -> str:
    return piece[:MAX_DAMAGE].decode("utf-8", "replace").replace("\x00", "�")


def _connect() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    con.execute("SET TimeZone = 'UTC'; SET threads = 1")  # one thread: the order of the output is the input's
    return con


def _batch(good: Sequence[_Good]) -> pa.Table:
    pairs = list(texts([found.record for found in good]))
    columns = [
        pa.array([doc for doc, _ in pairs], pa.string()),
        pa.array([raw for _, raw in pairs], pa.string()),
        pa.array([found.line for found in good], pa.int64()),
        pa.array([found.time_us for found in good], pa.int64()).cast(TIME),
        pa.array([found.copies for found in good], pa.int32()),
        pa.array([found.parts for found in good], pa.int32()),
    ]
    return pa.table(columns, schema=_BATCH)


def _unreadable(con: duckdb.DuckDBPyConnection, form: Format, good: Sequence[_Good]) -> set[int]:
    """Records that the engine's reader refuses, though the format found key and time in them."""
    con.register("batch", _batch(good))
    return {row[0] for row in con.execute(f"SELECT n FROM batch WHERE ({form.record}) IS NULL").fetchall()}


def _lines(
    con: duckdb.DuckDBPyConnection,
    form: Format,
    good: Sequence[_Good],
    printer: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> Iterator[str]:
    """The events, in order, a batch at a time."""
    with con:
        if not good:
            return
        con.register("batch", _batch(good))
        for batch in con.sql(_statement(form)).to_arrow_reader(_ROWS):
            for row in batch.to_pylist():
                yield json.dumps(printer(row), separators=(",", ":"))


def _statement(form: Format) -> str:
    own = {
        "day": 'CAST("time" AS DATE)',
        "time": '"time"',
        "x_format": quote(f"{form.name}/{form.version}"),
        "x_line": "n",
        "x_records": "1 + copies + parts",
        "x_duplicates": "copies",
        "raw_data": "raw",
    }
    chosen = ", ".join(
        f'({own.get(column.name) or form.columns.get(column.name, "NULL")})::{_SQL[str(column.kind)]} AS "{column.name}"'
        for column in COLUMNS
    )
    return f"SELECT {chosen} FROM (SELECT *, {form.record} AS r FROM batch)"


_SQL = {"string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "bool": "BOOLEAN", "date32[day]": "DATE", "timestamp[us, tz=UTC]": "TIMESTAMPTZ", "double": "DOUBLE"}  # fmt: skip


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """The lake's columns, as JSON has them: times in RFC 3339, the day as a date."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def facets(row: Mapping[str, Any]) -> dict[str, Any]:
    """What most questions are about; null where the record does not say."""
    actor, target = row["actor_user_name"], row["user_name"]
    if row["class_uid"] == _AUTHENTICATION:  # there `user` is who tried to sign in
        actor, target = actor or target, None if target == actor or actor is None else target
    return {
        "time": (row["time"] - _EPOCH) // dt.timedelta(milliseconds=1),
        "actor": actor,
        "target": target,
        "address": row["src_endpoint_ip"],
        "operation": row["api_operation"] or row["metadata_event_code"],
        "outcome": _OUTCOMES.get(row["status_id"], "unknown"),
        "host": row["device_hostname"],
    }


_PRINTERS: dict[Mode, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "nested": nested,
    "flat": flat,
    "facets": facets,
}
