"""What every stub shares: a reply that can be cut or slow, a transport without sockets, and a server on loopback."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import httpx


@dataclass
class Reply:
    """An answer; `fault` says how it goes wrong on the wire: `cut`, `slow`, `refused`."""

    status: int
    data: Any
    headers: dict[str, str] = field(default_factory=dict)
    fault: str | None = None

    @property
    def body(self) -> bytes:
        return self.data if isinstance(self.data, bytes) else json.dumps(self.data).encode()


class Stub(Protocol):
    """Answers a request; free of sockets."""

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply: ...  # fmt: skip


class RefusedError(Exception):
    """A stub refuses a request with this status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(kw_only=True)
class Misbehaving:
    """What every stub has to go wrong by."""

    plan: list[tuple[str, str]] = field(default_factory=list)
    """(kind of request, fault), each fires once on the next request of its kind"""
    fired: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    """requests by kind"""
    skew: dt.timedelta = dt.timedelta(0)
    """by which its clock is wrong"""
    tick: dt.timedelta = dt.timedelta(0)
    """so much passes with each request"""
    before: Callable[[str], None] | None = None
    """called with the kind of each request: a test may kill the collector here"""

    def _fault(self, kind: str) -> str | None:
        for at, (wanted, fault) in enumerate(self.plan):
            if wanted == kind:
                del self.plan[at]
                self.fired[fault] += 1
                return fault
        return None


@dataclass
class Time:
    """Seconds that pass by waiting only."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self) -> None:
        self.seconds += 90

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds


class _Body(httpx.SyncByteStream):
    def __init__(self, reply: Reply, slow: Callable[[], None]) -> None:
        self._reply, self._slow = reply, slow

    def __iter__(self) -> Iterator[bytes]:
        body = self._reply.body
        if self._reply.fault == "cut":
            yield body[: len(body) // 2]
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        if self._reply.fault == "slow":
            self._slow()
        yield body


class Transport(httpx.BaseTransport):
    """The stub behind a client, without a socket; a slow body lets 90 s of `time` pass."""

    def __init__(self, stub: Stub, time: Time) -> None:
        self._stub, self._time = stub, time

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = urlsplit(str(request.url))
        reply = self._stub.handle(request.method, url.path, dict(parse_qsl(url.query)), request.headers, request.read())
        if reply.fault == "refused":
            raise httpx.ConnectError("Connection refused")
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply, self._time.pass_by))


def serve(stub: Stub, port: int = 0) -> ThreadingHTTPServer:
    """A server on loopback; the caller runs and closes it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = stub.handle(self.command, url.path, dict(parse_qsl(url.query)), self.headers, body)  # type: ignore[arg-type]
            if reply.fault == "refused":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = reply.body
            self.send_response_only(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.fault == "slow":
                with contextlib.suppress(ConnectionError):  # who asked has gone, as it should
                    for n in range(len(data)):
                        self.wfile.write(data[n : n + 1])
                        time.sleep(0.05)
            elif reply.fault == "cut":
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            else:
                self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
