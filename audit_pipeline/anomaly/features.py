"""What an accountable identity did on a day, in numbers: the table `actor_days`.

Belongs here: the features and the one query that makes them. Not here: what is usual (`baseline`), and features that need other
days (`derived`). Events that a noise rule marks are in it, as rules see them by default: a noise rule must not hide anybody.
Distinct counts are exact: DuckDB's approximate ones lie 1 % low, which for somebody's first new service is all the signal.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from audit_pipeline.context import connect
from audit_pipeline.context.hours import off_hours
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.views import quote
from audit_pipeline.privacy.names import conceal_for
from audit_pipeline.settings import Settings

WITHOUT_ACTOR = "events_without_actor"
"""Key in the table's metadata: how many events name nobody, and so are in no row."""
MAX_NETWORKS = 50
SMALL = 300_000
"""events of a day that are kept in memory while they are counted"""
NETWORK = (
    "CASE WHEN contains({ip}, ':') THEN regexp_extract({ip}, '^([0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F]*)', 1) || '::/48' "
    "WHEN contains({ip}, '.') THEN regexp_extract({ip}, '^([0-9]+[.][0-9]+)', 1) || '.0.0/16' END"
)
"""SQL: the /16 of an IPv4 address, the first three groups (/48) of an IPv6 one as it is written."""


@dataclass(frozen=True)
class Feature:
    """A number of an actor-day: events for which `where` holds and that the feature `unless` does not count, or the values of `distinct`."""

    name: str
    label: str
    """what is counted, as it stands after a number"""
    where: str = "true"
    distinct: str | None = None
    unless: str | None = None

    @property
    def condition(self) -> str:
        """SQL over `events`: whether an event is one of those counted, or has a value that is."""
        if self.distinct:
            return f"{self.value} IS NOT NULL"
        other = next((one for one in features() if one.name == self.unless), None)
        return f"({self.where})" + (f" AND NOT coalesce({other.where}, false)" if other else "")

    @property
    def value(self) -> str | None:
        """SQL over `events`: what is told apart; none where events are counted."""
        return NETWORK.format(ip="src_endpoint_ip") if self.distinct == "network" else self.distinct


def _kpi(name: str) -> str:
    """The condition of a shipped KPI, so that a refusal is the same here and there."""
    kpi = catalogue()[name]
    return f"({kpi.population}) AND ({kpi.counted})"


