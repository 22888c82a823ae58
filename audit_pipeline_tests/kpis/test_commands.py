"""`audit-pipeline kpi`: what a person sees, and what is told to one who asks wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from audit_pipeline.cli import main
from audit_pipeline.kpis import catalogue
from audit_pipeline.kpis.compute import compute
from audit_pipeline_tests.detections.helpers import (
    DAY,
    at,
    burst,
    make_settings,
    open_lake,
    write_completeness,
    write_events,
)

CONFIG = (
    "start: 2026-01-01\nsources: {idp: {type: files, format: cloudtrail}, vpn: {type: files, format: cloudtrail}}\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    (root / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    settings, lake = make_settings(root), open_lake(root)
    hostile = burst("Hunter2!secret\x1b[31m", at(9), 3, x_source="vpn")
    write_events(lake, [*burst("alice", at(8), 11, src_endpoint_ip="203.0.113.9"), *hostile])
    write_completeness(lake, DAY, {"idp": "no_gap_seen", "vpn": "partial"})
    compute(settings, lake, DAY)
    return root


def kpi(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["-c", str(folder / "pipeline.yaml"), "kpi", *args])


def told(folder: Path, *args: str) -> Any:
    result = kpi(folder, *args, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_list_names_every_kpi(folder: Path) -> None:
    table = kpi(folder, "list")
    lines = kpi(folder, "list", "--format", "json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(catalogue())
    assert all(name in table.stdout for name in catalogue())


def test_show_prints_number_population_and_verdict_of_the_last_day(folder: Path) -> None:
    found = told(folder, "show", "failed_sign_ins")
    assert found["day"] == str(DAY)
    (every,) = (one for one in found["numbers"] if one["scope"] == "all")
    assert (every["value"], every["n"], every["population"], every["verdict"]) == (14.0, 14, 14, "partial")
    (single,) = told(folder, "show", "failed_sign_ins", "--date", str(DAY), "--scope", "source:idp")["numbers"]
    assert (single["scope"], single["value"]) == ("source:idp", 11.0)
    printed = kpi(folder, "show", "failed_sign_ins").stdout
    assert "source:idp" in printed
    assert "partial" in printed
    assert "no_data" in kpi(folder, "show", "downtime_minutes").stdout


def test_explain_gives_the_rows_that_were_counted_without_names(folder: Path) -> None:
    found = told(folder, "explain", "failed_sign_ins", "--scope", "source:vpn")
    assert len(found["first"]) == 3
    assert {row["x_source"] for row in found["first"]} == {"vpn"}
    assert all(row["x_segment"] and row["x_line"] is not None for row in found["first"])
    assert found["parameters"] == {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}
    assert "status_id = 2" in found["drill"]
    for args in (("show", "failed_sign_ins"), ("explain", "failed_sign_ins"), ("explain", "accounts_under_guessing", "--format", "json")):  # fmt: skip
        result = kpi(folder, *args)
        assert result.exit_code == 0
        assert "Hunter2" not in result.output
        assert "\x1b" not in result.output


@pytest.mark.parametrize("name", catalogue())
def test_every_shipped_kpi_can_be_shown_and_explained(folder: Path, name: str) -> None:
    assert kpi(folder, "show", name).exit_code == 0
    printed = kpi(folder, "explain", name)
    assert printed.exit_code == 0, printed.output
    assert "measured by:" in printed.output


def test_a_scope_with_a_quote_is_a_name_and_nothing_else(folder: Path) -> None:
    assert told(folder, "explain", "failed_sign_ins", "--scope", "source:x' OR 'a' = 'a")["first"] == []


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["show", "failed_sign_in"], 2, "did you mean failed_sign_ins?"),
        (["explain", "zzz"], 2, "kpi list"),
        (["show", "failed_sign_ins", "--scope", "team:x"], 2, "it has all, source:idp, source:vpn"),
        (["show", "failed_sign_ins", "--date", "2026-03-01"], 1, "audit-pipeline run --date 2026-03-01"),
    ],
)
def test_who_asks_wrongly_is_told_what_to_do(folder: Path, args: list[str], code: int, words: str) -> None:
    result = kpi(folder, *args)
    assert result.exit_code == code
    assert words in " ".join(result.output.split())


def test_a_file_that_is_no_kpi_says_why_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "kpis").mkdir()
    (tmp_path / "kpis" / "mine.yaml").write_text("id: mine\n", encoding="utf-8")
    result = kpi(tmp_path, "show", "mine")
    assert result.exit_code == 1
    assert "Field required" in result.output


def test_before_the_first_day_there_is_nothing_to_show_and_a_way_to_it(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    result = kpi(tmp_path, "show", "failed_sign_ins")
    assert (result.exit_code, "no day was computed yet" in result.output) == (1, True)
