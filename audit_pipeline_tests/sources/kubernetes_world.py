"""An API server with its log, a lake, and the pipeline's own steps between them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_pipeline.formats.kubernetes_audit import FORMAT
from audit_pipeline.lake import manifest
from audit_pipeline.lake.raw import Item
from audit_pipeline.settings import Settings
from audit_pipeline.sources import kubernetes
from audit_pipeline.sources._kubernetes_log import RotatedLog
from audit_pipeline.sources.base import Collection, Source, opening
from audit_pipeline.sources.collect import Collected
from audit_pipeline.sources.http import Waiting
from audit_pipeline.sources.identity import Found
from audit_pipeline_tests.sources.lives import BEGIN, DAY, World
from audit_pipeline_tests.sources.world import RealClock
from audit_pipeline_tests.stubs.kubernetes import SECRET, ApiServer, event
from audit_pipeline_tests.stubs.wire import Time, Transport

URL = "http://localhost:6443"
"""Without TLS: there is no socket, and `test_http` has the certificates."""


class _Watched(kubernetes.KubernetesSource):
    """Tells the world of each item, so that a process may end there, and when files were listed and are not read yet."""

    world: KubernetesWorld

    def collect(self, collection: Collection) -> Iterator[Item]:
        for item in super().collect(collection):
            self.world.met("item")
            yield item

    def log(self) -> RotatedLog:
        found = super().log()
        find = found._find

        def listed(collection: Collection) -> list[Found]:
            files = find(collection)
            self.world.listed()
            return files

        found._find = listed  # type: ignore[method-assign]
        return found


class KubernetesWorld(World):
    """One source over one API server."""

    source = "cluster"

    def __init__(self, root: Path, *, http: bool = True, compress: bool = False, maxbackup: int = 100, **options: Any) -> None:  # fmt: skip
        (root / "token").write_text(SECRET + "\n")
        source: dict[str, Any] = {"type": "kubernetes", "format": "kubernetes_audit", "paths": ["logs/audit*.log*"]}
        if http:
            source["http"] = {"url": URL, "auth": {"bearer": {"file": "token"}}}
        text = json.dumps({"start": f"{BEGIN.date()}", "sources": {self.source: source | {"options": options}}})
        super().__init__(Settings.from_text(text, root / "pipeline.yaml"), FORMAT)
        self.root, self.time = root, Time()
        self.server = ApiServer(root / "logs", BEGIN, maxbackup=maxbackup, compress=compress)
        self.fired, self.asked = self.server.fired, self.server.asked
        self.server.before = lambda _: self.before("request") if self.before else None
        self.listed: Callable[[], object] = lambda: None

    def met(self, kind: str) -> None:
        self.asked[kind] += 1
        if self.before:
            self.before(kind)

    def open(self) -> Source:
        self.server.now = self.now
        made = opening(self.settings, self.source, FORMAT)
        waiting = Waiting(self.time.sleep, self.time.monotonic)
        found = _Watched(replace(made, waiting=waiting, transport=Transport(self.server, self.time), clock=RealClock(self.now)))  # fmt: skip
        found.world = self
        return found

    def happen(self, *names: str, at: dt.datetime) -> None:
        """Audited at that time, a second apart."""
        for n, name in enumerate(names):
            self.server.now = at + n * dt.timedelta(seconds=1)
            self.server.write(event(name, self.server.now))

    def night(self, at: dt.datetime) -> Collected:
        """Collect, compute the days that it touched, judge the day before `at`."""
        got = self.collect(at)
        self.build()
        self.verdict((at - DAY).date())
        return got

    def request(self) -> dict[str, Any]:
        """Of the newest entry."""
        return manifest.entries(self.lake, self.source)[-1].request
