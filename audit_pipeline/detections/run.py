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
from typing import Any

import duckdb
import pyarrow as pa
import rfc8785

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.context import connect
from audit_pipeline.detections import history, keeping, sieve, states
from audit_pipeline.detections.rule import Rule, RuleError, noun
from audit_pipeline.detections.sigma import load
from audit_pipeline.detections.windows import statement
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES, VERDICTS
from audit_pipeline.lake.views import rows
from audit_pipeline.privacy.names import conceal_for
from audit_pipeline.settings import Settings

SHOWN = 100
"""characters of a log value that an explanation shows"""


def rules(settings: Settings) -> list[Rule]:
    """The rules that can be run, by id."""
    return load(settings)[0]


def rule_errors(settings: Settings) -> list[RuleError]:
    """The rules that cannot be run, and why."""
    return load(settings)[1]


def detect(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Compute and write the tables `detections` and `rule_states` of a day.

    A rule that fails does not stop the others: `table_metadata("detections", day)["rule_errors"]` names it, and `rule_states`.
    """
    from audit_pipeline.detections.templates import recurring_errors  # it takes what this module has

    known, errors = load(settings)
    active = [rule for rule in known if rule.sources]
    all_rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = [states.row(rule, day, 0, (), None) for rule in known if not rule.sources]
    with connected(settings, lake, active, day) as con:
        verdicts, conceal = _verdicts(con, day), conceal_for(settings, lake, con, day)
        evidence, over = states.Evidence(settings, lake, con, day), sieve.relations(con, active, day)
        for rule in active:
            used, reason = evidence.reason(rule)
            try:
                look = used and rule.id in over
                found = detections(con, rule, day, verdicts, conceal, over[rule.id]) if look else []
            except duckdb.Error as error:
                errors.append(_broken(rule, error))
                continue
            all_rows += found
            told.append(states.row(rule, day, len(found), used, reason))
        all_rows += recurring_errors(settings, lake, con, day, conceal)
    all_rows += keeping.detections(settings, lake, day)
    told += [states.broken(error, day) for error in errors]
    told.sort(key=lambda row: (row["rule_id"], row["title"]))
    all_rows.sort(key=lambda row: (row["rule_id"], row["group_key"]))
    table = pa.Table.from_pylist(all_rows, schema=TABLES["detections"].schema)
    lake.write_table("rule_states", pa.Table.from_pylist(told, schema=TABLES["rule_states"].schema), day)
    lake.write_table("detections", table, day, metadata=_metadata(active, errors))
    return table


def connected(settings: Settings, lake: Lake, active: list[Rule], day: dt.date) -> duckdb.DuckDBPyConnection:
    """A connection that sees what the rules need for the day: events as far back as windows reach, actor-days before it."""
    since = day - max([DAY, *(rule.span for rule in active)])
    con = connect(settings, lake, since=since, until=day, tables=["events", "completeness"])
    history.add_views(con, lake, active, day)
    return con


def detections(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    day: dt.date,
    verdicts: dict[str, str] | None = None,
    conceal: Callable[[str], str] = str,
    events: str = sieve.EVENTS,
) -> list[dict[str, Any]]:
    """A rule's detections of a day, as rows of the table, over the view or table `events` of the connection.

    `conceal` says what a detection may hold of a recorded value (`privacy.names.conceal_for`); groups are made before it.

    Raises:
        duckdb.Error: the rule's SQL cannot be run, for example a regular expression that RE2 has not.
    """
    start = midnight(day)
    values = {"since": start - rule.span, "start": start, "end": start + DAY}
    found = rows(con, statement(rule, events), values)
    return [_detection(rule, day, _concealed(row, conceal), verdicts or {}) for row in found]


def _concealed(row: dict[str, Any], conceal: Callable[[str], str]) -> dict[str, Any]:
    """Group values, actor and target: the parts of a detection that somebody else wrote and people read."""
    named = [name for name in row if re.fullmatch(r"g\d+|x_actor|x_target", name) and isinstance(row[name], str)]
    return {**row, **{name: conceal(row[name]) for name in named}}


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
    words = [f"{row['n']} {noun(row['n'], rule.counts)}"]
    who = [one_line(value) for name, value in group.items() if name != "x_source" and value is not None]
    if who:
        words.append(f"for {', '.join(who)}")
    if group.get("x_source"):
        words.append(f"at {group['x_source']}")
    if row["addresses"] == 1:
        words.append(f"from {one_line(row['address'])}")
    elif row["addresses"] > 1:
        words.append(f"from {row['addresses']} addresses")
    if rule.counted:
        words.append(f"with {row['values']} different {rule.counted}")
    words.append(f"in {length(row['last_time'] - row['first_time'])}")
    return " ".join(words) + _limit(rule)


def _limit(rule: Rule) -> str:
    if rule.history is not None:
        return f", {history.words(rule.history)}"
    if rule.kind.startswith("temporal"):
        joined = (", then " if rule.kind == "temporal_ordered" else " and ").join(base.name for base in rule.bases)
        return f"; {joined.replace('_', ' ')} within {length(rule.timespan)}"
    if rule.threshold is None or (rule.threshold == 1 and not rule.counted):
        return ""
    what = f" different {rule.counted}" if rule.counted else ""
    return f"; threshold {rule.threshold}{what} in {length(rule.timespan)}"


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


def _broken(rule: Rule, error: duckdb.Error) -> RuleError:
    return RuleError(rule.file, str(error).splitlines()[0], rule.id)


def _metadata(active: list[Rule], errors: list[RuleError]) -> dict[str, str]:
    text = "\n".join(f"{rule.id} {rule.version}" for rule in active)
    told = [{"file": error.file.name, "reason": error.reason} for error in errors]
    return {"rules_hash": hashlib.sha256(text.encode()).hexdigest(), "rule_errors": json.dumps(told, sort_keys=True)}
