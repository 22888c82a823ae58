"""What a report reads: the lake's tables of its days, and the findings as they stood at their end and before them.

Belongs here: reading, and turning rows into plain JSON values. Not here: what the rows mean.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake import views
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

WINDOW = 14
"""days of history in a daily report, the day itself included"""
_DETECTIONS = """
SELECT d.* FROM detections d JOIN wanted w ON d.rule_id = w.rule_id AND d.group_key IS NOT DISTINCT FROM w.group_key
ORDER BY d.day DESC, d.last_time DESC, d.detection_id
"""
_KPIS = """
SELECT CAST(start AS DATE) AS day, * FROM kpis
WHERE period = strftime(CAST(start AS DATE), '%Y-%m-%d') AND (scope = 'all' OR start = $start)
ORDER BY kpi_id, scope, day
"""

TABLES = frozenset({"completeness", "detections", "kpis"})
"""tables that a day's report rests on; without a day's partition of one, the report says so"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """Everything that a daily report is made of, as plain values."""

    settings: Settings
    lake: Lake
    day: dt.date
    days: tuple[str, ...]
    """the days shown, ISO, oldest first: the last 14, or those of a period"""
    completeness: Mapping[tuple[str, str], Row]
    """by source and ISO day; a day that no run has computed is absent"""
    kpis: list[Row]
    findings: list[Row]
    findings_before: Mapping[str, Row]
    """as of the day (or the period) before, by finding id"""
    detections: Mapping[tuple[str, str | None], list[Row]]
    """by rule and group key, newest first; of all days up to the day"""
    computed: frozenset[str]
    """tables that have a partition of the day"""
    errors: Mapping[str, int]
    """`rule` and `KPI`: how many could not be run on the day"""

    @property
    def sources(self) -> list[str]:
        """Configured sources, and those that the day still has a row of, by name."""
        today = {source for source, day in self.completeness if day == self.day.isoformat()}
        return sorted({*self.settings.sources, *today})


def read(
    settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date, days: Sequence[dt.date] | None = None
) -> Inputs:
    """Read the lake for the report of a day, or of a period's days of which it is the last; nothing later than the day enters."""
    from audit_pipeline.findings.view import findings_table  # opens the decisions: not needed to import this package

    window = list(days) if days else [day - DAY * step for step in reversed(range(WINDOW))]
    first = window[0]
    findings = _rows(findings_table(settings, lake, engine, until=day))
    before = _rows(findings_table(settings, lake, engine, until=(first if days else day) - DAY))
    with views.connect(lake, since=first, until=day, tables=("completeness", "kpis")) as con:
        completeness = _rows(con.sql("SELECT * FROM completeness ORDER BY day, source").to_arrow_table())
        kpis = _rows(con.sql(_KPIS, params={"start": midnight(day)}).to_arrow_table())
    with views.connect(lake, until=day, tables=("detections",)) as con:
        detections = _detections(con, findings)
    return Inputs(
        settings=settings,
        lake=lake,
        day=day,
        days=tuple(one.isoformat() for one in window),
        completeness={(row["source"], row["day"]): row for row in completeness},
        kpis=kpis,
        findings=findings,
        findings_before={row["finding_id"]: row for row in before},
        detections=detections,
        computed=frozenset(name for name in TABLES if day in lake.days(name)),
        errors={
            "rule": _errors(lake, "detections", "rule_errors", day),
            "KPI": _errors(lake, "kpis", "kpi_errors", day),
        },
    )


def _detections(con: duckdb.DuckDBPyConnection, findings: list[Row]) -> dict[tuple[str, str | None], list[Row]]:
    keys = [{"rule_id": row["rule_id"], "group_key": row["group_key"]} for row in findings]
    schema = pa.schema([("rule_id", pa.string()), ("group_key", pa.string())])
    con.register("wanted", pa.Table.from_pylist(keys, schema=schema))
    found: dict[tuple[str, str | None], list[Row]] = {}
    for row in _rows(con.sql(_DETECTIONS).to_arrow_table()):
        found.setdefault((row["rule_id"], row["group_key"]), []).append(row)
    return found


def _errors(lake: Lake, name: str, key: str, day: dt.date) -> int:
    """How many rules or KPIs could not be run; the run kept it beside the table."""
    return len(json.loads((lake.table_metadata(name, day) or {}).get(key, "[]")))


def _rows(table: pa.Table) -> list[Row]:
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


def plain(value: Any) -> Any:
    """A value as JSON has it: times as RFC 3339, days as ISO, not-a-number as null (there is no number to show)."""
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
