"""What the view with inventory, hours and noise costs against the stored events: `python -m benchmarks.context`.

A million events of two sources and two days, 1,500 accounts with 2,000 rows of inventory, hours with holidays, two noise rules. The
same KPI queries are asked of `lake.views.connect` and of `context.connect`; the median of the CPU times of each is printed (wall
time cannot be compared on a busy machine). `connect` is what opening costs, the reading of the files included; the queries are without it.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from audit_pipeline.context import connect
from audit_pipeline.lake import views
from audit_pipeline.lake.store import Lake
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings

DAYS = (dt.date(2026, 3, 2), dt.date(2026, 3, 3))
ACCOUNTS = 1_500
CONFIG = """
start: 2026-03-01
sources: {one: {type: files, format: cloudtrail, paths: [x]}, two: {type: files, format: cloudtrail, paths: [x]}}
teams: {cloud: {}}
identities: identities.csv
hours: {zone: Europe/Berlin, from: "07:00", to: "19:00", holidays: holidays.csv}
"""
NOISE = "id: {id}\ntitle: t\nreason: r\nowner: cloud\ncreated: 2026-01-01\nexpires: 2027-01-01\nsources: all\nwhere: {{{where}}}\n"
QUERIES = {
    "failed sign-ins by source": "SELECT x_source, count(*), count(*) FILTER (status_id = 2) FROM events WHERE class_uid = 3002 GROUP BY 1",
    "accounts refused by actor": "SELECT x_source, x_actor, count(*) FROM events WHERE status_id = 2 GROUP BY ALL HAVING count(*) > 5",
    "errors by service": "SELECT api_service_name, count(*), count(*) FILTER (status_id = 2) FROM events GROUP BY 1",
    "duration, p95": "SELECT api_operation, quantile_cont(duration, 0.95) FROM events GROUP BY 1",
}
NEW = {
    "off-hours access": "SELECT x_source, count(*) FILTER (x_off_hours), count(*) FROM events WHERE x_actor_kind = 'human' GROUP BY 1",
    "noise share": "SELECT x_source, count(*) FILTER (x_noise_rule IS NOT NULL), count(*) FROM events GROUP BY 1",
}


def main(events: int = 1_000_000, repeat: int = 7) -> dict[str, dict[str, float]]:
    """CPU milliseconds by query: `stored`, `wider` and their ratio; queries of the new columns have no `stored`."""
    with tempfile.TemporaryDirectory() as folder:
        settings, lake = _project(Path(folder), events)
        found: dict[str, dict[str, float]] = {}
        for name, sql in ({"connect": None} | QUERIES | NEW).items():
            sides: dict[str, Callable[[], duckdb.DuckDBPyConnection]] = {}
            if name not in NEW:
                sides["stored"] = lambda: views.connect(lake, tables=["events"])
            sides["wider"] = lambda: connect(settings, lake, tables=["events"])
            found[name] = {side: _median(opened, sql, repeat) for side, opened in sides.items()}
            if name not in NEW:
                found[name]["ratio"] = found[name]["wider"] / found[name]["stored"]
    return found


def _median(opened: Callable[[], duckdb.DuckDBPyConnection], sql: str | None, repeat: int) -> float:
    """CPU milliseconds of opening (no SQL), or of a query on an open connection; the first, which warms up, is left out."""
    times = []
    with opened() as con:
        for _ in range(repeat + 1):
            begin = time.process_time()
            if sql is None:
                opened().close()
            else:
                con.execute(sql).fetchall()
            times.append(1000 * (time.process_time() - begin))
    return statistics.median(times[1:])


def _project(root: Path, events: int) -> tuple[Settings, Lake]:
    rows = [
        f"*,user{n},Person {n % 400},dev,{'service' if n % 5 == 0 else 'human'},Europe/Berlin,cloud,,"
        for n in range(1_000)
    ]
    rows += [
        f"one,user{n},Person {n},dev,human,,cloud,{since},{until}"
        for n in range(1_000, ACCOUNTS)
        for since, until in (("", "2026-03-03"), ("2026-03-03", ""))
    ]
    (root / "identities.csv").write_text("source,account,person,role,kind,zone,team,from,to\n" + "\n".join(rows))
    (root / "holidays.csv").write_text("date,zone,name\n2026-04-03,Europe/Berlin,Good Friday\n2026-12-25,,Christmas\n")
    (root / "noise").mkdir()
    for number, where in enumerate(("api_operation: Op7", "http_request_user_agent|startswith: ELB-HealthChecker")):
        (root / "noise" / f"{number}.yaml").write_text(NOISE.format(id=f"rule{number}", where=where))
    settings, lake = Settings.from_text(CONFIG, root / "pipeline.yaml"), Lake.open(str(root / "lake"))
    random = np.random.default_rng(7)
    for source in settings.sources:
        for day in DAYS:
            lake.write_table("events", _events(random, source, day, events // 4), day, source, {"input_hash": "x"})
    return settings, lake


def _events(random: np.random.Generator, source: str, day: dt.date, n: int) -> pa.Table:
    start = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() * 1_000_000)

    def named(prefix: str, kinds: int) -> pa.Array:
        return pa.array([f"{prefix}{number}" for number in random.integers(0, kinds, n)])

    made: dict[str, Any] = {
        "day": pa.array([day] * n, pa.date32()),
        "time": pa.array(np.sort(random.integers(0, 86_400_000_000, n)) + start, pa.timestamp("us", tz="UTC")),
        "class_uid": pa.array(random.choice([3002, 6003, 6003, 6003], n).astype(np.int32)),
        "status_id": pa.array(random.choice([1, 1, 1, 1, 2], n).astype(np.int32)),
        "duration": pa.array(random.integers(1, 900, n)),
        "x_source": pa.array([source] * n),
        "x_actor": named("user", ACCOUNTS),
        "x_actor_kind": pa.array(["unknown"] * n),
        "api_operation": named("Op", 50),
        "api_service_name": named("service", 20),
        "http_request_user_agent": named("agent/", 30),
        "raw_data": named('{"padding": "' + "x" * 200 + '", "n": ', 10_000),
    }
    return pa.table({field.name: made.get(field.name, pa.nulls(n, field.type)) for field in EVENT_SCHEMA}, EVENT_SCHEMA)


if __name__ == "__main__":
    for query, figures in main().items():
        print(
            query.ljust(28),
            "  ".join(f"{name} {value:.3g}" + ("" if name == "ratio" else " ms") for name, value in figures.items()),
        )
