"""What the demo's people decide: only about what was found, in the as-of order of the nights, and what is refused stays undecided."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import sqlalchemy as sa

from audit_pipeline.clock import DAY
from audit_pipeline.demo import cases, plot
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.config import write_config
from audit_pipeline.demo.people import People
from audit_pipeline.demo.planted import Case
from audit_pipeline.findings import decisions, duties, signing
from audit_pipeline.findings.view import finding_id
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

END = dt.date(2026, 11, 23)


class Office(NamedTuple):
    settings: Settings
    lake: Lake
    plot: plot.Plot
    people: People
    engine: sa.Engine

    def case(self, kind: str) -> Case:
        (found,) = [one for one in self.plot.cases.all if one.kind == kind]
        return found

    def found(self, day: dt.date, rule: str, key: dict[str, str], text: str = "", **more: Any) -> str:
        """A detection of a day, as a night leaves it."""
        at = dt.datetime.combine(day, dt.time(10), dt.UTC)
        row = dict.fromkeys(TABLES["detections"].schema.names) | {
            "detection_id": rule, "day": day, "rule_id": rule, "kind": rule, "level": "medium", "first_time": at, "last_time": at, "n": 3, "sources": ["app"],
            "group_key": json.dumps(key, sort_keys=True, separators=(",", ":")), "explanation": text,
        }  # fmt: skip
        schema = TABLES["detections"].schema
        self.lake.write_table("detections", pa.Table.from_pylist([row | more], schema=schema), day)
        if text:
            template = dict.fromkeys(TABLES["error_templates"].schema.names) | {"day": day, "service": key["service"], "template_id": key["template"], "template": text, "n": 3, "errors": 3}  # fmt: skip
            self.lake.write_table("error_templates", pa.Table.from_pylist([template], schema=TABLES["error_templates"].schema), day)  # fmt: skip
        return finding_id(rule, str(row["group_key"]))

    def work(self, first: dt.date, last: dt.date) -> list[decisions.Decision]:
        for n in range((last - first).days + 1):
            self.people.work(first + n * DAY)
        return decisions.read(self.engine)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    company, start = Company.make(7), END - 59 * DAY
    made = cases.make(company, plot.make(company, start, 60, 7), 7, 18_000, set())
    settings = Settings.load(write_config(tmp_path, start=start, plot=made))
    engine = open_state(settings.state_url_resolved)
    yield Office(settings, Lake.open(settings.lake_url), made, People(settings, made, company), engine)
    engine.dispose()


def test_nobody_decides_about_what_was_not_found(office: Office) -> None:
    assert office.work(office.plot.start, office.plot.start + 20 * DAY) == []
    assert office.people.remarks == []


def test_an_error_is_taken_up_on_the_day_after_it_was_found_and_before_that_days_night(office: Office) -> None:
    case = office.case("fix_that_works")
    day = case.first.date() + 2 * DAY
    key = {"service": case.services[0], "template": "t1"}
    found = office.found(day, "recurring_error", key, f"{case.about[0]} <*> ...")
    made = office.work(case.first.date(), day + 3 * DAY)
    assert [(one.finding_id, one.action) for one in made] == [(found, "acknowledge")]
    assert office.settings.as_of(day) < made[0].recorded_at <= office.settings.as_of(day + DAY)
    assert made[0].recorded_at.date() == day + DAY


def test_another_error_of_the_same_service_is_not_taken_for_it(office: Office) -> None:
    case = office.case("fix_that_works")
    day = case.first.date() + 2 * DAY
    office.found(day, "recurring_error", {"service": case.services[0], "template": "t1"}, "disk is full at <*>")
    assert office.work(case.first.date(), day + 3 * DAY) == []


def test_a_decoy_that_alarmed_is_closed_with_a_reason(office: Office) -> None:
    case = office.case("load_test")
    day = case.first.date()
    found = office.found(day, "refused", {"actor": "loadtest"}, x_actor="loadtest")
    made = office.work(day, day + 2 * DAY)
    assert [(one.finding_id, one.action) for one in made] == [(found, "false_positive")]
    assert made[0].reason


def test_the_fix_is_proposed_before_its_day_and_what_is_refused_is_remarked_once(office: Office) -> None:
    case = office.case("fix_without_effect")
    assert case.fix is not None
    day = case.first.date() + 2 * DAY
    found = office.found(day, "recurring_error", {"service": case.services[0], "template": "t1"}, f"{case.about[0]} <*>")  # fmt: skip
    made = office.work(day, case.fix.day + 5 * DAY)
    assert {one.finding_id for one in made} == {found}
    done = [one.action for one in made]
    tried = sorted({*done, *(one.action for one in office.people.remarks)})
    assert tried == ["acknowledge", "approve", "implement", "propose"]
    assert len(done) == len(set(done)), "each once"
    for one in made:
        if one.action == "propose":
            told = json.loads(one.payload)
            assert (told["scope"], told["promised"], told["decision_date"]) == ("template:t1", 0.5, case.fix.decision_date.isoformat())  # fmt: skip
            assert one.recorded_at.date() == case.fix.day - 2 * DAY
        if one.action == "approve":
            (proposed,) = [other for other in made if other.action == "propose"]
            assert one.person != proposed.person
        if one.action == "implement":
            assert one.effective_at.date() == case.fix.day
    assert done == ["acknowledge", "propose", "approve", "implement"]
    assert [one.action for one in office.people.remarks] == ["approve"], "one's own proposal"


def test_signed_decisions_verify(office: Office) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    signed = office.case("fix_that_works")
    assert signed.fix is not None
    day = signed.first.date() + 2 * DAY
    office.found(day, "recurring_error", {"service": signed.services[0], "template": "t1"}, f"{signed.about[0]} <*>")
    made = office.work(day, signed.fix.day)
    assert {one.action: one.identity for one in made} == {"acknowledge": "claimed", "propose": "ssh", "approve": "ssh", "implement": "ssh"}  # fmt: skip
    keys = signing.allowed_signers(office.settings)
    for one in made:
        verified = signing.verified(duties.row(one), keys)
        assert (verified.person if verified else None) == (one.person if one.identity == "ssh" else None)
    assert decisions.verify(office.engine) == []


def test_the_weekly_review_closes_routine_and_leaves_what_belongs_to_a_story(office: Office) -> None:
    story = next(one for one in office.plot.cases.all if one.kind == "insider_at_night")
    monday = story.last.date() + 7 * DAY - story.last.date().weekday() * DAY
    day = min(story.last.date(), monday - 3 * DAY)
    routine = office.found(day - DAY, "some_rule", {"actor": "nobody.special"}, kind="rule")
    of_story = office.found(day, "off_hours_access", {"actor": story.actors[0]}, kind="rule", first_time=story.first, last_time=story.last)  # fmt: skip
    office.people.work(monday)
    made = decisions.read(office.engine)
    assert [one.finding_id for one in made if one.action == "false_positive"] == [routine]
    assert {one.action for one in made if one.finding_id == of_story} == {"acknowledge", "comment"}, (
        "as the script says"
    )
