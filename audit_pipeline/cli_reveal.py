"""`audit-pipeline reveal`: the name behind a token. A part of `cli`.

Belongs here: arguments and printing. Not here: looking it up and recording who asked (`privacy.reveal`).
"""

from __future__ import annotations

import click


@click.command()
@click.argument("token")
@click.option("--reason", required=True, help="Why; it is kept for ever.")
@click.option("--as", "person", help="Who asks; recorded as `claimed`. Default: the system's user, recorded as `os`.")
@click.pass_context
def reveal(ctx: click.Context, token: str, reason: str, person: str | None) -> None:
    """Print the name that a TOKEN of a mail or report stands for. Who asked, when and why is recorded first.

    Exit 1 when the lake knows no name of that token.

    Example: audit-pipeline reveal user-4T2QX --reason "incident 1234"
    """
    from audit_pipeline.privacy.reveal import reveal as look_up
    from audit_pipeline.settings import Settings
    from audit_pipeline.terminal import say

    names = look_up(Settings.load(ctx.obj), token, reason=reason, person=person)
    for name in names:
        say(name)
    say(f"recorded: who asked for {token}, when and why (decisions)", error=True)
    if not names:
        say(
            f"no name that the lake knows has the token {token}: made with another key, or its logs are gone",
            error=True,
        )
        ctx.exit(1)
