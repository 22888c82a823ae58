"""A search store, a lake, and the pipeline's own steps between them: collect, index, unify, judge."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_pipeline.clock import UTC
from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.ecs import FORMAT
from audit_pipeline.lake import manifest, raw
from audit_pipeline.lake.store import Lake
from audit_pipeline.quality.completeness import assess
from audit_pipeline.settings import Settings
from audit_pipeline.sources import collect as collecting
from audit_pipeline.sources._search import DIALECTS
from audit_pipeline.sources.base import Source, opening
from audit_pipeline.sources.collect import Collected
from audit_pipeline.sources.elasticsearch import SearchSource
from audit_pipeline.sources.http import Waiting
from audit_pipeline_tests.sources.world import RealClock, Stored
from audit_pipeline_tests.stubs.elasticsearch import SECRET, Doc, Store
from audit_pipeline_tests.stubs.wire import Time, Transport

SOURCE = "search"
START = dt.date(2025, 6, 1)
DAY = dt.timedelta(days=1)
BEGIN = dt.datetime(2025, 6, 1, tzinfo=UTC)
URL = "http://localhost:9200"
"""Without TLS: there is no socket, and `test_http` has the certificates."""


def document(n: int | str, at: dt.datetime, visible: dt.datetime | None = None, **fields: Any) -> Doc:
    """A document that can be searched a second after its time, or from `visible` on."""
    source = {"@timestamp": at.isoformat(), "event": {"category": ["authentication"], "type": ["start"], "outcome": "success"}, "user": {"name": "ann"}}  # fmt: skip
    index = fields.pop("index", "logs-audit")
    gone = fields.pop("gone", None)
    return Doc(index, str(n), source | fields, visible or at + dt.timedelta(seconds=1), gone)


class SearchWorld(Stored):
    """One source over one store; `moment` is the time of both."""

    def __init__(self, root: Path, *, opensearch: bool = False, seed: int = 0, **search: Any) -> None:
        kind = "opensearch" if opensearch else "elasticsearch"
        (root / "key").write_text(SECRET + "\n")
        http = {"url": URL, "auth": {"api_key": {"file": "key"}}}
        source = {"type": kind, "format": "ecs", "http": http, "options": {"index": "logs-audit"} | search}
        text = json.dumps({"start": START.isoformat(), "sources": {SOURCE: source}})
        self.settings = Settings.from_text(text, root / "pipeline.yaml")
        self.lake = Lake.open(self.settings.lake_url)
        self.store = Store(BEGIN, opensearch=opensearch, seed=seed)
        self.time = Time()
        self.kind, self.seed = kind, seed
        self.collector: type[SearchSource] = SearchSource

    def source(self) -> Source:
        """The configured source, without a socket."""
        waiting = Waiting(self.time.sleep, self.time.monotonic, self.seed)
        made = opening(self.settings, SOURCE, FORMAT)
        made = replace(made, waiting=waiting, transport=Transport(self.store, self.time), clock=RealClock(self.store.now))  # fmt: skip
        return self.collector(DIALECTS[self.kind], made)

    def collect(self, at: dt.datetime) -> Collected:
        """For the night of the day before `at`."""
        self.store.now = at
        return collecting.gather(self.settings, self.lake, SOURCE, (at - DAY).date(), RealClock(at), self.source())

    def night(self, at: dt.datetime) -> Collected:
        """Collect, compute the days that it touched, judge the day before `at`."""
        got = self.collect(at)
        self.build()
        self.verdict((at - DAY).date())
        return got

    def build(self) -> None:
        indexing.ensure(self.lake, SOURCE, FORMAT)
        for day in indexing.indexed_days(self.lake, SOURCE):
            unify.build(self.lake, SOURCE, FORMAT, day)

    def verdict(self, day: dt.date) -> tuple[str, dict[str, str]]:
        """Verdict and reasons by code."""
        (row,) = assess(self.settings, self.lake, day).to_pylist()
        return row["verdict"], {reason["code"]: reason["detail"] for reason in row["reasons"]}

    def received(self) -> list[str]:
        """Ids of all documents in the pages that are kept, each once, sorted."""
        found: set[str] = set()
        for entry in manifest.entries(self.lake, SOURCE):
            for _, data in raw.members(self.lake, entry, range(len(entry.members))):
                found.update(hit["_id"] for hit in json.loads(data)["hits"]["hits"])
        return sorted(found)
