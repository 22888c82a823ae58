"""What deserves a person's time, who decides, and whether fixes worked, as reports show it: from stored rows, in words that are true of them."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import DAY, SimulatedClock, rfc3339
from audit_pipeline.detections.sigma import load
from audit_pipeline.effects import compute
from audit_pipeline.findings import decisions, view
from audit_pipeline.reports import differences, editions, effect_chart, page, pseudonyms, tables, text, wording
from audit_pipeline.reports.model import build_daily
from audit_pipeline.reports.periodic import build_periodic
from audit_pipeline.reports.periods import Period
from audit_pipeline.state import decisions as log
from audit_pipeline_tests.reports import judged
from audit_pipeline_tests.reports.company import LAST, PAYLOADS, RULE, Company, at, detection
from audit_pipeline_tests.reports.html_check import Page
from audit_pipeline_tests.reports.large import grown
from audit_pipeline_tests.reports.test_controls import SCOPE, declare, own, rows_of
from audit_pipeline_tests.support.browser import chromium

Report = dict[str, Any]
MARA = "mara.lindqvist@example.com"
Change = Callable[..., None]


def finding(actor: str) -> str:
    return view.finding_id(RULE, detection(LAST, actor, n=1)["group_key"])


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Columns of the view `findings` as later decisions would set them, by a part of the title."""
    original = view.findings_table

    def set_columns(changes: dict[str, dict[str, Any]]) -> None:
        def table(*args: Any, **more: Any) -> pa.Table:
            return judged.decided(original(*args, **more), changes)

        monkeypatch.setattr(view, "findings_table", table)

    return set_columns


def decide(company: Company, actor: str, action: str, day: dt.date, person: str, **payload: Any) -> int:
    """A decision as the log keeps it, whatever the life cycle allows: what a report makes of it is tested here."""
    when = rfc3339(company.settings.as_of(day))
    with company.engine.begin() as connection:
        last = connection.execute(sa.select(log.c.seq, log.c.hash).order_by(log.c.seq.desc()).limit(1)).first()
        row: dict[str, Any] = {
            "finding_id": finding(actor), "action": action, "person": person, "identity": "claimed", "recorded_at": when, "effective_at": when,
            "reason": f"{person} looked at it", "payload": rfc8785.dumps(payload).decode(), "seq": last.seq + 1 if last else 1,
            "previous": last.hash if last else decisions.NO_PREVIOUS,
        }  # fmt: skip
        row["hash"] = decisions.row_hash(row)
        connection.execute(sa.insert(log).values(**row, signature=None))
    return int(row["seq"])


def propose(company: Company, actor: str, words: str, **more: Any) -> int:
    payload = {
        "fix": words,
        "kind": "rate",
        "kpi_id": "error_rate_by_service",
        "scope": "service:checkout",
        "direction": "down",
        "promised": 0.5,
    }
    whole = {**payload, "decision_date": LAST.isoformat(), **more}
    seq = decide(company, actor, "propose", LAST - 23 * DAY, "ana", **whole)
    decide(company, actor, "implement", LAST - 21 * DAY, "ana", proposal=seq)
    return seq


def build(company: Company, day: dt.date = LAST) -> Report:
    return {
        **build_daily(company.settings, company.lake, company.engine, day, company.clock),
        "edition": 1,
        "corrects": None,
    }


def month(company: Company) -> Report:
    clock = SimulatedClock(company.settings.as_of(LAST))
    made = build_periodic(company.settings, company.lake, company.engine, Period.of("monthly", LAST), clock)
    return {**made, "edition": 1, "corrects": None}


def shown(report: Report) -> str:
    read = Page(page.render(report))
    assert read.faults == []
    return read.text


def section(report: Report, name: str) -> str:
    """The text of one section of the page."""
    whole = page.render(report)
    found = re.search(rf'<section class="part" aria-labelledby="{name}">.*?</section>', whole, re.DOTALL)
    assert found, name
    return " ".join(page.plain(found[0]).split())


# effects ------------------------------------------------------------------------------------------------------------------


def test_each_fix_is_told_with_its_numbers_and_its_verdict(company: Company) -> None:
    worked, failed = propose(company, MARA, "Retries with a budget"), propose(company, "svc-backup", "Cache the list")
    none = {"ratio": 0.97, "low": 0.83, "high": 1.13, "rate_after": 0.0098}
    rows = [
        judged.effect(finding(MARA), worked, "verified"),
        judged.effect(finding("svc-backup"), failed, "ineffective", **none),
    ]
    judged.write(company, "effects", rows, LAST)
    report = build(company)
    assert [(row["fix"], row["verdict"]) for row in report["effects"]] == [
        ("Cache the list", "ineffective"),
        ("Retries with a budget", "verified"),
    ]
    told = section(report, "effects")
    assert "Two fixes judged: one worked, one did not, none not clear." in told
    assert "It worked: −58 % (95 % interval −66 % to −49 %), promised −50 %: reached." in told
    assert "No effect: −3 % (95 % interval −17 % to +13 %), promised −50 %: not reached." in told
    assert "24 before (09-29 to 10-24), 20 after (11-02 to 11-22)" in told
    assert "two days: 10-09 to 10-10 linux_edge partial" in told
    assert "from −24 %" in told
    assert "one fix worked and one did not" in report["verdict"]


