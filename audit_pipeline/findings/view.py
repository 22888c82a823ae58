"""Findings: detections grouped by what a team has to decide, with the state that decisions gave them.

Belongs here: the view `findings` and one finding whole. Not here: recording decisions (`decisions`), commands (`commands`).
What opened a finding is computed anew each time; what people decided never is. A view of a day knows the detections up to it and
the decisions recorded up to its as-of, so that computing it again later gives the same rows.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.detections.keeping import TITLES as KEEPING
from audit_pipeline.detections.run import one_line, short_hash
from audit_pipeline.detections.sigma import Rule, load
from audit_pipeline.findings import decisions
from audit_pipeline.findings.budget import Candidate, choose
from audit_pipeline.findings.decisions import Decision
from audit_pipeline.findings.duties import approval
from audit_pipeline.findings.risk import order, risk, severity_of
from audit_pipeline.findings.spells import way
from audit_pipeline.findings.states import CLOSED
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
RECURRING, RELEASE_WORSE = "recurring_error", "release_worse"
WORSE_LEVEL = "medium"
"""severity of a release that made errors rise"""


_GROUPS = """
    WITH found AS (
        SELECT rule_id, group_key, kind, day, level, d.x_actor, d.sources, d.n, d.first_time, d.verdict, a.x_actor_kind,
            coalesce(a.privileged, 0) > 0 AS privileged
        FROM detections d LEFT JOIN actor_days a USING (day, x_actor)
    )
    SELECT rule_id, group_key, first(kind ORDER BY day) AS kind, min(first_time) AS first_time, sum(n)::BIGINT AS n,
        last(x_actor ORDER BY day) FILTER (x_actor IS NOT NULL) AS x_actor,
        last(x_actor_kind ORDER BY day) FILTER (x_actor_kind IS NOT NULL) AS x_actor_kind,
        list({'day': day, 'level': level, 'sources': sources, 'verdict': verdict, 'x_actor_kind': x_actor_kind,
            'privileged': privileged} ORDER BY day) AS detections
    FROM found GROUP BY rule_id, group_key"""
_EFFECTS = """
    SELECT subject, subject_id, effect_id, kind, verdict, as_of, after_start,
        min(recurred_at) OVER (PARTITION BY subject, subject_id, kind, verdict) AS recurred_at
    FROM effects WHERE verdict <> 'pending'
    QUALIFY row_number() OVER (PARTITION BY subject, subject_id, kind, verdict ORDER BY as_of) = 1
    ORDER BY as_of, subject_id, kind"""
_TEMPLATES = "SELECT service, template_id, arg_max(template, day) FROM error_templates GROUP BY ALL"
_STORY = """
    SELECT DISTINCT o.rule_id, o.group_key FROM detections d JOIN detections o ON o.x_actor = d.x_actor
        AND o.first_time <= coalesce(d.last_time, d.first_time) + INTERVAL 24 HOURS
        AND coalesce(o.last_time, o.first_time) >= d.first_time - INTERVAL 24 HOURS
    WHERE d.rule_id = $rule AND d.group_key = $key AND NOT (o.rule_id = $rule AND o.group_key = $key)"""
_DETECTIONS = "SELECT * FROM detections WHERE rule_id = ? AND group_key = ? ORDER BY day"


def finding_id(rule_id: str, group_key: str) -> str:
    """Hash of rule and group key, without a date: it survives reruns, late data and backfills."""
    return short_hash(rule_id, group_key)


def findings_table(settings: Settings, lake: Lake, engine: sa.Engine, until: dt.date | None) -> pa.Table:
    """The findings as they stood at the as-of of `until`; `None`: of all days, with all decisions.

    Rows are sorted by severity (worst first), people before services, then by risk, first day and id (`risk.order`).
    """
    made = decisions.read(engine, None if until is None else settings.as_of(until))
    decided: defaultdict[str, list[Decision]] = defaultdict(list)
    for decision in made:
        decided[decision.finding_id].append(decision)
    groups, effects, templates = _stored(lake, until)
    judged: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for effect in effects:
        if effect["subject"] == "remediation":
            judged[effect["subject_id"].rpartition(":")[0]].append(effect)
    facts = _Facts(settings, _moment(settings, lake, until, made), {rule.id: rule for rule in load(settings)[0]}, decided, judged, templates)  # fmt: skip
    found = [_finding(facts, group) for group in groups]
    held = choose([candidate for _, candidate in found], settings.budgets, settings.as_of)
    rows = [_shown(row, candidate, held.get(row["finding_id"])) for row, candidate in found]
    _follow_duplicates(rows, decided)
    rows.sort(key=order)
    return pa.Table.from_pylist(rows, schema=FINDINGS_SCHEMA)


def _moment(settings: Settings, lake: Lake, until: dt.date | None, made: list[Decision]) -> dt.datetime | None:
    """As of when: of the day, else of the last day that is stored or the last decision, whichever is later."""
    if until is not None:
        return settings.as_of(until)
    known = [settings.as_of(day) for day in lake.days("detections")[-1:]] + [one.recorded_at for one in made]
    return max(known, default=None)


def show(
    settings: Settings, lake: Lake, engine: sa.Engine, finding: str, until: dt.date | None = None
) -> dict[str, Any]:
    """One finding whole: its row, and `rule`, `detections` (with references), `decisions` and `story`.

    `story` holds the ids of findings about the same actor within 24 hours: a layer without decisions of its own.

    Raises:
        KeyError: there is no finding of that id.
    """
    table = findings_table(settings, lake, engine, until)
    row = {row["finding_id"]: row for row in table.to_pylist()}[finding]
    with connect(lake, until=until, tables=["detections"]) as con:
        found = con.sql(_DETECTIONS, params=[row["rule_id"], row["group_key"]]).to_arrow_table().to_pylist()
        near = con.execute(_STORY, {"rule": row["rule_id"], "key": row["group_key"]}).fetchall()
    rule = next((rule for rule in load(settings)[0] if rule.id == row["rule_id"]), None)
    moment = None if until is None else settings.as_of(until)
    return {
        **row,
        "rule": _about(rule),
        "detections": found,
        "story": sorted(finding_id(*one) for one in near),
        "decisions": [vars(one) for one in decisions.read(engine, moment) if one.finding_id == finding],
    }


@dataclass(frozen=True)
class _Facts:
    """What all findings of a table are made from."""

    settings: Settings
    moment: dt.datetime | None
    rules: dict[str, Rule]
    decided: dict[str, list[Decision]]
    judged: dict[str, list[dict[str, Any]]]
    templates: dict[tuple[str, str], str]


def _stored(
    lake: Lake, until: dt.date | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[tuple[str, str], str]]:
    """Detections by rule and group key, releases that were judged worse among them; judged effects; texts of error templates."""
    with connect(lake, until=until, tables=["detections", "actor_days", "effects", "error_templates"]) as con:
        groups = con.sql(_GROUPS).to_arrow_table().to_pylist()
        effects = con.sql(_EFFECTS).to_arrow_table().to_pylist()
        texts: dict[tuple[str, str], str] = {}
        if any(group["kind"] == RECURRING for group in groups):
            texts = {(service, identifier): text for service, identifier, text in con.sql(_TEMPLATES).fetchall()}
    return groups + _worse(effects), effects, texts


def _worse(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Releases judged worse, in the shape of grouped detections: one a release, on the first day that says so."""
    found: dict[str, dict[str, Any]] = {}
    for effect in effects:
        if effect["subject"] != "release" or effect["verdict"] != "worse" or effect["subject_id"] in found:
            continue
        service, _, version = effect["subject_id"].partition("@")
        day = effect["as_of"].date() - DAY  # an as-of lies in the night after its day
        one = {
            "day": day,
            "level": WORSE_LEVEL,
            "sources": [],
            "verdict": None,
            "x_actor_kind": None,
            "privileged": False,
        }
        found[effect["subject_id"]] = {
            "rule_id": RELEASE_WORSE,
            "kind": RELEASE_WORSE,
            "group_key": rfc8785.dumps({"service": service, "version": version}).decode(),
            "first_time": effect["as_of"] if effect["after_start"] is None else midnight(effect["after_start"]),
            "n": 1,
            "x_actor": None,
            "x_actor_kind": None,
            "effect_id": effect["effect_id"],
            "detections": [one],
        }
    return list(found.values())


