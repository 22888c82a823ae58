"""Corrections: which later editions there are since a moment, and what they changed, in printed words."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.reports import differences, editions
from audit_pipeline.reports.editions import publish
from audit_pipeline.reports.weekly import publish_weekly
from audit_pipeline_tests.reports.company import LAST, Company
from audit_pipeline_tests.reports.html_check import Page

Report = dict[str, Any]


def put(company: Company, report: Report, moment: dt.datetime) -> None:
    publish(company.lake, "daily", report["period"], report, clock=SimulatedClock(moment))


def later(built: Report) -> Report:
    """The same day after late events: one more failed sign-in, a source that is whole now."""
    other = copy.deepcopy(built)
    kpi = next(row for row in other["kpis"] if row["id"] == "failed_sign_ins")
    kpi["today"] = {**kpi["today"], "value": kpi["today"]["value"] + 1}
    source = next(row for row in other["sources"] if row["name"] == "payments_db")
    source["today"] = {**source["today"], "verdict": "no_gap_seen", "events": 7_421}
    other["findings"][0]["n"] += 1
    return other


def test_a_correction_says_what_changed_from_what_to_what(company: Company, built: Report) -> None:
    made = company.settings.as_of(LAST)
    put(company, built, made)
    put(company, later(built), made + 3 * DAY)
    [found] = editions.corrections(company.lake, made)
    assert (found["kind"], found["period"], found["edition"], found["corrects"]) == ("daily", "2026-11-23", 2, 1)
    assert found["made_at"] == "2026-11-27T03:00:00Z"
    told = {(row["part"], row["subject"]): (row["from"], row["to"]) for row in found["changes"]}
    value = next(row for row in built["kpis"] if row["id"] == "failed_sign_ins")["today"]
    finding = built["findings"][0]
    of = f"(of {value['population']:,})"
    assert told == {
        ("verdict", "payments_db"): ("partial", "no gap seen"),
        ("events", "payments_db"): ("7,420", "7,421"),
        ("kpi", "Failed sign-ins"): (f"{value['value']:.0f} {of}", f"{value['value'] + 1:.0f} {of}"),
        ("finding", finding["finding_id"][:12]): (f"open, {finding['n']} events", f"open, {finding['n'] + 1} events"),
    }


def test_only_editions_made_since_are_told_and_first_ones_never(company: Company, built: Report) -> None:
    made = company.settings.as_of(LAST)
    assert editions.corrections(company.lake, made) == []
    put(company, built, made)
    assert editions.corrections(company.lake, made - DAY) == []
    put(company, later(built), made + DAY)
    assert editions.corrections(company.lake, made + DAY) == []
    assert len(editions.corrections(company.lake, made + DAY - dt.timedelta(seconds=1))) == 1
    assert editions.corrections(company.lake, made, periods=["2026-11-22"]) == []


def test_a_change_of_earlier_days_alone_is_told_as_such(company: Company, built: Report) -> None:
    made = company.settings.as_of(LAST)
    other = copy.deepcopy(built)
    other["kpis"][1]["history"][2]["value"] = None
    put(company, built, made)
    put(company, other, made + DAY)
    [found] = editions.corrections(company.lake, made)
    assert (found["changes"], found["parts"]) == ([], ["KPIs"])


def test_what_came_or_went_is_not_there_on_the_other_side(built: Report) -> None:
    other = copy.deepcopy(built)
    gone = other["findings"].pop()
    changes = differences.between(built, other)
    assert [(row["from"], row["to"]) for row in changes if row["subject"] == gone["finding_id"][:12]] == [
        (f"{gone['state']}, {gone['n']} events", "not there")
    ]
    assert differences.between(built, built) == []


def test_the_week_lists_the_corrections_of_its_days(company: Company, built: Report) -> None:
    made = company.settings.as_of(LAST)
    put(company, built, made)
    put(company, later(built), made + DAY)
    week = publish_weekly(company.settings, company.lake, LAST, SimulatedClock(made + DAY))
    read = Page(company.lake.read(f"{week.folder}/report.html").decode())
    assert read.faults == []
    assert "payments_db: partial → no gap seen; payments_db events: 7,420 → 7,421" in read.text
    csv = company.lake.read(f"{week.folder}/corrections.csv").decode()
    assert "daily,2026-11-23,2,1,2026-11-25T03:00:00Z,verdict,payments_db,partial,no gap seen\r\n" in csv
