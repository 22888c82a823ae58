"""A small synthetic lake for the tests of reports and mail: 14 days, three sources, written through the real lake.

On the last day `payments_db` was silent for nine hours; `linux_edge` had nothing on the 6th day and was computed by no run on the
7th; actors have names that try to break out of whatever prints them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import DAY, UTC, SimulatedClock, SystemClock, midnight
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

LAST = dt.date(2026, 11, 23)
FIRST = LAST - 13 * DAY
SOURCES = ("cloudtrail_prod", "linux_edge", "payments_db")
PAYLOADS = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(2)>',
    "bidi": "invoice\u202egnp.exe",
    "ansi": "\x1b[31mroot\x1b[0m\x00",
    "formula": '=HYPERLINK("http://evil.example/","click")',
    "tab": "\t=1+1",
    "wide": "＝cmd|' /C calc'!A0",
    "link": "javascript:alert(3)",
    "url": "https://evil.example/?a=1",
    "header": "x\r\nBcc: victim@example.com",
    "jinja": "{{ 7 * 7 }}{% raw %}",
}
CONFIG = """
lake: ./lake
state_url: sqlite:///state.db
clock: {clock}
start: 2026-01-01
sources:
  cloudtrail_prod: {{type: files, format: cloudtrail, paths: ["logs/**"], team: cloud}}
  linux_edge: {{type: files, format: auditd, paths: ["edge/**"], team: platform}}
  payments_db: {{type: files, format: pgaudit, paths: ["pay/**"], team: payments, settles_after: 2h}}
teams:
  cloud: {{mail: [cloud@example.com], owns: ["source:cloudtrail_prod"]}}
  platform: {{mail: [platform@example.com], owns: ["source:linux_edge"]}}
  payments: {{mail: [payments@example.com], owns: ["source:payments_db"]}}
