"""Running the SQL of KPIs: the tables that it may read, and the rows that it has to give.

Belongs here: the connection of a span of days, checking what comes back. Not here: what incomplete days do to a number (`compute`,
`period`) or the statements themselves (`statement`).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.context import connect
from audit_pipeline.context.tables import ADDED
from audit_pipeline.kpis.cases import FINDINGS, findings
from audit_pipeline.kpis.catalogue import Kpi, KpiError
from audit_pipeline.kpis.statement import looked_at, measuring, owner
from audit_pipeline.kpis.statistics import kaplan_meier_median
from audit_pipeline.lake.store import Lake
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings

REVIEWS = pa.schema([("kind", pa.string()), ("day", pa.date32()), ("due_at", pa.timestamp("us", tz="UTC")), ("state", pa.string())])  # fmt: skip
"""What KPI SQL may rely on in the table `reviews`."""
DETAILS = 5
_TABLES = ("events", "rejects", "completeness", "detections", "error_templates")
_KEPT_ROWS = 2_000_000
"""events up to which the columns that KPIs name are read once and kept in memory: more do not pay, and might not fit"""


@dataclass(frozen=True)
class Measured:
    """A row of a KPI's SQL."""

    n: int
    population: int
    value: float | None
    sources: frozenset[str]


@dataclass(frozen=True)
class Span:
    """Days from `first` to `last`, both included; `days`: those of them that are used."""

    first: dt.date
    last: dt.date
    days: tuple[dt.date, ...]

    @classmethod
    def whole(cls, first: dt.date, last: dt.date) -> Span:
        """All days from first to last."""
        return cls(first, last, tuple(first + DAY * n for n in range((last - first).days + 1)))

    def parameters(self, sql: str, settings: Settings) -> dict[str, Any] | None:
        """Those of `$day`, `$start`, `$end` and `$as_of` that the SQL names."""
        end = midnight(self.last) + DAY
        values = {"day": self.last, "start": midnight(self.first), "end": end, "as_of": settings.as_of(self.last)}
        return {name: value for name, value in values.items() if re.search(rf"\${name}\b", sql)} or None


