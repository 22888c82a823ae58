"""`report/daily` and `mail/daily`, and the same of a week and a month.

Belongs here: publishing an edition, mailing it, calling the heartbeat, and failing the run after the mail when a source could not be collected.
Not here: what a report says (`reports`) or how mail travels (`mail`).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.mail.daily import mail_daily
from audit_pipeline.mail.delivery import Outcome
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.jobs import SCHEDULE_TAG
from audit_pipeline.orchestration.partitions import daily, day_of, periodic
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.editions import Edition
from audit_pipeline.reports.periods import NOUNS, Kind, Period
from audit_pipeline.reports.picture import strips_svg
from audit_pipeline.settings import Settings

SEND_TAG = "audit_pipeline/send"
NIGHT_TAG = "audit_pipeline/night"
"""The night in which a recomputation runs: a simulated clock cannot tell it from the day that is computed again."""
FAILED_AFTER_MAIL = "a source could not be collected; the report and the mail say which"


def report_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The daily report and its mail."""

    @dg.asset(
        key=["report", "daily"],
        deps=[dg.AssetKey("kpis"), dg.AssetKey("findings"), dg.AssetKey("completeness")],
        partitions_def=daily(settings),
        group_name="reports",
        kinds={"html", "json"},
        freshness_policy=_freshness(settings),
        description="The day's report: one report.json, and from it page, CSV and mail. A new edition only when a printed number, state or finding changed.",
    )
    def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        day = day_of(context)
        lake = Lake.open(settings.lake_url)
        with lake.lock():
            night = dt.date.fromisoformat(context.run.tags.get(NIGHT_TAG, context.partition_key))
            edition = publish_daily(settings, lake, day, settings.clock_for(night), run_id=context.run.run_id)
        return dg.MaterializeResult(
            metadata={**_told(lake, edition), "last 14 days": md.picture(strips_svg(edition.report))}
        )

    @dg.asset(
        key=["mail", "daily"],
        deps=[report],
        partitions_def=daily(settings),
        group_name="reports",
        kinds={"smtp"},
        description="The day's mail. Sent by scheduled runs and by `--send` only; else written as .eml and marked so. Intent and outcome are recorded, so that nothing is sent twice.",
    )
    def mail(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        day = day_of(context)
        lake = Lake.open(settings.lake_url)
        send = _sends(context)
        outcomes, path = mail_daily(settings, lake, day, settings.clock_for(day), send=send)
        failed = _failed_sources(lake, day)
        heartbeat = (
            _heartbeat(settings) if send and not failed else "not called: this run mails nothing or a source failed"
        )
        yield dg.MaterializeResult(metadata={**_delivered(lake, path, outcomes, send), "heartbeat": heartbeat})
        if failed:
            raise dg.Failure(description=f"{FAILED_AFTER_MAIL}: {', '.join(failed)}", allow_retries=False)

    return [report, mail]


def _freshness(settings: Settings) -> dg.FreshnessPolicy | None:
    """Two hours after `run_at` a report of this night has to be there; a simulated clock knows no being late."""
    if settings.clock == "simulated":
        return None
    total = (settings.run_at.hour * 60 + settings.run_at.minute + 120) % (24 * 60)
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"{total % 60} {total // 60} * * *", lower_bound_delta=dt.timedelta(hours=2)
    )


def periodic_assets(settings: Settings, kind: Kind) -> list[dg.AssetsDefinition]:
    """`report/weekly` and `mail/weekly`, or the same of a month."""
    noun = NOUNS[kind]
    days = dg.AssetDep(["report", "daily"], partition_mapping=dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True))  # fmt: skip

    @dg.asset(
        key=["report", kind],
        deps=[days],
        partitions_def=periodic(settings, kind),
        group_name="reports",
        kinds={"html", "json"},
        description=f"The {noun}'s report from stored tables: what operated on how many days, findings, KPIs, corrections, reviews, evidence. A new edition only when something printed changed.",
    )
    def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from audit_pipeline.reports.periodic import publish_period

        period = Period.of(kind, day_of(context))
        lake = Lake.open(settings.lake_url)
        with lake.lock():
            edition = publish_period(settings, lake, period, settings.clock_for(period.last), run_id=context.run.run_id)
        return dg.MaterializeResult(metadata=_told(lake, edition))

    @dg.asset(
        key=["mail", kind],
        deps=[report],
        partitions_def=periodic(settings, kind),
        group_name="reports",
        kinds={"smtp"},
        description=f"The {noun}'s mail. Sent by scheduled runs and by `--send` only; else written as .eml and marked so.",
    )
    def mail(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from audit_pipeline.mail.periodic import mail_report

        period = Period.of(kind, day_of(context))
        lake = Lake.open(settings.lake_url)
        send = _sends(context)
        outcomes, path = mail_report(settings, lake, kind, period.name, settings.clock_for(period.last), send=send)
        return dg.MaterializeResult(metadata=_delivered(lake, path, outcomes, send))

    return [report, mail]


def _sends(context: dg.AssetExecutionContext) -> bool:
    """A schedule or `--send` mails; a backfill, a run from the UI and `recompute` do not."""
    return SCHEDULE_TAG in context.run.tags or context.run.tags.get(SEND_TAG) == "true"


def _told(lake: Lake, edition: Edition) -> dict[str, Any]:
    """What a person wants to see of an edition."""
    verdict = str(md.cell(edition.report["verdict"]))
    return {
        "verdict": verdict,
        "state": md.cell(edition.report["state"]),
        "edition": edition.number,
        "page": dg.MetadataValue.path(lake.path(f"{edition.folder}/report.html")),
        "summary": dg.MetadataValue.md(f"**{md.markdown(verdict)}**"),
    }


def _delivered(lake: Lake, path: str, outcomes: Sequence[Outcome], send: bool) -> dict[str, Any]:
    rows = [{"recipient": o.recipient, "outcome": o.outcome or "unknown", "detail": o.detail} for o in outcomes]
    return {"mail": dg.MetadataValue.path(lake.path(path)), "deliveries": md.rows(rows), "sent": send}


def _heartbeat(settings: Settings) -> str:
    from audit_pipeline.heartbeat import beat

    return beat(settings.heartbeat_url) if settings.heartbeat_url else "no heartbeat_url is configured"


def _failed_sources(lake: Lake, day: dt.date) -> list[str]:
    con = connect(lake, since=day, until=day, tables=["completeness"])
    try:
        query = "SELECT source FROM completeness WHERE len(list_filter(reasons, lambda reason: reason.code = 'collection_failed')) > 0 ORDER BY source"
        return [str(row[0]) for row in con.execute(query).fetchall()]
    finally:
        con.close()
