"""A source's day in numbers, computed by DuckDB over `events` and `rejects`.

Belongs here: counts, null shares, lag, silent intervals. Not here: whether a number is good (`completeness`, `expectations`).
Only the day itself and the one before it are read, so nothing later can enter.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from audit_pipeline.clock import DAY, UTC, midnight

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
FUTURE_TOLERANCE_S = 300
"""Clocks differ: a record counts as dated into the future when it lies more than this after it became visible."""
LATE_S = 129_600
"""A record counts as late when it became visible more than this after it happened: a daily rotation takes a day, and half of one to arrive."""
GAPS_KEPT = 10

LAG = '((epoch_us(x_visible_time) - epoch_us("time")) / 1e6)'
"""Seconds from event to visible time; null where the visible time is not known. (`date_diff` is eight times slower.)"""

ARRIVAL = "((epoch_us(x_visible_time) - epoch_us(CAST($day AS TIMESTAMP))) / 1e6 - 86400)"
"""Seconds from the end of the day to visible time, negative where it was earlier: a host that rotates its logs once a day is not late."""

MANDATORY: dict[str, str] = {
    "time": '"time" IS NULL',
    "actor": "actor_user_name IS NULL AND actor_user_uid IS NULL AND actor_invoked_by IS NULL AND user_name IS NULL AND user_uid IS NULL",
    "operation": "api_operation IS NULL AND metadata_event_code IS NULL",
    "outcome": "coalesce(status_id, 0) = 0 AND coalesce(class_uid, 0) NOT IN (4001, 4007)",  # a line that is opened or closed has none
    "address": "src_endpoint_ip IS NULL AND src_endpoint_hostname IS NULL AND device_hostname IS NULL",  # a local act happens on its host
}
"""What an audit record has to say (NIST SP 800-53 AU-3: what, when, where, source, outcome, who); SQL that is true where it is absent."""

CONDITIONS: dict[str, str] = {
    **{f"null_share_{name}": condition for name, condition in MANDATORY.items()},
    "duplicates_share": "x_duplicates > 0",
    "future": f"{LAG} < -{FUTURE_TOLERANCE_S}",
    "late": f"{LAG} > {LATE_S}",
}
"""Profile column to the SQL condition of the events that make it what it is: how examples are drawn."""

_OF = "x_source = $source AND day = $day"


@dataclass(frozen=True)
class Minutes:
    """The occupied minutes of a UTC day, in order: enough for every silence of more than a minute, and 1,440 rows at most.

    Times are microseconds since midnight.
    """

    day: dt.date
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    @cached_property
    def events(self) -> int:
        """Events of the day."""
        return int(self.count.sum())

    @cached_property
    def hours(self) -> npt.NDArray[np.float64]:
        """Events in each of the 24 hours."""
        return np.bincount(self.first // HOUR_US, weights=self.count, minlength=24)[:24].astype(np.float64)

    def gaps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Start and end of each interval without an event, from midnight to midnight; intervals inside a minute are left out."""
        return np.concatenate([[0], self.last]), np.concatenate([self.first, [DAY_US]])

    def without(self, start_us: int, end_us: int) -> Minutes:
        """The day without its events from `start_us` to `end_us`; what a minute at either edge keeps is its outermost event."""
        begins, ends = self.first < start_us, self.last > end_us
        kept = begins | ends
        last = np.where(begins & ~ends & (self.last >= start_us), self.first, self.last)
        first = np.where(ends & ~begins & (self.first <= end_us), self.last, self.first)
        return Minutes(self.day, first[kept], last[kept], self.count[kept])


@dataclass(frozen=True)
class Gap:
    """An interval without an event; `start` may lie on the day before (the lead gap), `end` is never after the day's end."""

    start: dt.datetime
    end: dt.datetime

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True)
class Profile:
    """A source's day in numbers; a share or a lag of no events is null, never 0."""

    source: str
    day: dt.date
    records: int
    """the source's records behind the events: merged ones and extra copies included, rejects not"""
    events: int
    duplicates: int
    rejects: int
    null_shares: dict[str, float | None]
    lag_p50_s: float | None
    lag_p95_s: float | None
    lag_max_s: float | None
    """visible time minus event time, of the records whose visible time is known"""
    arrival_p95_s: float | None
    """how long after the day's end 95 % of these records were visible; negative: before it ended"""
    future: int
    late: int
    earliest: dt.datetime | None
    latest: dt.datetime | None
    before: dt.datetime | None
    """the last event of the day before"""
    minutes: Minutes
    gaps: tuple[Gap, ...]
    """the longest silent intervals, longest first, the lead and trailing ones included"""

    @property
    def hours(self) -> list[int]:
        """Events in each of the 24 hours, UTC."""
        return [int(count) for count in self.minutes.hours]

    @property
    def rejects_share(self) -> float | None:
        """Rejects among all that was received."""
        total = self.records + self.rejects
        return self.rejects / total if total else None

    @property
    def duplicates_share(self) -> float | None:
        """Extra copies among the records."""
        return self.duplicates / self.records if self.records else None


