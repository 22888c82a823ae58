"""`audit-pipeline rules`: the detection rules, their tests, and what they would have found. A part of `cli`.

Belongs here: arguments and printing. Not here: what is told (`detections.commands`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audit_pipeline.settings import Settings

_DAY = click.DateTime(["%Y-%m-%d"])
_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


def _print(columns: list[str], rows: list[dict[str, Any]], form: str) -> None:
    from audit_pipeline.terminal import print_rows

    print_rows(columns, [[_word(row[name], form) for name in columns] for row in rows], form)


def _word(value: Any, form: str) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) and form != "json" else value


@click.group()
def rules() -> None:
    """Detection rules (Sigma): list, test, explain, backtest."""


@rules.command("list")
@_FORM
@click.pass_context
def rules_list(ctx: click.Context, form: str) -> None:
    """List the rules: shipped ones and those in `rules/`, with their state on the last day computed.

    Example: audit-pipeline rules list
    """
    from audit_pipeline.detections.commands import list_rules

    columns = ["name", "title", "level", "attack", "sources", "state", "n", "reason"]
    _print(columns if form == "table" else ["id", *columns], list_rules(_settings(ctx)), form)


@rules.command("test")
@click.argument("name", metavar="[RULE]", required=False)
@_FORM
@click.pass_context
def rules_test(ctx: click.Context, name: str | None, form: str) -> None:
    """Run the test events of one rule, or of all; exit 1 when a case fails or a rule cannot be read.

    Example: audit-pipeline rules test signin_burst
    """
    from audit_pipeline.detections.commands import test

    rows = test(_settings(ctx), name)
    _print(["name", "ok", "problems"], rows, form)
    if not all(row["ok"] for row in rows):
        ctx.exit(1)


@rules.command("explain")
@click.argument("name", metavar="RULE")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def rules_explain(ctx: click.Context, name: str, form: str) -> None:
    """Explain a rule: what it says, sources, columns, SQL, and why it was not evaluated on the last day.

    Example: audit-pipeline rules explain signin_burst
    """
    from audit_pipeline.detections.commands import explain
    from audit_pipeline.terminal import print_json, say

    found = explain(_settings(ctx), name)
    if form == "json":
        print_json(found, indent=2)
        return
    for key, value in found.items():
        if key != "sql":
            say(f"{key}: {'none' if value is None else _word(value, form)}")
    say(f"\nSQL:{found['sql']}")


@rules.command("backtest")
@click.argument("name", metavar="RULE|FILE")
@click.option("--from", "since", type=_DAY, required=True, help="The first day (UTC).")
@click.option("--to", "until", type=_DAY, required=True, help="The last day (UTC).")
@_FORM
@click.pass_context
def rules_backtest(ctx: click.Context, name: str, since: dt.datetime, until: dt.datetime, form: str) -> None:
    """Run a rule, or a rule file, over stored days without writing: detections a day, how many are known, examples.

    Example: audit-pipeline rules backtest signin_burst --from 2026-11-01 --to 2026-11-23
    """
    from audit_pipeline.detections.commands import backtest

    columns = ["day", "state", "detections", "known", "events", "examples", "reason"]
    _print(columns, backtest(_settings(ctx), name, since.date(), until.date()), form)
