"""Sigma conditions as DuckDB SQL over the view `events`: a small dialect of pySigma's text backend.

Belongs here: how one condition becomes SQL. Not here: rule files (`sigma`), windows and results (`run`).

Semantics are those of the Sigma specification 2 (https://sigmahq.io/sigma-specification/): strings match without regard to
case, `*` and `?` are wildcards, `|re` and `|cased` regard case, a field that is absent matches nothing but `null`, and its
negation is true. Literals come from rule files only and are quoted; nothing of a log is ever part of the SQL.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pyarrow as pa
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import TextQueryBackend
from sigma.conversion.state import ConversionState
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.rule import SigmaRule
from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaQueryExpression,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from audit_pipeline.detections.fields import CLOUDTRAIL, FIELDS, TEXT_FORMATS, Need, needs
from audit_pipeline.lake.views import any_of, quote
from audit_pipeline.ocsf.columns import COLUMNS, VIEW

__all__ = ["CLOUDTRAIL", "DuckDBBackend"]
_BY_PATH = {column.path: column.name for column in COLUMNS if column.path}


class DuckDBBackend(TextQueryBackend):
    """Turns a Sigma rule's condition into a boolean SQL expression.

    Args:
        format_name: record format whose own field names the rule may use; `None` for OCSF names alone.
    """

    name: ClassVar[str] = "DuckDB"

    def __init__(self, format_name: str | None = None) -> None:
        super().__init__()
        self.format_name = format_name
        self.fields = FIELDS.get(format_name or "", {})

    def where(self, rule: SigmaRule) -> str:
        """The rule's condition; several conditions are alternatives.

        Raises:
            SigmaError, NotImplementedError: the rule says something that this dialect has not.
        """
        parts = [
            str(self.convert_condition(parsed.parsed, ConversionState())) for parsed in rule.detection.parsed_condition
        ]
        return " OR ".join(f"({part})" for part in parts)

    def need(self, rule: SigmaRule) -> Need:
        """The columns that must hold values for the rule ever to match."""
        conditions = [parsed.parsed for parsed in rule.detection.parsed_condition]
        return ("any", tuple(needs(condition, lambda field: self.column(field)[0]) for condition in conditions))

    def column(self, field: str) -> tuple[str, pa.DataType]:
        """SQL expression and type of a field.

        Raises:
            SigmaFeatureNotSupportedByBackendError: no such column, and no record format to look into.
        """
        name = self.fields.get(field, _BY_PATH.get(field, field) if self.format_name is None else field)
        if name in VIEW:
            return f'"{name}"', VIEW[name].kind
        if field in self.fields:
            return name, pa.string()
        if self.format_name in TEXT_FORMATS:
            raise SigmaFeatureNotSupportedByBackendError(
                f"field {field!r} is no event column, and records of {self.format_name} are text without fields"
            )
        if field.startswith("x_") or (self.format_name is None and "." not in field):
            raise SigmaFeatureNotSupportedByBackendError(
                f"field {field!r} is no event column; name one (docs: tables), or a path such as userIdentity.arn"
            )
        steps = "".join('."' + step.replace("\\", "\\\\").replace('"', '\\"') + '"' for step in field.split("."))
        return (
            f"CASE WHEN json_valid(raw_data) THEN json_extract_string(raw_data, {quote('$' + steps)}) END",
            pa.string(),
        )

    def text(self, field: str) -> str:
        """The field as text."""
        expression, kind = self.column(field)
        return f"({expression})" if kind == pa.string() else f"CAST({expression} AS VARCHAR)"

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> str:
        """An absent field makes the inner condition null: in Sigma that is false, and its negation true."""
        inner = self.convert_condition(_only(cond), state)
        return f"NOT coalesce(({inner}), false)"

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> str:
        """Alternatives; each in parentheses, so that precedence is never a question."""
        parts: list[Any] = list(cond.args)
        fields = {_word(part) for part in parts}
        if len(parts) > 1 and len(fields) == 1 and (field := fields.pop()) is not None:
            return self.one_of(field, [part.value for part in parts])
        return self._joined(cond, "OR", state)

    def one_of(self, field: str, values: list[SigmaString]) -> str:
        """Several plain words for one field: one list, so that a long one is not a comparison each."""
        words = ["".join(_plain(piece) for piece in value.iter_parts()) for value in values]
        return any_of([_lower(word) for word in words], f"lower({self.text(field)})")

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> str:
        """Conjunction; each in parentheses."""
        return self._joined(cond, "AND", state)

    def _joined(self, cond: ConditionItem, word: str, state: ConversionState) -> str:
        parts: list[Any] = list(cond.args)
        if not parts:
            raise SigmaFeatureNotSupportedByBackendError("a list of the condition is empty")
        return f" {word} ".join(f"({self.convert_condition(part, state)})" for part in parts)

    def convert_condition_field_eq_val(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> str:
        """A field and a value, by the kind of value (`_COMPARISONS`)."""
        if isinstance(cond.value, SigmaExpansion):
            return str(self.convert_condition_field_eq_expansion(cond, state))
        return str(_by_kind(_COMPARISONS, cond.value)(self, cond.field, cond.value))

    def convert_condition_val(self, cond: ConditionValueExpression, state: ConversionState) -> str:
        """A keyword: anywhere in the record as it came."""
        if isinstance(cond.value, SigmaQueryExpression):
            return str(super().convert_condition_val(cond, state))
        return str(_by_kind(_KEYWORDS, cond.value)(cond.value))


def _lower(word: str) -> str:
    """A literal in lower case as the engine makes it; what it makes of ASCII is known, and need not be planned."""
    return quote(word.lower()) if word.isascii() else f"lower({quote(word)})"


def _word(part: object) -> str | None:
    """The field for which the condition is a plain word; `None` where it is anything else."""
    if not isinstance(part, ConditionFieldEqualsValueExpression) or type(part.value) is not SigmaString:
        return None
    return None if part.value.contains_special() else part.field


def _by_kind(table: Mapping[type, Any], value: object) -> Any:
    for kind in type(value).__mro__:
        if kind in table and not isinstance(value, SigmaTimestampPart):
            return table[kind]
    raise SigmaFeatureNotSupportedByBackendError(f"a value of the kind {type(value).__name__} is not supported here")


def _number(backend: DuckDBBackend, field: str, operator: str, number: str) -> str:
    """Numbers are compared as numbers, also where the record has them as text."""
    expression, kind = backend.column(field)
    if pa.types.is_integer(kind) and number.lstrip("-").isdigit():
        return f"{expression} {operator} {number}"  # without a cast, so that whole row groups can be skipped
    return f"TRY_CAST({backend.text(field)} AS DOUBLE) {operator} {float(number)!r}"


def _fields(backend: DuckDBBackend, field: str, value: SigmaFieldReference) -> str:
    """Two fields of one event, without regard to case."""
    left, right = f"lower({backend.text(field)})", f"lower({backend.text(value.field)})"
    if value.starts_with and value.ends_with:
        return f"contains({left}, {right})"
    if value.starts_with or value.ends_with:
        return f"{'starts_with' if value.starts_with else 'ends_with'}({left}, {right})"
    return f"{left} = {right}"


def _network(backend: DuckDBBackend, field: str, value: SigmaCIDRExpression) -> str:
    """Whether the field is an address of the network; IPv4-mapped IPv6 addresses count as IPv4."""
    low, high = _address_key(value.network[0]), _address_key(value.network[-1])
    return f"{_ADDRESS_KEY.replace('?', backend.text(field))} BETWEEN '{low}' AND '{high}'"


def _only(cond: ConditionNOT) -> Any:
    if cond.args[0] is None:
        raise SigmaFeatureNotSupportedByBackendError("a negation of the condition is empty")
    return cond.args[0]


def _match(text: str, value: SigmaString) -> str:
    """Equality, or LIKE where the value has wildcards; `SigmaCasedString` regards case."""
    cased = isinstance(value, SigmaCasedString)
    if not value.contains_special():
        literal = quote("".join(_plain(part) for part in value.iter_parts()))
        return f"{text} = {literal}" if cased else f"lower({text}) = lower({literal})"
    pattern = quote("".join(_like(part) for part in value.iter_parts()))
    return f"{text} {'LIKE' if cased else 'ILIKE'} {pattern} ESCAPE '\\'"


def _plain(part: object) -> str:
    if not isinstance(part, str):
        raise SigmaFeatureNotSupportedByBackendError(f"placeholder {part!r} is not filled in")
    return part


def _like(part: object) -> str:
    if part is SpecialChars.WILDCARD_MULTI:
        return "%"
    if part is SpecialChars.WILDCARD_SINGLE:
        return "_"
    return _plain(part).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _regex(text: str, value: SigmaRegularExpression) -> str:
    """RE2 regular expression, found anywhere in the value."""
    return f"regexp_matches({text}, {quote(value.escape(escape_escape_char=False))})"  # flags stand in front: (?i)


def _hextets(text: str) -> str:
    """SQL: the groups of half an IPv6 address, each as four digits, joined."""
    return (
        f"CASE WHEN {text} = '' THEN '' ELSE "
        f"array_to_string(list_transform(string_split({text}, ':'), lambda h: lpad(h, 4, '0')), '') END"
    )


def _address_key_sql() -> str:
    """SQL: an address as 32 hexadecimal digits, IPv4 as IPv4-mapped (RFC 4291, 2.5.5.2); null for anything else."""
    four = r"regexp_replace(?, '^::ffff:', '', 'i')"
    octets = " || ".join(f"printf('%02x', TRY_CAST(split_part({four}, '.', {i}) AS UTINYINT))" for i in (1, 2, 3, 4))
    left, right = "split_part(lower(?), '::', 1)", "split_part(lower(?), '::', 2)"
    groups = f"{_hextets(left)} || repeat('0', 32 - length({_hextets(left)} || {_hextets(right)})) || {_hextets(right)}"
    return (
        rf"CASE WHEN regexp_full_match({four}, '\d{{1,3}}(\.\d{{1,3}}){{3}}') THEN repeat('0', 20) || 'ffff' || {octets} "
        rf"WHEN regexp_full_match(lower(?), '[0-9a-f]{{0,4}}(:[0-9a-f]{{0,4}}){{2,7}}') THEN {groups} END"
    )


_ADDRESS_KEY = _address_key_sql()


def _address_key(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The same 32 digits for an address of a rule."""
    if isinstance(address, ipaddress.IPv4Address):
        return "0" * 20 + "ffff" + f"{int(address):08x}"
    return f"{int(address):032x}"


