"""Whether each rule could say anything about a day: the table `rule_states`.

Belongs here: sources that are missing, columns that hold nothing, too little history. Not here: what a rule found (`run`).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.detections import history
from audit_pipeline.detections.fields import OUTCOME, columns_in, either, unmet
from audit_pipeline.detections.rule import Base, Rule, RuleError
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import partition_files
from audit_pipeline.ocsf.columns import BY_NAME
from audit_pipeline.settings import Settings

LOOKED_BACK = 7
"""days, the day itself included, in which a column must hold a value somewhere"""
_ALWAYS = {"x_account", "x_noise_rule", "device_hostname"}
"""computed columns, and the host: a source of one service rightly names none, which is a group of its own"""


class Evidence:
    """What a day's sources have: verdicts, and the columns that held values in the last `LOOKED_BACK` days."""

    def __init__(self, settings: Settings, lake: Lake, con: duckdb.DuckDBPyConnection, day: dt.date) -> None:
        self._settings = settings
        self._lake = lake
        self._day = day
        rows = con.execute("SELECT source, verdict, reasons FROM completeness WHERE day = ?", [day]).fetchall()
        self._out = {
            source: "missing" if verdict == "missing" else "not collected"
            for source, verdict, reasons in rows
            if verdict == "missing"
            or (verdict == "unknown" and any(one["code"] == "not_collected" for one in reasons or []))
        }
        self._filled = _filled(lake, con, day)
        mixed = [name for name, source in settings.sources.items() if not isinstance(source.format, str)]
        self._formats = {name: _formats(lake, con, day, name) for name in mixed}

    def reason(self, rule: Rule) -> tuple[tuple[str, ...], str | None]:
        """The sources over which the rule was evaluated on the day, and why not over the others."""
        if (short := history.too_short(rule, self._history(rule), self._day)) is not None:
            return (), short
        used: set[str] = set()
        why: dict[str, str] = {}
        for base in rule.bases:
            for source in base.sources:
                if (found := self._without(base, source, counting=rule.kind != "single")) is None:
                    used.add(source)
                else:
                    why.setdefault(source, found)
        if rule.kind.startswith("temporal") and any(not used & set(base.sources) for base in rule.bases):
            used = set()
        return tuple(sorted(used)), "; ".join(
            f"{name}: {why[name]}" for name in sorted(why) if name not in used
        ) or None

    def _history(self, rule: Rule) -> list[dt.date]:
        return self._lake.days(history.TABLE) if rule.history else []

    def _without(self, base: Base, source: str, *, counting: bool) -> str | None:
        """Why a source can show nothing to a selection of a rule."""
        if source in self._out:
            return self._out[source]
        if base.format is not None and base.format not in self._formats.get(source, {base.format}):
            return f"no event of {LOOKED_BACK} days is of the format {base.format}"
        # events of nobody must not add up; where each event is a hit, nobody is a group like any other
        groups = tuple(either(columns_in(sql)) for sql in base.groups.values()) if counting else ()
        counted = (either(columns_in(base.counted)),) if base.counted else ()
        empty = unmet(("all", (base.need, *groups, *counted)), lambda column: self._has(source, column))
        if not empty:
            return None
        return f"no event of {LOOKED_BACK} days has {', '.join(sorted(empty))}"

    def _has(self, source: str, column: str) -> bool:
        if column in OUTCOME or column in _ALWAYS:
            return True
        if column == "x_off_hours":
            return "hours" in self._settings.model_fields_set
        if column not in BY_NAME:
            return self._settings.identities is not None
        known = self._filled.get(source)
        return known is None or column in known


def _filled(lake: Lake, con: duckdb.DuckDBPyConnection, day: dt.date) -> dict[str, set[str]]:
    """Columns with a value, by source, from the files' own counts of nulls; a source without events is not in it."""
    files = partition_files(lake, "events", day - (LOOKED_BACK - 1) * DAY, day)
    if not files:
        return {}
    rows = con.execute(
        "SELECT file_name, path_in_schema, bool_or(stats_null_count IS NULL OR stats_null_count < num_values) "
        "FROM parquet_metadata(?) GROUP BY ALL",
        [files],
    ).fetchall()
    found: dict[str, set[str]] = {}
    for file, column, some in rows:
        source = re.search(r"/source=([^/]*)/", file)
        if source is not None:
            held = found.setdefault(source[1], set())
            if some:
                held.add(column)
    return found


def _formats(lake: Lake, con: duckdb.DuckDBPyConnection, day: dt.date, source: str) -> set[str]:
    """The formats of a source's events, where it holds several systems' records."""
    files = partition_files(lake, "events", day - (LOOKED_BACK - 1) * DAY, day, source)
    query = "SELECT DISTINCT split_part(x_format, '/', 1) FROM read_parquet(?)"
    return {name for (name,) in con.execute(query, [files]).fetchall()} if files else set()


def row(rule: Rule, day: dt.date, n: int, used: tuple[str, ...], reason: str | None) -> dict[str, Any]:
    """A row of the table."""
    state = "evaluated" if used else "not_evaluated"
    if not rule.sources:
        formats = sorted({base.format for base in rule.bases if base.format})
        state, reason = "not_applicable", f"no source of the format {' or '.join(formats)} is configured"
    return {
        "day": day, "rule_id": rule.id, "rule_version": rule.version, "title": rule.title, "level": rule.level, "state": state, "reason": reason,
        "n": n if state == "evaluated" else None, "sources": list(used),
    }  # fmt: skip


def broken(error: RuleError, day: dt.date) -> dict[str, Any]:
    """The row of a rule that cannot be run."""
    return {
        "day": day, "rule_id": error.rule_id or error.file.name, "rule_version": None, "title": error.file.name, "level": None,
        "state": "not_evaluated", "reason": error.reason, "n": None, "sources": [],
    }  # fmt: skip
