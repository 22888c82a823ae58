"""Report section S16: who may do what to logs, in words that are true of the snapshot, with everybody's text inert."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.access import snapshot
from audit_pipeline.clock import DAY
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry
from audit_pipeline.reports import page, tables
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.model import build_daily
from audit_pipeline.settings import Settings
from audit_pipeline_tests.access.world import approval
from audit_pipeline_tests.reports.company import CONFIG, LAST, PAYLOADS, SOURCES, Company
from audit_pipeline_tests.reports.html_check import Page
from audit_pipeline_tests.reports.test_controls import SCOPE, counts, declare, month, own, rows_of

Grants = list[list[str]]
AUDITOR, EVE = ["role:auditor", "read", "role auditor"], ["user:eve.adams", "delete", "role superuser"]


def keep(company: Company, source: str, day: dt.date, **request: Any) -> None:
    sequence = len(manifest.sequences(company.lake, source)) + 1
    when = company.settings.as_of(day).isoformat().replace("+00:00", "Z")
    manifest.append(company.lake, Entry(source=source, sequence=sequence, collected_at=when, clock="simulated", request={"day": day.isoformat(), **request}))  # fmt: skip


def listed(company: Company, *lines: dict[str, Any], more: str = "") -> None:
    root = company.settings.root
    (root / "approved.yaml").write_text(yaml.safe_dump(list(lines)))
    text = CONFIG.format(clock="simulated") + "approved_access: approved.yaml\n" + more
    company.settings = Settings.from_text(text, root / "pipeline.yaml")


def days(company: Company, *grants: Grants) -> None:
    """Snapshots of the last days, the last one last, and their tables."""
    for back, found in zip(range(len(grants) - 1, -1, -1), grants, strict=True):
        keep(company, "payments_db", LAST - back * DAY, access=found)
        snapshot.review(company.settings, company.lake, LAST - back * DAY)


def section(company: Company) -> str:
    edition = publish_daily(company.settings, company.lake, LAST, company.clock)
    html = company.lake.read(f"{edition.folder}/report.html").decode()
    assert Page(html).faults == []
    return page.plain(html.partition('aria-labelledby="access"')[2].partition("</section>")[0])


def test_a_day_on_which_no_source_tells_has_no_section(company: Company) -> None:
    snapshot.review(company.settings, company.lake, LAST)
    report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    assert "access" not in report
    assert "access" not in [name for name, _ in page.sections(report)]
    assert "access.csv" not in tables.csv_files(report | {"edition": 1})


def test_unapproved_and_new_rights_come_first_and_what_went_is_counted(company: Company) -> None:
    listed(company, approval("role:*", "read", until=LAST))
    days(company, [AUDITOR, ["role:ops", "write", "x"]], [AUDITOR, EVE])
    read = section(company)
    assert (
        "One of three sources shows who may do what to its logs. One principal has rights that nobody approved." in read
    )
    assert f"One principal with a new right and one right gone since {LAST - DAY}" in read
    assert read.index("user:eve.adams") < read.index("role:auditor")
    assert "does not show it" in read


def test_a_refusal_is_told_with_what_to_ask_for_and_no_number(company: Company) -> None:
    keep(company, "payments_db", LAST, access_refused="Ask for the cluster privilege read_security.")
    snapshot.review(company.settings, company.lake, LAST)
    read = section(company)
    assert "None of three sources show" in read
    assert f"refused on {LAST}: Ask for the cluster privilege read_security." in read


def test_without_a_list_nobody_is_counted_as_approved_or_not(company: Company) -> None:
    days(company, [AUDITOR])
    found = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)["access"]
    assert [(row["source"], row["unapproved"]) for row in found["sources"]] == [(name, None) for name in SOURCES]
    assert [row["approved"] for row in found["grants"]] == [None]


def test_hostile_principals_are_inert(company: Company) -> None:
    days(company, [[f"user:{text}", "read", text] for text in PAYLOADS.values()])
    assert "no list" in section(company)


def test_people_are_pseudonyms_where_pages_have_them(company: Company) -> None:
    listed(company, more="privacy: {page: pseudonyms}\n")
    days(company, [AUDITOR, EVE])
    edition = publish_daily(company.settings, company.lake, LAST, company.clock)
    for name in ("report.html", "report.json", "access.csv"):
        text = company.lake.read(f"{edition.folder}/{name}").decode()
        assert "eve.adams" not in text
        assert "role:auditor" in text


@pytest.mark.parametrize(
    ("grants", "approved", "expected"),
    [([AUDITOR], ["role:*"], "operated"), ([AUDITOR, EVE], ["role:*"], "not_operated"), ([AUDITOR], None, "not_evaluated"), (None, ["role:*"], "not_evaluated")],
)  # fmt: skip
def test_the_control_rests_on_snapshot_and_list(company: Company, grants: Grants | None, approved: list[str] | None, expected: str) -> None:  # fmt: skip
    own(company, "permission_review")
    declare(company, {"ours": {"systems": ["payments_db"], **SCOPE}})
    if approved is not None:
        (company.settings.root / "approved.yaml").write_text(yaml.safe_dump([approval(one, "read", until=LAST) for one in approved]))  # fmt: skip
        text = CONFIG.format(clock="simulated") + "scope: scope.yaml\napproved_access: approved.yaml\n"
        company.settings = Settings.from_text(text, company.settings.root / "pipeline.yaml")
    keep(company, "payments_db", LAST, **({"access_refused": "no"} if grants is None else {"access": grants}))
    snapshot.review(company.settings, company.lake, LAST)
    (row,) = rows_of(month(company))
    operated, not_operated, _ = counts(row)
    assert (operated, not_operated) == (int(expected == "operated"), int(expected == "not_operated"))


def test_a_snapshot_of_an_earlier_day_is_no_review_of_this_one(company: Company, tmp_path: Path) -> None:
    own(company, "permission_review")
    declare(company, {"ours": {"systems": ["payments_db"], **SCOPE}})
    keep(company, "payments_db", LAST - 3 * DAY, access=[AUDITOR])
    snapshot.review(company.settings, company.lake, LAST)
    (row,) = rows_of(month(company))
    assert counts(row)[0] == 0
    assert any("last seen on" in why["why"] for check in row["checks"] for why in check["why"])