def test_the_section_of_effects_comes_first(report: Report) -> None:
    assert next(name for name, _ in page.sections(report)) == "effects"
    assert "No fix is on record, so there is no effect to compare." in section(report, "effects")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"verdict": "verified", "ratio": 0.8, "low": 0.7, "high": 0.9, "reached": False}, "It worked, less than promised: −20 % (95 % interval −30 % to −10 %), promised −50 %: not reached."),
        ({"verdict": "ineffective", "ratio": 1.4, "low": 1.2, "high": 1.7}, "It got worse: +40 % (95 % interval +20 % to +70 %), promised −50 %."),
        ({"verdict": "ineffective", "ratio": 1.4, "low": 1.2, "high": 1.7, "direction": "up"}, "Less than promised: +40 % (95 % interval +20 % to +70 %), promised +50 %."),
        ({"verdict": "inconclusive", "ratio": 0.7, "low": 0.4, "high": 1.2}, "Not clear whether it worked: −30 % (95 % interval −60 % to +20 %), promised −50 %."),
        ({"verdict": "verified", "ratio": None}, "It worked."),
        ({"verdict": "ineffective", "ratio": None}, "It did not work."),
        ({"verdict": "pending", "late": False, "days_after": 6, "decision_date": "2026-12-02"}, "Will be judged on 2026-12-02, once; six days after the fix so far."),
        ({"verdict": "pending", "late": True, "days_after": 6, "decision_date": "2026-11-02"}, "Its decision date 2026-11-02 has come, and nothing was judged."),
    ],
    ids=["less", "worse", "up", "unclear", "state", "recurrence", "pending", "late"],
)  # fmt: skip
def test_an_effect_in_a_sentence(row: Report, words: str) -> None:
    assert (
        wording.effect({"low": None, "high": None, "promised": 0.5, "direction": "down", "reached": None, **row})
        == words
    )


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(0.42, "−58 %"), (1.0, "0 %"), (1.125, "+12 %"), (0.9999, "under 0.1 %"), (0.0001, "over 99 % less"), (0.0, "−100 %"), (12.0, "12 times"), (None, "no data"), (1.034, "+3.4 %")],
)  # fmt: skip
def test_a_ratio_reads_as_a_change(ratio: float | None, words: str) -> None:
    assert text.change(ratio) == words


def test_whether_the_promise_was_reached_follows_its_direction(company: Company) -> None:
    cases = [(MARA, "down", 0.42, True), ("svc-backup", "up", 1.2, False), ("karl", "up", 1.6, True)]
    company.write("detections", [detection(LAST, actor, n=20) for actor, *_ in cases], LAST)
    rows = [
        judged.effect(finding(actor), propose(company, actor, actor, direction=direction), "verified", ratio=ratio)
        for actor, direction, ratio, _ in cases
    ]
    judged.write(company, "effects", rows, LAST)
    assert {row["fix"]: row["reached"] for row in build(company)["effects"]} == {
        actor: reached for actor, _, _, reached in cases
    }


def test_a_fix_waits_until_its_date_and_the_newest_row_counts(company: Company) -> None:
    seq = propose(company, MARA, "Retries", decision_date=(LAST + DAY).isoformat())
    pending = judged.effect(finding(MARA), seq, "pending", as_of=at(LAST, "03:00"), decision_date=LAST + DAY)
    judged.write(company, "effects", [pending], LAST - DAY)
    (row,) = build(company)["effects"]
    assert (row["verdict"], row["late"], row["judged_today"]) == ("pending", False, False)
    assert "One fix waits for its date." in section(build(company), "effects")
    judged.write(
        company, "effects", [judged.effect(finding(MARA), seq, "verified", as_of=at(LAST + DAY, "03:00"))], LAST
    )
    (row,) = build(company)["effects"]
    assert (row["verdict"], row["judged_today"]) == ("verified", True)
    later = judged.effect(finding(MARA), seq, "ineffective", as_of=at(LAST + 2 * DAY, "03:00"))
    judged.write(company, "effects", [later], LAST + DAY)
    assert build(company)["effects"][0]["verdict"] == "verified", "a later day does not enter"


def test_a_report_shows_what_was_judged_in_its_time_and_all_that_waits(company: Company) -> None:
    dates = {MARA: LAST - 60 * DAY, "svc-backup": LAST - 91 * DAY, "karl": LAST + DAY}
    rows = [
        judged.effect(
            finding(name), propose(company, name, name), "pending" if day > LAST else "verified", decision_date=day
        )
        for name, day in dates.items()
    ]
    judged.write(company, "effects", rows, LAST)
    assert [row["fix"] for row in build(company)["effects"]] == [MARA, "karl"]
    assert [row["fix"] for row in month(company)["effects"]] == ["karl"]
    assert "judged in this month" in section(month(company), "effects")


