"""Nights as the command line sees them: running days, publishing a report, and what the last night left.

Belongs here: what `run`, `report` and `status` say, and their exit codes. Not here: the jobs (`orchestration`) or any number.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit_pipeline.clock import DAY, SIMULATED_NOTE, SystemClock, rfc3339
from audit_pipeline.errors import UserError
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.quality.reasons import LOWERING
from audit_pipeline.settings import Settings
from audit_pipeline.terminal import say

if TYPE_CHECKING:
    from audit_pipeline.mail.delivery import Outcome
    from audit_pipeline.orchestration.runner import Night
    from audit_pipeline.reports.editions import Edition


@dataclass(frozen=True)
class DayState:
    """The stored verdict of one source and day, as far as exit codes and sentences need it."""

    day: dt.date
    source: str
    verdict: str
    codes: tuple[str, ...]
    details: tuple[str, ...]
    events: int
    rejects: int

    @property
    def fine(self) -> bool:
        """Whether `run` may end with 0 for it: not missing, not partial for more than a window's edge, no rejects."""
        if self.verdict == "missing" or self.rejects:
            return False
        return self.verdict != "partial" or not (LOWERING - {"window_edge"}) & set(self.codes)


def day_states(settings: Settings, lake: Lake, days: Sequence[dt.date]) -> list[DayState]:
    """The verdicts that are stored for these days."""
    con = connect(lake, since=min(days), until=max(days), tables=["completeness"])
    try:
        query = "SELECT day, source, verdict, list_transform(reasons, lambda r: r.code), list_transform(reasons, lambda r: r.detail), events, rejects FROM completeness ORDER BY day, source"
        found = [
            DayState(d, s, v, tuple(c or ()), tuple(t or ()), e or 0, r or 0)
            for d, s, v, c, t, e, r in con.execute(query).fetchall()
        ]
    finally:
        con.close()
    return [state for state in found if state.day in set(days) and state.source in settings.sources]


def run_days(settings: Settings, days: list[dt.date], *, send: bool) -> int:
    """Run the nights, say what came of them; the exit code."""
    from audit_pipeline.orchestration.runner import Runner

    Lake.open(settings.lake_url).probe()  # a lake that cannot be written is said before anything starts
    runner = Runner(settings)
    if settings.clock == "simulated":
        say(f"({SIMULATED_NOTE})")
    nights = runner.run(days, send=send, progress=lambda job, day: say(f"{day}  {job} ..."))
    failed = tell_failures(nights)
    lake = Lake.open(settings.lake_url)
    failed |= _tell_failed_collections(settings, lake, days)
    states = day_states(settings, lake, days)
    for state in states:
        reasons = "; ".join(state.details) or "no reason against it"
        say(
            f"{state.day}  {state.source}: {state.verdict}, {state.events:,} events, {state.rejects:,} rejects ({reasons})"
        )
    page = newest_report(lake, days[-1])
    if page:
        say(f"report: {lake.path(page)}")
    complete = {(state.day, state.source) for state in states} >= {
        (day, source) for day in days for source in settings.sources
    }
    return 0 if not failed and complete and all(state.fine for state in states) else 1


def tell_failures(nights: Sequence[Night]) -> bool:
    """Say which steps failed and why; whether any night failed or any check crashed."""
    for night in nights:
        for failure in night.failures:
            say(f"{night.day}  {night.job} FAILED at {failure}", error=True)
        for check in night.crashed_checks:
            say(f"{night.day}  check {check} crashed: see it in the UI, run {night.run_id}", error=True)
    return any(not night.success or night.crashed_checks for night in nights)


def _tell_failed_collections(settings: Settings, lake: Lake, days: Sequence[dt.date]) -> bool:
    """Say which sources could not be collected, also where an earlier collection of the day was whole, so that its verdict stands."""
    found = False
    for day in days:
        for source in settings.sources:
            newest = next(manifest.newest_first(lake, source, day), None)
            if newest is None or newest.request["day"] != day.isoformat():
                continue
            for remark in newest.remarks:
                if remark.code == "collection_failed":
                    say(f"{day}  {source}: this collection FAILED: {remark.detail}", error=True)
                    found = True
    return found


def newest_report(lake: Lake, day: dt.date) -> str | None:
    """The page of the newest edition of a day's report."""
    folder = f"reports/daily/{day.isoformat()}"
    editions = sorted((int(name) for name in lake.names(folder) if name.isdigit()), reverse=True)
    return next(
        (f"{folder}/{number}/report.html" for number in editions if lake.exists(f"{folder}/{number}/report.json")), None
    )


