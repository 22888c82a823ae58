"""The CSV files hold all rows, and nothing that a spreadsheet runs."""

from __future__ import annotations

import csv
import io
from typing import Any

from audit_pipeline.reports.tables import csv_files
from audit_pipeline_tests.reports.company import PAYLOADS

Report = dict[str, Any]


def read(report: Report, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_files(report)[name].decode(), newline="")))


def test_all_rows_are_there(report: Report) -> None:
    assert len(read(report, "findings.csv")) == len(report["findings"]) == len(PAYLOADS) + 2
    assert len(read(report, "sources.csv")) == 3 * 14
    assert len(read(report, "kpis.csv")) == 4 * 14 + 10


def test_no_data_is_an_empty_cell(report: Report) -> None:
    lag = [row for row in read(report, "kpis.csv") if row["kpi_id"] == "lag" and row["day"] == "2026-11-23"]
    assert [(row["value"], row["state"]) for row in lag] == [("", "no_data")]
    days = {row["day"]: row for row in read(report, "sources.csv") if row["source"] == "linux_edge"}
    assert (days["2026-11-16"]["verdict"], days["2026-11-16"]["events"]) == ("not_computed", "")
    assert (days["2026-11-15"]["verdict"], days["2026-11-15"]["events"]) == ("missing", "0")


def test_no_cell_is_a_formula(report: Report) -> None:
    report["findings"] = [
        {**report["findings"][0], "title": payload, "owner": payload} for payload in PAYLOADS.values()
    ]
    for name, data in csv_files(report).items():
        for row in csv.reader(io.StringIO(data.decode(), newline="")):
            for cell in row:
                assert not cell.lstrip().startswith(("=", "+", "@", "＝", "＋", "－", "＠", "\t")), (name, cell)
                assert not cell.startswith("-") or float(cell) < 0, (name, cell)
                assert "\n" not in cell
                assert "\x1b" not in cell


def test_the_guard_is_what_keeps_formulas_out(report: Report) -> None:
    report["findings"] = [{**report["findings"][0], "title": PAYLOADS["formula"]}]
    (row,) = read(report, "findings.csv")
    assert row["title"] == "'" + PAYLOADS["formula"]
