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
EFFECT_DAYS = 90
"""days back to which a report looks for effects that were judged"""
_DETECTIONS = """
SELECT d.* FROM detections d JOIN wanted w ON d.rule_id = w.rule_id AND d.group_key IS NOT DISTINCT FROM w.group_key
ORDER BY d.day DESC, d.last_time DESC, d.detection_id
"""
_KPIS = """
SELECT CAST(start AS DATE) AS day, * FROM kpis
WHERE period = strftime(CAST(start AS DATE), '%Y-%m-%d') AND (scope = 'all' OR start = $start)
ORDER BY kpi_id, scope, day
"""

_EFFECTS = """
SELECT * FROM effects QUALIFY row_number() OVER (PARTITION BY subject, subject_id, kind ORDER BY as_of DESC, effect_id) = 1
ORDER BY subject, subject_id, kind
"""
_RULE_STATES = "SELECT * FROM rule_states ORDER BY day, rule_id"

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
    effects: list[Row]
    """the newest row of each remediation, release window and adjustment, of the `EFFECT_DAYS` days up to the day"""
    rule_states: list[Row]
    """of the day, or of each day of a period"""
    decided: list[Row]
    """decisions recorded before the day's as-of, in order, with their payload as values"""
    decisions_head: tuple[int, str]
    """number and hash of the newest of them"""
    cards: Mapping[str, Row]
    """what the anomaly model says of itself, by ISO day"""
    kpi_details: Mapping[str, list[Row]]
    """rows that explain the day's number, by KPI"""
    of_period: bool = False
    """whether the days are those of a week or month"""

    @property
    def sources(self) -> list[str]:
        """Configured sources, and those that the day still has a row of, by name."""
        today = {source for source, day in self.completeness if day == self.day.isoformat()}
        return sorted({*self.settings.sources, *today})


def read(
    settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date, days: Sequence[dt.date] | None = None
) -> Inputs:
    """Read the lake for the report of a day, or of a period's days of which it is the last; nothing later than the day enters."""
    from audit_pipeline.findings import decisions  # opens the database: not needed to import this package
    from audit_pipeline.findings.view import findings_table

    window = list(days) if days else [day - DAY * step for step in reversed(range(WINDOW))]
    first = window[0]
    findings = _rows(findings_table(settings, lake, engine, until=day))
    before = _rows(findings_table(settings, lake, engine, until=(first if days else day) - DAY))
    with views.connect(lake, since=first, until=day, tables=("completeness", "kpis")) as con:
        completeness = _rows(con.sql("SELECT * FROM completeness ORDER BY day, source").to_arrow_table())
        kpis = _rows(con.sql(_KPIS, params={"start": midnight(day)}).to_arrow_table())
    with views.connect(lake, until=day, tables=("detections",)) as con:
        detections = _detections(con, findings)
    with views.connect(lake, since=day - EFFECT_DAYS * DAY, until=day, tables=("effects",)) as con:
        effects = _rows(con.sql(_EFFECTS).to_arrow_table())
    with views.connect(lake, since=first if days else day, until=day, tables=("rule_states",)) as con:
        rule_states = _rows(con.sql(_RULE_STATES).to_arrow_table())
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
        effects=effects,
        rule_states=rule_states,
        decided=[_decision(one) for one in decisions.read(engine, settings.as_of(day))],
        decisions_head=decisions.head(engine, settings.as_of(day)),
        cards=_cards(lake, window if days else [day]),
        kpi_details=json.loads((lake.table_metadata("kpis", day) or {}).get("kpi_details", "{}")),
        of_period=days is not None,
    )


def _decision(one: Any) -> Row:
    names = ("seq", "finding_id", "action", "person", "identity", "recorded_at", "effective_at", "reason")
    return {**{name: plain(getattr(one, name)) for name in names}, "payload": json.loads(one.payload)}


def _cards(lake: Lake, days: Sequence[dt.date]) -> dict[str, Row]:
    notes = {day.isoformat(): lake.table_metadata("anomalies", day) for day in days}
    return {day: json.loads(note.get("card", "{}")) for day, note in notes.items() if note is not None}


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
