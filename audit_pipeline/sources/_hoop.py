"""The requests of hoop.dev's gateway: lists of sessions and of admin acts, whole or said not to be; a session by its id; counts.

Belongs here: parameters, pages, what their answers mean to a reader. Not here: which window is read (`hoop`), HTTP (`http`).
Source: the gateway's OpenAPI document and handlers (github.com/hoophq/hoop: gateway/api/openapi/openapiv3.json,
gateway/api/session/list_options.go, gateway/models/session.go, gateway/models/security_audit_log.go).

What a list leaves open is closed here. Both begin with the newest. Sessions are filtered by their beginning, both bounds included, in
whole seconds; offsets end at 10,000, so a window with more is halved. Admin acts of one moment have no order, so a page edge among
them may show one twice and another not at all.
Therefore each list is counted against its own total; where it is short, the moments at its edges are asked for alone, then all again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.formats._stamps import EPOCH, MAX_STAMP
from audit_pipeline.formats._stamps import rfc3339 as stamp
from audit_pipeline.sources.base import SourceError
from audit_pipeline.sources.http import Http, RefusedError

SESSIONS, ACTS = "sessions", "audit"
"""The two lists; the first word of a page's name."""
MOST = 10_000
"""Sessions of a window that offsets reach."""
SIZES = (100, 83, 61)
"""Records of a page, by attempt: other page edges lie among other records. 100 is the most that the gateway gives."""
SECOND = dt.timedelta(seconds=1)
_MICROSECOND = dt.timedelta(microseconds=1)
ALL_SEEING = ("admin", "auditor")
"""Roles that see everybody's sessions; others see their own and those that they may review, and nothing tells them."""


@dataclass(frozen=True)
class Me:
    """Who the gateway says that we are, and its clock."""

    name: str
    role: str
    date: dt.datetime | None

    @property
    def sees_all(self) -> bool:
        """Whether lists hold everybody's sessions."""
        return self.role in ALL_SEEING


@dataclass(frozen=True)
class Page:
    """One answer, as it was sent, and the records in it."""

    name: str
    body: bytes
    rows: list[dict[str, Any]]
    total: int = 0
    more: bool = False
    capped: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


def moment_of(value: Any) -> dt.datetime | None:
    """A stamp of a record; null for what is none."""
    found = stamp(value) if isinstance(value, str) and len(value) <= MAX_STAMP else None
    return None if found is None else EPOCH + dt.timedelta(microseconds=found)


_Ask = Callable[[int, int], Page]
"""Number of a page, from 0, and its size, to the page."""


