"""The weekly and the monthly report: which days they hold, sums that agree with a recount, reviews, privacy, editions, the page."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from click.testing import CliRunner

from audit_pipeline.cli import main
from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.errors import UserError
from audit_pipeline.lake.views import connect
from audit_pipeline.reports import page, text
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.model import encode
from audit_pipeline.reports.monthly import publish_monthly
from audit_pipeline.reports.periodic import build_periodic
from audit_pipeline.reports.periods import Period
from audit_pipeline.reports.weekly import publish_weekly
from audit_pipeline_tests.reports.company import CONFIG, FIRST, LAST, Company
from audit_pipeline_tests.reports.html_check import Page

Report = dict[str, Any]
WEEK = dt.date(2026, 11, 16)


def clock(company: Company, day: dt.date) -> SimulatedClock:
    return SimulatedClock(company.settings.as_of(day))


def weekly(company: Company, until: dt.date = WEEK + 6 * DAY) -> Report:
    return build_periodic(
        company.settings, company.lake, company.engine, Period.of("weekly", WEEK), clock(company, until)
    )


@pytest.mark.parametrize(
    ("kind", "day", "name", "first", "last"),
    [
        ("weekly", "2026-11-22", "2026-W47", "2026-11-16", "2026-11-22"),
        ("weekly", "2027-01-01", "2026-W53", "2026-12-28", "2027-01-03"),
        ("weekly", "2024-12-30", "2025-W01", "2024-12-30", "2025-01-05"),
        ("monthly", "2028-02-29", "2028-02", "2028-02-01", "2028-02-29"),
        ("monthly", "2026-12-31", "2026-12", "2026-12-01", "2026-12-31"),
    ],
)
def test_a_period_is_the_iso_week_or_the_month_that_holds_the_day(
    kind: Any, day: str, name: str, first: str, last: str
) -> None:
    found = Period.of(kind, dt.date.fromisoformat(day))
    assert (found.name, found.first.isoformat(), found.last.isoformat()) == (name, first, last)
    assert found.following.first == found.last + DAY


def test_a_week_holds_its_seven_days_and_nothing_later(company: Company) -> None:
    report = weekly(company)
    assert report["days"] == [(WEEK + DAY * step).isoformat() for step in range(7)]
    assert report["as_of"] == "2026-11-23T03:00:00Z"
    assert all(day["day"] <= "2026-11-22" for row in report["sources"] for day in row["days"])
    assert "mara.lindqvist" not in json.dumps(report), "her burst was on the Monday after"


def test_days_to_come_are_not_told_as_missing(company: Company) -> None:
    report = weekly(company, until=WEEK + 2 * DAY)
    assert len(report["days"]) == 3
    assert report["days_to_come"] == 4
    with pytest.raises(UserError, match="none of its days can be told yet"):
        weekly(company, until=WEEK - DAY)


def test_sums_agree_with_a_recount(company: Company) -> None:
    report = weekly(company)
    with connect(company.lake, since=WEEK, until=WEEK + 6 * DAY, tables=["completeness"]) as con:
        counted = dict(con.sql("SELECT source, sum(events) FROM completeness GROUP BY source").fetchall())
        whole = dict(
            con.sql(
                "SELECT source, count(*) FILTER (verdict IN ('proven', 'no_gap_seen')) FROM completeness GROUP BY source"
            ).fetchall()
        )
    assert {row["name"]: row["today"]["events"] for row in report["sources"]} == counted
    assert {row["name"]: row["whole_days"] for row in report["sources"]} == whole
    edge = next(row for row in report["sources"] if row["name"] == "linux_edge")
    assert edge["tally"] == {"not_computed": 1, "no_gap_seen": 6}
    assert edge["today"]["verdict"] == "not_computed"


def test_what_was_not_whole_is_named_with_its_days(company: Company) -> None:
    named = {row["subject"]: row for row in weekly(company)["not_judged"]}
    assert named["linux_edge"]["phrase"] == "whole on 6 of 7 days"
    assert named["linux_edge"]["detail"] == ["not computed: 11-16"]
    assert "payments_db" not in named, "its silence was on the Monday after"


def test_findings_are_counted_by_when_things_happened(company: Company) -> None:
    life = weekly(company)["life"]
    assert (life["open_before"], life["opened"], life["closed"], life["open"], life["overdue"]) == (0, 1, 0, 1, 1)
    assert [row["open"] for row in life["by_age"]] == [1, 0, 0, 0]
    assert (life["due"], life["acknowledged_late"]) == (1, 1)
    after = build_periodic(
        company.settings, company.lake, company.engine, Period.of("weekly", LAST), clock(company, LAST)
    )
    assert after["life"]["open_before"] == 1
    assert after["life"]["opened"] == 12
    assert len(after["changes"]["new"]) == 12


def test_reviews_and_editions_of_the_days_stand_in_it(company: Company) -> None:
    for day in (WEEK, WEEK + DAY):
        publish_daily(company.settings, company.lake, day, clock(company, day))
    publish_daily(company.settings, company.lake, WEEK + 2 * DAY, clock(company, WEEK + 5 * DAY))
    report = weekly(company)
    assert [row["state"] for row in report["reviews"]] == [
        "missed",
        "missed",
        "missed",
        "missed",
        "missed",
        "missed",
        None,
    ]
    assert [row["edition"] for row in report["reported"]] == [1, 1, 1, None, None, None, None]
    assert report["state"] == "bad", (
        "nobody got the reports: the configuration has recipients and nothing was delivered"
    )
    assert report["reported"][0]["root"] is not None
    assert report["reported"][3]["root"] is None


def test_a_month_shows_people_as_configured(company: Company) -> None:
    month = publish_monthly(company.settings, company.lake, LAST, company.clock)
    printed = json.dumps(month.report) + "".join(
        company.lake.read(f"{month.folder}/{name}").decode()
        for name in company.lake.names(month.folder)
        if name != "manifest.json"
    )
    assert month.report["method"]["people"]["page"] == "pseudonyms"
    assert "mara.lindqvist" not in printed
    assert "user-" in printed
    week = publish_weekly(company.settings, company.lake, LAST, company.clock)
    assert "mara.lindqvist" in json.dumps(week.report), "the week follows privacy.page"


def test_a_period_is_published_once_until_something_printed_changes(company: Company) -> None:
    until = clock(company, WEEK + 6 * DAY)
    first = publish_weekly(company.settings, company.lake, WEEK + 3 * DAY, until)
    assert (first.folder, first.new) == ("reports/weekly/2026-W47/1", True)
    assert not publish_weekly(company.settings, company.lake, WEEK, until).new
    assert company.lake.names(first.folder) == [
        "access.csv", "corrections.csv", "effects.csv", "findings.csv", "kpis.csv", "manifest.json", "report.html", "report.json", "reviews.csv", "sources.csv",
    ]  # fmt: skip
    publish_daily(company.settings, company.lake, WEEK, until)
    second = publish_weekly(company.settings, company.lake, WEEK, until)
    assert (second.number, second.report["corrects"]["edition"]) == (2, 1)


def test_the_pages_are_whole_and_say_what_they_are(company: Company) -> None:
    for publish, name in ((publish_weekly, "2026-W48"), (publish_monthly, "2026-11")):
        edition = publish(company.settings, company.lake, LAST, company.clock)
        html = company.lake.read(f"{edition.folder}/report.html").decode()
        read = Page(html)
        assert read.faults == []
        assert name in read.text
        assert read.tables["table"] == read.tables["caption"] > 5
        first = html.partition('<nav aria-label="Sections">')[0].partition('<main id="main">')[2]
        assert 40 < text.words(page.plain(first)) <= page.WORDS_FIRST_SCREEN


def test_a_lake_of_good_days_makes_a_good_week(good_company: Company) -> None:
    company = good_company
    company.settings.reports.daily.to.clear()
    days = [WEEK + DAY * step for step in range(7)]
    for day in days:
        publish_daily(company.settings, company.lake, day, clock(company, day))
    report = weekly(company)
    assert [row["state"] for row in report["reviews"]] == ["on_time"] * 7
    assert report["state"] == "good"
    assert report["verdict"] == (
        "No findings opened and none closed, nothing waits for a decision, and all three sources were whole on all seven days."
    )
    assert report["kpis"][0]["today"]["days_used"] == 7
    assert FIRST < WEEK


def test_the_same_lake_gives_the_same_report_whenever_it_is_built(company: Company) -> None:
    for kind in ("weekly", "monthly"):
        period = Period.of(kind, dt.date(2026, 11, 16))
        made = [
            encode(build_periodic(company.settings, company.lake, company.engine, period, clock(company, period.last + wait * DAY)))
            for wait in (0, 40)
        ]  # fmt: skip
        assert made[0] == made[1]


def test_the_command_publishes_and_writes_the_mail(company: Company) -> None:
    root = company.settings.root
    (root / "pipeline.yaml").write_text(CONFIG.format(clock="simulated"))
    for kind, name in (("weekly", "2026-W48"), ("monthly", "2026-11")):
        done = CliRunner().invoke(main, ["-c", str(root / "pipeline.yaml"), "report", kind, "--date", "2026-11-23"])
        assert done.exit_code == 0, done.output
        folder = root / "lake" / "reports" / kind / name / "1"
        assert f"edition 1: {folder}/report.html" in done.output
        assert (folder / "mail" / "all.eml").read_bytes().startswith(b"From:")
    none = CliRunner().invoke(main, ["-c", str(root / "pipeline.yaml"), "report", "monthly", "--date", "2026-09-02"])
    assert none.exit_code == 1
    assert "report monthly 2026-09: no run has computed any of its days (2026-09-01 to 2026-09-30)" in none.output
