"""Random lives of a source and its collector, held against the truth; one module `<type>_lives.py` with a `CASE` for each collector.

Records appear over a day, late, out of order, many at one instant; polls come at random times and meet faults; the collector is
killed between requests, after its pages, and between segment and manifest entry; the source forgets; its clock is off. Laws, written
without looking at how any collector works:

1. Whatever the source could be asked for at the last collection that says that it was whole is an event: visible then, not deleted,
   stamped before the window's end, visible within `look_back` of its stamp. (Later ones too, once a second count has met them.)
2. No record is two events, and none is an event that the source never had.
3. Where the day is `proven` or `no_gap_seen`, no record of it that was visible before the last collection is missing.

What became visible late and was deleted before the next collection leaves no trace at a source; law 3 cannot be held for that.

Belongs here: the play and the laws. Not here: any source; a case says how its records are offered and what may go wrong.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from audit_pipeline.clock import UTC
from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.base import Format
from audit_pipeline.lake import manifest, raw
from audit_pipeline.lake.store import Lake
from audit_pipeline.quality.completeness import assess
from audit_pipeline.settings import Settings
from audit_pipeline.sources import collect as collecting
from audit_pipeline.sources.base import Source
from audit_pipeline.sources.collect import Collected
from audit_pipeline_tests.sources.world import RealClock, Stored

SOURCE = "source"
BEGIN = dt.datetime(2025, 6, 1, tzinfo=UTC)
DAY, HOUR, SECOND = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(seconds=1)
JUDGED = BEGIN + 2 * DAY
"""Two days before it are known: its third day can be judged."""
KNOWN_NIGHTS = 2
KNOWN_UNTIL = dt.timedelta(minutes=5)
"""Into the judged day: when the last of them was collected. No record of it is visible before, no poll comes earlier."""
STEP = dt.timedelta(minutes=15)
GREEN = ("proven", "no_gap_seen")


class KilledError(BaseException):
    """The collector's process ends here."""


@dataclass(frozen=True)
class Thing:
    """A record at the source."""

    id: str
    """`metadata_uid` of its event"""
    stamp: dt.datetime
    """its time, by the source's clock"""
    visible: dt.datetime
    """real time from which on the source shows it"""
    gone: dt.datetime | None = None
    """real time from which on it no longer does"""
    late: dt.timedelta = dt.timedelta(0)
    """how long after it happened it was shown"""


class World(Stored, ABC):
    """One source, what it is asked with, and a lake."""

    source: str = SOURCE

    def __init__(self, settings: Settings, form: Format) -> None:
        self.settings, self.form = settings, form
        self.lake = Lake.open(settings.lake_url)
        self.fired: Counter[str] = Counter()
        """faults that a collector met"""
        self.asked: Counter[str] = Counter()
        """requests by kind, or whatever else the case counts: a process may end at each"""
        self.before: Callable[[str], None] | None = None
        """to be called at each of them"""
        self.now = BEGIN
        self.withheld: set[str] = set()
        """records that the source itself lost, so that no collection can have them; the day must tell of them all the same"""

    @abstractmethod
    def open(self) -> Source:
        """The source as the next collection asks it, at `now`."""

    def collect(self, at: dt.datetime) -> Collected:
        """For the night of the day before `at`."""
        self.now = at
        return collecting.gather(self.settings, self.lake, self.source, (at - DAY).date(), RealClock(at), self.open())

    def build(self, *days: dt.date) -> None:
        """Compute these days, or all that the index knows."""
        indexing.ensure(self.lake, self.source, self.form)
        for day in days or indexing.indexed_days(self.lake, self.source):
            unify.build(self.lake, self.source, self.form, day)

    def verdict(self, day: dt.date) -> tuple[str, dict[str, str]]:
        """Verdict and reasons by code."""
        (row,) = assess(self.settings, self.lake, day).to_pylist()
        return row["verdict"], {reason["code"]: reason["detail"] for reason in row["reasons"]}


class Life(World):
    """A world that the engine plays with."""

    skew: dt.timedelta = dt.timedelta(0)

    @abstractmethod
    def offer(self, things: Sequence[Thing]) -> None:
        """What the source has, in place of what it had."""

    def off(self, skew: dt.timedelta) -> None:
        """The source's clock is wrong from now on; what was offered is stamped by it already."""
        self.skew = skew

    @abstractmethod
    def plan(self, rng: random.Random) -> None:
        """Faults that the next collection meets."""

    @abstractmethod
    def heal(self) -> None:
        """No fault is planned any more."""


