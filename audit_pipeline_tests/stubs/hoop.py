"""hoop.dev's gateway as a collector meets it: sessions that change, admin acts without an order among equals, roles; and its trouble.

Written from the gateway's OpenAPI document and handlers (github.com/hoophq/hoop: gateway/api/openapi/openapiv3.json,
gateway/api/session/list_options.go, gateway/models/session.go, gateway/models/security_audit_log.go, gateway/api/apiroutes/roles.go,
gateway/api/user/user.go). Strict: an unknown parameter, a wrong method, a page beyond the limits, another window between pages or a
missing header is refused. Time is `now`, which only the owner moves.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any, TypeVar

from audit_pipeline_tests.stubs.wire import Misbehaving, RefusedError, Reply

SECRET = "hpk_Ab3fX9kLq7Zt2Vw8"
ME = "audit-reader@example.com"
LIMIT, DEEPEST = 100, 10_000
_PARAMS = {
    "sessions": {"start_date", "end_date", "limit", "offset", "count", "user", "connection", "type", "review.status", "review.approver", "batch_id", "correlation_id", "jira_issue_key"},
    "acts": {"page", "page_size", "created_after", "created_before", "actor_email", "resource_type", "action", "outcome"},
}  # fmt: skip
FAULTS = ("429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type", "unauthorized", "short", "again", "demoted")  # fmt: skip
"""What may go wrong with a request: `short` leaves a record out of a page, `again` shows one twice, `demoted` takes the role away."""
Change = tuple[dt.datetime, Mapping[str, Any]]


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Session:
    """A session: listed from `visible` on (real time), and what changes of it, when, until it is deleted."""

    id: str
    created: dt.datetime
    visible: dt.datetime
    changes: tuple[Change, ...] = ()
    gone: dt.datetime | None = None
    user: str = "ann@example.com"

    def data(self, now: dt.datetime) -> dict[str, Any]:
        """As the gateway has it at a time."""
        found: dict[str, Any] = {
            "id": self.id, "org_id": "o-1", "script": {"data": ""}, "script_size": 9, "labels": None, "integrations_metadata": None, "metadata": None, "metrics": {"event_size": 0},
            "user": self.user, "user_id": f"id-{self.user}", "user_name": self.user.split("@")[0], "type": "database", "connection_subtype": "postgres", "connection": "orders-prod", "resource_name": "orders",
            "role_name": "orders-prod", "connection_tags": {"env": "prod"}, "review": None, "verb": "exec", "status": "done", "exit_code": 0, "event_stream": None, "event_size": 0,
            "start_date": _text(self.created), "end_date": _text(self.created), "ai_analysis": None, "guardrails_info": None, "identity_type": "user",
        }  # fmt: skip
        for moment, change in self.changes:
            if moment <= now:
                found |= change
        return found


@dataclass(frozen=True)
class Act:
    """An entry of the admin audit log."""

    id: str
    created: dt.datetime
    visible: dt.datetime
    fields: Mapping[str, Any] = field(default_factory=dict)
    gone: dt.datetime | None = None

    def data(self, _: dt.datetime) -> dict[str, Any]:
        """As the gateway has it."""
        found: dict[str, Any] = {
            "id": self.id, "org_id": "o-1", "actor_subject": "u-9", "actor_email": "root@example.com", "actor_name": "Root", "created_at": _text(self.created), "resource_type": "connections", "action": "update",
            "http_method": "PUT", "http_status": 200, "http_path": "/api/connections/orders-prod", "client_ip": "203.0.113.9", "request_payload_redacted": {"name": "orders-prod"}, "outcome": True, "error_message": "",
        }  # fmt: skip
        return found | dict(self.fields)


_Record = TypeVar("_Record", Session, Act)


@dataclass(frozen=True)
class User:
    email: str
    role: str
    status: str = "active"


@dataclass
class Gateway(Misbehaving):
    """The stub."""

    now: dt.datetime
    sessions: list[Session] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    users: list[User] = field(default_factory=lambda: [User("root@example.com", "admin"), User(ME, "auditor"), User("ann@example.com", "standard"), User("old@example.com", "admin", "inactive")])  # fmt: skip
    role: str = "auditor"
    lists_users: bool = True
    cap: int = DEEPEST
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._pages: dict[str, tuple[str, ...]] = {}

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        self.now += self.tick
        kind = self._kind(path, params)
        self.asked[kind] += 1
        if self.before is not None:
            self.before(kind)
        fault = self._fault(kind)
        try:
            self._admit(method, headers, body, fault)
            reply = self._trouble(fault) or self._ok(self._answer(kind, path, params, fault))
        except RefusedError as error:
            return Reply(error.status, {"message": str(error)}, self._headers())
        if fault == "content_type":
            return Reply(200, b"<html>please sign in</html>", self._headers() | {"Content-Type": "text/html"})
        reply.fault = fault if fault in ("cut", "slow", "refused") else None
        return reply

    def _admit(self, method: str, headers: Mapping[str, str], body: bytes, fault: str | None) -> None:
        sent = {name.lower(): value for name, value in headers.items()}
        keys = (sent.get("authorization"), sent.get("api-key"))
        if keys not in ((f"Bearer {SECRET}", None), (None, SECRET)) or fault == "unauthorized":
            raise RefusedError(401, f"access denied for {keys}")
        if method != "GET" or body:
            raise RefusedError(405, f"{method} is not allowed")

    def _kind(self, path: str, params: Mapping[str, str]) -> str:
        if path in ("/api/sessions", "/api/audit/logs"):
            if params.get("limit") == "1" or params.get("page_size") == "1":
                return "count"
            return "sessions" if path == "/api/sessions" else "acts"
        if path.startswith("/api/sessions/") and path.count("/") == 3:
            return "session"
        return {"/api/userinfo": "me", "/api/users": "users"}.get(path, "unknown")

    def _trouble(self, fault: str | None) -> Reply | None:
        if fault in ("429", "429_seconds", "429_date"):
            reply = Reply(429, {"message": "too many requests"}, self._headers())
            if fault == "429_seconds":
                reply.headers["Retry-After"] = "7"
            if fault == "429_date":
                reply.headers["Retry-After"] = format_datetime(self._clock() + dt.timedelta(seconds=11), usegmt=True)
            return reply
        if fault == "503":
            return Reply(503, {"message": "upstream connect error"}, self._headers())
        if fault == "demoted":
            self.role = "standard"
        return None

    def _answer(self, kind: str, path: str, params: Mapping[str, str], fault: str | None) -> Any:
        if kind == "unknown":
            raise RefusedError(404, f"no route {path}")
        if kind == "me":
            return {"id": "u-5", "name": "audit reader", "email": ME, "role": self.role, "groups": [self.role], "status": "active", "is_admin": self.role == "admin", "tenancy_type": "selfhosted", "org_id": "o-1"}  # fmt: skip
        if kind == "users":
            if not self.lists_users or self.role == "standard":
                raise RefusedError(403, "forbidden")
            return [{"id": f"id-{one.email}", "name": one.email, "email": one.email, "role": one.role, "status": one.status, "groups": [one.role]} for one in self.users]  # fmt: skip
        if kind == "session":
            return self._session(path.rsplit("/", 1)[1], params)
        found: dict[str, Any] = self._sessions(params) if path == "/api/sessions" else self._acts(params)
        if fault == "short":
            found["data"] = found["data"][:-1]
        if fault == "again":
            found["data"] = found["data"][:1] + found["data"]
        return found

    def _session(self, uid: str, params: Mapping[str, str]) -> dict[str, Any]:
        if params:
            raise RefusedError(422, f"unknown options {sorted(params)}")
        for one in self._there(self.sessions):
            if one.id == uid:
                if self.role == "standard" and one.user != ME:
                    raise RefusedError(403, "forbidden")
                return one.data(self.now) | {"script": {"data": "SELECT 1;"}}
        raise RefusedError(404, "not found")

    def _sessions(self, params: Mapping[str, str]) -> dict[str, Any]:
        self._known("sessions", params)
        limit, offset = int(params.get("limit", "20")), int(params.get("offset", "0"))
        if limit < 1 or not 0 <= offset <= DEEPEST:
            raise RefusedError(422, f'failed listing sessions, invalid "offset" option: {limit} from {offset}')
        mode = params.get("count", "capped")
        if mode not in ("capped", "exact", "none"):
            raise RefusedError(422, 'failed listing sessions, invalid "count" option')
        self._same_window("sessions", offset, (params.get("start_date", ""), params.get("end_date", ""), str(limit)))
        found = [one for one in self._there(self.sessions) if self.role != "standard" or one.user == ME]
        if "start_date" in params:
            first = _moment(params["start_date"]).replace(microsecond=0)
            last = _moment(params["end_date"]).replace(microsecond=0) if "end_date" in params else self.now
            found = [one for one in found if first <= one.created <= last]
        found.sort(key=lambda one: (one.created, one.id), reverse=True)
        shown = found[offset : offset + min(limit, LIMIT)]
        capped = mode == "capped" and len(found) > self.cap
        total = self.cap if capped else len(found)
        return {"data": [one.data(self.now) for one in shown], "total": None if mode == "none" else total, "total_is_capped": capped, "has_next_page": len(found) > offset + len(shown)}  # fmt: skip

    def _acts(self, params: Mapping[str, str]) -> dict[str, Any]:
        if self.role not in ("admin", "auditor"):
            raise RefusedError(403, "forbidden")
        self._known("acts", params)
        page, size = int(params.get("page", "1")), int(params.get("page_size", "50"))
        if page < 1 or not 1 <= size <= LIMIT:
            raise RefusedError(422, "page_size must be between 1 and 100")
        bounds = (params.get("created_after", ""), params.get("created_before", ""), str(size))
        self._same_window("acts", page - 1, bounds)
        found = [one for one in self._there(self.acts) if _moment(bounds[0]) <= one.created <= _moment(bounds[1])]
        self._random.shuffle(found)  # those of one moment come in any order
        found.sort(key=lambda one: one.created, reverse=True)
        shown = found[(page - 1) * size : page * size]
        return {"pages": {"total": len(found), "page": page, "size": size}, "data": [one.data(self.now) for one in shown]}  # fmt: skip

    def _known(self, kind: str, params: Mapping[str, str]) -> None:
        if unknown := set(params) - _PARAMS[kind]:
            raise RefusedError(422, f"unknown options {sorted(unknown)}")

    def _same_window(self, kind: str, place: int, window: tuple[str, ...]) -> None:
        if place and self._pages.get(kind) != window:
            raise RefusedError(422, "the window must not change between pages")
        if not place:
            self._pages[kind] = window

    def _there(self, records: list[_Record]) -> list[_Record]:
        return [one for one in records if one.visible <= self.now and (one.gone is None or one.gone > self.now)]

    def _clock(self) -> dt.datetime:
        return self.now + self.skew

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json; charset=utf-8", "Date": format_datetime(self._clock(), usegmt=True)}

    def _ok(self, data: Any) -> Reply:
        return Reply(200, data, self._headers())


def _moment(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(422, f"{text!r} is in wrong format") from None
    if found.tzinfo is None:
        raise RefusedError(422, f"{text!r} is in wrong format")
    return found


def by_hand(now: dt.datetime, records: int) -> tuple[Gateway, str]:
    """A gateway to play with: a session a minute, an act every ten, up to now."""
    made = Gateway(now)
    for n in range(records):
        at = now - dt.timedelta(minutes=n)
        made.sessions.append(Session(f"s-{n:08d}", at, at, user=f"person{n % 9}@example.com"))
    made.acts = [Act(f"a-{n:08d}", now - dt.timedelta(minutes=10 * n), now) for n in range(records // 10)]
    return made, f"bearer {SECRET}"
