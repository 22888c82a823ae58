"""What detectors, people and comparisons add to a mail: what is asked, what is held back, the head of the decisions; still few words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.findings import decisions
from audit_pipeline.mail import audience
from audit_pipeline.mail.message import WORDS
from audit_pipeline.reports import page, text, wording
from audit_pipeline.reports.model import build_daily
from audit_pipeline_tests.mail.test_message import MAIL, make, parts, seen
from audit_pipeline_tests.reports.company import LAST, Company
from audit_pipeline_tests.reports.html_check import Page

Report = dict[str, Any]


def fix(team: str, verdict: str) -> Report:
    """As much of a row of `effects` as a mail reads."""
    return {"verdict": verdict, "team": team, "judged_today": True}


def test_the_head_of_the_decisions_stands_beside_the_root(company: Company, report: Report) -> None:
    assert "Decisions" not in parts(make(company, report))[1]
    report["evidence"]["decisions"] = {"seq": 41, "hash": "ab" * 32}
    html, plain, _ = parts(make(company, report))
    assert f"Decisions: 41, {'ab' * 32}" in plain
    assert f"Decisions 41 {'ab' * 32}" in seen(html)


def test_the_printed_head_is_that_of_the_log(company: Company) -> None:
    finding = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)["findings"][0][
        "finding_id"
    ]
    decisions.record(
        company.engine,
        finding_id=finding,
        action="comment",
        person="ana",
        identity="claimed",
        reason="seen",
        clock=company.clock,
    )
    report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    number, digest = decisions.head(company.engine)
    assert f"Decisions: {number}, {digest}" in parts(make(company, {**report, "edition": 1}))[1]


def test_what_is_asked_stands_as_a_verb(company: Company, report: Report) -> None:
    for row, verb in zip(report["decisions"], ("approve", "implement", "renew"), strict=False):
        row["verb"] = verb
    html, plain, _ = parts(make(company, report))
    assert "high, approve, cloud, overdue 11-22" in plain
    assert "high, approve · cloud" in seen(html)


def test_what_is_held_back_is_counted(company: Company, report: Report) -> None:
    assert "held back" not in parts(make(company, report))[1]
    for row in report["findings"][-3:]:
        row["shown"] = False
    html, plain, _ = parts(make(company, report))
    assert "0 reopened, 3 held back;" in plain
    assert "0 reopened, 3 held back;" in seen(html)


def test_a_team_is_told_of_its_own_fixes_alone(company: Company, report: Report) -> None:
    report["effects"] = [fix("cloud", "verified"), fix("payments", "ineffective"), fix("payments", "ineffective")]
    assert "one fix worked and two did not" in wording.verdict(report)
    cloud, payments = (audience.cut(report, company.settings, (team,)) for team in ("cloud", "payments"))
    assert "one fix worked." in cloud["verdict"]
    assert "two fixes did not work." in payments["verdict"]
    assert "fix" not in audience.cut(report, company.settings, ("platform",))["verdict"]


def test_a_report_of_an_older_version_can_still_be_cut_and_mailed(company: Company, report: Report) -> None:
    for name in ("effects", "releases", "anomalies", "budget", "set_aside"):
        del report[name]
    del report["evidence"]["decisions"]
    for row in report["findings"]:
        del row["shown"]
    for row in report["decisions"]:
        del row["verb"]
    assert "NEEDS YOU" in parts(make(company, audience.cut(report, company.settings, ("cloud",))))[1]


@pytest.mark.parametrize("kind", ["few", "many"])
def test_it_stays_short_and_small_with_all_of_it(company: Company, report: Report, kind: str) -> None:
    full = copy.deepcopy(report)
    full["effects"] = [fix("cloud", "verified"), fix("cloud", "ineffective")]
    full["evidence"]["decisions"] = {"seq": 1_041, "hash": "ab" * 32}
    full["findings"][-1]["shown"] = False
    for row in full["decisions"]:
        row["verb"] = "decide again"
    if kind == "many":
        full["decisions"], full["not_judged"] = full["decisions"] * 20, full["not_judged"] * 20
    full["verdict"] = wording.verdict(full)
    html, plain, _ = parts(make(company, full))
    assert text.words(plain) <= WORDS
    assert text.words(page.plain(html)) <= WORDS
    assert len(html.encode()) < 80_000
    assert Page(html, allowed=MAIL, links=("https://audit.example.com/", "cid:")).faults == []
    assert full["as_of"][:10] == (LAST + DAY).isoformat()
