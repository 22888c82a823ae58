"""Lives of a Datadog organisation: its Audit Trail, logs of one tier, and logs of two tiers in turns; and wrong collectors."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from audit_pipeline.sources import _datadog
from audit_pipeline.sources.datadog import DatadogSource
from audit_pipeline_tests.sources.datadog_world import DatadogWorld
from audit_pipeline_tests.sources.lives import HOUR, SECOND, Case, Life, Mutant, Thing

_VARIANTS: list[dict[str, Any]] = [{}, {"reads": ["logs"]}, {"reads": ["logs"], "storage_tiers": ["flex", "indexes"]}]
_WIRE = ["429", "429_reset", "429_seconds", "503", "refused", "cut", "slow", "content_type", "forbidden"]
_PAGE = ["timeout", "warning", "expired", "again", "stuck"]
_COLLECT = DatadogSource.collect
_PAGES = DatadogSource._pages
_UNTIED = _datadog.Api._page


class _Life(DatadogWorld, Life):
    """With faults."""

    def plan(self, rng: random.Random) -> None:
        kinds = ["edge", "count", "page", "page", "page"]
        wire = [(rng.choice(kinds), rng.choice(_WIRE)) for _ in range(rng.choice([0, 0, 1, 2]))]
        self.datadog.plan = wire + [("page", rng.choice(_PAGE)) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
        if rng.random() < 0.1:
            self.datadog.plan.append(("count", rng.choice(["timeout", "warning"])))


def _early(self: Any, collection: Any) -> Iterator[Any]:
    """The checkpoint is set as soon as the window is known."""
    for n, item in enumerate(_COLLECT(self, collection)):
        if n == 0:
            collection.request["checkpoint"] = collection.request["to"]
        yield item


def _by_time(self: Any, part: Any, low: dt.datetime, high: dt.datetime, cursor: str | None) -> Any:
    """In place of the cursor the next page begins a millisecond after the last event."""
    self.reached = getattr(self, "reached", low) if cursor else low
    page = _UNTIED(self, part, self.reached, high, None)
    self.reached = (page.newest or high) + dt.timedelta(milliseconds=1)
    return page


def _one_part(self: Any, api: Any, first: dt.datetime, until: dt.datetime, reading: Any) -> Iterator[Any]:
    """Only the first of the parts is read; all are counted."""
    with mock.patch.object(self, "_settings", self._settings.model_copy(update={"storage_tiers": self._settings.storage_tiers[:1]})):  # fmt: skip
        yield from _PAGES(self, api, first, until, reading)


class _Datadog(Case):
    name = "datadog"
    look_back = 12 * HOUR
    lag = dt.timedelta(minutes=2)
    variants = len(_VARIANTS)
    skews = (-3, -1, 1, 3)
    mutants: ClassVar[Mapping[str, Mutant]] = {
        "no overlap": (DatadogSource, "_first", lambda self, past, tallies, until: max(self._start, min(past.checkpoint or self._start, until))),
        "checkpoint too early": (DatadogSource, "collect", _early),
        "partial answer ignored": (_datadog, "trouble_of", lambda data: []),
        "tie at page edge": (_datadog.Api, "_page", _by_time),
        "no count": (DatadogSource, "_tallies", lambda self, api, until: {}),
        "deletion not noticed": (DatadogSource, "_unread", lambda self, past, entries, oldest, until: []),
        "a tier is left out": (DatadogSource, "_pages", _one_part),
    }  # fmt: skip

    def __init__(self) -> None:
        self._counts = False

    def world(self, root: Path, seed: int) -> Life:
        variant = _VARIANTS[seed % self.variants]
        self._counts = bool(variant)
        world = _Life(root, seed=seed, page_limit=60, window="1d", look_back="12h", lag="2m", **variant)
        world.datadog.tick = random.Random(seed).choice([0, 1, 20]) * SECOND
        return world

    def known(self, thing: Thing) -> bool:
        """The Audit Trail has no count: what is later than the look-back is never seen, as the how-to says."""
        return self._counts or thing.late <= self.look_back


CASE = _Datadog()
