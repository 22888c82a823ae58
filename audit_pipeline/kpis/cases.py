"""Findings as cases whose times are measured: when the first day was looked at, and whether that was in time.

Belongs here: which findings come from a backfilled day. Not here: the findings (`findings.view`), any number.
A day was backfilled where a source behind the finding was collected for the first time after the day's review was due already:
then the time from event to finding tells of the backfill and not of the detection.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.findings.view import findings_table
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import FINDINGS_SCHEMA
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

IN_TIME = DAY
"""time from a day's as-of after which its first collection is a backfill"""
FINDINGS = pa.schema([*FINDINGS_SCHEMA, pa.field("first_day", pa.date32()), pa.field("sources", pa.list_(pa.string())), pa.field("backfilled", pa.bool_())])  # fmt: skip
"""Columns of `findings` as KPI SQL sees it: those of the view, the first day, the sources of that day, and whether it was backfilled."""
_FIRST = "SELECT rule_id, group_key, min(day), arg_min(sources, day) FROM detections GROUP BY ALL"


def findings(settings: Settings, lake: Lake, until: dt.date) -> pa.Table:
    """The findings as they stood at the as-of of `until`, each with what its first day was made from."""
    engine = open_state(settings.state_url_resolved)
    try:
        rows: list[dict[str, Any]] = findings_table(settings, lake, engine, until).to_pylist()
    finally:
        engine.dispose()
    with connect(lake, until=until, tables=["detections"]) as con:
        first = {(rule, key): (day, sources) for rule, key, day, sources in con.sql(_FIRST).fetchall()}
    known: dict[tuple[str, dt.date], bool] = {}
    for row in rows:
        judged: tuple[dt.date, list[str]] = (
            row["detected_at"].date() - DAY,
            [],
        )  # a release judged worse has no detection of its own
        day, sources = first.get((row["rule_id"], row["group_key"]), judged)
        for source in sources:
            if (source, day) not in known:
                known[source, day] = late(settings, lake, source, day)
        row |= {"first_day": day, "sources": sources, "backfilled": any(known[source, day] for source in sources)}
    return pa.Table.from_pylist(rows, schema=FINDINGS)


def late(settings: Settings, lake: Lake, source: str, day: dt.date) -> bool:
    """Whether a source was first collected after the day only when its review was due; not where nobody has collected since."""
    collected = _first_after(lake, source, midnight(day) + DAY)
    return collected is not None and collected > settings.as_of(day) + IN_TIME


def _first_after(lake: Lake, source: str, moment: dt.datetime) -> dt.datetime | None:
    """When the first collection after a moment was; entries are in the order of their times, so halving finds it."""
    numbers = manifest.sequences(lake, source)
    low, high, found = 0, len(numbers), None
    while low < high:
        middle = (low + high) // 2
        collected = dt.datetime.fromisoformat(manifest.read(lake, source, numbers[middle]).collected_at)
        if collected >= moment:
            high, found = middle, collected
        else:
            low = middle + 1
    return found
