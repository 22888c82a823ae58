"""Random lives of a search store and its collector, held against the truth: `python -m audit_pipeline_tests.sources.histories 10000`.

Documents appear over a day, late, out of order, many at one instant; polls come at random times and meet faults; the collector is
killed between requests, after its pages, and between segment and manifest entry; the store forgets; its clock is off. Laws, written
without looking at how the collector works:

1. Whatever the store could be asked for at the last collection that says that it was whole is an event: searchable then, not
   deleted, stamped before the window's end, searchable within `look_back` of its stamp. (Later ones too, once a count has met them.)
2. No document is two events, and none is an event that the store never had.
3. Where the day is `proven` or `no_gap_seen`, no document of it that was searchable before the last collection is missing.

What became searchable late and was deleted before the next collection leaves no trace at a store; law 3 cannot be held for that.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.ecs import FORMAT
from audit_pipeline.lake import manifest, raw
from audit_pipeline.sources import _search, elasticsearch
from audit_pipeline_tests.sources.search_world import BEGIN, DAY, SOURCE, SearchWorld, document
from audit_pipeline_tests.stubs.elasticsearch import Doc

JUDGED = BEGIN + 2 * DAY
"""Two days before it are known: its third day can be judged."""
KNOWN_NIGHTS = 2
KNOWN_UNTIL = dt.timedelta(minutes=5)
"""Into the judged day: when the last of them was collected. No document of a history is searchable before, no poll comes earlier."""
HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)
LOOK_BACK = dt.timedelta(hours=12)
LAG = dt.timedelta(minutes=2)
STEP = dt.timedelta(minutes=15)
GREEN = ("proven", "no_gap_seen")
_WIRE = ["429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type", "unauthorized", "vanished"]
_PAGE = ["shards", "timed_out", "pit_lost", "again"]


class KilledError(BaseException):
    """The collector's process ends here."""


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


def rhythm(rng: random.Random, begin: dt.datetime, name: str) -> list[Doc]:
    """A usual day: a document every quarter of an hour, or so."""
    return [document(f"{name}-{n}", begin + n * STEP + rng.randrange(600) * SECOND) for n in range(96)]


def template(root: Path, *, opensearch: bool) -> None:
    """Two usual days, collected and judged."""
    world = _world(root, opensearch=opensearch, seed=0)
    world.store.docs = _before()
    for day in (0, 1):
        world.night(BEGIN + (day + 1) * DAY + KNOWN_UNTIL)


def _before() -> list[Doc]:
    rng = random.Random(7)
    return [*rhythm(rng, BEGIN, "a"), *rhythm(rng, BEGIN + DAY, "b")]


def _world(root: Path, *, opensearch: bool, seed: int) -> SearchWorld:
    return SearchWorld(root, opensearch=opensearch, seed=seed, page_size=40, look_back="12h", lag="2m")


def _documents(rng: random.Random, *, quiet: bool) -> list[Doc]:
    """The judged day's, some late, some at one instant; in `quiet` histories late within the look-back only."""
    found = rhythm(rng, JUDGED, "c")
    instant = JUDGED + rng.randrange(80_000) * SECOND
    found += [document(f"t-{n}", instant) for n in range(rng.choice([0, 41, 80]))]
    share, latest = rng.choice([0.0, 0.1, 0.3]), LOOK_BACK
    if not quiet and rng.random() < 0.25:
        latest = 3 * DAY
    forgets = None if quiet or rng.random() < 0.7 else rng.randrange(8, 40) * HOUR
    made = []
    for doc in found:
        at = dt.datetime.fromisoformat(doc.source["@timestamp"])
        delay = rng.random() * latest if rng.random() < share else rng.randrange(30) * SECOND
        visible = max(at + delay, JUDGED + KNOWN_UNTIL + SECOND)
        made.append(Doc(doc.index, doc.id, doc.source, visible, at + forgets if forgets else None))
    rng.shuffle(made)
    if forgets:
        made += [Doc(d.index, d.id, d.source, d.visible, dt.datetime.fromisoformat(d.source["@timestamp"]) + forgets) for d in _before()]  # fmt: skip
    else:
        made += _before()
    return made


def _skewed(doc: Doc, skew: dt.timedelta) -> Doc:
    stamp = dt.datetime.fromisoformat(doc.source["@timestamp"]) + skew
    return Doc(doc.index, doc.id, doc.source | {"@timestamp": stamp.isoformat()}, doc.visible, doc.gone)


