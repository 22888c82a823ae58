"""The shared client over real sockets and certificates: what is waited for, what is refused, and what is never said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from audit_pipeline.sections import HttpSettings
from audit_pipeline.sources import http as module
from audit_pipeline.sources.base import SourceError
from audit_pipeline.sources.http import Http, PassingError, PermissionRefusedError, RefusedError, TooLargeError, Waiting
from audit_pipeline_tests.mail.smtp import Authority
from audit_pipeline_tests.stubs.wire import Reply, Time, Transport, serve

JSON = {"Content-Type": "application/json"}


class Scripted:
    """Answers with the replies in order, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies, self.seen = list(replies), list[tuple[str, str, dict[str, str], bytes]]()

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        self.seen.append((method, path, {name.lower(): value for name, value in headers.items()}, body))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def ok(**data: Any) -> Reply:
    return Reply(200, data or {"a": 1}, dict(JSON))


def opened(stub: Scripted, time: Time | None = None, **settings: Any) -> Http:
    time = time or Time()
    given = HttpSettings.model_validate({"url": "http://127.0.0.1:1"} | settings)
    return Http(given, str, waiting=Waiting(time.sleep, time.monotonic), transport=Transport(stub, time))


@pytest.fixture
def served() -> Iterator[Callable[[Scripted], str]]:
    """Starts a stub on loopback; gives its address."""
    servers = []

    def start(stub: Scripted) -> str:
        server = serve(stub)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("fault", ["refused", "cut", None])
def test_over_a_socket(served: Callable[[Scripted], str], fault: str | None) -> None:
    """A line that breaks before or within the answer is opened anew."""
    stub = Scripted(Reply(200, {"a": 1}, dict(JSON), fault), ok(a=2))
    time = Time()
    with Http(HttpSettings(url=served(stub)), str, waiting=Waiting(time.sleep, time.monotonic)) as http:
        answer = http.request("POST", "/x", params={"p": "é&="}, body={"q": "é"})
    assert answer.data == {"a": 1 if fault is None else 2}
    assert len(stub.seen) == (1 if fault is None else 2)
    assert json.loads(stub.seen[0][3]) == {"q": "é"}


def test_a_body_that_drips_does_not_hold_the_night(served: Callable[[Scripted], str]) -> None:
    stub = Scripted(Reply(200, {"a": "x" * 200}, dict(JSON), "slow"))
    settings = HttpSettings.model_validate({"url": served(stub), "timeout": "1s", "budget": "1s"})
    with Http(settings, str) as http, pytest.raises(SourceError, match="took longer than 1 s"):
        http.request("GET", "/")


def test_waits_grow_and_end_with_the_budget() -> None:
    time, stub = Time(), Scripted(Reply(503, {}, dict(JSON)))
    with opened(stub, time, budget="5m") as http, pytest.raises(SourceError, match=r"503.*tried \d+ times"):
        http.request("GET", "/")
    assert 4 * 60 < time.seconds <= 5 * 60
    assert max(time.waits) <= module.LONGEST_WAIT_S
    assert all(wait >= 0.5 for wait in time.waits)


