"""A lake with event rows from dicts, for the tests of detections, findings and KPIs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline.clock import UTC
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings

DAY = dt.date(2026, 3, 2)  # a Monday
LONG_AGO = DAY - dt.timedelta(days=20)


def at(hour: int, minute: int = 0, second: float = 0, day: dt.date = DAY) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), UTC) + dt.timedelta(hours=hour, minutes=minute, seconds=second)


def make_settings(root: Path, text: str = "") -> Settings:
    text = text or "sources: {idp: {type: files, format: cloudtrail}, vpn: {type: files, format: cloudtrail}}"
    return Settings.from_text("start: 2026-01-01\n" + text, root / "pipeline.yaml")


def open_lake(root: Path) -> Lake:
    return Lake.open(str(root / "lake"))


def write_events(lake: Lake, rows: list[dict[str, Any]], *, known: bool = True) -> None:
    """Rows by their source and day; a row has at least `time`. Whoever is `known` signed in once, long before the other events."""
    if known:
        introduce(lake, {row.get(name) for row in rows for name in ("user_name", "x_actor")})
    parts: dict[tuple[str, dt.date], list[dict[str, Any]]] = {}
    for i, row in enumerate(rows):
        full = {"x_source": "idp", "x_segment": "raw/idp/1", "x_line": i, "metadata_uid": f"e{i}", **row}
        full["day"] = full["time"].date()
        parts.setdefault((full["x_source"], full["day"]), []).append(full)
    for (source, day), part in parts.items():
        lake.write_table("events", pa.Table.from_pylist(part, schema=EVENT_SCHEMA), day, source)


def introduce(lake: Lake, names: set[str | None]) -> None:
    """A successful sign-in of each, so that they are accounts and no passwords typed into the wrong field."""
    file = TABLES["events"].file(LONG_AGO, "idp")
    if lake.exists(file):
        names = names | set(pq.read_table(lake.path(file), columns=["user_name"]).column("user_name").to_pylist())
    rows = [
        {"time": at(8, day=LONG_AGO), "day": LONG_AGO, "class_uid": 3002, "activity_id": 1, "status_id": 1, "user_name": name, "x_source": "idp"}
        for name in sorted(name for name in names if name)
    ]  # fmt: skip
    lake.write_table("events", pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), LONG_AGO, "idp")


def write_completeness(lake: Lake, day: dt.date, verdicts: dict[str, str], codes: dict[str, str] | None = None) -> None:
    """One row a source: its verdict, and one reason where `codes` has one."""
    rows = [
        {"day": day, "source": source, "verdict": verdict, "reasons": [{"code": code}] if (code := (codes or {}).get(source)) else []}
        for source, verdict in verdicts.items()
    ]  # fmt: skip
    lake.write_table("completeness", pa.Table.from_pylist(rows, schema=TABLES["completeness"].schema), day)


def failed(user: str | None, time: dt.datetime, **more: Any) -> dict[str, Any]:
    """A failed sign-in."""
    return {"time": time, "class_uid": 3002, "activity_id": 1, "status_id": 2, "user_name": user, **more}


def burst(user: str | None, start: dt.datetime, n: int, every: float = 10, **more: Any) -> list[dict[str, Any]]:
    """Failed sign-ins, one each `every` seconds."""
    return [failed(user, start + dt.timedelta(seconds=every * i), **more) for i in range(n)]
