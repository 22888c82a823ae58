"""Recurring errors: the day's error events by service and template, and the templates that deserve a person's time.

Belongs here: the table `error_templates`, and its detections (kind `recurring_error`). Not here: what an error is (`error_events`), how
texts are grouped (`_drain`), what is surprising and how it is said (`_recurring`).

A day's rows depend on its events and on the templates of the `LOOKED_BACK` days before, whose texts never change: so a template is the
same on every day, and a day computed again gives the same rows whatever was stored for later days.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline.clock import DAY
from audit_pipeline.detections import _drain, error_events
from audit_pipeline.detections._recurring import Past, detection
from audit_pipeline.detections.changes import Wanted, last_changes
from audit_pipeline.detections.run import short_hash, worst
from audit_pipeline.lake import views
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.privacy.masks import mask
from audit_pipeline.privacy.names import conceal_for
from audit_pipeline.settings import Settings

LOOKED_BACK = 28
"""days whose templates are known, and against which a day is compared"""
KNOWN = 1_000
"""templates of a service that are known, the most frequent of the days before first"""
REFS = 20
LEFT_OUT = "left_out"
"""Key in the table's metadata: JSON of service to the error events that have no template, because there were too many texts."""


def recurring_errors(
    settings: Settings,
    lake: Lake,
    con: duckdb.DuckDBPyConnection,
    day: dt.date,
    conceal: Callable[[str], str] | None = None,
) -> list[dict[str, Any]]:
    """Write the table `error_templates` of a day; the detections among it, as rows of the table `detections`.

    Args:
        settings: the configuration.
        lake: where the days before are read.
        con: has the views `events` of the day (`context.connect`), and of the day before for changes, and `releases`.
        day: the day (UTC).
        conceal: what a detection may hold of a recorded name, where the caller knows it already.
    """
    since, until = day - LOOKED_BACK * DAY, day - DAY
    with views.connect(
        lake, since=since, until=day, tables=["error_templates", "completeness", "detections"]
    ) as stored:
        past = Past.read(stored, [one for one in lake.days("error_templates") if since <= one <= until], day)
    error_events.find(con, day)
    table, left_out = _table(con, day, past.texts(KNOWN))
    lake.write_table("error_templates", table, day, metadata={LEFT_OUT: json.dumps(left_out, sort_keys=True)})
    heard = {one for (one,) in con.sql("SELECT DISTINCT template_id FROM error_rows WHERE loud").fetchall()}
    judged = [past.judge(row) for row in table.to_pylist() if row["template_id"] in heard]
    told = [one for one in judged if one is not None]
    wanted = [Wanted(one.row["template_id"], one.row["service"], one.since) for one in told]
    changes = last_changes(con, wanted, conceal or conceal_for(settings, lake, con, day)) if wanted else {}
    return [
        detection(one, changes.get(one.row["template_id"]), worst(map(past.verdicts.get, one.row["sources"])))
        for one in told
    ]


def _table(
    con: duckdb.DuckDBPyConnection, day: dt.date, known: Mapping[str, list[str]]
) -> tuple[pa.Table, dict[str, int]]:
    """The table's rows, and the error events by service that have no template."""
    services = [name for (name,) in con.sql("SELECT DISTINCT service FROM error_events").fetchall()]
    shown = [_drain.word(mask(name)) for name in services]
    con.register(
        "error_services", pa.table({"raw": pa.array(services, pa.string()), "shown": pa.array(shown, pa.string())})
    )
    con.register("error_texts", _texts(error_events.texts(con), dict(zip(services, shown, strict=True)), known))
    con.execute(_ROWS)
    found = con.sql(_GROUPED, params={"day": day}).to_arrow_table().cast(TABLES["error_templates"].schema)
    left = con.sql("SELECT shown, sum(times)::BIGINT FROM error_rows WHERE template_id IS NULL GROUP BY ALL").fetchall()
    for name in ("error_services", "error_texts"):
        con.unregister(name)
    return found, dict(left)


_ROWS = f"""
    CREATE OR REPLACE TEMP TABLE error_rows AS
    SELECT e.* EXCLUDE ({", ".join(error_events.TEXT_COLUMNS)}), s.shown, t.template_id, t.template
    FROM error_events e JOIN error_services s ON s.raw = e.service
    LEFT JOIN error_texts t USING ({", ".join(error_events.TEXT_COLUMNS)})"""
_GROUPED = f"""
    WITH services AS (SELECT shown, sum(times)::BIGINT AS errors FROM error_rows GROUP BY ALL)
    SELECT $day::DATE AS day, shown AS service, template_id, any_value(template) AS template, sum(times)::BIGINT AS n,
        any_value(errors) AS errors, min(time) AS first_time, max(time) AS last_time, list_sort(list(DISTINCT x_source)) AS sources,
        list({{'source': x_source, 'segment': x_segment, 'line': x_line, 'uid': metadata_uid}}
            ORDER BY time, x_source, x_segment, x_line)[:{REFS}] AS refs
    FROM error_rows JOIN services USING (shown) WHERE template_id IS NOT NULL GROUP BY shown, template_id ORDER BY shown, template_id"""


def _texts(
    rows: list[tuple[str, str, str, str, str, int]], shown: Mapping[str, str], known: Mapping[str, list[str]]
) -> pa.Table:
    """Each distinct text of the day with its template."""
    lines = [(shown[row[0]], _drain.line(*row[1:5])) for row in rows]
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (service, line), row in zip(lines, rows, strict=True):
        counts[service][line] = counts[service].get(line, 0) + row[5]
    templates = {service: _drain.assign(found, known.get(service, [])) for service, found in counts.items()}
    named = [(service, templates[service][line]) for service, line in lines]
    columns = {
        name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(error_events.TEXT_COLUMNS)
    }
    ids = [None if template is None else short_hash(service, template) for service, template in named]
    return pa.table(
        {
            **columns,
            "template": pa.array([one for _, one in named], pa.string()),
            "template_id": pa.array(ids, pa.string()),
        }
    )
