"""Findings from real detections and decisions: grouping, state, owners, and what a day may know."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.detections.run import detect
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings.commands import (
    acknowledge,
    assign,
    comment,
    decide,
    false_positive,
    list_findings,
    show_finding,
)
from audit_pipeline.findings.decisions import read, record
from audit_pipeline.findings.view import findings_table
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import FINDINGS_SCHEMA
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state
from audit_pipeline_tests.detections.helpers import DAY, at, burst, make_settings, open_lake, write_events

NEXT = DAY + dt.timedelta(days=1)
TEAMS = """
sources:
  idp: {type: files, format: cloudtrail, team: cloud}
  vpn: {type: files, format: cloudtrail}
teams:
  cloud: {}
  network: {owns: ["source:vpn"]}
  security: {owns: ["service:s3.amazonaws.com"]}
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[Settings, Lake, sa.Engine]:
    settings = make_settings(tmp_path, TEAMS)
    return settings, open_lake(tmp_path), open_state(settings.state_url_resolved)


Place = tuple[Settings, Lake, sa.Engine]


def night(place: Place, events: list[dict[str, Any]], *days: dt.date) -> None:
    settings, lake, _ = place
    write_events(lake, events)
    for day in days:
        detect(settings, lake, day)


def findings(place: Place, until: dt.date | None = None) -> list[dict[str, Any]]:
    return list(findings_table(*place, until).to_pylist())


def say(place: Place, action: str, when: dt.datetime, prefix: str | None = None, **more: Any) -> None:
    prefix = prefix or findings(place)[0]["finding_id"]
    decide(place[0], prefix, action, clock=SimulatedClock(when), **{"reason": "because", **more})


def test_detections_of_many_days_are_one_finding(place: Place) -> None:
    events = [*burst("alice", at(8), 12), *burst("bob", at(9), 20), *burst("alice", at(7, day=NEXT), 15)]
    night(place, events, DAY, NEXT)
    alice, bob = sorted(findings(place), key=lambda row: row["n"], reverse=True)
    assert (alice["n"], bob["n"]) == (27, 20)
    assert alice["first_time"] == at(8)
    assert alice["detected_at"] == at(3, day=NEXT)  # as-of of the first detection's day
    assert alice["due_at"] == at(3, day=NEXT) + dt.timedelta(days=3)
    assert (alice["severity"], alice["state"], alice["reopened"]) == ("high", "open", 0)
    assert alice["title"] == "Burst of failed sign-ins: alice, idp"
    assert alice["finding_id"] != bob["finding_id"]
    assert findings_table(*place, None).schema == FINDINGS_SCHEMA


def test_ids_do_not_depend_on_days_or_on_running_again(place: Place) -> None:
    night(place, burst("alice", at(8), 12), DAY)
    (first,) = findings(place)
    night(place, burst("alice", at(8, day=NEXT), 99), NEXT, DAY, DAY)
    (second,) = findings(place)
    assert second["finding_id"] == first["finding_id"]
    assert second["n"] == 111


def test_a_day_knows_nothing_of_later_detections(place: Place) -> None:
    night(
        place,
        [*burst("alice", at(8), 12), *burst("bob", at(8, day=NEXT), 12), *burst("alice", at(8, day=NEXT), 12)],
        DAY,
        NEXT,
    )
    assert [(row["title"][-10:], row["n"]) for row in findings(place, DAY)] == [("alice, idp", 12)]
    assert sorted(row["n"] for row in findings(place, NEXT)) == [12, 24]


def test_a_day_knows_nothing_of_decisions_after_its_as_of(place: Place) -> None:
    """As-of of DAY is NEXT 03:00. This fails when the filter on `recorded_at` goes."""
    night(place, burst("alice", at(8), 12), DAY)
    before = findings_table(*place, DAY)
    say(place, "acknowledge", at(3, 0, 1, day=NEXT))
    assert findings_table(*place, DAY) == before
    assert [row["state"] for row in findings(place, NEXT)] == ["acknowledged"]
    assert [row["state"] for row in findings(place)] == ["acknowledged"]
    shown = show_finding(place[0], before.to_pylist()[0]["finding_id"], until=DAY)
    assert (shown["state"], shown["decisions"]) == ("open", [])


def test_a_decision_at_the_as_of_itself_enters(place: Place) -> None:
    night(place, burst("alice", at(8), 12), DAY)
    say(place, "acknowledge", at(3, day=NEXT))
    (row,) = findings(place, DAY)
    assert (row["state"], row["acknowledged_at"], row["identity"]) == ("acknowledged", at(3, day=NEXT), "os")


def test_an_earlier_effective_time_does_not_smuggle_a_decision_into_a_past_day(place: Place) -> None:
    night(place, burst("alice", at(8), 12), DAY)
    (row,) = findings(place)
    record(place[2], finding_id=row["finding_id"], action="acknowledge", person="a", identity="os", reason="", clock=SimulatedClock(at(9, day=NEXT)), effective_at=at(9))  # fmt: skip
    assert findings(place, DAY)[0]["state"] == "open"
    assert findings(place)[0]["acknowledged_at"] == at(9, day=NEXT)