def profile(con: duckdb.DuckDBPyConnection, source: str, day: dt.date) -> Profile:
    """Profile a source's day.

    Args:
        con: sees `events` and `rejects` of the day and, for the lead gap, of the day before (`lake.views.connect`).
        source: the configured source.
        day: the UTC day.
    """
    nulls = ", ".join(f"count(*) FILTER ({condition})" for condition in MANDATORY.values())
    ((events, records, duplicates, future, late, lag, arrival, *absent),) = con.execute(
        f"SELECT count(*), sum(x_records), sum(x_duplicates), count(*) FILTER ({CONDITIONS['future']}), count(*) FILTER ({CONDITIONS['late']}), "
        f"quantile_cont({LAG}, [0.5, 0.95, 1.0]), quantile_cont({ARRIVAL}, 0.95), {nulls} FROM events WHERE {_OF}",
        {"source": source, "day": day},
    ).fetchall()
    p50, p95, longest = lag or (None, None, None)
    minutes = occupied_minutes(con, source, [day]).get(day) or _empty(day)
    before = _last_before(con, source, day)
    earliest, latest = (_at(day, minutes.first[0]), _at(day, minutes.last[-1])) if minutes.events else (None, None)
    return Profile(
        source=source,
        day=day,
        records=int(records or 0),
        events=int(events),
        duplicates=int(duplicates or 0),
        rejects=_count_rejects(con, source, day),
        null_shares={name: count / events if events else None for name, count in zip(MANDATORY, absent, strict=True)},
        lag_p50_s=p50,
        lag_p95_s=p95,
        lag_max_s=longest,
        arrival_p95_s=arrival,
        future=int(future),
        late=int(late),
        earliest=earliest,
        latest=latest,
        before=before,
        minutes=minutes,
        gaps=tuple(_longest(minutes, before)) if minutes.events else (),
    )


_OCCUPIED = 'epoch_us("time") // 60000000 AS minute, min(epoch_us("time")) AS first, max(epoch_us("time")) AS last, count(*) AS n'
_BETWEEN = 'x_source = $source AND day BETWEEN $low AND $high AND "time" IS NOT NULL'


def occupied_minutes(
    con: duckdb.DuckDBPyConnection, source: str, days: list[dt.date], table: str = "events"
) -> dict[dt.date, Minutes]:
    """The occupied minutes of each of the days that has events, from `events` or a view of the same columns.

    Args:
        con: sees the table.
        source: the configured source.
        days: the UTC days.
        table: the view.
    """
    if not days:
        return {}
    rows = con.execute(
        f"SELECT day, {_OCCUPIED} FROM {table} WHERE {_BETWEEN} GROUP BY 1, 2 ORDER BY 1, 2",
        {"source": source, "low": min(days), "high": max(days)},
    ).fetchnumpy()
    return _by_day(rows, days)


def minutes_of_each(
    con: duckdb.DuckDBPyConnection,
    source: str,
    days: list[dt.date],
    table: str,
    columns: Sequence[str],
    names: list[str],
) -> dict[str, dict[dt.date, Minutes]]:
    """The same of the events that have one of the names in one of the columns, by name: one reading for all of them."""
    if not days:
        return {}
    rows = con.execute(
        f"SELECT name, day, {_OCCUPIED} "
        f'FROM (SELECT day, "time", unnest(list_distinct([{", ".join(columns)}])) AS name FROM {table} WHERE {_BETWEEN}) '
        "WHERE list_contains($names, name) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        {"source": source, "low": min(days), "high": max(days), "names": names},
    ).fetchnumpy()
    of = np.asarray(rows.pop("name"), object)
    if not len(of):
        return {}
    begins = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]]))
    return {
        str(of[begin]): _by_day({column: np.asarray(values)[begin:end] for column, values in rows.items()}, days)
        for begin, end in zip(begins, [*begins[1:], len(of)], strict=True)
    }


def _by_day(rows: Mapping[str, Any], days: list[dt.date]) -> dict[dt.date, Minutes]:
    found: dict[dt.date, Minutes] = {}
    stamps = np.asarray(rows["day"], "datetime64[D]")
    for day in days:
        start, end = np.searchsorted(stamps, [np.datetime64(day), np.datetime64(day + DAY)])
        if end > start:
            zero = int(midnight(day).timestamp()) * 1_000_000
            first, last = (np.asarray(rows[name][start:end], np.int64) - zero for name in ("first", "last"))
            found[day] = Minutes(day, first, last, np.asarray(rows["n"][start:end], np.int64))
    return found


def _empty(day: dt.date) -> Minutes:
    nothing = np.zeros(0, np.int64)
    return Minutes(day, nothing, nothing, nothing)


def _last_before(con: duckdb.DuckDBPyConnection, source: str, day: dt.date) -> dt.datetime | None:
    query = f'SELECT epoch_us(max("time")) FROM events WHERE {_OF}'
    ((found,),) = con.execute(query, {"source": source, "day": day - DAY}).fetchall()
    return None if found is None else dt.datetime.fromtimestamp(0, UTC) + dt.timedelta(microseconds=found)


def _count_rejects(con: duckdb.DuckDBPyConnection, source: str, day: dt.date) -> int:
    query = "SELECT count(*) FROM rejects WHERE source = $source AND day = $day"
    ((found,),) = con.execute(query, {"source": source, "day": day}).fetchall()
    return int(found)


def _longest(minutes: Minutes, before: dt.datetime | None) -> list[Gap]:
    starts, ends = minutes.gaps()
    begin = np.array(starts)
    if before is not None:
        begin[0] = int((before - midnight(minutes.day)) / dt.timedelta(microseconds=1))
    longest = np.lexsort((begin, begin - ends))[:GAPS_KEPT]
    return [Gap(_at(minutes.day, begin[at]), _at(minutes.day, ends[at])) for at in longest]


def _at(day: dt.date, offset_us: int) -> dt.datetime:
    return midnight(day) + dt.timedelta(microseconds=int(offset_us))
