"""The rows of table `effects` about releases: which releases a day can judge, and what they are compared with.

Belongs here: reading stored hours and making rows. Not here: the arithmetic (`releases`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb

from audit_pipeline.clock import DAY, UTC, midnight
from audit_pipeline.context import connect
from audit_pipeline.detections.run import short_hash
from audit_pipeline.effects.releases import SPANS, WEEKS, Compared, by_service, compare
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings

SHOWN_DAYS = 14
"""days after a release for which it keeps a row"""
_LISTED = 'SELECT "time", service, version FROM releases WHERE "time" < $end ORDER BY 1, 2'
_DEPLOYED = """
    SELECT "time", coalesce(api_service_name, metadata_product_name), api_version FROM events
    WHERE class_uid = 6002 AND activity_id IN (1, 8) AND "time" < $end ORDER BY 1, 2"""
"""Without a list of releases, the deployments that the logs tell of; with one, no event is read."""
_HOURS = """
    SELECT service, hour, requests, errors FROM service_hours h
    WHERE NOT EXISTS (SELECT 1 FROM completeness c WHERE c.day = h.day AND list_contains(h.sources, c.source) AND c.verdict IN ('partial', 'missing'))"""


def release_rows(settings: Settings, lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    """Rows of the releases of the last days whose hours after have passed by the end of the day."""
    since = day - (SHOWN_DAYS + WEEKS * 7 + 1) * DAY
    with connect(settings, lake, since=since, until=day, tables=["service_hours", "completeness", "events"]) as con:
        until = {"end": midnight(day) + DAY}
        known = con.execute(_LISTED, until).fetchall() or con.execute(_DEPLOYED, until).fetchall()
        recent = [one for one in known if one[0] >= midnight(day - SHOWN_DAYS * DAY) and one[1] and one[2]]
        return _rows(settings, con, recent, known, day) if recent else []


def _rows(
    settings: Settings,
    con: duckdb.DuckDBPyConnection,
    recent: list[tuple[dt.datetime, str, str]],
    known: list[tuple[dt.datetime, str, str]],
    day: dt.date,
) -> list[dict[str, Any]]:
    hours = by_service(con.execute(_HOURS).fetchall())
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for time, service, version in recent:
        for kind, span in SPANS.items():
            ends = time.astimezone(UTC) + dt.timedelta(hours=span + 1)
            if ends > midnight(day) + DAY:
                continue
            busy = {one[1] for one in known if time - (WEEKS * 7 + 7) * DAY <= one[0] <= ends}
            found = compare(hours, service, time.astimezone(UTC), span, sorted(set(hours) - busy))
            rows[f"{service}@{version}", kind] = _row(settings, f"{service}@{version}", kind, time, ends, found)
    return list(rows.values())


def _row(
    settings: Settings, subject: str, kind: str, time: dt.datetime, ends: dt.datetime, found: Compared
) -> dict[str, Any]:
    service = subject.rpartition("@")[0]
    return {
        **dict.fromkeys(TABLES["effects"].schema.names),
        **vars(found),
        "effect_id": short_hash("effect", subject, kind),
        "subject": "release",
        "subject_id": subject,
        "kind": kind,
        "kpi_id": "errors_per_request",
        "scope": f"service:{service}",
        "unit": "share",
        "before_start": (time - WEEKS * 7 * DAY).date(),
        "before_end": (time - DAY).date(),
        "after_start": time.date(),
        "after_end": (ends - dt.timedelta(seconds=1)).date(),
        "left_out": [],
        "series": [],
        "as_of": settings.as_of(ends.date()),
    }
