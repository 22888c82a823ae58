"""Tokens in place of names: stable, complete, and blind to everything that is no name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.reports import editions, page, pseudonyms
from audit_pipeline.reports.model import build_daily
from audit_pipeline.reports.monthly import publish_monthly
from audit_pipeline.reports.weekly import publish_weekly
from audit_pipeline.settings import Settings
from audit_pipeline_tests.reports.company import CONFIG, LAST, Company, detection
from audit_pipeline_tests.reports.html_check import Page

SECRET = b"k" * 32
Report = dict[str, Any]


def test_tokens_are_stable_and_need_the_key() -> None:
    token = pseudonyms.token("mara", SECRET)
    assert token == pseudonyms.token("MARA", SECRET)
    assert token != pseudonyms.token("mara", b"other")
    assert token.startswith("user-")
    assert len(token) == 10
    assert len({pseudonyms.token(f"person-{i}", SECRET) for i in range(2_000)}) == 2_000


def hide(title: str, *people: str) -> str:
    report = {"findings": [{"title": title, "state": "open", "n": 5}], "people": list(people), "state": "bad"}
    hidden = pseudonyms.hide(report, SECRET)
    assert hidden["findings"][0]["state"] == "open"
    assert hidden["state"] == "bad"
    return str(hidden["findings"][0]["title"])


def test_a_name_is_hidden_wherever_a_text_has_it() -> None:
    token = pseudonyms.token("mara", SECRET)
    assert (
        hide("burst for mara, then MARA: mara@example.com", "mara")
        == f"burst for {token}, then {token}: {token}@example.com"
    )
    assert hide("arn:aws:iam::1:user/mara", "mara") == f"arn:aws:iam::1:user/{token}"


def test_the_longest_name_wins_and_parts_of_words_are_no_names() -> None:
    both = hide("for ann.lee and ann", "ann", "ann.lee")
    assert both == f"for {pseudonyms.token('ann.lee', SECRET)} and {pseudonyms.token('ann', SECRET)}"
    assert hide("annual planning", "ann") == "annual planning"


def test_names_that_are_words_of_ours_break_nothing() -> None:
    assert hide("burst for open", "open", "bad", "title") == f"burst for {pseudonyms.token('open', SECRET)}"


def test_names_that_are_patterns_are_taken_literally() -> None:
    assert hide("for .* today", ".*") == f"for {pseudonyms.token('.*', SECRET)} today"
    assert hide("for (a|b today", "(a|b") == f"for {pseudonyms.token('(a|b', SECRET)} today"


def test_a_name_as_a_title_shows_it_is_hidden_too() -> None:
    odd, long = "ma\x1bra\u202ex", "m" * 300
    assert hide("for ma\ufffdra\ufffdx", odd) == f"for {pseudonyms.token(odd, SECRET)}"
    assert hide("for " + "m" * 100 + "…", long) == f"for {pseudonyms.token(long, SECRET)}…"


def test_hiding_twice_changes_nothing(built: Report) -> None:
    once = pseudonyms.hide(built, SECRET)
    assert pseudonyms.hide(once, SECRET) == once


def test_a_page_with_pseudonyms_names_nobody(company: Company, tmp_path: Path) -> None:
    company.write("detections", [detection(LAST, "mara.lindqvist@example.com", n=52)], LAST)
    text = CONFIG.format(clock="simulated") + "privacy: {page: pseudonyms}\n"
    company.settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    report = pseudonyms.published(report, company.settings, company.lake)
    edition = editions.publish(company.lake, "daily", report["period"], report, clock=company.clock)
    for name in ("report.html", "report.json", "findings.csv"):
        stored = company.lake.read(f"{edition.folder}/{name}").decode()
        assert "mara" not in stored
        assert "svc-backup" not in stored
        assert pseudonyms.token("svc-backup", pseudonyms.key(company.settings, company.lake)) in stored
    assert json.loads(company.lake.read(f"{edition.folder}/report.json"))["people"] == []
    again = editions.publish(company.lake, "daily", report["period"], report, clock=company.clock)
    assert (again.number, again.new) == (1, False)


def test_a_page_with_names_shows_them(report: Report) -> None:
    assert "mara.lindqvist@example.com" in Page(page.render(report)).text


def test_a_name_that_may_not_be_printed_keeps_its_own_token() -> None:
    unlisted = "(unlisted name) user-4T2QX"
    assert hide(f"burst for {unlisted}, mara", unlisted, "mara").startswith(f"burst for {unlisted}, user-")


def test_secrets_are_masked_before_anything_is_stored(company: Company) -> None:
    report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    report["sources"][0]["today"]["reasons"] = [
        {"detail": "from https://u:hunter2@host/", "phrase": "token=abc", "code": "rejects"}
    ]
    published = json.dumps(pseudonyms.published(report, company.settings, company.lake))
    assert "hunter2" not in published
    assert "token=(masked)" in published


def test_months_name_nobody_and_weeks_do_unless_asked(company: Company) -> None:
    company.write("detections", [detection(LAST, "mara.lindqvist@example.com", n=52)], LAST)
    for publish, named in ((publish_weekly, True), (publish_monthly, False)):
        edition = publish(company.settings, company.lake, LAST, SimulatedClock(company.settings.as_of(LAST)))
        stored = [company.lake.read(f"{edition.folder}/{name}") for name in company.lake.names(edition.folder)]
        assert any(b"mara" in data for data in stored) == named, edition.kind
