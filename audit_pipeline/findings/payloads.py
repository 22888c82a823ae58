"""What a decision must say besides person and reason: one model an action, and the checks that need the log or the configuration.

Belongs here: what a payload holds and when it is refused. Not here: states (`states`), who may approve (`duties`).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from audit_pipeline.errors import UsageError
from audit_pipeline.sections import Section
from audit_pipeline.settings import Settings

if TYPE_CHECKING:
    from audit_pipeline.findings.course import Step

LONGEST = dt.timedelta(days=366)
RATE_DAYS = 22
"""Days from a proposal to its decision date at least: three whole weeks after the fix, below which no permutation of weeks can decide."""
TABLES = {"detections": "finding", "recurring_errors": "template"}
"""What a fix can be measured by beside the KPIs of the catalogue, and the scope of each."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


@dataclass(frozen=True)
class Context:
    """What is known besides the log: the configuration, the findings there are, and what happened to this one without a decision."""

    settings: Settings
    findings: frozenset[str] = frozenset()
    team: str | None = None
    events: tuple[Step, ...] = field(default=())
    """of `states.EVENTS`"""


class _Assign(Section):
    owner: Text


class _Propose(Section):
    fix: Text
    kind: Literal["state", "recurrence", "rate"]
    kpi_id: Text
    scope: Annotated[str, Field(pattern=r"^(all|(source|team|service|finding|template):.{1,500})$")]
    direction: Literal["down", "up"]
    promised: float = Field(gt=0, le=1)
    decision_date: dt.date
    covered_days: int | None = Field(default=None, ge=1, le=365)
    change_id: Text | None = None

    @model_validator(mode="after")
    def _covered(self) -> _Propose:
        if (self.kind == "recurrence") != (self.covered_days is not None):
            raise ValueError("covered_days stands with kind recurrence and only there")
        scope = self.scope.split(":")[0]
        wanted = TABLES.get(self.kpi_id)
        if (wanted is not None and scope != wanted) or (wanted is None and scope in TABLES.values()):
            raise ValueError(
                f"{self.kpi_id} has no scope {scope}: detections go with finding:ID, recurring_errors with template:ID"
            )
        return self


class _Proposal(Section):
    proposal: int = Field(ge=1)


class _Implement(_Proposal):
    change_id: Text | None = None


class _Accept(Section):
    approver: Text
    expires: dt.date


class _Duplicate(Section):
    of: Text


_MODELS: dict[str, type[Section]] = {
    "assign": _Assign,
    "propose": _Propose,
    "approve": _Proposal,
    "reject": _Proposal,
    "implement": _Implement,
    "accept": _Accept,
    "duplicate": _Duplicate,
}
KEYS = {action: tuple(model.model_fields) for action, model in _MODELS.items()}
"""Keys of the payload by action; actions that are not here have none."""


def check(action: str, payload: Mapping[str, Any], now: dt.datetime, context: Context | None = None) -> dict[str, Any]:
    """The payload in the form in which it is kept.

    Raises:
        UsageError: a key is missing, unknown or cannot be; says which and why.
    """
    if action in ("comment", "reveal"):
        return dict(payload)
    model, entry = _MODELS.get(action), payload.get("entry")
    given = {name: value for name, value in payload.items() if name != "entry" and value is not None}
    if model is None:
        kept: dict[str, Any] = given if action not in ("acknowledge", "false_positive", "reopen") else {}
        if given and not kept:
            raise UsageError(f"{action}: {', '.join(sorted(given))} does not belong to it.")
    else:
        kept = _kept(model, action, given)
    _dates(action, kept, now)
    if context is not None:
        _known(action, kept, context)
    return kept | ({"entry": entry} if entry is not None else {})


def _kept(model: type[Section], action: str, given: dict[str, Any]) -> dict[str, Any]:
    try:
        return model.model_validate(given).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        said = [
            f"needs the {one['loc'][0]}" if one["type"] == "missing" else f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False, include_input=False)
        ]  # fmt: skip
        raise UsageError(f"{action}: {'; '.join(said)}. Keys: {', '.join(model.model_fields)}.") from None


def _dates(action: str, kept: dict[str, Any], now: dt.datetime) -> None:
    today = now.astimezone(dt.UTC).date()
    if action == "accept":
        expires = dt.date.fromisoformat(kept["expires"])
        if not today < expires <= today + LONGEST:
            raise UsageError(f"accept: expires {expires}: must lie after today ({today}) and within a year.")
    if action == "propose":
        date = dt.date.fromisoformat(kept["decision_date"])
        days = {"rate": RATE_DAYS, "recurrence": kept.get("covered_days", 0) + 1, "state": 2}[kept["kind"]]
        if not today + dt.timedelta(days=days) <= date <= today + LONGEST:
            raise UsageError(
                f"propose: decision_date {date}: a {kept['kind']} can be judged from {today + dt.timedelta(days=days)}, and at most a year from now."
            )


def _known(action: str, kept: dict[str, Any], context: Context) -> None:
    """What only the configuration and the findings can tell."""
    if action == "duplicate" and kept["of"] not in context.findings:
        raise UsageError(
            f"duplicate: there is no finding {kept['of']}. `audit-pipeline findings list --all` shows them."
        )
    if action != "propose":
        return
    from audit_pipeline.kpis.catalogue import catalogue  # reads files: not needed to record other decisions

    scope, _, name = kept["scope"].partition(":")
    if kept["kpi_id"] in TABLES:
        if scope == "finding" and name not in context.findings:
            raise UsageError(f"propose: scope {kept['scope']}: there is no such finding.")
        return
    kpi = catalogue(context.settings).get(kept["kpi_id"])
    if kpi is None:
        raise UsageError(
            f"propose: there is no KPI {kept['kpi_id']}: `audit-pipeline kpi list` shows them; or detections, recurring_errors."
        )
    if scope not in kpi.scopes:
        raise UsageError(f"propose: KPI {kpi.id} has no scope {scope}: one of {', '.join(kpi.scopes)}.")
    known = {"source": sorted(context.settings.sources), "team": sorted(context.settings.teams)}
    names = known.get(scope)
    if names is not None and name not in names:
        raise UsageError(
            f"propose: scope {kept['scope']}: no {scope} is named so: one of {', '.join(names) or 'none'}."
        )
    better = {"lower_is_better": "down", "higher_is_better": "up"}.get(kpi.direction)
    if better not in (None, kept["direction"]):
        raise UsageError(f"propose: of KPI {kpi.id} {better} is better; nobody promises the other.")


def read_payload(text: str) -> dict[str, Any]:
    """A stored payload; empty where somebody spoilt it (`verify` tells)."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_id(text: str) -> bool:
    """Whether it can be a finding's id or its beginning."""
    return re.fullmatch(r"[0-9a-f]{6,64}", text) is not None
