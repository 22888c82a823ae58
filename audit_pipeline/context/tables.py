"""The view `events` with what the configuration knows, and the small tables beside it.

Belongs here: the join and the columns that it adds (docs/adr/0006). Not here: reading the files, stored tables.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import duckdb
import pyarrow as pa

from audit_pipeline.context.hours import off_hours
from audit_pipeline.context.identities import KNOWN, SCHEMA, accounts, identities
from audit_pipeline.context.releases import releases
from audit_pipeline.lake import views
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.noise import view as noise
from audit_pipeline.noise.rules import load as load_noise
from audit_pipeline.ocsf.columns import CONTEXT, EVENT_SCHEMA
from audit_pipeline.settings import Settings

NOISE = "x_noise_rule"
ADDED = {column.name: column.doc for column in CONTEXT}
"""Columns of the view beside the stored ones; `x_actor` and `x_actor_kind` are changed by the inventory too."""
OWNED = pa.schema([("team", pa.string()), ("kind", pa.string()), ("name", pa.string())])


def connect(
    settings: Settings,
    lake: Lake,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    tables: Iterable[str] | None = None,
    alone: bool = False,
) -> duckdb.DuckDBPyConnection:
    """`lake.views.connect`, with the wider `events` and the tables `identities`, `releases` and `teams_owned`.

    Raises:
        ConfigError: a file of the configuration is wrong; names file, line and remedy.
    """
    names = list(TABLES if tables is None else tables)
    stored = [name for name in names if name != "events"]
    con = views.connect(lake, since=since, until=until, tables=stored, alone=alone)
    listed = identities(settings)
    con.register("identities", SCHEMA.empty_table() if listed is None else listed)
    con.register("releases", releases(settings))
    con.register("teams_owned", _owned(settings))
    if "events" in names:
        views.add_view(con, "stored_events", EVENT_SCHEMA, views.partition_files(lake, "events", since, until))
        known = None if listed is None else accounts(listed, since, until)
        if known is not None:
            con.register("accounts", known)
        con.execute(events_view(settings, "stored_events", known))
    return con


def events_view(settings: Settings, stored: str, known: pa.Table | None) -> str:
    """The statement that makes the view `events` over a view of stored events; `known` is registered as `accounts`.

    The join is one to one by its GROUP BY, which lets the engine leave it out where a query needs none of its columns.
    """
    spells = known is not None and known["spells"].null_count < known.num_rows
    who = {name: "NULL::VARCHAR" if known is None else _known(name, spells=spells) for name in KNOWN}
    own = {
        "x_account": "e.x_actor",
        "x_actor": f"coalesce({who['person']}, e.x_actor)",
        "x_actor_kind": f"coalesce({who['kind']}, e.x_actor_kind)",
        **{f"x_actor_{name}": who[name] for name in ("person", "role", "team", "zone")},
        "x_listed": "NULL::BOOLEAN"
        if known is None
        else f"CASE WHEN e.x_actor IS NOT NULL THEN {_listed(spells=spells)} END",
        "x_off_hours": off_hours(settings, who["zone"], 'e."time"'),
    }
    names = [name for name in (*EVENT_SCHEMA.names, *ADDED) if name != NOISE]
    columns = [f'{own.get(name, f"e.{chr(34)}{name}{chr(34)}")} AS "{name}"' for name in names]
    wider = f'SELECT {", ".join(columns)} FROM "{stored}" e {"" if known is None else _join(spells=spells)}'
    rules = noise.column(load_noise(settings)[0])
    return f"CREATE OR REPLACE TEMP VIEW events AS SELECT *, {rules} AS {NOISE} FROM ({wider})"


_SPELL = 'list_filter(i.spells, lambda s: e."time" >= s."from" AND e."time" < s."to")[1]'


def _known(name: str, *, spells: bool) -> str:
    """SQL: what the inventory says at the event's time."""
    return f"CASE WHEN i.spells IS NULL THEN i.{name} ELSE {_SPELL}.{name} END" if spells else f"i.{name}"


def _listed(*, spells: bool) -> str:
    return (
        f"i.account IS NOT NULL AND (i.spells IS NULL OR {_SPELL} IS NOT NULL)" if spells else "i.account IS NOT NULL"
    )


def _join(*, spells: bool) -> str:
    columns = ", ".join(f"first({name}) AS {name}" for name in (*KNOWN, *(["spells"] if spells else [])))
    one_each = f"SELECT source, account, {columns} FROM accounts GROUP BY source, account"
    return f"LEFT JOIN ({one_each}) i ON i.source = e.x_source AND i.account = e.x_actor"


def _owned(settings: Settings) -> pa.Table:
    rows = []
    for team, one in settings.teams.items():
        for owned in one.owns:
            kind, _, name = owned.partition(":")
            rows.append({"team": team, "kind": kind, "name": name})
    return pa.Table.from_pylist(rows, schema=OWNED)
