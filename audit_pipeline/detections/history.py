"""Rules that compare an actor with its own days before: hours, networks, long silence. From the table `actor_days`.

Belongs here: the attribute `history` of a rule, and its SQL. Not here: how actor-days are made (`anomaly`), windows (`windows`).

`history: {kind: …, days: …, at_least: …}` at the top of a rule; the rule's condition says which events are compared:

- `new_network`: the event's network (/16 of IPv4, /48 of IPv6) is none of the actor's networks of the last `days` days.
- `unusual_hour`: the actor did nothing in this hour of the day, nor in the hours beside it, in the last `days` days; in the actor's zone
  (`identities.csv`), else in `hours.zone`, else in UTC. Where the configuration has `hours`, the event must lie outside them too.
- `dormant`: the actor acted in the last `days` days, but not in the last `gap` of them.

An actor with fewer than `at_least` days with acts in that time has no history to be compared with; a lake with fewer than `at_least`
days on record in that time evaluates nothing, and says so.
"""

from __future__ import annotations

import datetime as dt

import duckdb

from audit_pipeline.anomaly.features import NETWORK
from audit_pipeline.clock import DAY
from audit_pipeline.detections.rule import History, Rule
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.views import add_view, partition_files, quote

TABLE = "actor_days"
_DEFAULTS: dict[str, dict[str, int]] = {
    "new_network": {"days": 28, "at_least": 10},
    "unusual_hour": {"days": 28, "at_least": 10},
    "dormant": {"days": 90, "at_least": 31, "gap": 30},
}
_WORDS = {
    "new_network": "from networks that the actor did not use in the {days} days before",
    "unusual_hour": "in hours in which the actor did nothing in the {days} days before",
    "dormant": "after {gap} days or more without any act",
}


def parse(said: object, zone: str) -> History:
    """The attribute as written in a rule.

    Raises:
        ValueError: it says something else than the above.
    """
    if not isinstance(said, dict) or said.get("kind") not in _DEFAULTS:
        raise ValueError(f"history needs a kind: one of {', '.join(_DEFAULTS)}")
    known = _DEFAULTS[said["kind"]]
    given = {name: value for name, value in said.items() if name != "kind"}
    if unknown := sorted(given.keys() - known.keys()):
        raise ValueError(f"history of the kind {said['kind']} knows no {', '.join(unknown)}; it has {', '.join(known)}")
    numbers = {**known, **given}
    if not all(type(number) is int and 1 <= number <= 400 for number in numbers.values()):
        raise ValueError("days of a history are whole numbers from 1 to 400")
    if numbers.get("gap", 0) >= numbers["days"] or numbers["at_least"] > numbers["days"]:
        raise ValueError("the gap of a history is shorter than its days, and at_least is at most its days")
    return History(kind=said["kind"], zone=zone, **numbers)


def add_views(con: duckdb.DuckDBPyConnection, lake: Lake, rules: list[Rule], day: dt.date) -> None:
    """The view `actor_days` of the days before the day, as far back as a rule looks."""
    reach = max((rule.history.days for rule in rules if rule.history), default=0)
    if reach:
        add_view(con, TABLE, TABLES[TABLE].schema, partition_files(lake, TABLE, day - reach * DAY, day - DAY))


def keep(con: duckdb.DuckDBPyConnection) -> None:
    """Copy what rules read of the view, once for all of them: it lies in as many files as there are days."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE kept_{TABLE} AS SELECT day, x_actor, hours, networks FROM {TABLE}")
    con.execute(f"CREATE OR REPLACE TEMP VIEW {TABLE} AS SELECT * FROM kept_{TABLE}")


def too_short(rule: Rule, days: list[dt.date], day: dt.date) -> str | None:
    """Why there is too little history for the rule on the day; `days` are those on record."""
    past = rule.history
    if past is None:
        return None
    there = sum(day - past.days * DAY <= one < day for one in days)
    if there >= past.at_least:
        return None
    return f"{there} of the {past.at_least} days of history that it needs are on record"


def words(past: History) -> str:
    """What was compared, for the sentence of a detection."""
    return _WORDS[past.kind].format(days=past.days, gap=past.gap)


def clauses(rule: Rule) -> tuple[str, str]:
    """SQL of a rule's history: common table expressions before its own, and what its events must fulfil besides."""
    past = rule.history
    if past is None:
        return "", ""
    before = f"FROM actor_days WHERE day >= CAST($start AS DATE) - {past.days} AND day < CAST($start AS DATE)"
    make = {"new_network": _new_network, "unusual_hour": _unusual_hour, "dormant": _dormant}[past.kind]
    known, condition = make(past, before)
    return f"known AS ({known}), ", f" AND {condition}"


def _new_network(past: History, before: str) -> tuple[str, str]:
    """A network not among those of the actor's days; addresses inside the company's own ranges are networks like any other."""
    network = NETWORK.format(ip="src_endpoint_ip")
    days = (
        f"SELECT x_actor {before} AND len(networks) > 0 GROUP BY x_actor HAVING count(DISTINCT day) >= {past.at_least}"
    )
    used = f"SELECT DISTINCT x_actor, unnest(networks) AS network {before}"
    return (
        f"SELECT x_actor, network FROM ({used}) WHERE x_actor IN ({days})",
        (
            f"nullif({network}, '') IS NOT NULL AND x_actor IN (SELECT x_actor FROM known) "
            f"AND (x_actor, {network}) NOT IN (SELECT (x_actor, network) FROM known WHERE x_actor IS NOT NULL)"
        ),
    )


def _unusual_hour(past: History, before: str) -> tuple[str, str]:
    """An hour without an act, and none in the hours beside it: people are not punctual to the hour."""
    sums = ", ".join(f"sum(hours[{hour + 1}])" for hour in range(24))
    hour = f"hour(timezone(coalesce(x_actor_zone, {quote(past.zone)}), time))"
    acts = [f"h[(n + {by}) % 24 + 1]" for by in (23, 0, 1)]
    quiet = f"list_filter(range(24), lambda n: {' + '.join(acts)} = 0)"
    return (
        (
            f"SELECT x_actor, unnest({quiet}) AS hour FROM (SELECT x_actor, [{sums}] AS h {before} GROUP BY x_actor "
            f"HAVING count(DISTINCT day) >= {past.at_least})"
        ),
        f"coalesce(x_off_hours, true) AND (x_actor, {hour}) IN (SELECT (x_actor, hour) FROM known)",
    )


def _dormant(past: History, before: str) -> tuple[str, str]:
    """Acts long ago, and none since."""
    return (
        (
            f"SELECT x_actor {before} AND x_actor IS NOT NULL GROUP BY x_actor "
            f"HAVING max(day) < CAST($start AS DATE) - {past.gap}"
        ),
        "x_actor IN (SELECT x_actor FROM known)",
    )