def test_a_fix_that_no_run_compared_is_pending_and_not_absent(company: Company, change: Change) -> None:
    propose(company, MARA, "Retries", decision_date=(LAST - DAY).isoformat())
    change(
        {
            "mara": {
                "state": "implemented",
                "fix": json.dumps({"fix": "Retries", "decision_date": (LAST - DAY).isoformat()}),
            }
        }
    )
    report = build(company)
    (row,) = report["effects"]
    assert (row["verdict"], row["late"], row["fix"]) == ("pending", True, "Retries")
    (asked,) = [one for one in report["decisions"] if one["finding_id"] == finding(MARA)]
    assert asked["ask"] == "its decision date has come, and nothing was judged"


@pytest.mark.parametrize("kind", ["rate", "recurrence", "state"])
@pytest.mark.parametrize(
    ("kpi", "scope"),
    [("error_rate_by_service", "service:checkout"), ("failed_sign_ins", "all"), ("detections", ""), ("recurring_errors", "template:none"), ("gone", "all")],
)  # fmt: skip
def test_what_the_engine_says_is_told_on_every_day_of_a_fix(company: Company, kind: str, kpi: str, scope: str) -> None:
    scope = scope or f"finding:{finding(MARA)}"
    day, date = LAST - 6 * DAY, (LAST - DAY).isoformat()
    seq = decide(company, MARA, "propose", day, "ana", fix="Retries", kind=kind, kpi_id=kpi, scope=scope, direction="down", promised=0.5, decision_date=date)  # fmt: skip
    decide(company, MARA, "implement", day, "ana", proposal=seq)
    told: list[tuple[bool, bool]] = []
    for at_day in (day, day + 2 * DAY, day + 3 * DAY, LAST - DAY, LAST):
        compute.effects(company.settings, company.lake, company.engine, at_day)
        report = build(company, at_day)
        (row,) = report["effects"]
        shown = page.render(report)
        assert wording.effect(row) in html.unescape(shown)
        assert ("none after yet" in shown) == (row["after_start"] is None)
        assert Page(shown).faults == []
        told.append((row["after_start"] is None, row["verdict"] == "pending"))
    assert told == [(True, True), (True, True), (False, True), (False, False), (False, False)]


def test_the_drawing_tells_windows_by_shape_and_leaves_gaps() -> None:
    row = {**judged.effect("f" * 32, 1, "verified"), "direction": "down"}
    row |= {
        "after_start": row["after_start"].isoformat(),
        "series": [{**one, "day": one["day"].isoformat()} for one in row["series"]],
    }
    drawn = str(effect_chart.effect(row, "<b>", "told"))
    assert "<b>" not in drawn
    assert drawn.count('class="e-episode"') == 1
    assert drawn.count("k-hatch") == drawn.count("e-change") == drawn.count("k-target") == 1
    for window in ("before", "episode", "after"):
        assert f"k-line e-{window}" in drawn
    before = re.search(r'k-line e-before" d="([^"]*)"', drawn)
    assert before
    assert before[1].count("M") == 2, "the days left out are a gap in the line"
    row["series"] = [one for one in row["series"] if one["day"] != row["after_start"]]
    after = re.search(r'k-line e-after" d="([^"]*)"', str(effect_chart.effect(row, "t", "told")))
    assert after
    assert "nan" not in drawn
    assert str(effect_chart.effect({**row, "series": []}, "t", "told")).startswith("<svg"), (
        "nothing to draw is no error"
    )


def test_counts_are_drawn_as_the_rates_that_were_compared(company: Company) -> None:
    row = judged.effect(finding(MARA), propose(company, MARA, "Retries"), "verified")
    judged.write(company, "effects", [row], LAST)
    row["series"][3] = {**row["series"][3], "population": 0.0}
    judged.write(company, "effects", [row], LAST)
    drawn = build(company)["effects"][0]["series"]
    assert drawn[3]["value"] is None, "a day without requests has no rate"
    rates = [one["value"] / one["population"] for one in row["series"][4:]]
    assert [one["value"] for one in drawn[4:]] == pytest.approx(rates)
    waits = {**judged.effect(finding(MARA), 1, "pending"), "subject_id": row["subject_id"], "series": row["series"], "rate_before": None}  # fmt: skip
    judged.write(company, "effects", [waits], LAST)
    assert build(company)["effects"][0]["series"] == drawn, "before it is judged too"


def test_releases_are_told_with_both_windows_the_harmful_first(company: Company) -> None:
    rows = [
        *judged.release("catalog", "26.44.1", LAST - DAY, ("no_change_seen", "better")),
        *judged.release("checkout", "26.45.0", LAST - 3 * DAY, ("worse", "inconclusive")),
        *judged.release("old", "1", LAST - 40 * DAY, ("worse", "worse")),
    ]
    judged.write(company, "effects", rows, LAST)
    report = build(company)
    assert [row["subject_id"] for row in report["releases"]] == ["checkout@26.45.0", "catalog@26.44.1"]
    told = section(report, "releases")
    assert "Two releases compared, one judged worse." in told
    assert "checkout 26.45.0 2026-11-20 worse +160 % (+90 % to +260 %) inconclusive +4 % (−10 % to +20 %)" in told
    judged.write(company, "effects", rows[:1], LAST)
    assert "not compared yet" in section(build(company), "releases")


