"""The view `events` with what the configuration knows, and the small tables beside it.

Belongs here: the join and the columns that it adds (docs/adr/0006). Not here: reading the files, stored tables.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import duckdb
import pyarrow as pa

from audit_pipeline.context.hours import off_hours
from audit_pipeline.context.identities import SCHEMA, identities
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
        con.execute(events_view(settings, "stored_events", inventory=listed is not None))
    return con


def events_view(settings: Settings, stored: str, *, inventory: bool) -> str:
    """The statement that makes the view `events` over a view of stored events."""
    zone = "i.zone" if inventory else "NULL::VARCHAR"
    known = {
        "x_actor": "coalesce(i.person, e.x_actor)",
        "x_actor_kind": "coalesce(i.kind, e.x_actor_kind)",
        "x_actor_person": "i.person",
        "x_actor_role": "i.role",
        "x_actor_team": "i.team",
        "x_actor_zone": "i.zone",
        "x_listed": "i.account IS NOT NULL",
    }
    unknown = {
        **{name: "NULL::VARCHAR" for name in known if name in ADDED},
        "x_listed": "NULL::BOOLEAN",
    }
    own = {
        "x_account": "e.x_actor",
        **(known if inventory else unknown),
        "x_off_hours": off_hours(settings, zone).replace('"time"', 'e."time"'),
    }
    names = [name for name in (*EVENT_SCHEMA.names, *ADDED) if name != NOISE]
    columns = [f'{own.get(name, f"e.{chr(34)}{name}{chr(34)}")} AS "{name}"' for name in names]
    join = (
        'LEFT JOIN identities i ON i.source = e.x_source AND i.account = e.x_actor AND e."time" >= i."from" AND e."time" < i."to"'
        if inventory
        else ""
    )
    known_events = f'SELECT {", ".join(columns)} FROM "{stored}" e {join}'
    return f"CREATE OR REPLACE TEMP VIEW events AS SELECT *, {noise.column(load_noise(settings)[0])} AS {NOISE} FROM ({known_events})"


def _owned(settings: Settings) -> pa.Table:
    rows = []
    for team, one in settings.teams.items():
        for owned in one.owns:
            kind, _, name = owned.partition(":")
            rows.append({"team": team, "kind": kind, "name": name})
    return pa.Table.from_pylist(rows, schema=OWNED)
