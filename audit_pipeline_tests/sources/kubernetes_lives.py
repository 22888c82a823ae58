"""Lives of an API server's log: rotation, packing, deletion, unfinished lines, dropped events, restarts; and wrong collectors.

An event is received at its stamp and written when it is visible. What the server dropped was never offered; the day must tell of it.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from audit_pipeline.lake import manifest
from audit_pipeline.sources import _kubernetes_account as account
from audit_pipeline.sources import _kubernetes_log as log
from audit_pipeline.sources import _kubernetes_metrics as metrics
from audit_pipeline.sources import files, kubernetes
from audit_pipeline.sources.base import Collection, Source
from audit_pipeline_tests.sources.kubernetes_world import KubernetesWorld
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR, Case, Life, Mutant, Thing
from audit_pipeline_tests.stubs.kubernetes import event

LAG = dt.timedelta(minutes=2)
_WIRE = ["503", "429", "refused", "cut", "slow", "content_type", "unauthorized", "forbidden", "no_audit", "short"]
_CHANCES = {
    "drop": 0.15, "lose": 0.1, "restart": 0.1, "another server": 0.05, "half a line": 0.3, "half packed": 0.3, "packed while read": 0.15,
    "purge": 0.15,
}  # fmt: skip
"""`drop` is counted as an error, `lose` as an event only; `purge` deletes copies that nobody has read."""
_COUNTED = {"drop", "lose", "restart", "another server"}
"""Without counters nobody can tell."""


class _Life(KubernetesWorld, Life):
    """What happens to the log between two collections is drawn when the second begins."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, compress=seed % 3 == 1, http=seed % 3 != 2)
        self._counts = seed % 3 != 2
        self._rng, self._state = random.Random(seed), root / "server.json"
        self._things: list[Thing] = []
        self._done: set[str] = set()
        self._unread: dict[str, set[str]] = {"drop": set(), "lose": set()}
        """since counters were read last"""
        self._restarted = False
        self.untold: set[str] = set()
        """dropped by a process that ended before its counters were read again, or lost beside a restart: lines cannot be counted then"""
        self._rest: tuple[dict[str, Any], bytes] | None = None
        self._half: Path | None = None
        self._will: set[str] = set()
        if self._state.exists():  # a copy of the template
            told = json.loads(self._state.read_text())
            self.server.events, self._done = told["events"], set(told["done"])

    def offer(self, things: Sequence[Thing]) -> None:
        self._things = sorted(things, key=lambda thing: thing.visible)

    def off(self, skew: dt.timedelta) -> None:
        self.server.skew = skew

    def plan(self, rng: random.Random) -> None:
        self.server.plan = [("metrics", rng.choice(_WIRE)) for _ in range(rng.choice([0, 0, 0, 0, 1, 6]))]
        self._will = {word for word, chance in _CHANCES.items() if rng.random() < chance}
        if not self._counts:
            self._will -= _COUNTED

    def heal(self) -> None:
        self.server.plan, self._will = [], set()
        self.listed = lambda: None
        self.server.started, self.server.events = self._own

    def open(self) -> Source:
        source = super().open()
        if (self.root / "lake").exists() and self._read():
            self._unread, self._restarted = {"drop": set(), "lose": set()}, False
        self._live()
        self._own = (self.server.started, self.server.events)
        if "another server" in self._will:
            self.server.started, self.server.events = BEGIN - DAY, 7
        if "packed while read" in self._will:
            self.listed = lambda: [self.server.pack(copy) for copy in self._plain()[-1:]]
        self.fired.update(self._will)
        self._state.write_text(json.dumps({"events": self.server.events, "done": sorted(self._done)}))
        return source

    def _read(self) -> bool:
        known = manifest.entries(self.lake, self.source)
        return bool(known) and "counters" in known[-1].request

    def _plain(self) -> list[Path]:
        return [copy for copy in self.server.copies() if copy.suffix == ".log" and copy != self._half]

    def _live(self) -> None:
        """Up to `now`: events are written as they become visible, the log is rotated, old copies go."""
        self._finish()
        due = [thing for thing in self._things if thing.visible <= self.now and thing.id not in self._done]
        self._done |= {thing.id for thing in due}
        turns = {self._rng.randrange(len(due)) for _ in range(self._rng.choice([0, 0, 1, 3]))} if due else set()
        restart = self._rng.randrange(len(due)) if "restart" in self._will and due else None
        lost = {kind: self._some(due) for kind in ("drop", "lose") if kind in self._will}
        batch: list[dict[str, Any]] = []
        for n, thing in enumerate(due):
            self.server.now = thing.visible
            if n in turns or n == restart:
                self.server.write(*batch)
                batch = []
                self._turn(rotate=n in turns, restart=n == restart)
            kind = next((kind for kind, ids in lost.items() if thing.id in ids), None)
            if kind is None:
                batch.append(event(thing.id, thing.stamp, thing.visible + self.server.skew))
            else:
                self._lose(thing, kind)
            if n == 1 and "purge" in self._will and due[0].late <= LAG and due[1].late <= LAG:
                self.server.write(*batch)
                batch = []
                self._purge()
        self.server.write(*batch)
        self.server.now = self.now
        self.untold |= self._unread["lose"] if self._restarted else set()
        self._forget()
        self._begin()

    def _turn(self, *, rotate: bool, restart: bool) -> None:
        if rotate and self.server.log.exists():
            self.server.rotate()
            self.fired["rotated"] += 1
        if restart:
            self.untold |= self._unread["drop"]
            self._restarted = True
            self.server.restart()

    def _purge(self) -> None:
        """The copies are deleted, with what nobody has read of them: two events at least."""
        self.server.rotate()
        for copy in self.server.copies():
            self.withheld |= _ids(copy)
            copy.unlink()

    def _some(self, due: Sequence[Thing]) -> set[str]:
        """An event belongs to the day in which its request was received: of a long one that is not the day in which it is dropped."""
        prompt = [thing.id for thing in due if thing.late <= LAG]
        return set(self._rng.sample(prompt, min(3, len(prompt))))

    def _lose(self, thing: Thing, kind: str) -> None:
        self.withheld.add(thing.id)
        self._unread[kind].add(thing.id)
        if kind == "drop":
            self.server.drop()
        else:
            self.server.events += 1

    def _forget(self) -> None:
        """Copies whose events are all gone are deleted, oldest first."""
        gone = {thing.id for thing in self._things if thing.gone and thing.gone <= self.now}
        for copy in self.server.copies():
            if not _ids(copy) <= gone:
                break
            copy.unlink()
            self.fired["copy deleted"] += 1

    def _begin(self) -> None:
        """What is half done when the collector comes: a line, a packed copy."""
        later = [thing for thing in self._things if thing.id not in self._done]
        if "half a line" in self._will and later and self.server.log.exists():
            thing = later[0]
            self._done.add(thing.id)
            one = event(thing.id, thing.stamp, self.now + self.server.skew)
            self._rest = one, self.server.begin(one)
        plain = self._plain()
        if "half packed" in self._will and plain:
            self._half = plain[-1].with_name(plain[-1].name + ".gz")
            self._half.write_bytes(gzip.compress(plain[-1].read_bytes())[:-30])

    def _finish(self) -> None:
        if self._rest is not None:
            self.server.end(self._rest[1])
            self._rest = None
        if self._half is not None:
            plain = self._half.with_suffix("")
            self._half = None
            if plain.exists():
                self.server.pack(plain)


