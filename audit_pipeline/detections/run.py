"""Running rules over a day: hits of each group become one detection, with numbers, evidence and words.

Belongs here: windows, detections and how they are written. Not here: what a rule is (`sigma`), what people decide (`findings`).
A day's detections depend on the events of days up to it and on the rules, and on nothing else. A window may begin on the day
before; it belongs to the day of its last event, so the part of a burst after midnight is seen by the later day with all the
events of its windows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import rfc8785

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.context import connect
from audit_pipeline.detections.sigma import Rule, RuleError, load
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES, VERDICTS
from audit_pipeline.privacy.names import conceal_for
from audit_pipeline.settings import Settings

MAX_REFS = 100
SHOWN = 100
"""characters of a log value that an explanation shows"""
_TARGET = "coalesce(user_name, resource_uid, resource_name, api_service_name, device_hostname)"


def rules(settings: Settings) -> list[Rule]:
    """The rules that can be run, by id."""
    return load(settings)[0]


def rule_errors(settings: Settings) -> list[RuleError]:
    """The rules that cannot be run, and why."""
    return load(settings)[1]


def detect(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Compute and write the table `detections` of a day.

    A rule that fails does not stop the others: `table_metadata("detections", day)["rule_errors"]` names it, and `rule_errors`.
    """
    from audit_pipeline.detections.templates import recurring_errors  # it needs words of this module

    known, errors = load(settings)
    active = [rule for rule in known if rule.sources]
    since = day - max([DAY, *(rule.timespan for rule in active)])
    rows: list[dict[str, Any]] = []
    with connect(settings, lake, since=since, until=day, tables=["events", "completeness"]) as con:
        verdicts, conceal = _verdicts(con, day), conceal_for(settings, lake, con, day)
        for rule in active:
            try:
                rows += detections(con, rule, day, verdicts, conceal)
            except duckdb.Error as error:
                errors.append(_broken(rule.file, error))
        rows += recurring_errors(settings, lake, con, day, conceal)
    rows.sort(key=lambda row: (row["rule_id"], row["group_key"]))
    table = pa.Table.from_pylist(rows, schema=TABLES["detections"].schema)
    lake.write_table("detections", table, day, metadata=_metadata(active, errors))
    return table


def detections(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    day: dt.date,
    verdicts: dict[str, str] | None = None,
    conceal: Callable[[str], str] = str,
) -> list[dict[str, Any]]:
    """A rule's detections of a day, as rows of the table, over the connection's view `events`.

    `conceal` says what a detection may hold of a recorded value (`privacy.names.conceal_for`); groups are made before it.

    Raises:
        duckdb.Error: the rule's SQL cannot be run, for example a regular expression that RE2 has not.
    """
    start = midnight(day)
    values = {"since": start - rule.timespan, "start": start, "end": start + DAY}
    found = con.sql(_sql(rule), params=values).to_arrow_table().to_pylist()
    return [_detection(rule, day, _concealed(row, conceal), verdicts or {}) for row in found]


def _concealed(row: dict[str, Any], conceal: Callable[[str], str]) -> dict[str, Any]:
    """Group values, actor and target: the parts of a detection that somebody else wrote and people read."""
    named = [name for name in row if re.fullmatch(r"g\d+|x_actor|x_target", name) and isinstance(row[name], str)]
    return {**row, **{name: conceal(row[name]) for name in named}}


def _sql(rule: Rule) -> str:
    """One row a group; bound: `since` (where windows may begin), `start` and `end` of the day."""
    groups = "".join(f", {sql} AS g{i}" for i, sql in enumerate(rule.groups.values()))
    keys = [f"g{i}" for i in range(len(rule.groups))]
    partition = f"PARTITION BY {', '.join(keys)}" if keys else ""
    return f"""
        WITH matched AS (
            SELECT time, x_source, x_segment, x_line, metadata_uid, x_actor, {_TARGET} AS x_target, src_endpoint_ip,
                greatest(coalesce("count", 1), 1) AS times{groups}
            FROM events WHERE time >= $since AND time < $end AND ({rule.where})
        ), hits AS ({_window(rule, partition)}
        ), numbered AS (
            SELECT *, row_number() OVER ({partition} ORDER BY time, x_source, x_segment, x_line) AS place FROM hits
        )
        SELECT {"".join(f"{key}, " for key in keys)}
            sum(times)::BIGINT AS n, min(time) AS first_time, max(time) AS last_time,
            CASE WHEN count(DISTINCT x_actor) = 1 THEN min(x_actor) END AS x_actor,
            CASE WHEN count(DISTINCT x_target) = 1 THEN min(x_target) END AS x_target,
            count(DISTINCT src_endpoint_ip) AS addresses, min(src_endpoint_ip) AS address,
            list_sort(list(DISTINCT x_source)) AS sources,
            list({{'source': x_source, 'segment': x_segment, 'line': x_line, 'uid': metadata_uid}} ORDER BY place)
                FILTER (place <= {MAX_REFS}) AS refs
        FROM numbered {f"GROUP BY {', '.join(keys)}" if keys else "HAVING count(*) > 0"}"""


