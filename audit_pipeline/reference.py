"""Reference pages made from code: `python -m audit_pipeline.reference docs/reference` writes configuration, tables, commands and rules.

Belongs here: turning models and schemas into Markdown. Not here: any fact of its own; a description is mended where the key or
column is declared. A test compares the committed pages with what this writes.
"""

from __future__ import annotations

import datetime as dt
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
import pyarrow as pa
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from audit_pipeline import sources
from audit_pipeline.context.identities import SCHEMA as IDENTITIES
from audit_pipeline.context.releases import SCHEMA as RELEASES
from audit_pipeline.context.tables import ADDED, OWNED
from audit_pipeline.lake.tables import FINDINGS_SCHEMA, INDEX_SCHEMA, TABLES
from audit_pipeline.ocsf.columns import COLUMNS, OCSF_VERSION
from audit_pipeline.reference_rules import MADE, cell, rules, shown
from audit_pipeline.reports.reviews import SCHEMA as REVIEWS_SCHEMA
from audit_pipeline.settings import Settings
from audit_pipeline.state import metadata

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dt.date: "date", dt.time: "time", dt.timedelta: "duration"}  # fmt: skip


def configuration() -> str:
    """The page of `pipeline.yaml`."""
    rows = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _keys(Settings, "")]
    return "\n".join(
        [
            "# Configuration",
            "",
            MADE,
            "",
            "Keys of `pipeline.yaml`. `NAME` stands for a name that you choose. Durations are a whole number and a unit of s, m, h, d or w,",
            "such as `2h`; times of day stand in quotes. An unknown key is an error. No secret stands in the file: a key that ends in `_env`",
            "names the environment variable that holds one. `AUDIT_PIPELINE_CONFIG` names the file when `-c` does not.",
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
            *_collector_options(),
        ]
    )


def _collector_options() -> Iterator[str]:
    """A table of `sources.NAME.options` for each type of source that has any."""
    models: dict[type[BaseModel], list[str]] = {}
    for name in sources.names():
        models.setdefault(sources.get(name).Options, []).append(name)
    for model, names in models.items():
        if not model.model_fields:
            continue
        yield from (f"## `options` of {' and '.join(f'`{name}`' for name in names)}", "")
        yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        yield from (f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _keys(model, ""))
        yield ""


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Key, type, default and description of each leaf below a model."""
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner, several = _section(field.annotation)
        if inner is None or field.description:
            yield key, _kind(field.annotation), _default(field), cell(field.description or "")
        if inner is not None:
            yield from _keys(inner, key + (".NAME." if several else "."))


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that a key holds, and whether it holds several by name."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part, get_origin(annotation) is dict
    return None, False


def _kind(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if part is type(None) else _kind(part) for part in parts)
    if origin is list:
        return f"list of {_kind(parts[0])}"
    if origin is dict:
        return "mapping"
    if origin is not None:  # Annotated: what it is made of
        return _kind(parts[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _WORDS.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    return f"`{shown(value)}`"


def tables() -> str:
    """The page of the lake's tables, the view of findings and the database of decisions."""
    parts = [
        "# Tables",
        "",
        MADE,
        "",
        "What `audit-pipeline query` sees. Times are UTC. One Parquet file a partition, below the lake's root; `NAME` is a source, `D` a day.",
        "",
    ]
    for table in TABLES.values():
        file = table.file(dt.date(1970, 1, 1), "NAME" if table.by_source else None).replace("1970-01-01", "D")
        parts += [f"## {table.name}", "", f"`{file}`, schema version {table.version}", ""]
        parts += [*_events(), *_added()] if table.name == "events" else _columns(table.schema)
    parts += ["## identities, releases, teams_owned", "", "What the configuration says, beside `events`.", ""]
    parts += [
        "identities",
        "",
        *_columns(IDENTITIES),
        "releases",
        "",
        *_columns(RELEASES),
        "teams_owned",
        "",
        *_columns(OWNED),
    ]
    parts += ["## findings", "", "A view over detections and decisions.", "", *_columns(FINDINGS_SCHEMA)]
    parts += ["## reviews", "", "A view over the daily reports and their deliveries: one row an expected day.", ""]
    parts += _columns(REVIEWS_SCHEMA)
    parts += [
        "## index",
        "",
        "`index/source=NAME/day=D/SEQUENCE.parquet`: which record of which segment belongs to the day. Rebuilt at need; `query` does not show it.",
        "",
    ]
    parts += _columns(INDEX_SCHEMA)
    for found in metadata.sorted_tables:
        parts += [
            f"## {found.name}",
            "",
            "In the database of `state_url`.",
            "",
            "| column | type | meaning |",
            "|---|---|---|",
        ]
        parts += [
            f"| `{column.name}` | {str(column.type).lower()} | {cell(column.comment or '')} |"
            for column in found.columns
        ]
        parts.append("")
    return "\n".join(parts)


