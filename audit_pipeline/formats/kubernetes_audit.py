"""Kubernetes audit log of the API server: JSON lines, arrays, `EventList` documents and single events (audit.k8s.io/v1 and older).

Belongs here: how events lie in files, what identifies them, when they happened, which stage stands for a request. Not here: what
they mean (`_kubernetes_audit`). The stages of a request share its `auditID` and are one event, that of its last stage; all have the
time at which the request was received, so that a request that lasts beyond midnight lies in one day.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence

import msgspec

from audit_pipeline.formats._heads import NO_RECORD, UNREADABLE, loose_fields, texts_of
from audit_pipeline.formats._kubernetes_audit import STRUCTURE, columns
from audit_pipeline.formats._stamps import MAX_STAMP, Fate, fate, rfc3339
from audit_pipeline.formats.base import Framing, Keys, Split, json_record
from audit_pipeline.formats.records import split_json

_STAGES = {"RequestReceived": 0, "ResponseStarted": 1, "ResponseComplete": 2, "Panic": 3}
_TIMES = ("requestReceivedTimestamp", "timestamp", "stageTimestamp")
"""In this order; `timestamp` is that of v1alpha1 and v1beta1."""


class _Head(msgspec.Struct, gc=False):
    """What the index needs of a record; everything else is skipped without being decoded."""

    auditID: str | None = None  # noqa: N815 - the API's words
    stage: str | None = None
    requestReceivedTimestamp: str | None = None  # noqa: N815
    timestamp: str | None = None
    stageTimestamp: str | None = None  # noqa: N815


class _List(msgspec.Struct):
    kind: str
    items: list[msgspec.Raw] | None = None


_HEAD = msgspec.json.Decoder(_Head)
_LIST = msgspec.json.Decoder(_List)
_LOOSE = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _head(record: bytes) -> _Head | str:
    """The head of a record, or the reason why it has none; fields of an unusual kind are no reason to lose an event."""
    try:
        return _HEAD.decode(record)
    except UNREADABLE:
        fields = loose_fields(record)
    return fields if isinstance(fields, str) else _Head(**texts_of(fields, _Head.__struct_fields__))


def _fate(head: _Head | str) -> Fate:
    if isinstance(head, str):
        return None, head, NO_RECORD
    for name in _TIMES:
        stamp = getattr(head, name)
        if stamp:
            return fate(rfc3339(stamp) if len(stamp) <= MAX_STAMP else None, name, stamp)
    return None, "no_time", f"the record has none of {', '.join(_TIMES)}"


def _unfold(record: bytes) -> list[bytes]:
    """The events of an `EventList` that stands on a line, as a webhook writes them; any other record as it is."""
    if b'"EventList"' not in record:
        return [record]
    try:
        found = _LIST.decode(record)
    except UNREADABLE:
        return [record]
    return [bytes(item) for item in found.items or ()] if found.kind == "EventList" else [record]


def _is_record(value: Mapping[str, object]) -> bool:
    return "auditID" in value or any(name in value for name in _TIMES)


class KubernetesAudit:
    """The format; see `formats.base.Format`."""

    name = "kubernetes_audit"
    version = 1
    variant = ""

    @property
    def record(self) -> str:
        """The parts of an event that columns need; request and response bodies stay text."""
        return json_record(json.dumps(STRUCTURE))

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an object by itself and no list that a document holds."""
        lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
        try:
            fields = _LOOSE.decode(lines[0]) if lines else {}
        except UNREADABLE:
            return "document"
        return "lines" if fields and ("items" not in fields or len(lines) > 1) else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """The API server's files carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """Events of lines, arrays, lists and single documents."""
        found = split_json(data, whole=whole, containers=("items",), is_record=_is_record)
        if any(b'"EventList"' in record for record in found.records):
            found.records = [event for record in found.records for event in _unfold(record)]
        return found

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Audit id, time and stage of each event; one without an id is its own key."""
        heads = [_head(record) for record in records]
        fates = [_fate(head) for head in heads]
        return Keys(
            [
                head.auditID.encode("utf-8", "surrogatepass") if isinstance(head, _Head) and head.auditID else record
                for head, record in zip(heads, records, strict=True)
            ],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
            [_STAGES.get(head.stage or "", 0) if isinstance(head, _Head) else 0 for head in heads],
        )


FORMAT = KubernetesAudit()
