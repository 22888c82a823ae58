"""The search requests of Elasticsearch and OpenSearch: points in time, pages, counts.

Belongs here: endpoints, bodies, what their answers mean to a reader. Not here: which window is read (`elasticsearch`), HTTP (`http`).

A page follows the one before by `search_after` with a tiebreaker that no two documents share: `_shard_doc` where the store has it,
else `_id`. The end is an empty page. Sources: Elastic, "Paginate search results" and "Open point in time"; OpenSearch, "Paginate
results" and "Point in Time API"; `allow_partial_search_results=false` makes a failed shard an error.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import Field

from audit_pipeline.clock import rfc3339
from audit_pipeline.sections import Duration, Section
from audit_pipeline.sources.base import SourceError
from audit_pipeline.sources.http import Http, RefusedError, TooLargeError

TIME_FIELD = "@timestamp"
"""The event's time, as the Elastic Common Schema and data streams have it."""
KEEP_ALIVE = "5m"
SMALLEST_PAGE = 10
MAX_REOPENED = 20
"""Points in time that may be lost in one collection."""
_FORMAT = "strict_date_optional_time_nanos"
_BREAKER = b"circuit_breaking_exception"
_LOST = b"search_context_missing_exception"
_OVERLAP = dt.timedelta(seconds=1)
"""Read again behind the last document seen when a point in time was lost."""


class SearchSettings(Section):
    """What is read of a search store."""

    index: str = Field(description="index, data stream or pattern; several with commas")
    query: dict[str, Any] | None = Field(default=None, description="filter in the store's query language")
    visible_field: str = Field(
        default="@timestamp",
        description="field by which new documents are found: `event.ingested` where an ingest pipeline sets it",
    )
    look_back: Duration = Field(
        default=dt.timedelta(days=1), description="how far behind the last collection is read again, for late documents"
    )
    lag: Duration = Field(
        default=dt.timedelta(minutes=2), description="how fresh documents are left for the next collection"
    )
    page_size: int = Field(default=1000, ge=1, le=10_000, description="documents of a page")
    retention: Duration | None = Field(
        default=None,
        description="how long the store keeps documents; null: as its life cycles tell, where we may read them",
    )


@dataclass(frozen=True)
class Dialect:
    """Where the two stores differ."""

    name: str
    open_path: str
    open_params: dict[str, str]
    id_key: str
    close_path: str
    many: bool
    """whether the id to close stands in a list"""
    tiebreaker: str
    sort_format: dict[str, str]
    """Elasticsearch needs it where `date` and `date_nanos` are mixed"""


