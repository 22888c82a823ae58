"""Read-only SQL over the lake's tables, by the names of contracts.md.

Belongs here: the connection that a person's SQL runs in, and its limits: one statement that reads, no file outside the lake.
Not here: how rows are printed (`terminal`).
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from audit_pipeline.clock import SystemClock
from audit_pipeline.context import connect
from audit_pipeline.errors import UsageError
from audit_pipeline.findings.view import findings_table
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import protocol, unreadable
from audit_pipeline.reports.reviews import last_day, reviews
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions, deliveries, open_state

_READING = {"SELECT"}  # not EXPLAIN: its ANALYZE runs what it explains, a COPY too


def run(settings: Settings, sql: str) -> tuple[list[str], Iterator[tuple[object, ...]]]:
    """Column names and rows of one reading statement.

    Raises:
        UsageError: it is no single reading statement, or DuckDB refuses it; says why.
    """
    con = _open(settings, sql)
    try:
        statements = con.extract_statements(sql)
        kinds = [statement.type.name for statement in statements]
        if len(kinds) != 1 or kinds[0] not in _READING:
            raise UsageError(
                f"query: one SELECT is wanted, this is {', '.join(kinds) or 'nothing'}. The lake is read-only here."
            )
        result = con.execute(statements[0])
    except duckdb.IOException as error:
        raise unreadable(error) from None
    except duckdb.Error as error:
        raise UsageError(f"query: {error}") from None
    return [column[0] for column in result.description or []], _rows(con, result)


def _open(settings: Settings, sql: str) -> duckdb.DuckDBPyConnection:
    lake = Lake.open(settings.lake_url)
    con = connect(settings, lake, alone=True)
    engine = open_state(settings.state_url_resolved)
    try:
        con.register("findings", findings_table(settings, lake, engine, until=None))
        if "reviews" in sql.lower():  # it reads each report's manifest: only for those who ask
            con.register("reviews", reviews(settings, lake, engine, last_day(settings, lake, SystemClock())))
        with engine.connect() as connection:
            for table in (decisions, deliveries):
                names = [column.name for column in table.columns]
                found = [dict(zip(names, row, strict=True)) for row in connection.execute(table.select())]
                schema = pa.schema(
                    [(c.name, pa.int64() if c.name in ("seq", "edition") else pa.string()) for c in table.columns]
                )
                con.register(table.name, pa.Table.from_pylist(found, schema=schema))
    finally:
        engine.dispose()
    con.execute("SET allowed_directories = [?]", [lake.root if lake.local else f"{protocol(lake)}://{lake.root}/"])
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def _rows(con: duckdb.DuckDBPyConnection, result: duckdb.DuckDBPyConnection) -> Iterator[tuple[object, ...]]:
    try:
        while batch := result.fetchmany(1000):
            yield from batch
    except duckdb.Error as error:  # a value that cannot be cast shows only when its row is reached
        raise UsageError(f"query: {error}") from None
    finally:
        con.close()