def test_the_same_seed_waits_the_same() -> None:
    waits = []
    for seed in (1, 1, 2):
        time = Time()
        settings = HttpSettings.model_validate({"url": "http://127.0.0.1:1", "budget": "1m"})
        transport = Transport(Scripted(Reply(503, {}, dict(JSON))), time)
        with Http(settings, str, waiting=Waiting(time.sleep, time.monotonic, seed), transport=transport) as http, pytest.raises(SourceError):  # fmt: skip
            http.request("GET", "/")
        waits.append(time.waits)
    assert waits[0] == waits[1] != waits[2]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "Mon, 02 Jun 2025 12:00:30 GMT", "Date": "Mon, 02 Jun 2025 12:00:00 GMT"}, 30),
        ({"Retry-After": "Mon, 02 Jun 2025 11:00:00 GMT", "Date": "Mon, 02 Jun 2025 12:00:00 GMT"}, 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_servers_wait_is_kept(status: int, headers: dict[str, str], wait: float) -> None:
    time, stub = Time(), Scripted(Reply(status, {}, JSON | headers), ok())
    with opened(stub, time) as http:
        http.request("GET", "/")
    assert time.waits == [wait]


@pytest.mark.parametrize("header", ["soon", "-5", "1e9", "9" * 400, ""])
def test_a_wait_that_makes_no_sense_is_not_slept(header: str) -> None:
    time, stub = Time(), Scripted(Reply(429, {}, JSON | {"Retry-After": header}), ok())
    with opened(stub, time, budget="1m") as http:
        if header.isdecimal():
            with pytest.raises(SourceError, match="429"):
                http.request("GET", "/")
        else:
            http.request("GET", "/")
    assert time.seconds <= 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_right_that_is_lacking_is_said_at_once(status: int) -> None:
    time, stub = Time(), Scripted(Reply(status, {"error": {"type": "security_exception", "reason": "no\x1b[31m read"}}, dict(JSON)))  # fmt: skip
    with opened(stub, time) as http, pytest.raises(PermissionRefusedError, match=rf"{status}.*no \[31m read.*rights"):
        http.request("GET", "/")
    assert (len(stub.seen), time.waits) == (1, [])


def test_another_refusal_is_one_at_once_and_has_its_body() -> None:
    with opened(Scripted(Reply(400, {"error": "wrong"}, dict(JSON)))) as http, pytest.raises(RefusedError) as caught:
        http.request("GET", "/")
    assert (caught.value.status, json.loads(caught.value.body)) == (400, {"error": "wrong"})


def test_no_redirect_is_followed(served: Callable[[Scripted], str]) -> None:
    """Credentials do not leave for another host."""
    elsewhere = Scripted(ok())
    there = served(elsewhere)
    here = Scripted(Reply(307, {}, JSON | {"Location": there + "/x"}))
    with Http(HttpSettings(url=served(here)), str) as http, pytest.raises(SourceError, match=r"redirects to 127.0.0.1"):
        http.request("GET", "/")
    assert elsewhere.seen == []


def test_an_answer_without_bound_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 1000)
    with opened(Scripted(ok(a="x" * 2000))) as http, pytest.raises(TooLargeError, match="1000 bytes"):
        http.request("GET", "/")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"a":1}', {}),
        Reply(200, b'{"a":', dict(JSON)),
        Reply(200, b"[1]", dict(JSON)),
        Reply(200, b"[" * 100_000, dict(JSON)),
    ],
)
def test_a_good_status_with_a_bad_body_is_tried_again(reply: Reply) -> None:
    stub = Scripted(reply, ok())
    with opened(stub) as http:
        assert http.request("GET", "/").data == {"a": 1}
    assert len(stub.seen) == 2


