"""Splunk as a collector meets it: export searches, counts, server, roles and users; and their trouble.

Written from help.splunk.com: REST API Reference ("search/v2/jobs/export", "server/info", "authentication/current-context",
"authorization/roles", "authentication/users", "data/indexes"), Search Reference ("tstats", "Time modifiers"); the shape of exported
lines from splunk/splunk-sdk-python (tests/data/resultsreader); texts of messages from Splunk's Troubleshooting Manual ("Intermittent
authentication timeouts on search peers") and community.splunk.com. Strict: an unknown parameter, a wrong value of one, a search of a
form that it does not know, a wrong method or a missing header is refused. Time is `now`, which only the owner moves.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, unquote

from audit_pipeline_tests.stubs.wire import Misbehaving, RefusedError, Reply

SECRET = "eyJraWQiOiJzcGx1bmsuc2VjcmV0In0.c2VjcmV0.dG9rZW4"
PASSWORD = "correct-horse-battery"
PEERS = 3
BERLIN = dt.timezone(dt.timedelta(hours=2))
_EXPORT = {"search", "earliest_time", "latest_time", "output_mode", "preview", "segmentation"}
_FIXED = {"output_mode": "json", "preview": "0", "segmentation": "none"}
_INDEX = r'\((?P<index>index="[\w*-]+"(?: OR index="[\w*-]+")*)\)'
_FILTER = r"(?: \((?P<filter>sourcetype=\w+)\))?"
_SEARCHES = {
    "rows": re.compile(
        rf'search {_INDEX}{_FILTER} _index_earliest=(?P<low>\d+) _index_latest=(?P<high>\d+) \| eval event_time=strftime\(_time, "%s\.%6N"\) \| fields (?P<fields>\w+(?:, \w+)*)'
    ),
    "count": re.compile(
        rf"\| tstats count where {_INDEX} _index_latest=(?P<high>\d+) by _time span=15m \| eval day=floor\(_time/86400\) \| stats sum\(count\) as count by day"
    ),
    "counted": re.compile(rf"search {_INDEX}{_FILTER} _index_latest=(?P<high>\d+) \| eval day=floor\(_time/86400\) \| stats count by day"),
    "edge": re.compile(rf"\| tstats min\(_time\) as oldest, max\(_indextime\) as newest where {_INDEX}"),
}  # fmt: skip
SAID = {
    "peer": ("WARN", "Search results might be incomplete: the search process on the peer idx2 ended prematurely. Check the peer log."),
    "undistributed": ("WARN", 'Unable to distribute to peer named idx2 at uri https://idx2:8089 because peer has status = "Down".'),
    "finalized": ("INFO", "The search was auto-finalized after its time limit of 60 s was reached."),
    "truncated": ("ERROR", "[idx2] Events might not be returned in sub-second order due to search memory limits: results were truncated."),
    "unknown": ("WARN", "[idx2] Something new that no list of ours has."),
}  # fmt: skip
"""Good answers that lack rows and say so: fault to message."""
FAULTS = (
    "429", "429_seconds", "503", "refused", "cut", "slow", "content_type", "unauthorized", "forbidden", "no_lastrow", "only_preview", "preview", "again", "fatal_quota", "fatal", "chatter", *SAID,
)  # fmt: skip
"""What may go wrong with a request; `preview` and `chatter` are good answers with previews or harmless messages; `again` repeats a row."""
READER = {"username": "audit_reader", "roles": ["audit_reader"], "capabilities": ["search", "list_all_roles", "list_all_users", "rest_properties_get"]}  # fmt: skip
ROLES: dict[str, dict[str, Any]] = {
    "admin": {"capabilities": ["search", "indexes_edit", "edit_tcp"], "imported_capabilities": [], "srchIndexesAllowed": ["*", "_*"], "imported_srchIndexesAllowed": [], "srchFilter": ""},
    "can_delete": {"capabilities": ["delete_by_keyword"], "imported_capabilities": ["search"], "srchIndexesAllowed": [], "imported_srchIndexesAllowed": "_*", "srchFilter": ""},
    "elsewhere": {"capabilities": ["search", "delete_by_keyword"], "imported_capabilities": [], "srchIndexesAllowed": ["main"], "imported_srchIndexesAllowed": [], "srchFilter": ""},
    "user": {"capabilities": ["search"], "imported_capabilities": [], "srchIndexesAllowed": ["*"], "imported_srchIndexesAllowed": [], "srchFilter": ""},
    "ops": {"capabilities": ["search"], "imported_capabilities": [], "srchIndexesAllowed": ["_audit"], "imported_srchIndexesAllowed": [], "srchFilter": "user!=ann"},
    "audit_reader": {"capabilities": ["search"], "imported_capabilities": [], "srchIndexesAllowed": ["_audit"], "imported_srchIndexesAllowed": [], "srchFilter": "", "srchTimeWin": -1, "srchTimeEarliest": -1},
}  # fmt: skip
USERS = {"root": ["admin", "can_delete"], "ann": "user", "audit_reader": ["audit_reader"]}


@dataclass(frozen=True)
class Event:
    """An event: it can be searched from `visible` on (real time), until it is frozen."""

    bkt: str
    cd: str
    time: dt.datetime
    """its own"""
    indexed: dt.datetime
    """by the clock of the indexer"""
    visible: dt.datetime
    gone: dt.datetime | None = None
    index: str = "_audit"
    sourcetype: str = "audittrail"
    raw: str = ""

    @functools.cached_property
    def at(self) -> float:
        """Its own time in seconds since 1970."""
        return self.time.timestamp()

    @functools.cached_property
    def second(self) -> int:
        """In which it was indexed."""
        return int(self.indexed.timestamp())

    @functools.cached_property
    def row(self) -> dict[str, Any]:
        """All fields that a search may ask for, as text; `_time` in the zone of the reader."""
        return {
            "event_time": f"{self.at:.6f}", "_time": self.time.astimezone(BERLIN).isoformat(timespec="milliseconds"), "_indextime": str(self.second),
            "_raw": self.raw, "host": "sh1", "source": "audittrail", "sourcetype": self.sourcetype, "index": self.index, "_cd": self.cd, "_bkt": self.bkt,
        }  # fmt: skip


@dataclass
class Splunk(Misbehaving):
    """The stub."""

    now: dt.datetime
    events: list[Event] = field(default_factory=list)
    searched: list[dict[str, str]] = field(default_factory=list)
    """the forms of all searches, and the path that they were sent to"""
    old: bool = False
    """a server that has no v2 paths"""
    indexes: frozenset[str] = frozenset({"_audit"})
    readable: frozenset[str] = frozenset({"_audit"})
    """what the reader's role may search; other indexes look as if they were not there"""
    context: dict[str, Any] = field(default_factory=lambda: dict(READER))
    limits: dict[str, Any] = field(default_factory=dict)
    """of the reader's own role, such as `srchFilter`"""
    frozen_s: int | None = 188_697_600
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        self.now += self.tick
        sent = {name.lower(): value for name, value in headers.items()}
        try:
            kind, form = self._kind(method, path, params, sent, body)
        except RefusedError as error:
            return self._error(error.status, "FATAL", str(error))
        self.asked[kind] += 1
        if self.before is not None:
            self.before(kind)
        if sent.get("authorization") not in (f"Bearer {SECRET}", _basic()):
            return self._error(401, "WARN", f"call not properly authenticated: {sent.get('authorization')}")
        fault = self._fault(kind)
        if (reply := self._trouble(fault)) is not None:
            return reply
        try:
            reply = self._answer(kind, path, form, fault)
        except RefusedError as error:
            return self._error(error.status, "FATAL" if error.status == 400 else "ERROR", str(error))
        reply.fault = fault if fault in ("cut", "slow", "refused") else None
        return reply

    def _kind(self, method: str, path: str, params: Mapping[str, str], sent: Mapping[str, str], body: bytes) -> tuple[str, dict[str, str]]:  # fmt: skip
        if path in ("/services/search/v2/jobs/export", "/services/search/jobs/export"):
            if "/v2/" in path and self.old:
                raise RefusedError(404, "Not Found")
            if method != "POST" or params:
                raise RefusedError(405, "Method Not Allowed")
            if sent.get("content-type") != "application/x-www-form-urlencoded":
                raise RefusedError(400, "a form is expected")
            return self._search(path, dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)))
        kinds = {"/services/server/info": "server", "/services/authentication/current-context": "context", "/services/authorization/roles": "roles", "/services/authentication/users": "users"}  # fmt: skip
        named = {"/services/data/indexes/": "index", "/services/authorization/roles/": "role"}
        kind = next((kind for begin, kind in named.items() if path.startswith(begin)), kinds.get(path))
        if kind is None:
            raise RefusedError(404, "Not Found")
        if method != "GET" or params.get("output_mode") != "json" or set(params) - {"output_mode", "count"}:
            raise RefusedError(400, "unknown argument")
        return kind, {}

    def _search(self, path: str, form: dict[str, str]) -> tuple[str, dict[str, str]]:
        if set(form) != _EXPORT or any(form[name] != value for name, value in _FIXED.items()):
            raise RefusedError(400, f"unexpected arguments: {sorted(set(form) ^ _EXPORT)}")
        if not all(form[name].isdecimal() for name in ("earliest_time", "latest_time")):
            raise RefusedError(400, "Invalid earliest_time.")
        self.searched.append(form | {"path": path})
        for kind, pattern in _SEARCHES.items():
            if match := pattern.fullmatch(form["search"]):
                return ("count" if kind == "counted" else kind), form | {name: value or "" for name, value in match.groupdict().items()}  # fmt: skip
        raise RefusedError(400, f"Error in 'SearchParser': unexpected search {form['search']}")

    def _trouble(self, fault: str | None) -> Reply | None:
        if fault in ("429", "429_seconds"):
            reply = self._error(429, "ERROR", "Too Many Requests")
            reply.headers |= {"Retry-After": "7"} if fault == "429_seconds" else {}
            return reply
        if fault == "503":
            return self._error(503, "ERROR", "The maximum number of concurrent historical searches on this instance has been reached.")  # fmt: skip
        if fault == "unauthorized":
            return self._error(401, "WARN", "call not properly authenticated")
        if fault == "forbidden":
            return self._error(403, "ERROR", "insufficient permission to access this resource")
        if fault == "content_type":
            return Reply(200, b"<html>please sign in</html>", self._headers() | {"Content-Type": "text/html"})
        if fault in ("fatal", "fatal_quota"):
            text = "Search not executed: The maximum disk usage quota for this user has been reached." if fault == "fatal_quota" else "Error in 'tstats' command: this role cannot run it."  # fmt: skip
            return self._lines([{"messages": [{"type": "FATAL", "text": text}]}])
        return None

    def _answer(self, kind: str, path: str, form: dict[str, str], fault: str | None) -> Reply:
        if kind in ("rows", "count", "edge"):
            return self._exported(self._found(kind, form, fault), fault)
        found: Reply = getattr(self, f"_{kind}")(path)
        return found

    def _found(self, kind: str, form: dict[str, str], fault: str | None) -> list[dict[str, Any]]:
        """The rows of a search; a peer that is down gives none of its own."""
        lost = self._random.randrange(PEERS) if fault in SAID else None
        found = [e for n, e in enumerate(self._matching(form)) if lost is None or n % PEERS != lost]
        if kind == "rows":
            names = form["fields"].split(", ")
            self._random.shuffle(found)  # peers stream as they find
            return [{name: value for name, value in e.row.items() if name in names} for e in found]
        if kind == "count":
            days = Counter(int(e.at) // 86_400 for e in found)
            return [{"day": str(day), "count": str(n)} for day, n in sorted(days.items())]
        if not found:
            return [{}]  # statistics over nothing are one row without values
        return [{"oldest": f"{min(e.at for e in found):.6f}", "newest": str(max(e.second for e in found))}]  # fmt: skip

    def _matching(self, form: dict[str, str]) -> list[Event]:
        wanted = re.findall(r'index="([\w*-]+)"', form["index"])
        low, high = int(form.get("low") or 0), int(form.get("high") or 2**62)
        earliest, latest = int(form["earliest_time"]), int(form["latest_time"])
        kind = form.get("filter", "").partition("=")[2]
        return [
            e
            for e in self.events
            if low <= e.second < high and earliest <= e.at < latest
            and e.visible <= self.now and (e.gone is None or e.gone > self.now)
            and e.index in self.readable and any(fnmatchcase(e.index, name) for name in wanted)
            and (not kind or e.sourcetype == kind)
        ]  # fmt: skip

    def _exported(self, rows: list[dict[str, Any]], fault: str | None) -> Reply:
        lines: list[dict[str, Any]] = []
        if fault in SAID:
            lines.append({"preview": False, "messages": [{"type": kind, "text": text} for kind, text in [SAID[fault]]]})
        if fault == "chatter":
            texts = [("INFO", "Your timerange was substituted based on your search string"), ("WARN", "Configuration initialization for /opt/splunk/etc took longer than expected (1234ms)"), ("DEBUG", "peer list")]  # fmt: skip
            lines.append({"messages": [{"type": kind, "text": text} for kind, text in texts]})
        if fault in ("preview", "only_preview"):
            lines += [{"preview": True, "offset": n, "result": row} for n, row in enumerate(rows[:3])]
            lines += [{"preview": True, "lastrow": True}]
        if fault == "only_preview":
            return self._lines(lines)
        final = [{"preview": False, "offset": n, "result": row} for n, row in enumerate(rows)]
        if fault == "again":
            final = final[:1] + final
        if fault == "no_lastrow":
            return self._lines(
                lines + final[: (len(final) + 1) // 2]
            )  # the one that is left has no mark, as in the midst of many
        if final:
            final[-1] = {**final[-1], "lastrow": True}
        return self._lines(lines + (final or [{"preview": False, "lastrow": True}]))

    def _lines(self, lines: list[dict[str, Any]]) -> Reply:
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        return Reply(200, data, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json; charset=UTF-8", "Date": format_datetime(self.now + self.skew, usegmt=True), "Server": "Splunkd"}  # fmt: skip

    def _error(self, status: int, kind: str, text: str) -> Reply:
        return Reply(status, {"messages": [{"type": kind, "text": text}]}, self._headers())

    def _listed(self, entries: Mapping[str, dict[str, Any]]) -> Reply:
        entry = [{"name": name, "id": f"https://splunk/{name}", "content": content} for name, content in entries.items()]  # fmt: skip
        return Reply(200, {"links": {}, "generator": {"version": "9.4.1"}, "entry": entry, "messages": []}, self._headers())  # fmt: skip

    def _server(self, path: str) -> Reply:
        return self._listed({"server-info": {"version": "8.2.6" if self.old else "9.4.1", "serverName": "sh1"}})

    def _context(self, path: str) -> Reply:
        return self._listed({"context": self.context})

    def _may(self, capability: str) -> None:
        if capability not in self.context["capabilities"]:
            raise RefusedError(403, f"You (user={self.context['username']}) do not have permission to perform this operation (requires capability: {capability}).")  # fmt: skip

    def _roles(self, path: str) -> Reply:
        self._may("list_all_roles")
        return self._listed(ROLES)

    def _role(self, path: str) -> Reply:
        name = unquote(path.rsplit("/", 1)[-1])
        if name not in self.context["roles"]:
            self._may("list_all_roles")
        return self._listed({name: ROLES[name] | self.limits})

    def _users(self, path: str) -> Reply:
        self._may("list_all_users")
        return self._listed({name: {"roles": roles, "type": "Splunk"} for name, roles in USERS.items()})

    def _index(self, path: str) -> Reply:
        name = unquote(path.rsplit("/", 1)[-1])
        if name not in self.indexes or self.frozen_s is None:
            raise RefusedError(404, f"Could not find object id={name}")
        return self._listed({name: {"frozenTimePeriodInSecs": self.frozen_s, "maxTotalDataSizeMB": 500_000}})


def _basic() -> str:
    return "Basic " + base64.b64encode(f"audit_reader:{PASSWORD}".encode()).decode()


def _by_hand(now: dt.datetime, n: int) -> tuple[Splunk, str]:
    """Events of the audit trail, one a minute; to be asked with the token."""
    made = Splunk(now)
    for k in range(n):
        at = now - k * dt.timedelta(minutes=1)
        raw = f"Audit:[timestamp={at:%m-%d-%Y %H:%M:%S.000}, user=person{k % 9}, action=login attempt, info=succeeded reason=user-initiated clientip=10.0.0.{k % 9} method=Splunk]"
        made.events.append(Event("_audit~1~STUB", f"1:{k}", at, at, at, raw=raw))
    return made, f"index _audit, bearer {SECRET}; kinds edge, count, rows, roles, users; faults {', '.join(FAULTS)}"


BY_HAND = {"splunk": _by_hand}
