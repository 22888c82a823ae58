"""A store's count of its documents holds where they become fewer events, of other days: nothing looks lost, and no loss is hidden."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.formats import indexing, unify
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import format_of
from audit_pipeline_tests.formats.test_routed import k8s
from audit_pipeline_tests.sources.search_world import BEGIN, DAY, SOURCE, URL, SearchWorld
from audit_pipeline_tests.stubs.elasticsearch import Doc

STEP = dt.timedelta(minutes=20)
SHIPPED = dt.timedelta(minutes=9)
"""So much later than it happened a record is stored, with that time as its own."""
THREE = DAY + dt.timedelta(hours=3)
LAST = 3
NEEDLE = f'"gte":"{BEGIN + LAST * DAY:%Y-%m-%dT00:00:00}'.encode()


class RoutedSearch(SearchWorld):
    """The store holds requests of an API server, two stages each, and a few documents of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        rules = [{"format": "kubernetes_audit", "when": {"dataset": "k8s"}}]
        about: dict[str, Any] = {
            "http": {"url": URL, "auth": {"api_key": {"file": "key"}}},
            "options": {"index": "logs-audit"},
        }
        source = about | {"type": "elasticsearch", "format": rules}
        text = json.dumps({"start": str(BEGIN.date()), "sources": {SOURCE: source}})
        self.settings = Settings.from_text(text, root / "pipeline.yaml")

    def build(self) -> None:
        form = format_of(self.settings, SOURCE)
        indexing.ensure(self.lake, SOURCE, form)
        for day in indexing.indexed_days(self.lake, SOURCE):
            unify.build(self.lake, SOURCE, form, day)

    def fill(self, night: int) -> None:
        """A day: the last request of a day is stored on the next one."""
        for n in range(72):
            at = BEGIN + night * DAY + n * STEP + dt.timedelta(minutes=14)
            for stage in ("RequestReceived", "ResponseComplete"):
                event = k8s(f"{night}-{n}", stage, requestReceivedTimestamp=f"{at:%Y-%m-%dT%H:%M:%S.000000Z}")
                stored = at + SHIPPED
                source = {"@timestamp": stored.isoformat(), "event": {"dataset": "k8s", "original": json.dumps(event)}}
                self.store.docs.append(Doc("logs-audit", f"{night}-{n}-{stage}", source, stored + dt.timedelta(seconds=1)))  # fmt: skip
        own = BEGIN + night * DAY + dt.timedelta(hours=7)
        self.store.docs.append(Doc("logs-audit", f"{night}-own", {"@timestamp": own.isoformat()}, own))


@pytest.fixture
def world(tmp_path: Path) -> RoutedSearch:
    found = RoutedSearch(tmp_path)
    for night in range(LAST):
        found.fill(night)
        found.night(BEGIN + night * DAY + THREE)
    found.fill(LAST)
    return found


def test_stages_and_another_clock_are_no_loss(world: RoutedSearch) -> None:
    world.night(BEGIN + LAST * DAY + THREE)
    verdict, reasons = world.verdict((BEGIN + LAST * DAY).date())
    assert (verdict, reasons) == ("proven", {})
    day = (BEGIN + LAST * DAY).date()
    assert world.rows(f"SELECT count(*), sum(x_records) - sum(x_duplicates), count(*) FILTER (x_format LIKE '%unmatched') FROM events WHERE day = '{day}'") == [(73, 145, 1)]  # fmt: skip


@pytest.mark.parametrize("more", [1, 3])
def test_documents_that_were_not_received_are_missing(
    world: RoutedSearch, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = world.store.handle

    def counts_more(method: str, path: str, params: Any, headers: Any, body: bytes) -> Any:
        reply = answer(method, path, params, headers, body)
        asked = path.endswith("/_count") and NEEDLE in body
        return dataclasses.replace(reply, data=reply.data | {"count": reply.data["count"] + more}) if asked else reply

    monkeypatch.setattr(world.store, "handle", counts_more)
    world.night(BEGIN + LAST * DAY + THREE)
    verdict, reasons = world.verdict((BEGIN + LAST * DAY).date())
    assert verdict == "partial"
    assert f"{more} are missing" in reasons["mismatch"]