def _events() -> list[str]:
    head = [
        f"Columns are OCSF {OCSF_VERSION} paths with underscores; ours begin with `x_`. A column that a record says nothing about is null.",
        "",
        "| column | type | OCSF path | meaning |",
        "|---|---|---|---|",
    ]
    rows = [f"| `{c.name}` | {_type(c.kind)} | {f'`{c.path}`' if c.path else ''} | {cell(c.doc)} |" for c in COLUMNS]
    return [*head, *rows, ""]


def _added() -> list[str]:
    """The columns that the view has beside the stored ones."""
    rows = [f"| `{name}` | {text} |" for name, text in ADDED.items()]
    return [
        "What the configuration adds when it is read; `x_actor` and `x_actor_kind` follow the inventory there too:",
        "",
        "| column | meaning |",
        "|---|---|",
        *rows,
        "",
    ]


def _columns(schema: pa.Schema) -> list[str]:
    return ["| column | type |", "|---|---|", *(f"| `{field.name}` | {_type(field.type)} |" for field in schema), ""]


def _type(kind: pa.DataType) -> str:
    """The type as DuckDB names it."""
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "struct(" + ", ".join(f"{field.name} {_type(field.type)}" for field in kind) + ")"
    names = {
        "string": "varchar",
        "int32": "integer",
        "int64": "bigint",
        "double": "double",
        "bool": "boolean",
        "date32[day]": "date",
    }
    return names.get(
        str(kind), "timestamptz" if pa.types.is_timestamp(kind) else "blob" if "binary" in str(kind) else str(kind)
    )


def commands() -> str:
    """The page of the command line."""
    from audit_pipeline.cli import main

    parts = [
        "# Commands",
        "",
        MADE,
        "",
        "Exit codes: 0 all is well, 1 something is wrong with the data, 2 used wrongly. `-c FILE` goes before the command and says which",
        "configuration; without it `AUDIT_PIPELINE_CONFIG` does, else `pipeline.yaml`.",
        "",
    ]
    for path, command in _walk(main, ("audit-pipeline",)):
        context = click.Context(command, info_name=path[-1])
        usage = " ".join([*path, *command.collect_usage_pieces(context)])
        parts += [f"## {' '.join(path[1:])}", "", f"`{usage}`", "", *_help(command), *_options(command)]
    return "\n".join(parts)


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The commands that do something, in order of their names."""
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _walk(command.commands[name], (*path, name))
    else:
        yield path, command


def _help(command: click.Command) -> Iterator[str]:
    """The help text; its example in a block."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        example = paragraph.removeprefix("Example: ")
        yield from (paragraph, "") if example == paragraph else ("```", *example.splitlines(), "```", "")


def _options(command: click.Command) -> list[str]:
    rows = [
        f"| `{', '.join([*option.opts, *option.secondary_opts])}` | {cell(_meaning(option))} | {_set_by_default(option)} |"
        for option in command.params
        if isinstance(option, click.Option)
    ]
    return ["| option | meaning | default |", "|---|---|---|", *rows, ""] if rows else []


def _meaning(option: click.Option) -> str:
    choices = ", ".join(option.type.choices) if isinstance(option.type, click.Choice) else ""
    return f"{option.help or ''} {f'One of {choices}.' if choices else ''}".strip()


def _set_by_default(option: click.Option) -> str:
    if option.is_flag or option.default is None or not option.show_default:
        return "required" if option.required else ""
    return f"`{option.default}`"


PAGES = {"configuration.md": configuration, "tables.md": tables, "commands.md": commands, "rules.md": rules}


def write(folder: Path) -> list[Path]:
    """Write all pages into `folder`, replacing what is there; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
    return [folder / name for name in PAGES]


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
