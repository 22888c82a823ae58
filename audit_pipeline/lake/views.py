"""DuckDB over the lake's tables: in memory, one view a table, explicit path lists.

Belongs here: the connection and the views over files. Not here: views that need decisions (`findings`), or any number.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline.errors import LakeError
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES

MEMORY_LIMIT = "700MB"


def connect(
    lake: Lake,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    tables: Iterable[str] | None = None,
    alone: bool = False,
) -> duckdb.DuckDBPyConnection:
    """A connection that sees the tables' partitions from `since` to `until`, both included; times are UTC.

    A day's tables are made through `until=day`, so that nothing later can enter them. Views and registered tables are the
    connection's own; settings of the whole engine are not, so who changes one asks to be `alone` in an engine of its own.
    """
    con = _engine(lake) if alone else _shared(lake).cursor()
    con.execute("SET TimeZone = 'UTC'")
    for name in TABLES if tables is None else tables:
        add_view(con, name, TABLES[name].schema, partition_files(lake, name, since, until))
    return con


def _engine(lake: Lake) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": MEMORY_LIMIT,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "enable_external_file_cache": False,  # files of a partition are replaced
            "preserve_insertion_order": False,
        },
    )
    if lake.local:
        con.execute("SET temp_directory = ?", [lake.path(".tmp/duckdb")])
    else:
        con.register_filesystem(lake.fs)
    return con


_ENGINES: OrderedDict[tuple[int, str], duckdb.DuckDBPyConnection] = OrderedDict()
"""By process and lake. Making an engine costs 15 ms, a connection to one a hundredth of that, and a night asks 15 times."""
_KEPT = 2


def _shared(lake: Lake) -> duckdb.DuckDBPyConnection:
    key = (os.getpid(), lake.root) if lake.local else (os.getpid(), f"{id(lake.fs)} {lake.root}")
    found = _ENGINES.pop(key, None) or _engine(lake)
    _ENGINES[key] = found
    while len(_ENGINES) > _KEPT:
        _ENGINES.popitem(last=False)
    return found


def partition_files(
    lake: Lake, name: str, since: dt.date | None = None, until: dt.date | None = None, source: str | None = None
) -> list[str]:
    """The files of a table's partitions between two days, as DuckDB reads them."""
    table = TABLES[name]
    sources: list[str | None] = [source]
    if table.by_source and source is None:
        sources = [folder.removeprefix("source=") for folder in lake.names(name) if folder.startswith("source=")]
    found = [
        (day, one)
        for one in sources
        for day in lake.days(name, one)
        if (since is None or day >= since) and (until is None or day <= until)
    ]
    prefix = "" if lake.local else f"{protocol(lake)}://"
    files = [
        prefix + lake.path(table.file(day, one))
        for day, one in sorted(found, key=lambda item: (item[0], item[1] or ""))
    ]
    return files + [file for other in table.with_files_of for file in partition_files(lake, other, since, until)]


def protocol(lake: Lake) -> str:
    """The URL scheme of the lake's file system."""
    found = lake.fs.protocol
    return str(found if isinstance(found, str) else found[0])


def unreadable(error: duckdb.Error) -> LakeError:
    """The same as an error that a user can mend: a file of the lake that the engine cannot read."""
    return LakeError(
        f"the lake cannot be read ({str(error).splitlines()[0]}). Mend the rights or restore the file, then try again."
    )


def add_view(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, files: list[str]) -> None:
    """A view over Parquet files of one schema; a column that older files lack is null; without files it is empty.

    Raises:
        LakeError: a file cannot be read.
    """
    if not files:
        con.register(name, schema.empty_table())
        return
    listed = "[" + ", ".join(quote(file) for file in files) + "]"
    union = (
        ""
        if all(_names(con, file) == set(schema.names) for file in {files[0], files[-1]})
        else ", union_by_name = true"
    )
    have = _columns(con, listed + union) if union else set(schema.names)
    columns = ", ".join(f'"{column}"' if column in have else f'NULL AS "{column}"' for column in schema.names)
    con.execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS SELECT {columns} FROM read_parquet({listed}{union})')


def _names(con: duckdb.DuckDBPyConnection, file: str) -> set[str]:
    """The columns of one file; of a local one without asking the engine, which takes ten times as long."""
    if "://" in file:
        return _columns(con, quote(file))
    try:
        return set(pq.read_schema(file).names)
    except (OSError, pa.ArrowInvalid):
        return _columns(con, quote(file))  # it says what is wrong


def _columns(con: duckdb.DuckDBPyConnection, argument: str) -> set[str]:
    try:
        rows = con.execute(f"SELECT column_name FROM (DESCRIBE SELECT * FROM read_parquet({argument}))").fetchall()
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise unreadable(error) from error
    return {row[0] for row in rows}


def any_of(items: Iterable[str], expression: str) -> str:
    """SQL: whether an expression is one of these (as SQL), for columns of views.

    Not IN or `list_contains`: the optimizer makes joins of them, which each query pays for, whether it reads the column or not.
    """
    return f"(coalesce(list_position([{', '.join(items)}], {expression}), 0) > 0)"


def rows(con: duckdb.DuckDBPyConnection, query: str, values: object = None) -> list[dict[str, Any]]:
    """The rows of a query that gives few of them; planned once, where `sql(...)` plans once to describe and once to run."""
    found = con.execute(query, values)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
