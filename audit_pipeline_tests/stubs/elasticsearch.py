"""Elasticsearch and OpenSearch as a collector meets them: points in time, `search_after`, counts, rights; and their trouble.

Written from elastic.co/docs "Paginate search results", "Open point in time", "Count", "Has privileges", and
docs.opensearch.org "Point in Time API", "Paginate results". Strict: an unknown parameter or key, a wrong method, a changed query between
pages, a missing header or an old point in time is refused. Time is `now`, which only the owner moves.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from audit_pipeline_tests.stubs.wire import Misbehaving, Reply

SECRET = "bXktaWQ6bXktc2VjcmV0LWtleQ=="
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SHARDS = 3
_PARAMS = {
    "open": {"keep_alive", "allow_partial_pit_creation"}, "page": {"allow_partial_search_results"}, "edge": {"allow_partial_search_results"},
}  # fmt: skip
_KEYS = {
    "open": set(), "close": {"id", "pit_id"}, "count": {"query"}, "page": {"query", "sort", "pit", "track_total_hits", "version", "size", "search_after"},
    "edge": {"size", "query", "sort", "docvalue_fields", "_source", "track_total_hits"}, "rights": {"index"},
}  # fmt: skip
FAULTS = (
    "429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type", "unauthorized", "shards", "timed_out", "pit_lost", "breaker", "vanished", "again",
)  # fmt: skip
"""What may go wrong with a request: `shards` and `timed_out` are good answers that lack documents; `again` repeats a document."""


@dataclass(frozen=True)
class Doc:
    """A document: searchable from `visible` on (real time), until it is deleted."""

    index: str
    id: str
    source: dict[str, Any]
    visible: dt.datetime
    gone: dt.datetime | None = None

    def value(self, name: str) -> int | None:
        """A date field in microseconds."""
        found: Any = self.source
        for part in name.split(".") if name != "@timestamp" else [name]:
            found = found.get(part) if isinstance(found, dict) else None
        return None if found is None else (dt.datetime.fromisoformat(found) - EPOCH) // dt.timedelta(microseconds=1)


class _BadRequestError(Exception):
    """Refused with 400 and this reason."""


class _MissingError(Exception):
    """404: no such index."""


class _ForbiddenError(Exception):
    """403."""


@dataclass
class _Pit:
    docs: list[Doc]
    current: str
    asked: str | None = None


@dataclass
class Store(Misbehaving):
    """The stub."""

    now: dt.datetime
    opensearch: bool = False
    docs: list[Doc] = field(default_factory=list)
    rights: frozenset[str] = frozenset({"read", "view_index_metadata"})
    indices: frozenset[str] = frozenset({"logs-audit"})
    management: dict[str, dict[str, Any]] = field(default_factory=dict)
    """answers of the security and life-cycle APIs by kind; those that are not there are refused"""
    largest_page: int = 10_000
    """above it the breaker trips, once it is planned"""
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._pits: dict[str, _Pit] = {}
        self._opened = 0

    @property
    def open_pits(self) -> int:
        return len(self._pits)

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        self.now += self.tick
        sent = {name.lower(): value for name, value in headers.items()}
        kind = self._kind(method, path, body)
        self.asked[kind] += 1
        if self.before is not None:
            self.before(kind)
        if sent.get("authorization") != f"ApiKey {SECRET}":
            return self._error(401, "security_exception", f"no good credentials in {sent.get('authorization')}")
        fault = self._fault(kind)
        try:
            reply = self._answer(kind, path, params, body, sent.get("content-type"), fault)
        except _MissingError as error:
            return self._error(404, "index_not_found_exception", f"no such index [{error}]")
        except _ForbiddenError:
            return self._error(403, "security_exception", "action [indices:data/read] is unauthorized for API key")
        except _BadRequestError as error:
            return self._error(400, "illegal_argument_exception", str(error))
        if reply.status == 200 and fault in ("shards", "timed_out", "again"):
            self._spoiled(reply.data, fault)
        if fault == "content_type":
            return Reply(200, b"<html>please sign in</html>", self._headers() | {"Content-Type": "text/html"})
        reply.fault = fault if fault in ("cut", "slow", "refused") else None
        return reply

    def _answer(self, kind: str, path: str, params: Mapping[str, str], body: bytes, content: str | None, fault: str | None) -> Reply:  # fmt: skip
        if kind == "unknown":
            raise _BadRequestError(f"no handler found for uri [{path}]")
        if body and content != "application/json":
            raise _BadRequestError("Content-Type header is missing")
        given = json.loads(body) if body else {}
        if unknown := (set(params) - _PARAMS.get(kind, set())) | (set(given) - _KEYS.get(kind, set())):
            raise _BadRequestError(f"unrecognized: {sorted(unknown)}")
        found: Reply = self._trouble(fault, given) or getattr(self, f"_{kind}")(path, params, given)
        return found

    def _kind(self, method: str, path: str, body: bytes) -> str:
        close = "/_search/point_in_time" if self.opensearch else "/_pit"
        opening = "/_search/point_in_time" if self.opensearch else "/_pit"
        if method == "POST" and path == "/_search":
            return "page"
        if method == "DELETE" and path == close:
            return "close"
        if method == "POST" and path.endswith(opening) and path != opening:
            return "open"
        if method == "POST" and path.endswith("/_count"):
            return "count"
        if method == "POST" and path.endswith("/_search"):
            return "edge"
        if method == "GET" and (kept := self._management(path)):
            return kept
        security = {"/": "root"} | ({"/_plugins/_security/authinfo": "identity"} if self.opensearch else {"/_security/_authenticate": "identity"})  # fmt: skip
        if method == "POST" and path == "/_security/user/_has_privileges" and not self.opensearch:
            return "rights"
        return security.get(path, "unknown") if method == "GET" else "unknown"

    def _management(self, path: str) -> str | None:
        """Which request of the security and life-cycle APIs it is."""
        if self.opensearch:
            known = {"/_plugins/_security/api/roles": "roles", "/_plugins/_security/api/rolesmapping": "mappings"}
            starts = {"/_plugins/_ism/explain/": "streams", "/_plugins/_ism/policies/": "policy"}
        else:
            known = {"/_security/role": "roles", "/_security/user": "users", "/_security/role_mapping": "mappings"}
            starts = {"/_data_stream/": "streams", "/_ilm/policy/": "policy"}
            if path.endswith("/_settings/index.lifecycle.name"):
                return "lifecycle"
        return known.get(path) or next((kind for start, kind in starts.items() if path.startswith(start)), None)

    def _managed(self, kind: str) -> Reply:
        if kind not in self.management:
            raise _ForbiddenError
        return self._ok(self.management[kind])

    def _roles(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._managed("roles")

    def _users(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._managed("users")

    def _mappings(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._managed("mappings")

    def _streams(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._managed("streams")

    def _lifecycle(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._managed("lifecycle")

    def _policy(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._managed("policy")

    def _trouble(self, fault: str | None, given: dict[str, Any]) -> Reply | None:
        if fault in ("429", "429_seconds", "429_date"):
            reply = self._error(429, "es_rejected_execution_exception", "rejected execution")
            if fault == "429_seconds":
                reply.headers["Retry-After"] = "7"
            if fault == "429_date":
                reply.headers["Retry-After"] = format_datetime(self._clock() + dt.timedelta(seconds=11), usegmt=True)
            return reply
        if fault == "503":
            return self._error(503, "no_shard_available_action_exception", "no shard available")
        if fault == "unauthorized":
            return self._error(401, "security_exception", "token expired")
        if fault == "vanished":
            return self._error(404, "index_not_found_exception", "no such index [logs-audit]")
        if fault == "breaker" and given.get("size", 0) > self.largest_page:
            self.plan.append(("page", "breaker"))
            return self._error(429, "circuit_breaking_exception", "Data too large")
        if fault == "pit_lost" and isinstance(given.get("pit"), dict):
            self._pits.pop(given["pit"].get("id"), None)
        return None

    def _spoiled(self, data: dict[str, Any], fault: str) -> None:
        """A good answer that lacks documents and says so; or has one twice."""
        hits = data.get("hits", {}).get("hits", [])
        if fault == "again":
            data["hits"]["hits"] = hits[:1] + hits
            return
        lost = self._random.randrange(SHARDS)
        if fault == "shards":
            data["_shards"]["failed"] = 1
        else:
            data["timed_out"] = True
        data["hits"]["hits"] = [hit for n, hit in enumerate(hits) if n == len(hits) - 1 or n % SHARDS != lost]

    def _clock(self) -> dt.datetime:
        return self.now + self.skew

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "Date": format_datetime(self._clock(), usegmt=True), "X-Elastic-Product": "Elasticsearch"}  # fmt: skip

    def _ok(self, data: dict[str, Any]) -> Reply:
        return Reply(200, data, self._headers())

    def _error(self, status: int, kind: str, reason: str) -> Reply:
        cause = {"type": kind, "reason": reason}
        return Reply(status, {"error": {"root_cause": [cause], **cause}, "status": status}, self._headers())

    def _named(self, path: str) -> list[Doc]:
        """The searchable documents of a pattern."""
        wanted = path.split("/")[1].split(",")
        known = self.indices | {doc.index for doc in self.docs}
        for name in wanted:
            if "*" not in name and name not in known:
                raise _MissingError(name)
        return [
            doc
            for doc in self.docs
            if doc.visible <= self.now
            and (doc.gone is None or doc.gone > self.now)
            and any(doc.index == name or ("*" in name and doc.index.startswith(name.split("*")[0])) for name in wanted)
        ]

    def _shards(self, path: str) -> dict[str, Any]:
        prefixes = [name.split("*")[0] for name in path.split("/")[1].split(",")]
        n = sum(any(index.startswith(prefix) for prefix in prefixes) for index in self.indices)
        return {"total": n * SHARDS, "successful": n * SHARDS, "skipped": 0, "failed": 0}

    def _root(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._ok({"name": "stub", "version": {"number": "3.1.0" if self.opensearch else "9.1.0"}})

    def _identity(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        return self._ok({"user_name" if self.opensearch else "username": "audit_reader"})

    def _rights(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        held = {
            name: {right: right in self.rights for right in part["privileges"]}
            for part in given["index"]
            for name in part["names"]
        }
        return self._ok({"username": "audit_reader", "has_all_requested": False, "index": held})

    def _count(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        self._may_read()
        n = sum(_matches(doc, given["query"]) for doc in self._named(path))
        return self._ok({"count": n, "_shards": self._shards(path)})

    def _may_read(self) -> None:
        if "read" not in self.rights:
            raise _ForbiddenError

    def _edge(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        self._may_read()
        ((name, how),) = given["sort"][0].items()
        found = [doc for doc in self._named(path) if _matches(doc, given["query"]) and doc.value(name) is not None]
        found.sort(key=lambda doc: doc.value(name) or 0, reverse=how["order"] == "desc")
        hits = [{"_index": doc.index, "_id": doc.id, "fields": {name: [_text(doc.value(name) or 0)]}} for doc in found[: given["size"]]]  # fmt: skip
        return self._ok({"took": 1, "timed_out": False, "_shards": self._shards(path), "hits": {"hits": hits}})

    def _open(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        if "keep_alive" not in params:
            raise _BadRequestError("keep_alive is required")
        docs = self._named(path)
        self._random.shuffle(docs)  # the order of a shard means nothing outside this point in time
        self._opened += 1
        first = f"pit-{self._opened}-0"
        self._pits[first] = _Pit(docs, first)
        self._paths = path
        return self._ok({"pit_id" if self.opensearch else "id": first, "_shards": self._shards(path)})

    def _close(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        wanted = given["pit_id"] if self.opensearch else [given["id"]]
        if not isinstance(wanted, list):
            raise _BadRequestError("pit_id is a list")
        for one in wanted:
            self._pits.pop(one, None)
        return self._ok({"succeeded": True, "num_freed": len(wanted)})

    def _page(self, path: str, params: Mapping[str, str], given: dict[str, Any]) -> Reply:
        pit = self._pits.pop(given["pit"]["id"], None)
        if pit is None:
            reply = self._error(404, "search_phase_execution_exception", "all shards failed")
            reply.data["error"]["root_cause"][0]["type"] = "search_context_missing_exception"
            return reply
        asked = json.dumps([given["query"], given["sort"]])
        if pit.asked not in (None, asked):
            raise _BadRequestError("query and sort must not change between pages")
        if not 1 <= given["size"] <= 10_000:
            raise _BadRequestError("Result window is too large")
        pit.asked = asked
        ordered = sorted((key, doc) for key, doc in self._keyed(pit, given) if _after(key, given.get("search_after")))
        newest = f"{pit.current.rsplit('-', 1)[0]}-{int(pit.current.rsplit('-', 1)[1]) + 1}"
        pit.current = newest
        self._pits[newest] = pit
        hits = [self._hit(doc, list(key), given) for key, doc in ordered[: given["size"]]]
        return self._ok({"pit_id": newest, "took": 1, "timed_out": False, "_shards": self._shards(self._paths), "hits": {"max_score": None, "hits": hits}})  # fmt: skip

    def _keyed(self, pit: _Pit, given: dict[str, Any]) -> list[tuple[tuple[Any, ...], Any]]:
        """Sort values of the documents that match; Elasticsearch adds `_shard_doc` by itself, OpenSearch does not know it."""
        ((name, how),) = given["sort"][0].items()
        tie = next(iter(given["sort"][1])) if len(given["sort"]) > 1 else None if self.opensearch else "_shard_doc"
        if self.opensearch and (tie == "_shard_doc" or set(how) - {"order", "unmapped_type"}):
            raise _BadRequestError("No mapping found for the sort, or an unknown key in it")
        found: list[tuple[tuple[Any, ...], Any]] = []
        for place, doc in enumerate(pit.docs):
            value = doc.value(name)
            if value is None or not _matches(doc, given["query"]):
                continue
            first: Any = _text(value) if "format" in how else value // 1000
            found.append(((first,) if tie is None else (first, doc.id if tie == "_id" else place), _Ordered(doc)))
        return found

    def _hit(self, doc: Any, values: list[Any], given: dict[str, Any]) -> dict[str, Any]:
        return {"_index": doc.doc.index, "_id": doc.doc.id, "_version": 1, "_score": None, "_source": doc.doc.source, "sort": values}  # fmt: skip


@dataclass
class _Ordered:
    """A document beside its sort values, of which none is greater."""

    doc: Doc

    def __lt__(self, other: object) -> bool:
        return False


def _after(key: tuple[Any, ...], after: list[Any] | None) -> bool:
    if after is None:
        return True
    if len(after) > len(key):
        raise _BadRequestError("search_after has more values than sort")
    return key[: len(after)] > tuple(after)


def _text(micros: int) -> str:
    return (EPOCH + dt.timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _micros(stamp: str) -> int:
    return (dt.datetime.fromisoformat(stamp) - EPOCH) // dt.timedelta(microseconds=1)


def _matches(doc: Doc, query: dict[str, Any]) -> bool:
    ((kind, part),) = query.items()
    if kind == "match_all":
        return True
    if kind == "bool":
        if set(part) - {"filter", "must_not"}:
            raise _BadRequestError(f"unknown in bool: {sorted(part)}")
        return all(_matches(doc, one) for one in part.get("filter", [])) and not any(
            _matches(doc, one) for one in part.get("must_not", [])
        )
    if kind == "exists":
        return doc.value(part["field"]) is not None
    if kind == "range":
        ((name, bounds),) = part.items()
        if set(bounds) - {"gte", "lt", "format"}:
            raise _BadRequestError(f"unknown in range: {sorted(bounds)}")
        value = doc.value(name)
        low, high = bounds.get("gte"), bounds.get("lt")
        return value is not None and (low is None or value >= _micros(low)) and (high is None or value < _micros(high))
    raise _BadRequestError(f"unknown query [{kind}]")


def _by_hand(now: dt.datetime, n: int, *, opensearch: bool) -> tuple[Store, str]:
    """A store with a sign-in a minute, up to now."""
    store = Store(now, opensearch=opensearch)
    for k in range(n):
        at = now - dt.timedelta(minutes=k)
        source = {"@timestamp": at.isoformat(timespec="milliseconds"), "event": {"category": ["authentication"], "type": ["start"], "outcome": "success"}, "user": {"name": f"person{k % 9}"}}  # fmt: skip
        store.docs.append(Doc("logs-audit", f"{k:08d}", source, at))
    return store, f"index logs-audit, api_key {SECRET}"


BY_HAND = {
    name: functools.partial(_by_hand, opensearch=name == "opensearch") for name in ("elasticsearch", "opensearch")
}
