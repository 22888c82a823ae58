"""Events that are OCSF already (schema.ocsf.io, any version from 1.0): JSON lines, arrays, documents, and what `parse` prints.

Belongs here: framing, keys, times. Not here: what goes where (`_ocsf`). The time is `time` in milliseconds since 1970 (or as RFC 3339),
else `time_dt`. A number that would be a day before 1973 is taken for seconds, as many producers and a third of the OCSF project's own
examples (github.com/ocsf/examples) have it. An event without class or time is none. A class that we do not know keeps its number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from audit_pipeline.formats._hits import moment
from audit_pipeline.formats._objects import Fields, Objects
from audit_pipeline.formats._ocsf import RECORD, columns
from audit_pipeline.formats._stamps import Fate, fate

_CLASS = ("class_uid", "type_uid")
_SECONDS = 10**11
"""Numbers below are seconds since 1970: as milliseconds they would lie before March 1973."""


def _number(fields: Mapping[str, Any], name: str) -> bool:
    found = fields.get(name)
    return isinstance(found, int) and not isinstance(found, bool)


def _is_record(fields: Mapping[str, Any]) -> bool:
    return any(_number(fields, name) for name in _CLASS)


def _fate(fields: Fields) -> Fate:
    if not _is_record(fields):
        return None, "not_a_record", "it is no OCSF event: it has no class_uid"
    name = "time" if fields.get("time") is not None else "time_dt"
    stamp = fields.get(name)
    if isinstance(stamp, int) and not isinstance(stamp, bool) and 0 < stamp < _SECONDS:
        return fate(stamp * 1_000_000, name, stamp)
    return fate(moment(stamp), name, stamp)


def _key(fields: Fields) -> bytes | None:
    """The producer's id of the event, with class and product: ids are unique within a product."""
    metadata = fields.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("uid"), str) or not metadata["uid"]:
        return None
    product = metadata.get("product")
    of = [product.get(name) for name in ("vendor_name", "name")] if isinstance(product, dict) else []
    return json.dumps([metadata["uid"], fields.get("class_uid"), *of], sort_keys=True).encode()


FORMAT = Objects("ocsf", RECORD, columns, _is_record, _fate, _key)
