"""Editions: a new one only for a changed number, state or finding; whole or not there; kept."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest

from audit_pipeline.errors import LakeError
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import editions
from audit_pipeline.reports.editions import Edition, publish
from audit_pipeline.reports.model import build_daily
from audit_pipeline_tests.reports.company import LAST, Company

Report = dict[str, Any]
FILES = ["effects.csv", "findings.csv", "kpis.csv", "manifest.json", "report.html", "report.json", "sources.csv"]


def put(company: Company, report: Report) -> Edition:
    return publish(company.lake, "daily", report["period"], report, clock=company.clock, run_id="run-1")


def files(company: Company, edition: Edition) -> dict[str, bytes]:
    return {name: company.lake.read(f"{edition.folder}/{name}") for name in company.lake.names(edition.folder)}


def test_an_edition_is_whole_and_its_manifest_holds(company: Company, built: Report) -> None:
    edition = put(company, built)
    assert (edition.number, edition.new, edition.folder) == (1, True, "reports/daily/2026-11-23/1")
    stored = files(company, edition)
    assert sorted(stored) == FILES
    manifest = json.loads(stored["manifest.json"])
    assert (manifest["generated_at"], manifest["run_id"]) == ("2026-11-24T03:00:00Z", "run-1")
    assert manifest["clock"] == "simulated clock, not evidence"
    assert {item["name"] for item in manifest["files"]} == set(FILES) - {"manifest.json"}
    for item in manifest["files"]:
        assert hashlib.sha256(stored[item["name"]]).hexdigest() == item["sha256"]
        assert len(stored[item["name"]]) == item["bytes"]
    assert b"run-1" not in stored["report.json"]
    assert json.loads(stored["report.json"])["edition"] == 1


def test_the_same_report_again_is_the_same_edition(company: Company, built: Report) -> None:
    first = put(company, built)
    before = files(company, first)
    again = put(company, copy.deepcopy(built))
    assert (again.number, again.new, again.report) == (1, False, first.report)
    assert files(company, again) == before


def test_later_collections_alone_make_no_new_edition(company: Company, built: Report) -> None:
    put(company, built)
    company.collect("linux_edge", LAST)
    moved = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    assert moved["evidence"] != built["evidence"]
    assert put(company, moved).number == 1


def test_versions_alone_make_no_new_edition(company: Company, built: Report) -> None:
    put(company, built)
    other = copy.deepcopy(built)
    other["method"]["versions"]["audit_pipeline"] = "9.9"
    other["method"]["config_sha256"] = "0" * 64
    assert put(company, other).number == 1


@pytest.mark.parametrize("change", ["number", "state", "finding", "history", "verdict of a source"])
def test_a_change_that_is_printed_makes_a_new_edition_and_keeps_the_old(
    company: Company, built: Report, change: str
) -> None:
    first = put(company, built)
    before = files(company, first)
    other = copy.deepcopy(built)
    if change == "number":
        other["kpis"][0]["today"]["value"] += 1
    elif change == "state":
        other["state"] = "attention"
    elif change == "finding":
        other["findings"].pop()
    elif change == "history":
        other["kpis"][1]["history"][2]["value"] = None
    else:
        other["sources"][0]["days"][3]["verdict"] = "partial"
    second = put(company, other)
    assert (second.number, second.new) == (2, True)
    assert files(company, first) == before
    told = {
        "number": ["KPIs"],
        "state": ["the state"],
        "finding": ["findings"],
        "history": ["KPIs"],
        "verdict of a source": ["sources"],
    }
    assert first.report["corrects"] is None
    assert second.report["corrects"] == {"edition": 1, "changed": told[change]}
    assert (
        f"corrects edition 1, which is kept: other numbers in {told[change][0]}"
        in files(company, second)["report.html"].decode()
    )
    latest = editions.latest(company.lake, "daily", built["period"])
    assert latest is not None
    assert latest.number == 2
    assert put(company, built).number == 3, "a number that returns is a change too"


class KilledError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("survivors", range(6))
def test_a_write_killed_at_any_moment_heals(
    company: Company, built: Report, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    writes = 0

    def dies(method: Any) -> Any:
        def wrapped(lake: Lake, relative: str, data: bytes) -> None:
            nonlocal writes
            if writes == survivors:
                raise KilledError
            writes += 1
            method(lake, relative, data)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "write", dies(Lake.write))
        patch.setattr(Lake, "create", dies(Lake.create))
        with pytest.raises(KilledError):
            put(company, {**built, "state": "attention"})
    assert writes == survivors
    assert editions.latest(company.lake, "daily", built["period"]) is None
    healed = put(company, built)
    assert (healed.number, healed.new) == (1, True)
    stored = files(company, healed)
    manifest = json.loads(stored["manifest.json"])
    assert all(hashlib.sha256(stored[item["name"]]).hexdigest() == item["sha256"] for item in manifest["files"])
    assert json.loads(stored["report.json"])["state"] == built["state"]


def test_a_damaged_edition_is_an_error_that_says_what_to_do(company: Company, built: Report) -> None:
    edition = put(company, built)
    company.lake.write(f"{edition.folder}/report.json", b"{")
    with pytest.raises(LakeError, match="restore it, or remove it"):
        put(company, built)


def test_ten_editions_count_as_numbers(company: Company, built: Report) -> None:
    for number in range(1, 12):
        report = copy.deepcopy(built)
        report["kpis"][0]["today"]["value"] = float(number)
        assert put(company, report).number == number
