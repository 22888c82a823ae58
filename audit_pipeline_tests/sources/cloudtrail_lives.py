"""Lives of a trail's bucket: files that come late, again under an old key, of the same minute; digests that come late or are lost; what is
deleted, or emptied in place, before it was read; reads and listings that are refused."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from audit_pipeline.sources import _cloudtrail_asking, _cloudtrail_days, cloudtrail
from audit_pipeline.sources._cloudtrail_layout import DeniedError, Place, Stored
from audit_pipeline.sources.base import Source, SourceError
from audit_pipeline_tests.sources.cloudtrail_world import MINUTE, TrailWorld
from audit_pipeline_tests.sources.lives import DAY, HOUR, JUDGED, Case, Life, Mutant, Thing
from audit_pipeline_tests.stubs.cloudtrail import event, published, signing_key

_FAULTS = ["read refused", "listing refused", "listing fails", "digest lost", "digests late"]


class _Watched(Place):
    """Tells of each request, and refuses some."""

    world: _Life

    def _list(self, key: str, *, deep: bool = False) -> list[dict[str, Any]]:
        self.world.ask("list")
        if self.world.met("listing refused"):
            raise DeniedError(f"{key}: may not be read")
        if self.world.met("listing fails"):
            raise SourceError(f"{key}: cannot be read")
        return super()._list(key, deep=deep)

    def _one(self, key: str) -> bytes | OSError:
        self.world.ask("read")
        return PermissionError(13, "Permission denied") if self.world.met("read refused") else super()._one(key)


@dataclass
class _Delivery:
    """Records that come at once, in a file of their own or into one that lies there already."""

    at: dt.datetime
    gone: dt.datetime | None
    things: list[Thing]
    again: bool
    key: str | None = None


class _Life(TrailWorld, Life):
    """The engine's world over a trail; what happened by `now` is carried out when the source is opened."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, look_back="1d", lag="2m", public_keys="small.json")
        key = signing_key("lives", 1024)  # quick to sign with
        (root / "small.json").write_text(json.dumps(published(key)))
        self.trail.key, self.trail.since, self.trail.place = key, JUDGED - HOUR, self
        self.folder.sidecars = seed % 3 > 0
        self._rng = random.Random(seed)
        self._ahead: list[tuple[dt.datetime, int, Callable[[], None]]] = []
        self._records: dict[str, list[bytes]] = {}
        self._planned: list[tuple[str, int]] = []
        self._delay = 0
        self._empties = self._rng.random() < 0.5
        """whether what is gone leaves an empty file"""
        self._due: list[tuple[dt.datetime, str, bytes, Mapping[str, str]]] = []

    def ask(self, kind: str) -> None:
        self.asked[kind] += 1
        if self.before:
            self.before(kind)

    def met(self, fault: str) -> bool:
        """Whether that fault is due at this request."""
        for n, (name, count) in enumerate(self._planned):
            if name == fault:
                self._planned[n] = (name, count - 1)
                if count == 0:
                    self.fired[fault] += 1
                    return True
        return False

    def offer(self, things: Sequence[Thing]) -> None:
        """A file for what comes within twenty minutes; some of what is late comes into a file of its own time, again."""
        groups: dict[object, _Delivery] = {}
        for thing in sorted(things, key=lambda one: (one.visible, one.id)):
            again = thing.late > HOUR and thing.gone is None and self._rng.random() < 0.3
            # the digest that names it may not be there at three o'clock: then nothing proves it that night, which is said and healed by the next
            again &= thing.visible.hour not in (1, 2)
            span = (6 * HOUR) if thing.stamp < JUDGED else (20 * MINUTE)
            group = (thing.visible - JUDGED) // span, thing.gone and (thing.gone - JUDGED) // span, again and thing.id
            groups.setdefault(group, _Delivery(thing.visible, thing.gone, [], again)).things.append(thing)
        ahead: list[tuple[dt.datetime, int, Callable[[], None]]] = []
        for number, found in enumerate(groups.values()):
            ahead.append((found.at, number, partial(self._deliver, found)))
            if found.gone is not None:
                ahead.append((found.gone, number, partial(self._forget, found)))
        last = max(found.at for found in groups.values())
        if last > JUDGED:
            ahead += [(JUDGED + n * HOUR, -1, self._digest) for n in range((last + 2 * DAY - JUDGED) // HOUR)]
        self._ahead = sorted(ahead, key=lambda one: one[:2])

    def _deliver(self, found: _Delivery) -> None:
        records = [event(thing.id, thing.stamp) for thing in found.things]
        found.key = self._earlier(found) if found.again else None
        if found.key is not None:
            self.fired["delivered again under its key"] += 1
            records = [*self._records[found.key], *records]
        key = found.key or self.trail.name(found.at)
        if found.at < JUDGED - HOUR and (self.folder.root / key).exists():  # it is the template's
            found.key = key
            return
        found.key = self.trail.deliver(found.at, *records, key=key, listed=found.at >= JUDGED - HOUR)
        self._records[found.key] = records

    def _earlier(self, found: _Delivery) -> str | None:
        """The key that the records would have had in time."""
        stamp = found.things[0].stamp
        return max((key for key in self._records if JUDGED <= self._stamp(key) <= stamp), key=self._stamp, default=None)

    def _stamp(self, key: str) -> dt.datetime:
        at = _cloudtrail_days.delivered(key.rsplit("/", 1)[1])
        assert at is not None
        return at

    def _forget(self, found: _Delivery) -> None:
        """Deleted, or emptied in place."""
        if found.key is None or not (self.folder.root / found.key).exists():
            return
        if self._empties:
            self.fired["emptied in place"] += 1
            self.folder.put(found.key, gzip.compress(b'{"Records":[]}', mtime=0), {}, self.now)
        else:
            self.folder.remove(found.key)

    def _digest(self) -> None:
        """Signed on the hour; there some time later."""
        self.trail.digest()

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], at: dt.datetime) -> None:
        """What the trail delivers."""
        if metadata:
            self._due.append((at + self._rng.randrange(10, 50) * MINUTE + self._delay * HOUR, key, data, metadata))
        else:
            self.folder.put(key, data, metadata, at)

    def get(self, key: str) -> bytes:
        return self.folder.get(key)

    def remove(self, key: str) -> None:
        self.folder.remove(key)

    def open(self) -> Source:
        while self._ahead and self._ahead[0][0] <= self.now:
            self._ahead.pop(0)[2]()
        come = [one for one in self._due if one[0] <= self.now]
        for at, key, data, metadata in come:
            self.folder.put(key, data, metadata, at)
        self._due = [one for one in self._due if one[0] > self.now]
        if come and any(name == "digest lost" for name, _ in self._planned):
            self.fired["digest lost"] += 1
            self.folder.remove(self._rng.choice(come)[1])
        source = super().open()
        assert isinstance(source, cloudtrail.CloudTrailSource)
        place = _Watched(self.settings.resolve("bucket"), {})
        place.world = self
        source._place = place
        return source

    def plan(self, rng: random.Random) -> None:
        self._planned = [(rng.choice(_FAULTS), rng.randrange(12)) for _ in range(rng.choice([0, 0, 1, 2]))]
        self._delay = 20 * any(name == "digests late" for name, _ in self._planned)
        self.fired["digests late"] += bool(self._delay)

    def heal(self) -> None:
        self._planned = []


