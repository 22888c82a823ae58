"""The weekly review: routine is closed, what is grave is taken up, and nobody's work is taken from them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.demo.review import review

MONDAY = dt.date(2026, 11, 16)
BEFORE = dt.datetime(2026, 11, 13, 3, tzinfo=dt.UTC)
ROW: dict[str, Any] = {"finding_id": "a", "state": "open", "severity": "low", "kind": "rule", "detected_at": BEFORE}


@pytest.mark.parametrize(
    ("more", "action"),
    [
        ({}, "false_positive"),
        ({"severity": "medium"}, "false_positive"),
        ({"severity": "high"}, "acknowledge"),
        ({"kind": "anomaly"}, "acknowledge"),
        ({"kind": "recurring_error"}, "acknowledge"),
        ({"state": "acknowledged"}, None),
        ({"detected_at": BEFORE + 2 * DAY}, None),
    ],
    ids=["routine", "medium", "grave", "anomaly", "error", "taken up before", "of yesterday"],
)
def test_what_is_decided(more: dict[str, Any], action: str | None) -> None:
    assert [one.action for one in review([ROW | more], MONDAY, ())] == ([action] if action else [])


def test_only_on_mondays_and_not_about_what_somebody_works_on() -> None:
    assert list(review([ROW], MONDAY + DAY, ())) == []
    assert list(review([ROW], MONDAY, {"a", None})) == []