class Gateway:
    """The requests of one collection."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.trouble: list[str] = []
        """why a list is not whole"""

    def me(self) -> Me:
        """Whose key it is.

        Raises:
            SourceError: the gateway does not answer, or this is none.
        """
        answer = self._http.request("GET", "/api/userinfo")
        role = answer.data.get("role")
        if not isinstance(role, str):
            raise SourceError("GET /api/userinfo tells no role. Is http.url the address of a hoop.dev gateway?")
        return Me(str(answer.data.get("email") or answer.data.get("name") or "unnamed"), role, answer.date)

    def sessions(self, first: dt.datetime, until: dt.datetime) -> Iterator[Page]:
        """All sessions that began in a stretch (whole seconds, both included), in as many parts as it takes.

        Raises:
            SourceError: the gateway does not answer.
        """

        def ask(number: int, size: int) -> Page:
            return self._sessions(first, until, number, size)

        middle = first + (until - first) // (2 * SECOND) * SECOND
        if ask(0, 1).capped:
            if first < middle:
                yield from self.sessions(first, middle)
                yield from self.sessions(middle, until)
                return
            self.trouble.append(f"more than {MOST} sessions began within a second of {rfc3339(first)}: they cannot be listed")  # fmt: skip
        yield from self._whole(ask, f"sessions of {rfc3339(first)} to {rfc3339(until)}")

    def acts(self, first: dt.datetime, until: dt.datetime) -> Iterator[Page]:
        """All entries of the admin audit log of a stretch, both ends included.

        Raises:
            SourceError: the gateway does not answer, or the key may not read them.
        """
        edges: dict[dt.datetime, None] = {}

        def ask(number: int, size: int) -> Page:
            page = self._acts(first, until, number, size)
            if page.more and page.rows and (edge := moment_of(page.rows[-1].get("created_at"))):
                edges[edge] = None
            return page

        def alone() -> Iterator[Page]:
            return (self._acts(edge, edge, 0, SIZES[0]) for edge in edges)

        yield from self._whole(ask, f"admin acts of {rfc3339(first)} to {rfc3339(until)}", alone)

    def session(self, uid: str) -> Page | None:
        """A session as it is now; null where there is none any more.

        Raises:
            SourceError: the gateway does not answer, or the key may not read it.
        """
        try:
            answer = self._http.request("GET", f"/api/sessions/{quote(uid, safe='')}")
        except RefusedError as error:
            if error.status != 404:
                raise
            return None
        return Page(f"session/{uid}", answer.body, [answer.data])

    def count(self, kind: str, day: dt.date) -> int:
        """How many records of a list the gateway counts for a UTC day.

        Raises:
            SourceError: the gateway does not answer.
        """
        begin, end = midnight(day), midnight(day + DAY)
        if kind == ACTS:
            return self._acts(begin, end - _MICROSECOND, 0, 1).total
        # bounds are whole seconds and included: less those that began just at the next midnight
        return self._sessions(begin, end, 0, 1, "exact").total - self._sessions(end, end, 0, 1, "exact").total

    def any_before(self, kind: str, end: dt.datetime) -> bool:
        """Whether a list has anything up to a moment."""
        begin = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
        found = self._acts(begin, end, 0, 1) if kind == ACTS else self._sessions(begin, end, 0, 1)
        return bool(found.rows)

    def newest(self) -> dict[str, Any] | None:
        """The newest session."""
        found = self._list("/api/sessions", {"limit": "1", "offset": "0"})
        return found.rows[0] if found.rows else None

    def _whole(self, ask: _Ask, what: str, alone: Callable[[], Iterator[Page]] = lambda: iter(())) -> Iterator[Page]:
        """The pages of a list, until as many different records were seen as it has; `alone` asks for the moments at its page edges."""
        seen: set[str] = set()
        total = 0
        for attempt, size in enumerate(SIZES):
            number = 0
            while True:
                page = ask(number, size)
                seen.update(str(row.get("id")) for row in page.rows)
                total = page.total
                yield replace(page, name=f"{page.name}-{attempt}")
                number += 1
                if not (page.more and page.rows) or (page.capped and number * size > MOST):
                    break
            if page.capped:
                return
            for page in alone() if len(seen) < total else ():
                seen.update(str(row.get("id")) for row in page.rows)
                yield replace(page, name=f"{page.name}-{attempt}")
            if len(seen) >= total:
                return
        self.trouble.append(f"{what}: the gateway counts {total} and listed {len(seen)} of them in {len(SIZES)} attempts")  # fmt: skip

    def _sessions(self, first: dt.datetime, until: dt.datetime, number: int, size: int, count: str = "capped") -> Page:
        params = {"start_date": rfc3339(first), "end_date": rfc3339(until), "limit": str(size), "offset": str(number * size), "count": count}  # fmt: skip
        found = self._list("/api/sessions", params)
        data = found.data
        capped = count == "capped" and (bool(data.get("total_is_capped")) or found.total > MOST)
        name = f"{SESSIONS}/{rfc3339(first)}/{rfc3339(until)}/{number:04d}"
        return replace(found, name=name, more=bool(data.get("has_next_page")), capped=capped)

    def _acts(self, first: dt.datetime, until: dt.datetime, number: int, size: int) -> Page:
        params = {"created_after": rfc3339(first), "created_before": rfc3339(until), "page": str(number + 1), "page_size": str(size)}  # fmt: skip
        found = self._list("/api/audit/logs", params)
        name = f"{ACTS}/{rfc3339(first)}/{rfc3339(until)}/{number:04d}"
        return replace(found, name=name, more=(number + 1) * size < found.total)

    def _list(self, path: str, params: dict[str, str]) -> Page:
        """A page of a list; the total of sessions stands beside the records, that of admin acts under `pages`."""
        answer = self._http.request("GET", path, params=params)
        rows, counts = answer.data.get("data"), answer.data.get("pages", answer.data)
        total = counts.get("total") if isinstance(counts, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not isinstance(total, int):
            raise SourceError(f"GET {path}: the answer is no list of records with its total. Is http.url the address of a hoop.dev gateway?")  # fmt: skip
        return Page(path, answer.body, rows, total, data=answer.data)