def _polls(rng: random.Random) -> list[dt.datetime]:
    """Some during the day, then a night or two, or three nights with none between."""
    moments = [JUDGED + rng.randrange(600, 86_400) * SECOND for _ in range(rng.randrange(3))]
    nights = rng.choice([[1], [1, 2], [2], [1, 3]])
    return sorted(moments) + [JUDGED + n * DAY + 3 * HOUR for n in nights]


def _faults(rng: random.Random) -> list[tuple[str, str]]:
    kinds = ["edge", "count", "open", "page", "page", "page"]
    wire = [(rng.choice(kinds), rng.choice(_WIRE)) for _ in range(rng.choice([0, 0, 1, 2]))]
    return wire + [("page", rng.choice(_PAGE)) for _ in range(rng.choice([0, 0, 0, 1, 2]))]


@contextlib.contextmanager
def _killing(rng: random.Random, world: SearchWorld, *, quiet: bool) -> Iterator[None]:
    """Perhaps the process ends at some request, or between a segment and its entry."""
    how = rng.choice(["request", "entry", None, None, None, None])
    small = mock.patch.object(raw, "SEGMENT_MEMBERS", rng.choice([2, 20_000]))
    if quiet or how is None:
        with small:
            yield
        return
    world.store.fired[f"killed at a {how}" if how == "request" else "killed before an entry"] += 1
    if how == "entry":
        with small, mock.patch.object(manifest, "append", side_effect=KilledError):
            yield
        return
    last = world.store.asked.total() + rng.randrange(1, 18)

    def die(kind: str) -> None:
        if world.store.asked.total() >= last:
            raise KilledError

    world.store.before = die
    try:
        with small:
            yield
    finally:
        world.store.before = None


def play(root: Path, seed: int) -> Outcome:
    """One history; `root` has a copy of the template of `seed`'s dialect."""
    rng = random.Random(seed)
    quiet = rng.random() < 0.2
    world = _world(root, opensearch=seed % 2 == 1, seed=seed)
    world.store.docs = _documents(rng, quiet=quiet)
    if not quiet and rng.random() < 0.15:
        world.store.skew = rng.choice([-3, -1, 1, 3]) * HOUR
        known = {doc.id for doc in _before()}
        world.store.docs = [doc if doc.id in known else _skewed(doc, world.store.skew) for doc in world.store.docs]
    world.store.tick = rng.choice([0, 1, 20]) * SECOND
    asked: list[dt.datetime] = []
    for at in _polls(rng):
        world.store.plan = [] if quiet else _faults(rng)
        asked.append(at)
        with contextlib.suppress(KilledError), _killing(rng, world, quiet=quiet):
            world.collect(at)
    world.store.plan = []
    world.store.fired += _world_faults(world)
    indexing.ensure(world.lake, SOURCE, FORMAT)
    for days in (0, 1, -1) if world.store.skew else (0,):
        unify.build(world.lake, SOURCE, FORMAT, (JUDGED + days * DAY).date())
    verdict, reasons = world.verdict(JUDGED.date())
    found = Outcome(seed, quiet, verdict, reasons, fired=world.store.fired)
    found.broken = _laws(world, asked, verdict)
    return found


def _world_faults(world: SearchWorld) -> Counter[str]:
    """What was wrong without any request going wrong."""
    late = [doc.visible - dt.datetime.fromisoformat(doc.source["@timestamp"]) + world.store.skew for doc in world.store.docs]  # fmt: skip
    found = {
        "clock off": bool(world.store.skew), "store forgets": any(doc.gone for doc in world.store.docs),
        "late documents": any(LAG < one <= LOOK_BACK for one in late), "later than the look-back": any(one > LOOK_BACK + LAG for one in late),
    }  # fmt: skip
    return Counter({name: 1 for name, happened in found.items() if happened})


