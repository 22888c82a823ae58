"""Datadog as a collector meets it: audit and log search with cursors, counts, roles and users; and their trouble.

Written from docs.datadoghq.com/api/latest/{logs,audit,roles,users,authentication,rate-limits} and the recorded answers of
github.com/DataDog/datadog-api-client-python, tests/v2/cassettes/test_scenarios: `test_search_audit_logs_events_returns_ok_response_with_pagination`,
`test_search_logs_returns_ok_response_with_pagination`, `test_aggregate_events_returns_ok_response`, `test_list_roles_returns_ok_response`,
`test_list_permissions_returns_ok_response`, `test_get_all_users_of_a_role_returns_ok_response`. Strict: an unknown parameter or key, a
wrong method, a changed query between pages, a relative time, a missing header or an old cursor is refused. What the documentation leaves
open (whether a range includes its ends, whether the last page has a cursor) is drawn by `seed`. Time is `now`, which only the owner moves.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from audit_pipeline_tests.stubs.wire import Misbehaving, RefusedError, Reply

API_KEY, APP_KEY = "a" * 8 + "0123456789abcdef" + "b" * 8, "ddapp_" + "c" * 34
FAULTS = (
    "429", "429_reset", "429_seconds", "503", "refused", "cut", "slow", "content_type", "forbidden", "timeout", "warning", "expired", "again", "stuck",
)  # fmt: skip
"""What may go wrong with a request: `timeout` and `warning` are good answers that lack events; `again` repeats an event; `expired` and
`stuck` are cursors that are refused or do not move."""
PERMISSIONS = (
    "audit_logs_read", "audit_logs_write", "logs_read_data", "logs_live_tail", "logs_delete_data", "logs_write_exclusion_filters", "logs_modify_indexes",
    "logs_write_archives", "logs_write_pipelines", "logs_write_processors", "user_access_read", "dashboards_read",
)  # fmt: skip
_SEARCH = {"filter", "sort", "page"}
_FILTER = {"audit": {"query", "from", "to"}, "logs": {"query", "from", "to", "indexes", "storage_tier"}}


@dataclass(frozen=True)
class Event:
    """An audit or log event, shown from `visible` on (real time) until it is deleted."""

    id: str
    stamp: dt.datetime
    visible: dt.datetime
    kind: str = "audit"
    tiers: frozenset[str] = frozenset({"indexes"})
    gone: dt.datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        return {"id": self.id, "type": "audit" if self.kind == "audit" else "log", "attributes": {**self.attributes, "timestamp": _text(self.stamp)}}  # fmt: skip


@dataclass
class Datadog(Misbehaving):
    """The stub."""

    now: dt.datetime
    events: list[Event] = field(default_factory=list)
    scopes: frozenset[str] = frozenset({"audit_logs_read", "logs_read_data", "user_access_read"})
    tiers: frozenset[str] = frozenset({"indexes", "flex"})
    """those that the organisation has"""
    roles: dict[str, list[str]] = field(default_factory=dict)
    """permissions by name"""
    users: list[dict[str, Any]] = field(default_factory=list)
    """`email`, `roles` (names), `disabled`, `service_account`"""
    seed: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.includes = (self._random.random() < 0.5, self._random.random() < 0.5)
        """whether a range includes its begin, and its end"""
        self.last_cursor = self._random.random() < 0.5
        """whether the last page with events has a cursor"""

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        self.now += self.tick
        sent = {name.lower(): value for name, value in headers.items()}
        kind = self._kind(method, path, body)
        self.asked[kind] += 1
        if self.before is not None:
            self.before(kind)
        fault = self._fault(kind)
        try:
            self._known(sent, kind)
            reply = self._troubled(fault) or self._answer(kind, path, params, sent.get("content-type"), body, fault)
        except RefusedError as error:
            return self._error(error.status, str(error))
        if fault == "content_type":
            return Reply(200, b"<html>please sign in</html>", self._headers() | {"Content-Type": "text/html"})
        reply.fault = fault if fault in ("cut", "slow", "refused") else None
        return reply

    def _kind(self, method: str, path: str, body: bytes) -> str:
        wanted = {
            ("GET", "/api/v1/validate"): "validate", ("POST", "/api/v2/logs/analytics/aggregate"): "count", ("GET", "/api/v2/permissions"): "list",
            ("GET", "/api/v2/roles"): "list", ("GET", "/api/v2/users"): "list",
            ("POST", "/api/v2/audit/events/search"): "page", ("POST", "/api/v2/logs/events/search"): "page",
        }.get((method, path), "unknown")  # fmt: skip
        return "edge" if wanted == "page" and b'"limit":1}' in body else wanted

    def _known(self, sent: Mapping[str, str], kind: str) -> None:
        if sent.get("dd-api-key") != API_KEY:
            raise RefusedError(403, f"Forbidden: API key {sent.get('dd-api-key')}")
        if kind != "validate" and sent.get("dd-application-key") != APP_KEY:
            raise RefusedError(403, f"Forbidden: application key {sent.get('dd-application-key')}")

    def _troubled(self, fault: str | None) -> Reply | None:
        if fault in ("429", "429_reset", "429_seconds"):
            reply = self._error(429, "Rate limit of 300 requests in 3600 seconds reached. Please try again later.")
            reply.headers |= {"429_reset": {"X-RateLimit-Limit": "300", "X-RateLimit-Period": "3600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9", "X-RateLimit-Name": "logs_public_search_api"}, "429_seconds": {"Retry-After": "7"}}.get(fault, {})  # fmt: skip
            return reply
        if fault == "503":
            return self._error(503, "Service Unavailable")
        if fault == "forbidden":
            return self._error(403, "Forbidden")
        return None

    def _answer(self, kind: str, path: str, params: Mapping[str, str], content: str | None, body: bytes, fault: str | None) -> Reply:  # fmt: skip
        if kind == "unknown":
            raise RefusedError(404, "Not found")
        if body and content != "application/json":
            raise RefusedError(415, "Unsupported content type")
        if kind in ("list", "validate"):
            return self._ok({"valid": True}) if kind == "validate" else self._ok(self._list(path, params))
        if params:
            raise RefusedError(400, f"unknown parameters {sorted(params)}")
        given = json.loads(body)
        self.bodies.append(given)
        audit = path.startswith("/api/v2/audit")
        self._may("audit_logs_read" if audit else "logs_read_data")
        if kind == "count":
            return self._ok(self._count(given, fault))
        return self._ok(self._search("audit" if audit else "logs", given, fault))

    def _may(self, scope: str) -> None:
        if scope not in self.scopes:
            raise RefusedError(403, f"Forbidden: Failed permission authorization checks ({scope})")

    def _shown(self, kind: str, given: dict[str, Any]) -> list[Event]:
        """The events of a filter, in order: by time, and within a millisecond by an order of their own."""
        if unknown := set(given) - _FILTER[kind]:
            raise RefusedError(400, f"unknown in filter: {sorted(unknown)}")
        low, high = _moment(given["from"]), _moment(given["to"])
        if low >= high:
            raise RefusedError(400, "from must be before to")
        tier = given.get("storage_tier", "indexes")
        if kind == "logs" and tier not in self.tiers:
            raise RefusedError(400, f"storage tier {tier} is not enabled")
        word, _, value = given.get("query", "*").partition(":")
        first, last = self.includes
        found = [
            event
            for event in self.events
            if event.kind == kind and event.visible <= self.now and (event.gone is None or event.gone > self.now)
            and (kind == "audit" or tier in event.tiers) and (word == "*" or event.attributes.get(word) == value)
            and (low < (at := _whole(event.stamp)) < high or (first and at == low) or (last and at == high))
        ]  # fmt: skip
        return sorted(found, key=_place)

    def _search(self, kind: str, given: dict[str, Any], fault: str | None) -> dict[str, Any]:
        if unknown := (set(given) - _SEARCH) | (set(given["page"]) - {"limit", "cursor"}):
            raise RefusedError(400, f"unknown: {sorted(unknown)}")
        limit, cursor = given["page"].get("limit", 10), given["page"].get("cursor")
        if not 1 <= limit <= 1000 or given["sort"] not in ("timestamp", "-timestamp"):
            raise RefusedError(400, "input_validation_error(Field 'page.limit' or 'sort' is invalid)")
        asked = json.dumps([kind, given["filter"], given["sort"], limit])
        found = self._shown(kind, given["filter"])
        if given["sort"] == "-timestamp":
            found.reverse()
        if cursor is not None:
            place = self._after(cursor, asked, fault)
            found = [event for event in found if _place(event) > place]
        page = found[:limit]
        if not page:
            return {"data": []}
        after = cursor if fault == "stuck" and cursor else self._cursor(asked, _place(page[-1]))
        meta: dict[str, Any] = {"elapsed": 1, "request_id": "pddv1", "status": "done", "page": {"after": after}}
        if len(found) <= limit and not self.last_cursor:
            del meta["page"]
        self._spoil(page, meta, fault)
        return {
            "meta": meta,
            "data": [event.data for event in page],
            "links": {"next": "https://api.datadoghq.com/next"},
        }

    def _spoil(self, page: list[Event], meta: dict[str, Any], fault: str | None) -> None:
        """A good answer that lacks events and says so; or has one twice."""
        if fault == "again":
            page.insert(0, page[0])
        if fault in ("timeout", "warning"):
            del page[1 : max(2, len(page) // 2)]
            if fault == "timeout":
                meta["status"] = "timeout"
            else:
                meta["warnings"] = [{"code": "unknown_index", "title": "One or several indexes are missing or invalid. Results are incomplete.", "detail": "indexes: foo"}]  # fmt: skip

    def _cursor(self, asked: str, place: tuple[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps([asked, *place]).encode()).decode().rstrip("=")

    def _after(self, cursor: str, asked: str, fault: str | None) -> tuple[str, str]:
        if fault == "expired":
            raise RefusedError(400, "input_validation_error(Field 'page.cursor' is invalid)")
        before, stamp, place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if before != asked:
            raise RefusedError(400, "the query changed between pages")
        return stamp, place

    def _count(self, given: dict[str, Any], fault: str | None) -> dict[str, Any]:
        if set(given) != {"compute", "filter"} or given["compute"] != [{"aggregation": "count", "type": "total"}]:
            raise RefusedError(400, "unknown aggregation")
        n = len(self._shown("logs", given["filter"]))
        meta = {"elapsed": 1, "request_id": "pddv1", "status": "timeout" if fault == "timeout" else "done"}
        if fault == "warning":
            meta["warnings"] = [{"code": "unknown_index", "title": "Results are incomplete."}]
        n = n // 2 if fault in ("timeout", "warning") else n
        return {"meta": meta, "data": {"buckets": [{"by": {}, "computes": {"c0": n}}] if n else []}}

    def _list(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        self._may("user_access_read")
        if path == "/api/v2/permissions":
            return {"data": [{"type": "permissions", "id": f"p-{name}", "attributes": {"name": name, "group_name": "Log Management", "restricted": False}} for name in PERMISSIONS]}  # fmt: skip
        if unknown := set(params) - {"page[size]", "page[number]"}:
            raise RefusedError(400, f"unknown parameters {sorted(unknown)}")
        size, number = int(params.get("page[size]", 10)), int(params.get("page[number]", 0))
        if path == "/api/v2/roles":
            things = [{"type": "roles", "id": f"r-{name}", "attributes": {"name": name, "user_count": 0}, "relationships": {"permissions": {"data": [{"type": "permissions", "id": f"p-{one}"} for one in held]}}} for name, held in self.roles.items()]  # fmt: skip
        else:
            things = [{"type": "users", "id": f"u-{n}", "attributes": {"name": None, "email": user["email"], "handle": user["email"], "disabled": user.get("disabled", False), "service_account": user.get("service_account", False), "status": "Active"}, "relationships": {"roles": {"data": [{"type": "roles", "id": f"r-{one}"} for one in user["roles"]]}}} for n, user in enumerate(self.users)]  # fmt: skip
        return {"meta": {"page": {"total_count": len(things), "total_filtered_count": len(things)}}, "data": things[number * size : (number + 1) * size]}  # fmt: skip

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "Date": format_datetime(self.now + self.skew, usegmt=True)}

    def _ok(self, data: dict[str, Any]) -> Reply:
        return Reply(200, data, self._headers())

    def _error(self, status: int, reason: str) -> Reply:
        return Reply(status, {"errors": [reason]}, self._headers())


def _whole(moment: dt.datetime) -> dt.datetime:
    """To the millisecond, as Datadog keeps it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _place(event: Event) -> tuple[str, str]:
    return _text(event.stamp), event.id


