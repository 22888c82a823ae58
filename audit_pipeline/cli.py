"""The `audit-pipeline` command. Thin: every command calls one function of a package and prints what it gives.

Belongs here: arguments, printing, exit codes (0 ok, 1 something is wrong with the data, 2 used wrongly). Heavy packages are
imported by the command that needs them, so that `--help` is quick.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit_pipeline import __version__
from audit_pipeline.cli_effects import effects
from audit_pipeline.cli_findings import findings
from audit_pipeline.cli_kpi import kpi
from audit_pipeline.cli_noise import noise
from audit_pipeline.cli_reveal import reveal
from audit_pipeline.cli_rules import rules
from audit_pipeline.errors import UsageError, UserError

if TYPE_CHECKING:
    from audit_pipeline.formats.parse import Mode
    from audit_pipeline.settings import Settings

DAY = click.DateTime(["%Y-%m-%d"])


class _Group(click.Group):
    """A user's mistake is a message and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            from audit_pipeline.terminal import say

            say(f"audit-pipeline: {error}", error=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stderr.close()
            ctx.exit(0)
        except OSError as error:  # a file that cannot be read or written, found where nothing better could be said
            if error.filename is None:
                raise
            from audit_pipeline.terminal import say

            say(
                f"audit-pipeline: {error.filename}: {error.strerror}. Make room or mend the rights, then try again.",
                error=True,
            )
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration [default: $AUDIT_PIPELINE_CONFIG, else pipeline.yaml].",
)
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Audit logs as a loop that closes: collect, prove, find, decide, fix, compare, report.

    Try it: audit-pipeline demo
    """
    ctx.obj = config


def _settings(ctx: click.Context) -> Settings:
    from audit_pipeline.settings import Settings

    return Settings.load(ctx.obj)


@main.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option("--source", help="Type of the collector in the example: files, elasticsearch or opensearch.")
def init(folder: Path, source: str | None) -> None:
    """Write a commented pipeline.yaml into FOLDER.

    Example: audit-pipeline init my-audit --source elasticsearch
    """
    from audit_pipeline.starter import init as write
    from audit_pipeline.terminal import say

    for path in write(folder, source):
        say(f"wrote {path}")
    say("Next: edit pipeline.yaml (sources, teams), then `audit-pipeline check`.")


@main.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Try configuration, sources, lake, state and SMTP. Exit 1 when something does not work.

    Example: audit-pipeline -c demo/pipeline.yaml check
    """
    from audit_pipeline import preflight
    from audit_pipeline.terminal import print_rows, say

    probes = preflight.check(_settings(ctx))
    print_rows(
        ["", "what", "detail"], [("ok" if probe.ok else "FAILS", probe.what, probe.detail) for probe in probes], "table"
    )
    say("\nWhat a new source can be judged by:")
    for when, what in preflight.WHEN:
        say(f"  {when:7} {what}")
    ctx.exit(0 if all(probe.ok for probe in probes) else 1)


@main.command()
@click.option("--date", "date", type=DAY, help="One day (UTC).")
@click.option("--from", "first", type=DAY, help="First day of several.")
@click.option("--to", "last", type=DAY, help="Last day of several, included.")
@click.option("--send", is_flag=True, help="Mail the reports; else they are written as .eml only.")
@click.pass_context
def run(
    ctx: click.Context, date: dt.datetime | None, first: dt.datetime | None, last: dt.datetime | None, send: bool
) -> None:
    """Run the nightly job for one day or several, through Dagster.

    Exit 1 when any of the days is missing, is partial for more than a window's edge, has rejects, or a check crashed.

    Example: audit-pipeline run --date 2026-11-23
    """
    if (date is None) == (first is None or last is None) or (date is not None and (first or last)):
        raise UsageError("run: say --date D, or --from D --to D.")
    settings = _settings(ctx)
    days = _days(settings, date or first, date or last)
    from audit_pipeline.nights import run_days

    ctx.exit(run_days(settings, days, send=send))


