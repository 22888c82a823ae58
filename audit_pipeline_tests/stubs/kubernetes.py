"""A Kubernetes API server as a collector meets it: its audit log with rotation, `/metrics`, reviews and roles; and its trouble.

Written from kubernetes/apiserver `pkg/audit/{context,metrics}.go` and `plugin/pkg/audit/log/backend.go` (names and meaning of counters; the
fields of an event in their order), natefinch/lumberjack `lumberjack.go` (names of copies, packing, deletion), prometheus.io "Exposition formats",
and the API reference of rbac.authorization.k8s.io/v1, authorization.k8s.io/v1, authentication.k8s.io/v1 and the `Status` of a refusal.
Strict: another method, an unknown path, parameter or key, or a missing token is refused. Time is `now`, which only the owner moves.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from audit_pipeline_tests.stubs.wire import Misbehaving, Reply

SECRET = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.dG9rZW4"
FAULTS = (
    "503",
    "429",
    "refused",
    "cut",
    "slow",
    "content_type",
    "unauthorized",
    "forbidden",
    "no_audit",
    "short",
    "odd_value",
)
"""`no_audit` are metrics without the audit's; `short` lacks the end of the text, with a good length."""
_GROUP = "rbac.authorization.k8s.io"
_LISTS = {
    f"/apis/{_GROUP}/v1/clusterroles": "ClusterRoleList", f"/apis/{_GROUP}/v1/clusterrolebindings": "ClusterRoleBindingList",
    f"/apis/{_GROUP}/v1/namespaces/kube-system/roles": "RoleList", f"/apis/{_GROUP}/v1/namespaces/kube-system/rolebindings": "RoleBindingList",
}  # fmt: skip