reports: {{daily: {{to: [ciso@example.com, cloud@example.com]}}, base_url: "https://audit.example.com/reports"}}
smtp: {{host: 127.0.0.1, port: 25, from: audit@example.com}}
"""
RULE = "7d0c1b2e-3f45-4b8a-8a52-6f1f0b9f3c20"


class Company:
    """Settings, lake and state of the synthetic company below a folder."""

    def __init__(self, root: Path, *, simulated: bool = True) -> None:
        text = CONFIG.format(clock="simulated" if simulated else "system")
        self.settings = Settings.from_text(text, root / "pipeline.yaml")
        self.lake = Lake.open(self.settings.lake_url)
        self.engine: sa.Engine = open_state(self.settings.state_url_resolved)
        self.clock = SimulatedClock(self.settings.as_of(LAST)) if simulated else SystemClock()

    def write(self, name: str, rows: list[dict[str, Any]], day: dt.date) -> None:
        """Replace a partition; columns that a row lacks are null."""
        schema = TABLES[name].schema
        filled = [{column: row.get(column) for column in schema.names} for row in rows]
        self.lake.write_table(name, pa.Table.from_pylist(filled, schema=schema), day)

    def fill(self, *, good: bool = False, hostile: bool = True) -> Company:
        """Write all tables and the evidence chains; `good` leaves out everything that asks for attention."""
        for step in range(14):
            day = FIRST + step * DAY
            self.write("completeness", completeness(day, good=good), day)
            self.write("kpis", kpis(day, good=good), day)
            self.write("detections", [] if good else detections(day, hostile=hostile), day)
            for source in SOURCES:
                self.collect(source, day)
        return self

    def collect(self, source: str, day: dt.date) -> Entry:
        """Chain one more manifest entry."""
        sequence = (manifest.sequences(self.lake, source) or [0])[-1] + 1
        collected = self.settings.as_of(day).isoformat().replace("+00:00", "Z")
        entry = Entry(
            source=source,
            sequence=sequence,
            segment=f"raw/{source}/{day}/{sequence:08d}.segment",
            bytes=40_000_000 + sequence,
            sha256="ab" * 32,
            collected_at=collected,
            clock="simulated",
        )
        return manifest.append(self.lake, entry)


def at(day: dt.date, clock: str) -> dt.datetime:
    """A moment of a UTC day."""
    return dt.datetime.combine(day, dt.time.fromisoformat(clock), UTC)


def completeness(day: dt.date, *, good: bool = False) -> list[dict[str, Any]]:
    """Rows of one day: steady volumes, and the days that are not whole."""
    draw = random.Random(day.toordinal())
    rows = []
    for source, level in zip(SOURCES, (310_000, 42_000, 11_800), strict=True):
        weekend = day.weekday() >= 5
        events = int(level * (0.45 if weekend else 1) * draw.uniform(0.9, 1.1))
        expected = level * (0.45 if weekend else 1)
        row: dict[str, Any] = {
            "day": day, "source": source, "verdict": "no_gap_seen", "reasons": [], "records": events + 120, "events": events, "duplicates": 120,
            "rejects": 0, "expected_low": expected * 0.88, "expected_high": expected * 1.08, "smallest_gap_s": 660.0,
            "baseline_days": (day - FIRST).days + 15, "lag_p50_s": 240.0, "lag_p95_s": 540.0, "lag_max_s": 900.0, "future": 0,
            "collected_until": midnight(day) + DAY, "edition": 1,
        }  # fmt: skip
        rows.append(row if good else _trouble(row, source, day))
    return [row for row in rows if row is not None]


def _trouble(row: dict[str, Any], source: str, day: dt.date) -> dict[str, Any] | None:
    step = (day - FIRST).days
    if source == "linux_edge" and step == 5:
        reason = {
            "code": "no_data",
            "from": midnight(day),
            "to": midnight(day) + DAY,
            "expected": 42_000.0,
            "seen": 0.0,
            "detail": "nothing received",
        }
        counts = dict.fromkeys(("events", "records", "duplicates", "rejects"), 0)
        return {**row, **counts, "verdict": "missing", "reasons": [reason], "smallest_gap_s": None, "lag_p95_s": None}
    if source == "linux_edge" and step == 6:
        return None
    if source == "linux_edge" and step < 2:
        return {
            **row,
            "verdict": "unknown",
            "reasons": [{"code": "cold_start"}],
            "expected_low": None,
            "expected_high": None,
            "smallest_gap_s": None,
        }
    if source == "payments_db" and day == LAST:
        detail = "silent from 08:02 to 17:03, 9 h 1 min; expected 4,300 events; the longest silence usual at these hours is 4 min"
        reason = {
            "code": "silent",
            "from": at(day, "08:02"),
            "to": at(day, "17:03"),
            "expected": 4_300.0,
            "seen": 0.0,
            "share": 0.36,
            "detail": detail,
        }
        return {**row, "verdict": "partial", "events": 7_420, "records": 7_540, "reasons": [reason]}
    return row


def detections(day: dt.date, *, hostile: bool = True) -> list[dict[str, Any]]:
    """A burst on the last day, and on hostile lakes one for each payload; one older finding whose date has passed."""
    rows = []
    if day == LAST:
        rows.append(detection(day, "mara.lindqvist@example.com", n=52))
        if hostile:
            rows += [detection(day, name, n=12) for name in PAYLOADS.values()]
    if day == LAST - 5 * DAY:
        rows.append(detection(day, "svc-backup", n=31))
    return rows


def detection(day: dt.date, actor: str, n: int) -> dict[str, Any]:
    """One detection as the rule engine writes it."""
    key = rfc8785.dumps({"user_name": actor, "x_source": "cloudtrail_prod"}).decode()
    refs = [
        {
            "source": "cloudtrail_prod",
            "segment": f"raw/cloudtrail_prod/{day}/00000014.segment",
            "line": line,
            "uid": actor,
        }
        for line in range(min(n, 8))
    ]
    return {
        "detection_id": hashlib.sha256(f"{day} {actor}".encode()).hexdigest()[:32], "day": day, "rule_id": RULE, "rule_version": "1", "kind": "rule", "level": "high", "x_actor": actor,
        "x_target": actor, "sources": ["cloudtrail_prod"], "first_time": at(day, "03:12"), "last_time": at(day, "03:18"), "n": n, "threshold": 10.0,
        "explanation": f"{n} failed sign-ins for {actor} from 3 addresses in 6 min; threshold 10 in 10 min", "attack": ["attack.t1110.003"],
        "group_key": key, "verdict": "no_gap_seen", "refs": refs,
    }  # fmt: skip


def kpis(day: dt.date, *, good: bool = False) -> list[dict[str, Any]]:
    """Four KPIs over all, with a detail by service; on the last day the lag has no data, on the 7th nothing was computed."""
    step = (day - FIRST).days
    if step == 6 and not good:
        return []
    wave = math.sin(step / 2)
    partial = "partial" if day == LAST and not good else "no_gap_seen"
    failed, attempts = 380 + round(40 * wave) + (60 if day == LAST else 0), 31_000 + 200 * step
    services = [
        kpi(
            day,
            "error_rate_by_service",
            f"service:{name}.amazonaws.com",
            0.004 + 0.003 * i,
            n=40 + i,
            population=9_000 - 700 * i,
        )
        for i, name in enumerate(("s3", "iam", "sts", "ec2", "kms", "sqs", "sns", "rds", "ecr", "eks"))
    ]
    return [
        kpi(day, "failed_sign_ins", "all", float(failed), n=failed, population=attempts, verdict=partial, previous=392.0),
        kpi(day, "error_rate_by_service", "all", 0.0118 + 0.002 * wave, n=3_600, population=305_000, low=0.0114 + 0.002 * wave, high=0.0122 + 0.002 * wave, verdict=partial),
        *services,
        kpi(day, "completeness", "all", 1.0 if partial != "partial" else 2 / 3, n=3 if partial != "partial" else 2, population=3, verdict=partial, target=0.95, state="good" if partial != "partial" else "not_evaluated"),
        kpi(day, "lag", "all", None if day == LAST and not good else 540.0 + 30 * wave, n=None, population=None if day == LAST and not good else 300_000, verdict=partial, state="no_data" if day == LAST and not good else "not_evaluated"),
    ]  # fmt: skip


def kpi(day: dt.date, kpi_id: str, scope: str, value: float | None, **more: Any) -> dict[str, Any]:
    """One row of the table `kpis`."""
    unit = {"failed_sign_ins": "count", "lag": "s"}.get(kpi_id, "share")
    base = {
        "period": day.isoformat(),
        "start": midnight(day),
        "end": midnight(day) + DAY,
        "kpi_id": kpi_id,
        "scope": scope,
        "value": value,
        "unit": unit,
    }
    return {**base, "state": "not_evaluated", "verdict": "no_gap_seen", "days_used": 1, "days_left_out": 0, **more}
