"""Numbers on pages are those of the evidence: recounted from the files as delivered, and through `query`."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from audit_pipeline import query
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports.editions import latest
from audit_pipeline.reports.periodic import build_periodic
from audit_pipeline.reports.periods import Period
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state
from audit_pipeline_tests.reports.html_check import Page
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.project import Project
from audit_pipeline_tests.support.shared import done

__all__ = ["done"]
Report = dict[str, Any]


def delivered(folder: Path) -> dict[str, dict[str, Report]]:
    """What the files hold, by UTC day and event id, read without any code of ours."""
    found: dict[str, dict[str, Report]] = {}
    for file in folder.rglob("*.json.gz"):
        for record in json.loads(gzip.decompress(file.read_bytes()))["Records"]:
            found.setdefault(record["eventTime"][:10], {})[record["eventID"]] = record
    return found


def one(settings: Settings, sql: str) -> tuple[Any, ...]:
    (row,) = list(query.run(settings, sql)[1])
    return row


def failed(records: dict[str, Report]) -> Counter[str]:
    """Sign-ins by outcome."""
    return Counter(
        record["responseElements"]["ConsoleLogin"]
        for record in records.values()
        if record["eventName"] == "ConsoleLogin"
    )


def test_numbers_of_each_day_equal_a_recount(done: Project) -> None:
    settings, lake = done.settings, Lake.open(done.settings.lake_url)
    files = delivered(done.logs)
    assert len(files) == len(trail.DAYS)
    for day in trail.DAYS:
        edition = latest(lake, "daily", day.isoformat())
        assert edition is not None
        report, records = edition.report, files[day.isoformat()]
        shown = Page(lake.read(f"{edition.folder}/report.html").decode()).text
        (source,) = report["sources"]
        assert source["today"]["events"] == len(records)
        name = source["name"]
        assert one(settings, f"SELECT count(*) FROM events WHERE x_source = '{name}' AND day = DATE '{day}'") == (
            len(records),
        )
        assert f"{len(records):,}" in shown
        kpis = {row["id"]: row["today"] for row in report["kpis"]}
        signed = failed(records)
        assert (kpis["failed_sign_ins"]["n"], kpis["failed_sign_ins"]["population"]) == (
            signed["Failure"],
            signed.total(),
        )
        errors = sum("errorCode" in record for record in records.values()) + signed["Failure"]
        rate = kpis["error_rate_by_service"]
        assert (rate["n"], rate["population"], rate["value"]) == (errors, len(records), errors / len(records))
    assert sum(failed(records)["Failure"] for records in files.values()) == 12, "there was something to count"


def test_numbers_of_a_period_equal_a_recount_over_its_days(done: Project) -> None:
    settings, lake = done.settings, Lake.open(done.settings.lake_url)
    files, engine = delivered(done.logs), open_state(done.settings.state_url_resolved)
    last = trail.DAYS[-1]
    report = build_periodic(settings, lake, engine, Period.of("monthly", last), settings.clock_for(last))
    engine.dispose()
    within = [day for day in report["days"] if day in files]
    assert sum(row["today"]["events"] for row in report["sources"]) == sum(len(files[day]) for day in within)
    kpi = next(row for row in report["kpis"] if row["id"] == "failed_sign_ins")
    used = [day for day in report["days"] if day not in kpi["left_out"]]
    assert used
    assert kpi["today"]["n"] == sum(failed(files.get(day, {}))["Failure"] for day in used)
    assert kpi["today"]["days_used"] + kpi["today"]["days_left_out"] == len(report["days"])


def test_the_command_beside_a_source_gives_its_events(done: Project) -> None:
    lake = Lake.open(done.settings.lake_url)
    edition = latest(lake, "daily", trail.DAYS[-1].isoformat())
    assert edition is not None
    shown = Page(lake.read(f"{edition.folder}/report.html").decode()).text
    found = re.search(r'audit-pipeline query "(SELECT \* FROM events [^"]+)"', shown)
    assert found
    _, rows = query.run(done.settings, found[1])
    assert len(list(rows)) == min(20, edition.report["sources"][0]["today"]["events"])
