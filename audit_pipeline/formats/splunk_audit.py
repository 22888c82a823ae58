"""Splunk's own audit trail: rows of a search as its API exports them, and lines of `audit.log`; and what lies in rows of other logs.

Belongs here: how rows lie in an answer, what identifies them, when they happened. Not here: what they mean (`_splunk`). An exported row
is the object `result` of its line; lines that hold messages or previews are no records. A row is known by its bucket and its place in
it (`_bkt`, `_cd`). Its time is `event_time` (seconds since 1970, which our collector asks for), else `_time`: epoch, RFC 3339, or
`2026-01-31 12:00:00.000 CET`, where an abbreviation that is not UTC's must be that of the configured zone. A row of another log is a
Base Event with its text; `ENVELOPE` lets that log's own format read it.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from audit_pipeline.errors import UsageError
from audit_pipeline.formats._heads import NO_RECORD, UNREADABLE, loose_fields
from audit_pipeline.formats._splunk import columns, record
from audit_pipeline.formats._stamps import EPOCH, MAX_STAMP, Fate, fate, rfc3339
from audit_pipeline.formats.base import Envelope, Format, Framing, Keys, Split
from audit_pipeline.formats.jsonl import zone_of
from audit_pipeline.formats.records import numbered, split_json, split_lines

_LINE = re.compile(rb"(?:\d\d-\d\d-\d{4} [^\n]{0,80}?AuditLogger[^\n]{0,80}? - )?Audit: ?\[timestamp=([^,\n]{1,64}),")
_BEGINS = re.compile(rb"\d\d-\d\d-\d{4} \d|Audit: ?\[|\{")
_ANSWER = re.compile(rb'\s*\{[^\n]{0,4096}?"results"\s*:\s*\[|\s*\{\s*\n|\s*\[')
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_FORMS = ("%m-%d-%Y %H:%M:%S.%f", "%m-%d-%Y %H:%M:%S", "%a %b %d %H:%M:%S %Y")
"""Stamps inside the trail's own events: the server's local time."""
_KEYED = ("index", "host", "source", "_time", "_raw")


class _Wrapped(msgspec.Struct):
    """A line of an exported answer."""

    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    preview: bool | msgspec.UnsetType = msgspec.UNSET
    lastrow: bool | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Bare(_Wrapped, forbid_unknown_fields=True):
    """One that does not say whether it is a preview: then nothing else may stand in it, since another log may use the same words."""


_WRAPPED, _BARE = msgspec.json.Decoder(_Wrapped), msgspec.json.Decoder(_Bare)


def _unwrapped(line: bytes) -> bytes | None:
    """The record of a line: the row in it, the line itself where it is none of an answer, null where it holds no row."""
    if not line.startswith(b"{"):
        return line
    try:
        found = _WRAPPED.decode(line)
        if found.preview is msgspec.UNSET:
            found = _BARE.decode(line)
    except UNREADABLE:
        return line
    row = b"" if found.result is msgspec.UNSET else bytes(found.result)
    if row.startswith(b"{"):  # a row is an object; any other `result` is a word of the line's own
        return None if found.preview is True else row
    return line if found.lastrow is msgspec.UNSET and found.messages is msgspec.UNSET else None


def _whole(lines: list[bytes]) -> list[bytes]:
    """A search that people wrote over several lines is one event: lines that begin none continue the one above."""
    found: list[list[bytes]] = []
    for line in lines:
        if found and _LINE.match(found[-1][0]) and not _BEGINS.match(line):
            found[-1].append(line)
        else:
            found.append([line])
    return [parts[0] if len(parts) == 1 else b"\n".join(parts) for parts in found]


class SplunkAudit:
    """The format; see `formats.base.Format`."""

    name = "splunk_audit"
    version = 1

    def __init__(self, zone: str = "UTC") -> None:
        """The format for a server whose own stamps are of this zone.

        Raises:
            UsageError: the zone is not known.
        """
        self._zone = zone_of(zone)
        self.variant = "" if zone == "UTC" else f"zone={zone}"

    def configured(self, *, year: int | None, zone: str, mapping: Path | None) -> Format:  # noqa: ARG002 - stamps have a year
        """The format for this zone.

        Raises:
            UsageError: the zone is not known, or a mapping is given.
        """
        if mapping is not None:
            raise UsageError("format splunk_audit takes no mapping: leave out --mapping.")
        return SplunkAudit(zone)

    @functools.cached_property
    def record(self) -> str:
        """The row, its text, and the words of the trail in it."""
        return record()

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines, but for an answer that is one document."""
        return "document" if _ANSWER.match(head) else "lines"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The rows of an answer, or the events of lines."""
        if _ANSWER.match(data):
            return split_json(data, whole=whole, containers=("results",), is_record=lambda value: "_raw" in value or "_time" in value)  # fmt: skip
        found = split_lines(data, whole=whole)
        found.records = [row for line in _whole(found.records) if (row := _unwrapped(line)) is not None]
        return found

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Bucket and place of each row; of one without them where it came from, its time and text; a line is its own key."""
        found = [_fields(text) for text in records]
        fates = [self._fate(text, fields) for text, fields in zip(records, found, strict=True)]
        keys = [_key(text, fields) for text, fields in zip(records, found, strict=True)]
        own = numbered([key for key, sure in keys if not sure])
        unsure = iter(own)
        return Keys(
            [key if sure else next(unsure) for key, sure in keys],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )

    def _fate(self, text: bytes, fields: dict[str, Any] | str | None) -> Fate:
        if isinstance(fields, str):
            return None, fields, NO_RECORD
        if fields is None:
            match = _LINE.match(text)
            stamp = match[1].decode("utf-8", "replace") if match else None
            return fate(self._local(stamp) if stamp else None, "stamp of the audit trail", stamp)
        given = [name for name in ("event_time", "_time", "timestamp") if fields.get(name) not in (None, "")] or [
            "_time"
        ]
        found = {name: self._moment(fields.get(name), local=name == "timestamp") for name in given}
        name = next((name for name in given if found[name] is not None), given[0])
        return fate(found[name], name, fields.get(name))

    def _moment(self, stamp: Any, *, local: bool) -> int | None:
        if isinstance(stamp, bool) or not isinstance(stamp, str | int | float) or len(str(stamp)) > MAX_STAMP:
            return None
        text = str(stamp)
        if _NUMBER.fullmatch(text):
            return int(Decimal(text) * 1_000_000)
        return self._local(text) if local else self._named(text)

    def _named(self, text: str) -> int | None:
        """RFC 3339, or with the name of a zone, which must be UTC's or that of the configured zone at that time."""
        bare, _, name = text.rpartition(" ")
        if not name.isalpha():
            return rfc3339(text) if re.search(r"(?:[Zz]|[+-]\d\d:?\d\d)$", text, re.ASCII) else None
        if name in ("UTC", "GMT"):
            return rfc3339(bare)
        moment = rfc3339(bare, self._zone)
        if moment is None:
            return None
        there = (EPOCH + dt.timedelta(microseconds=moment)).astimezone(self._zone)
        return moment if there.tzname() == name else None

    def _local(self, text: str) -> int | None:
        for form in _FORMS:
            try:
                moment = dt.datetime.strptime(text.strip(), form).replace(tzinfo=self._zone)
            except ValueError:
                continue
            return (moment - EPOCH) // dt.timedelta(microseconds=1)
        return rfc3339(text.strip(), self._zone)


