"""Documents in the Elastic Common Schema: pages of a search store, exports and files of one document a line.

Belongs here: keys and times. Not here: how documents lie in a page (`_hits`), what fields mean (`_ecs`). The time is `@timestamp`;
a document that is no event of a class that we map is a Base Event, with everything that the columns can hold.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from audit_pipeline.formats._ecs import RECORD, columns
from audit_pipeline.formats._heads import NO_RECORD
from audit_pipeline.formats._hits import document_of, fields_of, key_of, moment, split_hits, version_of
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Framing, Keys, Split
from audit_pipeline.formats.records import numbered

_TIME = "@timestamp"


def _fate(fields: dict[str, Any] | str) -> Fate:
    if isinstance(fields, str):
        return None, fields, NO_RECORD
    document = document_of(fields)
    if document is None:
        return None, "not_an_object", "_source is no JSON object"
    stamp = document.get(_TIME)
    return fate(moment(stamp), _TIME, stamp)


class Ecs:
    """The format; see `formats.base.Format`."""

    name = "ecs"
    version = 1
    variant = ""

    @property
    def record(self) -> str:
        """The fields that columns need, of the hit's document or of the document itself."""
        return RECORD

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an object by itself and no page."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        fields = fields_of(first)
        return "lines" if isinstance(fields, dict) and "hits" not in fields else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The hits of a page, or the objects of lines and arrays."""
        return split_hits(data, whole)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Index and id of each document, its time, and its version."""
        found = [fields_of(record) for record in records]
        fates = [_fate(fields) for fields in found]
        return Keys(
            [
                (key_of(fields) if isinstance(fields, dict) else None) or own
                for fields, own in zip(found, numbered(records), strict=True)
            ],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
            [version_of(fields) for fields in found],
        )


FORMAT = Ecs()