def _days(settings: Settings, first: dt.datetime | None, last: dt.datetime | None) -> list[dt.date]:
    """The days asked for; each must have ended, and none may lie before `start`."""
    from audit_pipeline.clock import SystemClock

    if first is None or last is None or last < first:
        raise UsageError("run: --to lies before --from.")
    days = [first.date() + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    if days[0] < settings.start:
        raise UsageError(
            f"run: {days[0]} lies before `start` ({settings.start}) in {settings.file}. Set start to the first day you want."
        )
    if days[-1] >= SystemClock().now().date():
        raise UsageError(f"run: {days[-1]} has not ended yet (UTC). The last day that can run is yesterday.")
    return days


@main.command()
@click.argument("format_name", metavar="FORMAT")
@click.argument("file", default="-", type=click.File("rb"))
@click.option("--flat", "mode", flag_value="flat", help="The lake's columns instead of nested OCSF.")
@click.option("--facets", "mode", flag_value="facets", help="Time, actor, target, address, operation, outcome, host.")
@click.option("--year", type=int, help="Year, where the format has none.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone, where the format has none.")
@click.option(
    "--mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML mapping of the format jsonl."
)
@click.pass_context
def parse(
    ctx: click.Context,
    format_name: str,
    file: Any,
    mode: Mode | None,
    year: int | None,
    zone: str,
    mapping: Path | None,
) -> None:
    """Normalise FILE (or standard input) to OCSF: one JSON event a line; rejects and a summary on stderr. Exit 1 if any reject.

    Example: audit-pipeline parse cloudtrail --facets trail.json.gz
    """
    from audit_pipeline.formats.parse import parse as normalise
    from audit_pipeline.terminal import print_json

    name = str(getattr(file, "name", "-"))
    parsed = normalise(
        format_name, file.read(), name=name, mode=mode or "nested", year=year, zone=zone, mapping=mapping
    )
    for line in parsed.lines:
        click.echo(line)
    for reject in parsed.rejects:
        print_json(vars(reject), error=True)
    print_json(parsed.summary, error=True)
    ctx.exit(1 if parsed.rejects else 0)


@main.command()
@click.argument("sql")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.pass_context
def query(ctx: click.Context, sql: str, form: str) -> None:
    """Read the lake's tables with SQL: events, rejects, completeness, detections, findings, kpis, decisions, deliveries.

    Example: audit-pipeline query "SELECT day, source, verdict FROM completeness ORDER BY ALL"
    """
    from audit_pipeline import query as reading
    from audit_pipeline.terminal import print_rows

    columns, rows = reading.run(_settings(ctx), sql)
    print_rows(columns, rows, form)


@main.command()
@click.option("--from", "first", type=DAY, help="Check the bytes of segments collected from this day on.")
@click.option("--to", "last", type=DAY, help="... up to this day, included.")
@click.pass_context
def verify(ctx: click.Context, first: dt.datetime | None, last: dt.datetime | None) -> None:
    """Recompute the evidence: every entry, link, member and decision. One JSON line a problem; exit 1 on any.

    Example: audit-pipeline verify
    """
    from audit_pipeline.evidence import verify_all
    from audit_pipeline.terminal import print_json, say

    settings = _settings(ctx)
    problems, told = verify_all(
        settings, first.date().isoformat() if first else None, last.date().isoformat() if last else None
    )
    for problem in problems:
        print_json(problem)
    say(told, error=True)
    ctx.exit(1 if problems else 0)


@main.command()
@click.argument("kind", type=click.Choice(["daily", "weekly", "monthly"]))
@click.option("--date", "date", type=DAY, help="The day, or one of the week or month [default: yesterday].")
@click.option("--send", is_flag=True, help="Mail it too.")
@click.pass_context
def report(ctx: click.Context, kind: str, date: dt.datetime | None, send: bool) -> None:
    """Publish a report from the tables that are there, without collecting. A new edition only if something printed changed.

    A week runs from Monday to Sunday. One that is not over yet, or a month, is told so far.

    Example: audit-pipeline report weekly --date 2026-11-23
    """
    from audit_pipeline.nights import publish
    from audit_pipeline.terminal import say

    for line in publish(_settings(ctx), kind, date.date() if date else None, send=send):
        say(line)


@main.command()
@click.option("--port", default=3000, show_default=True, envvar="AUDIT_PIPELINE_UI_PORT", show_envvar=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.pass_context
def ui(ctx: click.Context, port: int, host: str) -> None:
    """Open Dagster's webserver and daemon for this configuration, on loopback.

    Example: audit-pipeline -c demo/pipeline.yaml ui
    """
    from audit_pipeline.orchestration.ui import serve

    ctx.exit(serve(_settings(ctx), host, port))


@main.command()
@click.option("--max-age", default="26h", show_default=True, help="Oldest good run that is still fine.")
@click.pass_context
def status(ctx: click.Context, max_age: str) -> None:
    """Last night, next night, what waits. Exit 1 when the last good run is too old.

    Example: audit-pipeline status --max-age 26h
    """
    from audit_pipeline.nights import status as read
    from audit_pipeline.terminal import say

    match = re.fullmatch(r"(\d+)([mhd])", max_age)
    if not match:
        raise UsageError(f"status: --max-age {max_age!r}: write a number and m, h or d, such as 26h.")
    lines, good = read(
        _settings(ctx), dt.timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[match[2]]: int(match[1])})
    )
    for line in lines:
        say(line)
    ctx.exit(0 if good else 1)


@main.command()
@click.argument("folder", default="demo", type=click.Path(path_type=Path))
@click.option("--days", default=60, show_default=True, type=click.IntRange(3, 90))
@click.option("--end", type=DAY, help="Last day [default: yesterday].")
@click.option("--seed", default=7, show_default=True)
@click.option("--events", type=click.IntRange(1000, 5_000_000), help="About how many in all [default: 18,000 a day].")
@click.option("--stories", type=click.Choice(["all", "none"]), default="all", show_default=True)
@click.option("--score", is_flag=True, help="Make nothing: compare what an earlier demo found with what was planted.")
@click.pass_context
def demo(
    ctx: click.Context,
    folder: Path,
    days: int,
    end: dt.datetime | None,
    seed: int,
    events: int | None,
    stories: str,
    score: bool,
) -> None:
    """Make the synthetic company's logs in FOLDER, replay its nights, and say where to look.

    With --score: exit 1 when a story was missed that can be found.

    Example: audit-pipeline demo ./demo
    """
    from audit_pipeline.demo.replay import replay
    from audit_pipeline.demo.score import run

    if score:
        ctx.exit(run(folder))

    ctx.exit(
        replay(folder, days=days, end=end.date() if end else None, seed=seed, events=events, stories=stories == "all")
    )


main.add_command(effects)
main.add_command(findings)
main.add_command(noise)
main.add_command(kpi)
main.add_command(rules)
main.add_command(reveal)
