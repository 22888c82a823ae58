"""Spells of a finding over real tables and decisions: what closes it, what brings it back, and that a day knows nothing later."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import DAY as ONE
from audit_pipeline.clock import rfc3339
from audit_pipeline.findings.decisions import NO_PREVIOUS
from audit_pipeline.findings.view import finding_id, findings_table, show
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions as log
from audit_pipeline.state import open_state
from audit_pipeline_tests.detections.helpers import DAY, at, make_settings, open_lake

Place = tuple[Settings, Lake, sa.Engine]
KEY = '{"user_name":"bob"}'
BOB = finding_id("guessing", KEY)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = make_settings(tmp_path)
    return settings, open_lake(tmp_path), open_state(settings.state_url_resolved)


def write(place: Place, name: str, day: dt.date, *rows: dict[str, Any]) -> None:
    place[1].write_table(name, pa.Table.from_pylist(list(rows), schema=TABLES[name].schema), day)


def detected(place: Place, *days: int, key: str = KEY, **more: Any) -> None:
    for number in days:
        day = DAY + number * ONE
        row = {"detection_id": f"d{number}", "day": day, "rule_id": "guessing", "kind": "rule", "level": "medium", "sources": ["idp"]}  # fmt: skip
        write(place, "detections", day, {**row, "first_time": at(8, day=day), "n": 5, "group_key": key, **more})


def decided(place: Place, day: int, action: str, finding: str = BOB, **payload: Any) -> int:
    """A row of the log at noon: what may be recorded is the log's to say and not looked at here."""
    with place[2].begin() as connection:
        seq = len(connection.execute(sa.select(log.c.seq)).all()) + 1
        moment = rfc3339(at(12, day=DAY + day * ONE))
        row = {"seq": seq, "finding_id": finding, "action": action, "person": "ann", "identity": "claimed", "recorded_at": moment, "effective_at": moment}  # fmt: skip
        row |= {"reason": "because", "payload": rfc8785.dumps(payload).decode(), "previous": NO_PREVIOUS, "hash": f"{seq:064}"}  # fmt: skip
        connection.execute(sa.insert(log).values(**row, signature=None))
    return seq


def judged(place: Place, day: int, verdict: str, seq: int, **more: Any) -> None:
    when = DAY + day * ONE
    write(place, "effects", when, {"effect_id": "e1", "subject": "remediation", "subject_id": f"{BOB}:{seq}", "kind": "rate", "verdict": verdict, "as_of": place[0].as_of(when), **more})  # fmt: skip


def fixed(place: Place, kind: str = "rate") -> int:
    decided(place, 1, "acknowledge")
    seq = decided(place, 2, "propose", fix="lock", kind=kind)
    decided(place, 3, "approve", proposal=seq)
    decided(place, 4, "implement", proposal=seq)
    return seq


def at_day(place: Place, number: int | None) -> dict[str, Any]:
    until = None if number is None else DAY + number * ONE
    return next(row for row in findings_table(*place, until).to_pylist() if row["finding_id"] == BOB)


def test_an_acceptance_comes_back_by_itself_with_a_new_due_date(place: Place) -> None:
    detected(place, 0)
    decided(place, 1, "accept", approver="eve", expires=(DAY + 10 * ONE).isoformat())
    before, after = at_day(place, 8), at_day(place, 9)  # as-of of day 9 is day 10, 03:00
    assert (before["state"], before["reopened"], before["overdue"]) == ("accepted", 0, False)
    assert (after["state"], after["reopened"], after["closed_at"]) == ("open", 1, None)
    assert after["expires_at"] == before["expires_at"] == at(0, day=DAY + 10 * ONE)
    assert after["due_at"] == after["expires_at"] + 7 * ONE
    assert "reopened +3" in after["risk_terms"]


def test_overdue_is_said_and_raises_the_points_but_not_the_severity(place: Place) -> None:
    detected(place, 0)
    in_time, late = at_day(place, 7), at_day(place, 8)
    assert (in_time["overdue"], late["overdue"]) == (False, True)
    assert (late["risk"] - in_time["risk"], late["severity"]) == (3, "medium")


