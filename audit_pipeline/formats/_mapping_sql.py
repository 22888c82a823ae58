"""A mapping as SQL: the structure that a record is read with, and an expression a column.

Belongs here: quoting, types, conditions. Not here: what a mapping file may hold (`_mapping`). Every name and value of the file reaches
SQL through `_quote` or as a checked number: nothing of it is taken for SQL.
"""

from __future__ import annotations

import json
from typing import Any

from audit_pipeline.formats._mapping import STATUSES, ClassRule, ColumnMapping, Condition, Mapping, Scalar, steps
from audit_pipeline.ocsf.columns import BY_NAME

_IP = r"'[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%\w+)?'"
_MILLISECONDS = {"seconds": "* 1e3", "milliseconds": "* 1", "microseconds": "/ 1e3", "nanoseconds": "/ 1e6"}
_BOOLEAN = "CASE WHEN lower({0}) IN ('true', 'yes', '1', 'on') THEN true WHEN lower({0}) IN ('false', 'no', '0', 'off') THEN false END"
_KINDS = {"int32": "INTEGER", "int64": "BIGINT", "double": "DOUBLE"}
_COMPARED = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


class Fields:
    """The fields that a mapping reads: those of plain nesting in one structure, odd ones by JSON pointer from the text."""

    def __init__(self, mapping: Mapping) -> None:
        self._tree: dict[str, Any] = {}
        self._placed: set[tuple[str, ...]] = set()
        for path in sorted(_paths(mapping)):
            if self._place(path):
                self._placed.add(path)

    @property
    def structure(self) -> str:
        """For `json_transform`; a structure without fields is none, so the record itself stands in."""
        return json.dumps(self._tree or {"_": "VARCHAR"})

    def text(self, path: str) -> str:
        """The field as text, null where it is absent or empty."""
        keys = steps(path)
        if keys in self._placed:
            return f"nullif(r.{'.'.join(map(_name, keys))}, '')"
        pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
        return f"nullif(json_extract_string(doc, {_quote(pointer)}), '')"

    def _place(self, path: tuple[str, ...]) -> bool:
        """Names of a structure are one whatever their case, and a field is either text or a structure: else the pointer reads it."""
        node = self._tree
        for at, key in enumerate(path):
            same = next((known for known in node if known.lower() == key.lower()), None)
            last = at == len(path) - 1
            if same is not None and (same != key or last or isinstance(node[same], str)):
                return False
            if "\x00" in key:
                return False
            if same is None:
                node[key] = "VARCHAR" if last else {}
            if not last:
                node = node[key]
        return True


def _paths(mapping: Mapping) -> set[tuple[str, ...]]:
    found = {path for column in mapping.columns.values() for path in (*(column.path or ()), *(column.join or ()))}
    found |= {path for rule in mapping.classes for path in rule.when or {}}
    return {steps(path) for path in found}


def columns(mapping: Mapping, fields: Fields) -> dict[str, str]:
    """Event column to SQL expression over `r` and `doc`; who acted is accountable unless the mapping says otherwise."""
    found = {name: _column(name, column, fields) for name, column in mapping.columns.items()}
    by_class = _by_class(mapping.classes, fields)
    status = by_class.pop("status_id")
    found["status_id"] = f"coalesce({status}, {found.get('status_id', 'NULL')}, 0)"
    found |= by_class
    actors = [found[name] for name in ("actor_user_name", "user_name") if name in found]
    if "x_actor" not in found and actors:
        found["x_actor"] = f"coalesce({', '.join(actors)})"
    if "x_actor_kind" not in found and "x_actor" in found:
        found["x_actor_kind"] = f"CASE WHEN ({found['x_actor']}) IS NOT NULL THEN 'unknown' END"
    return found


