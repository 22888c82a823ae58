"""What a source's days before a day show: stored rows of `completeness`, and the events behind them.

Belongs here: which days are looked back on and which of them teach what is usual. Not here: any judgement of the day itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.views import add_view, connect, partition_files
from audit_pipeline.quality.profile import Minutes, occupied_minutes
from audit_pipeline.quality.reasons import lowering
from audit_pipeline.quality.volume import Calendar

BASELINE_DAYS = 28
"""Days of history from which on each weekday has a rhythm of its own; before, the source's own gaps serve."""
HISTORY_DAYS = 56
"""Days that are looked back on for what is usual."""
COLD_DAYS = 2
"""A source's first days with records, in which nothing is known of its rhythm."""
USED = ("no_gap_seen", "proven")
FEW_REJECTS = 0.001
"""Share of rejects below which a day still shows what is usual."""

_FOLDER = "index/minutes"
_KEPT = pa.schema([("source", pa.string()), ("first", pa.int64()), ("last", pa.int64()), ("n", pa.int64())])


@dataclass(frozen=True)
class Past:
    """A source's stored rows of the days before, newest last."""

    rows: list[dict[str, Any]]
    minutes: Mapping[dt.date, Minutes] = field(default_factory=dict)
    """occupied minutes of these days, as they were kept when each was judged"""

    @property
    def baseline(self) -> list[dict[str, Any]]:
        """The days that show what is usual: collected, whole as far as can be told, with records."""
        return [row for row in self.rows if row["events"] and (row["verdict"] in USED or _cold(row) or _whole_but(row))]

    def alike(self, day: dt.date, calendar: Calendar) -> list[int]:
        """Events of the baseline days that the day is held against."""
        days = calendar.alike(day, [row["day"] for row in self.baseline])
        return [row["events"] for row in self.baseline if row["day"] in days]

    def lacking(self, days: list[dt.date]) -> list[dt.date]:
        """Of these days those whose minutes were not kept, or not of the events that its row tells of."""
        events = {row["day"]: row["events"] for row in self.rows}
        return [day for day in days if day not in self.minutes or self.minutes[day].events != events.get(day)]

    def learned(self, con: duckdb.DuckDBPyConnection, source: str, days: list[dt.date]) -> dict[dt.date, Minutes]:
        """The occupied minutes of these days, in order; those that were not kept are counted from `past_events`."""
        lacking = self.lacking(days)
        found = {day: self.minutes[day] for day in days if day not in lacking}
        return dict(sorted({**found, **occupied_minutes(con, source, lacking, "past_events")}.items()))


def remember(lake: Lake, day: dt.date, minutes: Mapping[str, Minutes]) -> None:
    """Keep the occupied minutes of each source's day: looking back on eight weeks then reads no event again."""
    parts = [
        pa.table({"source": pa.repeat(name, len(one.first)), "first": one.first, "last": one.last, "n": one.count})
        for name, one in sorted(minutes.items())
        if one.events
    ]
    table = pa.concat_tables(parts) if parts else _KEPT.empty_table()
    with lake.staged(_file(day)) as temporary:
        pq.write_table(table.cast(_KEPT), temporary, compression="zstd")


def remembered(lake: Lake, day: dt.date) -> dict[str, dict[dt.date, Minutes]]:
    """What was kept of the days before a day, by source; what cannot be read counts as not kept."""
    found: dict[str, dict[dt.date, Minutes]] = {}
    since = day - HISTORY_DAYS * DAY
    for name in lake.names(_FOLDER):
        known = dt.date.fromisoformat(name.removesuffix(".parquet"))
        if not since <= known < day:
            continue
        try:
            table = pq.ParquetFile(pa.BufferReader(lake.read(_file(known)))).read()
        except (pa.ArrowInvalid, FileNotFoundError):
            continue
        for source in table["source"].unique().to_pylist():
            own = table.filter(pc.equal(table["source"], source))
            found.setdefault(source, {})[known] = Minutes(
                known, *(own[name].to_numpy() for name in ("first", "last", "n"))
            )
    return found


def _file(day: dt.date) -> str:
    return f"{_FOLDER}/{day.isoformat()}.parquet"


def stored(lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    """Stored rows of the day, from an earlier computation, and of the days before it, by day."""
    con = connect(lake, since=day - HISTORY_DAYS * DAY, until=day, tables=["completeness"])
    try:
        rows: list[dict[str, Any]] = (
            con.sql("SELECT * FROM completeness ORDER BY day, source").to_arrow_table().to_pylist()
        )
        return rows
    finally:
        con.close()


def connection(
    lake: Lake, source: str, day: dt.date, usual: list[dt.date], *, earlier: bool = False
) -> duckdb.DuckDBPyConnection:
    """A connection that sees one source: `events` and `rejects` of the day and the one before, `past_events` of the days in `usual`.

    `earlier_events`, where it is asked for, has all days that are looked back on.
    """
    con = connect(lake, tables=())
    for name in ("events", "rejects"):
        add_view(con, name, TABLES[name].schema, partition_files(lake, name, day - DAY, day, source))
    if usual or earlier:
        files = partition_files(lake, "events", day - HISTORY_DAYS * DAY, day - DAY, source)
        wanted = {one.isoformat() for one in usual}
        chosen = [file for file in files if file.rsplit("/day=", 1)[1][:10] in wanted]
        add_view(con, "past_events", TABLES["events"].schema, chosen)
        add_view(con, "earlier_events", TABLES["events"].schema, files)
    return con


def _cold(row: dict[str, Any]) -> bool:
    """Whether a day is unknown only because it is one of the first: collected, and as good as any other."""
    return row["verdict"] == "unknown" and all(reason["code"] != "not_collected" for reason in row["reasons"])


def _whole_but(row: dict[str, Any]) -> bool:
    """Whether a day is partial for nothing that hurts the rhythm of what is there: a few bad records, a sender absent all day.

    Otherwise one bad record a day, or one machine that was switched off for good, would take a source its baseline.
    """
    few = row["rejects"] < FEW_REJECTS * (row["records"] + row["rejects"])
    if row["verdict"] != "partial" or not few:
        return False
    begin, end = midnight(row["day"]), midnight(row["day"] + DAY)
    grave = [
        reason
        for reason in row["reasons"]
        if reason["code"] != "rejects"
        and not (reason["code"] == "sender_silent" and reason["from"] <= begin and reason["to"] >= end)
    ]
    return not lowering(grave)
