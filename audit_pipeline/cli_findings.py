"""`audit-pipeline findings`: what teams have to decide. A part of `cli`, kept apart because it will grow with the decisions.

Belongs here: arguments and printing. Not here: findings or decisions themselves (`findings.commands`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audit_pipeline.settings import Settings


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


@click.group()
def findings() -> None:
    """What teams have to decide: list, show, and every decision from acknowledge to implement."""


@findings.command("list")
@click.option("--all", "closed", is_flag=True, help="Closed ones too.")
@click.option("--state", help="Those in this state, such as proposed.")
@click.option("--team", help="Those of this team.")
@click.option(
    "--mine", is_flag=True, help="Those that the system's user owns, or a team that lists that user under members."
)
@click.option("--overdue", is_flag=True, help="Those past their due date.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.pass_context
def findings_list(
    ctx: click.Context, closed: bool, state: str | None, team: str | None, mine: bool, overdue: bool, form: str
) -> None:
    """List findings, most urgent first.

    Example: audit-pipeline findings list
    """
    from audit_pipeline.findings.commands import list_findings, me
    from audit_pipeline.terminal import print_rows, say

    found = list_findings(
        _settings(ctx),
        include_closed=closed,
        state=state.replace("-", "_") if state else None,
        team=team,
        owner=me() if mine else None,
        overdue=overdue,
    )
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


def _decision(ctx: click.Context, action: str, given: dict[str, Any], **payload: Any) -> None:
    from audit_pipeline.findings.commands import decide
    from audit_pipeline.terminal import say

    done = decide(
        _settings(ctx),
        given["finding_id"],
        action,
        reason=given["reason"],
        person=given["person"],
        sign=given["sign"],
        effective_at=given.get("effective_at"),
        payload={name: value for name, value in payload.items() if value is not None},
    )
    say(
        f"{action} recorded for {done.finding_id[:12]} as decision {done.seq}, by {done.person} ({done.identity}); hash {done.hash[:16]}"
    )


def _decision_options(command: Any) -> Any:
    for option in (
        click.option(
            "--sign", is_flag=False, flag_value="", metavar="[KEY]",
            help="Sign with this SSH key [default: $AUDIT_PIPELINE_SIGNING_KEY, else that in ~/.ssh]; recorded as `ssh`.",
        ),
        click.option("--as", "person", help="Who decides; recorded as `claimed`. Default: the system's user, recorded as `os`."),
        click.option("--reason", default="", help="Why; it is kept for ever."),
        click.argument("finding_id"),
    ):  # fmt: skip
        command = option(command)
    return click.pass_context(command)


_PROPOSAL = click.option("--proposal", type=int, help="Number of the proposal [default: the one in force].")


@findings.command("acknowledge")
@_decision_options
def findings_acknowledge(ctx: click.Context, **given: Any) -> None:
    """Say that somebody has taken a finding up.

    Example: audit-pipeline findings acknowledge 3f2a91 --reason "looking into it"
    """
    _decision(ctx, "acknowledge", given)


@findings.command("assign")
@click.option("--owner", required=True, help="Who looks after it from now on.")
@_decision_options
def findings_assign(ctx: click.Context, owner: str, **given: Any) -> None:
    """Say who looks after a finding.

    Example: audit-pipeline findings assign 3f2a91 --owner alice
    """
    _decision(ctx, "assign", given, owner=owner)


@findings.command("comment")
@_decision_options
def findings_comment(ctx: click.Context, **given: Any) -> None:
    """Write something down about a finding.

    Example: audit-pipeline findings comment 3f2a91 --reason "called the account's owner"
    """
    _decision(ctx, "comment", given)


@findings.command("propose")
@click.option("--fix", required=True, help="What will be changed, in words.")
@click.option("--kind", type=click.Choice(["rate", "recurrence", "state"]), required=True, help="How it is judged.")
@click.option("--kpi", "kpi_id", required=True, help="A KPI's id, detections or recurring_errors.")
@click.option("--scope", required=True, help="all, source:NAME, team:NAME, service:NAME, finding:ID or template:ID.")
@click.option("--direction", type=click.Choice(["down", "up"]), default="down", show_default=True)
@click.option("--promised", type=float, default=1.0, show_default=True, help="Share of the change: 0.5 is half.")
@click.option("--decision-date", required=True, help="Day (UTC) on which it is judged, once.")
@click.option("--covered-days", type=int, help="Of a recurrence: complete days without one that are wanted.")
@click.option("--change-id", help="The change's number elsewhere.")
@_decision_options
def findings_propose(ctx: click.Context, **given: Any) -> None:
    """Propose a fix and how it will be judged; what is promised here cannot be changed later.

    Example: audit-pipeline findings propose 3f2a91 --fix "lock" --kind rate --kpi failed_sign_ins --scope all --promised 0.5 --decision-date 2027-01-20
    """
    own = ("finding_id", "reason", "person", "sign")
    _decision(ctx, "propose", given, **{name: value for name, value in given.items() if name not in own})


@findings.command("approve")
@_PROPOSAL
@_decision_options
def findings_approve(ctx: click.Context, proposal: int | None, **given: Any) -> None:
    """Approve somebody else's proposal. Only two signed decisions by two people prove that it was somebody else.

    Example: audit-pipeline findings approve 3f2a91 --sign
    """
    _decision(ctx, "approve", given, proposal=proposal)


@findings.command("reject")
@_PROPOSAL
@_decision_options
def findings_reject(ctx: click.Context, proposal: int | None, **given: Any) -> None:
    """Reject a proposal; another may follow.

    Example: audit-pipeline findings reject 3f2a91 --reason "locks out the on-call"
    """
    _decision(ctx, "reject", given, proposal=proposal)


@findings.command("implement")
@_PROPOSAL
@click.option(
    "--effective-at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]),
    help="When it took effect, such as 2026-11-23T10:00Z [default: now].",
)
@click.option("--change-id", help="The change's number elsewhere.")
@_decision_options
def findings_implement(ctx: click.Context, proposal: int | None, change_id: str | None, **given: Any) -> None:
    """Say that an approved fix took effect.

    Example: audit-pipeline findings implement 3f2a91 --effective-at 2026-11-23T10:00Z --change-id CHG-2106
    """
    _decision(ctx, "implement", given, proposal=proposal, change_id=change_id)


@findings.command("accept")
@click.option("--approver", required=True, help="Who answers for the risk.")
@click.option("--expires", required=True, help="Day (UTC) from which it is open again; within a year.")
@_decision_options
def findings_accept(ctx: click.Context, approver: str, expires: str, **given: Any) -> None:
    """Accept a risk for a time; it comes back by itself.

    Example: audit-pipeline findings accept 3f2a91 --approver dana --expires 2027-03-01 --reason "system is replaced in February"
    """
    _decision(ctx, "accept", given, approver=approver, expires=expires)


@findings.command("false-positive")
@_decision_options
def findings_false_positive(ctx: click.Context, **given: Any) -> None:
    """Close a finding that tells of nothing bad; it does not come back.

    Example: audit-pipeline findings false-positive 3f2a91 --reason "approved penetration test"
    """
    _decision(ctx, "false-positive", given)


@findings.command("duplicate")
@click.option("--of", "of", required=True, help="The finding that stays.")
@_decision_options
def findings_duplicate(ctx: click.Context, of: str, **given: Any) -> None:
    """Close a finding that another one tells of already.

    Example: audit-pipeline findings duplicate 3f2a91 --of 77aa02
    """
    _decision(ctx, "duplicate", given, of=of)


@findings.command("reopen")
@_decision_options
def findings_reopen(ctx: click.Context, **given: Any) -> None:
    """Open a closed finding again, or one whose fix was withdrawn.

    Example: audit-pipeline findings reopen 3f2a91 --reason "the change was rolled back"
    """
    _decision(ctx, "reopen", given)


@findings.command("take-in")
@click.pass_context
def findings_take_in(ctx: click.Context) -> None:
    """Take in the decisions of `decisions/*.yaml`, each once. Exit 1 when one could not be; it says where and why.

    Example: audit-pipeline findings take-in
    """
    from audit_pipeline.findings.commands import take_in
    from audit_pipeline.terminal import say

    problems = take_in(_settings(ctx))
    for line in problems:
        say(line, error=True)
    ctx.exit(1 if problems else 0)


@findings.command("sign")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--as", "person", help="Whose entries [default: the system's user].")
@click.option("--key", help="SSH key [default: $AUDIT_PIPELINE_SIGNING_KEY, else that in ~/.ssh].")
@click.pass_context
def findings_sign(ctx: click.Context, file: Path, person: str | None, key: str | None) -> None:
    """Sign your entries of a file of decisions, in place.

    Example: audit-pipeline findings sign decisions/2026-11.yaml --as alice
    """
    from audit_pipeline.findings.commands import me
    from audit_pipeline.findings.files import sign_file
    from audit_pipeline.terminal import say

    say(f"signed {sign_file(_settings(ctx), file, person or me(), key)} entries of {file}")