# findings -----------------------------------------------------------------------------------------------------------------


def test_what_the_budget_holds_back_is_counted_and_asks_for_nothing(company: Company, change: Change) -> None:
    before = build(company)
    change({"mara": {"shown": False, "held_back": "4th of team cloud, ceiling 3"}, "svc-backup": {"shown": True}})
    report = build(company)
    assert report["budget"]["held_back"] == 1
    assert report["budget"]["shown"] == before["budget"]["shown"] - 1 == len(report["findings"]) - 1
    assert finding(MARA) not in [row["finding_id"] for row in report["decisions"]]
    assert finding(MARA) not in [row["finding_id"] for row in report["changes"]["new"]]
    told = section(report, "findings")
    assert "One finding held back by the budget." in told
    assert "4th of team cloud, ceiling 3" in told
    assert f"findings show {finding(MARA)[:12]}" not in told
    assert finding(MARA) in tables.csv_files(report)["findings.csv"].decode()


def test_people_and_services_stand_apart(company: Company, change: Change) -> None:
    assert "Service accounts" not in section(build(company), "findings")
    change({"svc-backup": {"x_actor_kind": "service"}})
    told = section(build(company), "findings")
    assert (
        told.index("People, and what has no account")
        < told.index("mara")
        < told.index("Service accounts")
        < told.index("svc-backup")
    )


def test_a_finding_shows_risk_state_approval_and_fix(company: Company, change: Change) -> None:
    fix = json.dumps({"fix": "Deny PassRole", "promised": 0.5, "direction": "down", "decision_date": "2026-12-01"})
    decided = {
        "state": "approved",
        "approval": "asserted",
        "approved_by": "ben",
        "fix": fix,
        "risk": 74.0,
        "reopened": 1,
    }
    change(
        {
            "mara": {**decided, "risk_terms": "severity high 60 · seen on 3 days +8"},
            "svc-backup": {"risk": 3.0, "risk_terms": "severity high 60 · old +2"},
        }
    )
    told = section(build(company), "findings")
    assert "approval asserted by ben" in told
    assert "Fix Deny PassRole · promised −50 % · judged on 2026-12-01" in told
    assert "Risk 74: severity high 60 · seen on 3 days +8" in told
    assert "Risk 3: severity high 60 · old +2" in told
    assert "reopened" in told
    assert "Asked: make the change, and record that it is made." in told


def test_a_decision_is_due_by_the_date_that_it_is_about(company: Company, change: Change) -> None:
    change({"mara": {"state": "accepted", "expires_at": at(LAST + 5 * DAY, "00:00")}, "svc-backup": {"state": "implemented", "fix": '{"decision_date": "2026-11-23"}'}})  # fmt: skip
    due = {row["verb"]: row["due_at"][:10] for row in build(company)["decisions"]}
    assert (due["renew"], due["judge"]) == ("2026-11-28", "2026-11-23")


@pytest.mark.parametrize(
    ("columns", "verb"),
    [
        ({"state": "open"}, "acknowledge"),
        ({"state": "acknowledged", "due_at": LAST + 3 * DAY}, "propose"),
        ({"state": "acknowledged", "due_at": LAST + 20 * DAY}, None),
        ({"state": "acknowledged", "due_at": LAST - DAY}, "propose"),
        ({"state": "proposed"}, "approve"),
        ({"state": "approved"}, "implement"),
        ({"state": "implemented", "fix": '{"decision_date": "2027-01-01"}', "due_at": LAST - DAY}, None),
        ({"state": "implemented", "fix": '{"decision_date": "2026-11-23"}'}, "judge"),
        ({"state": "ineffective"}, "decide again"),
        ({"state": "inconclusive"}, "decide again"),
        ({"state": "verified"}, None),
        ({"state": "accepted", "expires_at": LAST + 8 * DAY}, "renew"),
        ({"state": "accepted", "expires_at": LAST + 9 * DAY}, None),
        ({"state": "duplicate"}, None),
    ],
)
def test_what_is_asked_follows_state_and_dates(
    company: Company, change: Change, columns: Report, verb: str | None
) -> None:
    times = {name: at(value, "03:00") for name, value in columns.items() if isinstance(value, dt.date)}
    change({"mara": {**columns, **times}})
    found = {row["finding_id"]: row["verb"] for row in build(company)["decisions"]}
    assert found.get(finding(MARA)) == verb


def test_an_accepted_risk_is_listed_with_owner_approver_and_end(company: Company, change: Change) -> None:
    decide(
        company, "svc-backup", "accept", LAST - 30 * DAY, "ana", approver="ciso", expires=(LAST + 90 * DAY).isoformat()
    )
    change({"svc-backup": {"state": "accepted", "closed_at": at(LAST - 29 * DAY, "03:00"), "expires_at": at(LAST + 90 * DAY, "00:00")}, "mara": {"approval": "self-approved", "approved_by": "ana", "state": "approved"}})  # fmt: skip
    report = build(company)
    (row,) = report["set_aside"]["accepted"]
    assert (row["approver"], row["owner"], row["expires_at"][:10]) == ("ciso", "cloud", "2027-02-21")
    assert finding("svc-backup") not in [one["finding_id"] for one in report["findings"]], "closed long ago"
    told = section(report, "exceptions")
    assert (
        "One accepted risk in force, one fix approved by who proposed it, no false positives and no duplicates on record."
        in told
    )
    assert "ana looked at it" in told
    assert "2027-02-21" in told


