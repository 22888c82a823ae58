"""hoop.dev: sessions with their reviews, and the admin audit log, as the gateway's API sends them, a page, an object or a line each.

Belongs here: keys, times, which state of a session is the newest. Not here: what fields mean (`_hoop`). A session is one event at
its beginning, whatever becomes of it: its reviews are part of it, and a later state stands for an earlier one. Source: the gateway's
OpenAPI document (github.com/hoophq/hoop, gateway/api/openapi/openapiv3.json), states of sessions and reviews therein.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from audit_pipeline.formats._heads import NO_RECORD, UNREADABLE, loose_fields
from audit_pipeline.formats._hoop import STRUCTURE, columns
from audit_pipeline.formats._stamps import MAX_STAMP, Fate, fate, rfc3339
from audit_pipeline.formats.base import Framing, Keys, Split, json_record
from audit_pipeline.formats.records import numbered, split_json

OPEN_REVIEWS = ("PENDING", "APPROVED", "PROCESSING")
"""States of a review that another one may follow; EXECUTED, REJECTED, REVOKED and UNKNOWN are the last."""
_STATES = {"open": 1, "ready": 2, "done": 3}
_REVIEWS = {"PENDING": 1, "APPROVED": 2, "PROCESSING": 3}
_ENDED = 4
_MOST_US = 2**52


def is_final(session: Mapping[str, Any]) -> bool:
    """Whether no later state of the session is to be expected."""
    return session.get("status") == "done" and _review(session).get("status") not in OPEN_REVIEWS


def _review(session: Mapping[str, Any]) -> Mapping[str, Any]:
    found = session.get("review")
    return found if isinstance(found, dict) else {}


def _moment(value: Any) -> int | None:
    return rfc3339(value) if isinstance(value, str) and len(value) <= MAX_STAMP else None


def _listed(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def version_of(record: Mapping[str, Any]) -> int:
    """A number that grows with what has become of a session: its state, its review's, who has decided, when it ended."""
    review = _review(record)
    groups = review.get("review_groups_data")
    decided = sum(isinstance(one, dict) and one.get("status") != "PENDING" for one in groups) if isinstance(groups, list) else 0  # fmt: skip
    parts = (
        (_STATES.get(str(record.get("status")), 0), 4),
        (_REVIEWS.get(str(review.get("status")), _ENDED) if review else 0, 8),
        (min(decided, 7), 8),
        (min(_listed(record.get("guardrails_info")), 3), 4),
        (int(record.get("ai_analysis") is not None), 2),
        (min(max(_moment(record.get("end_date")) or 0, 0), _MOST_US - 1), _MOST_US),
    )
    return functools.reduce(lambda made, part: made * part[1] + part[0], parts, 0)


_FIELDS = msgspec.json.Decoder(dict[str, Any])


def _fields(record: bytes) -> dict[str, Any] | str:
    """The record's fields, or the code of its reject."""
    try:
        return _FIELDS.decode(record)
    except UNREADABLE:
        return loose_fields(record)


def is_admin_act(fields: Mapping[str, Any]) -> bool:
    """Whether it is an entry of the admin audit log; all else is a session."""
    return "action" in fields and "verb" not in fields


def _fate(fields: dict[str, Any] | str) -> Fate:
    if isinstance(fields, str):
        return None, fields, NO_RECORD
    name = "created_at" if is_admin_act(fields) else "start_date"
    return fate(_moment(fields.get(name)), name, fields.get(name))


def _key(fields: dict[str, Any] | str, own: bytes) -> bytes:
    found = fields.get("id") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(found, str) or not found:
        return own
    return json.dumps(["audit" if is_admin_act(fields) else "session", found]).encode()


def _is_record(value: Mapping[str, object]) -> bool:
    return "start_date" in value or "created_at" in value


class Hoop:
    """The format; see `formats.base.Format`."""

    name = "hoop"
    version = 1
    variant = ""

    @property
    def record(self) -> str:
        """The parts of a session or an admin act that columns need."""
        return json_record(json.dumps(STRUCTURE))

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is a session or an act by itself and no page."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        fields = _fields(first)
        return "lines" if isinstance(fields, dict) and "data" not in fields else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The objects of a page (`data`), of lines or of an array."""
        return split_json(data, whole=whole, containers=("data",), is_record=_is_record)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Kind and id, beginning, and state of each."""
        found = [_fields(record) for record in records]
        fates = [_fate(fields) for fields in found]
        return Keys(
            [_key(fields, own) for fields, own in zip(found, numbered(records), strict=True)],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
            [0 if isinstance(fields, str) or is_admin_act(fields) else version_of(fields) for fields in found],
        )


FORMAT = Hoop()
