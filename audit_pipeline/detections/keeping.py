"""Detections about the keeping of logs itself: sources that delete before they are read, and rights to logs that nobody approved.

Belongs here: rows of the table `detections` made of manifest entries and of the table `access`. Not here: what systems log about
their own logging (Sigma rules of T1562 and T1070), completeness verdicts (`quality`).

A source that keeps records for a time (`horizon_s` in its entries) has to be read within half of it: then one failed half leaves
another to mend it. Both rest on entries of collections for days up to the day, so a backfill gives the same rows.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import rfc8785

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings

HORIZON, UNAPPROVED = "collection_horizon", "log_access_unapproved"
VERSION = "1"
TITLES = {
    HORIZON: "Not collected for half of the time that it keeps logs",
    UNAPPROVED: "Right to logs that nobody approved",
}
SHARE = 0.5
"""of the horizon, after which it is said"""
GRAVE = frozenset({"write", "delete", "stop", "retention"})
"""rights that can make logs untrue"""


def detections(settings: Settings, lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    """Both kinds, as rows of the table."""
    late = [row for source in sorted(settings.sources) if (row := _late(settings, lake, source, day))]
    return late + _unapproved(lake, day)


def _late(settings: Settings, lake: Lake, source: str, day: dt.date) -> dict[str, Any] | None:
    """The stretch between the last two whole collections, or since the last one, where it is longer than half of the horizon."""
    horizon, mended, before = _askings(manifest.newest_first(lake, source, day), day)
    if horizon is None or not (mended or before):
        return None
    begin = _checkpoint(before or mended[-1])
    end = min((dt.datetime.fromisoformat(entry.collected_at) for entry in mended), default=settings.as_of(day))
    since = (end - begin).total_seconds()
    if since <= horizon * SHARE:
        return None
    lost = begin + dt.timedelta(seconds=horizon)
    if since > horizon:
        what = f"what it recorded before {rfc3339(end - dt.timedelta(seconds=horizon))} and was not read is lost"
    else:
        what = "read in time" if mended else f"what was not read begins to be lost at {rfc3339(lost)}"
    told = f"{source}: read whole up to {rfc3339(begin)}, {_days(since)} before {rfc3339(end)}; it keeps records for {_days(horizon)}: {what}"
    return _row(HORIZON, {"source": source}, day, "medium" if mended and since <= horizon else "high", told, source, (begin, end), 1)  # fmt: skip


def _askings(newest: Iterable[Entry], day: dt.date) -> tuple[float | None, list[Entry], Entry | None]:
    """The horizon in seconds as told last, whole collections for the day, and the last whole one for a day before it."""
    horizon, mended = None, list[Entry]()
    for entry in newest:
        failed = any(remark.code == "collection_failed" for remark in entry.remarks)
        if horizon is None and entry.request.get("horizon_s"):
            horizon = float(entry.request["horizon_s"])
        if entry.request.get("checkpoint"):
            if entry.request["day"] != day.isoformat():
                return horizon, mended, entry
            mended.append(entry)
        elif horizon is None and not failed:  # a source that does not say how long it keeps records
            break
    return horizon, mended, None


def _checkpoint(entry: Entry) -> dt.datetime:
    return dt.datetime.fromisoformat(str(entry.request["checkpoint"]))


def _days(seconds: float) -> str:
    from audit_pipeline.detections.run import length

    return length(dt.timedelta(seconds=seconds))


def _unapproved(lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    """One for each principal with rights that no line of the approved list covers; none where there is no list."""
    with connect(lake, since=day, until=day, tables=["access"]) as con:
        rows = con.execute(
            'SELECT source, principal, "right", via, seen_at FROM access WHERE approved = false ORDER BY ALL'
        ).fetchall()
    found: defaultdict[tuple[str, str], list[tuple[str, str, dt.datetime]]] = defaultdict(list)
    for source, principal, right, via, seen_at in rows:
        found[source, principal].append((right, via, seen_at))
    return [_grant(day, source, principal, grants) for (source, principal), grants in found.items()]


def _grant(day: dt.date, source: str, principal: str, grants: list[tuple[str, str, dt.datetime]]) -> dict[str, Any]:
    from audit_pipeline.detections.run import one_line

    rights = sorted({right for right, _, _ in grants})
    told = f"{one_line(principal)} may {', '.join(rights)} logs of {source}, by {', '.join(sorted({one_line(via) for _, via, _ in grants}))}; no line of the approved list covers it"
    level = "high" if GRAVE & set(rights) else "medium"
    seen = grants[0][2]
    return _row(UNAPPROVED, {"source": source, "principal": principal}, day, level, told, source, (seen, seen), len(grants))  # fmt: skip


def _row(
    rule: str, group: dict[str, str], day: dt.date, level: str, told: str, source: str, times: tuple[dt.datetime, dt.datetime], n: int
) -> dict[str, Any]:  # fmt: skip
    from audit_pipeline.detections.run import short_hash

    key = rfc8785.dumps(group).decode()
    latest = midnight(day + DAY)  # a detection of a day ends within it
    return {
        "detection_id": short_hash(rule, key, day.isoformat()), "day": day, "rule_id": rule, "rule_version": VERSION, "kind": "rule", "level": level,
        "x_actor": None, "x_target": source, "sources": [source], "first_time": min(times[0], latest), "last_time": min(times[1], latest), "n": n,
        "score": None, "threshold": None, "explanation": told, "attack": [], "group_key": key, "verdict": None, "refs": [],
    }  # fmt: skip
