"""All logs of the synthetic company for some days, and `stories.json`: what happened, and how much each source holds a day.

Belongs here: the order of the sources and their counts. Not here: how a source's logs come about (its own module).
Same arguments, same bytes. Days are made one after the other, so memory holds one day of one source.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.demo import cases, truth
from audit_pipeline.demo import generate as cloudtrail
from audit_pipeline.demo import plot as plotting
from audit_pipeline.demo import stories as planning
from audit_pipeline.demo.application import Application
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.files import moment, shares
from audit_pipeline.demo.generate import DayTruth, Story
from audit_pipeline.demo.hoop import A_DAY, Hoop
from audit_pipeline.demo.kubernetes import Kubernetes
from audit_pipeline.demo.linux import Linux
from audit_pipeline.demo.plot import EVENTS_A_DAY, Plot

STORIES = "stories.json"
SHARES = {"cloudtrail": 0.29, "kubernetes": 0.30, "linux": 0.13, "app": 0.28}
"""Of all events; the gateway's sessions (`hoop`) come on top of them."""


class Maker(Protocol):
    """One source's generator."""

    name: str
    weekend: float
    """events on a day off, of a working day's"""
    stories: list[Story]

    @property
    def files(self) -> int:
        """Files written so far."""
        ...

    def day(self, number: int, day: dt.date, n: int) -> DayTruth:
        """Write one UTC day of about `n` events."""
        ...

    def close(self) -> None:
        """Write what still waits."""
        ...


@dataclass(frozen=True)
class SourceTruth:
    """What one source holds: `records` with extra copies and stages, `events` without."""

    files: int
    records: int
    events: int
    days: tuple[DayTruth, ...]


@dataclass(frozen=True)
class Whole:
    """What a reader of all logs should find; `stories.json` has the same keys."""

    seed: int
    start: str
    end: str
    events: int
    sources: dict[str, SourceTruth]
    stories: tuple[Story, ...]


def make(
    root: Path,
    *,
    days: int,
    end: dt.date,
    seed: int = cloudtrail.DEFAULT_SEED,
    events: int | None = None,
    stories: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Plot, Whole]:
    """Write the logs of all sources below `root/logs`, and beside them what is true about them.

    `truth.json` has what was planted and what should come of it, `stories.json` the calendar and the counts of each source,
    `cloudtrail.json` those of CloudTrail alone.

    Args:
        root: folder of the demo; its `logs` are replaced when an earlier call made them.
        days: how many days.
        end: the last day, included.
        seed: whatever is drawn is drawn from it.
        events: about how many events in all; by default 18,000 a day.
        stories: whether to plant any.
        progress: called with the steps done (a day of a source) and all steps.

    Raises:
        UserError: as `generate.generate`.
    """
    events = EVENTS_A_DAY * days if events is None else events
    start, company = end - (days - 1) * DAY, Company.make(seed)
    plot = plotting.make(company, start, days, seed, stories=stories)
    plan = planning.plan(company, start, days, seed, plot.calendar) if stories else None
    taken = {plan.silence, plan.burst.day} if plan else set()
    plot = cases.make(company, plot, seed, events / days, taken)
    steps = days * (len(SHARES) + 1)
    cloud = cloudtrail.generate(
        root, days=days, end=end, seed=seed, events=int(events * SHARES["cloudtrail"]), stories=stories, calendar=plot.calendar, cases=plot.cases,
        progress=(lambda done, _: progress(done, steps)) if progress else None,
    )  # fmt: skip
    found = {"cloudtrail": SourceTruth(cloud.files, cloud.records, cloud.events, cloud.days)}
    planted = [*cloud.stories, *_calendar_stories(plot)]
    logs = root / cloudtrail.LOGS
    makers: list[Maker] = [
        Kubernetes(logs / "kubernetes", company, plot, seed),
        Linux(logs / "linux", company, plot, seed),
        Application(logs / "app", plot, seed),
        Hoop(logs / "hoop", company, plot, seed),
    ]
    working = sum(1.0 if plot.calendar.is_working(start + n * DAY) else Hoop.weekend for n in range(days))
    for at, maker in enumerate(makers, 1):
        of_all = SHARES.get(maker.name)
        n = int(A_DAY * working) if of_all is None else int(events * of_all)
        counts = shares(plot.calendar, start, days, n, maker.weekend)
        found[maker.name] = _written(maker, start, counts, (lambda done, at=at: progress(at * days + done, steps)) if progress else None)  # type: ignore[misc]  # fmt: skip
        planted += maker.stories
    order = sorted(planted, key=lambda story: (story.start, story.kind, story.source))
    whole = Whole(seed, start.isoformat(), end.isoformat(), sum(one.events for one in found.values()), found, tuple(order))  # fmt: skip
    text = json.dumps(asdict(whole), indent=2, ensure_ascii=False) + "\n"
    (root / STORIES).write_text(text, encoding="utf-8")
    truth.write(root, plot, whole.stories)
    return plot, whole


def _written(maker: Maker, start: dt.date, counts: Sequence[int], done: Callable[[int], None] | None) -> SourceTruth:
    """One source's days, written, and what they hold."""
    told = []
    for number, n in enumerate(counts):
        told.append(maker.day(number, start + number * DAY, n))
        if done:
            done(number + 1)
    maker.close()
    return SourceTruth(maker.files, sum(day.records for day in told), sum(day.events for day in told), tuple(told))


def _calendar_stories(plot: Plot) -> list[Story]:
    """Days that are unlike others in every source, and releases."""
    found = [_day_story("holiday", day, name) for day, name in plot.calendar.days_off.items()]
    found += [_day_story("clock_change", day, "Europe/Berlin") for day in plot.clock_changes]
    for release in plot.releases:
        at = rfc3339(moment(release.day, release.second))
        found.append(Story("release", release.day.isoformat(), at, at, 1, source="app", detail=f"{release.service} {release.version}"))  # fmt: skip
    return found


def _day_story(kind: str, day: dt.date, detail: str) -> Story:
    return Story(kind, day.isoformat(), rfc3339(moment(day, 0)), rfc3339(moment(day + DAY, 0)), 0, source="*", detail=detail)  # fmt: skip
