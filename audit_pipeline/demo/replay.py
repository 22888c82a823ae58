"""The demo: make the company's logs, replay its nights under the simulated clock, and say what was found and what to open.

Belongs here: the order of the demo and its last words. Not here: the company (`generate`) or the nights (`orchestration`).
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.clock import DAY, SIMULATED_NOTE, SystemClock
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.gateway import Gateway, served
from audit_pipeline.demo.people import People
from audit_pipeline.demo.plot import ORDINARY_DAYS, Plot
from audit_pipeline.errors import UsageError
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.terminal import say

if TYPE_CHECKING:
    from audit_pipeline.nights import DayState

_SHOWN = 4
"""Days that are told of one source, at most"""
_FINDINGS = 12
"""Findings that are told, the worst first"""
_MARK = ".audit-pipeline-demo"


def replay(folder: Path, *, days: int, end: dt.date | None, seed: int, events: int | None, stories: bool) -> int:
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
    say(
        f"A synthetic company's CloudTrail, Kubernetes, Linux, application and hoop.dev logs, {first} to {last}, replayed night by night ({SIMULATED_NOTE})."
    )
    gateway = Gateway(folder / "logs" / "hoop")
    with served(gateway) as url:
        config, plot = _make(folder, days, last, seed, events, stories, first, url)
        settings = Settings.load(config)
        people = People(settings, plot, Company.make(seed))
        failed = _nights(settings, [first + n * DAY for n in range(days)], plot, people, gateway)
    _last_words(settings, last, time.monotonic() - started, people)
    return 1 if failed else 0


def _empty(folder: Path) -> None:
    """A demo is made anew; a folder that is no demo is left alone."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise UsageError(f"demo: {folder} is not empty and no demo. Choose another folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("made by `audit-pipeline demo`; removed when it is run again\n", encoding="utf-8")


def _make(folder: Path, days: int, last: dt.date, seed: int, events: int | None, stories: bool, first: dt.date, url: str) -> tuple[Path, Plot]:  # fmt: skip
    from audit_pipeline.demo import sources
    from audit_pipeline.demo.config import write_config

    with _bar("making logs", days) as advance:
        plot, whole = sources.make(
            folder,
            days=days,
            end=last,
            seed=seed,
            events=events,
            stories=stories,
            progress=lambda done, of: advance(done * days // of, "") if done * days % of == 0 else None,
        )
    say(", ".join(f"{name} {one.events:,} events in {one.files:,} files" for name, one in whole.sources.items()))
    return write_config(folder, start=first, plot=plot, url=url), plot


def _nights(settings: Settings, days: list[dt.date], plot: Plot, people: People, gateway: Gateway) -> bool:
    """Replay; whether any run failed that the stories do not let fail."""
    from audit_pipeline.nights import tell_failures
    from audit_pipeline.orchestration.runner import Runner

    stage = _Stage(settings, plot)
    with _bar("replaying nights", len(days)) as advance:

        def progress(job: str, day: dt.date) -> None:
            if job == "nightly":
                stage.set(day)
                gateway.now = settings.as_of(day)
                people.work(day)
            advance(max(0, (day - days[0]).days) if job == "nightly" else None, f"{day} {job}")

        advance(0, "starting Dagster")
        nights = Runner(settings).run(days, progress=progress)
        advance(len(days), "")
    stage.restore()
    return tell_failures([night for night in nights if night.job != "nightly" or night.day not in plot.vanished])


class _Stage:
    """What changes on disk while the nights pass: a path that is not there, and a word to the reader after two weeks."""

    def __init__(self, settings: Settings, plot: Plot) -> None:
        self._settings, self._plot, self._told = settings, plot, False
        self._path, self._away = settings.root / "logs" / "kubernetes", settings.root / ".kubernetes-not-mounted"

    def set(self, day: dt.date) -> None:
        """Before the night of a day."""
        if day in self._plot.vanished and self._path.exists():
            self._path.rename(self._away)
        if day not in self._plot.vanished:
            self.restore()
        if not self._told and (day - self._plot.start).days >= ORDINARY_DAYS:
            self._told = True
            if page := _page(self._settings, day - DAY):
                say(f"the first two weeks are there; while the rest runs, open  {_near(page)}")

    def restore(self) -> None:
        """Put the path back, if it is away."""
        if self._away.exists():
            self._away.rename(self._path)


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


def _last_words(settings: Settings, last: dt.date, seconds: float, people: People) -> None:
    """What was found and what to open, in a few lines."""
    from audit_pipeline.findings.commands import list_findings
    from audit_pipeline.nights import day_states

    lake = Lake.open(settings.lake_url)
    nights = day_states(settings, lake, lake.days("completeness"))
    say("")
    say(f"{sum(state.events for state in nights):,} events, {len(lake.days('completeness'))} nights, {seconds:.0f} s ({SIMULATED_NOTE}).")  # fmt: skip
    for name in settings.sources:
        _source_words(name, [state for state in nights if state.source == name])
    rows = list_findings(settings)
    for row in rows[:_FINDINGS]:
        say(
            f"  finding {row['finding_id'][:12]} ({row['severity']}, {row['owner']}, {row['state']}): {row['title'][:100]}"
        )
    states = Counter(row["state"] for row in rows)
    if rows:
        say(f"{len(rows)} findings: {', '.join(f'{state} {n}' for state, n in sorted(states.items()))}; {people.recorded} decisions, {len(people.remarks)} refused")  # fmt: skip
    config = _near(settings.file)
    say("")
    for kind, page in _pages(settings, lake, last):
        say(f"{kind:9} {_near(page)}")
        if kind == "open":
            say(f"the mail  {_near(page.parent)}/mail/all.eml")
    say(f"decide    .venv/bin/audit-pipeline -c {config} findings list")
    say(f"prove     .venv/bin/audit-pipeline -c {config} verify")
    say("watch     make ui")
    say(f"score     .venv/bin/audit-pipeline demo {_near(settings.file.parent)} --score")


def _source_words(name: str, states: list[DayState]) -> None:
    """One source: how much, how its days were judged, and why some were not whole."""
    judged = Counter(state.verdict for state in states)
    say(f"{name}: {sum(state.events for state in states):,} events; days {', '.join(f'{verdict} {n}' for verdict, n in sorted(judged.items()))}")  # fmt: skip
    troubled = [state for state in states if state.verdict in ("partial", "missing")]
    for state in troubled[:_SHOWN]:
        say(f"  {state.day} is {state.verdict}: {'; '.join(state.details)}")
    if len(troubled) > _SHOWN:
        say(f"  and {len(troubled) - _SHOWN} more: see the page")


def _pages(settings: Settings, lake: Lake, last: dt.date) -> list[tuple[str, Path]]:
    """The newest daily, weekly and monthly page that there is."""
    from audit_pipeline.reports.periods import KINDS

    daily = _page(settings, last)
    found = [("open", daily)] if daily else []
    for kind in KINDS:
        for period in sorted(lake.names(f"reports/{kind}"), reverse=True):
            editions = sorted(int(name) for name in lake.names(f"reports/{kind}/{period}") if name.isdigit())
            if editions:
                found.append((kind, Path(lake.path(f"reports/{kind}/{period}/{editions[-1]}/report.html"))))
                break
    return found


def _page(settings: Settings, day: dt.date) -> Path | None:
    from audit_pipeline.nights import newest_report

    lake = Lake.open(settings.lake_url)
    page = newest_report(lake, day)
    return Path(lake.path(page)) if page else None


def _near(path: Path) -> Path:
    """A path as it is written from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
