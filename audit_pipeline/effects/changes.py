"""What else changed in the days that are compared: noise rules, sources, people, what the systems are told to log, and what was declared.

Belongs here: finding such changes and whether they could explain a difference. Not here: the comparison (`judge`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.detections.rule import about_logging
from audit_pipeline.detections.sigma import load
from audit_pipeline.effects import adjustments
from audit_pipeline.effects.windows import Windows
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.noise.rules import load as load_noise
from audit_pipeline.settings import Settings

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
    settings: Settings,
    con: duckdb.DuckDBPyConnection,
    kpi_id: str,
    scope: str,
    spans: Windows,
    sources: frozenset[str] | None = None,
    but: str | None = None,
) -> list[Change]:
    """The changes in the windows of a comparison, without the adjustment `but` that it is about; those of `sources` that do not feed it are none (null: all feed it)."""
    return [
        *_noise(settings, kpi_id, sources, spans),
        *_sources(con, sources, spans),
        *_population(settings, con, kpi_id, scope, spans),
        *_policy(settings, con, sources, spans),
        *_declared(settings, kpi_id, scope, spans, sources, but),
    ]


def _within(day: dt.date, spans: Windows) -> bool:
    """Whether a change on this day divides the compared days: on the first day of before it divides nothing."""
    return spans.before[0] < day <= spans.after[1]


def _noise(settings: Settings, kpi_id: str, sources: frozenset[str] | None, spans: Windows) -> list[Change]:
    kpi = catalogue(settings).get(kpi_id)
    marked = kpi is None or "x_noise_rule" in kpi.model_dump_json()
    found = []
    for noise in load_noise(settings)[0]:
        rule = noise.rule
        touches = sources is None or rule.sources == "all" or not sources.isdisjoint(rule.sources)
        for what, day in (("in force since", rule.created), ("expired on", rule.expires)):
            if touches and _within(day, spans):
                found.append(Change(f"noise rule {rule.id} {what} {day}", marked))
    return found


def _sources(con: duckdb.DuckDBPyConnection, sources: frozenset[str] | None, spans: Windows) -> list[Change]:
    """Sources whose first or last day with events lies in the windows."""
    query = """
        SELECT source, min(day) FILTER (events > 0), max(day) FILTER (events > 0)
        FROM completeness WHERE day <= ? GROUP BY source ORDER BY source"""
    found = []
    for source, first, last in con.execute(query, [spans.after[1]]).fetchall():
        if first is None or (sources is not None and source not in sources):
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


def _policy(
    settings: Settings, con: duckdb.DuckDBPyConnection, sources: frozenset[str] | None, spans: Windows
) -> list[Change]:
    """Detections of changes to logging itself, by their techniques, so that rules of the user's count too; and what a collector saw of the source's own policy."""
    query = """
        SELECT day, rule_id, attack, sources FROM detections
        WHERE kind = 'rule' AND day BETWEEN $first AND $last ORDER BY day, rule_id"""
    titles = {rule.id: rule.title for rule in load(settings)[0]}
    found = con.execute(query, {"first": spans.before[0], "last": spans.after[1]}).fetchall()
    said = {
        f"what is logged was changed on {day} ({titles.get(rule, rule)})": None
        for day, rule, attack, seen in found
        if about_logging(attack or ()) and (sources is None or not sources.isdisjoint(seen or ()))
    }
    query = """
        SELECT day, source FROM completeness
        WHERE day BETWEEN $first AND $last AND len(list_filter(reasons, lambda reason: reason.code = 'policy_changed')) > 0 ORDER BY day, source"""
    for day, source in con.execute(query, {"first": spans.before[0], "last": spans.after[1]}).fetchall():
        if sources is None or source in sources:
            said[f"what {source} is told to log was changed by {day}"] = None
    return [Change(words, explains=True) for words in said]


def _declared(
    settings: Settings, kpi_id: str, scope: str, spans: Windows, sources: frozenset[str] | None, but: str | None
) -> list[Change]:
    """Adjustments of a source that feeds the series, or of the same KPI: such as an audit policy, whose change no record tells of."""
    found = []
    for one in adjustments.load(settings)[0]:
        kind, _, name = one.scope.partition(":")
        feeds = kind == "source" and (sources is None or name in sources)
        same = one.kpi_id == kpi_id and (one.scope == scope or "all" in (one.scope, scope))
        if one.id != but and _within(one.at.date(), spans) and (feeds or same):
            found.append(Change(f"{one.title} (declared as {one.id}) on {one.at.date()}", explains=True))
    return found
