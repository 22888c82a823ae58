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
from audit_pipeline.formats.base import Framing, Keys, Split, json_record
from audit_pipeline.formats.places import Places, json_places
from audit_pipeline.formats.records import split_json

_NAME = re.compile(
    r"(?:^|[/\\])\d+_CloudTrail(?:-Insight)?_[A-Za-z0-9-]+_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)Z_[^/\\]*$", re.ASCII
)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EARLIEST_US = (dt.datetime(2000, 1, 1, tzinfo=dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1)
_LATEST_US = (dt.datetime(2100, 1, 1, tzinfo=dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1)
_MAX_STAMP = 64
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
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the second: text that is no UTF-8
_Fate = tuple[int | None, str | None, str | None]


@functools.lru_cache(maxsize=65_536)
def _fate(stamp: str | None) -> _Fate:
    """Time, reject reason and detail by the text of the event time; many records share one."""
    if not stamp:
        return None, "no_time", "the record has no eventTime"
    time = _micros(stamp)
    if time is None:
        return None, "no_time", f"eventTime is {stamp!r}"
    if not _EARLIEST_US <= time < _LATEST_US:
        return time, "bad_time", f"eventTime is {stamp}, not between 2000 and 2100"
    return time, None, None


def _micros(stamp: str) -> int | None:
    """RFC 3339 (also with a space) in microseconds since 1970 UTC; without a zone it is UTC, as CloudTrail's times are."""
    match = _TIME.fullmatch(stamp)
    if match is None:
        return None
    fraction, sign, hours, minutes = match.group(7, 8, 9, 10)
    try:
        moment = dt.datetime(*(int(part) for part in match.groups()[:6]), tzinfo=dt.UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    offset = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    return (moment - _EPOCH - offset) // dt.timedelta(microseconds=1) + int((fraction or "0").ljust(6, "0")[:6])


def _slow_head(record: bytes) -> _Head | str:
    """The head of a record whose fields are not of the usual kind, or the reason why it has none.

    Escaped lone surrogates are JSON, and bytes that are no UTF-8 are mended on the way to the columns: no reason to lose an event.
    """
    try:
        fields = json.loads(record.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return "not_json"
    except RecursionError:
        return "too_deep"
    if not isinstance(fields, dict):
        return "not_an_object"
    return _Head(**{name: _text_of(fields.get(name)) for name in ("eventID", "eventTime", "digestEndTime")})


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _heads(records: Sequence[bytes]) -> Sequence[_Head | str]:
    try:
        return [_HEAD.decode(record) for record in records]
    except _UNREADABLE:
        return [_head(record) for record in records]


def _head(record: bytes) -> _Head | str:
    try:
        return _HEAD.decode(record)
    except _UNREADABLE:
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
    except (*_UNREADABLE, UnicodeEncodeError):
        return record


class CloudTrail:
    """The format; see `formats.base.Format`."""

    name = "cloudtrail"
    version = 1
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
        except _UNREADABLE:
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
            _fate((head.eventTime or head.digestEndTime or "")[:_MAX_STAMP])
            if isinstance(head, _Head)
            else (None, head, "the record is no JSON object that can be read")
            for head in heads
        ]
        return Keys(
            [_key(head, record) for head, record in zip(heads, records, strict=True)],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )


FORMAT = CloudTrail()