def test_a_false_positive_is_closed_and_does_not_come_back(place: Place) -> None:
    night(place, burst("alice", at(8), 12), DAY)
    say(place, "false-positive", at(9, day=NEXT), person="alice")
    night(place, [*burst("alice", at(12, day=NEXT), 50), *burst("bob", at(12, day=NEXT), 50)], NEXT)
    by_title = {row["title"]: row for row in findings(place)}
    closed = by_title["Burst of failed sign-ins: alice, idp"]
    assert (closed["state"], closed["closed_at"], closed["identity"]) == ("false_positive", at(9, day=NEXT), "claimed")
    assert closed["n"] == 62  # what happened is still counted
    assert closed["reopened"] == 0
    assert by_title["Burst of failed sign-ins: bob, idp"]["state"] == "open"


def test_comments_change_nothing_but_are_kept(place: Place) -> None:
    night(place, burst("alice", at(8), 12), DAY)
    before = findings(place)
    say(place, "comment", at(9, day=NEXT), reason="called her")
    assert findings(place) == before
    assert [one["reason"] for one in show_finding(place[0], before[0]["finding_id"])["decisions"]] == ["called her"]


def test_the_owner_is_the_team_until_somebody_is_named(place: Place) -> None:
    night(place, [*burst("alice", at(8), 12), *burst("alice", at(8), 13, x_source="vpn")], DAY)
    assert {row["n"]: (row["team"], row["owner"]) for row in findings(place)} == {
        12: ("cloud", "cloud"),
        13: ("network", "network"),
    }
    one = next(row for row in findings(place) if row["n"] == 12)
    say(place, "assign", at(9, day=NEXT), one["finding_id"], payload={"owner": "bob"})
    changed = next(row for row in findings(place) if row["n"] == 12)
    assert (changed["team"], changed["owner"], changed["state"]) == ("cloud", "bob", "open")


def write_rule(settings: Settings, **more: Any) -> None:
    folder = settings.root / "rules"
    folder.mkdir(exist_ok=True)
    rule = {
        "title": "Own",
        "id": "11111111-1111-4111-8111-111111111111",
        "logsource": {"product": "ocsf"},
        "detection": {"s": {"api_operation": "TagBucketByHand"}, "condition": "s"},
        "group_by": ["api_service_name"],
        **more,
    }
    (folder / "own.yml").write_text(yaml.safe_dump(rule), encoding="utf-8")


@pytest.mark.parametrize(
    ("service", "source", "team"),
    [
        ("s3.amazonaws.com", "idp", "security"),
        ("iam.amazonaws.com", "idp", "cloud"),
        ("iam.amazonaws.com", "vpn", "network"),
    ],
)
def test_who_owns_a_service_comes_before_who_owns_a_source(place: Place, service: str, source: str, team: str) -> None:
    write_rule(place[0])
    night(
        place,
        [{"time": at(8), "x_source": source, "api_operation": "TagBucketByHand", "api_service_name": service}],
        DAY,
    )
    assert [row["team"] for row in findings(place)] == [team]


@pytest.mark.parametrize(("hint", "team"), [("security", "security"), ("nobody", None), (None, None)])
def test_a_rules_hint_counts_where_nobody_owns_the_source(tmp_path: Path, hint: str | None, team: str | None) -> None:
    settings = make_settings(tmp_path, "sources: {idp: {type: files, format: cloudtrail}}\nteams: {security: {}}")
    mine = settings, open_lake(tmp_path), open_state(settings.state_url_resolved)
    write_rule(settings, owner=hint)
    night(mine, [{"time": at(8), "api_operation": "TagBucketByHand", "api_service_name": "s3.amazonaws.com"}], DAY)
    assert [row["team"] for row in findings(mine)] == [team]


@pytest.mark.parametrize(
    ("level", "days"), [("critical", 1), ("high", 3), ("medium", 7), ("low", 30), ("informational", 90)]
)
def test_severity_says_when_it_is_due(place: Place, level: str, days: int) -> None:
    write_rule(place[0], level=level)
    night(place, [{"time": at(8), "api_operation": "TagBucketByHand"}], DAY)
    (row,) = findings(place)
    assert (row["severity"], row["due_at"] - row["detected_at"]) == (level, dt.timedelta(days=days))


def test_a_finding_outlives_its_rule(place: Place) -> None:
    write_rule(place[0])
    night(place, [{"time": at(8), "api_operation": "TagBucketByHand", "api_service_name": "x"}], DAY)
    (place[0].root / "rules" / "own.yml").unlink()
    (row,) = findings(place)
    assert "no longer there" in row["title"]
    assert show_finding(place[0], row["finding_id"])["rule"] is None


