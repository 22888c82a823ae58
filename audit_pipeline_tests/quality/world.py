"""A lake with events, rejects, index and manifest that agree, written day by day: what the verdict is computed from."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline.clock import DAY, UTC, midnight, rfc3339
from audit_pipeline.formats import indexing
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import INDEX_SCHEMA, TABLES
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.quality.completeness import assess
from audit_pipeline.settings import Settings

START = dt.date(2026, 3, 2)  # a Monday
HOUR_US = 3_600_000_000
Times = npt.NDArray[np.int64]

DEFAULTS: dict[str, Any] = {
    "class_uid": 6003, "status_id": 1, "actor_user_name": "ana", "api_operation": "GetObject", "src_endpoint_ip": "192.0.2.1", "x_records": 1, "x_duplicates": 0,
}  # fmt: skip


def event_table(
    day: dt.date, source: str, times_us: Times, segment: str, columns: dict[str, Any] | None = None
) -> pa.Table:
    """Event rows at these microseconds since midnight; a column is one value for all rows, or one a row."""
    n = len(times_us)
    stamps = pa.array(times_us + int(midnight(day).timestamp()) * 1_000_000, pa.int64()).cast(
        pa.timestamp("us", tz="UTC")
    )
    given = {**DEFAULTS, "day": day, "time": stamps, "x_source": source, "x_segment": segment, **(columns or {})}
    given.setdefault("x_line", list(range(n)))
    arrays = []
    for field in EVENT_SCHEMA:
        value = given.get(field.name)
        if isinstance(value, pa.Array):
            arrays.append(value.cast(field.type))
        elif isinstance(value, list):
            arrays.append(pa.array(value, field.type))
        else:
            arrays.append(pa.nulls(n, field.type) if value is None else pa.repeat(pa.scalar(value, field.type), n))
    return pa.table(arrays, schema=EVENT_SCHEMA)


class World:
    """A source `app` (and others by name) in a lake of its own; each `night` collects and judges a day."""

    def __init__(
        self, root: Path, start: dt.date = START, more: str = "", sources: tuple[str, ...] = ("app",), config: str = ""
    ) -> None:
        text = f"lake: {root}/lake\nstart: {start}\n{config}sources:\n" + "".join(
            f"  {name}: {{type: files, format: cloudtrail{more}}}\n" for name in sources
        )
        self.settings = Settings.from_text(text, root / "pipeline.yaml")
        self.lake = Lake.open(self.settings.lake_url)

    def collect(
        self,
        day: dt.date,
        *,
        source: str = "app",
        remarks: list[Remark] | None = None,
        members: list[Member] | None = None,
        counts: dict[dt.date, list[int]] | None = None,
        rejects: list[dict[str, Any]] | None = None,
        at: dt.datetime | None = None,
        request: dict[str, Any] | None = None,
        records: int | None = None,
    ) -> Entry:
        """One asking for a day, with its index: `counts` is event day to [records, rejects]."""
        at = at or self.settings.as_of(day)
        sequence = (manifest.sequences(self.lake, source) or [0])[-1] + 1
        entry = manifest.append(
            self.lake,
            Entry(
                source=source,
                sequence=sequence,
                segment=f"raw/{source}/{at.date()}/{sequence:08d}-x.segment" if counts else None,
                members=members or [],
                records=records,
                request={"day": day.isoformat(), "from": None, "to": rfc3339(at), **(request or {})},
                remarks=remarks or [],
                collected_at=rfc3339(at),
            ),
        )
        for row in rejects or []:
            table = pa.Table.from_pylist(
                [{"source": source, "sequence": sequence, "segment": entry.segment, **row}], INDEX_SCHEMA
            )
            with self.lake.staged(indexing.file(source, row["day"], sequence)) as temporary:
                pq.write_table(table, temporary)
        marker = indexing.Marker(
            "cloudtrail/1", entry.hash, [], {key.isoformat(): value for key, value in (counts or {}).items()}
        )
        self.lake.write(f"index/source={source}/{sequence:08d}.json", msgspec.json.encode(marker))
        return entry

    def tables(
        self,
        day: dt.date,
        times_us: Times,
        *,
        source: str = "app",
        segment: str = "s",
        columns: dict[str, Any] | None = None,
        rejects: list[dict[str, Any]] | None = None,
    ) -> None:
        """The day's `events` and `rejects`."""
        self.lake.write_table("events", event_table(day, source, times_us, segment, columns), day, source)
        rows = [
            {"source": source, "day": day, "segment": segment, "line": None, "detail": "", "raw": "", **row}
            for row in rejects or []
        ]
        self.lake.write_table("rejects", pa.Table.from_pylist(rows, TABLES["rejects"].schema), day, source)

    def put(
        self,
        day: dt.date,
        times_us: Times,
        *,
        source: str = "app",
        at: dt.datetime | None = None,
        columns: dict[str, Any] | None = None,
    ) -> None:
        """Collect a healthy day and store its tables."""
        entry = self.collect(day, source=source, at=at, counts={day: [len(times_us), 0]} if len(times_us) else None)
        self.tables(day, times_us, source=source, segment=entry.segment or "s", columns=columns)

    def judge(self, day: dt.date, source: str = "app") -> dict[str, Any]:
        """The source's row of the day."""
        rows: list[dict[str, Any]] = assess(self.settings, self.lake, day).to_pylist()
        return next(row for row in rows if row["source"] == source)

    def night(
        self, day: dt.date, times_us: Times, *, at: dt.datetime | None = None, columns: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A whole night: collect, store, judge."""
        self.put(day, times_us, at=at, columns=columns)
        return self.judge(day)


def days(n: int, start: dt.date = START) -> list[dt.date]:
    """`n` days from `start`."""
    return [start + i * DAY for i in range(n)]


def codes(row: dict[str, Any]) -> list[str]:
    """The codes of a row's reasons."""
    return [reason["code"] for reason in row["reasons"]]


def reason(row: dict[str, Any], code: str) -> dict[str, Any]:
    """The one reason of that code."""
    (found,) = [one for one in row["reasons"] if one["code"] == code]
    return dict(found)


def at(day: dt.date, hour: float) -> dt.datetime:
    """A moment of a day."""
    return dt.datetime.combine(day, dt.time(), UTC) + dt.timedelta(hours=hour)


def without(times_us: Times, start_h: float, end_h: float) -> Times:
    """The times outside an interval of hours."""
    return times_us[(times_us < start_h * HOUR_US) | (times_us > end_h * HOUR_US)]


def document(name: str, **facts: str | int | None) -> Member:
    """A member of a segment."""
    return Member(**{"name": name, "offset": 0, "length": 1, "sha256": "0" * 64, **facts})  # type: ignore[arg-type]
