"""Table `access`: what each source showed last, up to a day, of who may do what to its logs.

Belongs here: from manifest entries to rows, and how each source stands. Not here: asking (`sources`), the report's words.

A snapshot lies in the entry of the collection that took it, so it is hash-chained like the logs. A day sees the entries of
collections for days up to it, so that computing it again gives the same rows. A source that shows nothing is never shown as one
that nobody can read: its state says why.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from audit_pipeline.access.approved import Approval, approvals
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Grant

SEEN, REFUSED, NOT_SHOWN = "seen", "refused", "not_shown"
"""The source showed its grants; it refused to; it has no way to, or was never asked."""


@dataclass(frozen=True)
class Shown:
    """How a source stands: its grants where it showed any, when, and what it said otherwise."""

    state: str
    grants: tuple[Grant, ...] = ()
    seen_at: dt.datetime | None = None
    day: str | None = None
    """the day whose collection took the snapshot"""
    detail: str = ""


def shown(entries: Iterable[Entry]) -> Shown:
    """What the newest collection that did not fail says; `entries` are the newest first."""
    for entry in entries:
        request, made_for = entry.request, str(entry.request["day"])
        if isinstance(found := request.get("access"), list):
            grants = tuple(Grant(*one) for one in found)
            return Shown(SEEN, grants, dt.datetime.fromisoformat(entry.collected_at), made_for)
        if "access_refused" in request:
            at = dt.datetime.fromisoformat(entry.collected_at)
            return Shown(REFUSED, (), at, made_for, str(request["access_refused"]))
        if not any(remark.code == "collection_failed" for remark in entry.remarks):
            break
    return Shown(NOT_SHOWN)


def review(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Compute and write `access` of a day; how each source stands lies beside it (`states`).

    Raises:
        ConfigError: the approved list cannot be read.
    """
    approved, rows, states = approvals(settings), list[dict[str, Any]](), dict[str, dict[str, Any]]()
    for source in sorted(settings.sources):
        found = shown(manifest.newest_first(lake, source, day))
        states[source] = {"state": found.state, "day": found.day, "detail": found.detail}
        rows += [_row(source, grant, found, approved, day) for grant in found.grants]
    rows.sort(key=lambda row: (row["source"], row["principal"], row["right"], row["via"]))
    table = pa.Table.from_pylist(rows, schema=TABLES["access"].schema)
    lake.write_table("access", table, day, metadata={"states": json.dumps(states, sort_keys=True)})
    return table


def _row(source: str, grant: Grant, found: Shown, approved: list[Approval] | None, day: dt.date) -> dict[str, Any]:
    known = None if approved is None else any(one.covers(source, grant, day) for one in approved)
    return {
        "day": day, "source": source, "principal": grant.principal, "right": grant.right, "via": grant.via, "approved": known, "seen_at": found.seen_at,
    }  # fmt: skip


def states(lake: Lake, day: dt.date) -> dict[str, dict[str, Any]] | None:
    """How each source stood on a day; null where no run has computed it."""
    note = lake.table_metadata("access", day)
    found: dict[str, dict[str, Any]] | None = None if note is None else json.loads(note.get("states", "{}"))
    return found
