"""The requests of Datadog's log and audit search: pages of an absolute window, counts, the oldest and newest event, who we are.

Belongs here: endpoints, bodies, what their answers mean to a reader. Not here: which window is read (`datadog`), HTTP (`http`).

A page follows the one before by `page.cursor`; the end is a page without a cursor or without events (the recorded answers of
github.com/DataDog/datadog-api-client-python, tests/v2/cassettes/test_scenarios/test_search_{logs,audit_logs_events}_*, have a cursor
on the last page with events). Times are absolute: a relative range moves while it is paged (DataDog/documentation, pull request 8918).
Whether `from` and `to` are inclusive is not documented, so neighbouring windows share a second and counts end a millisecond early.
Sources: docs.datadoghq.com/api/latest/logs (search, aggregate), /audit (search), /authentication (validate), /rate-limits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.sections import Duration, Section
from audit_pipeline.sources.base import SourceError
from audit_pipeline.sources.http import Answer, Http, RefusedError, TooLargeError

Kind = Literal["audit", "logs"]
Tier = Literal["indexes", "online-archives", "flex"]
SMALLEST_PAGE = 10
MAX_STUCK = 5
"""Cursors that may expire one after the other without an event of a later second in between."""
FEW = 3
"""Tries of what no event depends on."""
SHARED = dt.timedelta(seconds=1)
"""What neighbouring windows have in common; stamps have milliseconds."""
DEFAULT_RETENTION = {"audit": dt.timedelta(days=7), "logs": dt.timedelta(days=15)}
"""Audit Trail: docs.datadoghq.com/account_management/audit_trail (3 to 90 days can be set); log indexes: as they are usually sold."""
_SHOWN = 300


class DatadogSettings(Section):
    """What is read of Datadog."""

    reads: list[Kind] = Field(
        default=["audit"], min_length=1, description="`audit` (Audit Trail), `logs`, or both; best one a source"
    )
    query: str = Field(default="*", description="filter in Datadog's search syntax")
    indexes: list[str] = Field(default=["*"], min_length=1, description="log indexes; not used for `audit`")
    storage_tiers: list[Tier] = Field(
        default=["indexes"],
        min_length=1,
        description="where logs are kept: each is asked for itself; not used for `audit`",
    )
    retention: Duration | None = Field(
        default=None,
        ge=DAY,
        description="how long Datadog keeps the events; null: 7 days for `audit`, 15 days for `logs`",
    )
    look_back: Duration = Field(
        default=DAY,
        description="how far behind the last collection is read again: Datadog takes logs that are up to 18 h late",
    )
    lag: Duration = Field(
        default=dt.timedelta(minutes=5), description="how fresh events are left for the next collection"
    )
    window: Duration = Field(
        default=dt.timedelta(hours=6),
        ge=dt.timedelta(minutes=1),
        description="events of so much time are paged at once, so that cursors do not expire",
    )
    page_limit: int = Field(default=1000, ge=1, le=1000, description="events of a page")

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.look_back >= self.kept:
            raise ValueError("look_back must be shorter than retention: what is read again must still be there")
        return self

    @property
    def kept(self) -> dt.timedelta:
        """The shortest time for which something that is read is kept."""
        return self.retention or min(DEFAULT_RETENTION[kind] for kind in self.reads)

    @property
    def parts(self) -> list[Part]:
        """What is asked for one after the other."""
        found = [Part("audit", None)] if "audit" in self.reads else []
        return found + [Part("logs", tier) for tier in dict.fromkeys(self.storage_tiers) if "logs" in self.reads]


@dataclass(frozen=True)
class Part:
    """The audit trail, or the logs of one storage tier."""

    kind: Kind
    tier: Tier | None

    @property
    def name(self) -> str:
        """For names of pages and words of remarks."""
        return f"{self.kind}/{self.tier}" if self.tier else self.kind

    @property
    def path(self) -> str:
        """Where it is searched."""
        return f"/api/v2/{self.kind}/events/search"


@dataclass(frozen=True)
class Page:
    """One answer, as it was sent."""

    body: bytes
    events: list[dict[str, Any]]
    after: str | None
    trouble: list[str]
    """what it says of its own completeness"""

    @property
    def newest(self) -> dt.datetime | None:
        """The time of its last event."""
        return moment_of(self.events[-1]) if self.events else None


@dataclass(frozen=True)
class Edge:
    """The oldest or newest event's time, and Datadog's clock."""

    value: dt.datetime | None
    date: dt.datetime | None
    whole: bool
    """whether Datadog looked everywhere"""


class Api:
    """The requests of one collection."""

    def __init__(self, http: Http, settings: DatadogSettings) -> None:
        self._http, self._settings = http, settings
        self._limit = settings.page_limit
        self.begun_anew = 0

    def validate(self) -> Answer:
        """Whether the API key is known; the answer's `date` is Datadog's clock."""
        return self._http.request("GET", "/api/v1/validate")

    def pages(self, part: Part, low: dt.datetime, high: dt.datetime) -> Iterator[Page]:
        """All pages of a window, and the empty one at its end; one whose cursor expired goes on from the last event seen.

        Raises:
            SourceError: it cannot be read to the end.
        """
        start, cursor, seen, stuck = low - SHARED, None, None, 0
        while True:
            try:
                page = self._page(part, start, high, cursor)
            except (RefusedError, TooLargeError) as error:
                self._may_begin_anew(error, cursor, stuck)
                anew = max(start, (seen or start) - SHARED)
                start, cursor, stuck = anew, None, stuck + 1 if anew == start else 0
                continue
            yield page
            if not page.events or page.after is None:
                return
            if page.after == cursor:
                raise SourceError(f"{part.name}: the cursor does not move, the same page would come for ever. Is a proxy in between?")  # fmt: skip
            cursor, seen = page.after, page.newest or seen

    def _may_begin_anew(self, error: RefusedError | TooLargeError, cursor: str | None, stuck: int) -> None:
        """A cursor that is refused has expired; a page that is too large is asked for in smaller ones, which an old cursor does not know."""
        if isinstance(error, TooLargeError) and self._limit > SMALLEST_PAGE:
            self._limit = max(SMALLEST_PAGE, self._limit // 2)
            return
        expired = isinstance(error, RefusedError) and cursor is not None
        if not expired or stuck >= MAX_STUCK:
            raise error
        self.begun_anew += 1

    def count(self, part: Part, day: dt.date) -> int | None:
        """How many logs of a day there are, by the aggregation API; null where it does not count all of them, or not at all.

        Raises:
            SourceError: it does not answer.
        """
        end = midnight(day + DAY) - dt.timedelta(milliseconds=1)
        body = {
            "compute": [{"aggregation": "count", "type": "total"}],
            "filter": self._filter(part, midnight(day), end),
        }
        data = self._http.request("POST", "/api/v2/logs/analytics/aggregate", body=body).data
        buckets = (data.get("data") or {}).get("buckets")
        if trouble_of(data) or not isinstance(buckets, list) or len(buckets) > 1:
            return None
        found = buckets[0].get("computes", {}).get("c0") if buckets else 0
        return int(found) if isinstance(found, int | float) else None

    def edge(self, part: Part, sort: Literal["timestamp", "-timestamp"], now: dt.datetime) -> Edge:
        """The oldest (`timestamp`) or newest (`-timestamp`) event, of those that should be kept."""
        body = {"filter": self._filter(part, now - self._settings.kept, now), "sort": sort, "page": {"limit": 1}}
        answer = self._http.request("POST", part.path, body=body)
        events = _events(part, answer.data)
        return Edge(moment_of(events[0]) if events else None, answer.date, not trouble_of(answer.data))

    def listing(self, path: str) -> Iterator[dict[str, Any]]:
        """All things of a list with numbered pages.

        Raises:
            SourceError: it may not be read, or is none.
        """
        size, number, given = 100, 0, 0
        while True:
            params = {"page[size]": str(size), "page[number]": str(number)}
            data = self._http.request("GET", path, params=params, tries=FEW).data
            found = data.get("data")
            if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
                raise SourceError(f"{path}: the answer holds no list. Is a proxy in between?")
            yield from found
            number, given = number + 1, given + len(found)
            paging = (data.get("meta") or {}).get("page") or {}
            if not found or given >= paging.get("total_filtered_count", paging.get("total_count", 0)):
                return

    def get(self, path: str) -> dict[str, Any]:
        """An object."""
        found: dict[str, Any] = self._http.request("GET", path, tries=FEW).data
        return found

    def _page(self, part: Part, low: dt.datetime, high: dt.datetime, cursor: str | None) -> Page:
        paging = {"limit": self._limit} | ({"cursor": cursor} if cursor else {})
        body = {"filter": self._filter(part, low, high), "sort": "timestamp", "page": paging}
        answer = self._http.request("POST", part.path, body=body)
        after = ((answer.data.get("meta") or {}).get("page") or {}).get("after")
        return Page(answer.body, _events(part, answer.data), after if isinstance(after, str) else None, trouble_of(answer.data))  # fmt: skip

    def _filter(self, part: Part, low: dt.datetime, high: dt.datetime) -> dict[str, Any]:
        found: dict[str, Any] = {"query": self._settings.query, "from": stamp(low), "to": stamp(high)}
        return found | ({"indexes": self._settings.indexes, "storage_tier": part.tier} if part.tier else {})


def stamp(moment: dt.datetime) -> str:
    """ISO 8601 with milliseconds, as Datadog writes its own."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(event: dict[str, Any]) -> dt.datetime | None:
    """The time that windows and counts go by."""
    attributes = event.get("attributes")
    given = attributes.get("timestamp") if isinstance(attributes, dict) else None
    try:
        found = dt.datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=dt.UTC)


def trouble_of(data: dict[str, Any]) -> list[str]:
    """What an answer says of its own completeness, bounded and on one line each."""
    meta = data.get("meta") or {}
    found = []
    if meta.get("status") not in (None, "done"):
        found.append(f"the search ended with status {meta['status']}: events are missing")
    for warning in meta.get("warnings") or []:
        words = [str(warning.get(key)) for key in ("code", "title", "detail") if warning.get(key)] if isinstance(warning, dict) else [str(warning)]  # fmt: skip
        found.append(f"Datadog warns: {' '.join(words)}")
    return ["".join(c if c.isprintable() else " " for c in words[:_SHOWN]) for words in found]


def _events(part: Part, data: dict[str, Any]) -> list[dict[str, Any]]:
    found = data.get("data")
    if not isinstance(found, list) or not all(isinstance(event, dict) for event in found):
        raise SourceError(f"{part.name}: the answer holds no list of events. Is a proxy in between?")
    return found
