"""The control table: one row a control, how it operated on all days of the period, and where the evidence stands.

Belongs here: joining controls, scope and checks. Not here: the checks, the data. No share is formed over a framework: a score
would count what nobody evaluated as something, and a standard's rows are not worth the same.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from audit_pipeline.reports.controls import catalogue, checks, outcome
from audit_pipeline.reports.controls.catalogue import Control, ControlsError, Framework, Scope
from audit_pipeline.reports.controls.facts import Facts, facts
from audit_pipeline.reports.inputs import Inputs, Row
from audit_pipeline.settings import Settings

NO_SCOPE = "scope not declared"
NOT_APPLICABLE = "not_applicable"
STATES = (outcome.NOT_OPERATED, outcome.NOT_EVALUATED, outcome.OPERATED)
MOST_REASONS = 4


def controls(inputs: Inputs, engine: sa.Engine, calendar: list[Row], findings: list[Row], kpis: list[Row]) -> Row:
    """`frameworks` (each with its scope and `rows`) and `errors` of files that could not be read.

    A row's `state` is `operated` only where all checks did on all days, `not_operated` where any did not on any day, and else
    `not_evaluated`. `days` counts the days by state, of the control's checks together.
    """
    known, errors = catalogue.frameworks(inputs.settings)
    problem, scopes = _scopes(inputs.settings)
    found = facts(inputs, engine, calendar, findings, kpis) if scopes else None
    return {
        "frameworks": [_framework(one, scopes.get(one.framework), found, problem) for one in known],
        "errors": [_told(error, inputs.settings) for error in errors],
    }


def _scopes(settings: Settings) -> tuple[str, dict[str, Scope]]:
    try:
        return NO_SCOPE, catalogue.scopes(settings)
    except ControlsError as error:
        return f"the scope cannot be used: {_told(error, settings)}", {}


def _told(error: ControlsError, settings: Settings) -> str:
    """The error without the folder: a report leaves the machine that made it."""
    shipped = str(catalogue.SHIPPED)
    return str(error).replace(f"{settings.root}/", "").replace(f"{shipped}/", "")


def _framework(framework: Framework, scope: Scope | None, found: Facts | None, problem: str) -> Row:
    head: dict[str, Any] = {"framework": framework.framework, "title": framework.title, "source": framework.source}
    if scope is None or found is None:
        rows = [_unscoped(control, problem) for control in framework.controls]
        return {**head, "scope": None, "rows": rows}
    mine = found.of(scope)
    declared = {
        "systems": [{"name": one.name, "sources": one.sources} for one in scope.named],
        "inventory": scope.inventory,
        "owner": scope.owner,
        "date": scope.date.isoformat(),
    }
    return {**head, "scope": declared, "rows": [_row(control, scope, mine) for control in framework.controls]}


def _base(control: Control) -> Row:
    return {name: getattr(control, name) for name in ("id", "words", "supports", "not_shown")}


def _unscoped(control: Control, problem: str) -> Row:
    return {**_base(control), "state": outcome.NOT_EVALUATED, "why": [problem], "days": None, "checks": []}


def _row(control: Control, scope: Scope, found: Facts) -> Row:
    if control.id in scope.not_applicable:
        reason = scope.not_applicable[control.id]
        return {**_base(control), "state": NOT_APPLICABLE, "why": [reason], "days": None, "checks": []}
    judged = {name: checks.evaluate(name, found) for name in control.checks}
    by_day = {day: outcome.worst([days[day] for days in judged.values()]) for day in found.days}
    grouped = {state: [day for day in found.days if by_day[day].state == state] for state in STATES}
    state = next((one for one in STATES if grouped[one]), outcome.NOT_EVALUATED)
    return {
        **_base(control),
        "state": state,
        "why": [],
        "days": grouped,
        "checks": [_check(name, days) for name, days in judged.items()],
    }


def _check(name: str, days: outcome.Days) -> Row:
    entry = checks.CHECKS.get(name.partition(":")[0])
    counts = {state: sum(one.state == state for one in days.values()) for state in STATES}
    return {
        "name": name,
        "words": entry.words if entry else name.replace("_", " "),
        "section": entry.section if entry else None,
        "days": counts,
        "why": _reasons(days),
    }


def _reasons(days: outcome.Days) -> list[Row]:
    """Why it did not operate or could not be evaluated: each reason once, with its days, the first ones."""
    found: dict[tuple[str, str], list[str]] = {}
    for day, said in days.items():
        if said.state != outcome.OPERATED:
            found.setdefault((said.state, said.why), []).append(day)
    ordered = sorted(found.items(), key=lambda item: (STATES.index(item[0][0]), item[1][0]))
    return [{"state": state, "why": why, "days": of} for (state, why), of in ordered[:MOST_REASONS]]
