"""What is set aside is shown: noise rules in force with what they marked, findings closed by a decision; `check` reads controls."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from audit_pipeline import preflight
from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.detections import sigma
from audit_pipeline.findings import decisions
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.reports import page
from audit_pipeline.reports.model import build_daily
from audit_pipeline.settings import Settings
from audit_pipeline_tests.reports.company import CONFIG, LAST, Company, at
from audit_pipeline_tests.reports.html_check import Page

RULE = """
id: health
title: Health check
reason: the load balancer asks every minute
owner: platform
created: {created}
expires: {expires}
sources: all
where: {{api_operation: HealthCheck}}
"""


def events(company: Company, day: dt.date, operations: list[str]) -> None:
    schema = TABLES["events"].schema
    rows = [
        dict.fromkeys(schema.names)
        | {"day": day, "x_source": "cloudtrail_prod", "time": at(day, "10:00"), "api_operation": operation, "class_uid": 6003}
        for operation in operations
    ]  # fmt: skip
    company.lake.write_table("events", pa.Table.from_pylist(rows, schema=schema), day, "cloudtrail_prod")


def rule(company: Company, created: dt.date, expires: dt.date) -> None:
    folder = company.settings.root / "noise"
    folder.mkdir(exist_ok=True)
    (folder / "health.yaml").write_text(RULE.format(created=created, expires=expires))


def build(company: Company) -> dict[str, object]:
    return build_daily(company.settings, company.lake, company.engine, LAST, company.clock)


def test_a_noise_rule_in_force_is_shown_with_what_it_marked(company: Company) -> None:
    events(company, LAST, ["HealthCheck", "HealthCheck", "DeleteTrail"])
    events(company, LAST - DAY, ["HealthCheck"])
    rule(company, LAST, LAST + DAY)
    report = build(company)
    assert report["noise"] == [
        {"id": "health", "title": "Health check", "reason": "the load balancer asks every minute", "owner": "platform", "created": "2026-11-23", "expires": "2026-11-24", "events": 2}
    ]  # fmt: skip
    read = Page(page.render({**report, "edition": 1, "corrects": None}))
    assert read.faults == []
    assert "One noise rule in force." in read.text


def test_a_rule_that_ended_or_has_not_begun_is_not(company: Company) -> None:
    for created, expires in ((LAST - 3 * DAY, LAST), (LAST + DAY, LAST + 2 * DAY)):
        rule(company, created, expires)
        assert build(company)["noise"] == []


def test_a_finding_that_was_set_aside_stays_in_sight(company: Company) -> None:
    before = build(company)
    finding = before["findings"][0]["finding_id"]  # type: ignore[index]
    decisions.record(
        company.engine, finding_id=finding, action="false_positive", person="ana", identity="claimed", reason="a test",
        clock=SimulatedClock(company.settings.as_of(LAST) - dt.timedelta(hours=1)),
    )  # fmt: skip
    shown = Page(page.render({**build(company), "edition": 1, "corrects": None})).text
    assert "one false positive and no duplicates on record" in shown
    assert (
        "no false positives and no duplicates on record"
        in Page(page.render({**before, "edition": 1, "corrects": None})).text
    )


def test_check_tells_of_controls_and_scope(tmp_path: Path) -> None:
    text = CONFIG.format(clock="simulated") + "scope: scope.yaml\n"
    settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    entry = "{systems: [cloudtrail_prod, other], inventory: x, owner: y, date: 2026-11-01}"
    (tmp_path / "scope.yaml").write_text(f"pci_dss: {entry}\npcidss: {entry}\n")
    (tmp_path / "controls").mkdir()
    (tmp_path / "controls" / "own.yaml").write_text("framework: own\n")
    found = [
        (probe.what, probe.ok, probe.detail)
        for probe in preflight.check(settings)
        if probe.what in ("controls", "scope")
    ]
    assert found[0] == ("controls", True, "4 frameworks, scope declared for 2")
    told = " ".join(detail for _, ok, detail in found if not ok)
    assert "own.yaml" in told
    assert "pcidss: no such framework; known are iso27001, nist_au, pci_dss, soc2" in told
    assert "other: no such source is configured" in told
    (tmp_path / "scope.yaml").unlink()
    assert [probe.ok for probe in preflight.check(settings) if probe.what == "scope"] == [False]


TAMPERING = """
title: Trail was stopped
id: 0b9a3a4e-7d1c-4f4e-9f61-6a3b7d1f2c55
status: test
level: high
logsource: {product: aws, service: cloudtrail}
detection:
  stop: {api_operation: StopLogging}
  condition: stop
tags: [attack.defense-evasion, attack.t1562.008]
"""


def test_that_nobody_looks_for_changes_to_logging_is_said(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, only = sigma.load, ("Burst of failed sign-ins", "Trail was stopped")
    monkeypatch.setattr(
        sigma, "load", lambda settings: ([one for one in shipped(settings)[0] if one.title in only], [])
    )
    report = build(company)
    assert report["logging_changes"]["rules"] == []  # type: ignore[index]
    shown = Page(page.render({**report, "edition": 1, "corrects": None})).text
    assert "No rule looks for logs being stopped, weakened or deleted" in shown
    (company.settings.root / "rules").mkdir()
    (company.settings.root / "rules" / "stopped.yml").write_text(TAMPERING)
    report = build(company)
    found = report["logging_changes"]
    assert found == {
        "techniques": ["T1562", "T1070"], "rules": ["Trail was stopped"], "unwatched": ["linux_edge", "payments_db"], "findings": []
    }  # fmt: skip
    shown = Page(page.render({**report, "edition": 1, "corrects": None})).text
    assert "No finding of the rules that look for logs being stopped" in shown
    assert "No such rule looks at linux_edge, payments_db." in shown