Mutant = tuple[Any, str, Callable[..., Any]]
"""Where, which attribute, and what stands in its place."""


class Case(ABC):
    """What is particular to a collector."""

    name: str
    look_back: dt.timedelta
    """how late a record may be shown without being lost, as documented"""
    lag: dt.timedelta
    variants: int = 1
    """so many configurations take turns, by seed"""
    skews: tuple[int, ...] = ()
    """hours by which the source's clock may be off"""
    few: int = 2
    """members of a segment, where a history wants several of them"""
    forgets: bool = True
    """whether the source may delete records unread"""
    mutants: ClassVar[Mapping[str, Mutant]]
    """collectors with one fault each, which histories must find"""

    @abstractmethod
    def world(self, root: Path, seed: int) -> Life:
        """A world below `root`; `seed` chooses the variant and what the world draws itself."""

    def known(self, thing: Thing) -> bool:
        """Whether the collector can tell, in a green day, that this record was lost; false where the documentation says that it cannot."""
        return True


@dataclass
class Outcome:
    """How a history ended."""

    seed: int
    quiet: bool
    """nothing went wrong in it"""
    verdict: str
    reasons: dict[str, str]
    broken: list[str] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)


def rhythm(rng: random.Random, begin: dt.datetime, name: str) -> list[Thing]:
    """A usual day: a record every quarter of an hour, or so."""
    at = [begin + n * STEP + rng.randrange(600) * SECOND for n in range(96)]
    return [Thing(f"{name}-{n}", moment, moment + SECOND) for n, moment in enumerate(at)]


def _before() -> list[Thing]:
    rng = random.Random(7)
    return [*rhythm(rng, BEGIN, "a"), *rhythm(rng, BEGIN + DAY, "b")]


def template(case: Case, root: Path, variant: int) -> None:
    """Two usual days, collected and judged."""
    world = case.world(root, variant)
    world.offer(_before())
    for day in (1, 2):
        world.collect(BEGIN + day * DAY + KNOWN_UNTIL)
        world.build()
        world.verdict((BEGIN + (day - 1) * DAY).date())


def _things(case: Case, rng: random.Random, *, quiet: bool, skew: dt.timedelta) -> list[Thing]:
    """The judged day's, some late, some at one instant; in `quiet` histories late within the look-back only."""
    found = rhythm(rng, JUDGED, "c")
    instant = JUDGED + rng.randrange(80_000) * SECOND
    found += [Thing(f"t-{n}", instant, instant) for n in range(rng.choice([0, 41, 80]))]
    share, latest = rng.choice([0.0, 0.1, 0.3]), case.look_back
    if not quiet and rng.random() < 0.25:
        latest = case.look_back + 2 * DAY
    forgets = None if quiet or rng.random() < 0.7 or not case.forgets else rng.randrange(8, 40) * HOUR
    made = []
    for thing in found:
        delay = rng.random() * latest if rng.random() < share else rng.randrange(30) * SECOND
        visible = max(thing.stamp + delay, JUDGED + KNOWN_UNTIL + SECOND)
        gone = thing.stamp + forgets if forgets else None
        made.append(Thing(thing.id, thing.stamp + skew, visible, gone, visible - thing.stamp))
    rng.shuffle(made)
    return made + [Thing(t.id, t.stamp, t.visible, t.stamp + forgets if forgets else None) for t in _before()]


def _polls(rng: random.Random) -> list[dt.datetime]:
    """Some during the day, then a night or two, or three nights with none between."""
    moments = [JUDGED + rng.randrange(600, 86_400) * SECOND for _ in range(rng.randrange(3))]
    nights = rng.choice([[1], [1, 2], [2], [1, 3]])
    return sorted(moments) + [JUDGED + n * DAY + 3 * HOUR for n in nights]


@contextlib.contextmanager
def _killing(rng: random.Random, world: Life, few: int, *, quiet: bool) -> Iterator[None]:
    """Perhaps the process ends at some request, or between a segment and its entry."""
    how = rng.choice(["request", "entry", None, None, None, None])
    small = mock.patch.object(raw, "SEGMENT_MEMBERS", rng.choice([few, 20_000]))
    if quiet or how is None:
        with small:
            yield
        return
    world.fired[f"killed at a {how}" if how == "request" else "killed before an entry"] += 1
    if how == "entry":
        with small, mock.patch.object(manifest, "append", side_effect=KilledError):
            yield
        return
    last = world.asked.total() + rng.randrange(1, 18)

    def die(_: str) -> None:
        if world.asked.total() >= last:
            raise KilledError

    world.before = die
    try:
        with small:
            yield
    finally:
        world.before = None


