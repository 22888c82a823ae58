"""Adjustments: changes that are neither the fix of a finding nor a release, such as a threshold, an audit setting or a training.

Belongs here: `adjustments.yaml` beside the configuration, and the verdict about one. Not here: windows, the engine, the row (`compute`).

A file that is not there means that there are none. The file is a list; an entry that cannot be used stops no night: `check` names it,
and so does a row of table `effects`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from audit_pipeline.clock import DAY, UTC
from audit_pipeline.effects.fixes import ADJUSTMENT, Fix
from audit_pipeline.effects.judge import P_STEP, VERIFIED, Judgement, judge
from audit_pipeline.effects.model import Point
from audit_pipeline.errors import UserError
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.sections import Section
from audit_pipeline.settings import Settings

FILE = "adjustments.yaml"
LARGEST = 1_000_000
"""bytes of the file, at most"""
JUDGED_AFTER = 29 * DAY
"""from the change to its decision date, where none is given: 28 days after it"""
BETTER, WORSE, NO_CHANGE = "better", "worse", "no_change_seen"
OTHER = {"down": "up", "up": "down"}


class AdjustmentError(UserError):
    """An adjustment that cannot be judged; names its place and why."""


class Adjustment(Section):
    """One change, as it stands in the file."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")
    title: str = Field(min_length=1, max_length=300)
    at: dt.datetime
    """when it took effect, with its zone"""
    kpi_id: str
    scope: str = Field(pattern=r"^(all|(source|team|service):.{1,500})$")
    direction: Literal["down", "up"]
    """the good side"""
    decision_date: dt.date
    owner: str = Field(min_length=1, max_length=200)

    @field_validator("at")
    @classmethod
    def _zone(cls, at: dt.datetime) -> dt.datetime:
        if at.tzinfo is None:
            raise ValueError("write it with its zone, such as 2026-11-23T10:00:00Z")
        return at.astimezone(UTC)

    @model_validator(mode="before")
    @classmethod
    def _usual_date(cls, said: Any) -> Any:
        if isinstance(said, dict) and said.get("decision_date") is None and isinstance(said.get("at"), dt.datetime):
            return {**said, "decision_date": said["at"].date() + JUDGED_AFTER}
        return said

    @model_validator(mode="after")
    def _order(self) -> Adjustment:
        if self.decision_date <= self.at.date() + DAY:
            raise ValueError("decision_date must leave a day after the change")
        return self

    def as_fix(self) -> Fix:
        """What the engine compares: the rate before and after, nothing promised."""
        return Fix(
            "",
            0,
            ADJUSTMENT,
            self.kpi_id,
            self.scope,
            self.direction,
            None,
            self.decision_date,
            0,
            self.at.date(),
            self.id,
        )


def load(settings: Settings) -> tuple[list[Adjustment], list[AdjustmentError]]:
    """The adjustments by id, and what cannot be used."""
    try:
        entries = _entries(settings)
    except AdjustmentError as error:
        return [], [error]
    found: dict[str, Adjustment] = {}
    errors: list[AdjustmentError] = []
    for number, said in enumerate(entries, 1):
        try:
            one = Adjustment.model_validate(said)
            _check(settings, one, found)
            found[one.id] = one
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "it"
            errors.append(AdjustmentError(f"{FILE} entry {number}: {place}: {first['msg'].removeprefix('Value error, ')}. Mend the entry."))  # fmt: skip
        except AdjustmentError as error:
            errors.append(AdjustmentError(f"{FILE} entry {number}: {error}"))
    return [found[name] for name in sorted(found)], errors


def _entries(settings: Settings) -> list[Any]:
    file = settings.root / FILE
    if not file.exists():
        return []
    try:
        if file.stat().st_size > LARGEST:
            raise AdjustmentError(f"{file}: is larger than {LARGEST} bytes. Remove what was judged long ago.")
        said = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    except (OSError, UnicodeError) as error:
        raise AdjustmentError(f"{file}: cannot be read ({error}). It must be a UTF-8 text file.") from None
    except yaml.YAMLError as error:
        raise AdjustmentError(f"{file}: no valid YAML ({getattr(error, 'problem', error)}). Mend it.") from None
    if not isinstance(said, list):
        raise AdjustmentError(f"{file}: is no list. Begin each adjustment with `- id: …`.")
    return said


def _check(settings: Settings, one: Adjustment, found: dict[str, Adjustment]) -> None:
    kpi = catalogue(settings).get(one.kpi_id)
    if one.id in found:
        raise AdjustmentError(f"the id {one.id} stands twice. Give it another.")
    if kpi is None:
        raise AdjustmentError(f"there is no KPI {one.kpi_id}. `audit-pipeline kpi list` shows them.")
    if (scope := one.scope.partition(":")[0]) not in kpi.scopes:
        raise AdjustmentError(f"KPI {kpi.id} has no scope {scope}: one of {', '.join(kpi.scopes)}.")


def judged(before: Sequence[Point], after: Sequence[Point], direction: str) -> Judgement:
    """`better` or `worse` where the joint rule says so, `no_change_seen` where its interval holds no effect, else `inconclusive`."""
    good, bad = (judge(before, after, direction=way) for way in (direction, OTHER[direction]))
    if VERIFIED in (good.verdict, bad.verdict):
        verdict = BETTER if good.verdict == VERIFIED else WORSE
        return Judgement(**{**vars(good if verdict == BETTER else bad), "verdict": verdict})
    if good.estimate is not None and good.estimate.p >= P_STEP:
        return Judgement(**{**vars(good), "verdict": NO_CHANGE})
    return good if good.estimate is None or (good.estimate.ratio < 1) == (direction == "down") else bad