def event(audit_id: str, received: dt.datetime, written: dt.datetime | None = None, **fields: Any) -> dict[str, Any]:
    """An event of the log backend, as `Metadata` has it."""
    stage = {
        "level": "Metadata",
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/secrets/db",
        "verb": "get",
    }
    who = {
        "user": {"username": "ann@example.com", "groups": ["system:authenticated"]},
        "sourceIPs": ["10.1.2.3"],
        "userAgent": "kubectl/v1.34.1",
    }
    what = {
        "objectRef": {"resource": "secrets", "namespace": "shop", "name": "db", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
    }
    times = {"requestReceivedTimestamp": _micro(received), "stageTimestamp": _micro(written or received)}
    return (
        {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}
        | stage
        | who
        | what
        | times
        | {"annotations": {"authorization.k8s.io/decision": "allow"}}
        | fields
    )


def _line(one: dict[str, Any]) -> bytes:
    return json.dumps(one, separators=(",", ":")).encode() + b"\n"


def _micro(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


@dataclass
class ApiServer(Misbehaving):
    """The stub: one process that writes `folder/audit.log`."""

    folder: Path
    now: dt.datetime
    maxbackup: int = 100
    compress: bool = False
    events: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    started: dt.datetime | None = None
    rights: frozenset[str] = frozenset({"/metrics", "clusterroles", "clusterrolebindings", "roles", "rolebindings"})
    roles: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """kind of list to its items"""
    date: bool = True
    """whether answers have a `Date`"""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.started = self.started or self.now - dt.timedelta(days=9)

    # The audit

    @property
    def log(self) -> Path:
        return self.folder / "audit.log"

    def write(self, *events: dict[str, Any]) -> None:
        """Audit these: counted, then written."""
        self.events += len(events)
        self.end(b"".join(map(_line, events)))

    def begin(self, one: dict[str, Any]) -> bytes:
        """Audit this, and be interrupted in the middle of its line; what is still to be written."""
        self.events += 1
        line = _line(one)
        self.end(line[:70])
        return line[70:]

    def end(self, data: bytes) -> None:
        """Write this."""
        with self.log.open("ab") as file:
            file.write(data)
        self._touch(self.log)

    def drop(self, n: int = 1, plugin: str = "buffered") -> None:
        """As many events are counted, and could not be kept."""
        self.events += n
        self.errors[plugin] += n

    def restart(self) -> None:
        """Another process; it goes on with the log."""
        self.events, self.errors, self.rejected, self.started = 0, Counter(), 0, self.now

    def rotate(self) -> Path:
        """The log becomes a copy, perhaps packed; the oldest copies above `maxbackup` are deleted."""
        taken, at = {copy.name.removesuffix(".gz") for copy in self.copies()}, self.now
        while (name := f"audit-{at:%Y-%m-%dT%H-%M-%S}.{at.microsecond // 1000:03d}.log") in taken:
            at += dt.timedelta(milliseconds=1)
        copy = self.folder / name
        self.log.rename(copy)
        self.log.touch()
        self._touch(self.log)
        for old in self.copies()[: -self.maxbackup]:
            old.unlink()
        return self.pack(copy) if self.compress and copy.exists() else copy

    def pack(self, copy: Path) -> Path:
        packed = copy.with_name(copy.name + ".gz")
        packed.write_bytes(gzip.compress(copy.read_bytes(), mtime=0))
        self._touch(packed)
        copy.unlink()
        return packed

    def copies(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("audit-*.log*"))

    def _touch(self, path: Path) -> None:
        os.utime(path, (self.now.timestamp(), self.now.timestamp()))

    # The wire

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        kind = {"/metrics": "metrics", "/version": "version"}.get(path) or ("list" if path in _LISTS else "review")
        self.asked[kind] += 1
        if self.before is not None:
            self.before(kind)
        sent = {name.lower(): value for name, value in headers.items()}
        fault = self._fault(kind)
        if sent.get("authorization") != f"Bearer {SECRET}" or fault == "unauthorized":
            return self._status(401, "Unauthorized", f"Unauthorized: {sent.get('authorization')}")
        if fault in ("503", "429"):
            return self._status(
                int(fault), "ServiceUnavailable", "the server is currently unable to handle the request"
            )
        reply = self._answer(method, path, params, body, fault)
        reply.fault = fault if fault in ("cut", "slow", "refused") else None
        return reply

    def _answer(self, method: str, path: str, params: Mapping[str, str], body: bytes, fault: str | None) -> Reply:
        if params:
            return self._status(400, "BadRequest", f"unknown parameters {sorted(params)}")
        if method == "POST":
            return self._review(path, json.loads(body))
        if method != "GET" or body:
            return self._status(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        if path == "/version":
            return self._ok({"major": "1", "minor": "34", "gitVersion": "v1.34.1"})
        if path == "/metrics":
            return self._metrics(fault)
        if path in _LISTS:
            name = path.rsplit("/", 1)[1]
            if name not in self.rights or fault == "forbidden":
                return self._status(
                    403,
                    "Forbidden",
                    f'{name}.{_GROUP} is forbidden: User "system:serviceaccount:audit:pipeline" cannot list resource "{name}" in API group "{_GROUP}"',
                )
            kind = _LISTS[path]
            return self._ok(
                {
                    "kind": kind,
                    "apiVersion": f"{_GROUP}/v1",
                    "metadata": {"resourceVersion": "4711"},
                    "items": self.roles.get(kind, []),
                }
            )
        return self._status(404, "NotFound", "the server could not find the requested resource")

    def _metrics(self, fault: str | None) -> Reply:
        if "/metrics" not in self.rights or fault == "forbidden":
            return self._status(
                403, "Forbidden", 'forbidden: User "system:serviceaccount:audit:pipeline" cannot get path "/metrics"'
            )
        if fault == "content_type":
            return Reply(200, b"<html>please sign in</html>", self._headers() | {"Content-Type": "text/html"})
        text = self.exposition(audit=fault != "no_audit")
        if fault == "odd_value":
            text = text.replace(f"event_total {self.events}", "event_total NaN")
        data = text.encode()
        return Reply(
            200,
            data[:-1] if fault == "short" else data,
            self._headers() | {"Content-Type": "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"},
        )

    def exposition(self, *, audit: bool = True) -> str:
        """The text format, with other metrics around."""
        assert self.started is not None
        lines = [
            'aggregator_unavailable_apiservice{name="v1.\\"odd\\"} 9"} 0',
            "# TYPE apiserver_request_total counter",
            'apiserver_request_total{code="200",verb="GET"} 8123',
        ]
        if audit:
            lines += [
                "# HELP apiserver_audit_event_total [ALPHA] Counter of audit events generated and sent to the audit backend.",
                "# TYPE apiserver_audit_event_total counter",
                f"apiserver_audit_event_total {self.events}",
            ]
            lines += [
                f'apiserver_audit_error_total{{plugin="{plugin}"}} {n}' for plugin, n in sorted(self.errors.items())
            ]
            lines += [
                'apiserver_audit_level_total{level="Metadata"} 5',
                f"apiserver_audit_requests_rejected_total {self.rejected}",
            ]
        return "\n".join([*lines, f"process_start_time_seconds {self.started.timestamp():.11e}"]) + "\n"

    def _review(self, path: str, given: dict[str, Any]) -> Reply:
        if path == "/apis/authentication.k8s.io/v1/selfsubjectreviews" and set(given) == {"apiVersion", "kind"}:
            return self._ok(given | {"status": {"userInfo": {"username": "system:serviceaccount:audit:pipeline"}}}, 201)
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" and set(given) == {
            "apiVersion",
            "kind",
            "spec",
        }:
            spec = given["spec"]
            wanted = (
                spec["resourceAttributes"]["resource"]
                if "resourceAttributes" in spec
                else spec["nonResourceAttributes"]["path"]
            )
            return self._ok(given | {"status": {"allowed": wanted in self.rights}}, 201)
        return self._status(404, "NotFound", "the server could not find the requested resource")

    def _headers(self) -> dict[str, str]:
        date = {"Date": format_datetime(self.now + self.skew, usegmt=True)} if self.date else {}
        return {"Content-Type": "application/json", "Audit-Id": "4a5b"} | date

    def _ok(self, data: dict[str, Any], status: int = 200) -> Reply:
        return Reply(status, data, self._headers())

    def _status(self, code: int, reason: str, message: str) -> Reply:
        return Reply(
            code,
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": reason,
                "code": code,
            },
            self._headers(),
        )


def _by_hand(now: dt.datetime, records: int) -> tuple[ApiServer, str]:
    """One event a minute up to now, in a log that was rotated once, in a new folder."""
    server = ApiServer(
        Path(tempfile.mkdtemp(prefix="kubernetes-")), now, started=now - dt.timedelta(minutes=records + 1)
    )
    for n in range(records):
        server.now = now - dt.timedelta(minutes=records - n)
        server.write(event(f"{n:08d}", server.now))
        if n == records // 2:
            server.rotate()
    server.now = now
    return server, f'paths: ["{server.folder}/audit*.log*"], bearer {SECRET}'


BY_HAND = {"kubernetes": _by_hand}