def _fields(text: bytes) -> dict[str, Any] | str | None:
    """A row's fields, or the code of its reject; null for a line of text."""
    if not text.startswith(b"{"):
        return None
    try:
        found = msgspec.json.decode(text)
    except UNREADABLE:
        return loose_fields(text)
    return found if isinstance(found, dict) else "not_an_object"


def _key(text: bytes, fields: dict[str, Any] | str | None) -> tuple[bytes, bool]:
    """A record's identity, and whether no two records can share it."""
    if not isinstance(fields, dict):
        return text, False
    place = [fields.get("_bkt"), fields.get("_cd")]
    if all(isinstance(part, str) and part for part in place):
        return json.dumps(place).encode(), True
    if "_raw" not in fields:
        return text, False
    return json.dumps([fields.get(name) for name in _KEYED]).encode(), False


_FACTS = ("index", "sourcetype", "source", "host")


def _facts(fields: Mapping[str, Any]) -> Mapping[str, str]:
    return {name: value for name in _FACTS if isinstance(value := fields.get(name), str)}


def _payload(fields: Mapping[str, Any]) -> bytes | None:
    raw = fields.get("_raw")
    return raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else None


FORMAT = SplunkAudit()
ENVELOPE = Envelope(_facts, _payload, _FACTS)
