"""What `audit-pipeline kpi` tells: the list, a stored number with what is known about it, and how it came about.

Belongs here: putting together what a person asks for. Not here: printing (`cli_kpi`), computing (`compute`).
Events are shown without names: what was typed into a sign-in may be a password. `query` has the rest.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline.clock import DAY
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.kpis.catalogue import Kpi, KpiError, load
from audit_pipeline.kpis.compute import DETAILS, told
from audit_pipeline.kpis.measure import Reader, Span
from audit_pipeline.kpis.statement import drilling, measuring
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings

FIRST = 5
"""events that `explain` shows"""
_LISTED = ("id", "group", "title", "unit", "kind", "direction", "target", "owner", "scopes", "incomplete")
_SHOWN = (
    "time", "x_source", "x_actor_kind", "api_service_name", "api_operation", "class_uid", "activity_id", "status_id", "src_endpoint_ip", "duration",
    "x_segment", "x_line", "day", "source", "verdict", "service", "version", "change_id", "since", "until", "minutes", "finding_id", "rule_id", "team",
    "state", "seconds", "detection_id", "n",
)  # fmt: skip
"""Columns that `explain` shows of a row, where it has them."""


def list_kpis(settings: Settings) -> list[dict[str, Any]]:
    """Every KPI that can be computed, in the order of reports."""
    return [{name: getattr(kpi, name) for name in _LISTED} for kpi in load(settings)[0].values()]


def show(settings: Settings, kpi_id: str, day: dt.date | None = None, scope: str | None = None) -> dict[str, Any]:
    """The stored numbers of a KPI on a day (none: the last computed), and the details kept beside them.

    Raises:
        UsageError: there is no such KPI or scope.
        UserError: the day was not computed; says how to.
    """
    lake = Lake.open(settings.lake_url)
    kpi, day = _kpi(settings, kpi_id), _day(lake, day)
    with connect(lake, since=day, until=day, tables=["kpis"]) as con:
        rows = con.sql("SELECT * FROM kpis WHERE kpi_id = ? ORDER BY scope <> 'all', scope", params=[kpi_id]).to_arrow_table().to_pylist()  # fmt: skip
    note = lake.table_metadata("kpis", day) or {}
    known = [row["scope"] for row in rows]
    if scope is not None and scope not in known:
        raise UsageError(f"kpi {kpi_id}: no scope {scope!r} on {day}; it has {', '.join(known) or 'none'}.")
    failed = [one["reason"] for one in json.loads(note.get("kpi_errors", "[]")) if one["file"] == kpi.file.name]
    return {
        "id": kpi.id,
        "title": kpi.title,
        "day": day,
        "explanation": kpi.explanation,
        "numbers": [row for row in rows if scope in (None, row["scope"])],
        "details": json.loads(note.get(DETAILS, "{}")).get(kpi_id, []),
        "failed": failed,
    }


def explain(
    settings: Settings,
    kpi_id: str,
    day: dt.date | None = None,
    scope: str = "all",
    *,
    made: Callable[[Lake, dt.date], Mapping[str, pa.Table]] = lambda _lake, _day: {},
) -> dict[str, Any]:
    """The definition of a KPI, its SQL and parameters, the SELECT of what was counted on a day, and the first of it.

    `made` gives the tables that other parts make of a day (`reviews`).

    Raises:
        UsageError: there is no such KPI.
        KpiError: its SQL cannot be run.
        UserError: the day was not computed; says how to.
    """
    lake = Lake.open(settings.lake_url)
    kpi, day = _kpi(settings, kpi_id), _day(lake, day)
    span = Span.whole(day - (kpi.window - 1) * DAY, day)
    drill = drilling(kpi, settings, scope)
    parameters = span.parameters(f"{measuring(kpi, settings)} {drill}", settings)
    rows: list[dict[str, Any]] = []
    if drill is not None:
        reader = Reader(settings, lake, day, made(lake, day))
        with contextlib.closing(reader.open(Span.whole(day, day), kpi.look_back)) as con:
            try:
                rows = _first(reader, con, drill, span)
            except duckdb.Error as error:
                raise KpiError(kpi.file, str(error).splitlines()[0]) from None
    return {
        **{name: getattr(kpi, name) for name in _LISTED},
        "file": kpi.file.name,
        "explanation": kpi.explanation,
        "day": day,
        "scope": scope,
        "parameters": parameters or {},
        "sql": measuring(kpi, settings),
        "drill": drill,
        "first": rows,
    }


def _first(reader: Reader, con: duckdb.DuckDBPyConnection, drill: str, span: Span) -> list[dict[str, Any]]:
    """The first rows, in the order of time where there is one."""
    names = reader.rows(con, f"SELECT * FROM (\n{drill}\n) LIMIT 0", span).column_names
    order = [name for name in ("time", "day", "since", "first_day", "x_segment", "x_line") if name in names]
    columns = ", ".join(f'"{name}"' for name in _SHOWN if name in names)
    ordered = ", ".join(f'"{name}"' for name in order) or "ALL"
    sql = f"SELECT {columns} FROM (\n{drill}\n) ORDER BY {ordered} LIMIT {FIRST}"
    return told(reader.rows(con, sql, span).to_pylist())


def _kpi(settings: Settings, kpi_id: str) -> Kpi:
    known, errors = load(settings)
    if kpi_id in known:
        return known[kpi_id]
    for error in errors:
        if error.file.stem == kpi_id:
            raise error
    near = difflib.get_close_matches(kpi_id, known, n=1)
    raise UsageError(
        f"kpi {kpi_id!r}: there is none of that id{f'; did you mean {near[0]}?' if near else '.'} See `audit-pipeline kpi list`."
    )


def _day(lake: Lake, day: dt.date | None) -> dt.date:
    days = lake.days("kpis")
    if day is None and not days:
        raise UserError("kpi: no day was computed yet. Run `audit-pipeline run --date YYYY-MM-DD` first.")
    if day is not None and day not in days:
        raise UserError(f"kpi: {day} was not computed. Run `audit-pipeline run --date {day}` first.")
    return day or days[-1]
