"""Controls: nothing is a pass that nobody evaluated; states by day follow stored facts; data files are sound."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from audit_pipeline.clock import DAY, SimulatedClock, midnight, rfc3339
from audit_pipeline.lake import manifest, merkle
from audit_pipeline.lake.manifest import Entry, Member
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.reports import page
from audit_pipeline.reports.controls import catalogue, checks
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.monthly import publish_monthly
from audit_pipeline.reports.periodic import build_periodic
from audit_pipeline.reports.periods import Period
from audit_pipeline.settings import Settings
from audit_pipeline_tests.reports.company import CONFIG, FIRST, LAST, SOURCES, Company
from audit_pipeline_tests.reports.html_check import Page

Report = dict[str, Any]
SCOPE = {"inventory": "CMDB", "owner": "CISO", "date": "2026-11-01"}


def declare(company: Company, scope: Any, *, smtp: bool = True) -> None:
    """Give the company a scope, and the first day of its lake as `start`."""
    root = company.settings.root
    (root / "scope.yaml").write_text(scope if isinstance(scope, str) else yaml.safe_dump(scope))
    text = CONFIG.format(clock="simulated").replace("start: 2026-01-01", f"start: {FIRST}") + "scope: scope.yaml\n"
    lines = [line for line in text.splitlines() if smtp or not line.startswith("smtp:")]
    company.settings = Settings.from_text("\n".join(lines), root / "pipeline.yaml")


def month(company: Company) -> Report:
    return build_periodic(
        company.settings, company.lake, company.engine, Period.of("monthly", LAST), SimulatedClock(company.settings.as_of(LAST))
    )  # fmt: skip


def rows(report: Report, framework: str) -> dict[str, Report]:
    found = next(one for one in report["controls"]["frameworks"] if one["framework"] == framework)
    return {row["id"]: row for row in found["rows"]}


def rows_of(report: Report) -> list[Report]:
    return list(rows(report, "ours").values())


def own(company: Company, *names: str, framework: str = "ours") -> None:
    """A framework of the user's with a control for each check."""
    folder = company.settings.root / "controls"
    folder.mkdir(exist_ok=True)
    controls = [{"id": name, "words": "w", "supports": "s", "checks": [name], "not_shown": "n"} for name in names]
    data = {"framework": framework, "title": "Our own", "source": "us", "controls": controls}
    (folder / f"{framework}.yaml").write_text(yaml.safe_dump(data))


def counts(row: Report) -> tuple[int, int, int]:
    return tuple(len(row["days"][state]) for state in ("operated", "not_operated", "not_evaluated"))  # type: ignore[return-value]


def test_without_a_scope_nothing_is_evaluated(company: Company) -> None:
    report = month(company)
    assert len(report["controls"]["frameworks"]) == 4
    for framework in report["controls"]["frameworks"]:
        assert framework["scope"] is None
        for row in framework["rows"]:
            assert (row["state"], row["why"], row["days"]) == ("not_evaluated", ["scope not declared"], None)


def test_a_framework_that_the_scope_lacks_is_not_evaluated(company: Company) -> None:
    declare(company, {"soc2": {"systems": ["cloudtrail_prod"], **SCOPE}})
    report = month(company)
    assert all(row["why"] == ["scope not declared"] for row in rows(report, "pci_dss").values())
    assert all(row["days"] is not None for row in rows(report, "soc2").values())


def test_days_follow_the_sources_in_scope(company: Company) -> None:
    own(company, "sources_live", "sources_whole", "records_kept", "lag_in_time")
    declare(company, {"ours": {"systems": ["linux_edge"], **SCOPE}})
    found = rows(month(company), "ours")
    assert found["sources_live"]["days"]["not_operated"] == ["2026-11-15"]
    assert found["sources_live"]["days"]["not_evaluated"] == ["2026-11-16"]
    assert counts(found["sources_live"]) == (12, 1, 1)
    assert counts(found["sources_whole"]) == (10, 1, 3), "the source's first two days cannot be judged"
    assert counts(found["records_kept"]) == (12, 0, 2), "of a day without records nothing can be said"
    assert counts(found["lag_in_time"]) == (12, 0, 2)
    declare(company, {"ours": {"systems": ["payments_db"], **SCOPE}})
    found = rows(month(company), "ours")
    assert found["sources_whole"]["days"]["not_operated"] == ["2026-11-23"]
    assert found["sources_whole"]["checks"][0]["why"] == [
        {"state": "not_operated", "why": "payments_db: partial", "days": ["2026-11-23"]}
    ]
    assert found["sources_live"]["state"] == "operated"