# detectors ----------------------------------------------------------------------------------------------------------------


def test_anomalies_are_told_in_words_with_the_models_card(company: Company) -> None:
    judged.write(
        company,
        "anomalies",
        [judged.anomaly(LAST, "bob"), judged.anomaly(LAST, "eve", 0.9)],
        LAST,
        card=json.dumps(judged.CARD),
    )
    judged.write(company, "anomalies", [judged.anomaly(LAST - DAY, "old")], LAST - DAY, card="{}")
    report = build(company)
    assert [(row["actor"], row["refs_total"], len(row["refs"])) for row in report["anomalies"]["items"]] == [
        ("eve", 7, 5),
        ("bob", 7, 5),
    ]
    told = section(report, "anomalies")
    assert "Two actors had unusual days." in told
    assert "bob: 412 reads of secrets, usual 0 to 9 on working days (21 days); 14 networks, usual 1 to 2" in told
    assert "Score 0.83, threshold 0.71" in told
    assert "256: stated default, 4 verdicts so far" in told
    assert len(month(company)["anomalies"]["items"]) == 3, "a month has those of all its days"
    assert build(company, LAST - DAY)["findings"][0]["detections"][0]["refs"], "reading them twice loses nothing"


def test_no_anomaly_means_something_only_where_the_model_ran(company: Company) -> None:
    assert "No model has run for 2026-11-23, so that none is shown says nothing." in section(
        build(company), "anomalies"
    )
    judged.write(company, "anomalies", [], LAST, card=json.dumps({"not_evaluated": "9 of 14 usable days"}))
    report = build(company)
    assert "The model could not judge 2026-11-23: 9 of 14 usable days." in section(report, "anomalies")
    assert ("Anomalies", "9 of 14 usable days") in [(row["subject"], row["phrase"]) for row in report["not_judged"]]
    judged.write(company, "anomalies", [], LAST, card=json.dumps(judged.CARD))
    report = build(company)
    assert "No actor had an unusual day." in section(report, "anomalies")
    assert "Anomalies" not in [row["subject"] for row in report["not_judged"]]


def test_people_and_services_are_judged_apart(company: Company) -> None:
    lacking = {"state": "not_evaluated", "why": "9 of 14 usable days of history"}
    judged.write(
        company,
        "anomalies",
        [],
        LAST,
        card=json.dumps({"people": {"state": "evaluated", "actors": 41}, "services": lacking}),
    )
    report = build(company)
    assert "No actor had an unusual day." in section(report, "anomalies")
    assert "actors 41" in section(report, "anomalies")
    assert ("Anomalies", "services: 9 of 14 usable days of history") in [
        (row["subject"], row["phrase"]) for row in report["not_judged"]
    ]
    judged.write(company, "anomalies", [], LAST, card=json.dumps({"people": lacking, "services": lacking}))
    assert build(company)["anomalies"]["state"] == "not_evaluated"


def test_a_period_counts_the_days_that_the_model_judged(company: Company) -> None:
    judged.write(company, "anomalies", [judged.anomaly(LAST, "bob")], LAST, card=json.dumps(judged.CARD))
    judged.write(company, "anomalies", [], LAST - DAY, card=json.dumps({"not_evaluated": "too few days"}))
    report = month(company)
    assert "One unusual day of actors; the model judged 1 of 23 days." in section(report, "anomalies")
    (row,) = [one for one in report["not_judged"] if one["subject"] == "Anomalies"]
    assert (row["phrase"], row["detail"]) == ("not evaluated on 22 of 23 days", ["11-01 to 11-22"])


def test_rules_that_could_not_judge_are_one_line_with_their_reasons(company: Company) -> None:
    why = "source linux_edge was not collected"
    rows = [judged.rule_state(LAST, f"rule_{i}", "not_evaluated", why) for i in range(20)]
    rows += [
        judged.rule_state(LAST, "dormant", "not_evaluated", "18 of 30 days of history"),
        judged.rule_state(LAST, "ran", "evaluated"),
        judged.rule_state(LAST, "other", "not_applicable"),
    ]
    judged.write(company, "rule_states", rows, LAST)
    (row,) = [one for one in build(company)["not_judged"] if one["kind"] == "detector"]
    assert (row["subject"], row["phrase"]) == ("21 rules", f"21 of 22 not evaluated: {why}, and one more reason")
    assert [line.partition(":")[0] for line in row["detail"]] == [why, "18 of 30 days of history"]
    judged.write(company, "rule_states", rows[-2:], LAST)
    assert not [one for one in build(company)["not_judged"] if one["kind"] == "detector"]


