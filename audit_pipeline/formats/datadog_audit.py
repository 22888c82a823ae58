"""Datadog's audit and log events: pages of the search APIs, arrays, and files of one event a line.

Belongs here: keys, times, and how a log carries another system's record. Not here: what fields mean (`_datadog`). The time is
`attributes.timestamp`, by which Datadog's searches and counts go; an event's `id` is unique within its type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from audit_pipeline.formats._datadog import RECORD, columns
from audit_pipeline.formats._hits import moment
from audit_pipeline.formats._objects import Fields, Objects
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Envelope

_TIME = "attributes.timestamp"
_FACTS = ("service", "host", "source", "env", "index")


def _attributes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    found = fields.get("attributes")
    return found if isinstance(found, dict) else {}


def _fate(fields: Fields) -> Fate:
    stamp = _attributes(fields).get("timestamp")
    return fate(moment(stamp), _TIME, stamp)


def _key(fields: Fields) -> bytes | None:
    """Type and id; null where there is none."""
    if not isinstance(fields.get("id"), str) or not fields["id"]:
        return None
    return json.dumps([fields.get("type"), fields["id"]]).encode()


def _is_record(value: Mapping[str, object]) -> bool:
    return "attributes" in value and ("id" in value or "type" in value)


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


FORMAT = Objects("datadog_audit", RECORD, columns, _is_record, _fate, _key, containers=("data",))
ENVELOPE = Envelope(_facts, _payload, _FACTS)