DIALECTS = {
    "elasticsearch": Dialect(
        "elasticsearch", "/_pit", {}, "id", "/_pit", False, "_shard_doc", {"format": _FORMAT, "numeric_type": "date_nanos"}
    ),
    "opensearch": Dialect(
        "opensearch", "/_search/point_in_time", {"allow_partial_pit_creation": "false"}, "pit_id", "/_search/point_in_time", True, "_id", {}
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """One answer, as it was sent."""

    body: bytes
    data: dict[str, Any]
    hits: list[dict[str, Any]]


@dataclass(frozen=True)
class Edge:
    """The oldest or newest document's time, and the store's clock."""

    value: dt.datetime | None
    date: dt.datetime | None


class Search:
    """The requests of one collection."""

    def __init__(self, http: Http, dialect: Dialect, settings: SearchSettings) -> None:
        self._http, self._dialect, self._settings = http, dialect, settings
        self._size = settings.page_size
        self.reopened = 0

    @property
    def _path(self) -> str:
        return "/" + quote(self._settings.index, safe=",*:")  # date math such as <logs-{now/d}> has a slash of its own

    def count(self, query: dict[str, Any]) -> int:
        """How many documents there are, by the count API.

        Raises:
            SourceError: the store does not answer, or not for all shards.
        """
        answer = self._ask("POST", f"{self._path}/_count", {}, {"query": self._filtered(query)})
        found = answer.data.get("count")
        if not isinstance(found, int) or (answer.data.get("_shards") or {}).get("failed"):
            raise SourceError(f"{self._settings.index}: the store cannot count its documents on all shards. See whether its cluster is green.")  # fmt: skip
        return found

    def between(self, start: dt.datetime, end: dt.datetime, until: dt.datetime) -> dict[str, Any]:
        """Documents with an event time of a stretch that are visible by `until`."""
        ranges = [_range(TIME_FIELD, rfc3339(start), rfc3339(end))]
        if self._settings.visible_field != TIME_FIELD:
            ranges.append({"range": {self._settings.visible_field: {"lt": rfc3339(until), "format": _FORMAT}}})
        return {"bool": {"filter": ranges}}

    def edge(self, order: str) -> Edge:
        """The oldest (`asc`) or newest (`desc`) document by the visible field."""
        field = self._settings.visible_field
        body = {
            "size": 1, "query": self._filtered({"exists": {"field": field}}), "sort": [{field: {"order": order, "unmapped_type": "date"}}],
            "docvalue_fields": [{"field": field, "format": _FORMAT}], "_source": False, "track_total_hits": False,
        }  # fmt: skip
        answer = self._ask("POST", f"{self._path}/_search", {"allow_partial_search_results": "false"}, body)
        hits = _hits(answer.data)
        values = (hits[0].get("fields") or {}).get(field) if hits else None
        return Edge(_moment(values[0]) if values else None, answer.date)

    def pages(self, start: dt.datetime, end: dt.datetime) -> Iterator[Page]:
        """All pages of a window of the visible field, and the empty one at its end; a lost point in time is opened anew.

        Raises:
            SourceError: the store cannot be read to the end.
        """
        low, after = rfc3339(start), None
        pit = self._open()
        while True:
            try:
                page = self._page(pit, low, rfc3339(end), after)
            except RefusedError as error:
                if _LOST not in error.body or self.reopened >= MAX_REOPENED:
                    raise
                self.reopened += 1
                pit, low, after = self._open(), self._resumed(after, low), None
                continue
            pit = page.data.get("pit_id") or pit
            yield page
            if not page.hits:
                break
            after = page.hits[-1].get("sort")
            if not isinstance(after, list) or len(after) < 2:
                raise SourceError(f"{self._settings.index}: a document came without its place in the order. Is a proxy in between?")  # fmt: skip
        self._close(pit)

    def _page(self, pit: str, low: str, high: str, after: list[Any] | None) -> Page:
        field = self._settings.visible_field
        body: dict[str, Any] = {
            "query": self._filtered(_range(field, low, high)),
            "sort": [{field: {"order": "asc", "unmapped_type": "date", **self._dialect.sort_format}}, {self._dialect.tiebreaker: "asc"}],
            "pit": {"id": pit, "keep_alive": KEEP_ALIVE}, "track_total_hits": False, "version": True,
        }  # fmt: skip
        if after is not None:
            body["search_after"] = after
        while True:
            smaller = self._size > SMALLEST_PAGE
            try:
                answer = self._http.request(
                    "POST", "/_search", params={"allow_partial_search_results": "false"}, body=body | {"size": self._size}, at_once=(_BREAKER,) if smaller else ()
                )  # fmt: skip
                return Page(answer.body, answer.data, _hits(answer.data))
            except (RefusedError, TooLargeError) as error:
                if not smaller or (isinstance(error, RefusedError) and _BREAKER not in error.body):
                    raise
                self._size = max(SMALLEST_PAGE, self._size // 2)

    def _open(self) -> str:
        answer = self._ask("POST", self._path + self._dialect.open_path, {"keep_alive": KEEP_ALIVE, **self._dialect.open_params}, None)  # fmt: skip
        found = answer.data.get(self._dialect.id_key)
        if not isinstance(found, str):
            raise SourceError(
                f"{self._settings.index}: the store opened no point in time. Is this {self._dialect.name}?"
            )
        return found

    def _close(self, pit: str) -> None:
        """Frees it at once; one that is left expires by itself."""
        with contextlib.suppress(SourceError):
            self._http.request("DELETE", self._dialect.close_path, body={self._dialect.id_key: [pit] if self._dialect.many else pit}, tries=1)  # fmt: skip

    def _resumed(self, after: list[Any] | None, low: str) -> str:
        """Where to go on in a new point in time: a little before the last document seen; its tiebreaker means nothing there."""
        seen = _moment(after[0]) if after else None
        return max(low, rfc3339(seen - _OVERLAP)) if seen else low

    def _filtered(self, query: dict[str, Any]) -> dict[str, Any]:
        return query if self._settings.query is None else {"bool": {"filter": [query, self._settings.query]}}

    def _ask(self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None) -> Any:
        try:
            return self._http.request(method, path, params=params, body=body)
        except RefusedError as error:
            if b"index_not_found_exception" in error.body:
                raise SourceError(
                    f"{self._settings.index}: there is no such index or data stream. Check search.index."
                ) from None
            raise


def _range(field: str, low: str, high: str) -> dict[str, Any]:
    return {"range": {field: {"gte": low, "lt": high, "format": _FORMAT}}}


def _hits(data: dict[str, Any]) -> list[dict[str, Any]]:
    outer = data.get("hits")
    found = outer.get("hits") if isinstance(outer, dict) else None
    if not isinstance(found, list) or not all(isinstance(hit, dict) for hit in found):
        raise SourceError("the answer holds no list of hits. Is a proxy in between?")
    return found


def _moment(value: Any) -> dt.datetime | None:
    """A sort value or field as a time: text with up to nine digits, or milliseconds (nanoseconds where they are so many)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        micros = value // 1000 if abs(value) > 10**15 else value * 1000
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
    try:
        found = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
