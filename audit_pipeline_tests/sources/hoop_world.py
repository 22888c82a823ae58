"""A hoop.dev gateway, a lake, and the pipeline's own steps between them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_pipeline.formats.hoop import FORMAT
from audit_pipeline.settings import Settings
from audit_pipeline.sources import hoop
from audit_pipeline.sources.base import opening
from audit_pipeline.sources.collect import Collected
from audit_pipeline.sources.http import Waiting
from audit_pipeline_tests.sources.lives import BEGIN, DAY, SECOND, Thing, World
from audit_pipeline_tests.sources.world import RealClock
from audit_pipeline_tests.stubs.hoop import SECRET, Act, Gateway, Session
from audit_pipeline_tests.stubs.wire import Time, Transport

URL = "http://localhost:8009"
"""Without TLS: there is no socket, and `test_http` has the certificates."""


def session(n: int | str, at: dt.datetime, visible: dt.datetime | None = None, **more: Any) -> Session:
    """A session that can be listed a second after it began, or from `visible` on."""
    return Session(f"s-{n}", at, visible or at + SECOND, **more)


def act(n: int | str, at: dt.datetime, visible: dt.datetime | None = None, **more: Any) -> Act:
    """An admin act, likewise."""
    return Act(f"a-{n}", at, visible or at + SECOND, **more)


class HoopWorld(World):
    """One source over one gateway; `now` is the time of both."""

    source = "hoop"

    def __init__(self, root: Path, *, seed: int = 0, auth: dict[str, Any] | None = None, **options: Any) -> None:
        (root / "key").write_text(SECRET + "\n")
        http = {"url": URL, "auth": auth or {"bearer": {"file": "key"}}}
        source = {"type": "hoop", "format": "hoop", "http": http, "options": options}
        text = json.dumps({"start": BEGIN.date().isoformat(), "sources": {self.source: source}})
        super().__init__(Settings.from_text(text, root / "pipeline.yaml"), FORMAT)
        self.gateway = Gateway(BEGIN, seed=seed)
        self.fired, self.asked = self.gateway.fired, self.gateway.asked
        self.gateway.before = lambda kind: self.before(kind) if self.before else None
        self.time, self._seed, self._acts = Time(), seed, options.get("audit_log", True)

    def offer(self, things: Sequence[Thing]) -> None:
        """Sessions; where the admin audit log is read, half of them are its entries, and all those of one instant."""
        acts = {t.id for t in things if self._acts and (t.id[0] == "t" or int(t.id.split("-")[1]) % 2)}
        self.gateway.sessions = [Session(t.id, t.stamp, t.visible, gone=t.gone) for t in things if t.id not in acts]
        self.gateway.acts = [Act(t.id, t.stamp, t.visible, gone=t.gone) for t in things if t.id in acts]

    def off(self, skew: dt.timedelta) -> None:
        self.gateway.skew = skew

    def open(self) -> hoop.HoopSource:
        self.gateway.now = self.now
        waiting = Waiting(self.time.sleep, self.time.monotonic, self._seed)
        made = opening(self.settings, self.source, FORMAT)
        return hoop.open_source(replace(made, waiting=waiting, transport=Transport(self.gateway, self.time), clock=RealClock(self.now)))  # fmt: skip

    def heal(self) -> None:
        self.gateway.plan = []
        self.gateway.role = "auditor"

    def night(self, at: dt.datetime) -> Collected:
        """Collect, compute the days that it touched, judge the day before `at`."""
        got = self.collect(at)
        self.build()
        self.verdict((at - DAY).date())
        return got
