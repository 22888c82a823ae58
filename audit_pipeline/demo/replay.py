"""The demo: make the company's logs, replay its nights under the simulated clock, and say what was found and what to open.

Belongs here: the order of the demo and its last words. Not here: the company (`generate`) or the nights (`orchestration`).
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import time
from pathlib import Path

from audit_pipeline.clock import DAY, SIMULATED_NOTE, SystemClock
from audit_pipeline.errors import UsageError
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.terminal import say

_MARK = ".audit-pipeline-demo"


def replay(folder: Path, *, days: int, end: dt.date | None, seed: int, events: int, stories: bool) -> int:
    """Everything of `audit-pipeline demo`; the exit code (0 when every night ran: what the nights found is the point of it)."""
    from audit_pipeline.demo.stories import FEWEST_DAYS

    last = end or SystemClock().now().date() - DAY
    if last >= SystemClock().now().date():
        raise UsageError(f"demo: --end {last} has not ended yet (UTC). The last day that can be replayed is yesterday.")
    if stories and days < FEWEST_DAYS:
        raise UsageError(
            f"demo: --days {days} leaves no room for its stories. Take {FEWEST_DAYS} days or more, or --stories none."
        )
    first = last - (days - 1) * DAY
    started = time.monotonic()
    _empty(folder)
    say(f"A synthetic company's CloudTrail, {first} to {last}, replayed night by night ({SIMULATED_NOTE}).")
    config = _make(folder, days, last, seed, events, stories, first)
    settings = Settings.load(config)
    failed = _nights(settings, [first + n * DAY for n in range(days)])
    _last_words(settings, last, time.monotonic() - started)
    return 1 if failed else 0


def _empty(folder: Path) -> None:
    """A demo is made anew; a folder that is no demo is left alone."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise UsageError(f"demo: {folder} is not empty and no demo. Choose another folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("made by `audit-pipeline demo`; removed when it is run again\n", encoding="utf-8")


def _make(folder: Path, days: int, last: dt.date, seed: int, events: int, stories: bool, first: dt.date) -> Path:
    from audit_pipeline.demo.config import write_config
    from audit_pipeline.demo.generate import generate

    with _bar("making logs", days) as advance:
        generate(
            folder,
            days=days,
            end=last,
            seed=seed,
            events=events,
            stories=stories,
            progress=lambda done, _total: advance(done, ""),
        )
    return write_config(folder, start=first)


def _nights(settings: Settings, days: list[dt.date]) -> bool:
    """Replay; whether any run failed."""
    from audit_pipeline.nights import tell_failures
    from audit_pipeline.orchestration.runner import Runner

    with _bar("replaying nights", len(days)) as advance:
        advance(0, "starting Dagster")
        runner = Runner(settings)
        nights = runner.run(
            days,
            progress=lambda job, day: advance(
                max(0, (day - days[0]).days) if job == "nightly" else None, f"{day} {job}"
            ),
        )
        advance(len(days), "")
    return tell_failures(nights)


class _bar:  # noqa: N801 - used like a function
    """A progress bar on a terminal; a line a step elsewhere."""

    def __init__(self, title: str, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, disable=not sys.stdout.isatty())
        self._task = self._progress.add_task(title, total=total, note="")
        self._title, self._total = title, total

    def __enter__(self) -> _bar:
        self._progress.start()
        return self

    def __call__(self, done: int | None, note: str) -> None:
        self._progress.update(self._task, completed=done, note=note)
        if self._progress.disable and done is not None:
            say(f"{self._title}: {done} of {self._total} {note}".rstrip())

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _last_words(settings: Settings, last: dt.date, seconds: float) -> None:
    """What was found and what to open, in a few lines."""
    from audit_pipeline.findings.commands import list_findings
    from audit_pipeline.nights import day_states, newest_report

    lake = Lake.open(settings.lake_url)
    states = day_states(settings, lake, lake.days("completeness"))
    whole = sum(state.verdict in ("proven", "no_gap_seen") for state in states)
    say("")
    say(
        f"{sum(state.events for state in states):,} events on {len(states)} source-days, {whole} of them judged whole, in {seconds:.0f} s ({SIMULATED_NOTE})."
    )
    for state in states:
        if state.verdict in ("partial", "missing"):
            say(f"  {state.day} {state.source} is {state.verdict}: {'; '.join(state.details)}")
    for row in list_findings(settings, include_closed=False):
        say(f"  finding {row['finding_id'][:12]} ({row['severity']}, {row['owner']}): {row['title']}")
    page = newest_report(lake, last)
    here = Path.cwd()
    shown = Path(lake.path(page)) if page else None
    config = settings.file.relative_to(here) if settings.file.is_relative_to(here) else settings.file
    say("")
    if shown:
        say(f"open      {shown.relative_to(here) if shown.is_relative_to(here) else shown}")
        say(f"the mail  {shown.parent.relative_to(here) if shown.is_relative_to(here) else shown.parent}/mail/all.eml")
    say(f"decide    .venv/bin/audit-pipeline -c {config} findings list")
    say(f"prove     .venv/bin/audit-pipeline -c {config} verify")
    say("watch     make ui")
