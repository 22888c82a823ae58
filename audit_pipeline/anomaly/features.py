"""What an accountable identity did on a day, in numbers: the table `actor_days`.

Belongs here: the features and the one query that makes them. Not here: what is usual (`baseline`), and features that need other
days (`derived`). Events that a noise rule marks are in it, as rules see them by default: a noise rule must not hide anybody.
Distinct counts are exact: DuckDB's approximate ones lie 1 % low, which for somebody's first new service is all the signal.
"""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from audit_pipeline.context import connect
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.views import quote
from audit_pipeline.privacy.names import conceal_for
from audit_pipeline.settings import Settings

WITHOUT_ACTOR = "events_without_actor"
"""Key in the table's metadata: how many events name nobody, and so are in no row."""
MAX_NETWORKS = 50
NETWORK = (
    "CASE WHEN contains({ip}, ':') THEN regexp_extract({ip}, '^([0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F]*)', 1) || '::/48' "
    "WHEN contains({ip}, '.') THEN regexp_extract({ip}, '^([0-9]+[.][0-9]+)', 1) || '.0.0/16' END"
)
"""SQL: the /16 of an IPv4 address, the first three groups (/48) of an IPv6 one as it is written."""


@dataclass(frozen=True)
class Feature:
    """A number of an actor-day: events for which `where` holds, or the distinct values of `distinct` among them."""

    name: str
    label: str
    """what is counted, as it stands after a number"""
    where: str = "true"
    distinct: str | None = None


def _kpi(name: str) -> str:
    """The condition of a shipped KPI, so that a refusal is the same here and there."""
    kpi = catalogue()[name]
    return f"({kpi.population}) AND coalesce(({kpi.counted}), false)"


@functools.cache
def features() -> tuple[Feature, ...]:
    """The features in the order of their columns."""
    refused = _kpi("access_refused")
    return (
        Feature("events", "events"),
        Feature("failures", "failures", "status_id = 2"),
        Feature("refusals", "refused calls", refused),
        Feature("errors", "errors that are no refusals", f"category_uid = 6 AND status_id = 2 AND NOT ({refused})"),
        Feature("sign_in_failures", "failed sign-ins", _kpi("failed_sign_ins")),
        Feature("privileged", "privileged acts", _kpi("privilege_escalations")),
        Feature("changes", "changes", "x_read_only = false"),
        Feature("deletes", "deletions", _DELETES),
        Feature("secret_reads", "reads of secrets", _SECRETS),
        Feature("data_reads", "reads of data", _DATA),
        Feature("off_hours", "acts outside working hours", "x_off_hours"),
        Feature("operations", "different operations", distinct="coalesce(api_operation, metadata_event_code)"),
        Feature("services", "different services", distinct="coalesce(api_service_name, metadata_product_name)"),
        Feature("resources", "different resources", distinct="coalesce(resource_uid, resource_name)"),
        Feature("hosts", "different hosts", distinct="coalesce(device_hostname, dst_endpoint_hostname)"),
        Feature("network_count", "networks", distinct="network"),
    )


_DELETES = (
    "class_uid IN (1001, 3004, 6001, 6003) AND activity_id = 4 OR class_uid = 3001 AND activity_id = 6 "
    "OR class_uid = 3006 AND activity_id = 5 OR class_uid = 6005 AND activity_id = 7"
)
_SECRETS = (
    "api_operation IN ('GetSecretValue', 'BatchGetSecretValue', 'GetParameter', 'GetParameters', 'GetParametersByPath') "
    "OR resource_type = 'secrets' AND api_operation IN ('get', 'list')"
)
_DATA = (
    "api_operation IN ('GetObject', 'SelectObjectContent', 'GetItem', 'BatchGetItem', 'Query', 'Scan', 'ExecuteStatement', 'GetRecords') "
    "OR class_uid = 6005 AND activity_id IN (1, 4) OR class_uid = 1001 AND activity_id = 2"
)


