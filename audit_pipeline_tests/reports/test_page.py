"""The page: well formed, self-contained, inert, readable at first sight, small."""

from __future__ import annotations

import copy
import itertools
import re
import time
from typing import Any

import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.reports import page, tables, text
from audit_pipeline.reports.model import build_daily
from audit_pipeline_tests.reports.company import LAST, PAYLOADS, Company, detection
from audit_pipeline_tests.reports.html_check import Page
from audit_pipeline_tests.reports.large import grown

Report = dict[str, Any]


def test_the_page_is_well_formed_and_self_contained(report: Report) -> None:
    html = page.render(report)
    read = Page(html)
    assert read.faults == []
    assert read.policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"url\(|@import|<script|http-equiv=.refresh", html)
    assert "https://audit.example.com" not in html


def test_headings_come_in_order_and_there_is_one_title(report: Report) -> None:
    headings = Page(page.render(report)).headings
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


def test_every_table_has_a_caption(report: Report) -> None:
    tables = Page(page.render(report)).tables
    assert tables["table"] == tables["caption"] > 8


def test_dark_print_and_narrow_screens_have_their_style(report: Report) -> None:
    html = page.render(report)
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html
    assert "max-width:640px" in html


def test_hostile_names_are_shown_and_inert(report: Report) -> None:
    html = page.render(report)
    read = Page(html)
    assert read.faults == []
    for payload in PAYLOADS.values():
        printable = "".join(letter if letter.isprintable() else "�" for letter in payload)
        assert " ".join(text.visible(printable, 100).split()) in read.text, "shown, not swallowed"
    assert "49" not in re.findall(r"sign-ins for (\d+) ", read.text), "a template in a log is not run"


