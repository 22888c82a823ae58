"""`audit-pipeline kpi`: the key figures, their numbers, and how they came about. A part of `cli`.

Belongs here: arguments and printing. Not here: what is told (`kpis.commands`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audit_pipeline.lake.store import Lake
    from audit_pipeline.settings import Settings

_DAY = click.DateTime(["%Y-%m-%d"])
_FORM = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
_NUMBERS = ("scope", "value", "unit", "n", "population", "low", "high", "previous", "state", "verdict", "days_left_out")


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


@click.group()
def kpi() -> None:
    """Key figures: list, show, explain."""


@kpi.command("list")
@_FORM
@click.pass_context
def kpi_list(ctx: click.Context, form: str) -> None:
    """List the key figures: shipped ones, and those in `kpis/` beside the configuration.

    Example: audit-pipeline kpi list
    """
    from audit_pipeline.kpis.commands import list_kpis
    from audit_pipeline.terminal import print_rows

    found = list_kpis(_settings(ctx))
    columns = ["id", "group", "title", "unit", "direction", "target", "owner", "scopes"]
    print_rows(columns, [[_word(row[name], form) for name in columns] for row in found], form)


@kpi.command("show")
@click.argument("kpi_id", metavar="ID")
@click.option("--date", "date", type=_DAY, help="The day (UTC) [default: the last one computed].")
@click.option("--scope", help="One of them: all, source:NAME, team:NAME, service:NAME.")
@_FORM
@click.pass_context
def kpi_show(ctx: click.Context, kpi_id: str, date: dt.datetime | None, scope: str | None, form: str) -> None:
    """Show a day's stored numbers: value, n of population, 95 % interval, the weekday's usual value, state, verdict of the sources.

    Example: audit-pipeline kpi show failed_sign_ins --date 2026-11-23
    """
    from audit_pipeline.kpis.commands import show
    from audit_pipeline.terminal import print_json, print_rows, say

    found = show(_settings(ctx), kpi_id, date.date() if date else None, scope)
    if form == "json":
        print_json(found, indent=2)
        return
    say(f"{found['title']}, {found['day']} (days left out: those without a value)\n")
    print_rows(_NUMBERS, [[_short(row[name]) for name in _NUMBERS] for row in found["numbers"]], "table")
    for reason in found["failed"]:
        say(f"\nnot computed: {reason}")
    if found["details"]:
        say("")
        print_rows(
            list(found["details"][0]), [[_short(value) for value in row.values()] for row in found["details"]], "table"
        )
    say(f"\n{found['explanation']}")


@kpi.command("explain")
@click.argument("kpi_id", metavar="ID")
@click.option("--date", "date", type=_DAY, help="The day (UTC) [default: the last one computed].")
@click.option("--scope", default="all", show_default=True, help="all, source:NAME, team:NAME or service:NAME.")
@_FORM
@click.pass_context
def kpi_explain(ctx: click.Context, kpi_id: str, date: dt.datetime | None, scope: str, form: str) -> None:
    """Explain a number: its definition, its SQL, the SELECT that gives exactly what was counted, and the first of it.

    Example: audit-pipeline kpi explain failed_sign_ins --date 2026-11-23 --scope source:cloudtrail_prod
    """
    from audit_pipeline.kpis.commands import explain
    from audit_pipeline.terminal import plain, print_json, print_rows, say

    settings = _settings(ctx)
    found = explain(
        settings, kpi_id, date.date() if date else None, scope, made=lambda lake, day: _reviews(settings, lake, day)
    )
    if form == "json":
        print_json(found, indent=2)
        return
    for name in ("title", "explanation", "file", "owner", "unit", "direction", "target", "incomplete", "day", "scope"):
        say(f"{name}: {'none' if found[name] is None else found[name]}")
    say(
        f"parameters: {', '.join(f'${name} = {plain(value)}' for name, value in found['parameters'].items()) or 'none'}"
    )
    say(f"\nmeasured by:\n{found['sql']}\n\nwhat was counted:\n{found['drill'] or 'this file names no rows (`drill`)'}")
    if found["first"]:
        say("\nthe first of it:")
        twice = {"day", "source", "service", "x_actor_kind"} if "x_source" in found["first"][0] else set()
        names = [name for name in found["first"][0] if name not in twice and any(row[name] is not None for row in found["first"])]  # fmt: skip
        print_rows(names, [[row[name] for name in names] for row in found["first"]], "table")


def _reviews(settings: Settings, lake: Lake, day: dt.date) -> dict[str, Any]:
    from audit_pipeline.reports.reviews import reviews
    from audit_pipeline.state import open_state

    engine = open_state(settings.state_url_resolved)
    try:
        return {"reviews": reviews(settings, lake, engine, day)}
    finally:
        engine.dispose()


def _word(value: Any, form: str) -> Any:
    return ", ".join(value) if isinstance(value, list) and form == "table" else value


def _short(value: Any) -> Any:
    """Four digits that say something; the JSON form has all."""
    return (
        f"{value:.4g}"
        if isinstance(value, float) and value != int(value)
        else f"{value:.0f}"
        if isinstance(value, float)
        else value
    )
