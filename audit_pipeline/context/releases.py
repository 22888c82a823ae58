"""`releases.csv`: when which version of which service went out.

Belongs here: reading and checking the file. Not here: what a release changed (`effects`).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa

from audit_pipeline.context import csv_file
from audit_pipeline.settings import Settings

NEEDED = ("time", "service", "version", "change_id")
SCHEMA = pa.schema([("time", pa.timestamp("us", tz="UTC")), *((name, pa.string()) for name in NEEDED[1:])])


def releases(settings: Settings) -> pa.Table:
    """The releases, by time; empty where no file is configured.

    Raises:
        ConfigError: the file is wrong; names file, line and remedy.
    """
    if settings.releases is None:
        return SCHEMA.empty_table()
    found: list[dict[str, object]] = []
    seen: dict[tuple[dt.datetime, str], int] = {}
    for row in csv_file.rows(Path(settings.resolve(settings.releases)), NEEDED):
        time = row.moment("time")
        if time is None:
            raise row.error("time is empty. Write when the release went out, such as 2026-03-01T08:00:00Z.")
        key = (time, row.needed("service"))
        if key in seen:
            raise row.error(f"the same service is released at the same time as in line {seen[key]}. Remove one line.")
        seen[key] = row.line
        found.append(
            {"time": time, "service": key[1], "version": row.text("version"), "change_id": row.text("change_id")}
        )
    return pa.Table.from_pylist(sorted(found, key=lambda one: (str(one["time"]), str(one["service"]))), schema=SCHEMA)
