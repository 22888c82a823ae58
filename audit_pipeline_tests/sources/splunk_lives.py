"""Lives of a Splunk: what may go wrong with a search, and wrong collectors."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from audit_pipeline.sources import _splunk, splunk
from audit_pipeline_tests.sources.lives import HOUR, JUDGED, SECOND, Case, Life, Mutant, Thing
from audit_pipeline_tests.sources.splunk_world import LAG, SplunkWorld

_WIRE = ["429", "429_seconds", "503", "refused", "cut", "slow", "content_type", "unauthorized", "forbidden", "fatal_quota", "fatal", "no_lastrow", "only_preview"]  # fmt: skip
_SAID = ["peer", "undistributed", "finalized", "truncated", "unknown", "preview", "again", "chatter"]


class _Life(SplunkWorld, Life):
    """The engine's world over a search head, some of whose indexers are slow."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed, window="12h", wide_sweep="60d")
        self._random = random.Random(seed)
        self.splunk.tick = self._random.choice([0, 1, 20]) * SECOND
        self._slow = self._random.choice([dt.timedelta(0), HOUR / 2, 5 * HOUR])

    def offer(self, things: Sequence[Thing]) -> None:
        """A slow indexer's events are searchable well after they were indexed: within the look-back, or longer."""
        super().offer(things)
        self.splunk.events = [
            replace(e, indexed=e.indexed - self._random.random() * self._slow)
            if e.time > JUDGED and self._random.random() < 0.2
            else e
            for e in self.splunk.events
        ]
        if self._slow:
            self.fired["slow indexer"] += 1

    def off(self, skew: dt.timedelta) -> None:
        self.splunk.skew = skew
        self.splunk.events = [replace(e, indexed=e.indexed + skew) for e in self.splunk.events]

    def plan(self, rng: random.Random) -> None:
        kinds = ["edge", "count", "rows", "rows", "rows"]
        wire = [(rng.choice(kinds), rng.choice(_WIRE)) for _ in range(rng.choice([0, 0, 1, 2]))]
        said = [(rng.choice(kinds[1:]), rng.choice(_SAID)) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
        self.splunk.plan = wire + said


_COLLECT = splunk.SplunkSource.collect
_STRETCHES = splunk.SplunkSource._stretches


def _early(self: Any, collection: Any) -> Iterator[Any]:
    """The checkpoint is set as soon as the window is known."""
    for n, item in enumerate(_COLLECT(self, collection)):
        if n == 0:
            collection.request["checkpoint"] = collection.request["to"]
        yield item


def _cut_is_whole(kind: str, data: bytes) -> Any:
    """An answer without its last row is taken."""
    if data.startswith(b"{") and b'"FATAL"' not in data:
        data += b'{"preview":false,"lastrow":true}\n'
    return _EXPORT(kind, data)


def _open_edges(self: Any, *given: Any) -> Iterator[Any]:
    """A second is left out where a window begins."""
    for part in _STRETCHES(self, *given):
        yield replace(part, low=part.low + 3600) if part.name == "window" else part


_EXPORT = _splunk.read_export


class _Splunk(Case):
    name = "splunk"
    look_back = 12 * HOUR
    lag = LAG
    skews = (-3, -1)
    mutants: ClassVar[Mapping[str, Mutant]] = {
        "no overlap": (splunk.SplunkSource, "_first", lambda self, past, until: min(past.checkpoint or splunk._seconds(self._start), until)),
        "checkpoint too early": (splunk.SplunkSource, "collect", _early),
        "messages ignored": (splunk.SplunkSource, "_trouble", lambda self, messages: []),
        "last row not asked for": (_splunk, "read_export", _cut_is_whole),
        "days that changed are not read again": (splunk.SplunkSource, "_changed", lambda self, search, past: []),
        "deletion not noticed": (splunk.SplunkSource, "_unread", lambda self, past, oldest: None),
        "no count": (splunk.SplunkSource, "_counts", lambda self, search, until: {}),
        "an hour between two windows": (splunk.SplunkSource, "_stretches", _open_edges),
    }  # fmt: skip

    def world(self, root: Path, seed: int) -> Life:
        return _Life(root, seed)


CASE = _Splunk()
