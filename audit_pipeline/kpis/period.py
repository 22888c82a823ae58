"""KPIs of a week, a month or any days: measured again over the days that can be used, with the others named.

Belongs here: which days enter, and what a number over them is worth. Not here: a day's own numbers (`compute`), the statements
(`statement`). Numbers are not made of the days' numbers: accounts of two days may be the same, percentiles do not add up.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.kpis.catalogue import Kpi, KpiError, load
from audit_pipeline.kpis.compute import LACKING, WHOLE, figures, number, state, told
from audit_pipeline.kpis.measure import Measured, Reader, Span
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES, VERDICTS
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings

SCHEMA = pa.schema([*TABLES["kpis"].schema, pa.field("left_out", pa.list_(pa.date32()))])
"""Columns of the table `kpis`, and the days that did not enter."""
_STORED = "SELECT kpi_id, scope, period, value IS NOT NULL AS has, population IS NOT NULL AS heard, verdict FROM kpis"


@dataclass(frozen=True)
class Stored:
    """What a day's table says about one KPI and scope."""

    has: bool
    heard: bool
    verdict: str


@dataclass
class Period:
    """The KPIs of some days: their rows (`SCHEMA`), the details by KPI, and what failed."""

    table: pa.Table
    details: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    errors: list[KpiError] = field(default_factory=list)


def measure_period(
    settings: Settings,
    lake: Lake,
    start: dt.date,
    end: dt.date,
    *,
    tables: Mapping[str, pa.Table] | None = None,
    compare: bool = True,
) -> Period:
    """The KPIs over the days from `start` to `end`, both included; writes nothing.

    A day enters where the stored table `kpis` of that day has it and its sources lack nothing (`partial` and `missing` are left
    out and named, except where incompleteness is what is measured). `good` is said only where no day was left out.

    Args:
        settings: the configuration.
        lake: the lake.
        start: the first day (UTC).
        end: the last day (UTC), included.
        tables: as for `compute`.
        compare: whether `previous` is measured: the same over the period before, where at least half of its days can be used;
            without it there are no details either: it is how the period before is measured.
    """
    known, errors = load(settings)
    before = _before(settings, lake, start, end, tables) if compare else {}
    stored = _stored(lake, start, end)
    span = Span.whole(start, end)
    rows: list[dict[str, Any]] = []
    details: dict[str, list[dict[str, Any]]] = {}
    with _Days(Reader(settings, lake, end, tables, known.values()), span) as opened:
        for kpi in known.values():
            mine = {scope: days for (kpi_id, scope), days in stored.items() if kpi_id == kpi.id}
            try:
                found, explained = _measure(opened, kpi, mine, explain=compare)
            except (duckdb.Error, KpiError) as error:
                errors.append(error if isinstance(error, KpiError) else KpiError(kpi.file, str(error).splitlines()[0]))
                found, explained = {"all": (None, ())}, []
            details |= {kpi.id: explained} if explained else {}
            for scope, (measured, used) in sorted(found.items(), key=lambda item: (item[0] != "all", item[0])):
                verdicts = [_stored_of(mine, scope, day).verdict for day in used]
                rows.append(_row(kpi, scope, span, measured, used, verdicts, before.get((kpi.id, scope))))
    return Period(pa.Table.from_pylist(rows, schema=SCHEMA), details, errors)


_ByDay = dict[dt.date, Stored]
_Used = tuple[dt.date, ...]


class _Days(contextlib.ExitStack):
    """The connections of a period: most KPIs and scopes use the same days."""

    def __init__(self, reader: Reader, span: Span) -> None:
        super().__init__()
        self.reader, self.span = reader, span
        self._open: dict[tuple[_Used, int, str | None], duckdb.DuckDBPyConnection] = {}

    def con(self, used: _Used, look_back: int, past: str | None) -> duckdb.DuckDBPyConnection:
        """A connection that sees the events of these days, and those of `past` in the days before."""
        key = (used, look_back, past)
        if key not in self._open:
            opened = self.reader.open(Span(self.span.first, self.span.last, used), look_back, past)
            self._open[key] = self.enter_context(contextlib.closing(opened))
        return self._open[key]


def _stored(lake: Lake, start: dt.date, end: dt.date) -> dict[tuple[str, str], _ByDay]:
    found: defaultdict[tuple[str, str], _ByDay] = defaultdict(dict)
    with connect(lake, since=start, until=end, tables=["kpis"]) as con:
        for kpi_id, scope, period, has, heard, verdict in con.sql(_STORED).fetchall():
            found[kpi_id, scope][dt.date.fromisoformat(period)] = Stored(has, heard, verdict)
    return found


