"""A mapping file: which fields of a JSON record are which event columns, as data that is checked before anything is read.

Belongs here: the shape of `formats/<name>.yaml`, its errors in words, paths. Not here: the SQL that it becomes (`_mapping_sql`), times
and keys of records (`jsonl`).
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from audit_pipeline.errors import ConfigError
from audit_pipeline.ocsf.classes import CLASSES, SEVERITIES
from audit_pipeline.ocsf.columns import BY_NAME, DRIVER

BY_CLASS = ("class_uid", "category_uid", "activity_id", "type_uid", "severity_id")
"""Columns that `classes` gives."""
STATUSES = {"unknown": 0, "success": 1, "failure": 2}
Types = Literal["text", "number", "boolean", "address", "seconds", "milliseconds", "microseconds", "nanoseconds"]
Scalar = str | int | float | bool

_STEP = re.compile(r'"((?:[^"\\]|\\.)+)"|([^."\[\]]+)')


def steps(path: str) -> tuple[str, ...]:
    """The keys of a path: `a.b`; a key with dots or blanks in double quotes: `labels."app.kubernetes.io/name"`.

    Raises:
        ValueError: the path cannot be read.
    """
    found: list[str] = []
    at = 0
    while at < len(path) and path.isprintable():
        match = _STEP.match(path, at)
        if match is None:
            break
        found.append(re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2])
        at = match.end()
        if at == len(path):
            return tuple(found)
        if path[at] != ".":
            break
        at += 1
    raise ValueError(f'{path!r} is no path: keys with dots between, a key with dots in it in double quotes (a."b.c")')


def _path(value: str) -> str:
    steps(value)
    return value


def _regex(value: str) -> str:
    why = _no_regex(value)
    if why:
        raise ValueError(f"{value!r} is no regular expression that RE2 knows: {why}")
    return value


def _no_regex(value: str) -> str:
    """What the engine has against a regular expression; empty where nothing."""
    with duckdb.connect() as con:
        try:
            con.execute("SELECT regexp_extract('', ?)", [value])
        except duckdb.Error as error:
            return str(error).splitlines()[0]
    return ""


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Path_ = Annotated[str, AfterValidator(_path)]
Paths = Annotated[list[Path_], BeforeValidator(_several), Field(min_length=1)]
Regex = Annotated[str, AfterValidator(_regex)]


class Part(BaseModel):
    """A part of a mapping; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Time(Part):
    """Where the event time stands."""

    path: Path_
    format: str = "rfc3339"
    """`rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a pattern of `strptime` (`%d/%b/%Y:%H:%M:%S %z`)"""
    zone: str | None = None
    """of stamps without one; else that of the source"""

    @model_validator(mode="after")
    def _known(self) -> Time:
        if self.format not in ("rfc3339", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns") and not re.search(
            "%[Yyc]", self.format
        ):
            raise ValueError(
                "format is rfc3339, epoch_s, epoch_ms, epoch_us, epoch_ns or a strptime pattern with a year"
            )
        return self


class ColumnMapping(Part):
    """What an event column holds: the first of `path` that says something, or the paths joined, or a fixed value."""

    path: Paths | None = None
    join: Annotated[list[Path_], Field(min_length=2)] | None = None
    """joined by a blank; what is absent is left out"""
    value: Scalar | None = None
    type: Types | None = None
    """how the field is read, where not by the column's own type: `seconds` become the milliseconds of `duration`; `address`: only an IP address"""
    pattern: Regex | None = None
    """the first group, or the whole match"""
    map: dict[str, Scalar] | None = None
    """the record's words to ours; a word that is not here becomes `default`, and stays itself where there is none"""
    default: Scalar | None = None

    @model_validator(mode="after")
    def _one(self) -> ColumnMapping:
        if sum(x is not None for x in (self.path, self.join, self.value)) != 1:
            raise ValueError("give one of path, join, value")
        return self


class Condition(Part):
    """What a field must be; all that is given."""

    exists: bool | None = None
    prefix: str | None = None
    regex: Regex | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @model_validator(mode="after")
    def _some(self) -> Condition:
        if all(x is None for x in self.__dict__.values()):
            raise ValueError("give a value, a list of values, or one of exists, prefix, regex, ge, gt, le, lt")
        return self


