"""Findings: detections grouped by what a team has to decide, with the state that decisions gave them.

Belongs here: the view `findings` and one finding whole. Not here: recording decisions (`decisions`), commands (`commands`).
What opened a finding is computed anew each time; what people decided never is. A view of a day knows the detections up to it and
the decisions recorded up to its as-of, so that computing it again later gives the same rows.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from audit_pipeline.detections.run import one_line, short_hash
from audit_pipeline.detections.sigma import LEVELS, Rule, load
from audit_pipeline.findings import decisions
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.states import CLOSED, OPEN, after
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import FINDINGS_SCHEMA
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings

DUE = {
    "critical": dt.timedelta(days=1),
    "high": dt.timedelta(days=3),
    "medium": dt.timedelta(days=7),
    "low": dt.timedelta(days=30),
    "informational": dt.timedelta(days=90),
}
"""Time from detection to the day a finding should be dealt with."""


_GROUPS = """
    SELECT rule_id, group_key, min(first_time) AS first_time, min(day) AS first_day, sum(n)::BIGINT AS n,
        list(DISTINCT level) AS levels, list_sort(list_distinct(flatten(list(sources)))) AS sources
    FROM detections GROUP BY rule_id, group_key"""
_DETECTIONS = "SELECT * FROM detections WHERE rule_id = ? AND group_key = ? ORDER BY day"


def finding_id(rule_id: str, group_key: str) -> str:
    """Hash of rule and group key, without a date: it survives reruns, late data and backfills."""
    return short_hash(rule_id, group_key)


def findings_table(settings: Settings, lake: Lake, engine: sa.Engine, until: dt.date | None) -> pa.Table:
    """The findings as they stood at the as-of of `until`; `None`: of all days, with all decisions.

    Rows are sorted by severity (worst first), then by the first day and id.
    """
    moment = None if until is None else settings.as_of(until)
    decided: defaultdict[str, list[Decision]] = defaultdict(list)
    for decision in decisions.read(engine, moment):
        decided[decision.finding_id].append(decision)
    titles = {rule.id: rule for rule in load(settings)[0]}
    rows = [_finding(settings, titles, group, decided) for group in _groups(lake, until)]
    rows.sort(key=lambda row: (-LEVELS.index(row["severity"]), row["detected_at"], row["finding_id"]))
    return pa.Table.from_pylist(rows, schema=FINDINGS_SCHEMA)


def show(
    settings: Settings, lake: Lake, engine: sa.Engine, finding: str, until: dt.date | None = None
) -> dict[str, Any]:
    """One finding whole: its row, and `rule`, `detections` (with references) and `decisions`.

    Raises:
        KeyError: there is no finding of that id.
    """
    table = findings_table(settings, lake, engine, until)
    row = {row["finding_id"]: row for row in table.to_pylist()}[finding]
    with connect(lake, until=until, tables=["detections"]) as con:
        found = con.sql(_DETECTIONS, params=[row["rule_id"], row["group_key"]]).to_arrow_table().to_pylist()
    rule = next((rule for rule in load(settings)[0] if rule.id == row["rule_id"]), None)
    moment = None if until is None else settings.as_of(until)
    return {
        **row,
        "rule": _about(rule),
        "detections": found,
        "decisions": [vars(one) for one in decisions.read(engine, moment) if one.finding_id == finding],
    }


def _groups(lake: Lake, until: dt.date | None) -> list[dict[str, Any]]:
    """Detections by rule and group key."""
    with connect(lake, until=until, tables=["detections"]) as con:
        return list(con.sql(_GROUPS).to_arrow_table().to_pylist())


def _finding(
    settings: Settings, rules: dict[str, Rule], group: dict[str, Any], decided: dict[str, list[Decision]]
) -> dict[str, Any]:
    rule = rules.get(group["rule_id"])
    key = json.loads(group["group_key"])
    severity = max(group["levels"], key=LEVELS.index)
    detected_at = settings.as_of(group["first_day"])
    identifier = finding_id(group["rule_id"], group["group_key"])
    team = team_of(settings, key, group["sources"], rule.owner if rule else None)
    return {
        **dict.fromkeys(FINDINGS_SCHEMA.names),
        "finding_id": identifier,
        "rule_id": group["rule_id"],
        "group_key": group["group_key"],
        "title": _title(group["rule_id"], rule, key),
        "team": team,
        "owner": team,
        "severity": severity,
        "first_time": group["first_time"],
        "detected_at": detected_at,
        "due_at": detected_at + DUE[severity],
        "reopened": 0,
        "n": group["n"],
        **_decided(decided.get(identifier, []), team),
    }


def _decided(made: Iterable[Decision], team: str | None) -> dict[str, Any]:
    """State, times and owner that the decisions gave; `identity` is how we know who made the last one that changed the state."""
    row: dict[str, Any] = {"state": OPEN, "owner": team, "acknowledged_at": None, "closed_at": None, "identity": None}
    for decision in made:
        before, row["state"] = row["state"], after(row["state"], decision.action)
        if decision.action == "assign":
            row["owner"] = json.loads(decision.payload).get("owner")
        if row["state"] != before:
            row["identity"] = decision.identity
        if row["acknowledged_at"] is None and decision.action == "acknowledge":
            row["acknowledged_at"] = decision.recorded_at
        if row["state"] in CLOSED and row["closed_at"] is None:
            row["closed_at"] = decision.recorded_at
    return row


def team_of(settings: Settings, key: dict[str, Any], sources: list[str], hint: str | None) -> str | None:
    """Who owns it: the service in the group key, a source by `owns`, a source's team, else the rule's own hint where it is a team."""
    wanted = [f"service:{key['api_service_name']}"] if key.get("api_service_name") else []
    wanted += [f"source:{source}" for source in sources]
    for name in wanted:
        for team, section in settings.teams.items():
            if name in section.owns:
                return team
    for source in sources:
        if source in settings.sources and settings.sources[source].team:
            return settings.sources[source].team
    return hint if hint in settings.teams else None


def _title(rule_id: str, rule: Rule | None, key: dict[str, Any]) -> str:
    """The rule's title and whom it is about, in one printable line."""
    about = ", ".join(one_line(value) for value in key.values() if value is not None)
    title = rule.title if rule else f"Rule {rule_id} (no longer there)"
    return f"{title}: {about}" if about else title


def _about(rule: Rule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    return {
        "id": rule.id,
        "title": rule.title,
        "description": rule.description,
        "runbook": rule.runbook,
        "falsepositives": list(rule.falsepositives),
        "attack": list(rule.attack),
        "version": rule.version,
    }