def test_a_system_without_a_source_is_not_logged(company: Company) -> None:
    own(company, "systems_logged")
    systems = ["cloudtrail_prod", {"name": "web shop"}, {"name": "billing", "sources": ["gone"]}]
    declare(company, {"ours": {"systems": systems, **SCOPE}})
    [row] = rows(month(company), "ours").values()
    assert row["state"] == "not_operated"
    assert row["checks"][0]["why"][0]["why"] == "no configured source tells of web shop, billing"


def test_reviews_and_rules_of_each_day(company: Company) -> None:
    own(company, "review_on_time", "rules_ran", "failures_told", "report_delivered")
    declare(company, {"ours": {"systems": list(SOURCES), **SCOPE}}, smtp=False)
    for day, made in ((FIRST, FIRST), (FIRST + DAY, FIRST + 9 * DAY)):
        publish_daily(company.settings, company.lake, day, SimulatedClock(company.settings.as_of(made)))
    company.lake.fs.rm(company.lake.path(f"detections/day={FIRST + 3 * DAY}"), recursive=True)
    found = rows(month(company), "ours")
    assert found["review_on_time"]["days"]["operated"] == [FIRST.isoformat()]
    assert counts(found["review_on_time"]) == (1, 12, 1), "the last day's review is not due yet"
    late = found["review_on_time"]["checks"][0]["why"]
    assert {"state": "not_operated", "why": "review late", "days": [(FIRST + DAY).isoformat()]} in late
    assert found["rules_ran"]["days"]["not_operated"] == [(FIRST + 3 * DAY).isoformat()]
    assert counts(found["report_delivered"]) == (0, 0, 14), "no mail server is configured"


def test_a_rule_for_a_technique_counts_where_it_looks_at_a_source_in_scope(company: Company) -> None:
    """The shipped rule for bursts of failed sign-ins is one for T1110, over CloudTrail among others."""
    own(company, "rule_watches:t1110", "rule_watches:T1110.001", "rule_watches:t111")
    declare(company, {"ours": {"systems": ["cloudtrail_prod"], **SCOPE}})
    found = rows(month(company), "ours")
    assert [row["state"] for row in found.values()] == ["operated", "operated", "not_evaluated"]


def test_records_have_to_tell_who_what_when_outcome_and_origin(company: Company) -> None:
    own(company, "fields_filled")
    declare(company, {"ours": {"systems": ["cloudtrail_prod"], **SCOPE}})
    schema = TABLES["events"].schema
    whole = {
        "x_source": "cloudtrail_prod", "class_uid": 6003, "activity_id": 2, "status_id": 1, "actor_user_name": "a", "src_endpoint_ip": "192.0.2.1",
    }  # fmt: skip
    for day, lacking in ((LAST, 1), (LAST - DAY, 2)):
        rows = [{**dict.fromkeys(schema.names), **whole, "day": day, "time": midnight(day)} for _ in range(200)]
        for row in rows[:lacking]:
            row["src_endpoint_ip"] = None
        company.lake.write_table("events", pa.Table.from_pylist(rows, schema=schema), day, "cloudtrail_prod")
    [row] = rows_of(month(company))
    assert counts(row) == (1, 1, 12), "of days without events nothing can be said"
    assert row["days"]["operated"] == [LAST.isoformat()]
    assert row["checks"][0]["why"][0]["why"] == "cloudtrail_prod: origin in 99 % of events"


def test_findings_have_to_be_taken_up_by_their_date(company: Company) -> None:
    own(company, "findings_owned", "findings_taken_up")
    declare(company, {"ours": {"systems": list(SOURCES), **SCOPE}})
    found = rows(month(company), "ours")
    assert found["findings_taken_up"]["days"]["not_operated"] == ["2026-11-21"], (
        "due three days after the as-of of the 18th"
    )
    assert found["findings_owned"]["state"] == "operated"


