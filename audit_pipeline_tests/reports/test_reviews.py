"""The review calendar: a row for every expected day, late where a report came late, and backfilled days never on time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import sqlalchemy as sa

from audit_pipeline import query
from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.reviews import SCHEMA, last_day, reviews
from audit_pipeline.settings import Settings
from audit_pipeline.state import deliveries
from audit_pipeline_tests.reports.company import CONFIG, FIRST, LAST, Company

HOUR = dt.timedelta(hours=1)


def company_of(root: Path, *, start: dt.date = FIRST, mail: bool = False) -> Company:
    company = Company(root)
    text = CONFIG.format(clock="simulated").replace("start: 2026-01-01", f"start: {start}")
    lines = [line for line in text.splitlines() if mail or not line.startswith("smtp:")]
    company.settings = Settings.from_text("\n".join(lines), root / "pipeline.yaml")
    return company


def publish(company: Company, day: dt.date, made: dt.datetime) -> None:
    publish_daily(company.settings, company.lake, day, SimulatedClock(made))


def deliver(company: Company, day: dt.date, moment: dt.datetime | None, outcome: str = "accepted", recipient: str = "a@example.com") -> None:  # fmt: skip
    at = None if moment is None else moment.isoformat()
    with company.engine.begin() as connection:
        connection.execute(
            sa.insert(deliveries).values(
                kind="daily", period=day.isoformat(), edition=1, recipient=recipient, message_id="m", intended_at="i", outcome=outcome, outcome_at=at
            )
        )  # fmt: skip


def states(company: Company, until: dt.date = LAST) -> dict[dt.date, str | None]:
    rows = reviews(company.settings, company.lake, company.engine, until).to_pylist()
    return {row["day"]: row["state"] for row in rows}


def test_every_expected_day_has_a_row_whatever_happened(tmp_path: Path) -> None:
    company = company_of(tmp_path)
    table = reviews(company.settings, company.lake, company.engine, LAST)
    assert table.schema == SCHEMA
    assert table.column("day").to_pylist() == [FIRST + step * DAY for step in range(14)]
    assert set(table.column("kind").to_pylist()) == {"daily"}
    assert table.column("due_at")[0].as_py() == company.settings.as_of(FIRST) + DAY


def test_a_report_within_24_hours_of_the_as_of_is_on_time(tmp_path: Path) -> None:
    company = company_of(tmp_path)
    due = company.settings.as_of(FIRST) + DAY
    publish(company, FIRST, due)
    publish(company, FIRST + DAY, due + DAY + dt.timedelta(seconds=1))
    found = states(company)
    assert (found[FIRST], found[FIRST + DAY], found[FIRST + 2 * DAY]) == ("on_time", "late", "missed")


def test_the_newest_day_is_not_missed_before_it_is_due(tmp_path: Path) -> None:
    company = company_of(tmp_path)
    assert states(company)[LAST] is None
    assert states(company)[LAST - DAY] == "missed"
    assert states(company, LAST + DAY)[LAST] == "missed"


def test_backfilling_thirty_days_gives_thirty_late_and_none_on_time(tmp_path: Path) -> None:
    start = LAST - 29 * DAY
    company = company_of(tmp_path, start=start)
    now = company.settings.as_of(LAST) + 30 * HOUR
    for step in range(30):
        publish(company, start + step * DAY, now)
    assert list(states(company).values()) == ["late"] * 30
    assert list(states(company, LAST + DAY).values()) == ["late"] * 30 + [None]


def test_a_correction_does_not_make_a_review_late(tmp_path: Path) -> None:
    company = company_of(tmp_path)
    publish(company, FIRST, company.settings.as_of(FIRST))
    company.write("kpis", [], FIRST)
    publish(company, FIRST, company.settings.as_of(FIRST) + 9 * DAY)
    assert company.lake.names(f"reports/daily/{FIRST}") == ["1", "2"]
    assert states(company)[FIRST] == "on_time"


def test_where_mail_is_configured_the_report_must_have_reached_somebody(tmp_path: Path) -> None:
    company = company_of(tmp_path, mail=True)
    days = [FIRST + step * DAY for step in range(5)]
    for day in days:
        publish(company, day, company.settings.as_of(day))
    deliver(company, days[0], company.settings.as_of(days[0]) + 30 * HOUR, recipient="late@example.com")
    deliver(company, days[0], company.settings.as_of(days[0]) + HOUR)
    deliver(company, days[1], company.settings.as_of(days[1]) + 30 * HOUR)
    deliver(company, days[2], company.settings.as_of(days[2]), outcome="refused")
    deliver(company, days[3], None, outcome="accepted")
    found = states(company)
    assert [found[day] for day in days] == ["on_time", "late", "missed", "missed", "missed"]


def test_an_edition_that_was_killed_half_way_is_no_review(tmp_path: Path) -> None:
    company = company_of(tmp_path)
    publish(company, FIRST, company.settings.as_of(FIRST))
    company.lake.remove(f"reports/daily/{FIRST}/1/report.json")
    assert states(company)[FIRST] == "missed"


def test_query_sees_the_calendar(tmp_path: Path) -> None:
    company = company_of(tmp_path)
    for step in range(3):
        day = FIRST + step * DAY
        company.write("completeness", [], day)
        publish(company, day, company.settings.as_of(day) + 2 * step * DAY)
    columns, rows = query.run(company.settings, "SELECT day, state FROM reviews ORDER BY day")
    assert (columns, list(rows)) == (
        ["day", "state"],
        [(FIRST, "on_time"), (FIRST + DAY, "late"), (FIRST + 2 * DAY, "late")],
    )
    real = Company(tmp_path, simulated=False).settings
    clock = SimulatedClock(real.as_of(LAST) - dt.timedelta(seconds=1))
    assert last_day(real, company.lake, clock) == LAST - DAY
    assert last_day(real, company.lake, SimulatedClock(real.as_of(LAST))) == LAST
