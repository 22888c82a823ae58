"""The daily series of a fix: a stored KPI, the detections of its finding, or the events of a recurring error.

Belongs here: which days have a number and why others have none. Not here: which of them are compared (`windows`).
"No data" is never 0: a day without a detection counts as 0 only where its rule was evaluated, a day without the error only where the
sources were whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.effects.model import Point
from audit_pipeline.findings.view import finding_id
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.kpis.compute import LACKING
from audit_pipeline.settings import Settings

NOT_COMPUTED = "not computed"
TABLES = ("kpis", "detections", "rule_states", "error_templates", "completeness", "actor_days")


@dataclass(frozen=True)
class Series:
    """Days that can be used, in order, and the others with the reason."""

    points: list[Point] = field(default_factory=list)
    left_out: dict[dt.date, str] = field(default_factory=dict)
    unit: str = "a day"
    target: float | None = None
    sources: frozenset[str] | None = None
    """sources that feed it; null: all"""


@dataclass(frozen=True)
class Subject:
    """The rule and group of a finding, and the first day on which it was detected."""

    rule_id: str
    group_key: str
    first_day: dt.date
    sources: tuple[str, ...]


def subject(con: duckdb.DuckDBPyConnection, finding: str) -> Subject | None:
    """What a finding is about; none where no detection of it is stored."""
    rows = con.execute(
        "SELECT rule_id, group_key, min(day), list_sort(list_distinct(flatten(list(sources)))) FROM detections GROUP BY ALL"
    ).fetchall()
    found = (row for row in rows if finding_id(row[0], row[1]) == finding)
    return next((Subject(rule, key, day, tuple(sources or ())) for rule, key, day, sources in found), None)


def series(
    settings: Settings, con: duckdb.DuckDBPyConnection, kpi_id: str, scope: str, first: dt.date, last: dt.date
) -> Series:
    """The series of a KPI id and scope (docs/adr/0007) from `first` to `last`."""
    days = [first + DAY * n for n in range((last - first).days + 1)]
    if kpi_id == "detections":
        return detections(con, scope.removeprefix("finding:"), days)
    if kpi_id == "recurring_errors":
        return _template(con, scope.removeprefix("template:"), days)
    return _kpi(settings, con, kpi_id, scope, days)


def detections(con: duckdb.DuckDBPyConnection, finding: str, days: Sequence[dt.date]) -> Series:
    """Events behind the finding's detections, a day each."""
    about = subject(con, finding)
    if about is None:
        return Series(left_out=dict.fromkeys(days, "no detection of the finding is stored"))
    query = "SELECT day, sum(n) FROM detections WHERE rule_id = ? AND group_key = ? GROUP BY day"
    counts = dict(con.execute(query, [about.rule_id, about.group_key]).fetchall())
    states = {
        day: (state, reason)
        for day, state, reason in con.execute(
            "SELECT day, state, reason FROM rule_states WHERE rule_id = ?", [about.rule_id]
        ).fetchall()
    }
    lacking = _incomplete(con, about.sources)
    found = Series(sources=frozenset(about.sources))
    for day in days:
        state, reason = states.get(day, (NOT_COMPUTED, NOT_COMPUTED))
        why = lacking.get(day) or (None if state == "evaluated" else reason or state)
        _add(found, day, counts.get(day, 0) if why is None else None, 1.0, why)
    return found


def _template(con: duckdb.DuckDBPyConnection, template: str, days: Sequence[dt.date]) -> Series:
    counts = dict(
        con.execute("SELECT day, sum(n) FROM error_templates WHERE template_id = ? GROUP BY day", [template]).fetchall()
    )
    (sources,) = con.execute(
        "SELECT list_distinct(flatten(list(sources))) FROM error_templates WHERE template_id = ?", [template]
    ).fetchone() or (None,)
    lacking = _incomplete(con, tuple(sources or ()))
    judged = _judged(con)
    found = Series(sources=frozenset(sources or ()))
    for day in days:
        why = lacking.get(day) or (None if day in judged else NOT_COMPUTED)
        _add(found, day, counts.get(day, 0) if why is None else None, 1.0, why)
    return found


def _kpi(
    settings: Settings, con: duckdb.DuckDBPyConnection, kpi_id: str, scope: str, days: Sequence[dt.date]
) -> Series:
    kpi = catalogue(settings).get(kpi_id)
    if kpi is None:
        return Series(left_out=dict.fromkeys(days, f"there is no KPI {kpi_id}"))
    query = "SELECT period, scope, value, n, population, verdict FROM kpis WHERE kpi_id = ? AND scope IN (?, 'all')"
    rows = con.execute(query, [kpi_id, scope]).fetchall()
    stored: dict[tuple[str, str], dict[str, Any]] = {
        (row[0], row[1]): {"value": row[2], "n": row[3], "population": row[4], "verdict": row[5]} for row in rows
    }
    rate = kpi.kind in ("rate", "share")
    kind, _, name = scope.partition(":")
    found = Series(unit=kpi.unit, target=kpi.target, sources=frozenset({name}) if kind == "source" else None)
    for day in days:
        row, whole = stored.get((day.isoformat(), scope)), stored.get((day.isoformat(), "all"))
        if row is None and whole is not None and kpi.kind == "count":  # teams and services have a row only where seen
            row = {**whole, "value": None if whole["value"] is None else 0.0}
        why = NOT_COMPUTED if row is None and whole is None else _why(row, apart=kpi.incomplete == "apart")
        if row is None or why is not None:
            _add(found, day, None, 1.0, why or "no data")
        elif rate:
            _add(found, day, row["n"], float(row["population"]), None)
        else:
            _add(found, day, row["value"], 1.0, None)
    return found


def _why(row: dict[str, Any] | None, *, apart: bool) -> str | None:
    """Why a stored row is not used; null where it is."""
    if row is not None and not apart and row["verdict"] in LACKING:
        return str(row["verdict"])
    return "no data" if row is None or row["value"] is None else None


def _add(found: Series, day: dt.date, n: float | None, exposure: float, why: str | None) -> None:
    if n is None or why is not None or not exposure:
        found.left_out[day] = why or "no data"
    else:
        found.points.append(Point(day, float(n), exposure))


def _incomplete(con: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> dict[dt.date, str]:
    """Days on which one of the sources was not whole, and what it was."""
    rows = con.execute(
        "SELECT day, source, verdict FROM completeness WHERE verdict IN ('partial', 'missing') "
        "OR list_contains([r.code FOR r IN reasons], 'not_collected') ORDER BY day, source"
    ).fetchall()
    found: dict[dt.date, str] = {}
    for day, source, verdict in rows:
        if source in sources:
            found.setdefault(day, f"{source} {verdict}")
    return found


def _judged(con: duckdb.DuckDBPyConnection) -> set[dt.date]:
    return {day for (day,) in con.execute("SELECT DISTINCT day FROM completeness").fetchall()}
