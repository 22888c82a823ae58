"""What the command line prints: rows as a table, CSV or JSON lines, with hostile text made visible.

Belongs here: printing. Not here: what is printed.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from audit_pipeline.clock import rfc3339
from audit_pipeline.reports.text import csv_cell, visible


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> None:
    """Print rows as `table`, `csv` (formulas made inert) or `json` (one object a line, text as it is, escaped)."""
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([csv_cell(name, None) for name in columns])
        writer.writerows([csv_cell(plain(value), None) for value in row] for row in rows)
    elif form == "json":
        for row in rows:
            print_json(dict(zip(columns, row, strict=True)))
    else:
        _table(columns, rows)


def print_json(value: Any, *, error: bool = False, indent: int | None = None) -> None:
    """A JSON value (one line, unless indented); everything outside ASCII is escaped, so that no terminal obeys it."""
    print(json.dumps(value, default=_json, ensure_ascii=True, indent=indent), file=sys.stderr if error else sys.stdout)


def plain(value: Any) -> Any:
    """A value as CSV and tables show it: times in RFC 3339, nested values as JSON."""
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if isinstance(value, list | dict):
        return json.dumps(value, default=_json, ensure_ascii=False)
    return value


def say(text: str, *, error: bool = False) -> None:
    """A line for a person; stays a line whatever log text it holds."""
    for line in text.split("\n"):
        print(visible(line, 2000), file=sys.stderr if error else sys.stdout)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(Text(visible(name)), overflow="fold")
    for row in rows:
        table.add_row(*[Text("" if value is None else visible(str(plain(value)), 500)) for value in row])
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    console.print(table)


def _json(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