class ClassRule(Part):
    """Class and activity of the records that fit; the first of the list that fits counts."""

    when: dict[Path_, Condition | Scalar | list[Scalar]] | None = None
    """path to what it must be; all must hold; nothing: every record"""
    uid: int = Field(alias="class", default=0)
    """OCSF class, such as 3002"""
    activity: int | str = 0
    """number or caption, such as Logon"""
    status: Literal["success", "failure", "unknown"] | None = None
    severity: int | str = 1

    @model_validator(mode="after")
    def _known(self) -> ClassRule:
        if self.uid not in CLASSES:
            raise ValueError(f"class {self.uid} is not among {', '.join(map(str, CLASSES))}")
        _number(self.activity, CLASSES[self.uid].activities, f"activity of class {self.uid}")
        _number(self.severity, SEVERITIES, "severity")
        return self

    @property
    def type_uid(self) -> int:
        """Class and activity in one number."""
        return self.uid * 100 + _number(self.activity, CLASSES[self.uid].activities, "activity")

    @property
    def severity_id(self) -> int:
        """OCSF severity."""
        return _number(self.severity, SEVERITIES, "severity")


def _number(value: int | str, known: dict[int, str], what: str) -> int:
    found = next((n for n, caption in known.items() if value in (n, caption)), None)
    if found is None:
        raise ValueError(f"{what} {value!r} is not among {', '.join(f'{n} {caption}' for n, caption in known.items())}")
    return found


def _column(name: str) -> str:
    if name in DRIVER or name == "time":
        raise ValueError(f"column {name} is filled by the pipeline itself: leave it out")
    if name in BY_CLASS:
        raise ValueError(f"column {name} comes from `classes`: give class, activity and severity there")
    if name not in BY_NAME:
        near = difflib.get_close_matches(name, BY_NAME, n=1)
        hint = f"did you mean {near[0]}?" if near else "docs/reference/tables.md lists the columns"
        raise ValueError(f"there is no event column {name!r}: {hint}")
    return name


class Mapping(Part):
    """A mapping file as a whole."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    version: int = Field(default=1, ge=1)
    time: Time
    key: Paths | None = None
    """what identifies a record together; else its text, and which of its equals in the file it is"""
    columns: dict[Annotated[str, AfterValidator(_column)], ColumnMapping] = Field(default_factory=dict)
    classes: list[ClassRule] = Field(default_factory=list)

    @model_validator(mode="after")
    def _reachable(self) -> Mapping:
        for number, rule in enumerate(self.classes[:-1], 1):
            if not rule.when:
                raise ValueError(
                    f"class {number} of {len(self.classes)} has no `when`: those after it are never reached"
                )
        return self


class _Loader(yaml.SafeLoader):
    """YAML without its silence about a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value!r} stands twice here"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load(file: Path) -> Mapping:
    """The mapping of a file.

    Raises:
        ConfigError: it cannot be read or is wrong; names file, key and remedy.
    """
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the mapping cannot be read ({error}). Check path and rights.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{where}: is no YAML ({getattr(error, 'problem', None) or error}).") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: a mapping has name, time, columns, classes; see examples/formats/.")
    try:
        return Mapping.model_validate(data)
    except ValidationError as error:
        lines = [_explain(file, item) for item in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _explain(file: Path, item: Any) -> str:
    """One error in words: file, key, what is wrong, what to do."""
    where = [str(part) for part in item["loc"] if part not in ("[key]", "float", "int", "bool", "str", "Condition")]
    key = ".".join(where) or "(top level)"
    if item["type"] == "extra_forbidden":
        known = sorted({f.alias or n for part in (Mapping, Time, ColumnMapping, ClassRule, Condition) for n, f in part.model_fields.items()})  # fmt: skip
        near = difflib.get_close_matches(where[-1], known, n=1)
        return f"{file}: {key}: unknown key{f', did you mean {near[0]!r}?' if near else '; examples/formats/ shows the keys'}"
    if item["type"] == "missing":
        return f"{file}: {key}: is missing; add it (examples/formats/ shows how)"
    return f"{file}: {key}: {item['msg'].removeprefix('Value error, ')}"


def canonical(mapping: Mapping) -> str:
    """The mapping as one text: equal where index and columns are."""
    return json.dumps(mapping.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