def _window(rule: Rule, partition: str) -> str:
    """The events of the rule's hits: all, or those within a window that reached the threshold and ended on the day."""
    if rule.threshold is None:
        return "SELECT * FROM matched WHERE time >= $start"
    span = f"INTERVAL {int(rule.timespan.total_seconds())} SECONDS"
    return f"""
            SELECT * EXCLUDE (seen, hit) FROM (
                SELECT *, bool_or(seen >= {rule.threshold} AND time >= $start)
                    OVER ({partition} ORDER BY time RANGE BETWEEN CURRENT ROW AND {span} FOLLOWING) AS hit
                FROM (
                    SELECT *, sum(times) OVER ({partition} ORDER BY time RANGE BETWEEN {span} PRECEDING AND CURRENT ROW) AS seen
                    FROM matched
                )
            ) WHERE hit"""


def _detection(rule: Rule, day: dt.date, row: dict[str, Any], verdicts: dict[str, str]) -> dict[str, Any]:
    group = {name: row[f"g{i}"] for i, name in enumerate(rule.groups)}
    key = rfc8785.dumps(group).decode()
    own = {name: row[name] for name in ("n", "first_time", "last_time", "x_actor", "x_target", "sources", "refs")}
    return {
        **own,
        "detection_id": short_hash(rule.id, key, day.isoformat()),
        "day": day,
        "rule_id": rule.id,
        "rule_version": rule.version,
        "kind": "rule",
        "level": rule.level,
        "score": None,
        "threshold": None if rule.threshold is None else float(rule.threshold),
        "explanation": explain(rule, group, row),
        "attack": list(rule.attack),
        "group_key": key,
        "verdict": worst(verdicts.get(source) for source in row["sources"]),
    }


def explain(rule: Rule, group: dict[str, str | None], row: dict[str, Any]) -> str:
    """What was seen, in words with numbers; log values are cut to one printable line."""
    words = [f"{row['n']} {rule.counts}"]
    who = [one_line(value) for name, value in group.items() if name != "x_source" and value is not None]
    if who:
        words.append(f"for {', '.join(who)}")
    if group.get("x_source"):
        words.append(f"at {group['x_source']}")
    if row["addresses"] == 1:
        words.append(f"from {one_line(row['address'])}")
    elif row["addresses"] > 1:
        words.append(f"from {row['addresses']} addresses")
    words.append(f"in {length(row['last_time'] - row['first_time'])}")
    limit = "" if rule.threshold is None else f"; threshold {rule.threshold} in {length(rule.timespan)}"
    return " ".join(words) + limit


def one_line(value: str) -> str:
    """A log value for people: no control or direction characters, at most `SHOWN` long."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in value[: SHOWN + 1])
    return shown if len(value) <= SHOWN else shown[:SHOWN] + "…"


def length(span: dt.timedelta) -> str:
    """`40 s`, `6 min`, `3.5 h`, `2 d`."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{round(seconds):d} s"


def worst(verdicts: Any) -> str | None:
    """The worst of some completeness verdicts; `None` where there is none."""
    found = [verdict for verdict in verdicts if verdict is not None]
    return min(found, key=VERDICTS.index) if found else None


def short_hash(*parts: str) -> str:
    """The first 128 bits of the SHA-256 of the parts' canonical JSON (RFC 8785), as hexadecimal digits."""
    return hashlib.sha256(rfc8785.dumps(list(parts))).hexdigest()[:32]


def _verdicts(con: duckdb.DuckDBPyConnection, day: dt.date) -> dict[str, str]:
    return dict(con.execute("SELECT source, verdict FROM completeness WHERE day = ?", [day]).fetchall())


def _broken(file: Path, error: duckdb.Error) -> RuleError:
    return RuleError(file, str(error).splitlines()[0])


def _metadata(active: list[Rule], errors: list[RuleError]) -> dict[str, str]:
    text = "\n".join(f"{rule.id} {rule.version}" for rule in active)
    told = [{"file": error.file.name, "reason": error.reason} for error in errors]
    return {"rules_hash": hashlib.sha256(text.encode()).hexdigest(), "rule_errors": json.dumps(told, sort_keys=True)}