def _finding(facts: _Facts, group: dict[str, Any]) -> tuple[dict[str, Any], Candidate]:
    settings, rule, known = facts.settings, facts.rules.get(group["rule_id"]), group["detections"]
    key = json.loads(group["group_key"])
    severity, detected_at = severity_of(known), settings.as_of(known[0]["day"])
    identifier = finding_id(group["rule_id"], group["group_key"])
    sources = sorted({source for one in known for source in one["sources"] or []})
    team = team_of(settings, key, sources, rule.owner if rule else None)
    detected = sorted({settings.as_of(one["day"]) for one in known})
    made = facts.decided.get(identifier, [])
    went = way(made, facts.judged.get(identifier, []), detected, facts.moment, team)
    row = {
        **dict.fromkeys(FINDINGS_SCHEMA.names),
        **{
            name: group[name] for name in ("rule_id", "group_key", "kind", "first_time", "n", "x_actor", "x_actor_kind")
        },
        "finding_id": identifier,
        "title": _title(group, rule, key, facts.templates),
        "team": team,
        "severity": severity,
        "detected_at": detected_at,
        "due_at": max([detected_at, *went.openings]) + DUE[severity],
        **went.row,
    }
    row["effect_id"] = row["effect_id"] or group.get("effect_id")
    waiting = row["state"] not in CLOSED and row["state"] != "implemented"
    row["overdue"] = bool(waiting and facts.moment and facts.moment > row["due_at"])
    row["risk"], row["risk_terms"] = risk(known, reopened=row["reopened"], overdue=row["overdue"])
    row["approval"] = approval(made, settings) if row["approved_by"] else None
    return row, Candidate(identifier, group["kind"], team, known, went.openings, went.decided)