def play(case: Case, root: Path, seed: int) -> Outcome:
    """One history; `root` has a copy of the template of the seed's variant."""
    rng = random.Random(seed)
    quiet = rng.random() < 0.2
    world = case.world(root, seed)
    skew = dt.timedelta(0)
    if not quiet and case.skews and rng.random() < 0.15:
        skew = rng.choice(case.skews) * HOUR
    things = _things(case, rng, quiet=quiet, skew=skew)
    world.offer(things)
    if skew:
        world.off(skew)
    asked: list[dt.datetime] = []
    for at in _polls(rng):
        if not quiet:
            world.plan(rng)
        asked.append(at)
        with contextlib.suppress(KilledError), _killing(rng, world, case.few, quiet=quiet):
            world.collect(at)
        world.heal()
    world.fired += _happened(case, things, skew)
    world.build(*((JUDGED + days * DAY).date() for days in ((0, 1, -1) if skew else (0,))))
    verdict, reasons = world.verdict(JUDGED.date())
    return Outcome(seed, quiet, verdict, reasons, _laws(case, world, things, asked, verdict), world.fired)


def _happened(case: Case, things: Sequence[Thing], skew: dt.timedelta) -> Counter[str]:
    """What was wrong without any request going wrong."""
    found = {
        "clock off": bool(skew), "source forgets": any(thing.gone for thing in things),
        "late records": any(case.lag < thing.late <= case.look_back for thing in things),
        "later than the look-back": any(thing.late > case.look_back + case.lag for thing in things),
    }  # fmt: skip
    return Counter({name: 1 for name, happened in found.items() if happened})


def _laws(case: Case, world: Life, things: Sequence[Thing], asked: list[dt.datetime], verdict: str) -> list[str]:
    whole = [e for e in manifest.entries(world.lake, world.source)[KNOWN_NIGHTS:] if e.request.get("checkpoint")]
    uids = Counter(uid for (uid,) in world.rows("SELECT metadata_uid FROM events"))
    broken = [f"{uid}: {n} events" for uid, n in uids.items() if n > 1]
    broken += [f"{uid}: never was at the source" for uid in uids.keys() - {thing.id for thing in things}]
    if not whole:
        return broken + [f"{verdict} without a whole collection"] * (verdict in GREEN)
    last, at = (dt.datetime.fromisoformat(text) for text in (whole[-1].request["checkpoint"], whole[-1].collected_at))
    for thing in things:
        if thing.id in uids:
            continue
        offered = thing.visible <= at and (thing.gone is None or thing.gone > at + HOUR) and thing.stamp < last
        if offered and thing.late <= case.look_back and thing.id not in world.withheld:
            broken.append(f"{thing.id}: stamped {thing.stamp}, visible {thing.visible}, lost by the collection at {at}")
        if verdict in GREEN and thing.stamp.date() == JUDGED.date() and _told(case, thing, asked, at):
            broken.append(f"{thing.id}: missing of a day that is {verdict}")
    return broken


def _told(case: Case, thing: Thing, asked: list[dt.datetime], at: dt.datetime) -> bool:
    """Whether the day's verdict must tell of the record: visible before the last whole collection, unless late and deleted between two."""
    if thing.visible > at or not case.known(thing):
        return False
    return thing.late <= case.lag or thing.gone is None or any(thing.visible <= one < thing.gone for one in asked)


class Stage:
    """Templates of a case, and a fresh copy for each history."""

    def __init__(self, case: Case, root: Path) -> None:
        shared = Path("/dev/shm")
        if os.access(shared, os.W_OK):
            self._folder = tempfile.TemporaryDirectory(dir=shared)
            root = Path(self._folder.name)
        self.case, self._root = case, root
        for variant in range(case.variants):
            folder = root / f"template-{variant}"
            folder.mkdir()
            template(case, folder, variant)

    def play(self, seed: int) -> Outcome:
        """The history of that seed."""
        copy = self._root / "copy"  # always there: an engine is kept for a lake's place
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._root / f"template-{seed % self.case.variants}", copy)
        with mock.patch.object(os, "fsync"):  # nothing here takes the machine's power away
            return play(self.case, copy, seed)


def caught(stage: Stage, name: str, most: int, first: int = 0) -> int | None:
    """The first of `most` histories that finds the mutant; `first`, where it found it before, is tried before the others."""
    where, attribute, wrong = stage.case.mutants[name]
    with mock.patch.object(where, attribute, wrong):
        return next((seed for seed in [first, *range(most)] if stage.play(seed).broken), None)
