"""`report/daily` and `mail/daily`.

Belongs here: publishing an edition, mailing it, and failing the run after the mail when a source could not be collected.
Not here: what a report says (`reports`) or how mail travels (`mail`).
"""

from collections.abc import Iterator

import dagster as dg

from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.mail.daily import mail_daily
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.settings import Settings

SEND_TAG = "audit_pipeline/send"
SCHEDULE_TAG = "dagster/schedule_name"
FAILED_AFTER_MAIL = "a source could not be collected; the report and the mail say which"


def report_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The daily report and its mail."""

    @dg.asset(
        key=["report", "daily"],
        deps=[dg.AssetKey("kpis"), dg.AssetKey("findings"), dg.AssetKey("completeness")],
        partitions_def=daily(settings),
        group_name="reports",
        kinds={"html", "json"},
        description="The day's report: one report.json, and from it page, CSV and mail. A new edition only when a printed number, state or finding changed.",
    )
    def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        day = day_of(context)
        lake = Lake.open(settings.lake_url)
        with lake.lock():
            edition = publish_daily(settings, lake, day, settings.clock_for(day), run_id=context.run_id)
        return dg.MaterializeResult(
            metadata={
                "verdict": md.cell(edition.report["verdict"]),
                "state": md.cell(edition.report["state"]),
                "edition": edition.number,
                "page": dg.MetadataValue.path(lake.path(f"{edition.folder}/report.html")),
                "summary": dg.MetadataValue.md(f"**{md.markdown(str(md.cell(edition.report['verdict'])))}**"),
            }
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
        send = SCHEDULE_TAG in context.run.tags or context.run.tags.get(SEND_TAG) == "true"
        outcomes, path = mail_daily(settings, lake, day, settings.clock_for(day), send=send)
        yield dg.MaterializeResult(
            metadata={
                "mail": dg.MetadataValue.path(lake.path(path)),
                "deliveries": md.rows(
                    [
                        {"recipient": o.recipient, "outcome": o.outcome or "unknown", "detail": o.detail}
                        for o in outcomes
                    ]
                ),
                "sent": send,
            }
        )
        failed = _failed_sources(lake, day.isoformat())
        if failed:
            raise dg.Failure(description=f"{FAILED_AFTER_MAIL}: {', '.join(failed)}", allow_retries=False)

    return [report, mail]


def _failed_sources(lake: Lake, day: str) -> list[str]:
    import datetime as dt

    at = dt.date.fromisoformat(day)
    con = connect(lake, since=at, until=at, tables=["completeness"])
    try:
        query = "SELECT source FROM completeness WHERE len(list_filter(reasons, lambda reason: reason.code = 'collection_failed')) > 0 ORDER BY source"
        return [str(row[0]) for row in con.execute(query).fetchall()]
    finally:
        con.close()
