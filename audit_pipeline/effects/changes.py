"""What else changed in the days that are compared: noise rules, sources, people, and what the systems are told to log.

Belongs here: finding such changes and whether they could explain a difference. Not here: the comparison (`judge`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.effects.windows import Windows
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.noise.rules import load as load_noise
from audit_pipeline.settings import Settings

POLICY_RULES = ("logging_changed", "logging_stopped")
MORE, FEWER = 1.5, 0.67
"""actors a day after, of those before, beyond which a count may have changed with them"""

QUIET = 7 * DAY
"""time without an event after which a source counts as removed"""


@dataclass(frozen=True)
class Change:
    """A change in the windows, in words, and whether it could explain a difference."""

    words: str
    explains: bool


def changes(
    settings: Settings, con: duckdb.DuckDBPyConnection, kpi_id: str, scope: str, spans: Windows
) -> list[Change]:
    """The changes in the windows of a comparison."""
    return [
        *_noise(settings, kpi_id, scope, spans),
        *_sources(con, scope, spans),
        *_population(settings, con, kpi_id, scope, spans),
        *_policy(con, scope, spans),
    ]


def _within(day: dt.date, spans: Windows) -> bool:
    """Whether a change on this day divides the compared days: on the first day of before it divides nothing."""
    return spans.before[0] < day <= spans.after[1]


def _noise(settings: Settings, kpi_id: str, scope: str, spans: Windows) -> list[Change]:
    kpi = catalogue(settings).get(kpi_id)
    marked = kpi is None or "x_noise_rule" in kpi.model_dump_json()
    source = scope.removeprefix("source:") if scope.startswith("source:") else None
    found = []
    for noise in load_noise(settings)[0]:
        rule = noise.rule
        touches = source is None or rule.sources == "all" or source in rule.sources
        for what, day in (("in force since", rule.created), ("expired on", rule.expires)):
            if touches and _within(day, spans):
                found.append(Change(f"noise rule {rule.id} {what} {day}", marked))
    return found


def _sources(con: duckdb.DuckDBPyConnection, scope: str, spans: Windows) -> list[Change]:
    """Sources whose first or last day with events lies in the windows."""
    query = """
        SELECT source, min(day) FILTER (events > 0), max(day) FILTER (events > 0)
        FROM completeness WHERE day <= ? GROUP BY source ORDER BY source"""
    found = []
    for source, first, last in con.execute(query, [spans.after[1]]).fetchall():
        if first is None or (scope.startswith("source:") and scope != f"source:{source}"):
            continue
        if _within(first, spans):
            found.append(Change(f"source {source} has events since {first}", explains=True))
        if spans.before[0] <= last < spans.after[1] - QUIET:
            found.append(Change(f"source {source} has no events after {last}", explains=True))
    return found


def _population(
    settings: Settings, con: duckdb.DuckDBPyConnection, kpi_id: str, scope: str, spans: Windows
) -> list[Change]:
    kind, _, name = scope.partition(":")
    where = {"team": "team = $name", "source": "list_contains(sources, $name)"}.get(kind, "true")
    query = f"""
        SELECT avg(n) FILTER (day <= $until), avg(n) FILTER (day >= $since) FROM (
            SELECT day, count(*) AS n FROM actor_days
            WHERE (day BETWEEN $first AND $until OR day BETWEEN $since AND $last) AND {where} GROUP BY day)"""
    values = {"first": spans.before[0], "until": spans.before[1], "since": spans.after[0], "last": spans.after[1]}
    row = con.execute(query, {**values, **({"name": name} if "$name" in where else {})}).fetchone()
    before, after = row or (None, None)
    if not before or after is None or FEWER <= after / before <= MORE:
        return []
    kpi = catalogue(settings).get(kpi_id)
    shared = kpi is not None and kpi.kind in ("rate", "share")  # divided by its population: it may grow
    return [Change(f"{after:.0f} actors a day instead of {before:.0f}", explains=not shared)]


def _policy(con: duckdb.DuckDBPyConnection, scope: str, spans: Windows) -> list[Change]:
    query = """
        SELECT DISTINCT day, rule_id, sources FROM detections
        WHERE rule_id IN (SELECT unnest($rules::VARCHAR[])) AND day BETWEEN $first AND $last ORDER BY day, rule_id"""
    values = {"rules": list(POLICY_RULES), "first": spans.before[0], "last": spans.after[1]}
    source = scope.removeprefix("source:") if scope.startswith("source:") else None
    return [
        Change(f"what is logged was changed on {day} ({rule})", explains=True)
        for day, rule, sources in con.execute(query, values).fetchall()
        if source is None or source in (sources or [])
    ]
