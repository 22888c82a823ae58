"""The demo's own hoop.dev gateway: answers over HTTP on loopback with what there is at the simulated time.

Belongs here: a small server and how a record looks before it has ended. Not here: the records (`hoop`), any trouble (the tests' stub).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from email.utils import format_datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from audit_pipeline.clock import midnight

PORT = 18_009
"""Asked for first, so that a demo's configuration is the same each time."""
KEY, KEY_FILE = "hpk_demo_of_the_audit_pipeline", "hoop.key"
"""The key of the demo's gateway, which holds nothing but inventions; and where the configuration finds it."""
_LIMIT = 100
Row = tuple[dt.datetime, dict[str, Any]]


def at_time(session: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    """A session as it was at a time after its beginning: before its end it is open, before its review that is pending."""
    found = dict(session)
    review = session["review"]
    if review is not None:
        groups = review["review_groups_data"]
        if any(dt.datetime.fromisoformat(group["review_date"]) > now for group in groups):
            waiting = [group | {"status": "PENDING", "reviewed_by": None, "review_date": None, "forced_review": False} for group in groups]  # fmt: skip
            found["review"] = review | {"status": "PENDING", "review_groups_data": waiting}
        elif dt.datetime.fromisoformat(session["end_date"]) > now and review["status"] == "EXECUTED":
            found["review"] = review | {"status": "PROCESSING"}
    if dt.datetime.fromisoformat(session["end_date"]) > now:
        found |= {"status": "open", "end_date": None, "exit_code": None, "guardrails_info": None}
    return found


class Gateway:
    """What the gateway of a demo's folder answers; `now` is the demo's time."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.now = midnight(dt.date(2000, 1, 1))

    @cached_property
    def _rows(self) -> dict[str, list[Row]]:
        """Sessions and acts, the newest first."""
        found: dict[str, list[Row]] = {"sessions": [], "acts": []}
        for file in sorted(self._logs.glob("*.jsonl.gz")):
            for line in gzip.decompress(file.read_bytes()).splitlines():
                record = json.loads(line)
                kind, stamp = ("sessions", "start_date") if "start_date" in record else ("acts", "created_at")
                found[kind].append((dt.datetime.fromisoformat(record[stamp]), record))
        for rows in found.values():
            rows.sort(key=lambda row: (row[0], row[1]["id"]), reverse=True)
        return found

    def answer(self, path: str, params: Mapping[str, str]) -> tuple[int, Any]:
        """Status and body of a request."""
        if path == "/api/userinfo":
            return 200, {"email": "audit-pipeline@example.com", "role": "auditor", "groups": ["auditor"], "status": "active"}  # fmt: skip
        if path == "/api/users":
            return 200, [{"email": email, "role": role, "status": "active", "groups": [role]} for email, role in _USERS]
        if path == "/api/sessions":
            return 200, self._sessions(params)
        if path == "/api/audit/logs":
            return 200, self._acts(params)
        uid = path.removeprefix("/api/sessions/")
        for at, session in self._rows["sessions"]:
            if session["id"] == uid and at <= self.now:
                return 200, at_time(session, self.now)
        return 404, {"message": "not found"}

    def _sessions(self, params: Mapping[str, str]) -> dict[str, Any]:
        offset, limit = int(params.get("offset", "0")), min(int(params.get("limit", "20")), _LIMIT)
        found = self._between("sessions", params.get("start_date"), params.get("end_date"))
        shown = [at_time(session, self.now) for _, session in found[offset : offset + limit]]
        return {"data": shown, "total": len(found), "total_is_capped": False, "has_next_page": len(found) > offset + limit}  # fmt: skip

    def _acts(self, params: Mapping[str, str]) -> dict[str, Any]:
        page, size = int(params.get("page", "1")), int(params.get("page_size", "50"))
        found = self._between("acts", params.get("created_after"), params.get("created_before"))
        shown = [act for _, act in found[(page - 1) * size : page * size]]
        return {"pages": {"total": len(found), "page": page, "size": size}, "data": shown}

    def _between(self, kind: str, first: str | None, last: str | None) -> list[Row]:
        low = dt.datetime.fromisoformat(first) if first else midnight(dt.date(2000, 1, 1))
        high = min(dt.datetime.fromisoformat(last), self.now) if last else self.now
        return [row for row in self._rows[kind] if low <= row[0] <= high]


_USERS = (("gateway-admin@example.com", "admin"), ("audit-pipeline@example.com", "auditor"))


@contextlib.contextmanager
def served(gateway: Gateway) -> Iterator[str]:
    """The gateway on loopback, while the caller wants it; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            admitted = self.headers.get("Authorization") == f"Bearer {KEY}"
            status, data = gateway.answer(url.path, dict(parse_qsl(url.query))) if admitted else (401, {"message": "access denied"})  # fmt: skip
            body = json.dumps(data).encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Date", format_datetime(gateway.now, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = _bound(Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bound(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """On the usual port, else on a free one."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", PORT), handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)
