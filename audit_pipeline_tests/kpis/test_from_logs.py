"""From an application's own log lines to numbers: the shipped mapping and the shipped KPIs speak of the same columns."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline_tests.support.night import night

ROOT = Path(__file__).parents[2]
MAPPING = ROOT / "examples" / "formats" / "app_requests.yaml"
DAYS = [dt.date(2026, 3, 2), dt.date(2026, 3, 3)]
CONFIG = """
clock: simulated
start: 2026-03-02
sources:
  app: {type: files, format: app_requests, paths: ["logs/*.jsonl"]}
teams: {shop: {owns: ["service:checkout"]}}
"""


def line(ts: str, event: str, **more: Any) -> str:
    return json.dumps({"ts": ts, "service": "checkout", "level": "info", "event": event, **more})


def request(ts: str, status: int, ms: float) -> str:
    return line(ts, "request", method="GET", route="/cart/{id}", status=status, duration_ms=ms, user="u1", client="203.0.113.7", request_id=ts)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], dict[str, Any]]:
    root = tmp_path_factory.mktemp("app")
    (root / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    (root / "formats").mkdir()
    shutil.copy(MAPPING, root / "formats" / "app_requests.yaml")
    (root / "logs").mkdir()
    first = [
        line("2026-03-02T00:00:01.000Z", "up"),
        *[request(f"2026-03-02T{hour:02}:{minute:02}:00.000Z", 500 if minute == 0 else 200, 250) for hour in range(23) for minute in range(60)],
        line("2026-03-02T12:00:00.500Z", "deploy", version="1.2.0", change_id="CHG-1"),
        line("2026-03-02T23:30:00.000Z", "down", message="database gone\nTraceback: secret"),
    ]  # fmt: skip
    second = [
        line("2026-03-03T00:45:00.000Z", "up"),
        *[request(f"2026-03-03T{hour:02}:{minute:02}:00.000Z", 200, 100) for hour in range(1, 24) for minute in range(60)],
    ]  # fmt: skip
    for day, lines in zip(DAYS, (first, second), strict=True):
        file = root / "logs" / f"{day}.jsonl"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        seen = (midnight(day) + DAY).timestamp() + 60
        os.utime(file, (seen, seen))  # there before the night that reads it
    settings = Settings.load(root / "pipeline.yaml")
    for day in DAYS:
        night(settings, day)
    with connect(Lake.open(settings.lake_url), tables=["kpis"]) as con:
        found = con.sql("SELECT * FROM kpis").to_arrow_table().to_pylist()
    return {(row["period"], row["kpi_id"], row["scope"]): row for row in found}


@pytest.mark.parametrize(("day", "minutes"), [("2026-03-02", 30.0), ("2026-03-03", 45.0)])
def test_downtime_between_down_and_up_over_midnight(rows: dict[tuple[str, str, str], dict[str, Any]], day: str, minutes: float) -> None:  # fmt: skip
    for scope in ("all", "service:checkout", "team:shop"):
        row = rows[day, "downtime_minutes", scope]
        assert (row["value"], row["n"], row["population"]) == (minutes, 1, 1), scope


def test_errors_durations_and_deployments_of_the_service(rows: dict[tuple[str, str, str], dict[str, Any]]) -> None:
    failed = rows["2026-03-02", "error_rate_by_service", "service:checkout"]
    assert (failed["n"], failed["population"]) == (23, 23 * 60)
    assert rows["2026-03-02", "slow_operations", "service:checkout"]["value"] == 0.25
    released = rows["2026-03-02", "releases", "service:checkout"]
    assert (released["value"], rows["2026-03-03", "releases", "all"]["value"]) == (1.0, 0.0)  # on record, none that day
