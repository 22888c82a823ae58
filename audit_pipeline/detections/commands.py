"""What `audit-pipeline rules` tells: the rules, their test events, how they work, what they would have found.

Belongs here: rows and texts. Not here: printing (`cli_rules`), running days for good (`run`): nothing is written here.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.detections import history, rule_tests, states
from audit_pipeline.detections.fields import columns_in
from audit_pipeline.detections.rule import Rule, RuleError
from audit_pipeline.detections.run import connected, detections
from audit_pipeline.detections.sigma import load, read
from audit_pipeline.detections.windows import statement
from audit_pipeline.errors import UsageError
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.privacy.names import conceal_for
from audit_pipeline.settings import Settings

EXAMPLES = 3
"""explanations that a day of `backtest` shows"""


def list_rules(settings: Settings) -> list[dict[str, Any]]:
    """The rules by title, with their state on the last day that was computed; those that cannot run come last, with the reason."""
    known, errors = load(settings)
    _, told = _states(settings)
    rows = []
    for rule in sorted(known, key=lambda one: one.title):
        last = told.get(rule.id, {})
        rows.append(
            {
                "name": rule.file.stem, "id": rule.id, "title": rule.title, "level": rule.level, "attack": list(rule.attack),
                "sources": list(rule.sources), "state": last.get("state"), "n": last.get("n"), "reason": last.get("reason"),
            }
        )  # fmt: skip
    rows += [
        {"name": error.file.stem, "id": error.rule_id, "title": None, "level": None, "attack": [], "sources": [], "state": "not_evaluated", "n": None, "reason": error.reason}
        for error in errors
    ]  # fmt: skip
    return rows


def test(settings: Settings, name: str | None) -> list[dict[str, Any]]:
    """Each rule with what is wrong by its own test events; a rule that cannot be read is wrong too."""
    known, errors = load(settings)
    wanted = known if name is None else [find(settings, name)]
    rows = [
        {"name": rule.file.stem, "ok": not problems, "problems": problems}
        for rule in wanted
        for problems in [rule_tests.failures(rule if rule.sources else _with_sources(settings, rule))]
    ]
    if name is None:
        rows += [{"name": error.file.stem, "ok": False, "problems": [error.reason]} for error in errors]
    return rows


def _with_sources(settings: Settings, rule: Rule) -> Rule:
    """The same rule as if each format that it names had a source, so that its test events have one."""
    named = sorted({base.format for base in rule.bases if base.format})
    listed = ", ".join(f"{name}: {{type: files, format: {name}}}" for name in named)
    return read(rule.file, Settings.from_text(f"start: 2026-01-01\nsources: {{{listed}}}", settings.file))


def find(settings: Settings, name: str) -> Rule:
    """A rule by the stem of its file, its id, or the path of a file that need not be installed.

    Raises:
        RuleError: the file cannot be run.
        UsageError: there is no such rule.
    """
    known, errors = load(settings)
    for rule in known:
        if name in (rule.file.stem, rule.id):
            return rule
    for error in errors:
        if name == error.file.stem:
            raise error
    if Path(name).is_file():
        return read(Path(name), settings)
    raise UsageError(f"there is no rule {name!r}; `audit-pipeline rules list` names them, or give a rule file.")


def explain(settings: Settings, name: str) -> dict[str, Any]:
    """What a rule says, over which sources, with which columns and SQL, and its state on the last day."""
    rule = find(settings, name)
    day, told = _states(settings)
    last = told.get(rule.id, {})
    return {
        "title": rule.title, "id": rule.id, "file": str(rule.file), "level": rule.level, "attack": list(rule.attack), "owner": rule.owner,
        "description": rule.description, "falsepositives": list(rule.falsepositives), "blind_spots": list(rule.blind_spots), "runbook": rule.runbook, "sources": list(rule.sources),
        "groups": list(rule.groups), "history": history.words(rule.history) if rule.history else None,
        "columns": sorted(set(columns_in(rule.where)) | {column for sql in rule.groups.values() for column in columns_in(sql)}),
        "day": day.isoformat() if day else None, "state": last.get("state"), "reason": last.get("reason"), "n": last.get("n"), "sql": statement(rule),
    }  # fmt: skip


def backtest(settings: Settings, name: str, since: dt.date, until: dt.date) -> list[dict[str, Any]]:
    """What a rule would have found on stored days, a row each; `known`: of these groups, how many a stored detection has already.

    Raises:
        RuleError, UsageError: see `find`; or the rule's SQL cannot be run.
        UsageError: no day lies between the two.
    """
    rule = find(settings, name)
    if until < since:
        raise UsageError(f"--to {until} lies before --from {since}: swap them.")
    lake = Lake.open(settings.lake_url)
    return [_tried(settings, lake, rule, since + n * DAY) for n in range((until - since).days + 1)]


def _tried(settings: Settings, lake: Lake, rule: Rule, day: dt.date) -> dict[str, Any]:
    with connected(settings, lake, [rule], day) as con:
        used, reason = states.Evidence(settings, lake, con, day).reason(rule)
        try:
            conceal = conceal_for(settings, lake, con, day)
            found = detections(con, rule, day, conceal=conceal) if used and rule.sources else []
        except duckdb.Error as error:
            raise RuleError(rule.file, str(error).splitlines()[0], rule.id) from None
        stated = states.row(rule, day, len(found), used, reason)
    known = _known(lake, rule, day)
    return {
        "day": day.isoformat(),
        "state": stated["state"],
        "detections": stated["n"],
        "known": sum(one["group_key"] in known for one in found),
        "events": sum(one["n"] for one in found),
        "examples": [one["explanation"] for one in found[:EXAMPLES]],
        "reason": stated["reason"],
    }


def _known(lake: Lake, rule: Rule, day: dt.date) -> set[str]:
    """Group keys of the rule's stored detections up to the day: findings that exist already."""
    with connect(lake, until=day, tables=["detections"]) as con:
        rows = con.execute("SELECT DISTINCT group_key FROM detections WHERE rule_id = ?", [rule.id]).fetchall()
    return {row[0] for row in rows}


def _states(settings: Settings) -> tuple[dt.date | None, dict[str, dict[str, Any]]]:
    """The last day with `rule_states`, and its rows by rule."""
    lake = Lake.open(settings.lake_url)
    days = lake.days("rule_states")
    if not days:
        return None, {}
    with connect(lake, since=days[-1], until=days[-1], tables=["rule_states"]) as con:
        return days[-1], {row["rule_id"]: row for row in con.sql("FROM rule_states").to_arrow_table().to_pylist()}
