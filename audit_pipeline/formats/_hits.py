"""Documents of a search store as records: answer pages as they were sent, and exports of one hit or document a line.

Belongs here: cutting a page into records, the head of a record. Not here: what a document means (`ecs`).

A record is `{"_index":…,"_id":…,"_version":…,"_source":…}` with the bytes of the page's own values. What belongs to the search and
not to the document (`sort`, `_score`) is left out, so that a document that is read twice is the same record twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from audit_pipeline.formats._heads import UNREADABLE, loose_fields
from audit_pipeline.formats._stamps import MAX_STAMP, rfc3339
from audit_pipeline.formats.base import Split
from audit_pipeline.formats.records import split_json

KEPT = ("_index", "_id", "_version", "_source")


class _Outer(msgspec.Struct):
    hits: list[dict[str, msgspec.Raw]]


class _Page(msgspec.Struct):
    hits: _Outer


_PAGE = msgspec.json.Decoder(_Page)


def split_hits(data: bytes, whole: bool) -> Split:
    """The records of a page; of anything else the objects of lines or arrays."""
    if whole and b'"hits"' in data:
        try:
            return Split([_record(hit) for hit in _PAGE.decode(data).hits.hits])
        except UNREADABLE:
            page = _patiently(data)
        if page is not None:
            return Split([_record(hit) for hit in page])
    return split_json(data, whole=whole, containers=(), is_record=is_record)


def _patiently(data: bytes) -> list[dict[str, bytes]] | None:
    """The hits of a page that the fast decoder refuses, such as for a lone surrogate in one of its documents; null for no page."""
    fields = loose_fields(data)
    outer = fields.get("hits") if isinstance(fields, dict) else None
    hits = outer.get("hits") if isinstance(outer, dict) else None
    if not isinstance(hits, list) or not all(isinstance(hit, dict) for hit in hits):
        return None
    return [{key: json.dumps(hit[key], separators=(",", ":")).encode() for key in KEPT if key in hit} for hit in hits]


def _record(hit: Mapping[str, msgspec.Raw | bytes]) -> bytes:
    return b"{" + b",".join(b'"%b":%b' % (key.encode(), bytes(hit[key])) for key in KEPT if key in hit) + b"}"


def is_record(value: Mapping[str, object]) -> bool:
    """Whether an object among others is a hit, or a document by itself."""
    return "_source" in value or "@timestamp" in value


def document_of(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The document in a record: its `_source`, else the record itself."""
    found = fields.get("_source", fields)
    return found if isinstance(found, dict) else None


def fields_of(record: bytes) -> dict[str, Any] | str:
    """The record's fields, or the code of its reject."""
    try:
        found = msgspec.json.decode(record)
    except UNREADABLE:
        return loose_fields(record)
    return found if isinstance(found, dict) else "not_an_object"


def moment(value: Any) -> int | None:
    """A date as the store reads it by default: RFC 3339 (UTC where it has no zone) or milliseconds since 1970; microseconds."""
    if isinstance(value, str) and 4 < len(value) <= MAX_STAMP and value.isdecimal() and value.isascii():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value * 1000 if abs(value) < 2**53 else None  # more is no date, and no number that a column holds
    return rfc3339(value) if isinstance(value, str) and len(value) <= MAX_STAMP else None


def key_of(fields: Mapping[str, Any]) -> bytes | None:
    """Index and id; of a document alone its `event.id`; null where there is neither."""
    if isinstance(fields.get("_id"), str):
        return json.dumps([fields.get("_index"), fields["_id"]]).encode()
    event = fields.get("event")
    found = event.get("id") if isinstance(event, dict) else None
    return json.dumps(found).encode() if isinstance(found, str) and found else None


def version_of(fields: Mapping[str, Any]) -> int:
    """The document's version, 0 where it is not told: of several the greatest is the newest."""
    found = fields.get("_version")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**62 else 0
