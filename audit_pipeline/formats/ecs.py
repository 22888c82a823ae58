"""Documents in the Elastic Common Schema: pages of a search store, exports and files of one document a line.

Belongs here: keys and times, and what other system's record a document carries. Not here: how documents lie in a page (`_hits`), what
fields mean (`_ecs`). The time is `@timestamp`; a document that is no event of a class that we map is a Base Event, with everything that
the columns can hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from audit_pipeline.formats._ecs import RECORD, columns
from audit_pipeline.formats._hits import document_of, is_record, key_of, moment, split_hits, version_of
from audit_pipeline.formats._objects import Fields, Objects
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Envelope, Split

_TIME = "@timestamp"
_FACTS = ("index", "dataset", "module", "service")
_BACKING = re.compile(r"\.ds-(.+?)(?:-\d{4}\.\d\d\.\d\d)?-\d{6,}", re.ASCII)
"""The name of a data stream's own index: that of the stream, a date (Elasticsearch), a generation."""
_CARRIED = re.compile(
    r"\s*\{.*\}\s*|(?:<\d{1,3}>(?:1 )?)?(?:[A-Z][a-z]{2} [ 0-3]?\d \d\d:|\d{4}-\d\d-\d\d[Tt ]\d\d:).*",
    re.ASCII | re.DOTALL,
)
"""A text that is a record by itself: a JSON object, or a line with the stamp of RFC 3164 or RFC 5424."""


def _fate(fields: Fields) -> Fate:
    document = document_of(fields)
    if document is None:
        return None, "not_an_object", "_source is no JSON object"
    stamp = document.get(_TIME)
    return fate(moment(stamp), _TIME, stamp)


class _Hits(Objects):
    """Pages of a search store have a shape of their own."""

    def split(self, data: bytes, whole: bool) -> Split:
        """The hits of a page, or the objects of lines and arrays."""
        return split_hits(data, whole)


FORMAT = _Hits("ecs", RECORD, columns, is_record, _fate, key_of, version_of, containers=("hits",))


def _said(document: Mapping[str, Any], *path: str) -> str:
    """A field's text, whether it is nested or its name has dots; empty where there is none."""
    found = document.get(".".join(path))
    if found is None:
        found = document
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def _facts(fields: Mapping[str, Any]) -> dict[str, str]:
    """What a condition may ask for; of a data stream's own index `index` is the stream."""
    document = document_of(fields) or {}
    index = _said(fields, "_index")
    backing = _BACKING.fullmatch(index)
    dataset = _said(document, "event", "dataset") or _said(document, "data_stream", "dataset")
    found = (backing[1] if backing else index, dataset, _said(document, "event", "module"), _said(document, "service", "name"))  # fmt: skip
    return dict(zip(_FACTS, found, strict=True))


def _payload(fields: Mapping[str, Any]) -> bytes | None:
    """`event.original`, else a `message` that is a record by itself, else the document, as one that was indexed as it came."""
    document = document_of(fields)
    if document is None:
        return None
    original, message = _said(document, "event", "original"), _said(document, "message")
    text = original or (message if _CARRIED.fullmatch(message) else "")
    if text:
        return text.encode("utf-8", "surrogatepass")
    try:
        return msgspec.json.encode(document)
    except (UnicodeEncodeError, OverflowError, RecursionError):  # a lone surrogate, a number beyond 64 bits
        return json.dumps(document, separators=(",", ":")).encode()


ENVELOPE = Envelope(_facts, _payload, _FACTS)
