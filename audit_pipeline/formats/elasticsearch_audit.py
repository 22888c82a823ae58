"""The stores' own audit logs: Elasticsearch's `*_audit.json` (7.0 and newer), and OpenSearch's security audit log; a JSON object a line.

Belongs here: framing, keys, times. Not here: what they mean (`_elasticsearch_audit`). The two are told apart by their fields:
`event.action` is Elasticsearch's, `audit_category` OpenSearch's. Neither gives an event an id (`request.id` is that of several), so an
event is known by its text, and equal ones of a file by their place. The text log of 6.x is read as the JSON that followed it (`_elasticsearch_text`).
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from audit_pipeline.formats._elasticsearch_audit import RECORD, columns
from audit_pipeline.formats._elasticsearch_text import is_text, split_text
from audit_pipeline.formats._heads import NO_RECORD
from audit_pipeline.formats._hits import fields_of, moment
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Framing, Keys, Split
from audit_pipeline.formats.records import numbered, split_json

_MARKS = ("event.action", "audit_category")
_TIMES = ("timestamp", "@timestamp", "audit_utc_timestamp")


def _is_record(fields: Mapping[str, Any]) -> bool:
    return any(isinstance(fields.get(mark), str) for mark in _MARKS)


def _fate(fields: dict[str, Any] | str) -> Fate:
    if isinstance(fields, str):
        return None, fields, NO_RECORD
    if not _is_record(fields):
        return None, "not_a_record", "it is no audit event: it has neither event.action nor audit_category"
    name = next((name for name in _TIMES if fields.get(name)), _TIMES[0])
    return fate(moment(fields.get(name)), name, fields.get(name))


class ElasticsearchAudit:
    """The format; see `formats.base.Format`."""

    name = "elasticsearch_audit"
    version = 1
    variant = ""

    @property
    def record(self) -> str:
        """The fields of both logs that columns need."""
        return RECORD

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an event by itself."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        return "lines" if is_text(first) or isinstance(fields_of(first), dict) else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry a day at most, and no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The events of lines, arrays and documents, or of the text log's lines."""
        return (
            split_text(data, whole)
            if is_text(data[:64])
            else split_json(data, whole=whole, containers=(), is_record=_is_record)
        )

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Each event with its place among its equals, and its time."""
        fates = [_fate(fields_of(record)) for record in records]
        return Keys(
            numbered(records),
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )


FORMAT = ElasticsearchAudit()
