"""Sigma correlations (specification 2.0, https://sigmahq.io/sigma-specification/specification/sigma-correlation-rules-specification.html).

Belongs here: which correlations can be run, and their parts. Not here: their SQL (`windows`), rule files (`sigma`).
`event_count`, `value_count`, `temporal` and `temporal_ordered`; a base of the last two may itself be an `event_count`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
)
from sigma.rule import SigmaRule

from audit_pipeline.detections.dialect import DuckDBBackend
from audit_pipeline.detections.rule import Base, RuleError

MAX_TIMESPAN = dt.timedelta(days=7)
_KINDS = {
    SigmaCorrelationType.EVENT_COUNT: "event_count",
    SigmaCorrelationType.VALUE_COUNT: "value_count",
    SigmaCorrelationType.TEMPORAL: "temporal",
    SigmaCorrelationType.TEMPORAL_ORDERED: "temporal_ordered",
}
MakeBase = Callable[[SigmaRule, dict[str, str] | None], tuple[Base, DuckDBBackend]]


def parse(file: Path, top: SigmaCorrelationRule, make: MakeBase) -> dict[str, Any]:
    """Bases, kind, threshold and time span of a correlation, as `Rule` has them.

    Raises:
        RuleError: it cannot be run; says why.
        SigmaError: a base says something that the dialect has not.
    """
    kind = _KINDS.get(top.type)
    if kind is None:
        raise RuleError(file, f"correlation {top.type.name.lower()} is not supported; {', '.join(_KINDS.values())} are")
    if not isinstance(top.condition, SigmaCorrelationCondition):
        raise RuleError(file, "an extended correlation condition is not supported")
    counted = top.condition.fieldref
    if counted is not None and not isinstance(counted, str):
        raise RuleError(file, "several fields of a value_count are not supported; name one")
    temporal = kind.startswith("temporal")
    bases = [
        part
        for reference in top.referenced_rules
        for part in _parts(file, top, reference.rule, make, counted, nested=temporal)
    ]
    stated = temporal and (top.condition.count, top.condition.op.name) != (1, "GTE")
    return {
        "bases": tuple(bases),
        "kind": kind,
        "threshold": _least(file, top) if stated or not temporal else len(bases),
        "timespan": _span(file, top),
        "counted": counted,
    }


def _parts(
    file: Path, top: SigmaCorrelationRule, rule: Any, make: MakeBase, counted: str | None, *, nested: bool
) -> list[Base]:
    """The bases that a referenced rule stands for; a count inside keeps its own threshold and time span."""
    if isinstance(rule, SigmaRule):
        base, backend = make(rule, _named(top, rule))
        return [replace(base, counted=backend.text(counted)) if counted else base]
    if not nested or rule.type is not SigmaCorrelationType.EVENT_COUNT:
        raise RuleError(
            file, "a correlation over correlations is not supported, but for event_count below temporal ones"
        )
    if list(rule.group_by or []) != list(top.group_by or []):
        raise RuleError(file, "a correlation and the event_count below it must have the same group-by")
    if len(rule.referenced_rules) != 1 or not isinstance(rule.referenced_rules[0].rule, SigmaRule):
        raise RuleError(file, "an event_count below another correlation counts the events of one rule")
    base, _ = make(rule.referenced_rules[0].rule, _named(rule, rule.referenced_rules[0].rule))
    return [replace(base, threshold=_least(file, rule), timespan=_span(file, rule))]


def _named(top: SigmaCorrelationRule, rule: SigmaRule) -> dict[str, str]:
    """The group key: names to the rule's own fields, through the correlation's aliases."""
    named = {field: field for field in top.group_by or []}
    for alias in top.aliases:
        for reference, field in alias.mapping.items():
            if alias.alias in named and reference.reference in (rule.name, str(rule.id)):
                named[alias.alias] = field
    return named


def _least(file: Path, rule: SigmaCorrelationRule) -> int:
    condition = rule.condition
    if not isinstance(condition, SigmaCorrelationCondition):
        raise RuleError(file, "an extended correlation condition is not supported")
    least = {
        SigmaCorrelationConditionOperator.GTE: math.ceil(condition.count),
        SigmaCorrelationConditionOperator.GT: math.floor(condition.count) + 1,
    }.get(condition.op)
    if least is None:
        raise RuleError(file, f"correlation condition {condition.op.name.lower()} is not supported; gt and gte are")
    return max(least, 1)


def _span(file: Path, rule: SigmaCorrelationRule) -> dt.timedelta:
    timespan = dt.timedelta(seconds=rule.timespan.seconds)
    if timespan > MAX_TIMESPAN:
        raise RuleError(file, f"its timespan {rule.timespan.spec} is longer than {MAX_TIMESPAN.days} days")
    return timespan
