"""`audit-pipeline effects`: whether fixes and releases did what they should. A part of `cli`.

Belongs here: arguments and printing. Not here: what is told (`effects.commands`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audit_pipeline.settings import Settings

_DAY = click.DateTime(["%Y-%m-%d"])
_DATE = click.option("--date", "date", type=_DAY, help="As of which day (UTC) [default: the last one computed].")
_FORM = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
_COLUMNS = ("effect_id", "subject", "subject_id", "kind", "kpi_id", "scope", "rate_before", "rate_after", "ratio", "low", "high", "promised", "verdict", "decision_date")  # fmt: skip
_TOLD = (
    "verdict", "reason", "subject", "subject_id", "kind", "kpi_id", "scope", "decision_date", "promised", "unit", "rate_before", "rate_after", "ratio", "low",
    "high", "p", "p_weeks", "p_trend", "detectable", "recurred_at",
)  # fmt: skip


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


@click.group()
def effects() -> None:
    """Fixes and releases: did they work?"""


@effects.command("list")
@_DATE
@_FORM
@click.pass_context
def effects_list(ctx: click.Context, date: dt.datetime | None, form: str) -> None:
    """List the comparisons: rates before and after, their ratio with its 95 % interval, verdict.

    Example: audit-pipeline effects list
    """
    from audit_pipeline.effects.commands import list_effects
    from audit_pipeline.terminal import print_rows

    found = list_effects(_settings(ctx), date.date() if date else None)
    rows = [[_short(row[name], form) for name in _COLUMNS] for row in found]
    print_rows(_COLUMNS, rows, form)


@effects.command("explain")
@click.argument("effect_id", metavar="ID")
@_DATE
@_FORM
@click.pass_context
def effects_explain(ctx: click.Context, effect_id: str, date: dt.datetime | None, form: str) -> None:
    """Explain a comparison: windows, days left out, numbers, verdict and why, and a drawing. ID may be the first letters of an id.

    Example: audit-pipeline effects explain 3f1c
    """
    from audit_pipeline.effects.commands import explain
    from audit_pipeline.terminal import print_json, say

    found = explain(_settings(ctx), effect_id, date.date() if date else None)
    if form == "json":
        print_json(found, indent=2)
        return
    for name in _TOLD:
        value = _short(found[name], "table")
        say(f"{name}: {'none' if value is None else value}")
    say(f"before: {found['before_start']} to {found['before_end']}, {found['days_before']} days used")
    say(
        f"after: {found['after_start'] or 'no day'} to {found['after_end'] or 'no day'}, {found['days_after']} days used"
    )
    left_out = [f"{one['day']} ({one['reason']})" for one in found["left_out"] or []]
    say(f"left out: {', '.join(left_out) or 'none'}")
    if found["plot"]:
        say("\n# before, + episode, o after, ? left out")
        for line in found["plot"]:
            say(line)


def _short(value: Any, form: str) -> Any:
    """Four digits that say something; the JSON form has all."""
    return f"{value:.4g}" if isinstance(value, float) and form == "table" else value
