"""KPIs of a day: the numbers, and beside each what is known about the completeness of the sources behind it.

Belongs here: completeness, interval, baseline and state of a day's numbers. Not here: the files (`catalogue`), their SQL
(`statement`, `measure`), weeks and months (`period`), how a verdict is reached (`quality`). A day's KPIs depend on tables of days
up to it. "No data" is null, never 0.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.kpis.catalogue import Kpi, KpiError, load
from audit_pipeline.kpis.measure import Measured, Reader, Span
from audit_pipeline.kpis.statement import looked_at
from audit_pipeline.kpis.statistics import poisson, wilson
from audit_pipeline.lake import computed
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES, VERDICTS
from audit_pipeline.lake.views import connect
from audit_pipeline.privacy.masks import mask, masked_apart
from audit_pipeline.settings import Settings

WHOLE = ("proven", "no_gap_seen")
LACKING = ("partial", "missing")
DETAILS = "kpi_details"
"""Key in the table's metadata: JSON of KPI id to the rows (at most five) that explain its number, as `details` of its file gives them."""
_LOOK_BACK = 7
"""days in which a source without data today is looked for, to know whether it feeds a KPI"""
_WEEKS = 4
_LEAST = 2
"""same weekdays with a usable value that a trend needs, of the four weeks before"""


@dataclass(frozen=True)
class Coverage:
    """What is known of a source on the day; `seen` is false where nobody collected it or nothing came."""

    verdict: str
    seen: bool


History = dict[tuple[str, str], dict[dt.date, tuple[float, str | None]]]
"""Stored values and their verdicts by KPI and scope, then day."""


def compute(settings: Settings, lake: Lake, day: dt.date, *, tables: Mapping[str, pa.Table] | None = None) -> pa.Table:
    """Compute and write the table `kpis` of a day.

    A KPI that fails does not stop the others: `table_metadata("kpis", day)["kpi_errors"]` names it.

    Args:
        settings: the configuration.
        lake: the lake.
        day: the day (UTC).
        tables: what other parts make and KPI SQL may read by name: `reviews`.
    """
    known, errors = load(settings)
    made_from = computed.inputs(lake, settings.sources, day)
    rows, details, failed = numbers(settings, lake, day, known, tables)
    table = pa.Table.from_pylist(rows, schema=TABLES["kpis"].schema)
    failures = [{"file": error.file.name, "reason": error.reason} for error in [*errors, *failed]]
    note = {"kpi_errors": json.dumps(failures, sort_keys=True), computed.META: made_from, DETAILS: json.dumps(details)}
    lake.write_table("kpis", table, day, metadata=note)
    return table


def numbers(
    settings: Settings,
    lake: Lake,
    day: dt.date,
    known: Mapping[str, Kpi],
    tables: Mapping[str, pa.Table] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]], list[KpiError]]:
    """The day's rows of some KPIs, the details by KPI, and what failed; writes nothing."""
    history = _history(lake, day)
    rows: list[dict[str, Any]] = []
    details: dict[str, list[dict[str, Any]]] = {}
    errors: list[KpiError] = []
    with _Day(settings, Reader(settings, lake, day, tables, known.values())) as today:
        for kpi in known.values():
            try:
                found, explained = today.numbers(kpi)
            except (duckdb.Error, KpiError) as error:
                errors.append(error if isinstance(error, KpiError) else KpiError(kpi.file, str(error).splitlines()[0]))
                found, explained = {"all": (None, [])}, []
            details |= {kpi.id: explained} if explained else {}
            shown = masked_apart(found)
            rows += [
                _row(kpi, shown[scope], day, measured, behind, history)
                for scope, (measured, behind) in sorted(found.items(), key=lambda item: (item[0] != "all", item[0]))
            ]
    return rows, details, errors


