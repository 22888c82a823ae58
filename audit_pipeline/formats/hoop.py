"""hoop.dev: sessions with their reviews, and the admin audit log, as the gateway's API sends them, a page, an object or a line each.

Belongs here: keys, times, which state of a session is the newest. Not here: what fields mean (`_hoop`). A session is one event at
its beginning, whatever becomes of it: its reviews are part of it, and a later state stands for an earlier one. Source: the gateway's
OpenAPI document (github.com/hoophq/hoop, gateway/api/openapi/openapiv3.json), states of sessions and reviews therein.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from audit_pipeline.formats._hoop import STRUCTURE, columns
from audit_pipeline.formats._objects import Fields, Objects
from audit_pipeline.formats._stamps import MAX_STAMP, Fate, fate, rfc3339
from audit_pipeline.formats.base import json_record

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


def is_admin_act(fields: Mapping[str, Any]) -> bool:
    """Whether it is an entry of the admin audit log; all else is a session."""
    return "action" in fields and "verb" not in fields


def _fate(fields: Fields) -> Fate:
    name = "created_at" if is_admin_act(fields) else "start_date"
    return fate(_moment(fields.get(name)), name, fields.get(name))


def _key(fields: Fields) -> bytes | None:
    found = fields.get("id")
    if not isinstance(found, str) or not found:
        return None
    return json.dumps(["audit" if is_admin_act(fields) else "session", found]).encode()


def _is_record(value: Mapping[str, object]) -> bool:
    return "start_date" in value or "created_at" in value


def _newest(fields: Fields) -> int:
    return 0 if is_admin_act(fields) else version_of(fields)


FORMAT = Objects(
    "hoop", json_record(json.dumps(STRUCTURE)), columns, _is_record, _fate, _key, _newest, containers=("data",)
)
