"""KPIs of a day: the numbers, and beside each what is known about the completeness of the sources behind it.

Belongs here: running the SQL of KPI files, completeness, interval, baseline, state. Not here: the files (`catalogue`) or how a
verdict is reached (`quality`). A day's KPIs depend on tables of days up to it. "No data" is null, never 0.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.kpis.catalogue import Kpi, KpiError, load
from audit_pipeline.lake import computed
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES, VERDICTS
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings

WHOLE = ("proven", "no_gap_seen")
_Z95 = statistics.NormalDist().inv_cdf(0.975)
_LOOK_BACK = 7 * DAY
"""how far a source without data today is looked for, to know whether it feeds a KPI"""
_BASELINE_DAYS = 7
_STORED_DAYS = 35
"""how many stored days a baseline is searched in"""
_COLUMNS = {"scope", "n", "population", "sources"}


@dataclass(frozen=True)
class Coverage:
    """What is known of a source on the day; `seen` is false where nobody collected it or nothing came."""

    verdict: str
    seen: bool


@dataclass(frozen=True)
class Measured:
    """A row of a KPI's SQL."""

    n: int
    population: int
    value: float | None
    sources: frozenset[str]


History = dict[tuple[str, str], dict[dt.date, tuple[float, str | None]]]
"""Stored values and their verdicts by KPI and scope, then day."""