def test_an_escaped_lone_surrogate_is_json() -> None:
    with opened(Scripted(Reply(200, b'{"a":"\\ud800"}', dict(JSON)))) as http:
        assert http.request("GET", "/").data == {"a": "\ud800"}


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"api_key": {"env": "KEY"}}, "ApiKey s3cret"),
        ({"bearer": {"file": "FILE"}}, "Bearer f1le"),
        ({"username": "ann", "password": {"env": "KEY"}}, "Basic YW5uOnMzY3JldA=="),
        ({}, None),
    ],
)
def test_credentials(auth: dict[str, Any], header: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    (tmp_path / "FILE").write_text("f1le\nnot this\n")
    stub, time = Scripted(Reply(500, {"error": "you sent s3cret f1le YW5uOnMzY3JldA=="}, dict(JSON))), Time()
    given = HttpSettings.model_validate({"url": "http://127.0.0.1:1", "auth": auth, "budget": "1s"})
    http = Http(given, lambda name: str(tmp_path / name), waiting=Waiting(time.sleep, time.monotonic), transport=Transport(stub, time))  # fmt: skip
    with http, pytest.raises(SourceError) as caught:
        http.request("GET", "/")
    assert stub.seen[0][2].get("authorization") == header
    assert header is None or (header.split(" ")[1] not in str(caught.value) and "***" in str(caught.value))
    assert "s3cret" not in f"{given!r}{http!r}"


@pytest.mark.parametrize(("value", "words"), [(None, "variable KEY"), ("", "variable KEY"), ("a\nb", "variable KEY"), ("pä", "variable KEY")])  # fmt: skip
def test_a_secret_that_cannot_be_sent(value: str | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("KEY", value)
    with pytest.raises(SourceError, match=f"http.auth.api_key: environment {words} holds no usable secret"):
        opened(Scripted(ok()), auth={"api_key": {"env": "KEY"}})


@pytest.mark.parametrize(
    "given",
    [
        {"url": "ftp://a"},
        {"url": "https://ann:pw@host"},
        {"url": "https://"},
        {"url": "https://a", "auth": {"api_key": {}}},
        {"url": "https://a", "auth": {"api_key": {"env": "A", "file": "B"}}},
        {"url": "https://a", "auth": {"username": "ann"}},
        {"url": "https://a", "auth": {"bearer": {"env": "A"}, "api_key": {"env": "A"}}},
        {"url": "https://a", "auth": {"api_key": "the secret itself"}},
    ],
)
def test_a_configuration_that_cannot_be_meant(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpSettings.model_validate(given)


def test_a_certificate_is_refused_until_its_authority_is_named(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
    authority, other = Authority(tmp_path / "mine"), Authority(tmp_path / "other")
    stub = Scripted(ok())
    server = serve(stub)
    server.socket = authority.context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"https://localhost:{server.server_port}"
    try:
        for ca_file in (None, str(other.file)):
            time = Time()
            with Http(HttpSettings(url=url, ca_file=ca_file), str, waiting=Waiting(time.sleep, time.monotonic)) as http, pytest.raises(SourceError, match=r"not trusted\. Set http\.ca_file"):  # fmt: skip
                http.request("GET", "/")
            assert (time.waits, stub.seen) == ([], [])
        with Http(HttpSettings(url=url, ca_file=str(authority.file)), str) as http:
            assert http.request("GET", "/").data == {"a": 1}
        with pytest.raises(SourceError, match=r"http\.ca_file .*nowhere"):
            Http(HttpSettings(url=url, ca_file=str(tmp_path / "nowhere")), str)
    finally:
        server.shutdown()
        server.server_close()


def test_a_form_and_secret_headers_are_sent_and_the_headers_are_never_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k-3141592")
    stub = Scripted(ok(), Reply(400, {"errors": ["no such key k-3141592"]}, dict(JSON)))
    headers = {"DD-API-KEY": {"file": str(tmp_path / "key")}}
    with opened(stub, auth={"headers": headers}) as http:
        http.request("POST", "/x", form={"search": "a=1 & b"})
        with pytest.raises(RefusedError, match=r"no such key \*\*\*") as raised:
            http.request("GET", "/x")
    assert "3141592" not in str(raised.value)
    sent = stub.seen[0]
    assert (sent[2]["dd-api-key"], sent[2]["content-type"]) == ("k-3141592", "application/x-www-form-urlencoded")
    assert sent[3] == b"search=a%3D1+%26+b"


def test_an_answer_may_be_read_otherwise(tmp_path: Path) -> None:
    """A reader that finds an answer cut short has it asked for again."""

    def lines(kind: str, data: bytes) -> list[bytes]:
        if not data.endswith(b"end"):
            raise PassingError("no end")
        return data.split()

    stub = Scripted(Reply(200, b"a b", {"Content-Type": "text/plain"}), Reply(200, b"a b end", {"Content-Type": "text/plain"}))  # fmt: skip
    with opened(stub) as http:
        assert http.request("GET", "/metrics", read=lines).data == [b"a", b"b", b"end"]


def test_seconds_to_the_next_period_are_waited_for_and_a_moment_since_1970_is_not() -> None:
    for header, waited in (("17", 17.0), ("1767225600", None)):
        time = Time()
        limited = Reply(429, {}, JSON | {"X-RateLimit-Reset": header})
        with opened(Scripted(limited, ok()), time) as http:
            http.request("GET", "/x")
        assert (time.waits[0] == waited) if waited else (time.waits[0] <= 1.0)


def test_no_more_requests_a_second_than_allowed() -> None:
    time = Time()
    with opened(Scripted(ok()), time, rate=0.5) as http:
        for _ in range(4):
            http.request("GET", "/x")
    assert time.seconds == pytest.approx(6.0)