def _column(name: str, column: ColumnMapping, fields: Fields) -> str:
    if column.value is not None:
        text = _quote(_plain(column.value))
    elif column.join is not None:
        text = f"nullif(concat_ws(' ', {', '.join(map(fields.text, column.join))}), '')"
    else:
        text = f"coalesce({', '.join(map(fields.text, column.path or ()))})"
    if column.pattern is not None:
        text = f"nullif(regexp_extract({text}, {_quote(column.pattern)}, {int(_has_group(column.pattern))}), '')"
    if column.map is not None:
        cases = " ".join(f"WHEN {_quote(word)} THEN {_quote(_plain(ours))}" for word, ours in column.map.items())
        text = f"CASE {text} {cases} ELSE {text if column.default is None else 'NULL'} END" if cases else text
    value = _typed(text, str(BY_NAME[name].kind), column.type)
    if column.default is None:
        return value
    return f"coalesce({value}, {_typed(_quote(_plain(column.default)), str(BY_NAME[name].kind), None)})"


def _has_group(pattern: str) -> bool:
    """Whether RE2 finds a group in the pattern: an escaped or a literal bracket, or `(?:`, is none."""
    inside = escaped = False
    for at, letter in enumerate(pattern):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in "[]":
            inside = letter == "[" or (inside and letter != "]")
        elif letter == "(" and not inside and (pattern[at + 1 : at + 2] != "?" or pattern[at + 1 : at + 4] == "?P<"):
            return True
    return False


def _typed(text: str, kind: str, given: str | None) -> str:
    """The text as the column's type; what does not fit is null, never an error."""
    if given == "address":
        return f"CASE WHEN regexp_full_match({text}, {_IP}) THEN {text} END"
    if given in _MILLISECONDS:
        number = f"TRY_CAST({text} AS DOUBLE) {_MILLISECONDS[given]}"
        text = f"CASE WHEN abs({number}) < 1e15 THEN ({number})::BIGINT::VARCHAR END"
    if kind == "bool" or given == "boolean":
        value = _BOOLEAN.format(text)
        return value if kind == "bool" else f"({value})::VARCHAR"
    return f"TRY_CAST({text} AS {_KINDS[kind]})" if kind in _KINDS else text


def _plain(value: Scalar) -> str:
    """A value of YAML as the text that JSON has for it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _by_class(rules: list[ClassRule], fields: Fields) -> dict[str, str]:
    values: dict[str, list[tuple[str, str]]] = {
        name: [] for name in ("type_uid", "class_uid", "category_uid", "activity_id", "severity_id", "status_id")
    }
    for rule in rules:
        test = " AND ".join(_test(fields.text(path), wanted) for path, wanted in (rule.when or {}).items()) or "true"
        values["type_uid"].append((test, str(rule.type_uid)))
        values["class_uid"].append((test, str(rule.uid)))
        values["category_uid"].append((test, str(rule.uid // 1000)))
        values["activity_id"].append((test, str(rule.type_uid % 100)))
        values["severity_id"].append((test, str(rule.severity_id)))
        values["status_id"].append((test, "NULL" if rule.status is None else str(STATUSES[rule.status])))
    defaults = {"severity_id": "1", "status_id": "NULL"}
    return {
        name: f"(CASE {' '.join(f'WHEN {test} THEN {value}' for test, value in cases)} ELSE {defaults.get(name, '0')} END)"
        if cases
        else defaults.get(name, "0")
        for name, cases in values.items()
    }


def _test(text: str, wanted: Condition | Scalar | list[Scalar]) -> str:
    """A condition that is true or false, never null."""
    if isinstance(wanted, list):
        return f"({' OR '.join(_equal(text, value) for value in wanted) or 'false'})"
    if not isinstance(wanted, Condition):
        return _equal(text, wanted)
    parts = []
    if wanted.exists is not None:
        parts.append(f"{text} IS {'NOT ' if wanted.exists else ''}NULL")
    if wanted.prefix is not None:
        parts.append(f"coalesce(starts_with({text}, {_quote(wanted.prefix)}), false)")
    if wanted.regex is not None:
        parts.append(f"coalesce(regexp_matches({text}, {_quote(wanted.regex)}), false)")
    for name, sign in _COMPARED.items():
        bound = getattr(wanted, name)
        if bound is not None:
            parts.append(f"coalesce(TRY_CAST({text} AS DOUBLE) {sign} {_quote(repr(float(bound)))}::DOUBLE, false)")
    return f"({' AND '.join(parts)})"


def _equal(text: str, value: Scalar) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"coalesce(TRY_CAST({text} AS DOUBLE) = {_quote(str(value))}::DOUBLE, false)"
    return f"coalesce({text} = {_quote(_plain(value))}, false)"