_OPERATORS = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
    CompareOperators.NEQ: "<>",
}
_COMPARISONS: dict[type, Callable[[DuckDBBackend, str, Any], str]] = {
    SigmaString: lambda backend, field, value: _match(backend.text(field), value),
    SigmaNumber: lambda backend, field, value: _number(backend, field, "=", str(value)),
    SigmaCompareExpression: lambda backend, field, value: _number(
        backend, field, _OPERATORS[value.op], str(value.number)
    ),
    SigmaBool: lambda backend, field, value: f"lower({backend.text(field)}) = {quote(str(value).lower())}",
    SigmaRegularExpression: lambda backend, field, value: _regex(backend.text(field), value),
    SigmaCIDRExpression: _network,
    SigmaFieldReference: _fields,
    SigmaNull: lambda backend, field, _: f"{backend.column(field)[0]} IS NULL",
    SigmaExists: lambda backend, field, value: f"{backend.column(field)[0]} IS {'NOT ' if value else ''}NULL",
}
_KEYWORDS: dict[type, Callable[[Any], str]] = {
    SigmaString: lambda value: _match('"raw_data"', SpecialChars.WILDCARD_MULTI + value + SpecialChars.WILDCARD_MULTI),
    SigmaNumber: lambda value: f"contains(raw_data, {quote(str(value))})",
    SigmaRegularExpression: lambda value: _regex('"raw_data"', value),
}
