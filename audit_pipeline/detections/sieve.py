"""Which rules can find anything on a day at all, and over which events they are run.

Belongs here: one look at the kinds of events of the day, and the table of candidates. Not here: conditions (`dialect`, `guard`), windows
and hits (`windows`). Most rules wait for operations that most days do not have, and a statement over the view `events` costs more to
plan than a small day to read. So the events are counted once by columns of few values; what a rule may look at is copied once, as long
as it is little; and a rule is run only where enough events are there. What rules find is the same as if each were run over `events`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import NamedTuple

import duckdb
import numpy as np

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.detections import history
from audit_pipeline.detections.fields import columns_in
from audit_pipeline.detections.guard import KINDS
from audit_pipeline.detections.rule import Base, Rule
from audit_pipeline.detections.windows import statement

EVENTS = "events"
CANDIDATES = "candidate_events"
MOST = 100_000
"""events that are copied; a rule that may look at more reads the view"""


def relations(con: duckdb.DuckDBPyConnection, rules: list[Rule], day: dt.date) -> dict[str, str]:
    """By rule id the relation over which a rule is to be run; a rule that is not in it can have no hit on the day.

    A hit ends on the day, so an event that the rule looks for lies there; and a window holds no more of them than the day and the
    time before it that windows reach into.

    Args:
        con: has the view `events` (and `actor_days`, where a rule asks for it).
        rules: rules to be run.
        day: the day of their hits.
    """
    if not rules:
        return {}
    since = midnight(day) - max(rule.span for rule in rules)
    span = {"since": since, "start": midnight(day), "end": midnight(day) + DAY}
    try:
        return _relations(con, rules, span)
    except duckdb.Error:
        return {rule.id: EVENTS for rule in rules}  # one of them cannot be run: each by itself, so that it is named


def _relations(con: duckdb.DuckDBPyConnection, rules: list[Rule], span: dict[str, dt.datetime]) -> dict[str, str]:
    _make(con, _KINDS, f"{_COUNTED.format(columns=', '.join(KINDS))} GROUP BY {', '.join(KINDS)}", span)
    seen = _counts(con, rules, _KINDS, lambda base: base.guard)
    possible = [rule for rule in rules if _may(rule, seen[rule.id])]
    copied = list(_few(possible, seen))
    found = {rule.id: EVENTS for rule in possible if rule not in copied}
    if copied:
        columns = {column for rule in copied for column in columns_in(statement(rule))}
        guards = dict.fromkeys(f"({base.guard})" for rule in copied for base in rule.bases)
        _make(con, CANDIDATES, f"{_COPIED.format(columns=', '.join(map(_name, sorted(columns))))} AND ({' OR '.join(guards)})", span)  # fmt: skip
        seen = _counts(con, copied, CANDIDATES, _guarded)
        found |= {rule.id: CANDIDATES for rule in copied if _may(rule, seen[rule.id])}
    if any(rule.history for rule in rules if rule.id in found):
        history.keep(con)
    return found


_KINDS = "kinds_of_events"
_IN = 'FROM events WHERE "time" >= $since AND "time" < $end'
_TODAY, _TIMES = '("time" >= $start)::INT', 'greatest(coalesce("count", 1), 1)'
_COUNTED = f"SELECT {{columns}}, sum({_TIMES}) AS n, count(*) AS rows, sum({_TODAY}) AS today {_IN}"
_COPIED = f"SELECT {{columns}}, {_TIMES} AS n, 1 AS rows, {_TODAY} AS today {_IN}"


class _Seen(NamedTuple):
    """Events that a base may look at: of the day, all with their repetitions, and rows."""

    today: int
    n: int
    rows: int


def _make(con: duckdb.DuckDBPyConnection, name: str, query: str, span: dict[str, dt.datetime]) -> None:
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}", span)


def _name(column: str) -> str:
    return f'"{column}"'


def _guarded(base: Base) -> str:
    """The guard first, by CASE: a condition may read into the record, which is dear, and AND would do so for all events."""
    return f"CASE WHEN {base.guard} THEN ({base.where}) END"


def _counts(
    con: duckdb.DuckDBPyConnection, rules: list[Rule], relation: str, condition: Callable[[Base], str]
) -> dict[str, list[_Seen]]:
    """By rule id what each of its bases may look at; one scan for all."""
    bases = [base for rule in rules for base in rule.bases]
    flags = ", ".join(f"coalesce({condition(base)}, false)" for base in bases)
    found = con.execute(f"SELECT {', '.join(_Seen._fields)}, {flags} FROM {relation}").fetchnumpy().values()
    columns = [np.asarray(column) for column in found]
    measures, flagged = columns[: len(_Seen._fields)], columns[len(_Seen._fields) :]
    seen = iter([_Seen(*(int(one[flag].sum()) for one in measures)) for flag in flagged])
    return {rule.id: [next(seen) for _ in rule.bases] for rule in rules}


def _may(rule: Rule, seen: list[_Seen]) -> bool:
    if not any(one.today for one in seen):
        return False
    if rule.threshold is None:
        return True
    if not rule.kind.startswith("temporal"):
        return sum(one.n for one in seen) >= rule.threshold
    return sum(one.n >= (base.threshold or 1) for base, one in zip(rule.bases, seen, strict=True)) >= rule.threshold


def _few(rules: list[Rule], seen: dict[str, list[_Seen]]) -> Iterator[Rule]:
    """Rules by how many events they may look at, the least first, as long as all of them together stay below `MOST`."""
    total = 0
    for rule in sorted(rules, key=lambda one: sum(base.rows for base in seen[one.id])):
        total += sum(base.rows for base in seen[rule.id])
        if total > MOST:
            return
        yield rule
