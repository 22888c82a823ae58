"""A Datadog organisation, a lake, and the pipeline's own steps between them: collect, index, unify, judge."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_pipeline.settings import Settings
from audit_pipeline.sources import collect as collecting
from audit_pipeline.sources.base import Source, opening
from audit_pipeline.sources.datadog import DatadogSource
from audit_pipeline.sources.http import Waiting
from audit_pipeline_tests.sources.lives import BEGIN, DAY, SOURCE, Thing, World
from audit_pipeline_tests.sources.world import RealClock
from audit_pipeline_tests.stubs.datadog import API_KEY, APP_KEY, Datadog, Event
from audit_pipeline_tests.stubs.wire import Time, Transport

URL = "http://localhost:9400"
"""Without TLS: there is no socket, and `test_http` has the certificates."""
LOGIN: dict[str, Any] = {
    "tags": ["source:audit"], "message": "ann logged in",
    "attributes": {"evt": {"name": "Authentication", "actor": {"type": "USER"}}, "action": "login", "usr": {"email": "ann@example.com"}, "status": "info"},
}  # fmt: skip


def event(n: int | str, at: dt.datetime, visible: dt.datetime | None = None, **fields: Any) -> Event:
    """An event that can be found a second after its time, or from `visible` on."""
    kind = fields.pop("kind", "audit")
    attributes = fields.pop("attributes", LOGIN if kind == "audit" else {"service": "shop", "host": "web-1", "status": "info", "message": f"line {n}"})  # fmt: skip
    return Event(str(n), at, visible or at + dt.timedelta(seconds=1), kind, attributes=attributes, **fields)


class DatadogWorld(World):
    """One source over one organisation; `moment` is the time of both."""

    def __init__(self, root: Path, *, seed: int = 0, form: Any = "datadog_audit", **options: Any) -> None:
        (root / "api").write_text(API_KEY + "\n")
        (root / "app").write_text(APP_KEY + "\n")
        headers = {"DD-API-KEY": {"file": "api"}, "DD-APPLICATION-KEY": {"file": "app"}}
        source = {
            "type": "datadog",
            "format": form,
            "http": {"url": URL, "auth": {"headers": headers}},
            "options": options,
        }
        text = json.dumps({"start": BEGIN.date().isoformat(), "sources": {SOURCE: source}})
        settings = Settings.from_text(text, root / "pipeline.yaml")
        super().__init__(settings, collecting.format_of(settings, SOURCE))
        self.datadog = Datadog(BEGIN, seed=seed)
        self.fired, self.asked = self.datadog.fired, self.datadog.asked
        self.datadog.before = lambda kind: self.before(kind) if self.before else None
        self.time, self.seed = Time(), seed

    def open(self) -> Source:
        """The configured source, without a socket."""
        self.datadog.now = self.now
        waiting = Waiting(self.time.sleep, self.time.monotonic, self.seed)
        made = opening(self.settings, SOURCE, self.form)
        made = replace(made, waiting=waiting, transport=Transport(self.datadog, self.time), clock=RealClock(self.now))
        return DatadogSource(made)

    def night(self, at: dt.datetime) -> Any:
        """Collect, compute the days that it touched, judge the day before `at`."""
        got = self.collect(at)
        self.build()
        self.verdict((at - DAY).date())
        return got

    def offer(self, things: Sequence[Thing]) -> None:
        options = self.settings.sources[SOURCE].options
        kind = "logs" if options.get("reads") == ["logs"] else "audit"
        tiers = sorted(options.get("storage_tiers", ["indexes"]))
        self.datadog.events = [
            event(thing.id, thing.stamp, thing.visible, kind=kind, gone=thing.gone, tiers=_tiers(thing.id, tiers)) for thing in things
        ]  # fmt: skip

    def off(self, skew: dt.timedelta) -> None:
        self.datadog.skew = skew

    def heal(self) -> None:
        self.datadog.plan = []


def _tiers(uid: str, tiers: list[str]) -> frozenset[str]:
    """One tier, the other, or both, by the id."""
    chosen = sum(uid.encode()) % 3
    return frozenset(tiers if chosen == 2 else tiers[chosen : chosen + 1] or tiers)
