"""Elasticsearch and OpenSearch: what became visible since the last collection, page by page of a point in time.

Belongs here: the window, the second count, and what the store says about its own completeness. Not here: HTTP (`http`), the search
requests themselves (`_search`), what documents mean (`formats`). Plain HTTP and no vendor's client: those of the two stores refuse
each other's servers, and hide shard failures and headers. Sources: Elastic's and OpenSearch's pages on paginating search results and
on points in time.

Where a collection begins stands in the chain's own entries: `request.checkpoint` of the newest one that was whole. It is written by
the same entry that makes the pages durable, so it cannot be ahead of them. A window with a failed shard sets none and is read again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sources._clocks import earlier
from audit_pipeline.sources._search import DIALECTS, TIME_FIELD, Dialect, Page, Search, SearchSettings
from audit_pipeline.sources._search_rights import grants, horizon_s
from audit_pipeline.sources.base import Collection, Grant, Opening, Probe, SourceError, last_whole, selector
from audit_pipeline.sources.http import Http

Options = SearchSettings
BLOCK = """\
  NAME:
    type: TYPE
    format: ecs                    # documents in the Elastic Common Schema; where other systems' logs lie in the index, a list such as
    # [{format: kubernetes_audit, when: {index: "k8s-audit-*"}}, {format: ecs}]
    http:
      url: https://search.example.com:9200   # change this
      auth:                        # one of api_key, bearer, or username with password; a secret is read from env: NAME or file: PATH
        AUTH
        # headers: {X-Api-Key: {env: AUDIT_SEARCH_KEY}}   # where a gateway before it has headers of its own
      ca_file: null                # PEM file of a private authority; null: those that the system trusts
      timeout: 60s                 # how long one answer may take
      budget: 30m                  # how long a collection may take, with all that is tried again
      rate: null                   # requests a second, at most; null: as fast as it answers
    options:
      index: "logs-audit-*"        # change this: index, data stream or pattern; several with commas
      query: null                  # filter in the store's query language, such as {term: {event.kind: event}}
      visible_field: "@timestamp"  # better: event.ingested, where an ingest pipeline sets it
      look_back: 1d                # how far behind the last collection is read again, for late documents
      lag: 2m                      # how fresh documents are left for the next collection
      page_size: 1000              # documents of a page
      retention: null              # how long the store keeps documents, such as 30d; null: as its life cycles tell, where we may read them
    settles_after: 2h
