"""Lives of a search store, Elasticsearch and OpenSearch in turns: what may go wrong with a request or a page, and wrong collectors."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from audit_pipeline.formats.ecs import FORMAT
from audit_pipeline.sources import _search, elasticsearch
from audit_pipeline.sources.base import Source
from audit_pipeline_tests.sources.lives import HOUR, SECOND, Case, Life, Mutant, Thing
from audit_pipeline_tests.sources.search_world import SearchWorld, document
from audit_pipeline_tests.stubs.elasticsearch import Doc

_WIRE = ["429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type", "unauthorized", "vanished"]
_PAGE = ["shards", "timed_out", "pit_lost", "again"]


class _Life(Life):
    """The engine's world over a search store."""

    source = "search"

    def __init__(self, root: Path, seed: int) -> None:
        opensearch = seed % 2 == 1
        self._inner = SearchWorld(root, opensearch=opensearch, seed=seed, page_size=40, look_back="12h", lag="2m")
        super().__init__(self._inner.settings, FORMAT)
        self._store = self._inner.store
        self.fired = self._store.fired
        self.asked = self._store.asked
        self._store.before = lambda kind: self.before(kind) if self.before else None
        self._store.tick = random.Random(seed).choice([0, 1, 20]) * SECOND

    def offer(self, things: Sequence[Thing]) -> None:
        docs = [document(thing.id, thing.stamp) for thing in things]
        self._store.docs = [Doc(d.index, d.id, d.source, t.visible, t.gone) for d, t in zip(docs, things, strict=True)]

    def off(self, skew: dt.timedelta) -> None:
        self._store.skew = skew

    def open(self) -> Source:
        self._store.now = self.now
        return self._inner.source()

    def plan(self, rng: random.Random) -> None:
        kinds = ["edge", "count", "open", "page", "page", "page"]
        wire = [(rng.choice(kinds), rng.choice(_WIRE)) for _ in range(rng.choice([0, 0, 1, 2]))]
        self._store.plan = wire + [("page", rng.choice(_PAGE)) for _ in range(rng.choice([0, 0, 0, 1, 2]))]

    def heal(self) -> None:
        self._store.plan = []


_PAGES = _search.Search._page
_COLLECT = elasticsearch.SearchSource.collect


def _untied(self: Any, pit: str, low: str, high: str, after: list[Any] | None) -> Any:
    return _PAGES(self, pit, low, high, after and after[:1])


def _early(self: Any, collection: Any) -> Iterator[Any]:
    """The checkpoint is set as soon as the window is known."""
    for n, item in enumerate(_COLLECT(self, collection)):
        if n == 0:
            collection.request["checkpoint"] = collection.request["to"]
        yield item


class _Elasticsearch(Case):
    name = "elasticsearch"
    look_back = 12 * HOUR
    lag = dt.timedelta(minutes=2)
    variants = 2
    skews = (-3, -1, 1, 3)
    mutants: ClassVar[Mapping[str, Mutant]] = {
        "no overlap": (elasticsearch.SearchSource, "_first", lambda self, past, until: max(self._start, min(past.checkpoint or self._start, until))),
        "checkpoint too early": (elasticsearch.SearchSource, "collect", _early),
        "shard failure ignored": (elasticsearch, "_trouble", lambda page: {}),
        "tie at page edge": (_search.Search, "_page", _untied),
        "no count": (elasticsearch.SearchSource, "_count", lambda self, search, until: {}),
        "deletion not noticed": (elasticsearch.SearchSource, "_unread", lambda self, past, oldest, until: None),
    }  # fmt: skip

    def world(self, root: Path, seed: int) -> Life:
        return _Life(root, seed)


CASE = _Elasticsearch()
