"""JSON lines of any kind, by a mapping file: paths, types, time formats, value maps, class by condition.

Belongs here: how records lie in files, their keys and times. Not here: the mapping file's shape (`_mapping`), the SQL it becomes
(`_mapping_sql`). A mapping `formats/<name>.yaml` beside the configuration is the format `<name>`; examples are in `examples/formats/`.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from audit_pipeline.errors import UsageError
from audit_pipeline.formats import _mapping
from audit_pipeline.formats._heads import NO_RECORD, UNREADABLE, loose_fields
from audit_pipeline.formats._mapping_sql import Fields, columns
from audit_pipeline.formats._stamps import EPOCH, MAX_STAMP, Fate, fate, rfc3339
from audit_pipeline.formats.base import Format, Framing, Keys, Split, json_record
from audit_pipeline.formats.records import numbered, split_json

_EPOCHS = {"epoch_s": Decimal(10**6), "epoch_ms": Decimal(1000), "epoch_us": Decimal(1), "epoch_ns": Decimal("0.001")}
"""Microseconds in one of each."""
_LOOSE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_US = dt.timedelta(microseconds=1)


def zone_of(name: str) -> dt.tzinfo:
    """A time zone by its IANA name.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        return dt.UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"unknown zone {name!r}: give an IANA time zone such as Europe/Berlin.") from error


def _clock(time: _mapping.Time, zone: dt.tzinfo) -> Callable[[Any], int | None]:
    """From what stands in the record to microseconds since 1970 UTC; None for what is no time of the mapping's form."""
    if time.format == "rfc3339":
        return lambda value: rfc3339(value, zone) if isinstance(value, str) and len(value) <= MAX_STAMP else None
    if time.format in _EPOCHS:
        return functools.partial(_epoch, scale=_EPOCHS[time.format])
    parse = functools.lru_cache(maxsize=65_536)(functools.partial(_strptime, pattern=time.format, zone=zone))
    return lambda value: parse(value) if isinstance(value, str) and len(value) <= MAX_STAMP else None


def _epoch(value: Any, scale: Decimal) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > MAX_STAMP:
        return None
    try:
        number = Decimal(str(value)) * scale
    except InvalidOperation:
        return None
    return int(number) if math.isfinite(number) and abs(number) < 2**62 else None


def _strptime(value: str, pattern: str, zone: dt.tzinfo) -> int | None:
    try:
        moment = dt.datetime.strptime(value, pattern)  # noqa: DTZ007 - the zone follows
        return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - EPOCH) // _US
    except (ValueError, OverflowError):
        return None


def _get(record: Any, path: Sequence[str]) -> Any:
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


class JsonLines:
    """A format that a mapping makes; see `formats.base.Format`."""

    def __init__(self, mapping: _mapping.Mapping, zone: str = "UTC") -> None:
        """The format of a checked mapping; `zone` is that of stamps without one, unless the mapping says it.

        Raises:
            UsageError: the zone is not known.
        """
        self.name, self.version = mapping.name, mapping.version
        self.variant = hashlib.sha256(
            f"{mapping.time.zone or zone}\n{_mapping.canonical(mapping)}".encode()
        ).hexdigest()
        self._mapping = mapping
        self._clock = _clock(mapping.time, zone_of(mapping.time.zone or zone))
        self._time = _mapping.steps(mapping.time.path)
        self._key = [_mapping.steps(path) for path in mapping.key or ()]
        self._fields = Fields(mapping)
        wanted = dict.fromkeys([self._time[0], *(path[0] for path in self._key)])
        head = msgspec.defstruct("Head", [(f"f{n}", Any, None) for n in range(len(wanted))], rename=dict(zip((f"f{n}" for n in range(len(wanted))), wanted, strict=True)))  # fmt: skip
        self._decode = msgspec.json.Decoder(head).decode
        self._wanted = {key: f"f{n}" for n, key in enumerate(wanted)}

    @property
    def record(self) -> str:
        """The fields that the mapping reads."""
        return json_record(self._fields.structure)

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns(self._mapping, self._fields)

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an object by itself."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        try:
            return "lines" if _LOOSE.decode(first) else "document"
        except UNREADABLE:
            return "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """A mapping knows no delivery stamps."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """Objects on lines, in an array, or one after another."""
        return split_json(data, whole=whole, containers=(), is_record=lambda value: self._time[0] in value)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """The mapping's key where a record has all of it, else the record and which of its equals it is; and its time."""
        heads = [self._head(record) for record in records]
        fates = [self._fate(head) for head in heads]
        own = numbered(records)
        return Keys(
            [self._identity(head) or other for head, other in zip(heads, own, strict=True)] if self._key else own,
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )

    def _head(self, record: bytes) -> dict[str, Any] | str:
        """What time and key are read from, or the reason why there is nothing."""
        try:
            found = self._decode(record)
        except UNREADABLE:
            return loose_fields(record)
        return {key: getattr(found, name) for key, name in self._wanted.items()}

    def _fate(self, head: dict[str, Any] | str) -> Fate:
        if isinstance(head, str):
            return None, head, NO_RECORD
        value = _get(head, self._time)
        return fate(self._clock(value), self._mapping.time.path, value)

    def _identity(self, head: dict[str, Any] | str) -> bytes | None:
        if isinstance(head, str):
            return None
        values = [_get(head, path) for path in self._key]
        if any(value is None or value == "" for value in values):
            return None
        return json.dumps(values, sort_keys=True).encode()


class _Unmapped:
    """The name `jsonl`, which becomes a format only with a mapping."""

    name = "jsonl"

    def configured(self, *, year: int | None, zone: str, mapping: Path | None) -> Format:  # noqa: ARG002
        """The format of a mapping file.

        Raises:
            ConfigError: the mapping is wrong; names file, key and remedy.
            UsageError: there is no mapping, or the zone is not known.
        """
        if mapping is None:
            raise UsageError("format jsonl needs a mapping: give --mapping FILE; of a source, put formats/NAME.yaml beside the configuration and set `format: NAME`.")  # fmt: skip
        return JsonLines(_mapping.load(mapping), zone)


FORMAT = _Unmapped()
