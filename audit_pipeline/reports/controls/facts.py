"""What checks of controls look at: stored tables and reports of a period, for the sources in a framework's scope.

Belongs here: reading. Not here: any judgement (`checks`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from audit_pipeline.access.snapshot import states
from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.evidence import chain_problems
from audit_pipeline.lake.verify import verify
from audit_pipeline.lake.views import connect
from audit_pipeline.reports import effects
from audit_pipeline.reports.controls.catalogue import Scope
from audit_pipeline.reports.inputs import Inputs, Row
from audit_pipeline.settings import Settings
from audit_pipeline.state import deliveries

FIELDS = {
    "who": "coalesce(actor_user_name, actor_user_uid, user_name, user_uid, x_actor) IS NOT NULL",
    "what": "class_uid IS NOT NULL AND activity_id IS NOT NULL",
    "when": '"time" IS NOT NULL',
    "outcome": "status_id IN (1, 2)",
    "origin": "coalesce(src_endpoint_ip, src_endpoint_hostname, src_endpoint_uid, device_hostname) IS NOT NULL",
}
"""what a record has to tell (PCI DSS 10.2.2, NIST AU-3), as conditions over `events`; the object of an act differs by its kind"""


@dataclass(frozen=True)
class Facts:
    """The period as checks see it; days are ISO."""

    settings: Settings
    days: tuple[str, ...]
    scope: Scope
    completeness: Mapping[tuple[str, str], Row]
    """by source and day"""
    reviews: Mapping[str, str | None]
    """state by day; null while not due"""
    rule_errors: Mapping[str, int]
    """how many rules could not be run, by day; absent where none ran"""
    rules: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
    """id, ATT&CK tags and sources of each rule"""
    rule_states: Mapping[tuple[str, str], tuple[str, str]]
    """state and reason by rule and day; absent for days that were computed without the table"""
    findings: list[Row]
    implemented: list[Row]
    """findings whose fix was put in place in the period, with `approval`"""
    fixes: list[Row]
    """rows of `effects.remediations` whose decision date lies in the period"""
    kpi_states: Mapping[str, Mapping[str, str]]
    """state by KPI and day"""
    delivered: frozenset[str]
    """days whose mail was accepted"""
    verified: int
    """how many manifest entries were verified"""
    problems: list[tuple[str, str]]
    """what verification found: the source, empty for what belongs to none, and a line"""
    history_days: int
    """days of events on record up to the end of the period"""

    access: Mapping[str, Mapping[str, Row] | None]
    """by day, how each source stood, with `unapproved` principals; null where no run computed it"""
    approved_listed: bool
    """whether there is an approved list to hold rights against"""
    filled: Mapping[tuple[str, str], Mapping[str, float]]
    """share of events that have each of `FIELDS`, by source and day; absent where there are no events"""

    @property
    def sources(self) -> list[str]:
        """The sources in scope."""
        return self.scope.sources

    @property
    def problems_in_scope(self) -> list[str]:
        """What verification found about sources in scope, and about what belongs to no source."""
        return [line for source, line in self.problems if not source or source in self.sources]

    def of(self, scope: Scope) -> Facts:
        """The same for another scope."""
        return replace(self, scope=scope)


def facts(inputs: Inputs, engine: sa.Engine, calendar: list[Row], findings: list[Row], kpis: list[Row]) -> Facts:
    """Read what the checks need; the evidence of the period is verified anew, byte for byte."""
    from audit_pipeline.detections.sigma import load  # reads rule files: not needed to import this package

    verified, problems = _verify(inputs, engine)
    begun, ended = (
        rfc3339(midnight(dt.date.fromisoformat(day))) for day in (inputs.days[0], (inputs.day + DAY).isoformat())
    )
    first = min(inputs.lake.days("completeness"), default=inputs.day)
    return Facts(
        settings=inputs.settings,
        days=inputs.days,
        scope=Scope(systems=["none"], inventory="", owner="", date=inputs.day),
        completeness=inputs.completeness,
        reviews={row["day"]: row["state"] for row in calendar},
        rule_errors=_rule_errors(inputs),
        rules=[(rule.id, rule.attack, rule.sources) for rule in load(inputs.settings)[0]],
        rule_states={
            (row["rule_id"], row["day"]): (row["state"], row["reason"] or "no reason recorded")
            for row in inputs.rule_states
        },
        findings=findings,
        implemented=[
            row for row in inputs.findings if row["implemented_at"] and begun <= row["implemented_at"] < ended
        ],
        fixes=[row for row in effects.remediations(inputs) if row["decision_date"] in inputs.days],
        kpi_states={row["id"]: {one["day"]: one["state"] for one in row["history"]} for row in kpis},
        delivered=_delivered(engine),
        verified=verified,
        problems=problems,
        history_days=(inputs.day - first).days + 1,
        access=_access(inputs),
        approved_listed=inputs.settings.approved_access is not None,
        filled=_filled(inputs),
    )


def _verify(inputs: Inputs, engine: sa.Engine) -> tuple[int, list[tuple[str, str]]]:
    """Chains, the segments collected from the period's first day to the day after its last, printed heads, and decisions."""
    until = (inputs.day + DAY).isoformat()
    found, summary = verify(inputs.lake, inputs.days[0], until)
    rows = [problem.as_dict() for problem in found] + chain_problems(inputs.lake, engine)[0]
    return summary.entries, [(row.get("source") or "", f"{row['problem']} in {row['file']}") for row in rows]


def _filled(inputs: Inputs) -> dict[tuple[str, str], dict[str, float]]:
    shares = ", ".join(f"avg(({condition})::INT)" for condition in FIELDS.values())
    first = dt.date.fromisoformat(inputs.days[0])
    with connect(inputs.lake, since=first, until=inputs.day, tables=["events"]) as con:
        rows = con.sql(f"SELECT x_source, day, {shares} FROM events GROUP BY ALL").fetchall()
    return {(source, day.isoformat()): dict(zip(FIELDS, found, strict=True)) for source, day, *found in rows}


def _access(inputs: Inputs) -> dict[str, dict[str, Row] | None]:
    days = [dt.date.fromisoformat(day) for day in inputs.days]
    query = "SELECT day, source, count(DISTINCT principal) FROM access WHERE approved = false GROUP BY ALL"
    with connect(inputs.lake, since=days[0], until=inputs.day, tables=["access"]) as con:
        unapproved = {(day, source): n for day, source, n in con.sql(query).fetchall()}
    found: dict[str, dict[str, Row] | None] = {}
    for day in days:
        told = states(inputs.lake, day)
        found[day.isoformat()] = told and {name: row | {"unapproved": unapproved.get((day, name), 0)} for name, row in told.items()}  # fmt: skip
    return found


def _rule_errors(inputs: Inputs) -> dict[str, int]:
    found = {}
    for day in inputs.days:
        note = inputs.lake.table_metadata("detections", dt.date.fromisoformat(day))
        if note is not None:
            found[day] = len(json.loads(note.get("rule_errors", "[]")))
    return found


def _delivered(engine: sa.Engine) -> frozenset[str]:
    columns = deliveries.c
    query = sa.select(columns.period).where(columns.kind == "daily", columns.outcome == "accepted")
    with engine.connect() as connection:
        return frozenset(connection.execute(query).scalars())
