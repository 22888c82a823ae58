"""AWS CloudTrail: S3 objects, event history (`lookup-events`), insight and digest documents, JSON lines.

Belongs here: how records lie in files, what identifies them, when they happened. Not here: what they mean (`_cloudtrail`),
inflating, splitting JSON, streaming (`inflate`, `records`, `unify`).
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Mapping, Sequence

import msgspec

from audit_pipeline.formats._cloudtrail import STRUCTURE, columns
from audit_pipeline.formats._heads import NO_RECORD, UNREADABLE, loose_fields, texts_of
from audit_pipeline.formats._stamps import MAX_STAMP, Fate, fate, rfc3339
from audit_pipeline.formats.base import Framing, Keys, Split, json_record
from audit_pipeline.formats.places import Places, json_places
from audit_pipeline.formats.records import split_json

_NAME = re.compile(
    r"(?:^|[/\\])\d+_CloudTrail(?:-Insight)?_[A-Za-z0-9-]+_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)Z_[^/\\]*$", re.ASCII
)
_CONTAINERS = ("Records", "Events")
_DOCUMENT = b'{"Records":['


class _Head(msgspec.Struct, gc=False):
    """What the index needs of a record; everything else is skipped without being decoded."""

    eventID: str | None = None  # noqa: N815 - the vendor's words
    eventTime: str | None = None  # noqa: N815
    digestEndTime: str | None = None  # noqa: N815


class _Wrapped(msgspec.Struct):
    """An entry of the event history: the record is text inside it."""

    CloudTrailEvent: str


_HEAD = msgspec.json.Decoder(_Head)
_WRAPPED = msgspec.json.Decoder(_Wrapped)
_LOOSE = msgspec.json.Decoder(dict[str, msgspec.Raw])


@functools.lru_cache(maxsize=65_536)
def _fate(stamp: str) -> Fate:
    """Time, reject reason and detail by the text of the event time; many records share one. Without a zone it is UTC, as CloudTrail's times are."""
    return fate(rfc3339(stamp) if stamp else None, "eventTime", stamp)


def _slow_head(record: bytes) -> _Head | str:
    fields = loose_fields(record)
    return fields if isinstance(fields, str) else _Head(**texts_of(fields, _Head.__struct_fields__))


def _heads(records: Sequence[bytes]) -> Sequence[_Head | str]:
    try:
        return [_HEAD.decode(record) for record in records]
    except UNREADABLE:
        return [_head(record) for record in records]


def _head(record: bytes) -> _Head | str:
    try:
        return _HEAD.decode(record)
    except UNREADABLE:
        return _slow_head(record)


def _key(head: _Head | str, record: bytes) -> bytes:
    return head.eventID.encode("utf-8", "surrogatepass") if isinstance(head, _Head) and head.eventID else record


def _is_record(value: Mapping[str, object]) -> bool:
    return "eventTime" in value or "digestEndTime" in value or "CloudTrailEvent" in value


def _unwrap(record: bytes) -> bytes:
    """The record inside an entry of the event history; anything else as it is."""
    if b'"CloudTrailEvent"' not in record:
        return record
    try:
        return _WRAPPED.decode(record).CloudTrailEvent.encode()
    except (*UNREADABLE, UnicodeEncodeError):
        return record


class CloudTrail:
    """The format; see `formats.base.Format`."""

    name = "cloudtrail"
    version = 2
    variant = ""

    @property
    def record(self) -> str:
        """What drifts between operations stays JSON text; a number where text is usual becomes text."""
        return json_record(json.dumps(STRUCTURE))

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines only where the first one is an event by itself: then the file may grow."""
        first = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0]
        if first.startswith(_DOCUMENT):  # the usual case, without reading its first 64 kB
            return "document"
        try:
            fields = _LOOSE.decode(first)
        except UNREADABLE:
            return "document"
        single = ("eventTime" in fields or "CloudTrailEvent" in fields) and "insightDetails" not in fields
        return "lines" if single else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:
        """`ACCOUNT_CloudTrail_REGION_20210729T2355Z_RANDOM.json.gz`: when CloudTrail delivered the file, to the minute."""
        match = _NAME.search(name)
        try:
            return dt.datetime(*map(int, match.groups()), tzinfo=dt.UTC) if match else None  # type: ignore[arg-type,misc]
        except ValueError:
            return None

    def split(self, data: bytes, whole: bool) -> Split:
        """Records of `{"Records": […]}`, of `lookup-events` output, of arrays, of lines."""
        found = split_json(data, whole=whole, containers=_CONTAINERS, is_record=_is_record)
        if found.records and b'"CloudTrailEvent"' in found.records[0]:
            found.records = [_unwrap(record) for record in found.records]
        return found

    def places(self, data: bytes) -> Places | None:
        """Records of a compact `{"Records":[…]}`, as CloudTrail writes it."""
        found = json_places(data, _CONTAINERS)
        wrapped = (
            found is not None and len(found.start) and b'"CloudTrailEvent"' in data[: found.start[0] + found.length[0]]
        )
        return None if wrapped else found

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Id and time of each event; a digest document has its end time and itself as the key."""
        heads = _heads(records)
        fates = [
            _fate((head.eventTime or head.digestEndTime or "")[:MAX_STAMP])
            if isinstance(head, _Head)
            else (None, head, NO_RECORD)
            for head in heads
        ]
        return Keys(
            [_key(head, record) for head, record in zip(heads, records, strict=True)],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )


FORMAT = CloudTrail()