# evidence, editions, privacy ----------------------------------------------------------------------------------------------


def test_a_rule_that_lacks_what_it_needs_is_named_and_alone_changes_no_state(good_company: Company) -> None:
    assert build(good_company)["state"] == "good"
    rows = [judged.rule_state(LAST, f"rule_{i}", "not_evaluated", f"no event has column {i}") for i in range(6)]
    judged.write(good_company, "rule_states", rows, LAST)
    report = build(good_company)
    assert report["state"] == "good"
    assert "6 of 6 not evaluated: no event has column 0, and five more reasons" in section(report, "sources")
    assert "first 4 of 6" in section(report, "sources")
    broken = {**rows[0], "rule_version": None, "title": "x.yml"}
    judged.write(good_company, "rule_states", [broken, *rows[1:]], LAST)
    assert [row["subject"] for row in build(good_company)["not_judged"]] == ["Five rules"], (
        "what cannot be run is told of once, as an error"
    )


def test_the_head_of_the_decisions_stands_in_page_and_model_as_of_the_day(company: Company) -> None:
    assert "Decisions: none is on record." in section(build(company), "evidence")
    seq = propose(company, MARA, "Retries")
    head = decisions.head(company.engine, company.settings.as_of(LAST))
    decide(company, MARA, "comment", LAST + DAY, "ana")
    report = build(company)
    assert report["evidence"]["decisions"] == {"seq": seq + 1, "hash": head[1]}
    assert head[1] in section(report, "evidence")


def test_a_fix_judged_otherwise_is_a_correction_and_an_older_model_is_none(company: Company) -> None:
    seq = propose(company, MARA, "Retries")
    judged.write(company, "effects", [judged.effect(finding(MARA), seq, "pending")], LAST)
    before = build(company)
    judged.write(company, "effects", [judged.effect(finding(MARA), seq, "verified")], LAST)
    after = build(company)
    (row,) = [one for one in differences.between(before, after) if one["part"] == "effect"]
    assert (row["from"], row["to"]) == ("fix pending", "fix verified")
    assert editions.printed(before) != editions.printed(after)
    old = {
        name: value
        for name, value in before.items()
        if name not in ("effects", "releases", "anomalies", "set_aside", "budget")
    }
    assert [one for one in differences.between(old, after) if one["part"] == "effect"] == []


def test_a_newer_form_of_the_report_corrects_no_number(company: Company) -> None:
    report = build(company)
    old = {
        name: value
        for name, value in report.items()
        if name not in ("effects", "releases", "anomalies", "set_aside", "budget")
    }
    old = {
        **old,
        "v": 1,
        "findings": [{**row, "shown": None, "n": row["n"]} for row in report["findings"]],
        "decisions": [],
    }
    day = LAST.isoformat()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "render", lambda _: "<p>")
        patch.setattr(tables, "csv_files", lambda _: {})
        editions.publish(company.lake, "daily", day, old, clock=company.clock)
    again = editions.publish(company.lake, "daily", day, report, clock=company.clock)
    assert (again.number, again.report["corrects"]) == (2, {"edition": 1, "changed": []})
    report["findings"][0]["n"] += 1
    third = editions.publish(company.lake, "daily", day, {**report, "v": 3}, clock=company.clock)
    assert third.report["corrects"] == {"edition": 2, "changed": ["findings"]}


def test_effects_stand_in_the_csv_with_releases(company: Company) -> None:
    rows = [
        judged.effect(finding(MARA), propose(company, MARA, "=1+1"), "verified"),
        *judged.release("shop", "2", LAST, ("worse", "worse")),
    ]
    judged.write(company, "effects", rows, LAST)
    lines = tables.csv_files(build(company))["effects.csv"].decode().splitlines()
    assert len(lines) == 4
    assert "'=1+1" in lines[1]
    assert [line.partition(",")[0] for line in lines[1:]] == ["remediation", "release", "release"]


def test_nobody_of_the_new_parts_is_named_under_pseudonyms(company: Company, change: Change) -> None:
    seq = propose(company, MARA, f"Train {MARA} and zoe.keller")
    decide(company, "svc-backup", "accept", LAST, "zoe.keller", approver="boss.person", expires="2027-01-01")
    rows = [judged.effect(finding(MARA), seq, "verified", reason=f"{MARA} was on leave")]
    judged.write(company, "effects", rows, LAST)
    judged.write(company, "anomalies", [judged.anomaly(LAST, "bob.marsh")], LAST, card=json.dumps({"why": "none"}))
    change({"mara": {"approved_by": "zoe.keller", "approval": "signed", "fix": json.dumps({"fix": f"Train {MARA}"}), "x_actor": MARA}, "svc-backup": {"state": "accepted", "expires_at": at(LAST + 60 * DAY, "00:00")}})  # fmt: skip
    report = pseudonyms.hide(build(company), b"k" * 32)
    printed = (
        page.render(report) + json.dumps(report) + "".join(one.decode() for one in tables.csv_files(report).values())
    )
    for name in (MARA, "zoe.keller", "boss.person", "bob.marsh"):
        assert name in page.render(build(company)), "it stands there without pseudonyms"
        assert name not in printed