def _laws(world: SearchWorld, asked: list[dt.datetime], verdict: str) -> list[str]:
    whole = [e for e in manifest.entries(world.lake, SOURCE)[KNOWN_NIGHTS:] if e.request.get("checkpoint")]
    uids = Counter(uid for (uid,) in world.rows("SELECT metadata_uid FROM events"))
    broken = [f"{uid}: {n} events" for uid, n in uids.items() if n > 1]
    broken += [f"{uid}: never was in the store" for uid in uids.keys() - {doc.id for doc in world.store.docs}]
    if not whole:
        return broken + [f"{verdict} without a whole collection"] * (verdict in GREEN)
    last, at = (dt.datetime.fromisoformat(text) for text in (whole[-1].request["checkpoint"], whole[-1].collected_at))
    for doc in world.store.docs:
        stamp = dt.datetime.fromisoformat(doc.source["@timestamp"])
        offered = doc.visible <= at and (doc.gone is None or doc.gone > at + HOUR) and stamp < last
        late = doc.visible - (stamp - (world.store.skew if doc.id[0] in "ct" else dt.timedelta(0)))
        if offered and late <= LOOK_BACK and doc.id not in uids:
            broken.append(f"{doc.id}: stamped {stamp}, searchable {doc.visible}, lost by the collection at {at}")
        if verdict in GREEN and stamp.date() == JUDGED.date() and doc.id not in uids and _had_to_be_seen(doc, stamp, late, asked, at):  # fmt: skip
            broken.append(f"{doc.id}: missing of a day that is {verdict}")
    return broken


def _had_to_be_seen(doc: Doc, stamp: dt.datetime, late: dt.timedelta, asked: list[dt.datetime], at: dt.datetime) -> bool:  # fmt: skip
    """Whether the day's verdict must tell of the document: searchable before the last whole collection, unless late and deleted between two."""
    if doc.visible > at:
        return False
    return late <= LAG or doc.gone is None or any(doc.visible <= one < doc.gone for one in asked)


class Stage:
    """Templates, and a fresh copy for each history."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for opensearch in (False, True):
            folder = root / f"template-{int(opensearch)}"
            folder.mkdir()
            template(folder, opensearch=opensearch)

    def play(self, seed: int) -> Outcome:
        """The history of that seed."""
        with tempfile.TemporaryDirectory(dir=self._root) as folder:
            copy = Path(folder) / "copy"
            shutil.copytree(self._root / f"template-{seed % 2}", copy)
            with mock.patch.object(os, "fsync"):  # nothing here takes the machine's power away
                return play(copy, seed)


_PAGES = _search.Search._page


def _untied(self: Any, pit: str, low: str, high: str, after: list[Any] | None) -> Any:
    return _PAGES(self, pit, low, high, after and after[:1])


def _early(self: Any, collection: Any) -> Iterator[Any]:
    """The checkpoint is set as soon as the window is known."""
    for n, item in enumerate(_COLLECT(self, collection)):
        if n == 0:
            collection.request["checkpoint"] = collection.request["to"]
        yield item


_COLLECT = elasticsearch.SearchSource.collect
MUTANTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "no overlap": (elasticsearch.SearchSource, "_first", lambda self, past, until: max(self._start, min(past.checkpoint or self._start, until))),
    "checkpoint too early": (elasticsearch.SearchSource, "collect", _early),
    "shard failure ignored": (elasticsearch, "_trouble", lambda page: {}),
    "tie at page edge": (_search.Search, "_page", _untied),
    "no count": (elasticsearch.SearchSource, "_count", lambda self, search, until: {}),
    "deletion not noticed": (elasticsearch.SearchSource, "_unread", lambda self, past, oldest, until: None),
}  # fmt: skip
"""Collectors with one fault each, which histories must find."""


def caught(stage: Stage, name: str, most: int) -> int | None:
    """After how many histories the mutant is found; null where it is not."""
    where, attribute, wrong = MUTANTS[name]
    with mock.patch.object(where, attribute, wrong):
        return next((n + 1 for n in range(most) if stage.play(n).broken), None)


def main(n: int, first: int) -> int:
    """Play them and print what happened; 1 when a law was broken."""
    fired: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        for seed in range(first, first + n):
            found = stage.play(seed)
            fired += found.fired
            verdicts[f"{'quiet' if found.quiet else 'troubled'} {found.verdict}"] += 1
            for line in found.broken:
                print(f"seed {seed}: {line}")
            broken += bool(found.broken)
    print(f"{n} histories from seed {first}, {broken} broken\nverdicts {dict(sorted(verdicts.items()))}\nfired {dict(sorted(fired.items()))}")  # fmt: skip
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