def _shown(row: dict[str, Any], candidate: Candidate, held_back: str | None) -> dict[str, Any]:
    """What somebody decided about in its last spell is known, and shown."""
    known = max(candidate.decided, default=None)
    if known is not None and known >= max(candidate.openings, default=known):
        held_back = None
    return {**row, "shown": held_back is None, "held_back": held_back}


def _follow_duplicates(rows: list[dict[str, Any]], decided: dict[str, list[Decision]]) -> None:
    """A duplicate has the owner and the due date of the finding that it repeats."""
    by_id = {row["finding_id"]: row for row in rows}
    for row in rows:
        seen, target = {row["finding_id"]}, row
        while target["state"] == "duplicate":
            said = [one for one in decided[target["finding_id"]] if one.action == "duplicate"]
            following = by_id.get(json.loads(said[-1].payload).get("of", "")) if said else None
            if following is None or following["finding_id"] in seen:
                break
            seen.add(following["finding_id"])
            target = following
        row["owner"], row["due_at"] = target["owner"], target["due_at"]


def team_of(settings: Settings, key: dict[str, Any], sources: list[str], hint: str | None) -> str | None:
    """Who owns it: the service in the group key, a source by `owns`, a source's team, else the rule's own hint where it is a team."""
    service = key.get("api_service_name") or key.get("service")
    wanted = [f"service:{service}"] if service else []
    wanted += [f"source:{source}" for source in sources]
    for name in wanted:
        for team, section in settings.teams.items():
            if name in section.owns:
                return team
    for source in sources:
        if source in settings.sources and settings.sources[source].team:
            return settings.sources[source].team
    return hint if hint in settings.teams else None


def _title(group: dict[str, Any], rule: Rule | None, key: dict[str, Any], templates: dict[tuple[str, str], str]) -> str:
    """What it is and whom it is about, in one printable line."""
    kind, said = group["kind"], {name: one_line(str(value)) for name, value in key.items() if value is not None}
    if kind == "anomaly":
        return f"Unusual day of {said.get('actor', 'nobody named')}"
    if kind == RECURRING:
        text = templates.get((key.get("service", ""), key.get("template", "")), said.get("template", ""))
        return f"Recurring error in {said.get('service', 'a service without a name')}: {one_line(text)}"
    if kind == RELEASE_WORSE:
        return f"Release {said['version']} of {said['service']} made errors rise"
    about = ", ".join(said.values())
    title = rule.title if rule else KEEPING.get(group["rule_id"]) or f"Rule {group['rule_id']} (no longer there)"
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