def test_names_that_explain_a_kpi_are_hidden_too(company: Company) -> None:
    rows = [{"user_name": "zed.only", "n": 3, "what": "plain words"}]
    judged.write(company, "kpis", [], LAST, kpi_details=json.dumps({"lag": rows}))
    report = build(company)
    assert "zed.only" in shown(report)
    hidden = pseudonyms.hide(report, b"k" * 32)
    assert "zed.only" not in shown(hidden) + json.dumps(hidden)
    assert "plain words" in shown(hidden)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_hostile_text_in_the_new_parts_is_inert(company: Company, change: Change, payload: str) -> None:
    seq = propose(company, MARA, payload)
    effect = judged.effect(
        finding(MARA), seq, "inconclusive", reason=payload, scope=payload, left_out=[{"day": LAST, "reason": payload}]
    )
    judged.write(company, "effects", [effect, *judged.release(payload, payload, LAST, ("worse", "worse"))], LAST)
    judged.write(company, "anomalies", [judged.anomaly(LAST, payload)], LAST, card=json.dumps({payload: payload}))
    judged.write(company, "rule_states", [judged.rule_state(LAST, payload, "not_evaluated", payload)], LAST)
    text_columns = {
        "held_back": payload,
        "risk_terms": payload,
        "risk": 1.0,
        "approved_by": payload,
        "approval": "signed",
    }
    change({"svc-backup": text_columns, "mara": {**text_columns, "shown": False}})
    report = build(company)
    assert Page(page.render(report)).faults == []


def test_ninety_days_with_effects_releases_and_anomalies_fit(company: Company, change: Change) -> None:
    rows = [
        judged.effect(
            finding(MARA),
            propose(company, MARA, "Retries with a budget"),
            "inconclusive",
            reason="9 more whole days would decide it " * 5,
        )
    ]
    judged.write(company, "effects", [*rows, *judged.release("checkout", "26.45.0", LAST, ("worse", "worse"))], LAST)
    judged.write(
        company,
        "anomalies",
        [judged.anomaly(LAST, f"actor {i}") for i in range(40)],
        LAST,
        card=json.dumps(judged.CARD),
    )
    change(
        {
            "actor": {
                "risk": 41.0,
                "risk_terms": " · ".join(f"term {i} +{i}" for i in range(8)),
                "approval": "signed",
                "approved_by": "ben",
            }
        }
    )
    large = grown(build(company), days=90, sources=20, findings=50, kpis=19)
    started = time.process_time()
    html = page.render(large)
    assert time.process_time() - started <= 1.5
    assert Page(html).faults == []
    assert len(html.encode()) <= 500_000
    assert "First 10 of 40" in " ".join(page.plain(html).split())
    assert html.count('<article class="effect"') == page.EFFECTS, "the rest of 25 stands in a table"
    assert html.count('class="e-change"') == page.EFFECTS


def test_the_first_screen_stays_short_with_all_of_it(company: Company, change: Change) -> None:
    seqs = [propose(company, actor, "Retries with a budget") for actor in (MARA, "svc-backup")]
    rows = [
        judged.effect(finding(actor), seq, verdict)
        for actor, seq, verdict in zip((MARA, "svc-backup"), seqs, ("verified", "ineffective"), strict=True)
    ]
    judged.write(company, "effects", rows, LAST)
    first = page.render(build(company)).partition('<nav aria-label="Sections">')[0].partition('<main id="main">')[2]
    assert text.words(page.plain(first)) <= page.WORDS_FIRST_SCREEN


