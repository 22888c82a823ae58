"""`raw/<source>` and `events/<source>`: collection and unification, one pair a configured source.

Belongs here: the two factories. Not here: how anything is collected (`sources`) or mapped (`formats`).
A source that fails never stops the night: its raw asset materialises with the remark `collection_failed`.
"""

from typing import Any

import dagster as dg

from audit_pipeline.errors import UserError
from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.routed import UNMATCHED
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.jobs import SCHEDULE_TAG
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.sections import SourceSettings
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of

TRIES, PAUSE_S = 3, 60
"""Collections that a scheduled night tries, and the pause before the second; it doubles. A later one that gives all heals the day."""


def raw_asset(settings: Settings, name: str) -> dg.AssetsDefinition:
    """Evidence of one source as it was collected: segments and the hash chain of their manifest."""
    source = settings.sources[name]

    @dg.asset(
        key=["raw", name],
        partitions_def=daily(settings),
        group_name="sources",
        kinds={source.type, "evidence"},
        owners=_owners(settings, name),
        pool="collection",
        retry_policy=dg.RetryPolicy(
            max_retries=TRIES - 1, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
        ),
        description=f"What {name} ({source.type}) gave, as it was collected, packed into segments; each has a manifest entry chained by SHA-256. `audit-pipeline verify` checks all of it.",
        metadata={"from": md.cell(", ".join(source.paths) or _address(source)), "format": ", ".join(source.formats)},
    )
    def raw(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        day = day_of(context)
        lake = Lake.open(settings.lake_url)
        clock = settings.clock_for(day)
        try:
            with lake.lock():
                got = collect(settings, lake, name, day, clock, lambda n, size: context.log.info("%s: %d files or pages, %d bytes so far", name, n, size))  # fmt: skip
                touched = indexing.ensure(lake, name, format_of(settings, name))
        except UserError as error:  # what a person has to mend does not mend itself in a minute
            raise dg.Failure(description=str(error), allow_retries=False) from error
        if got.failed:
            context.log.error("collection failed: %s", md.cell(got.failed))
            if SCHEDULE_TAG in context.run.tags and context.retry_number < TRIES - 1:
                raise dg.RetryRequested(max_retries=TRIES - 1, seconds_to_wait=PAUSE_S * 2**context.retry_number)
        head = got.entries[-1]
        return dg.MaterializeResult(
            metadata={
                "state": "collection_failed" if got.failed else "collected",
                "files or pages": got.members,
                "bytes": got.bytes,
                "segments": sum(entry.segment is not None for entry in got.entries),
                "days touched": md.cell(", ".join(found.isoformat() for found in touched) or "none"),
                "remarks": md.rows([{"code": r.code, "detail": r.detail} for r in got.remarks]),
                **_said(head.request),
                "chain head": f"{head.sequence} {head.hash}",
                "manifest": dg.MetadataValue.path(lake.path(manifest.file(name, head.sequence))),
                "clock": "simulated, not evidence" if clock.simulated else "system",
            }
        )

    return raw


def _address(source: SourceSettings) -> str:
    """Where a source without paths is."""
    return source.http.url if source.http is not None else str(source.options.get("url", source.type))


_TOLD = {"window": "asked for", "checkpoint": "read whole up to", "counted": "counted at the source", "attested": "named by the source's own record", "unread": "lost at the source", "horizon_s": "keeps records for, s"}  # fmt: skip
"""What a collector's entry says beyond its remarks, as a person reads it."""


def _said(request: dict[str, Any]) -> dict[str, Any]:
    found = {words: request[key] for key, words in _TOLD.items() if request.get(key)}
    return {words: dg.MetadataValue.json(value) if isinstance(value, dict | list) else md.cell(value) for words, value in found.items()}  # fmt: skip


def events_asset(settings: Settings, name: str) -> dg.AssetsDefinition:
    """The OCSF events of one source and day."""

    @dg.asset(
        key=["events", name],
        deps=[dg.AssetKey(["raw", name])],
        partitions_def=daily(settings),
        group_name="events",
        kinds={"parquet", "duckdb"},
        owners=_owners(settings, name),
        description=f"Events of {name} in OCSF 1.8 columns: the records that the index gives the day, without extra copies. What could not be read is in `rejects`.",
        metadata={"dagster/column_schema": md.column_schema("events")},
    )
    def events(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        day = day_of(context)
        lake = Lake.open(settings.lake_url)
        form = format_of(settings, name)
        with lake.lock():
            indexing.ensure(lake, name, form)
            built = unify.build(lake, name, form, day)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": built.events,
                "records": built.records,
                "extra copies": built.duplicates,
                "rejects": built.rejects,
                "input hash": built.input_hash,
                "most frequent": md.rows(_counted(lake, name, context.partition_key, _FREQUENT)),
                **_formats(settings, lake, name, context.partition_key),
            }
        )

    return events


_FREQUENT = (
    "SELECT api_service_name AS service, api_operation AS operation, count(*) AS events, count(*) FILTER (status_id = 2) AS failed, "
    "count(DISTINCT x_actor) AS actors FROM events WHERE x_source = ? GROUP BY ALL ORDER BY events DESC, service, operation LIMIT 10"
)
_FORMATS = "SELECT x_format AS format, count(*) AS events FROM events WHERE x_source = ? GROUP BY ALL ORDER BY format"


def _formats(settings: Settings, lake: Lake, name: str, day: str) -> dict[str, Any]:
    """Of a source with a list of formats: how many events each read, and how many records met no condition."""
    if isinstance(settings.sources[name].format, str):
        return {}
    found = _counted(lake, name, day, _FORMATS)
    unmatched = sum(int(str(row["events"])) for row in found if str(row["format"]).endswith(f" {UNMATCHED}"))
    return {"formats": md.rows(found), "met no condition": unmatched}


def _counted(lake: Lake, name: str, day: str, query: str) -> list[dict[str, object]]:
    import datetime as dt

    at = dt.date.fromisoformat(day)
    con = connect(lake, since=at, until=at, tables=["events"])
    try:
        result = con.execute(query, [name])
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    finally:
        con.close()


def _owners(settings: Settings, name: str) -> list[str] | None:
    team = settings.sources[name].team
    return [f"team:{team}"] if team else None
