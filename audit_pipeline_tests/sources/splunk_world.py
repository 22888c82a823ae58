"""A Splunk, a lake, and the pipeline's own steps between them: collect, index, unify, judge."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_pipeline.formats.splunk_audit import FORMAT
from audit_pipeline.lake import manifest, raw
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Source, opening
from audit_pipeline.sources.collect import Collected
from audit_pipeline.sources.http import Waiting
from audit_pipeline.sources.splunk import open_source
from audit_pipeline_tests.sources.lives import BEGIN, DAY, SOURCE, Thing, World
from audit_pipeline_tests.sources.world import RealClock
from audit_pipeline_tests.stubs.splunk import SECRET, Event, Splunk
from audit_pipeline_tests.stubs.wire import Time, Transport

SECOND = dt.timedelta(seconds=1)
LAG = dt.timedelta(minutes=1)
URL = "http://localhost:8089"
"""Without TLS: there is no socket, and `test_http` has the certificates."""


def event(name: str, at: dt.datetime, indexed: dt.datetime | None = None, visible: dt.datetime | None = None, **fields: Any) -> Event:  # fmt: skip
    """An event whose `metadata_uid` is its name (`bucket-place`), indexed a second after its time, and searchable a second later."""
    bkt, _, cd = name.partition("-")
    raw = f"Audit:[timestamp={at:%m-%d-%Y %H:%M:%S.%f}, user=ann, action=search, info=granted , search='index=x | head {cd}']"
    indexed = indexed or at + SECOND
    return Event(bkt, cd, at, indexed, visible or indexed + SECOND, **{"raw": raw, **fields})


class SplunkWorld(World):
    """One source over one search head; `now` is the time of both."""

    def __init__(self, root: Path, seed: int = 0, *, auth: dict[str, Any] | None = None, **options: Any) -> None:
        (root / "token").write_text(SECRET + "\n")
        http = {"url": URL, "auth": auth or {"bearer": {"file": "token"}}}
        source = {"type": "splunk", "format": "splunk_audit", "http": http, "options": {"index": "_audit"} | options}
        text = json.dumps({"start": BEGIN.date().isoformat(), "sources": {SOURCE: source}})
        super().__init__(Settings.from_text(text, root / "pipeline.yaml"), FORMAT)
        self.splunk = Splunk(BEGIN, seed=seed)
        self.splunk.before = lambda kind: self.before(kind) if self.before else None
        self.fired, self.asked = self.splunk.fired, self.splunk.asked
        self.time, self._seed = Time(), seed

    def offer(self, things: Sequence[Thing]) -> None:
        """Events become searchable `lag` after they were indexed: that is what it is for."""
        self.splunk.events = [event(t.id, t.stamp, t.visible - LAG - SECOND, t.visible, gone=t.gone) for t in things]

    def open(self) -> Source:
        self.splunk.now = self.now
        waiting = Waiting(self.time.sleep, self.time.monotonic, self._seed)
        made = opening(self.settings, SOURCE, FORMAT)
        transport = Transport(self.splunk, self.time)
        return open_source(replace(made, waiting=waiting, transport=transport, clock=RealClock(self.now)))

    def heal(self) -> None:
        self.splunk.plan = []

    def received(self) -> list[str]:
        """Names of all events in the answers that are kept, each once, sorted."""
        found: set[str] = set()
        for entry in manifest.entries(self.lake, SOURCE):
            for _, data in raw.members(self.lake, entry, range(len(entry.members))):
                rows = [json.loads(line).get("result") for line in data.splitlines()]
                found.update(f"{row['_bkt']}-{row['_cd']}" for row in rows if row)
        return sorted(found)

    def night(self, at: dt.datetime) -> Collected:
        """Collect, compute the days that it touched, judge the day before `at`."""
        got = self.collect(at)
        self.build()
        self.verdict((at - DAY).date())
        return got
