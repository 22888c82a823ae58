"""What people said about anomalies: which actor-days were confirmed, which were false, as of a day.

Belongs here: reading verdicts from decisions. Not here: what a forest makes of them (`forest`, `choice`).
"""

from __future__ import annotations

import datetime as dt

import duckdb
import sqlalchemy as sa

from audit_pipeline.detections.run import short_hash
from audit_pipeline.findings import decisions
from audit_pipeline.settings import Settings

RULE = "anomaly"
Verdicts = dict[tuple[str, dt.date], bool]
"""Actor and day of an anomaly to whether people confirmed it."""
CONFIRMED = frozenset({"propose", "approve", "implement", "accept"})


def verdicts(con: duckdb.DuckDBPyConnection, settings: Settings, engine: sa.Engine, day: dt.date) -> Verdicts:
    """Whether an anomaly of an actor and day was confirmed; the last word before the day's as-of counts.

    A verdict is about the newest anomaly that was on record when it was given.
    """
    query = "SELECT group_key, x_actor, day FROM anomalies WHERE day < ? ORDER BY day"
    told: dict[str, list[tuple[str, dt.date]]] = {}
    for key, actor, when in con.execute(query, [day]).fetchall():
        told.setdefault(short_hash(RULE, key), []).append((actor, when))
    if not told:
        return {}
    found: Verdicts = {}
    for one in decisions.read(engine, settings.as_of(day)):
        before = [about for about in told.get(one.finding_id, []) if settings.as_of(about[1]) <= one.recorded_at]
        if before and (one.action == "false_positive" or one.action in CONFIRMED):
            found[before[-1]] = one.action != "false_positive"
    return found
