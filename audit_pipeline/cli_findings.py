"""`audit-pipeline findings`: what teams have to decide. A part of `cli`, kept apart because it will grow with the decisions.

Belongs here: arguments and printing. Not here: findings or decisions themselves (`findings.commands`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audit_pipeline.settings import Settings


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


@click.group()
def findings() -> None:
    """What teams have to decide: list, show, acknowledge, false-positive."""


@findings.command("list")
@click.option("--all", "closed", is_flag=True, help="Closed ones too.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.pass_context
def findings_list(ctx: click.Context, closed: bool, form: str) -> None:
    """List findings, most urgent first.

    Example: audit-pipeline findings list
    """
    from audit_pipeline.findings.commands import list_findings
    from audit_pipeline.terminal import print_rows, say

    found = list_findings(_settings(ctx), include_closed=closed)
    columns = ["finding_id", "severity", "state", "title", "owner", "due_at", "n"]
    if not found and form == "table":
        say("no open findings" if not closed else "no findings")
        return
    short = form == "table"
    print_rows(
        columns,
        [[row[name][:12] if short and name == "finding_id" else row[name] for name in columns] for row in found],
        form,
    )


@findings.command("show")
@click.argument("finding_id")
@click.pass_context
def findings_show(ctx: click.Context, finding_id: str) -> None:
    """Show one finding with its detections, events and decisions (JSON).

    Example: audit-pipeline findings show 3f2a91
    """
    from audit_pipeline.findings.commands import show_finding
    from audit_pipeline.terminal import print_json

    print_json(show_finding(_settings(ctx), finding_id), indent=2)


def _decision(ctx: click.Context, action: str, finding_id: str, reason: str, person: str | None) -> None:
    from audit_pipeline.findings.commands import decide
    from audit_pipeline.terminal import say

    done = decide(_settings(ctx), finding_id, action, reason=reason, person=person)
    say(
        f"{action} recorded for {done.finding_id[:12]} as decision {done.seq}, by {done.person} ({done.identity}); hash {done.hash[:16]}"
    )


def _decision_options(command: Any) -> Any:
    command = click.option(
        "--as", "person", help="Who decides; recorded as `claimed`. Default: the system's user, recorded as `os`."
    )(command)
    command = click.option("--reason", required=True, help="Why; it is kept for ever.")(command)
    return click.pass_context(click.argument("finding_id")(command))


@findings.command("acknowledge")
@_decision_options
def findings_acknowledge(ctx: click.Context, finding_id: str, reason: str, person: str | None) -> None:
    """Say that somebody has taken a finding up.

    Example: audit-pipeline findings acknowledge 3f2a91 --reason "looking into it"
    """
    _decision(ctx, "acknowledge", finding_id, reason, person)


@findings.command("false-positive")
@_decision_options
def findings_false_positive(ctx: click.Context, finding_id: str, reason: str, person: str | None) -> None:
    """Close a finding that tells of nothing bad; it does not come back.

    Example: audit-pipeline findings false-positive 3f2a91 --reason "approved penetration test"
    """
    _decision(ctx, "false-positive", finding_id, reason, person)
