"""What a rule's condition says about columns of few values: a guard, which is false only where the condition is false.

Belongs here: the guard as SQL. Not here: the condition itself (`dialect`), looking at a day with guards (`sieve`). What a guard cannot
know counts as true, and below a negation as false.
"""

from __future__ import annotations

from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionNOT, ConditionValueExpression
from sigma.conversion.state import ConversionState
from sigma.rule import SigmaRule
from sigma.types import SigmaFieldReference, SigmaString

from audit_pipeline.detections.dialect import DuckDBBackend
from audit_pipeline.detections.fields import columns_in

KINDS = (
    "x_source", "class_uid", "activity_id", "status_id", "api_operation", "api_service_name", "api_response_error", "actor_user_type",
    "metadata_event_code", "resource_type", "x_read_only",
)  # fmt: skip
"""Columns of few values. All are stored as they are: none is changed by what the configuration knows."""


def guard(rule: SigmaRule, format_name: str | None) -> str:
    """SQL over `KINDS`: false (or null) only where the rule's condition is."""
    return _Guard(format_name).where(rule)


class _Guard(DuckDBBackend):
    """A condition, as far as the columns of few values can tell."""

    def __init__(self, format_name: str | None) -> None:
        super().__init__(format_name)
        self._unknown = "true"

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> str:
        """Below a negation, what is not known must not make the negation false."""
        before, self._unknown = self._unknown, "false" if self._unknown == "true" else "true"
        try:
            return super().convert_condition_not(cond, state)
        finally:
            self._unknown = before

    def convert_condition_field_eq_val(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> str:
        """Said of the columns of few values alone."""
        fields = [cond.field, *([cond.value.field] if isinstance(cond.value, SigmaFieldReference) else [])]
        told = all(self._told(field) for field in fields)
        return super().convert_condition_field_eq_val(cond, state) if told else self._unknown

    def one_of(self, field: str, values: list[SigmaString]) -> str:
        """The same for several words of one field."""
        return super().one_of(field, values) if self._told(field) else self._unknown

    def convert_condition_val(self, cond: ConditionValueExpression, state: ConversionState) -> str:  # noqa: ARG002
        """Keywords are looked for in the whole record."""
        return self._unknown

    def _told(self, field: str) -> bool:
        columns = columns_in(self.column(field)[0])
        return bool(columns) and set(columns) <= set(KINDS)