def compute(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Compute and write the table `kpis` of a day.

    A KPI that fails does not stop the others: `table_metadata("kpis", day)["kpi_errors"]` names it.
    """
    known, errors = load(settings)
    history = _history(lake, day)
    made_from = computed.inputs(lake, settings.sources, day)
    rows: list[dict[str, Any]] = []
    with connect(lake, since=day, until=day, tables=["events", "rejects", "completeness"]) as con:
        _register_sources(con, settings)
        coverage = _coverage(con, settings, day)
        for kpi in known.values():
            try:
                measured = measure(con, kpi, day)
                feeds = _feeding(settings, lake, kpi, day, measured, coverage)
            except (duckdb.Error, KpiError) as error:
                errors.append(error if isinstance(error, KpiError) else KpiError(kpi.file, str(error).splitlines()[0]))
                rows.append(_row(kpi, "all", day, None, [], history))
                continue
            scopes = _scopes(kpi, measured, feeds, coverage)
            for scope in sorted(scopes, key=lambda name: (name != "all", name)):
                behind = [coverage[name] for name in sorted(scopes[scope]) if name in coverage]
                rows.append(_row(kpi, scope, day, measured.get(scope), behind, history))
    table = pa.Table.from_pylist(rows, schema=TABLES["kpis"].schema)
    told = [{"file": error.file.name, "reason": error.reason} for error in errors]
    note = {"kpi_errors": json.dumps(told, sort_keys=True), computed.META: made_from}
    lake.write_table("kpis", table, day, metadata=note)
    return table


def measure(con: duckdb.DuckDBPyConnection, kpi: Kpi, day: dt.date, days: int = 1) -> dict[str, Measured]:
    """The rows of a KPI's SQL by scope, over `days` days that end with `day`.

    Raises:
        KpiError: they are not of the shape that a KPI needs.
        duckdb.Error: the SQL cannot be run.
    """
    end = midnight(day) + DAY
    values = {"day": day, "start": end - days * DAY, "end": end}
    wanted = {name: value for name, value in values.items() if re.search(rf"\${name}\b", kpi.sql)}
    found = con.sql(f"SELECT * FROM (\n{kpi.sql.strip().rstrip(';')}\n)", params=wanted or None).to_arrow_table()
    lacking = _COLUMNS | ({"value"} if kpi.kind == "duration" else set())
    if lacking := lacking - set(found.column_names):
        raise KpiError(kpi.file, f"its SQL gives no column {', '.join(sorted(lacking))}")
    rows = found.to_pylist()
    try:
        measured = {str(row["scope"]): _measured(row) for row in rows if row["scope"] is not None}
    except (TypeError, ValueError) as error:
        raise KpiError(kpi.file, f"its SQL gives a value of the wrong kind ({error})") from None
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


def _scopes(
    kpi: Kpi, measured: Mapping[str, Measured], feeds: frozenset[str], coverage: Mapping[str, Coverage]
) -> dict[str, frozenset[str]]:
    """The scopes that get a row, and the sources behind each."""
    scopes = {scope: one.sources for scope, one in measured.items()}
    if "source" in kpi.scopes:
        scopes |= {f"source:{name}": frozenset({name}) for name in coverage}
    if "all" in kpi.scopes:
        scopes["all"] = feeds
    return scopes


def _feeding(
    settings: Settings,
    lake: Lake,
    kpi: Kpi,
    day: dt.date,
    measured: Mapping[str, Measured],
    coverage: Mapping[str, Coverage],
) -> frozenset[str]:
    """The sources behind the scope `all`: those that gave it something, and those that lack something and might have.

    A source that is not known to be whole counts when it fed the KPI in the week before, or was never heard: nobody can tell then.
    """
    if kpi.incomplete == "counted":
        return frozenset(coverage)
    feeding = measured["all"].sources if "all" in measured else frozenset()
    doubtful = {name for name, one in coverage.items() if one.verdict not in WHOLE} - feeding
    if doubtful:
        with connect(lake, since=day - _LOOK_BACK, until=day, tables=["events", "rejects", "completeness"]) as con:
            _register_sources(con, settings)
            before = measure(con, kpi, day, days=_LOOK_BACK // DAY + 1).get("all")
            heard = {name for (name,) in con.sql("SELECT DISTINCT x_source FROM events").fetchall()}
        doubtful = {name for name in doubtful if name not in heard or (before and name in before.sources)}
    return feeding | doubtful or frozenset(coverage)


def _row(
    kpi: Kpi, scope: str, day: dt.date, measured: Measured | None, sources: list[Coverage], history: History
) -> dict[str, Any]:
    verdict = min((one.verdict for one in sources), key=VERDICTS.index, default="unknown")
    value = _value(kpi, measured, sources, verdict)
    n, population = (measured.n, measured.population) if measured else (0, 0)
    unheard = not population and not (sources and all(one.seen for one in sources))
    interval = kpi.kind == "rate" and value is not None
    low, high = wilson(n, population) if interval else (None, None)
    previous = _previous(kpi, history.get((kpi.id, scope), {}), day)
    return {
        "period": day.isoformat(),
        "start": midnight(day),
        "end": midnight(day) + DAY,
        "kpi_id": kpi.id,
        "scope": scope,
        "value": value,
        "unit": kpi.unit,
        "n": None if unheard else n,
        "population": None if unheard else population,
        "low": low,
        "high": high,
        "previous": previous,
        "trend": (value - previous) / abs(previous) if value is not None and previous else None,
        "target": kpi.target,
        "state": _state(kpi, value, verdict),
        "verdict": verdict,
        "days_used": int(value is not None),
        "days_left_out": int(value is None),
    }


def _value(kpi: Kpi, measured: Measured | None, sources: list[Coverage], verdict: str) -> float | None:
    """The number, or null where there is none: nobody looked, nothing came, or nothing to divide by."""
    silent = [one for one in sources if not one.seen]
    if not sources or (len(silent) == len(sources) if kpi.incomplete == "counted" else silent):
        return None
    if kpi.kind == "duration":
        return measured.value if measured and measured.population else None
    if kpi.kind == "count":
        if measured and measured.population:
            return float(measured.n)
        return 0.0 if verdict in WHOLE else None
    return measured.n / measured.population if measured and measured.population else None


def _state(kpi: Kpi, value: float | None, verdict: str) -> str:
    """`good` needs a target and a day that is not known to lack something; `bad` a day that is known well enough to say so."""
    if value is None:
        return "no_data"
    if kpi.target is None:
        return "not_evaluated"
    reached = value <= kpi.target if kpi.direction == "lower_is_better" else value >= kpi.target
    if (
        kpi.incomplete == "counted" and not reached
    ):  # what lacks is what is measured; a source's first days cannot be judged
        return "not_evaluated" if verdict == "unknown" else "bad"
    if verdict in ("partial", "missing"):
        return "not_evaluated"
    return "good" if reached else "bad"


def wilson(n: int, population: int) -> tuple[float, float]:
    """Score interval (95 %) of the share n of population (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    share, z2 = n / population, _Z95**2
    middle = (share + z2 / (2 * population)) / (1 + z2 / population)
    half = _Z95 / (1 + z2 / population) * math.sqrt(share * (1 - share) / population + z2 / (4 * population**2))
    low = 0.0 if n == 0 else max(0.0, middle - half)
    return low, 1.0 if n == population else min(1.0, middle + half)


def _previous(kpi: Kpi, stored: Mapping[dt.date, tuple[float, str | None]], day: dt.date) -> float | None:
    """Median of the same weekday in the four weeks before, else of the last seven days that have a usable value."""
    usable = {
        one: value
        for one, (value, verdict) in stored.items()
        if kpi.incomplete == "counted" or verdict not in ("partial", "missing")
    }
    weekdays = [usable[one] for one in (day - weeks * 7 * DAY for weeks in range(1, 5)) if one in usable]
    values = weekdays or [usable[one] for one in sorted(usable)[-_BASELINE_DAYS:]]
    return statistics.median(values) if values else None


def _history(lake: Lake, day: dt.date) -> History:
    """The stored values of the days before, by KPI and scope."""
    days = [one for one in lake.days("kpis") if one < day][-_STORED_DAYS:]
    history: History = {}
    if not days:
        return history
    with connect(lake, since=days[0], until=days[-1], tables=["kpis"]) as con:
        query = "SELECT kpi_id, scope, period, value, verdict FROM kpis WHERE value IS NOT NULL"
        for kpi_id, scope, period, value, verdict in con.sql(query).fetchall():
            history.setdefault((kpi_id, scope), {})[dt.date.fromisoformat(period)] = (value, verdict)
    return history


def _coverage(con: duckdb.DuckDBPyConnection, settings: Settings, day: dt.date) -> dict[str, Coverage]:
    """Each configured source's verdict of the day; one that no run has judged or collected is unknown and unseen."""
    query = "SELECT source, verdict, list_contains([r.code FOR r IN reasons], 'not_collected') FROM completeness WHERE day = ?"
    judged = {
        source: Coverage(verdict, verdict != "missing" and not (verdict == "unknown" and not_collected))
        for source, verdict, not_collected in con.execute(query, [day]).fetchall()
    }
    return {name: judged.get(name, Coverage("unknown", seen=False)) for name in settings.sources}


def _register_sources(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    con.register("sources", pa.table({"source": sorted(settings.sources)}))
