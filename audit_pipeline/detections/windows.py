"""A rule over a day as one SQL statement: which events belong to hits, one row a group.

Belongs here: windows of counts, of different values, of several bases together or in order. Not here: conditions (`dialect`),
comparison with the days before (`history`), words (`run`). A window may begin on the days before; it belongs to the day of its last
event, so the part of a burst after midnight is seen by the later day with all the events of its windows.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.detections import history
from audit_pipeline.detections.rule import Base, Rule

MAX_REFS = 100
TARGET = "coalesce(user_name, resource_uid, resource_name, api_service_name, device_hostname)"
_KEPT = ("time", "x_source", "x_segment", "x_line", "metadata_uid", "x_actor", "src_endpoint_ip")


def statement(rule: Rule, events: str = "events") -> str:
    """One row a group; bound: `since` (where windows may begin), `start` and `end` of the day; `events` is the relation."""
    keys = [f"g{i}" for i in range(len(rule.groups))]
    partition = f"PARTITION BY {', '.join(keys)}" if keys else ""
    before, extra = history.clauses(rule)
    columns = [*_KEPT, f"{TARGET} AS x_target", 'greatest(coalesce("count", 1), 1) AS times']
    columns += [f"{sql} AS {key}" for key, sql in zip(keys, rule.groups.values(), strict=True)]
    columns += [f"({base.where}) AS b{i}" for i, base in enumerate(rule.bases) if rule.kind.startswith("temporal")]
    columns += [f"{_counted(rule)} AS v"] if rule.counted else []
    return f"""
        WITH {before}matched AS (
            SELECT {", ".join(columns)}
            FROM {events} WHERE time >= $since AND time < $end AND ({rule.where}){extra}
        ), hits AS ({_hits(rule, partition)}
        ), numbered AS (
            SELECT *, row_number() OVER ({partition} ORDER BY time, x_source, x_segment, x_line) AS place FROM hits
        )
        SELECT {"".join(f"{key}, " for key in keys)}
            sum(times)::BIGINT AS n, min(time) AS first_time, max(time) AS last_time,
            CASE WHEN count(DISTINCT x_actor) = 1 THEN min(x_actor) END AS x_actor,
            CASE WHEN count(DISTINCT x_target) = 1 THEN min(x_target) END AS x_target,
            count(DISTINCT src_endpoint_ip) AS addresses, min(src_endpoint_ip) AS address,
            count(DISTINCT {"v" if rule.counted else "NULL"}) AS "values",
            list_sort(list(DISTINCT x_source)) AS sources,
            list({{'source': x_source, 'segment': x_segment, 'line': x_line, 'uid': metadata_uid}} ORDER BY place)
                FILTER (place <= {MAX_REFS}) AS refs
        FROM numbered {f"GROUP BY {', '.join(keys)}" if keys else "HAVING count(*) > 0"}"""


def _counted(rule: Rule) -> str:
    said = [base.counted or "NULL" for base in rule.bases]
    cases = "".join(f" WHEN {base.where} THEN {base.counted}" for base in rule.bases)
    return said[0] if len(set(said)) == 1 else f"CASE{cases} END"


def _hits(rule: Rule, partition: str) -> str:
    """The events of the rule's hits: all of the day, or those within a window that is complete and ended on the day."""
    if rule.kind == "single":
        return "SELECT * FROM matched WHERE time >= $start"
    complete = {"temporal": _together, "temporal_ordered": _in_order}.get(rule.kind, _counts)(rule, partition)
    return f"""
            SELECT * EXCLUDE (done, hit) FROM (
                SELECT *, bool_or(done AND time >= $start)
                    OVER ({partition} ORDER BY time RANGE BETWEEN CURRENT ROW AND {_interval(rule.span)} FOLLOWING) AS hit
                FROM ({complete})
            ) WHERE hit"""


def _counts(rule: Rule, partition: str) -> str:
    """Whether enough events, or different values, lie in the window that ends with an event."""
    measure = "count(DISTINCT v)" if rule.counted else "sum(times)"
    keys = [f"m.g{i} IS NOT DISTINCT FROM c.g{i}" for i in range(len(rule.groups))]
    listed = ", ".join(f"g{i}" for i in range(len(rule.groups)))
    source = "matched m"
    if rule.counted and keys:  # windows of different values are dear: only for groups that have so many at all
        enough = f"SELECT {listed} FROM matched GROUP BY {listed} HAVING count(DISTINCT v) >= {rule.threshold}"
        source += f" SEMI JOIN ({enough}) c ON {' AND '.join(keys)}"
    return f"SELECT *, {measure} OVER {_back(partition, rule.timespan)} >= {rule.threshold} AS done FROM {source}"


def _together(rule: Rule, partition: str) -> str:
    """Whether so many of the bases lie in the window that ends with an event, in any order."""
    seen = [
        f"coalesce(bool_or({_is(i, base, partition)}) OVER {_back(partition, rule.timespan)}, false)::INT"
        for i, base in enumerate(rule.bases)
    ]
    if all(base.threshold is None for base in rule.bases):
        return f"SELECT *, {' + '.join(seen)} >= {rule.threshold} AS done FROM matched"
    flags = ", ".join(f"{_is(i, base, partition)} AS c{i}" for i, base in enumerate(rule.bases))
    seen = [
        f"coalesce(bool_or(c{i}) OVER {_back(partition, rule.timespan)}, false)::INT" for i in range(len(rule.bases))
    ]
    return f"SELECT *, {' + '.join(seen)} >= {rule.threshold} AS done FROM (SELECT *, {flags} FROM matched)"


def _in_order(rule: Rule, partition: str) -> str:
    """Whether a chain of all bases ends with an event: `s` is where the latest such chain began."""
    flags = ", ".join(f"{_is(i, base, partition)} AS c{i}" for i, base in enumerate(rule.bases))
    chain = f"SELECT *, CASE WHEN c0 THEN time END AS s0 FROM (SELECT *, {flags} FROM matched)"
    for i in range(1, len(rule.bases)):
        begun = f"max(s{i - 1}) OVER {_back(partition, rule.timespan)}"
        chain = f"SELECT *, CASE WHEN c{i} THEN {begun} END AS s{i} FROM ({chain})"
    last = f"s{len(rule.bases) - 1}"
    return f"SELECT *, coalesce({last} >= time - {_interval(rule.timespan)}, false) AS done FROM ({chain})"


def _is(i: int, base: Base, partition: str) -> str:
    """Whether an event counts for a base: it is one, and ends a window of enough of them where the base is a count."""
    if base.threshold is None:
        return f"b{i}"
    return f"(b{i} AND sum(CASE WHEN b{i} THEN times ELSE 0 END) OVER {_back(partition, base.timespan)} >= {base.threshold})"


def _back(partition: str, span: dt.timedelta) -> str:
    return f"({partition} ORDER BY time RANGE BETWEEN {_interval(span)} PRECEDING AND CURRENT ROW)"


def _interval(span: dt.timedelta) -> str:
    return f"INTERVAL {int(span.total_seconds())} SECONDS"
