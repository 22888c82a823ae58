"""A KPI as SQL: what measures it, and what gives exactly the rows that were counted.

Belongs here: statements made of a KPI file's conditions. Not here: running them (`measure`). Names of a configuration and scopes
are quoted; the conditions are the file's own SQL.
"""

from __future__ import annotations

from audit_pipeline.kpis.catalogue import ATTEMPTS, Kpi
from audit_pipeline.lake.views import quote
from audit_pipeline.settings import Settings

_COLUMN = {"source": "x_source", "service": "api_service_name"}
_PARTS = ("source", "team", "service")


def measuring(kpi: Kpi, settings: Settings) -> str:
    """SELECT that gives `scope`, `n`, `population`, `value`, `sources`, or a row a case of a median; SQL of the file's own as it is."""
    if kpi.sql is not None:
        return _statement(kpi.sql)
    parts = [name for name in _PARTS if name in kpi.scopes]
    if kpi.kind == "median_time":
        listed = ", ".join([*(["'all'"] if "all" in kpi.scopes else []), *(f"'{name}:' || {name}" for name in parts)])
        return f"SELECT unnest(list_filter([{listed}], lambda s: s IS NOT NULL)) AS scope, seconds, ({kpi.counted}) AS done\nFROM (\n{looked_at(kpi, settings)}\n)"
    named = " ".join(f"WHEN grouping({name}) = 0 THEN '{name}:' || {name}" for name in parts)
    sets = ", ".join([*(f"({name})" for name in parts), *(["()"] if "all" in kpi.scopes else [])])
    each = kpi.each or (ATTEMPTS if kpi.cases is None else "count(*)")
    return f"""
SELECT scope, n, population, value, sources FROM (
  SELECT
    {f"CASE {named} ELSE 'all' END" if named else "'all'"} AS scope,
    {each} FILTER (WHERE {kpi.counted}) AS n,
    {kpi.of or each} AS population,
    {kpi.value or "NULL::DOUBLE"} AS value,
    list(DISTINCT source) AS sources
  FROM (
{looked_at(kpi, settings)}
  )
  GROUP BY GROUPING SETS ({sets})
) WHERE scope IS NOT NULL""".strip()


def looked_at(kpi: Kpi, settings: Settings) -> str:
    """SELECT of the population, with `source`, `team` and `service` beside an event's columns."""
    if kpi.cases is not None:
        return _statement(kpi.cases)
    events = f"(\n{kpi.events.strip()}\n)" if kpi.events else "events"
    team = "x_actor_team" if kpi.team == "actor" else owner(settings)
    return (
        f"SELECT *, x_source AS source, {team if 'team' in kpi.scopes else 'NULL'} AS team, api_service_name AS service\n"
        f'FROM {events}\nWHERE ({kpi.population}) AND "time" >= $start AND "time" < $end'
    )


def drilling(kpi: Kpi, settings: Settings, scope: str = "all") -> str | None:
    """SELECT of exactly the rows that `n` counts (of a duration, those it is made of); null where the file names none."""
    name, _, value = scope.partition(":")
    narrowed = f"{name} = {quote(value)}" if name in _PARTS else "true"
    if kpi.sql is None:
        return f"SELECT * FROM (\n{looked_at(kpi, settings)}\n) WHERE ({kpi.counted}) AND {narrowed}"
    return None if kpi.drill is None else f"SELECT * FROM (\n{_statement(kpi.drill)}\n) WHERE {narrowed}"


def _statement(sql: str) -> str:
    return sql.strip().rstrip(";")


def owner(settings: Settings, service: str = "api_service_name", source: str = "x_source") -> str:
    """SQL that gives the team that owns a row's service, else its source: `teams.*.owns`, else the source's own team."""
    services: dict[str, str] = {}
    sources = {name: one.team for name, one in settings.sources.items() if one.team}
    for team, section in reversed(settings.teams.items()):  # the first team that claims it, as findings have it
        for claim in section.owns:
            kind, _, name = claim.partition(":")
            if kind in _COLUMN:
                (services if kind == "service" else sources)[name] = team
    return f"coalesce({_chosen(service, services)}, {_chosen(source, sources)})"


def _chosen(column: str, teams: dict[str, str]) -> str:
    if not teams:
        return "NULL::VARCHAR"
    return f"CASE {column} {' '.join(f'WHEN {quote(name)} THEN {quote(team)}' for name, team in sorted(teams.items()))} END"
