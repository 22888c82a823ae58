"""Which events a day's tables and report were made from: how a day that is behind its evidence is known.

Belongs here: the note of a day, kept beside its `kpis` (the last table) and, once the report is out, in a file of its own. Not
here: what to do about it (`formats.unify.stale`, orchestration). A kill between two tables of a day leaves the old note, so the
day is computed again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable

from audit_pipeline.lake.store import Lake

META = "events_from"
"""Key in the metadata of `kpis`: JSON of source to input hash of its events."""


def inputs(lake: Lake, sources: Iterable[str], day: dt.date) -> str:
    """The note that belongs to the events as they are stored: JSON of source to input hash."""
    found = {name: (lake.table_metadata("events", day, name) or {}).get("input_hash") for name in sorted(sources)}
    return json.dumps(found, sort_keys=True)


def done(lake: Lake, day: dt.date) -> None:
    """Say that the report of the day is out, made from the tables that are stored."""
    note = (lake.table_metadata("kpis", day) or {}).get(META)
    if note is not None:
        lake.write(_file(day), note.encode())


def made_from(lake: Lake, day: dt.date) -> dict[str, str | None]:
    """Source to input hash of the events that the newest report of the day was made from; empty where none was, or none says so."""
    try:
        return dict(json.loads(lake.read(_file(day))))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _file(day: dt.date) -> str:
    return f"index/computed/day={day.isoformat()}.json"