def _stored_of(mine: Mapping[str, _ByDay], scope: str, day: dt.date) -> Stored:
    """What is stored of a day: the scope's own row, else what is said of all."""
    nothing = Stored(has=False, heard=False, verdict="unknown")
    return mine.get(scope, {}).get(day) or mine.get("all", {}).get(day) or nothing


def _used(kpi: Kpi, mine: Mapping[str, _ByDay], scope: str, days: _Used) -> _Used:
    """The days that enter; what is not made of a day's events needs only that the day was computed."""
    return tuple(day for day in days if _enters(kpi, _stored_of(mine, scope, day)))


def _enters(kpi: Kpi, one: Stored) -> bool:
    if kpi.incomplete == "shown":
        return one.heard and one.verdict not in LACKING
    return one.has if kpi.incomplete == "counted" else one.heard


def _measure(
    opened: _Days, kpi: Kpi, mine: Mapping[str, _ByDay], *, explain: bool
) -> tuple[dict[str, tuple[Measured | None, _Used]], list[dict[str, Any]]]:
    """By scope what was measured over its days, and these; and, to `explain`, the details over the days of `all`."""
    reader, span = opened.reader, opened.span
    sets: defaultdict[_Used, set[str]] = defaultdict(set)
    for scope in {"all", *mine} if "all" in kpi.scopes else set(mine):
        sets[_used(kpi, mine, scope, span.days)].add(scope)
    found: dict[str, tuple[Measured | None, _Used]] = {}
    explained: list[dict[str, Any]] = []
    for used, scopes in sets.items():
        if not used:
            found |= dict.fromkeys(scopes, (None, ()))
            continue
        part = Span(span.first, span.last, used)
        con = opened.con(used, kpi.look_back, kpi.past)
        measured = reader.measure(con, kpi, part)
        found |= {scope: (measured.get(scope), used) for scope in scopes}
        if explain and "all" in scopes:
            explained = told(reader.details(con, kpi, part))
    return found, explained


def _row(
    kpi: Kpi,
    scope: str,
    span: Span,
    measured: Measured | None,
    used: _Used,
    verdicts: list[str],
    previous: float | None,
) -> dict[str, Any]:
    left_out = [day for day in span.days if day not in used]
    worst = min(verdicts, key=VERDICTS.index, default="unknown")
    value = number(kpi, measured, nothing=0.0 if used and all(one in WHOLE for one in verdicts) else None)
    n, population = (measured.n, measured.population) if measured else (0, 0)
    said = state(kpi, value, worst, cases=population)
    return {
        **figures(kpi, scope, value, n, population, previous),
        "period": label(span.first, span.last),
        "start": midnight(span.first),
        "end": midnight(span.last) + DAY,
        "n": n if used else None,
        "population": population if used else None,
        "state": "not_evaluated" if said == "good" and left_out else said,
        "verdict": "partial" if used and left_out else worst,
        "days_used": len(used),
        "days_left_out": len(left_out),
        "left_out": left_out,
    }


def _before(
    settings: Settings, lake: Lake, start: dt.date, end: dt.date, tables: Mapping[str, pa.Table] | None
) -> dict[tuple[str, str], float]:
    """The values of the period before: of a month the month before, else as many days."""
    last = start - DAY
    first = last.replace(day=1) if _is_month(start, end) else last - (end - start)
    rows = measure_period(settings, lake, first, last, tables=tables, compare=False).table.to_pylist()
    return {
        (row["kpi_id"], row["scope"]): row["value"]
        for row in rows
        if row["value"] is not None and row["days_used"] >= row["days_left_out"]
    }


def _is_month(start: dt.date, end: dt.date) -> bool:
    return start.day == 1 and (end + DAY).day == 1 and (start.year, start.month) == (end.year, end.month)


def label(start: dt.date, end: dt.date) -> str:
    """`2026-11-23`, `2026-W47`, `2026-11`, else the ISO 8601 interval `2026-11-20/2026-11-23`."""
    if start == end:
        return start.isoformat()
    if _is_month(start, end):
        return f"{start:%Y-%m}"
    if start.isoweekday() == 1 and end - start == 6 * DAY:
        return f"{start:%G-W%V}"
    return f"{start.isoformat()}/{end.isoformat()}"