@functools.cache
def features() -> tuple[Feature, ...]:
    """The features in the order of their columns."""
    return (
        Feature("events", "events"),
        Feature("failures", "failures", "status_id = 2"),
        Feature("refusals", "refused calls", _kpi("access_refused")),
        Feature("errors", "errors that are no refusals", "category_uid = 6 AND status_id = 2", unless="refusals"),
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
        events = con.execute("SELECT count(*) FROM stored_events").fetchall()[0][0]
        table = counted(con, settings, small=events <= SMALL)
        nobody = events - sum(table["records"].to_pylist())
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


def counted(con: duckdb.DuckDBPyConnection, settings: Settings, *, small: bool) -> pa.Table:
    """The rows of `actor_days` from the view `events` of a day, without the day; `records`: how many events a row stands on.

    Args:
        con: sees the view.
        settings: hours and zone.
        small: read the events once and keep what is asked of them in memory; planning eight scans of the view costs more than a small day.
    """
    told = _told(settings)
    if small:
        con.execute(f"CREATE OR REPLACE TEMP TABLE told AS {told}")
    return con.sql(f"WITH {'' if small else f'told AS ({told}), '}{_statement(settings)}").to_arrow_table()


def _sums() -> list[Feature]:
    """Features that are sums over events, by their bit; `off_hours` is told by time of day."""
    return [one for one in features() if not one.distinct and one.name != "off_hours"]


def _step(settings: Settings) -> int:
    """Microseconds of a quarter of an hour, which no zone divides; finer where working hours begin or end within one."""
    own = settings.hours
    return 1_000_000 * math.gcd(900, *(one.hour * 3600 + one.minute * 60 + one.second for one in (own.from_, own.to)))


def _told(settings: Settings) -> str:
    """The query for what is asked of each event; `bits` is the set of conditions that hold, the kind of identity above them."""
    sums = _sums()
    bits = " | ".join(f"CASE WHEN {one.where} THEN {1 << bit} ELSE 0 END" for bit, one in enumerate(sums))
    kind = f"CASE x_actor_kind WHEN 'human' THEN {2 << len(sums)} WHEN 'service' THEN {1 << len(sums)} ELSE 0 END"
    values = ", ".join(f"{one.distinct} AS {one.name}" for one in _different())
    return f"""
        SELECT x_actor, x_actor_team, x_actor_role, x_actor_zone, x_source, "time", src_endpoint_ip, {values},
            greatest(coalesce("count", 1), 1) AS times, epoch_us("time") // {_step(settings)} AS step, {kind} | {bits} AS bits
        FROM events WHERE x_actor IS NOT NULL"""


def _statement(settings: Settings) -> str:
    """The tables of the query and the query itself, after what is `told` of events.

    Events are counted by their `bits`, and these few hundred counts by feature: a filtered sum a feature over each event costs three
    times as much. Zones, which cost more than all sums, are asked for by step of time: thousands of times and not millions.
    """
    sums, different, step, zone = _sums(), _different(), _step(settings), quote(settings.hours.zone)
    hours = ", ".join(f"coalesce(sum(n) FILTER (hour = {hour}), 0)::BIGINT" for hour in range(24))
    at = {one.name: 1 << bit for bit, one in enumerate(sums)}
    masks = {one.name: at[one.name] | at.get(one.unless or "", 0) for one in sums}
    by_bits = ", ".join(
        f"coalesce(sum(n) FILTER (bits & {masks[name]} = {bit}), 0)::DOUBLE AS {name}" for name, bit in at.items()
    )
    return f"""sums AS (
            SELECT x_actor, ['unknown', 'service', 'human'][1 + (max(bits) >> {len(sums)})] AS x_actor_kind,
                max(team) AS team, max(role) AS role, sum(n)::BIGINT AS n, sum(records)::BIGINT AS records,
                min(first_time) AS first_time, max(last_time) AS last_time, list_sort(list(DISTINCT x_source)) AS sources, {by_bits}
            FROM (SELECT x_actor, x_source, bits, max(x_actor_team) AS team, max(x_actor_role) AS role, sum(times) AS n, count(*) AS records,
                    min("time") AS first_time, max("time") AS last_time FROM told GROUP BY x_actor, x_source, bits)
            GROUP BY x_actor
        ), seen_from AS (
            SELECT x_actor, list_sort(list(DISTINCT network)) AS networks
            FROM (SELECT x_actor, {NETWORK.format(ip="src_endpoint_ip")} AS network
                FROM (SELECT DISTINCT x_actor, src_endpoint_ip FROM told WHERE src_endpoint_ip IS NOT NULL))
            WHERE network IS NOT NULL GROUP BY x_actor
        ), at_hour AS (
            SELECT x_actor, [{hours}] AS hours, max(zone) AS zone, sum(CASE WHEN off THEN n WHEN NOT off THEN 0 END)::DOUBLE AS off_hours
            FROM (SELECT x_actor, zone, n, hour(timezone(coalesce(zone, {zone}), moment)) AS hour, {off_hours(settings, "zone", "moment")} AS off
                FROM (SELECT x_actor, x_actor_zone AS zone, make_timestamptz(step * {step}) AS moment, sum(times) AS n
                    FROM told GROUP BY x_actor, x_actor_zone, step))
            GROUP BY x_actor
        ), {", ".join(f"of_{one.name} AS ({_values(one.name)})" for one in different)}
        SELECT sums.*, {", ".join(one.name for one in different)}, hours, zone, off_hours,
            coalesce(networks[1:{MAX_NETWORKS}], []) AS networks, coalesce(len(networks), 0)::DOUBLE AS network_count
        FROM sums JOIN at_hour USING (x_actor) LEFT JOIN seen_from USING (x_actor)
            {" ".join(f"JOIN of_{one.name} USING (x_actor)" for one in different)}"""


def _different() -> list[Feature]:
    """Features that tell values apart; networks are told by address first."""
    return [one for one in features() if one.distinct and one.distinct != "network"]


def _values(name: str) -> str:
    """How many values an identity's events have: pairs first, which takes half as long as `count(DISTINCT ...)`."""
    return f"SELECT x_actor, count({name})::DOUBLE AS {name} FROM (SELECT DISTINCT x_actor, {name} FROM told) GROUP BY x_actor"