@pytest.mark.parametrize("kind", ["state", "recurrence"])
def test_a_verified_fix_closes_and_the_same_problem_afterwards_opens_again(place: Place, kind: str) -> None:
    detected(place, 0, 5)
    seq = fixed(place, kind)
    judged(place, 20, "verified", seq)
    done = at_day(place, 20)
    assert (at_day(place, 19)["state"], done["state"], done["effect_id"]) == ("implemented", "verified", "e1")
    assert done["verified_at"] == done["closed_at"] == place[0].as_of(DAY + 20 * ONE)
    assert (done["implemented_at"], done["approved_by"], done["approval"]) == (at(12, day=DAY + 4 * ONE), "ann", "self-approved")  # fmt: skip
    assert json.loads(done["fix"])["fix"] == "lock"
    detected(place, 25)
    again = at_day(place, 25)
    assert (again["state"], again["reopened"], again["shown"]) == ("open", 1, True)
    assert at_day(place, 24) == done


def test_a_verified_rate_is_not_opened_by_a_detection_but_by_its_kpi_or_by_a_decision(place: Place) -> None:
    """A rate was promised to fall, not to vanish."""
    detected(place, 0, 5)
    seq = fixed(place)
    judged(place, 20, "verified", seq)
    detected(place, 25, 26)
    assert (at_day(place, 26)["state"], at_day(place, 26)["reopened"]) == ("verified", 0)
    back = place[0].as_of(DAY + 30 * ONE)
    told = {"as_of": place[0].as_of(DAY + 20 * ONE), "recurred_at": back}
    judged(place, 30, "verified", seq, **told)
    judged(place, 31, "verified", seq, **told)
    before, after, later = at_day(place, 29), at_day(place, 30), at_day(place, 31)
    assert (before["state"], after["state"], after["reopened"], after["closed_at"]) == ("verified", "open", 1, None)
    assert after["due_at"] == back + 7 * ONE
    assert later == after
    decided(place, 28, "reopen")
    assert (at_day(place, 28)["state"], at_day(place, 31)["reopened"]) == ("open", 1)


def test_a_rate_that_came_back_says_nothing_of_the_next_fix(place: Place) -> None:
    detected(place, 0)
    seq = fixed(place)
    judged(place, 20, "verified", seq, recurred_at=place[0].as_of(DAY + 35 * ONE))
    decided(place, 21, "reopen")
    decided(place, 22, "acknowledge")
    again = decided(place, 23, "propose", fix="lock better", kind="rate")
    decided(place, 24, "approve", proposal=again)
    decided(place, 25, "implement", proposal=again)
    when = DAY + 30 * ONE
    write(place, "effects", when, {"effect_id": "e2", "subject": "remediation", "subject_id": f"{BOB}:{again}", "kind": "rate", "verdict": "verified", "as_of": place[0].as_of(when)})  # fmt: skip
    assert (at_day(place, 40)["state"], at_day(place, 40)["reopened"]) == ("verified", 1)


def test_an_ineffective_fix_reopens_and_an_inconclusive_one_does_not(place: Place) -> None:
    detected(place, 0)
    seq = fixed(place)
    judged(place, 20, "ineffective", seq)
    row = at_day(place, 20)
    assert (row["state"], row["reopened"], row["verified_at"]) == ("ineffective", 1, None)
    assert row["due_at"] == place[0].as_of(DAY + 20 * ONE) + 7 * ONE
    judged(place, 20, "inconclusive", seq)
    assert (at_day(place, 20)["state"], at_day(place, 20)["reopened"]) == ("inconclusive", 0)


def test_an_effect_of_another_proposal_says_nothing(place: Place) -> None:
    detected(place, 0)
    judged(place, 20, "verified", fixed(place) + 7)
    assert at_day(place, 20)["state"] == "implemented"


def test_a_false_positive_does_not_come_back_whatever_the_version_of_the_rule(place: Place) -> None:
    detected(place, 0, rule_version="a")
    decided(place, 1, "false_positive")
    detected(place, 5, rule_version="b", level="critical")
    assert (at_day(place, 9)["state"], at_day(place, 9)["reopened"]) == ("false_positive", 0)


