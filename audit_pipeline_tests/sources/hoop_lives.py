"""Lives of a hoop.dev gateway, with and without its admin audit log in turns: what may go wrong with a request, and wrong collectors."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from audit_pipeline.sources import _hoop, hoop
from audit_pipeline_tests.sources.hoop_world import HoopWorld
from audit_pipeline_tests.sources.lives import HOUR, SECOND, Case, Life, Mutant

_WIRE = ["429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type", "unauthorized", "demoted"]
_PAGE = ["short", "short", "again"]


class _Life(HoopWorld, Life):
    def plan(self, rng: random.Random) -> None:
        kinds = ["me", "count", "sessions", "acts"]
        wire = [(rng.choice(kinds), rng.choice(_WIRE)) for _ in range(rng.choice([0, 0, 1, 2]))]
        wrong = [(rng.choice(["sessions", "acts"]), rng.choice(_PAGE)) for _ in range(rng.choice([0, 0, 0, 1, 4]))]
        self.gateway.plan = wire + wrong


_COLLECT = hoop.HoopSource.collect


def _early(self: Any, collection: Any) -> Iterator[Any]:
    """The checkpoint is set as soon as the window is known."""
    for n, item in enumerate(_COLLECT(self, collection)):
        if n == 0:
            collection.request["checkpoint"] = collection.request["to"]
        yield item


def _once(self: Any, ask: Any, what: str, alone: Any = None) -> Iterator[Any]:
    """A list is believed to be whole as it came."""
    number, more = 0, True
    while more:
        page = ask(number, 100)
        yield page
        number, more = number + 1, page.more


_SEES_ALL: Any = property(lambda self: True)


class _Hoop(Case):
    name = "hoop"
    look_back = 12 * HOUR
    lag = dt.timedelta(minutes=2)
    variants = 2
    skews = (-3, -1, 1, 3)
    mutants: ClassVar[Mapping[str, Mutant]] = {
        "no overlap": (hoop.HoopSource, "_first", lambda self, past, until: max(self._start, min(past.checkpoint or self._start, until))),
        "checkpoint too early": (hoop.HoopSource, "collect", _early),
        "short list believed": (_hoop.Gateway, "_whole", _once),
        "role not asked": (_hoop.Me, "sees_all", _SEES_ALL),
        "no count": (hoop.HoopSource, "_count", lambda self, gateway, until: {}),
        "deletion not noticed": (hoop.HoopSource, "_lost", lambda *_: None),
    }  # fmt: skip

    def world(self, root: Path, seed: int) -> Life:
        found = _Life(root, seed=seed, look_back="12h", lag="2m", audit_log=seed % 2 == 0)
        found.gateway.tick = random.Random(seed).choice([0, 1, 20]) * SECOND
        return found


CASE = _Hoop()
