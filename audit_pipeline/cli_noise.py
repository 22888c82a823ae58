"""`audit-pipeline noise`: the rules that say which events do not deserve attention. A part of `cli`.

Belongs here: arguments and printing. Not here: rules (`noise.rules`) or what they mark (`noise.trial`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import datetime as dt

    from audit_pipeline.settings import Settings

_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


@click.group()
def noise() -> None:
    """Which events do not deserve attention: list, test."""


@noise.command("list")
@_FORM
@click.pass_context
def noise_list(ctx: click.Context, form: str) -> None:
    """List the rules of noise/ with owner and end; ends with 1 where one cannot be used or has expired.

    Example: audit-pipeline noise list
    """
    from audit_pipeline.clock import DAY, SystemClock
    from audit_pipeline.noise.rules import load
    from audit_pipeline.terminal import print_rows, say

    rules, errors = load(_settings(ctx))
    today = SystemClock().now().date() - DAY
    rows = [
        (r.id, r.title, r.owner, r.reason, r.created, r.expires, "expired" if today >= r.expires else "in force" if r.in_force(today) else "not yet")
        for r in (one.rule for one in rules)
    ]  # fmt: skip
    if rows or form != "table":
        print_rows(["id", "title", "owner", "reason", "created", "expires", "state"], rows, form)
    else:
        say("no noise rules: every event counts")
    for error in errors:
        say(str(error), error=True)
    ctx.exit(1 if errors or any(row[-1] == "expired" for row in rows) else 0)


@noise.command("test")
@click.argument("rule_id")
@click.option(
    "--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="First day; else the last 14 days that were computed."
)
@click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), help="Last day.")
@_FORM
@click.pass_context
def noise_test(
    ctx: click.Context, rule_id: str, since: dt.datetime | None, until: dt.datetime | None, form: str
) -> None:
    """Show what a rule marks, or would mark, by day; and five of the events.

    Example: audit-pipeline noise test health_checks
    """
    from audit_pipeline.errors import UserError
    from audit_pipeline.lake.store import Lake
    from audit_pipeline.noise.trial import absent, trial
    from audit_pipeline.terminal import print_rows, say

    settings = _settings(ctx)
    lake = Lake.open(settings.lake_url)
    days = lake.days("completeness")[-14:]
    if not days:
        raise UserError("noise test: no day is computed yet. Run `audit-pipeline run --date DAY` first.")
    first, last = since.date() if since else days[0], until.date() if until else days[-1]
    counts, examples = trial(settings, lake, rule_id, first, last)
    for told in absent(settings, lake, rule_id, first, last):
        say(told, error=True)
    print_rows(["day", "marked", "events", "share", "in_force"], [list(row.values()) for row in counts], form)
    if form != "table":
        return
    say(f"\n{len(examples)} of the events:" if examples else "\nno event of these days is marked")
    if examples:
        print_rows(list(examples[0]), [list(row.values()) for row in examples], "table")