def _moment(given: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(given)
    except ValueError:
        raise RefusedError(400, f"{given!r} is no absolute time") from None
    if found.tzinfo is None:
        raise RefusedError(400, f"{given!r} has no zone")
    return found


def _by_hand(now: dt.datetime, n: int) -> tuple[Datadog, str]:
    """An organisation with a sign-in and a log line a minute, up to now."""
    stub = Datadog(
        now, roles={"admins": list(PERMISSIONS)}, users=[{"email": "person0@example.com", "roles": ["admins"]}]
    )
    for k in range(n):
        at = now - dt.timedelta(minutes=k)
        who = {"usr": {"email": f"person{k % 9}@example.com"}, "evt": {"name": "Authentication", "actor": {"type": "USER"}}, "action": "login", "status": "info"}  # fmt: skip
        stub.events.append(Event(f"A{k:08d}", at, at, attributes={"attributes": who, "message": "login", "tags": ["source:audit"]}))  # fmt: skip
        stub.events.append(Event(f"L{k:08d}", at, at, "logs", attributes={"service": "shop", "message": f"line {k}", "tags": ["source:nginx"]}))  # fmt: skip
    return stub, f"DD-API-KEY {API_KEY}, DD-APPLICATION-KEY {APP_KEY}"


BY_HAND = {"datadog": _by_hand}
