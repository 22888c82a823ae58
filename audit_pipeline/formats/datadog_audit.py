"""Datadog's audit and log events: pages of the search APIs, arrays, and files of one event a line.

Belongs here: keys, times, and how a log carries another system's record. Not here: what fields mean (`_datadog`). The time is
`attributes.timestamp`, by which Datadog's searches and counts go; an event's `id` is unique within its type.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from audit_pipeline.formats._datadog import RECORD, columns
from audit_pipeline.formats._heads import NO_RECORD
from audit_pipeline.formats._hits import fields_of, moment
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Envelope, Framing, Keys, Split
from audit_pipeline.formats.records import numbered, split_json

_TIME = "attributes.timestamp"
_FACTS = ("service", "host", "source", "env", "index")


def _attributes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    found = fields.get("attributes")
    return found if isinstance(found, dict) else {}


def _fate(fields: dict[str, Any] | str) -> Fate:
    if isinstance(fields, str):
        return None, fields, NO_RECORD
    stamp = _attributes(fields).get("timestamp")
    return fate(moment(stamp), _TIME, stamp)


def _key(fields: dict[str, Any] | str) -> bytes | None:
    """Type and id; null where there is none."""
    if isinstance(fields, str) or not isinstance(fields.get("id"), str) or not fields["id"]:
        return None
    return json.dumps([fields.get("type"), fields["id"]]).encode()


def _is_record(value: Mapping[str, object]) -> bool:
    return "attributes" in value and ("id" in value or "type" in value)


class DatadogAudit:
    """The format; see `formats.base.Format`."""

    name = "datadog_audit"
    version = 1
    variant = ""

    @property
    def record(self) -> str:
        """The parts of an event that columns need."""
        return RECORD

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an event by itself."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        fields = fields_of(first)
        return "lines" if isinstance(fields, dict) and "data" not in fields else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The events of a page, or the objects of lines and arrays."""
        return split_json(data, whole=whole, containers=("data",), is_record=_is_record)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Type and id of each event, and its time."""
        found = [fields_of(record) for record in records]
        fates = [_fate(fields) for fields in found]
        return Keys(
            [_key(fields) or own for fields, own in zip(found, numbered(records), strict=True)],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )


def _facts(fields: Mapping[str, Any]) -> dict[str, str]:
    """Service and host, and what the first tag of a name says: `source` is Datadog's word for the integration that a log came by."""
    attributes = _attributes(fields)
    found = {key: value for key in ("service", "host") if isinstance(value := attributes.get(key), str) and value}
    tags = attributes.get("tags")
    for tag in tags if isinstance(tags, list) else []:
        key, colon, value = tag.partition(":") if isinstance(tag, str) else ("", "", "")
        if colon and key in _FACTS:
            found.setdefault(key, value)
    inner = attributes.get("attributes")
    integration = inner.get("ddsource") if isinstance(inner, dict) else None
    return {"source": integration} | found if isinstance(integration, str) else found


def _payload(fields: Mapping[str, Any]) -> bytes | None:
    """A log's message as it was sent; where Datadog took it apart, what it was taken apart into. An audit event is Datadog's own."""
    attributes = _attributes(fields)
    if fields.get("type") == "audit":
        return None
    message, taken_apart = attributes.get("message"), attributes.get("attributes")
    if isinstance(message, str) and message:
        return message.encode("utf-8", "surrogatepass")
    return (
        json.dumps(taken_apart, separators=(",", ":")).encode()
        if isinstance(taken_apart, dict) and taken_apart
        else None
    )


FORMAT = DatadogAudit()
ENVELOPE = Envelope(_facts, _payload, _FACTS)
