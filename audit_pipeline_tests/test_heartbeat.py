"""The heartbeat, against a real HTTP server on loopback: a watcher that is ill never breaks the night, and its URL is told to nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audit_pipeline import heartbeat


class Watcher(ThreadingHTTPServer):
    """Counts calls; answers by path."""

    calls: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: Watcher

    def do_GET(self) -> None:
        """200, 404, a redirect, or silence."""
        self.server.calls.append(self.path)
        if self.path.startswith("/silent"):
            threading.Event().wait(1.0)
            return
        code = {"/ok": 200, "/gone": 404, "/moved": 302}[self.path.split("?")[0]]
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/ok")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    server = Watcher(("127.0.0.1", 0), _Handler)
    server.calls = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_watcher_is_called_once(watcher: Watcher) -> None:
    assert heartbeat.beat(f"http://127.0.0.1:{watcher.server_port}/ok?token=s3cr3t") == "called"
    assert watcher.calls == ["/ok?token=s3cr3t"]


@pytest.mark.parametrize(("path", "word"), [("/gone", "404"), ("/moved", "302"), ("/silent", "no answer")])
def test_a_watcher_that_is_ill_is_a_sentence(
    watcher: Watcher, path: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT_S", 0.2)
    said = heartbeat.beat(f"http://127.0.0.1:{watcher.server_port}{path}?token=s3cr3t")
    assert word in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x?token=s3cr3t", "nonsense s3cr3t", "http://[s3cr3t/", "ftp://s3cr3t/"])  # fmt: skip
def test_a_wrong_url_is_a_sentence_too(url: str) -> None:
    said = heartbeat.beat(url)
    assert said.startswith("not called")
    assert "s3cr3t" not in said