class Reader:
    """The lake as KPI SQL sees it, up to a day; tables that other parts make are handed in by name (`reviews`)."""

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        until: dt.date,
        tables: Mapping[str, pa.Table] | None = None,
        kpis: Iterable[Kpi] = (),
    ) -> None:
        """`kpis`: those that are going to be measured, so that what they need is read once."""
        self.settings, self.lake, self.until = settings, lake, until
        self.tables = dict(tables or {})
        alike: defaultdict[str, list[Kpi]] = defaultdict(list)
        for kpi in kpis:
            if kpi.past or not kpi.look_back:
                alike[kpi.past or "true"].append(kpi)
        self._columns = {where: _named(found, settings) for where, found in alike.items()}

    def open(self, span: Span, look_back: int = 0, past: str | None = None) -> duckdb.DuckDBPyConnection:
        """A connection over the span's days, of which left-out days have no events; or also the `look_back` days before, of which those of `past`."""
        con = connect(self.settings, self.lake, since=span.first - look_back * DAY, until=span.last, tables=_TABLES)
        if not look_back and len(span.days) < (span.last - span.first).days + 1:
            listed = ", ".join(f"DATE '{day.isoformat()}'" for day in span.days) or "NULL"
            for name in ("events", "rejects"):
                con.execute(f"ALTER VIEW {name} RENAME TO all_{name}")
                con.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM all_{name} WHERE day IN ({listed})")
        if past or not look_back:
            self._keep(con, past or "true")
        con.register("sources", pa.table({"source": sorted(self.settings.sources)}))
        con.register("days", pa.table({"day": pa.array(span.days, pa.date32())}))
        con.register("reviews", self.tables.get("reviews", REVIEWS.empty_table()))
        team = owner(self.settings, service="service_name", source="source_name")
        con.execute(f"CREATE TEMP MACRO owner_of(service_name, source_name) AS {team}")
        return con

    def _keep(self, con: duckdb.DuckDBPyConnection, where: str) -> None:
        """Read the columns that KPIs name once: nineteen small scans of wide files cost more than one."""
        columns = self._columns.get(where)
        if columns and (where != "true" or _rows(con) <= _KEPT_ROWS):
            listed = ", ".join(f'"{name}"' for name in columns)
            con.execute(f"CREATE TEMP TABLE kept_events AS SELECT {listed} FROM events WHERE {where}")
            con.execute("DROP VIEW events; ALTER TABLE kept_events RENAME TO events")

    def ready(self, con: duckdb.DuckDBPyConnection, sql: str) -> None:
        """Register what only some KPIs read and what costs something to make."""
        if re.search(r"\bfindings\b", sql):
            if "findings" not in self.tables:
                self.tables["findings"] = findings(self.settings, self.lake, self.until)
            con.register("findings", self.tables["findings"].select(FINDINGS.names))

    def rows(self, con: duckdb.DuckDBPyConnection, sql: str, span: Span) -> pa.Table:
        """What a SELECT gives over the span."""
        self.ready(con, sql)
        return con.sql(f"SELECT * FROM (\n{sql}\n)", params=span.parameters(sql, self.settings)).to_arrow_table()

    def measure(self, con: duckdb.DuckDBPyConnection, kpi: Kpi, span: Span) -> dict[str, Measured]:
        """The numbers of a KPI by scope.

        Raises:
            KpiError: its SQL gives rows that are not of the shape that a KPI needs.
            duckdb.Error: it cannot be run.
        """
        found = self.rows(con, measuring(kpi, self.settings), span)
        needed = {"duration": {"n", "population", "sources", "value"}, "median_time": {"seconds", "done"}}
        columns = {"scope"} | needed.get(kpi.kind, {"n", "population", "sources"})
        if lacking := columns - set(found.column_names):
            raise KpiError(kpi.file, f"its SQL gives no column {', '.join(sorted(lacking))}")
        try:
            rows = found.to_pylist()
            return _medians(rows) if kpi.kind == "median_time" else _checked(kpi, rows)
        except (TypeError, ValueError) as error:
            raise KpiError(kpi.file, f"its SQL gives a value of the wrong kind ({error})") from None

    def details(self, con: duckdb.DuckDBPyConnection, kpi: Kpi, span: Span) -> list[dict[str, Any]]:
        """The rows that explain the number, at most five."""
        if kpi.details is None:
            return []
        sql = kpi.details.strip().rstrip(";")
        if kpi.cases is not None:
            sql = f"WITH cases AS (\n{looked_at(kpi, self.settings)}\n)\n{sql}"
        return list(self.rows(con, sql, span).slice(0, DETAILS).to_pylist())


def _rows(con: duckdb.DuckDBPyConnection) -> int:
    (rows,) = con.execute("SELECT count(*) FROM events").fetchone() or (0,)
    return int(rows)


def _named(kpis: Sequence[Kpi], settings: Settings) -> list[str]:
    """The event columns that the KPIs' SQL names; none where one of them reads whole records."""
    text = " ".join(f"{measuring(kpi, settings)} {kpi.details or ''}" for kpi in kpis)
    words = set(re.findall(r"\w+", text))
    return [] if "raw_data" in words else [name for name in (*EVENT_SCHEMA.names, *ADDED) if name in words]


def _checked(kpi: Kpi, rows: Sequence[Mapping[str, Any]]) -> dict[str, Measured]:
    measured = {str(row["scope"]): _measured(row) for row in rows if row["scope"] is not None}
    if len(measured) != len(rows):
        raise KpiError(kpi.file, "its SQL gives a scope more than once, or a row without one")
    if any(one.n < 0 or (kpi.kind in ("rate", "share") and one.n > one.population) for one in measured.values()):
        raise KpiError(kpi.file, "its SQL gives an n below 0 or above the population")
    return measured


def _measured(row: Mapping[str, Any]) -> Measured:
    value = None if row.get("value") is None else float(row["value"])
    names = frozenset(name for name in row["sources"] or [] if name is not None)
    usable = value if value is not None and math.isfinite(value) else None
    return Measured(int(row["n"] or 0), int(row["population"] or 0), usable, names)


def _medians(rows: Iterable[Mapping[str, Any]]) -> dict[str, Measured]:
    """Cases by scope: n ended of population, and the median of all, those that still run included."""
    cases: dict[str, list[tuple[float, bool]]] = {}
    for row in rows:
        if row["scope"] is not None:
            cases.setdefault(str(row["scope"]), []).append((max(0.0, float(row["seconds"])), bool(row["done"])))
    return {
        scope: Measured(sum(done for _, done in found), len(found), kaplan_meier_median(found), frozenset())
        for scope, found in cases.items()
    }
