"""A folder of CloudTrail logs, and the pipeline's own steps over it: collect, index, unify."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_pipeline.clock import UTC, SimulatedClock
from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.base import Format
from audit_pipeline.formats.cloudtrail import FORMAT
from audit_pipeline.formats.unify import Built
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.ocsf.columns import CIRCUMSTANCE
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import Collected, collect

SOURCE = "trail"
DAY = dt.date(2025, 6, 2)
NOON = dt.datetime(2025, 6, 2, 12, tzinfo=UTC)
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class RealClock:
    """A clock that does not say that it is simulated, set where a test wants it."""

    at: dt.datetime
    simulated: bool = False

    def now(self) -> dt.datetime:
        return self.at


def record(n: int | str, time: dt.datetime = NOON, **fields: Any) -> bytes:
    fixed = {"eventVersion": "1.08", "eventID": f"e-{n}", "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}", "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "awsRegion": "eu-central-1"}  # fmt: skip
    return json.dumps(fixed | fields).encode()


def lines(*numbers: int) -> bytes:
    return b"".join(record(n) + b"\n" for n in numbers)


def document(*records: bytes) -> bytes:
    return b'{"Records":[' + b",".join(records) + b"]}"


def packed(*records: bytes) -> bytes:
    return gzip.compress(document(*records), mtime=0)


class Stored:
    """What a world's lake holds."""

    lake: Lake

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        con = connect(self.lake, tables=["events", "rejects"])
        try:
            return con.execute(sql).fetchall()
        finally:
            con.close()

    def uids(self) -> list[str]:
        return [uid for (uid,) in self.rows("SELECT metadata_uid FROM events ORDER BY metadata_uid")]


@dataclass
class World(Stored):
    """Logs below `root/logs` and a lake beside them."""

    root: Path
    glob: str = "logs/**/*"
    lake_url: str = "./lake"
    storage: dict[str, Any] = field(default_factory=dict)
    form: Format = FORMAT

    def __post_init__(self) -> None:
        (self.root / "logs").mkdir(parents=True, exist_ok=True)
        source = {"type": "files", "format": "cloudtrail", "paths": [self.glob], "storage": self.storage}
        text = json.dumps({"start": "2025-06-01", "lake": self.lake_url, "sources": {SOURCE: source}})
        self.settings = Settings.from_text(text, self.root / "pipeline.yaml")
        self.lake = Lake.open(self.settings.lake_url)

    def put(self, name: str, data: bytes, at: dt.datetime = NOON) -> Path:
        """A log file with its time; the folder's other files are left alone."""
        path = self.root / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (at.timestamp(), at.timestamp()))
        return path

    def collect(self, at: dt.datetime = NOON + HOUR, *, simulated: bool = False) -> Collected:
        return collect(self.settings, self.lake, SOURCE, DAY, SimulatedClock(at) if simulated else RealClock(at))

    def names(self, got: Collected) -> list[str]:
        return [member.name.rsplit("/logs/", 1)[-1] for entry in got.entries for member in entry.members]

    def index(self) -> list[dt.date]:
        return indexing.ensure(self.lake, SOURCE, self.form)

    def build(self, *days: dt.date) -> dict[dt.date, Built]:
        """Index, then compute these days, or all that the index knows."""
        self.index()
        return {
            day: unify.build(self.lake, SOURCE, self.form, day)
            for day in days or indexing.indexed_days(self.lake, SOURCE)
        }

    def night(self, at: dt.datetime = NOON + HOUR) -> dict[dt.date, Built]:
        self.collect(at)
        return self.build()

    def content_hash(self) -> str:
        """Of all events, without order and without the columns that tell where and when we got them."""
        shown = self.rows(f"SELECT * EXCLUDE ({', '.join(CIRCUMSTANCE)}) FROM events")
        return hashlib.sha256("\n".join(sorted(map(repr, shown))).encode()).hexdigest()

    def account(self) -> tuple[int, int, int]:
        """Records that events stand for, rejects, and rows of the index: the first two make up the third."""
        ((records,),) = self.rows("SELECT coalesce(sum(x_records), 0)::INT FROM events")
        ((rejects,),) = self.rows("SELECT count(*)::INT FROM rejects")
        days = indexing.indexed_days(self.lake, SOURCE)
        return records, rejects, sum(indexing.index_count(self.lake, SOURCE, day) for day in days)