def _ids(copy: Path) -> set[str]:
    data = copy.read_bytes()
    return {json.loads(line)["auditID"] for line in (gzip.decompress(data) if copy.suffix == ".gz" else data).splitlines()}  # fmt: skip


_SLICES = files._slices
_FIND = log.RotatedLog._find


def _by_name(chunks: Any, size: int, known: Any, name: str, present: Any) -> Any:
    """A log is what has its name, and goes on where it was left."""
    ends = [end for (end, _), names in known.streams.items() if name in names and end <= size]
    data = b"".join(chunks)[: max(ends, default=0)]
    return len(data), hashlib.sha256(data)


def _unfinished(handle: Any, final: bool) -> Iterator[bytes]:
    return _SLICES(handle, True)


def _live_only(self: Any, collection: Collection) -> Any:
    self.files = tuple(file for file in _FIND(self, collection) if file.path.endswith("audit.log"))
    self.firsts = ()
    return list(self.files)


class _Kubernetes(Case):
    name = "kubernetes"
    look_back = 12 * HOUR
    lag = LAG
    variants = 3
    skews = (-3, -1, 1, 3)
    mutants: ClassVar[Mapping[str, Mutant]] = {
        "known by name": (files, "continued", _by_name),
        "half a line taken": (files, "_slices", _unfinished),
        "copies ignored": (log.RotatedLog, "_find", _live_only),
        "deletion not noticed": (kubernetes, "_deleted", lambda log, collection: []),
        "drops ignored": (account.Account, "_dropped", lambda self, after: []),
        "lines not counted": (account.Account, "_short", lambda self, before, lines: 0),
        "another server believed": (metrics.Counters, "foreign", lambda self, old: False),
        "counters may fail": (kubernetes, "METRICS_FAILED", "restarted"),  # type: ignore[dict-item]
    }  # fmt: skip

    def world(self, root: Path, seed: int) -> Life:
        self._world = _Life(root, seed)
        return self._world

    def known(self, thing: Thing) -> bool:
        return thing.id not in self._world.untold


CASE = _Kubernetes()
