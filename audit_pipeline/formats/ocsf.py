"""Events that are OCSF already (schema.ocsf.io, any version from 1.0): JSON lines, arrays, documents, and what `parse` prints.

Belongs here: framing, keys, times. Not here: what goes where (`_ocsf`). The time is `time` in milliseconds since 1970 (or as RFC 3339),
else `time_dt`. A number that would be a day before 1973 is taken for seconds, as many producers and a third of the OCSF project's own
examples (github.com/ocsf/examples) have it. An event without class or time is none. A class that we do not know keeps its number.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from audit_pipeline.formats._heads import NO_RECORD
from audit_pipeline.formats._hits import fields_of, moment
from audit_pipeline.formats._ocsf import RECORD, columns
from audit_pipeline.formats._stamps import Fate, fate
from audit_pipeline.formats.base import Framing, Keys, Split
from audit_pipeline.formats.records import numbered, split_json

_CLASS = ("class_uid", "type_uid")
_SECONDS = 10**11
"""Numbers below are seconds since 1970: as milliseconds they would lie before March 1973."""


def _number(fields: Mapping[str, Any], name: str) -> bool:
    found = fields.get(name)
    return isinstance(found, int) and not isinstance(found, bool)


def _is_record(fields: Mapping[str, Any]) -> bool:
    return any(_number(fields, name) for name in _CLASS)


def _fate(fields: dict[str, Any] | str) -> Fate:
    if isinstance(fields, str):
        return None, fields, NO_RECORD
    if not _is_record(fields):
        return None, "not_a_record", "it is no OCSF event: it has no class_uid"
    name = "time" if fields.get("time") is not None else "time_dt"
    stamp = fields.get(name)
    if isinstance(stamp, int) and not isinstance(stamp, bool) and 0 < stamp < _SECONDS:
        return fate(stamp * 1_000_000, name, stamp)
    return fate(moment(stamp), name, stamp)


def _key(fields: dict[str, Any] | str) -> bytes | None:
    """The producer's id of the event, with class and product: ids are unique within a product."""
    metadata = fields.get("metadata") if isinstance(fields, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("uid"), str) or not metadata["uid"]:
        return None
    product = metadata.get("product")
    of = [product.get(name) for name in ("vendor_name", "name")] if isinstance(product, dict) else []
    return json.dumps([metadata["uid"], fields.get("class_uid"), *of], sort_keys=True).encode()  # type: ignore[union-attr]


class Ocsf:
    """The format; see `formats.base.Format`."""

    name = "ocsf"
    version = 1
    variant = ""

    @property
    def record(self) -> str:
        """The places that columns are made of."""
        return RECORD

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an event by itself."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        fields = fields_of(first)
        return "lines" if isinstance(fields, dict) and _is_record(fields) else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The events of lines, arrays and documents."""
        return split_json(data, whole=whole, containers=(), is_record=_is_record)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Id, class and product of each event, and its time; an event without an id is its own key."""
        found = [fields_of(record) for record in records]
        fates = [_fate(fields) for fields in found]
        return Keys(
            [_key(fields) or own for fields, own in zip(found, numbered(records), strict=True)],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )


FORMAT = Ocsf()