def segment(company: Company, data: bytes) -> str:
    """One real segment in a chain of its own; its path."""
    source = "cloudtrail_prod"
    sequence = (manifest.sequences(company.lake, source) or [0])[-1] + 1
    path = f"raw/{source}/{LAST}/{sequence:08d}.segment"
    digest = hashlib.sha256(data)
    member = Member(name="a.json", offset=0, length=len(data), sha256=digest.hexdigest())
    company.lake.write(path, data)
    manifest.append(
        company.lake,
        Entry(
            source=source, sequence=sequence, segment=path, bytes=len(data), sha256=digest.hexdigest(), members=[member],
            root=merkle.root([digest.digest()]).hex(), collected_at=rfc3339(company.settings.as_of(LAST)), clock="simulated",
        ),
    )  # fmt: skip
    return path


def test_evidence_is_verified_anew_and_a_changed_byte_shows(tmp_path: Path) -> None:
    company = Company(tmp_path)
    for step in range(14):
        company.write("completeness", [], FIRST + step * DAY)
        company.write("detections", [], FIRST + step * DAY)
    own(company, "evidence_verified")
    declare(company, {"ours": {"systems": ["cloudtrail_prod"], **SCOPE}})
    [row] = rows(month(company), "ours").values()
    assert row["state"] == "not_evaluated", "nothing was collected: no pass"
    path = segment(company, b"as collected")
    [row] = rows(month(company), "ours").values()
    assert row["state"] == "operated"
    company.lake.write(path, b"as_collected")
    [row] = rows(month(company), "ours").values()
    assert row["state"] == "not_operated"
    assert path in row["checks"][0]["why"][0]["why"]


def test_what_nobody_computes_is_not_evaluated_by_reason(company: Company) -> None:
    own(company, "permission_review", "log_reads", "no_such_check", "retention:lots", "retention:400", "retention:800", "rule_watches:t1200", "kpi_good:nothing", "senders_heard")  # fmt: skip
    declare(company, {"ours": {"systems": ["cloudtrail_prod"], **SCOPE}})
    found = {name: row["checks"][0]["why"][0] for name, row in rows(month(company), "ours").items()}
    assert {name: why["why"] for name, why in found.items()} == {
        "permission_review": "no run has computed the day",
        "log_reads": "who read the logs at their source is not read yet",
        "no_such_check": "no check is named no_such_check",
        "retention:lots": "the check needs a number of days, such as retention:365",
        "retention:400": "14 of 400 days are on record so far",
        "retention:800": "retention.raw is 400 of 800 days",
        "rule_watches:t1200": "no rule for T1200 looks at a source in scope",
        "kpi_good:nothing": "no KPI is named nothing",
        "senders_heard": "no sender is declared (`expected` of the sources)",
    }
    assert {name for name, why in found.items() if why["state"] == "not_operated"} == {"retention:800"}


def test_the_worst_check_decides_a_row(company: Company) -> None:
    folder = company.settings.root / "controls"
    folder.mkdir()
    control = {"id": "1", "words": "w", "supports": "s", "checks": ["people_hidden", "sources_live", "permission_review"], "not_shown": "n"}  # fmt: skip
    (folder / "a.yaml").write_text(
        yaml.safe_dump({"framework": "ours", "title": "t", "source": "us", "controls": [control]})
    )
    declare(company, {"ours": {"systems": ["linux_edge"], **SCOPE}})
    [row] = rows(month(company), "ours").values()
    assert (row["state"], counts(row)) == ("not_operated", (0, 1, 13))
    assert [check["days"]["operated"] for check in row["checks"]] == [14, 12, 0]


