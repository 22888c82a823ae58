"""The head of a JSON record that the fast decoder refuses: read with more patience, or the reason why it is no record.

Belongs here: what several formats do alike with such a record. Not here: which fields a format reads of it.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast decoder raises; the second: text that is no UTF-8."""
NO_RECORD = "the record is no JSON object that can be read"


def loose_fields(record: bytes) -> dict[str, Any] | str:
    """The fields of a record, or the code of its reject.

    Escaped lone surrogates are JSON, and bytes that are no UTF-8 are mended on the way to the columns: no reason to lose an event.
    """
    try:
        fields = json.loads(record.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return "not_json"
    except RecursionError:
        return "too_deep"
    return fields if isinstance(fields, dict) else "not_an_object"


def texts_of(fields: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """Those of the named fields that are text."""
    return {name: value for name in names if isinstance(value := fields.get(name), str)}
