"""The model: pure, honest about what is not known, and right in its sentence."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.clock import DAY, SimulatedClock, SystemClock
from audit_pipeline.findings import decisions
from audit_pipeline.lake import manifest
from audit_pipeline.lake.roots import daily_root
from audit_pipeline.reports import editions, method
from audit_pipeline.reports.model import build_daily, encode
from audit_pipeline.reports.wording import edition as edition_words
from audit_pipeline.settings import Settings
from audit_pipeline_tests.reports.company import (
    CONFIG,
    FIRST,
    LAST,
    SOURCES,
    Company,
    completeness,
    detection,
    kpi,
    kpis,
)

Report = dict[str, Any]


def build(company: Company, day: dt.date = LAST) -> Report:
    return build_daily(company.settings, company.lake, company.engine, day, company.clock)


def decide(company: Company, finding: str, action: str, at: dt.datetime) -> None:
    decisions.record(
        company.engine, finding_id=finding, action=action, person="ana", identity="claimed", reason="looked at it", clock=SimulatedClock(at)
    )  # fmt: skip


def test_the_same_lake_gives_the_same_bytes(company: Company, tmp_path: Path) -> None:
    again = Company(tmp_path / "again").fill()
    assert encode(build(company)) == encode(build(company)) == encode(build(again))


def test_only_the_note_depends_on_the_clock(company: Company) -> None:
    simulated = build(company)
    real = build_daily(company.settings, company.lake, company.engine, LAST, SystemClock())
    assert simulated["clock_note"] == "simulated clock, not evidence"
    assert real["clock_note"] is None
    assert {**simulated, "clock_note": None} == real


def test_the_time_of_the_run_does_not_enter(company: Company) -> None:
    later = SimulatedClock(company.settings.as_of(LAST) + 3_000 * DAY)
    assert build_daily(company.settings, company.lake, company.engine, LAST, later) == build(company)


def test_later_days_and_later_decisions_do_not_enter(company: Company) -> None:
    before = encode(build(company))
    day = LAST + DAY
    company.write("completeness", completeness(day), day)
    company.write("kpis", [*kpis(day), kpi(day, "of_later_days", "all", 1.0)], day)
    company.write("detections", [detection(day, "mara.lindqvist@example.com", n=99)], day)
    finding = build(company)["findings"][0]["finding_id"]
    decide(company, finding, "acknowledge", company.settings.as_of(LAST) + dt.timedelta(seconds=1))
    assert encode(build(company)) == before
    decide(company, build(company)["findings"][1]["finding_id"], "acknowledge", company.settings.as_of(LAST))
    assert encode(build(company)) != before


def test_a_day_that_no_run_computed_is_not_computed(report: Report) -> None:
    edge = next(source for source in report["sources"] if source["name"] == "linux_edge")
    verdicts = [day["verdict"] for day in edge["days"]]
    assert verdicts == ["unknown"] * 2 + ["no_gap_seen"] * 3 + ["missing", "not_computed"] + ["no_gap_seen"] * 7
    assert edge["days"][6]["events"] is None
    assert edge["days"][5]["events"] == 0
    assert all(kpi["history"][6]["value"] is None for kpi in report["kpis"])
    assert all(kpi["history"][6]["state"] == "no_data" for kpi in report["kpis"])


def test_what_could_not_be_judged_is_named_with_its_reason(report: Report) -> None:
    silent, lag = report["not_judged"]
    assert (silent["subject"], silent["verdict"], silent["phrase"]) == (
        "payments_db",
        "partial",
        "silent 08:02 to 17:03",
    )
    assert silent["detail"] == [
        "silent from 08:02 to 17:03, 9 h 1 min; expected 4,300 events; the longest silence usual at these hours is 4 min"
    ]
    assert (lag["subject"], lag["phrase"]) == ("One KPI", "no data: Lag")


def test_tables_and_rules_that_did_not_run_are_named(company: Company) -> None:
    report = build(company, LAST + DAY)
    subjects = {row["subject"]: row["phrase"] for row in report["not_judged"]}
    assert subjects["Detections"] == "no rule has run for this day"
    assert subjects["KPIs"] == "none was computed for this day"
    assert report["not_computed"] == ["completeness", "detections", "kpis"]
    assert report["state"] == "bad"  # a date has passed; without it: attention
    assert "no rule has run" not in build(company)["verdict"]


def test_rules_that_could_not_be_run_are_not_silent(company: Company) -> None:
    told = json.dumps([{"file": "x.yml", "reason": "no such field"}])
    table = company.lake.days("detections")[-1]
    from audit_pipeline.lake.tables import TABLES

    empty = TABLES["detections"].schema.empty_table()
    company.lake.write_table("detections", empty, table, metadata={"rule_errors": told})
    subjects = [(row["subject"], row["phrase"]) for row in build(company)["not_judged"]]
    assert ("One rule", "could not be run") in subjects


def test_decisions_wait_with_owner_and_date_the_overdue_first(report: Report) -> None:
    first, second = report["decisions"][:2]
    assert first["overdue"]
    assert not second["overdue"]
    assert first["due_at"] == "2026-11-22T03:00:00Z"
    assert first["owner"] == "cloud"
    assert first["severity"] == "high"
    assert "svc-backup" in first["title"]


def test_a_closed_finding_is_shown_once_then_leaves(company: Company) -> None:
    finding = build(company)["findings"][0]["finding_id"]
    decide(company, finding, "false_positive", company.settings.as_of(LAST))
    report = build(company)
    (row,) = [row for row in report["findings"] if row["finding_id"] == finding]
    assert (row["state"], row["change"], row["ask"]) == ("false_positive", "closed", None)
    assert [item["finding_id"] for item in report["changes"]["closed"]] == [finding]
    assert finding not in [row["finding_id"] for row in report["decisions"]]
    assert finding not in [row["finding_id"] for row in build(company, LAST + DAY)["findings"]]


def test_changes_against_the_day_before(report: Report) -> None:
    changes = report["changes"]
    assert changes["since"] == "2026-11-22"
    assert len(changes["new"]) == len(report["findings"]) - 1
    assert changes["verdicts"] == [{"source": "payments_db", "before": "no_gap_seen", "after": "partial"}]


def test_failures_of_logging_come_newest_first(report: Report) -> None:
    assert [(row["day"], row["source"], row["code"]) for row in report["failures"]] == [
        ("2026-11-23", "payments_db", "silent"),
        ("2026-11-15", "linux_edge", "no_data"),
    ]


def test_a_finding_leads_to_its_events(report: Report) -> None:
    row = next(row for row in report["findings"] if "mara" in row["title"])
    (hit,) = row["detections"]
    assert hit["n"] == 52
    assert hit["refs"][0]["segment"] == "raw/cloudtrail_prod/2026-11-23/00000014.segment"
    assert (len(hit["refs"]), hit["refs_total"]) == (5, 8)


def test_a_service_that_a_team_owns_is_no_person_and_one_that_a_log_names_so_is(tmp_path: Path) -> None:
    company = Company(tmp_path)
    company.settings.teams["payments"].owns.append("service:checkout")
    hits = [detection(LAST, name, n=12) for name in ("mara", "checkout", "root", "nowhere-owned")]
    company.write("detections", hits, LAST)
    assert build(company)["people"] == ["mara", "nowhere-owned"]


def test_an_old_finding_keeps_its_people_though_its_detection_is_older_than_the_window(tmp_path: Path) -> None:
    company = Company(tmp_path)
    company.write("detections", [detection(LAST - 40 * DAY, "old.timer", n=12)], LAST - 40 * DAY)
    report = build(company)
    assert "old.timer" in report["people"]
    assert report["findings"][0]["detections_total"] == 1


@pytest.mark.parametrize(
    ("verdict", "state", "sentence"),
    [
        ("no_gap_seen", "good", "Nothing waits for a decision, and all three sources were judged whole."),
        ("partial", "attention", "Nothing waits for a decision, and one of three sources could not be judged whole."),
        ("unknown", "attention", "Nothing waits for a decision, and one of three sources could not be judged whole."),
        ("missing", "bad", "Nothing waits for a decision, and one of three sources could not be judged whole."),
    ],
)
def test_the_state_follows_the_worst_source(good_company: Company, verdict: str, state: str, sentence: str) -> None:
    company = good_company
    rows = completeness(LAST, good=True)
    rows[0] = {**rows[0], "verdict": verdict}
    company.write("completeness", rows, LAST)
    report = build(company)
    assert (report["state"], report["verdict"]) == (state, sentence)


def test_a_corrupt_file_is_bad_and_a_missed_target_asks_for_attention(good_company: Company) -> None:
    company = good_company
    missed = kpi(LAST, "lag", "all", 9_000.0, population=10, target=600.0, state="bad")
    company.write("kpis", [row for row in kpis(LAST, good=True) if row["kpi_id"] != "lag"] + [missed], LAST)
    report = build(company)
    assert report["state"] == "attention"
    assert report["verdict"].endswith("were judged whole, and one KPI misses its target.")
    rows = completeness(LAST, good=True)
    rows[1] = {**rows[1], "verdict": "partial", "reasons": [{"code": "corrupt", "detail": "checksum"}]}
    company.write("completeness", rows, LAST)
    assert build(company)["state"] == "bad"


def test_a_day_that_has_not_settled_is_provisional(good_company: Company, tmp_path: Path) -> None:
    text = CONFIG.format(clock="simulated").replace("settles_after: 2h", "settles_after: 6h")
    company = good_company
    company.settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    report = build(company)
    assert report["provisional"] == ["payments_db"]
    assert edition_words({**report, "edition": 1}) == "edition 1, provisional until 2026-11-24 06:00"
    printed_before = editions.printed(report)
    company.collect("payments_db", LAST + DAY)
    later = build(company)
    assert later["provisional"] == []
    assert edition_words({**later, "edition": 1}) == "edition 1, settled"
    assert editions.printed(later) == printed_before, "that a day has settled changes no number"


def test_evidence_names_the_heads_and_the_root_binds_them(company: Company) -> None:
    evidence = build(company)["evidence"]
    assert [chain["source"] for chain in evidence["chains"]] == list(SOURCES)
    head = manifest.read(company.lake, "linux_edge", 14)
    assert (evidence["chains"][1]["head_sequence"], evidence["chains"][1]["head_hash"]) == (14, head.hash)
    assert evidence["segments"] == 42
    assert evidence["root"] == daily_root(company.lake, SOURCES)
    company.collect("linux_edge", LAST)
    assert daily_root(company.lake, SOURCES) != evidence["root"]
    assert daily_root(company.lake, reversed(SOURCES)) == daily_root(company.lake, SOURCES)
    assert daily_root(company.lake, [*SOURCES, "new_one"]) != daily_root(company.lake, SOURCES)


def test_the_root_can_be_recomputed_by_others(tmp_path: Path) -> None:
    import hashlib

    company = Company(tmp_path)
    entry = company.collect("linux_edge", FIRST)
    written = f'[["cloudtrail_prod",null],["linux_edge","{entry.hash}"]]'
    assert daily_root(company.lake, SOURCES[:2]) == hashlib.sha256(written.encode()).hexdigest()


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b'{"sequence": "x"}'])
def test_a_broken_chain_is_told_and_has_no_root(company: Company, damage: bytes) -> None:
    company.lake.write(manifest.file("linux_edge", 14), damage)
    report = build(company)
    assert report["evidence"]["root"] is None
    assert "run audit-pipeline verify" in report["evidence"]["chains"][1]["problem"]
    assert report["state"] == "bad"


def test_secrets_do_not_enter_the_report(tmp_path: Path, company: Company) -> None:
    text = CONFIG.format(clock="simulated").replace(
        "state_url: sqlite:///state.db", "state_url: postgresql://u:hunter2@db/x"
    )
    secret = Settings.from_text(text + "heartbeat_url: https://ping.example.com/hunter2\n", tmp_path / "pipeline.yaml")
    assert method.config_hash(secret) == method.config_hash(company.settings), (
        "what may hold a secret is not hashed either"
    )
    other = Settings.from_text(text.replace("format: auditd", "format: syslog"), tmp_path / "pipeline.yaml")
    assert method.config_hash(other) != method.config_hash(company.settings)
    assert b"hunter2" not in encode(build_daily(secret, company.lake, company.engine, LAST, company.clock))


def test_every_number_of_a_kpi_comes_with_what_it_is_of(report: Report) -> None:
    failed = next(kpi for kpi in report["kpis"] if kpi["id"] == "failed_sign_ins")
    assert (failed["today"]["value"], failed["today"]["population"], failed["unit"]) == (449.0, 33_600, "count")
    assert failed["title"] == "Failed sign-ins"
    rates = next(kpi for kpi in report["kpis"] if kpi["id"] == "error_rate_by_service")
    assert [row["scope"] for row in rates["detail"]][:2] == ["service:s3.amazonaws.com", "service:iam.amazonaws.com"]
    assert len(rates["detail"]) == 10
    assert rates["incomplete_days"] == ["2026-11-16", "2026-11-23"]


def test_an_empty_lake_still_has_a_report(tmp_path: Path) -> None:
    report = build(Company(tmp_path))
    assert report["state"] == "attention"
    assert report["verdict"] == "No rule has run, and no source could be judged whole."
    assert [row["verdict"] for row in report["not_judged"]] == ["not_computed"] * 5
