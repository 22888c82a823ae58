"""Stories of fixes that look as if they had worked while less was logged: told from the records of the change, and from its declaration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.detections.run import detect
from audit_pipeline.effects.model import Point
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings
from audit_pipeline_tests.effects.place import KPI, SCOPE, Place
from benchmarks.effects_families import BASE, FIRST, draw

FIXED = FIRST + 42 * DAY
DECISION = FIXED + 29 * DAY
CHANGED = FIXED + 4 * DAY
SINK = {"class_uid": 6003, "api_operation": "delete", "resource_type": "auditsinks", "resource_name": "central", "status_id": 1}  # fmt: skip
SELECTORS = {"class_uid": 6003, "api_operation": "PutEventSelectors", "metadata_event_code": "PutEventSelectors", "api_service_name": "cloudtrail.amazonaws.com", "status_id": 1}  # fmt: skip


def make(root: Path, form: str) -> Place:
    """A source of a format whose KPI falls by 60 % after the fix, and the finding that the fix is for."""
    place = Place.make(root)
    text = f"start: 2026-01-01\nsources:\n  idp: {{type: files, format: {form}}}\n  other: {{type: files, format: {form}}}\n"
    found = dataclasses.replace(place, settings=Settings.from_text(text, root / "pipeline.yaml"))
    before, after = draw(dataclasses.replace(BASE, before=42, after=29), 3, 0.6)
    found.days([*before, *after, Point(DECISION, 20.0)])
    found.detection(FIRST)
    found.fix(FIXED, DECISION)
    return found


def logged(place: Place, source: str, **what: Any) -> None:
    """The day of the change: what was recorded of it, and the rules that are shipped over it."""
    row = {"day": CHANGED, "time": midnight(CHANGED) + DAY / 2, "x_source": source, "x_segment": "raw/1", "x_line": 0, "metadata_uid": "e0", "actor_user_name": "ann", "x_actor": "ann", **what}  # fmt: skip
    place.lake.write_table("events", pa.Table.from_pylist([row], schema=EVENT_SCHEMA), CHANGED, source)
    detect(place.settings, place.lake, CHANGED)


@pytest.mark.parametrize(
    ("form", "what", "title"),
    [
        ("kubernetes_audit", SINK, "Audit or policy of a cluster removed"),
        ("cloudtrail", SELECTORS, "Logging configuration changed"),
    ],
    ids=["cluster", "trail"],
)
def test_a_fix_beside_a_change_of_what_is_audited_is_inconclusive_and_the_change_is_named(
    tmp_path: Path, form: str, what: dict[str, Any], title: str
) -> None:
    place = make(tmp_path, form)
    (clean,) = place.effects(DECISION)
    assert clean["verdict"] == "verified", clean["reason"]
    logged(place, "other", **what)
    (elsewhere,) = place.effects(DECISION)
    assert elsewhere["verdict"] == "verified", elsewhere["reason"]
    logged(place, "idp", **what)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == "inconclusive"
    assert f"what is logged was changed on {CHANGED} ({title}" in row["reason"]
    assert row["ratio"] == clean["ratio"]  # the numbers stay; what they prove does not


@pytest.mark.parametrize(
    ("scope", "kpi", "explains"),
    [
        (SCOPE, "access_refused", True),  # an audit setting of the source, measured by whatever
        ("all", KPI, True),
        ("source:other", KPI, False),
        ("all", "access_refused", False),
    ],
    ids=["source", "kpi", "other source", "other kpi"],
)
def test_an_audit_policy_that_leaves_no_record_is_known_by_its_declaration(
    tmp_path: Path, scope: str, kpi: str, explains: bool
) -> None:
    """The audit policy of a cluster is a file on its control plane: no rule can see it change."""
    place = make(tmp_path, "kubernetes_audit")
    entry = {"id": "audit-policy", "title": "Audit policy: reads at level None", "at": midnight(CHANGED), "kpi_id": kpi, "scope": scope, "direction": "down", "owner": "platform"}  # fmt: skip
    (place.settings.root / "adjustments.yaml").write_text(yaml.safe_dump([entry]), encoding="utf-8")
    row = next(row for row in place.effects(DECISION) if row["subject"] == "remediation")
    assert row["verdict"] == ("inconclusive" if explains else "verified"), row["reason"]
    assert (f"Audit policy: reads at level None (declared as audit-policy) on {CHANGED}" in row["reason"]) == explains


@pytest.mark.parametrize(("source", "code", "explains"), [("idp", "policy_changed", True), ("other", "policy_changed", False), ("idp", "restarted", False)], ids=["source", "other source", "other reason"])  # fmt: skip
def test_a_change_of_the_policy_that_the_collector_saw_is_named(
    tmp_path: Path, source: str, code: str, explains: bool
) -> None:
    place = make(tmp_path, "kubernetes_audit")
    place.write("completeness", CHANGED, source=source, verdict="proven", events=100, reasons=[{"code": code, "detail": "changed"}])  # fmt: skip
    (row,) = place.effects(DECISION)
    assert row["verdict"] == ("inconclusive" if explains else "verified"), row["reason"]
    assert (f"what idp is told to log was changed by {CHANGED}" in row["reason"]) == explains