_NEW = cloudtrail.CloudTrailSource._new
_REQUEST = cloudtrail.CloudTrailSource._request
_WRONG = _cloudtrail_days.Days._wrong


def _after_the_last(self: Any, asking: Any, logs: list[Stored], received: Any) -> Iterator[Any]:
    last = max((key for key, _ in asking.past.known), default="")
    return _NEW(self, asking, [one for one in logs if one.key > last], received)


def _by_key(self: Any, asking: Any, logs: list[Stored], received: Any) -> Iterator[Any]:
    keys = {key for key, _ in asking.past.known}
    return _NEW(self, asking, [one for one in logs if one.key not in keys], received)


def _early(self: Any, asking: Any, found: Any) -> dict[str, Any]:
    """The checkpoint is set as soon as the window is known."""
    request: dict[str, Any] = _REQUEST(self, asking, found)
    return {**request, "checkpoint": request["to"]}


def _shrugged(self: Any, detail: str) -> None:
    """A refusal that keeps nothing from being whole."""


class _CloudTrail(Case):
    name = "cloudtrail"
    few = 25
    look_back = DAY
    lag = 2 * MINUTE
    mutants: ClassVar[Mapping[str, Mutant]] = {
        "start after the last key": (cloudtrail.CloudTrailSource, "_new", _after_the_last),
        "etag ignored": (cloudtrail.CloudTrailSource, "_new", _by_key),
        "checkpoint too early": (cloudtrail.CloudTrailSource, "_request", _early),
        "refusal ignored": (_cloudtrail_asking.Asking, "trouble", _shrugged),
        "missing file not noticed": (_cloudtrail_days.Days, "_wrong", lambda self, key, parts, received, **how: bool(received.hashes.get(key)) and _WRONG(self, key, parts, received, **how)),
        "hashes not compared": (_cloudtrail_days.Days, "_wrong", lambda self, key, parts, received, **how: not received.hashes.get(key) and _WRONG(self, key, parts, received, **how)),
        "no look-back": (cloudtrail.CloudTrailSource, "_first", lambda self, past, now: (past.checkpoint or self._opening.start).date()),
    }  # fmt: skip

    def world(self, root: Path, seed: int) -> Life:
        return _Life(root, seed)


CASE = _CloudTrail()