@pytest.mark.slow
def test_nobody_is_left_out_of_the_new_parts(company: Company, change: Change) -> None:
    from axe_playwright_python.sync_playwright import Axe

    verdicts = {MARA: "verified", "svc-backup": "pending"}
    rows = [judged.effect(finding(name), propose(company, name, "Retries"), one) for name, one in verdicts.items()]
    judged.write(company, "effects", [*rows, *judged.release("checkout", "2", LAST, ("worse", "no_change_seen"))], LAST)
    judged.write(company, "anomalies", [judged.anomaly(LAST, "bob")], LAST, card=json.dumps(judged.CARD))
    change(
        {
            "svc-backup": {"x_actor_kind": "service", "risk": 4.0},
            "mara": {"shown": False, "held_back": "over the ceiling"},
        }
    )
    file = company.settings.root / "page.html"
    file.write_text(page.render(build(company)), encoding="utf-8")
    with chromium() as browser:
        for scheme in ("light", "dark"):
            tab = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme, bypass_csp=True)
            tab.goto(file.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= 391
            found = Axe().run(tab).response["violations"]
            assert [(one["id"], [node["html"][:160] for node in one["nodes"]][:3]) for one in found] == []
            tab.close()


# periods ------------------------------------------------------------------------------------------------------------------


def test_the_way_of_findings_is_counted_by_when_steps_were_taken(company: Company, change: Change) -> None:
    change({
        "svc-backup": {"acknowledged_at": at(LAST - 3 * DAY, "09:00"), "proposed_at": at(LAST - 2 * DAY, "09:00"), "approved_at": at(LAST, "09:00"), "implemented_at": at(LAST + 5 * DAY, "09:00")},
    })  # fmt: skip
    report = month(company)
    funnel = {row["step"]: (row["in_period"], row["of_opened"]) for row in report["life"]["funnel"]}
    opened = len(report["findings"])
    assert funnel["opened"] == (opened, opened)
    assert [funnel[step][0] for step in ("acknowledged", "proposed", "approved", "implemented", "verified")] == [
        1,
        1,
        1,
        0,
        0,
    ]
    assert f"proposed 1 1 of {opened}" in section(report, "life")


def test_a_month_tells_of_its_effects_and_anomalies(company: Company) -> None:
    seq = propose(company, MARA, "Retries")
    judged.write(
        company,
        "effects",
        [
            judged.effect(
                finding(MARA), seq, "verified", decision_date=LAST - 4 * DAY, as_of=at(LAST - 3 * DAY, "03:00")
            )
        ],
        LAST - 4 * DAY,
    )
    report = month(company)
    assert report["effects"][0]["judged_today"], "judged within the month"
    assert "one fix worked" in report["verdict"]
    assert "one fix worked" not in build(company)["verdict"], "it was not judged on the last day"
    assert Page(page.render(report)).faults == []


# controls -----------------------------------------------------------------------------------------------------------------


def control(company: Company, check: str) -> tuple[str, str]:
    """State of a control that rests on one check, and why."""
    own(company, check)
    declare(company, {"ours": {"systems": ["cloudtrail_prod"], **SCOPE}})
    [row] = rows_of(month(company))
    reasons = row["checks"][0]["why"]
    return row["state"], reasons[0]["why"] if reasons else ""


@pytest.mark.parametrize(
    ("approvals", "state", "why"),
    [
        ([], "not_evaluated", "no fix was put in place in the period"),
        (["signed", "signed"], "operated", ""),
        (["signed", "asserted"], "not_evaluated", "1 of 2 approvals are asserted, not signed"),
        (["self-approved", "asserted"], "not_operated", "of 2 fixes 1 approved by who proposed them"),
        ([None], "not_operated", "of 1 fixes 1 without an approval"),
    ],
    ids=["none", "signed", "asserted", "alone", "without"],
)
def test_a_change_counts_as_approved_by_two_signatures_alone(
    company: Company, change: Change, approvals: list[str | None], state: str, why: str
) -> None:
    names = [MARA, "svc-backup"]
    change(
        {
            name: {"approval": one, "implemented_at": at(LAST - DAY, "09:00")}
            for name, one in zip(names, approvals, strict=False)
        }
    )
    assert control(company, "change_approval") == (state, why)


def test_a_change_of_another_month_does_not_count(company: Company, change: Change) -> None:
    change(
        {
            MARA: {"approval": "signed", "implemented_at": at(dt.date(2026, 10, 31), "23:59")},
            "svc-backup": {"approval": "signed", "implemented_at": at(LAST + DAY, "02:00")},
        }
    )
    assert control(company, "change_approval")[0] == "not_evaluated"


@pytest.mark.parametrize(
    ("verdicts", "state", "why"),
    [
        ((), "not_evaluated", "no fix had its decision date in the period"),
        (("verified", "ineffective"), "operated", ""),
        (("verified", "inconclusive"), "not_evaluated", "1 of 2 fixes could not be judged: inconclusive"),
        (("pending", "inconclusive"), "not_operated", "1 of 2 fixes were not judged on their date"),
    ],
    ids=["none", "judged", "unclear", "late"],
)
def test_a_fix_counts_as_seen_through_when_it_was_judged_on_its_date(
    company: Company, verdicts: tuple[str, ...], state: str, why: str
) -> None:
    rows = [
        judged.effect(finding(name), propose(company, name, "Retries"), one, decision_date=LAST)
        for name, one in zip((MARA, "svc-backup"), verdicts, strict=False)
    ]
    judged.write(company, "effects", rows, LAST)
    assert control(company, "fix_effect") == (state, why)


def test_a_rule_that_could_not_judge_a_day_does_not_watch_it(company: Company) -> None:
    own(company, "rule_watches:t1110")
    declare(company, {"ours": {"systems": ["cloudtrail_prod"], **SCOPE}})
    assert rows_of(month(company))[0]["state"] == "operated", "of days without the table nothing else is known"
    rules = sorted(load(company.settings)[0], key=lambda rule: rule.title != "Burst of failed sign-ins")
    states = [judged.rule_state(LAST, rule.id, "not_evaluated", "no sign-in was seen") for rule in rules]
    judged.write(company, "rule_states", states, LAST)
    [row] = rows_of(month(company))
    assert row["days"]["not_evaluated"] == [LAST.isoformat()]
    assert row["checks"][0]["why"][0]["why"] == "no rule for it could judge: no sign-in was seen"
    judged.write(company, "rule_states", [judged.rule_state(LAST, rules[0].id, "evaluated"), *states[1:]], LAST)
    assert rows_of(month(company))[0]["state"] == "operated", "one of them is enough"
