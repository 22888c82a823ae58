"""`audit-pipeline rules` as a person uses it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from audit_pipeline.cli import main
from audit_pipeline.detections import sigma
from audit_pipeline.detections.run import detect
from audit_pipeline_tests.detections.helpers import DAY, at, burst, make_settings, open_lake, write_events

CONFIG = "start: 2026-01-01\nlake: lake\nsources: {idp: {type: files, format: cloudtrail}}\n"


def run(root: Path, *args: str) -> Result:
    (root / "pipeline.yaml").write_text(CONFIG)
    return CliRunner().invoke(main, ["-c", str(root / "pipeline.yaml"), "rules", *args])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_list_names_each_rule_with_its_state_of_the_last_day(tmp_path: Path) -> None:
    names = {row["name"]: row for row in lines(run(tmp_path, "list", "--format", "json"))}
    assert len(names) == len(sigma.rule_files(sigma.SHIPPED)) >= 20
    assert {row["state"] for row in names.values()} == {None}
    lake = open_lake(tmp_path)
    write_events(lake, burst("alice", at(8), 12))
    detect(make_settings(tmp_path, CONFIG.split("\n", 1)[1]), lake, DAY)
    row = {row["name"]: row for row in lines(run(tmp_path, "list", "--format", "json"))}["signin_burst"]
    assert (row["state"], row["n"], row["level"]) == ("evaluated", 1, "high")
    rows = list(csv.DictReader(io.StringIO(run(tmp_path, "list", "--format", "csv").output)))
    assert {one["name"] for one in rows} == set(names)


def test_test_fails_when_a_case_fails_and_says_which(tmp_path: Path) -> None:
    assert run(tmp_path, "test", "signin_burst").exit_code == 0
    (tmp_path / "rules").mkdir()
    text = (sigma.SHIPPED / "signin_burst.yml").read_text().replace("gte: 10", "gte: 11")
    (tmp_path / "rules" / "mine.yml").write_text(text)
    (tmp_path / "rules" / "mine.tests.yml").write_text((sigma.SHIPPED / "signin_burst.tests.yml").read_text())
    result = run(tmp_path, "test", "mine")
    assert result.exit_code == 1
    assert "found nothing" in result.output


def test_explain_tells_what_it_does_and_an_unknown_rule_is_a_users_mistake(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "explain", "signin_burst", "--format", "json").output)
    assert {"user_name", "x_source", "status_id"} <= set(found["columns"])
    assert "FROM events" in found["sql"]
    result = run(tmp_path, "explain", "nothing")
    assert result.exit_code == 2
    assert "rules list" in result.output


def test_backtest_of_a_file_tells_days_and_examples_and_writes_nothing(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    write_events(lake, burst("alice", at(8), 12))
    file = tmp_path / "try.yml"
    file.write_text((sigma.SHIPPED / "signin_burst.yml").read_text().replace("gte: 10", "gte: 5"))
    before = sorted(path for path in (tmp_path / "lake").rglob("*.parquet"))
    rows = lines(run(tmp_path, "backtest", str(file), "--from", "2026-03-01", "--to", "2026-03-02", "--format", "json"))
    assert [(row["day"], row["detections"], row["known"]) for row in rows] == [
        ("2026-03-01", 0, 0),
        ("2026-03-02", 1, 0),
    ]
    assert rows[1]["examples"] == ["12 failed sign-ins for alice at idp in 110 s; threshold 5 in 10 min"]
    assert sorted(path for path in (tmp_path / "lake").rglob("*.parquet")) == before
    detect(make_settings(tmp_path, CONFIG.split("\n", 1)[1]), lake, DAY)
    rows = lines(run(tmp_path, "backtest", "signin_burst", "--from", "2026-03-02", "--to", "2026-03-02", "--format", "json"))  # fmt: skip
    assert rows[0]["known"] == 1