def publish(settings: Settings, kind: str, day: dt.date | None, *, send: bool) -> list[str]:
    """Publish (and mail) a report from stored tables: of a day, or of the week or month that holds it."""
    from audit_pipeline.mail.daily import mail_daily
    from audit_pipeline.reports.daily import publish_daily

    lake = Lake.open(settings.lake_url)
    day = day or SystemClock().now().date() - DAY
    if kind != "daily":
        return _publish_period(settings, lake, kind, day, send=send)
    if day not in lake.days("completeness"):
        raise UserError(
            f"report {kind} {day}: no run has computed that day. Run `audit-pipeline run --date {day}` first."
        )
    clock = settings.clock_for(day)
    with lake.lock():
        edition = publish_daily(settings, lake, day, clock)
    outcomes, path = mail_daily(settings, lake, day, clock, send=send)
    return _published(lake, edition, path, outcomes)


def _published(lake: Lake, edition: Edition, path: str, outcomes: Sequence[Outcome]) -> list[str]:
    lines = [f"edition {edition.number}: {lake.path(edition.folder)}/report.html", f"mail: {lake.path(path)}"]
    return lines + [f"{one.recipient}: {one.outcome or 'unknown'} {one.detail or ''}".rstrip() for one in outcomes]


def _publish_period(settings: Settings, lake: Lake, kind: str, day: dt.date, *, send: bool) -> list[str]:
    from audit_pipeline.mail.periodic import mail_report
    from audit_pipeline.reports.periodic import publish_period
    from audit_pipeline.reports.periods import Period

    period = Period.of("weekly" if kind == "weekly" else "monthly", day)
    computed = [one for one in lake.days("completeness") if period.first <= one <= period.last]
    if not computed:
        raise UserError(
            f"report {kind} {period.name}: no run has computed any of its days ({period.first} to {period.last}). "
            f"Run `audit-pipeline run --date {day}` first."
        )
    clock = settings.clock_for(computed[-1])
    with lake.lock():
        edition = publish_period(settings, lake, period, clock)
    outcomes, path = mail_report(settings, lake, kind, period.name, clock, send=send)
    return _published(lake, edition, path, outcomes)


def status(settings: Settings, max_age: dt.timedelta) -> tuple[list[str], bool]:
    """Last night, next night, what waits; and whether the last good run is young enough."""
    lake = Lake.open(settings.lake_url)
    days = lake.days("completeness")
    if not days:
        return ["no night has run yet: `audit-pipeline run --date` runs one", _next(settings, None)], False
    lines: list[str] = []
    good: dt.date | None = None
    for day in reversed(days[-30:]):
        states = day_states(settings, lake, [day])
        if newest_report(lake, day) and not any("collection_failed" in state.codes for state in states):
            good = day
            break
    last = days[-1]
    lines += [_verdict_line(state) for state in day_states(settings, lake, [last])]
    made = _generated(lake, good) if good else None
    now = settings.clock_for(last).now()
    age = now - made if made else None
    fresh = age is not None and age <= max_age
    lines.append(
        f"last good run: {good} at {rfc3339(made)}, {_hours(age)} ago"
        if made and age is not None
        else "last good run: none"
    )
    if not fresh:
        lines.append(f"TOO OLD: a good run should not be older than {_hours(max_age)}")
    lines += [_next(settings, last), *_waiting(settings, lake)]
    if settings.clock == "simulated":
        lines.append(f"({SIMULATED_NOTE})")
    return lines, fresh


def _verdict_line(state: DayState) -> str:
    why = f" ({'; '.join(state.details)})" if state.details else ""
    return f"last night {state.day}  {state.source}: {state.verdict}, {state.events:,} events{why}"


def _next(settings: Settings, last: dt.date | None) -> str:
    day = max(settings.start, last + DAY) if last else settings.start
    return f"next night: {day}, due {rfc3339(settings.as_of(day))}"


def _waiting(settings: Settings, lake: Lake) -> list[str]:
    from audit_pipeline.findings.commands import list_findings
    from audit_pipeline.formats.unify import stale

    late = {name: stale(lake, name) for name in settings.sources}
    waiting = [
        f"waits: {name} {', '.join(map(str, days))} got late records (the next run, or job recompute, takes them in)"
        for name, days in late.items()
        if days
    ]
    opened = list_findings(settings, include_closed=False)
    waiting.append(
        f"waits: {len(opened)} findings to decide"
        + (f", next due {min(rfc3339(row['due_at']) for row in opened)}" if opened else "")
    )
    return waiting


def _generated(lake: Lake, day: dt.date) -> dt.datetime | None:
    page = newest_report(lake, day)
    if page is None:
        return None
    note: dict[str, Any] = json.loads(lake.read(page.replace("report.html", "manifest.json")))
    return dt.datetime.fromisoformat(note["generated_at"])


def _hours(span: dt.timedelta) -> str:
    hours = span / dt.timedelta(hours=1)
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"