def test_a_day_is_the_same_bytes_when_later_days_and_decisions_are_there(place: Place) -> None:
    detected(place, 0, 3)
    seq = fixed(place)
    before = [findings_table(*place, DAY + number * ONE) for number in range(8)]
    judged(place, 9, "verified", seq)
    decided(place, 9, "comment")
    detected(place, 12, level="critical", x_actor="bob")
    write(place, "actor_days", DAY + 12 * ONE, {"day": DAY + 12 * ONE, "x_actor": "bob", "x_actor_kind": "service"})
    assert [findings_table(*place, DAY + number * ONE) for number in range(8)] == before


def test_an_approval_stands_on_its_day_whatever_is_decided_later(place: Place) -> None:
    detected(place, 0)
    decided(place, 1, "acknowledge")
    decided(place, 3, "approve", proposal=decided(place, 2, "propose", fix="lock", kind="rate"))
    before = findings_table(*place, DAY + 4 * ONE)
    assert at_day(place, 4)["approval"] is not None
    decided(place, 6, "reject")
    assert findings_table(*place, DAY + 4 * ONE) == before


def test_a_release_judged_worse_is_a_finding_with_a_title(place: Place) -> None:
    detected(place, 0)
    when = DAY + ONE
    worse = {"effect_id": "r1", "subject": "release", "subject_id": "checkout@26.45.0", "kind": "24h", "verdict": "worse", "as_of": place[0].as_of(when), "after_start": DAY}  # fmt: skip
    write(place, "effects", when, worse, {**worse, "effect_id": "r2", "subject_id": "cart@1", "verdict": "no_change_seen"})  # fmt: skip
    assert findings_table(*place, DAY).num_rows == 1
    (row,) = (row for row in findings_table(*place, when).to_pylist() if row["kind"] == "release_worse")
    assert row["title"] == "Release 26.45.0 of checkout made errors rise"
    assert (row["effect_id"], row["detected_at"]) == ("r1", place[0].as_of(when))


def test_a_duplicate_follows_its_target(place: Place) -> None:
    detected(place, 0)
    other = KEY.replace("bob", "carl")
    detected(place, 2, key=other)
    target = finding_id("guessing", other)
    decided(place, 3, "assign", finding=target, owner="dora")
    decided(place, 4, "duplicate", of=target)
    row = at_day(place, 5)
    assert (row["state"], row["owner"]) == ("duplicate", "dora")
    assert row["due_at"] == place[0].as_of(DAY + 2 * ONE) + 7 * ONE


def test_findings_about_one_actor_within_a_day_are_a_story(place: Place) -> None:
    base = {"day": DAY, "rule_id": "guessing", "kind": "rule", "level": "medium", "sources": ["idp"], "n": 1, "x_actor": "bob"}  # fmt: skip
    rows = [
        {**base, "group_key": KEY, "first_time": at(8)},
        {**base, "rule_id": "anomaly", "kind": "anomaly", "group_key": '{"actor":"bob"}', "first_time": at(20)},
        {**base, "rule_id": "late", "group_key": "{}", "first_time": at(33)},
        {**base, "rule_id": "else", "group_key": "{}", "first_time": at(9), "x_actor": "ann"},
    ]
    write(place, "detections", DAY, *rows)
    assert show(*place, BOB)["story"] == [finding_id("anomaly", '{"actor":"bob"}')]


def test_titles_of_what_is_no_rule_can_be_read(place: Place) -> None:
    base = {"day": DAY, "level": "medium", "sources": ["idp"], "n": 1, "first_time": at(8)}
    error = {"kind": "recurring_error", "rule_id": "recurring_error", "group_key": '{"service":"checkout","template":"t1"}'}  # fmt: skip
    unusual = {"kind": "anomaly", "rule_id": "anomaly", "group_key": '{"actor":"bob"}'}
    write(place, "detections", DAY, {**base, **error}, {**base, **unusual})
    write(place, "error_templates", DAY, {"day": DAY, "service": "checkout", "template_id": "t1", "template": "no <*> left"})  # fmt: skip
    titles = {row["title"] for row in findings_table(*place, DAY).to_pylist()}
    assert titles == {"Unusual day of bob", "Recurring error in checkout: no <*> left"}