def test_the_worst_comes_first(place: Place) -> None:
    write_rule(place[0], level="critical")
    night(
        place,
        [*burst("alice", at(8), 12), *burst("bob", at(8), 12), {"time": at(9), "api_operation": "TagBucketByHand"}],
        DAY,
    )
    rows = findings(place)
    assert [row["severity"] for row in rows] == ["critical", "high", "high"]
    assert rows[1]["finding_id"] < rows[2]["finding_id"]


def test_one_finding_whole_leads_back_to_the_lines(place: Place) -> None:
    night(place, [*burst("alice", at(8), 12), *burst("alice", at(8, day=NEXT), 12)], DAY, NEXT)
    say(place, "acknowledge", at(9, day=NEXT), reason="mine", person="alice")
    shown = show_finding(place[0], findings(place)[0]["finding_id"][:6].upper())
    assert [one["day"] for one in shown["detections"]] == [DAY, NEXT]
    assert shown["detections"][0]["refs"][0] == {"source": "idp", "segment": "raw/idp/1", "line": 0, "uid": "e0"}
    assert "12 failed sign-ins for alice" in shown["detections"][0]["explanation"]
    assert [(one["action"], one["person"], one["identity"]) for one in shown["decisions"]] == [
        ("acknowledge", "alice", "claimed")
    ]
    assert shown["rule"]["runbook"]
    assert "T1110" in shown["rule"]["attack"]


def test_commands_find_by_prefix_and_name_what_exists(place: Place) -> None:
    settings = place[0]
    with pytest.raises(UsageError, match="no findings yet"):
        show_finding(settings, "abcdef")
    night(place, [*burst("alice", at(8), 12), *burst("bob", at(8), 12)], DAY)
    first, second = (row["finding_id"] for row in findings(place))
    assert show_finding(settings, first[:6])["finding_id"] == first
    assert show_finding(settings, second)["finding_id"] == second
    with pytest.raises(UsageError, match="at least 6"):
        show_finding(settings, first[:5])
    with pytest.raises(UsageError) as error:
        acknowledge(settings, "zzzzzz")
    assert first[:12] in str(error.value)
    assert second[:12] in str(error.value)
    assert read(place[2]) == []


def test_commands_decide_and_list(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = place[0]
    night(place, [*burst("alice", at(8), 12), *burst("bob", at(8), 12)], DAY)
    first, second = (row["finding_id"] for row in findings(place))
    clock = SimulatedClock(at(9, day=NEXT))
    monkeypatch.setenv("LOGNAME", "carol")
    done = acknowledge(settings, first[:8], clock=clock)
    assert (done.finding_id, done.person, done.identity, done.recorded_at) == (first, "carol", "os", clock.at)
    with pytest.raises(UserError, match="is acknowledged"):
        acknowledge(settings, first[:8], person="bob", clock=clock)
    with pytest.raises(UsageError, match="reason"):
        false_positive(settings, second, reason="", clock=clock)
    assert false_positive(settings, second, reason="a test", person="bob", clock=clock).identity == "claimed"
    comment(settings, second, reason="told the team", clock=clock)
    assign(settings, first, owner="dora", clock=clock)
    assert [one.action for one in read(place[2])] == ["acknowledge", "false_positive", "comment", "assign"]
    assert [row["finding_id"] for row in list_findings(settings, state="acknowledged")] == [first]
    assert [row["finding_id"] for row in list_findings(settings, include_closed=False)] == [first]
    assert [row["finding_id"] for row in list_findings(settings, include_closed=False, state="false_positive")] == [
        second
    ]
    assert len(list_findings(settings, team="cloud")) == 2
    assert list_findings(settings, team="network") == []
    assert [row["state"] for row in list_findings(settings, until=DAY)] == ["open", "open"]
    with pytest.raises(UsageError, match="acknowledged, approved, duplicate, false_positive"):
        list_findings(settings, state="closed")
    with pytest.raises(UsageError, match="cloud, network, security"):
        list_findings(settings, team="none")


def test_without_a_clock_a_decision_is_recorded_now(place: Place) -> None:
    night(place, burst("alice", at(8), 12), DAY)
    before = dt.datetime.now(dt.UTC)
    done = acknowledge(place[0], findings(place)[0]["finding_id"])
    assert before <= done.recorded_at <= dt.datetime.now(dt.UTC)


def test_an_ambiguous_prefix_names_the_candidates(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit_pipeline.findings import view

    monkeypatch.setattr(view, "finding_id", lambda rule, key: "abcdef" + ("00" if "alice" in key else "11") * 13)
    night(place, [*burst("alice", at(8), 12), *burst("bob", at(8), 12)], DAY)
    with pytest.raises(UsageError, match=r"abcdef00.*abcdef11"):
        show_finding(place[0], "abcdef")


def test_titles_are_one_printable_line_whatever_the_log_says(place: Place) -> None:
    night(place, burst("<b>\x1b[2J\u202e\r\n" + "y" * 300, at(8), 12), DAY)
    (row,) = findings(place)
    assert row["title"].isprintable()
    assert len(row["title"]) < 200
    assert json.loads(row["group_key"])["user_name"].startswith("<b>\x1b")