def test_the_check_sees_what_escaping_prevents(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without autoescape the same report is a page that the tests above refuse."""
    careless = page.environment(page._HERE, autoescape=False)
    monkeypatch.setattr(page, "_environment", lambda: careless)
    faults = Page(page.render(report)).faults
    assert "element <script>" in faults
    assert any("onerror" in fault for fault in faults)


def test_what_a_template_forgets_is_made_visible_too() -> None:
    template = page.environment(page._HERE).from_string("{{ text }}|{{ number }}")
    assert template.render(text="<b>\x1b\u202e", number=5) == "&lt;b&gt;␛\\u202e|5"
    assert len(template.render(text="x" * 10_000, number=5)) < 700


def test_no_link_leads_where_a_log_says(report: Report) -> None:
    read = Page(page.render(report))
    assert read.hrefs
    assert all(href.startswith("#") for href in read.hrefs)


def test_the_first_screen_is_short(report: Report, company: Company) -> None:
    many = copy.deepcopy(report)
    many["not_judged"] = many["not_judged"] * 9
    many["sources"] = [{**source, "name": f"{source['name']}_{i}"} for i in range(20) for source in many["sources"]]
    for case in (report, many):
        first = page.render(case).partition('<nav aria-label="Sections">')[0].partition('<main id="main">')[2]
        assert 40 < text.words(page.plain(first)) <= page.WORDS_FIRST_SCREEN


def test_what_is_left_out_is_counted(company: Company) -> None:
    company.write("detections", [detection(LAST, f"actor-{i}", n=10 + i) for i in range(45)], LAST)
    report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    read = Page(page.render({**report, "edition": 1, "corrects": None}))
    assert read.faults == []
    assert "First 30 of 46, the most urgent first; all in findings.csv" in read.text
    assert read.text.count("audit-pipeline findings show") == 30


def test_a_large_hostile_company_stays_under_half_a_megabyte(company: Company) -> None:
    name = "<b>&\u202e" * 1_000
    rows = [detection(LAST, f"{i}{name}", n=30) for i in range(300)]
    company.write("detections", rows, LAST)
    report = {
        **build_daily(company.settings, company.lake, company.engine, LAST, company.clock),
        "edition": 1,
        "corrects": None,
    }
    report["sources"] = [{**source, "name": f"{source['name']}_{i}"} for i in range(40) for source in report["sources"]]
    report["failures"] = [{**report["failures"][0], "detail": name} for _ in range(500)]
    report["not_judged"] = [{**report["not_judged"][0], "detail": [name] * 5} for _ in range(120)]
    html = page.render(report)
    assert Page(html).faults == []
    assert len(html.encode()) < 500_000


def test_no_data_is_never_a_zero(report: Report) -> None:
    read = Page(page.render(report))
    assert read.text.count("Lag no data nothing counted") == 2, "on the first screen and among the KPIs"
    assert "Lag no data nothing counted No data for 2026-11-23" in read.text
    assert re.search(r"2026-11-16 no data nothing counted not computed", read.text), "the day that nobody computed"
    assert "2026-11-16 not computed no data" in read.text
    assert "2026-11-15 missing 0" in read.text, "a missing day has counted events: none"


def test_a_simulated_clock_is_said_plainly(company: Company, report: Report) -> None:
    assert "<title>SIMULATED: Audit logs 2026-11-23" in page.render(report)
    assert Page(page.render(report)).text.count("imulated clock, not evidence") >= 3
    real = page.render({**report, "clock_note": None})
    assert "SIMULATED" not in real
    assert "not evidence" not in real


def test_a_day_without_rules_is_not_a_quiet_day(company: Company) -> None:
    day = LAST + DAY
    report = build_daily(company.settings, company.lake, company.engine, day, company.clock)
    shown = Page(page.render({**report, "edition": 1, "corrects": None})).text
    assert report["state"] != "good"
    assert "No rule has run for this day" in shown
    assert "0 of 3 judged whole" in shown


def test_a_good_day_says_so_with_its_numbers(good_company: Company) -> None:
    company = good_company
    report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    read = Page(page.render({**report, "edition": 1, "corrects": None}))
    assert report["verdict"] == "Nothing waits for a decision, and all three sources were judged whole."
    assert read.faults == []
    assert "Nothing: 3 of 3 sources whole." in read.text
    assert "None on record in 14 days." in read.text


def test_the_same_report_gives_the_same_bytes(report: Report) -> None:
    assert page.render(copy.deepcopy(report)) == page.render(report)


def test_ninety_days_of_twenty_sources_and_fifty_findings_fit(report: Report) -> None:
    large = grown(report, days=90, sources=20, findings=50, kpis=19)
    started = time.process_time()
    html = page.render(large)
    spent = time.process_time() - started
    read = Page(html)
    assert read.faults == []
    assert len(html.encode()) <= 500_000
    assert spent <= 1.5
    assert "First 30 of 50, the most urgent first" in read.text
    assert "newest 18 of 90, all in sources.csv" in read.text
    assert "newest 15 of 90, all in kpis.csv" in read.text
    rows = tables.csv_files({**large, "edition": 1})
    assert rows["sources.csv"].count(b"\r\n") == 1 + 20 * 90, "what the page leaves out stands in the CSV"


def test_kpis_stand_four_as_cards_and_the_rest_by_group(report: Report) -> None:
    large = grown(report, days=14, sources=3, findings=3, kpis=19)
    html = page.render(large)
    assert html.count('<article class="kpi"') == 4
    assert re.findall(r'<h3 id="kpis-(\w+)">', html) == ["security", "reliability", "changes", "response", "logging"]
    assert [f'id="kpi-kpi_{i}"' in html for i in range(19)] == [True] * 19
    strange = grown(report, days=14, sources=3, findings=3, kpis=6)
    strange["kpis"][5]["group"] = "own"
    assert 'id="kpis-own"' in page.render(strange), "a group that we do not know is shown too"


def test_every_count_has_a_way_to_its_events(report: Report) -> None:
    read = Page(page.render(report)).text
    for kpi in report["kpis"]:
        assert f"audit-pipeline kpi explain {kpi['id']} --date 2026-11-23" in read
    for source in report["sources"]:
        assert f"WHERE x_source = '{source['name']}' AND day = DATE '2026-11-23'" in read
    for finding in report["findings"]:
        assert f"audit-pipeline findings show {finding['finding_id'][:12]}" in read