"""
EXAMPLE = (
    BLOCK.replace("NAME:", "elastic_audit:", 1).replace("TYPE", "elasticsearch").replace("AUTH", "api_key: {env: AUDIT_SEARCH_KEY}")
)  # fmt: skip

RECOUNTED_DAYS = 7
"""So many whole days before the end of a window are counted at the store: later documents show in them."""


@dataclass(frozen=True)
class _Past:
    """What the chain says of earlier collections with the same selection."""

    checkpoint: dt.datetime | None = None
    """up to where everything was read"""
    since: dt.datetime | None = None
    """from where on everything was read"""
    counted: dict[str, int] | None = None
    received: bool = False
    horizon_s: float | None = None

    @classmethod
    def of(cls, entries: list[Entry], chosen: str) -> _Past:
        request = last_whole(entries, chosen)
        if request is None:
            return cls()
        return cls(
            dt.datetime.fromisoformat(request["checkpoint"]),
            dt.datetime.fromisoformat(request["from"]),
            request.get("counted") or {},
            any(found.members for found in entries),
            request.get("horizon_s"),
        )


def open_source(opening: Opening) -> SearchSource:
    """The configured Elasticsearch."""
    return SearchSource(DIALECTS["elasticsearch"], opening)


class SearchSource:
    """A search store; see the module."""

    def __init__(self, dialect: Dialect, opening: Opening) -> None:
        self._dialect, self._opening = dialect, opening
        self._search: SearchSettings = opening.options
        self._start = opening.start

    @property
    def _selector(self) -> str:
        """What is read: with another selection nothing of it was read yet."""
        chosen = [self._search.index, self._search.query, self._search.visible_field]
        return selector(chosen)

    def collect(self, collection: Collection) -> Iterator[Item]:
        """The pages of the window from the last whole collection, less `look_back`, up to `lag` before now.

        Raises:
            SourceError: the store cannot be read to the end; the pages before are kept, and read again next time.
        """
        past = _Past.of(collection.known, self._selector)
        with self._opening.http() as http:
            search = Search(http, self._dialect, self._search)
            oldest = search.edge("asc")
            until = self._until(collection, oldest.date)
            first = self._first(past, until)
            if unread := self._unread(past, oldest.value, until):
                collection.request["unread"] = unread
            collection.remarks += self._without_field(search)
            counted = self._count(search, until)
            first = self._widened(past, counted, first)
            since = min(past.since or self._start, self._start)
            collection.request.update({
                "from": rfc3339(since), "to": rfc3339(until), "window": [rfc3339(first), rfc3339(until)], "selector": self._selector,
                "index": self._search.index, "field": self._search.visible_field,
            })  # fmt: skip
            trouble: dict[str, str] = {}
            for number, page in enumerate(search.pages(first, until)):
                trouble |= _trouble(page)
                if page.hits:
                    name = f"{rfc3339(first)}/{rfc3339(until)}/page-{number:06d}"
                    yield Item(page.body, Member(name=name, offset=0, length=0, sha256=""))
            collection.remarks += [Remark(code, detail) for detail, code in trouble.items()]
            collection.request.update({"reopened": search.reopened, "counted": counted})
            if kept := self._kept(http) or past.horizon_s:
                collection.request["horizon_s"] = kept
            if not trouble:
                collection.request["checkpoint"] = rfc3339(until)

    def _until(self, collection: Collection, theirs: dt.datetime | None) -> dt.datetime:
        """The end of the window: `lag` before now, by the clock that is behind."""
        return earlier(collection, theirs, "the store's") - self._search.lag

    def _first(self, past: _Past, until: dt.datetime) -> dt.datetime:
        """The begin of the window: all where nothing was read yet, or where `start` was moved back."""
        if past.checkpoint is None or past.since is None or self._start < past.since:
            return min(self._start, until)
        return max(self._start, min(past.checkpoint, until) - self._search.look_back)

    def _unread(self, past: _Past, oldest: dt.datetime | None, until: dt.datetime) -> dict[str, str] | None:
        """The stretch behind the last collection that may have been deleted unread: nothing older is left to show that it was not.

        A fact that no later collection heals, so it is kept as one: the days that it touches are partial for good.
        """
        if past.checkpoint is None or not past.received or (oldest is not None and oldest <= past.checkpoint):
            return None
        left = f"the oldest document is of {rfc3339(oldest)}" if oldest else "no document was left"
        detail = (
            f"{left}, the collection before ended at {rfc3339(past.checkpoint)}: what lies between may have been deleted unread. "
            "Collect more often than the store deletes, or keep documents longer"
        )
        return {"from": rfc3339(past.checkpoint), "to": rfc3339(oldest or until), "detail": detail}

    def _kept(self, http: Http) -> float | None:
        """Seconds for which documents are kept: as configured, else as the store tells."""
        if self._search.retention is not None:
            return self._search.retention.total_seconds()
        return horizon_s(http, self._dialect, self._search.index)

    def access(self) -> list[Grant]:
        """Roles and users that reach the index.

        Raises:
            SourceError: the store does not show them to us.
        """
        with self._opening.http() as http:
            return grants(http, self._dialect, self._search.index)

    def _without_field(self, search: Search) -> list[Remark]:
        field = self._search.visible_field
        missing = search.count({"bool": {"must_not": [{"exists": {"field": field}}]}})
        if not missing:
            return []
        detail = f"{missing} documents of {self._search.index} have no {field} and are never found by it: set options.visible_field, or leave them out by options.query"
        return [Remark("source_partial", detail)]

    def _count(self, search: Search, until: dt.datetime) -> dict[str, int]:
        """The store's own count of the last whole days, as of just before they are read."""
        last = until.date()
        days = [last - n * DAY for n in range(RECOUNTED_DAYS, 0, -1)]
        return {
            day.isoformat(): search.count(search.between(midnight(day), midnight(day + DAY), until))
            for day in days
            if midnight(day) >= self._start
        }

    def _widened(self, past: _Past, counted: dict[str, int], first: dt.datetime) -> dt.datetime:
        """Back to a day that has more documents than when it was counted last: they came later than `look_back` allows for."""
        if self._search.visible_field != TIME_FIELD:  # there late documents have a late stamp
            return first
        grown = [day for day, n in counted.items() if past.counted and n > past.counted.get(day, n)]
        return min([first, *(midnight(dt.date.fromisoformat(day)) for day in grown)])

    def probe(self) -> list[Probe]:
        """Whether it can be reached and read, as whom, what is lacking, and what to ask for."""
        from audit_pipeline.sources._search_probe import probes

        try:
            with self._opening.http() as http:
                return probes(http, self._dialect, self._search, self._opening.clock.now())
        except SourceError as error:
            return [Probe("reach", False, str(error))]


def _trouble(page: Page) -> dict[str, str]:
    """What a page says of its own completeness: words to reason code."""
    data: dict[str, Any] = page.data
    shards, found = data.get("_shards") or {}, {}
    if shards.get("failed"):
        found[f"{shards['failed']} of {shards.get('total')} shards failed: documents of theirs are missing"] = (
            "source_partial"
        )
    if data.get("timed_out"):
        found["the search timed out in the store: documents are missing"] = "source_partial"
    if data.get("terminated_early"):
        found["the search was ended early by the store: documents are missing"] = "source_partial"
    if (data.get("_clusters") or {}).get("skipped"):
        found["a remote cluster was skipped: its documents are missing"] = "source_partial"
    if shards.get("total") == 0:
        found["no index matches: nothing can be heard of this source. Check options.index"] = "silent"
    return found