def test_not_applicable_needs_a_reason_and_shows_it(company: Company) -> None:
    declare(
        company, {"soc2": {"systems": ["cloudtrail_prod"], **SCOPE, "not_applicable": {"CC7.5": "done by the group"}}}
    )
    row = rows(month(company), "soc2")["CC7.5"]
    assert (row["state"], row["why"]) == ("not_applicable", ["done by the group"])


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("pci_dss: {systems: []}", "scope.yaml: pci_dss.systems"),
        ("pci_dss: [a", "scope.yaml: cannot be read"),
        ("- a", "scope.yaml: holds no frameworks"),
        ("pci_dss: {systems: [a], inventory: x, owner: y, date: 2026-01-01, sistems: 1}", "pci_dss.sistems"),
    ],
)
def test_a_broken_scope_evaluates_nothing_and_says_why(company: Company, scope: str, told: str) -> None:
    declare(company, scope)
    for row in rows(month(company), "pci_dss").values():
        assert row["state"] == "not_evaluated"
        assert told in row["why"][0]
        assert str(company.settings.root) not in row["why"][0]


def test_a_users_framework_replaces_ours_and_a_broken_file_is_told(company: Company) -> None:
    own(company, "rules_ran", framework="soc2")
    (company.settings.root / "controls" / "broken.yaml").write_text("framework: x\n")
    report = month(company)
    assert list(rows(report, "soc2")) == ["rules_ran"]
    [error] = report["controls"]["errors"]
    assert error.startswith("controls/broken.yaml: ")


def test_shipped_files_name_checks_that_exist_or_are_pending() -> None:
    found, errors = catalogue.frameworks(Settings.from_text("start: 2026-01-01\nsources: {a: {type: files, format: x}}", Path("/nowhere/pipeline.yaml")))  # fmt: skip
    assert errors == []
    assert [one.framework for one in found] == ["iso27001", "nist_au", "pci_dss", "soc2"]
    for framework in found:
        ids = [control.id for control in framework.controls]
        assert len(set(ids)) == len(ids)
        for control in framework.controls:
            for name in control.checks:
                assert name.partition(":")[0] in {*checks.CHECKS, *checks.PENDING}
    assert not set(checks.CHECKS) & set(checks.PENDING)


def test_evidence_links_lead_to_sections_of_the_page() -> None:
    shown = {name for name, _ in page.sections({"kind": "monthly"})}
    assert {entry.section for entry in checks.CHECKS.values()} <= shown


def test_the_page_shows_rows_and_no_share_of_a_framework(company: Company) -> None:
    declare(company, {"pci_dss": {"systems": ["cloudtrail_prod"], **SCOPE}})
    edition = publish_monthly(company.settings, company.lake, LAST, company.clock)
    html = company.lake.read(f"{edition.folder}/report.html").decode()
    read = Page(html)
    assert read.faults == []
    section = html.partition('aria-labelledby="controls"')[2].partition("</section>")[0]
    assert not re.search(r"\d ?%", page.plain(section))
    assert "Ten controls not evaluated: scope not declared." in read.text
    assert "10.4.1" in page.plain(section)
    csv = company.lake.read(f"{edition.folder}/controls.csv").decode().splitlines()
    assert len(csv) == 1 + sum(len(one["rows"]) for one in edition.report["controls"]["frameworks"])


DOCS = Path(__file__).parent.parent.parent / "docs"


def block(page: str) -> str:
    """The one YAML example of a page."""
    return (DOCS / page).read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]


def test_the_examples_of_the_documentation_work(company: Company) -> None:
    folder = company.settings.root / "controls"
    folder.mkdir()
    (folder / "house_rules.yaml").write_text(block("how-to/add-a-control.md"))
    own_scope = {"house_rules": {"systems": ["cloudtrail_prod"], **SCOPE}}
    declare(company, block("how-to/compliance-report.md") + yaml.safe_dump(own_scope))
    report = month(company)
    house = rows(report, "house_rules")
    assert [row["state"] for row in house.values()] == ["operated", "not_evaluated"]
    pci = rows(report, "pci_dss")
    assert pci["10.3.1"]["state"] == "not_applicable"
    assert "card vault" in pci["10.2.1"]["checks"][0]["why"][0]["why"]


def test_every_check_stands_in_the_documentation() -> None:
    text = (DOCS / "how-to/add-a-control.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)", text, re.MULTILINE))
    assert listed == set(checks.CHECKS)
    assert all(f"`{name}`" in text for name in checks.PENDING)
