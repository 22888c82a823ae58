"""The stores' own audit logs: Elasticsearch's `*_audit.json` (7.0 and newer), and OpenSearch's security audit log; a JSON object a line.

Belongs here: framing, keys, times. Not here: what they mean (`_elasticsearch_audit`). The two are told apart by their fields:
`event.action` is Elasticsearch's, `audit_category` OpenSearch's. Neither gives an event an id (`request.id` is that of several), so an
event is known by its text, and equal ones of a file by their place. The text log of 6.x is read as the JSON that followed it (`_elasticsearch_text`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit_pipeline.formats._elasticsearch_audit import RECORD, columns
from audit_pipeline.formats._elasticsearch_text import is_text, split_text
from audit_pipeline.formats._hits import moment
from audit_pipeline.formats._objects import Fields, Objects
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Framing, Split

_MARKS = ("event.action", "audit_category")
_TIMES = ("timestamp", "@timestamp", "audit_utc_timestamp")


def _is_record(fields: Mapping[str, Any]) -> bool:
    return any(isinstance(fields.get(mark), str) for mark in _MARKS)


def _fate(fields: Fields) -> Fate:
    if not _is_record(fields):
        return None, "not_a_record", "it is no audit event: it has neither event.action nor audit_category"
    name = next((name for name in _TIMES if fields.get(name)), _TIMES[0])
    return fate(moment(fields.get(name)), name, fields.get(name))


class _Audit(Objects):
    """Before 7.0 the log is text."""

    def framing(self, head: bytes) -> Framing:
        """Lines too where the first one is of the text log."""
        return "lines" if is_text(head) else super().framing(head)

    def split(self, data: bytes, whole: bool) -> Split:
        """The events of lines, arrays and documents, or of the text log's lines."""
        return split_text(data, whole) if is_text(data[:64]) else super().split(data, whole)


FORMAT = _Audit("elasticsearch_audit", RECORD, columns, _is_record, _fate)
