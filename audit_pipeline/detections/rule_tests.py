"""Test events beside a rule: `signin_burst.tests.yml` says on which events `signin_burst.yml` must speak up, and on which not.

Belongs here: reading the cases and running them with the real SQL. Not here: rules themselves (`sigma`), running days (`run`).
A case is `name`, `day` and `events` (event columns; `repeat` and `every` make a series of one); a positive one may say `expect`
with columns of the detection, such as `n`. A rule without positive and negative cases is not tested, and that is said.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from audit_pipeline.clock import UTC
from audit_pipeline.detections import history
from audit_pipeline.detections.rule import Rule
from audit_pipeline.detections.run import detections
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.ocsf.columns import VIEW, VIEW_SCHEMA


def failures(rule: Rule) -> list[str]:
    """What is wrong with the rule by its own test events, one sentence each; empty when all cases hold."""
    try:
        cases = yaml.safe_load(rule.tests.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{rule.tests}: there are no test events; write positive and negative ones"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return [f"{rule.tests}: cannot be read ({error})"]
    if not isinstance(cases, dict) or not all(cases.get(kind) for kind in ("positive", "negative")):
        return [f"{rule.tests}: it needs at least one case under `positive` and one under `negative`"]
    found: list[str] = []
    with duckdb.connect(":memory:", config={"autoload_known_extensions": False, "threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        for kind in ("positive", "negative"):
            for case in cases[kind]:
                try:
                    problem = _case(con, rule, kind, case)
                except (KeyError, TypeError, ValueError, pa.ArrowException, duckdb.Error) as error:
                    problem = f"cannot be run ({type(error).__name__}: {error})"
                if problem:
                    found.append(f"{rule.tests}: {kind} case {_name(case)}: {problem}")
    return found


def _name(case: object) -> str:
    return repr(case.get("name")) if isinstance(case, dict) else repr(case)


def _case(con: duckdb.DuckDBPyConnection, rule: Rule, kind: str, case: dict[str, Any]) -> str | None:
    of = rule.bases[0].format
    con.register("events", events(case["events"], rule.sources[0] if rule.sources else "test", of and f"{of}/0"))
    con.register(history.TABLE, actor_days(case.get("history", []), case["day"]))
    found = detections(con, rule, case["day"])
    if kind == "negative":
        return f"found {len(found)} detection(s): {found[0]['explanation']}" if found else None
    if not found:
        return "found nothing"
    wanted = case.get("expect", {})
    seen = [{name: row[name] for name in wanted} for row in found]
    return None if wanted in seen else f"expected {wanted}, found {seen}"


def events(described: list[dict[str, Any]], source: str, form: str | None = None) -> pa.Table:
    """Event rows from their description: columns by name, `repeat` times `every` so many seconds; the rest is null."""
    rows: list[dict[str, Any]] = []
    for event in described:
        times, every = event.get("repeat", 1), event.get("every", 0)
        columns = {name: value for name, value in event.items() if name not in ("repeat", "every")}
        if unknown := sorted(columns.keys() - VIEW.keys()):
            raise KeyError(f"no event column is named {', '.join(unknown)}")
        first = columns.pop("time").astimezone(UTC)
        for i in range(times):
            time = first + dt.timedelta(seconds=every * i)
            rows.append(
                {"x_source": source, "x_format": form, "x_line": len(rows), **columns, "time": time, "day": time.date()}
            )
    return pa.Table.from_pylist(rows, schema=VIEW_SCHEMA)


def actor_days(described: list[dict[str, Any]], day: dt.date) -> pa.Table:
    """Rows of `actor_days` before a day: columns by name, `days: [first, last]` before it, `hours` as hour to acts; the rest is null."""
    rows = []
    for one in described:
        first, last = one["days"]
        hours = [one.get("hours", {}).get(hour, 0) for hour in range(24)]
        columns = {name: value for name, value in one.items() if name != "days"} | {"hours": hours}
        rows += [{**columns, "day": day - dt.timedelta(days=n)} for n in range(last, first + 1)]
    return pa.Table.from_pylist(rows, schema=TABLES[history.TABLE].schema)