def actor_days(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Compute and write the table `actor_days` of a day: one row an accountable identity that did something.

    A name that only ever failed to sign in is concealed here as in detections (`privacy.names`).
    """
    with connect(settings, lake, since=day, until=day, tables=["events"]) as con:
        table = con.sql(statement(settings)).to_arrow_table()
        nobody = con.execute("SELECT count(*) FROM events WHERE x_actor IS NULL").fetchall()[0][0]
        table = _concealed(table, settings, lake, con, day)
    schema = TABLES["actor_days"].schema
    columns = [pa.array([day] * table.num_rows, pa.date32()) if name == "day" else table[name] for name in schema.names]
    table = pa.table(columns, names=schema.names).cast(schema)
    lake.write_table("actor_days", table, day, metadata={WITHOUT_ACTOR: str(nobody)})
    return table


def _concealed(
    table: pa.Table, settings: Settings, lake: Lake, con: duckdb.DuckDBPyConnection, day: dt.date
) -> pa.Table:
    conceal = conceal_for(settings, lake, con, day)
    names = pa.array([conceal(name) for name in table["x_actor"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("x_actor"), "x_actor", names).sort_by("x_actor")


def statement(settings: Settings) -> str:
    """The query over the view `events` of a day.

    Hours are told by quarters first (no zone divides one), so that the zone is asked for a few thousand times and not for each event.
    """
    zone = f"coalesce(zone, {quote(settings.hours.zone)})"
    hours = ", ".join(f"coalesce(sum(n) FILTER (hour = {hour}), 0)::BIGINT" for hour in range(24))
    return f"""
        WITH told AS (
            SELECT *, greatest(coalesce("count", 1), 1) AS times, epoch_us("time") // 900000000 AS quarter
            FROM events WHERE x_actor IS NOT NULL
        ), sums AS (
            SELECT x_actor,
                CASE max(CASE x_actor_kind WHEN 'human' THEN 2 WHEN 'service' THEN 1 ELSE 0 END)
                    WHEN 2 THEN 'human' WHEN 1 THEN 'service' ELSE 'unknown' END AS x_actor_kind,
                max(x_actor_team) AS team, max(x_actor_role) AS role, sum(times)::BIGINT AS n,
                min("time") AS first_time, max("time") AS last_time, list_sort(list(DISTINCT x_source)) AS sources,
                {", ".join(_aggregate(one) for one in features() if one.distinct != "network")}
            FROM told GROUP BY x_actor
        ), seen_from AS (
            SELECT x_actor, list_sort(list(DISTINCT network)) AS networks
            FROM (SELECT x_actor, {NETWORK.format(ip="src_endpoint_ip")} AS network
                FROM (SELECT DISTINCT x_actor, src_endpoint_ip FROM told WHERE src_endpoint_ip IS NOT NULL))
            WHERE network IS NOT NULL GROUP BY x_actor
        ), at_hour AS (
            SELECT x_actor, [{hours}] AS hours
            FROM (SELECT x_actor, n, hour(timezone({zone}, make_timestamptz(quarter * 900000000))) AS hour
                FROM (SELECT x_actor, x_actor_zone AS zone, quarter, sum(times) AS n FROM told GROUP BY ALL))
            GROUP BY x_actor
        )
        SELECT sums.*, hours, coalesce(networks[1:{MAX_NETWORKS}], []) AS networks, coalesce(len(networks), 0)::DOUBLE AS network_count
        FROM sums JOIN at_hour USING (x_actor) LEFT JOIN seen_from USING (x_actor)"""


def _aggregate(feature: Feature) -> str:
    """A sum or a distinct count; null where the condition is null for each event, such as off-hours without `hours`."""
    if feature.distinct:
        return f"count(DISTINCT {feature.distinct})::DOUBLE AS {feature.name}"
    if feature.name == "off_hours":
        return "sum(CASE WHEN x_off_hours THEN times WHEN NOT x_off_hours THEN 0 END)::DOUBLE AS off_hours"
    return f"coalesce(sum(times) FILTER ({feature.where}), 0)::DOUBLE AS {feature.name}"