class _Day(contextlib.ExitStack):
    """The connections of a day, opened when the first KPI needs them."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        super().__init__()
        self.settings, self.reader, self.day = settings, reader, reader.until
        self._open: dict[tuple[int, str | None], duckdb.DuckDBPyConnection] = {}

    def con(self, days_before: int, past: str | None = None) -> duckdb.DuckDBPyConnection:
        """A connection that sees the events of the day, and of so many days before (those of `past`)."""
        key = (days_before, past)
        if key not in self._open:
            opened = self.reader.open(Span.whole(self.day, self.day), days_before, past)
            self._open[key] = self.enter_context(contextlib.closing(opened))
        return self._open[key]

    @functools.cached_property
    def coverage(self) -> dict[str, Coverage]:
        """Each configured source's verdict of the day."""
        return coverage(self.con(0), self.settings, self.day)

    def numbers(self, kpi: Kpi) -> tuple[dict[str, tuple[Measured | None, list[Coverage]]], list[dict[str, Any]]]:
        """What was measured by scope with the sources behind it, and the rows that explain it."""
        con, span = self.con(kpi.look_back, kpi.past), Span.whole(self.day - (kpi.window - 1) * DAY, self.day)
        measured = self.reader.measure(con, kpi, span)
        scopes = _scopes(kpi, measured, self._feeding(kpi, measured), self.coverage)
        behind = {
            scope: [self.coverage[name] for name in sorted(names) if name in self.coverage]
            for scope, names in scopes.items()
        }
        explained = told(self.reader.details(con, kpi, span))
        return {scope: (measured.get(scope), behind[scope]) for scope in scopes}, explained

    def _feeding(self, kpi: Kpi, measured: Mapping[str, Measured]) -> frozenset[str]:
        """The sources behind the scope `all`: those that gave it something, and those that lack something and might have.

        A source that is not known to be whole counts when it fed the KPI in the week before, or was never heard: nobody can tell then.
        """
        if kpi.incomplete != "shown":
            return frozenset(self.coverage)
        feeding = measured["all"].sources if "all" in measured else frozenset()
        doubtful = {name for name, one in self.coverage.items() if one.verdict not in WHOLE} - feeding
        if doubtful:
            fed = self._fed_before(kpi, doubtful & self._heard)
            doubtful = (doubtful - self._heard) | (doubtful & fed)
        return feeding | doubtful or frozenset(self.coverage)

    @functools.cached_property
    def _heard(self) -> frozenset[str]:
        found = self.con(_LOOK_BACK).sql("SELECT DISTINCT x_source FROM events").fetchall()
        return frozenset(name for (name,) in found)

    def _fed_before(self, kpi: Kpi, doubtful: set[str]) -> frozenset[str]:
        """Those of the sources that gave the KPI something in the week before."""
        if not doubtful:
            return frozenset()
        con, span = (
            self.con(max(_LOOK_BACK, kpi.look_back), kpi.past),
            Span.whole(self.day - _LOOK_BACK * DAY, self.day),
        )
        if kpi.sql is not None:
            before = self.reader.measure(con, kpi, span).get("all")
            return before.sources if before else frozenset()
        found = self.reader.rows(con, f"SELECT DISTINCT source FROM (\n{looked_at(kpi, self.settings)}\n)", span)
        return frozenset(found.column(0).to_pylist())


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Details as JSON holds them; what looks like a secret is masked."""
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    return mask(value) if isinstance(value, str) else value


def _scopes(
    kpi: Kpi, measured: Mapping[str, Measured], feeds: frozenset[str], known: Mapping[str, Coverage]
) -> dict[str, frozenset[str]]:
    """The scopes that get a row, and the sources behind each."""
    scopes = {
        scope: one.sources or (feeds if kpi.incomplete == "apart" else one.sources) for scope, one in measured.items()
    }
    if "source" in kpi.scopes:
        scopes |= {f"source:{name}": frozenset({name}) for name in known}
    if "all" in kpi.scopes:
        scopes["all"] = feeds
    return scopes


def _row(
    kpi: Kpi, scope: str, day: dt.date, measured: Measured | None, sources: list[Coverage], history: History
) -> dict[str, Any]:
    verdict = min((one.verdict for one in sources), key=VERDICTS.index, default="unknown")
    value = _value(kpi, measured, sources, verdict)
    n, population = (measured.n, measured.population) if measured else (0, 0)
    unheard = not population and not (sources and all(one.seen for one in sources))
    previous = _previous(kpi, history.get((kpi.id, scope), {}), day)
    return {
        **figures(kpi, scope, value, n, population, previous),
        "period": day.isoformat(),
        "start": midnight(day),
        "end": midnight(day) + DAY,
        "n": None if unheard else n,
        "population": None if unheard else population,
        "state": state(kpi, value, verdict, cases=population if sources and any(one.seen for one in sources) else 0),
        "verdict": verdict,
        "days_used": int(value is not None),
        "days_left_out": int(value is None),
    }


def figures(
    kpi: Kpi, scope: str, value: float | None, n: int, population: int, previous: float | None
) -> dict[str, Any]:
    """What a row says of its number whatever its period: unit, interval, trend against what was before, target."""
    low, high = interval(kpi, value, n, population)
    return {
        "kpi_id": kpi.id,
        "scope": scope,
        "value": value,
        "unit": kpi.unit,
        "low": low,
        "high": high,
        "previous": previous,
        "trend": (value - previous) / abs(previous) if value is not None and previous else None,
        "target": kpi.target,
    }


def _value(kpi: Kpi, measured: Measured | None, sources: Sequence[Coverage], verdict: str) -> float | None:
    """The number, or null where there is none: nobody looked, nothing came, or nothing to divide by."""
    silent = [one for one in sources if not one.seen]
    if not sources or (len(silent) == len(sources) if kpi.incomplete != "shown" else silent):
        return None
    return number(kpi, measured, nothing=0.0 if verdict in WHOLE else None)


def number(kpi: Kpi, measured: Measured | None, *, nothing: float | None) -> float | None:
    """The value of what was measured; `nothing`: what a count is worth where its population is empty."""
    if measured is None or not measured.population:
        return nothing if kpi.kind == "count" and kpi.incomplete == "shown" else None
    if kpi.kind in ("duration", "median_time"):
        return measured.value
    return float(measured.n) if kpi.kind == "count" else measured.n / measured.population


def interval(kpi: Kpi, value: float | None, n: int, population: int) -> tuple[float | None, float | None]:
    """95 % interval of a rate (Wilson), and of a count whose file says that it is one of independent events (Poisson)."""
    if value is None:
        return None, None
    if kpi.kind == "rate":
        return wilson(n, population)
    return poisson(n) if kpi.kind == "count" and kpi.interval == "poisson" else (None, None)


def state(kpi: Kpi, value: float | None, verdict: str, *, cases: int = 0) -> str:
    """`good` needs a target and a day that is not known to lack something; `bad` a day that is known well enough to say so.

    A median of `cases` that too few have ended for is not evaluated: there are data.
    """
    if value is None:
        return "not_evaluated" if kpi.kind == "median_time" and cases else "no_data"
    if kpi.target is None:
        return "not_evaluated"
    reached = value <= kpi.target if kpi.direction == "lower_is_better" else value >= kpi.target
    if kpi.incomplete == "apart":
        return "good" if reached else "bad"
    if (
        kpi.incomplete == "counted" and not reached
    ):  # what lacks is what is measured; a source's first days cannot be judged
        return "not_evaluated" if verdict == "unknown" else "bad"
    if verdict in LACKING:
        return "not_evaluated"
    return "good" if reached else "bad"


def _previous(kpi: Kpi, stored: Mapping[dt.date, tuple[float, str | None]], day: dt.date) -> float | None:
    """Median of the same weekday in the four weeks before, of which two must have a usable value."""
    found = [stored[one] for one in (day - weeks * 7 * DAY for weeks in range(1, _WEEKS + 1)) if one in stored]
    usable = [value for value, verdict in found if kpi.incomplete != "shown" or verdict not in LACKING]
    return statistics.median(usable) if len(usable) >= _LEAST else None


def _history(lake: Lake, day: dt.date) -> History:
    """The stored values of the same weekdays before, by KPI and scope."""
    history: History = {}
    first, last = day - _WEEKS * 7 * DAY, day - DAY
    with connect(lake, since=first, until=last, tables=["kpis"]) as con:
        query = "SELECT kpi_id, scope, period, value, verdict FROM kpis WHERE value IS NOT NULL AND dayofweek(period::DATE) = dayofweek($day)"
        for kpi_id, scope, period, value, verdict in con.execute(query, {"day": day}).fetchall():
            history.setdefault((kpi_id, scope), {})[dt.date.fromisoformat(period)] = (value, verdict)
    return history


def coverage(con: duckdb.DuckDBPyConnection, settings: Settings, day: dt.date) -> dict[str, Coverage]:
    """Each configured source's verdict of the day; one that no run has judged or collected is unknown and unseen."""
    query = "SELECT source, verdict, list_contains([r.code FOR r IN reasons], 'not_collected') FROM completeness WHERE day = ?"
    judged = {
        source: Coverage(verdict, verdict != "missing" and not (verdict == "unknown" and not_collected))
        for source, verdict, not_collected in con.execute(query, [day]).fetchall()
    }
    return {name: judged.get(name, Coverage("unknown", seen=False)) for name in settings.sources}
