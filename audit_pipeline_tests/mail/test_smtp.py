"""SMTP in all its moods, against a real server: TLS, login, greylisting, slowness, size, and how long it is tried again."""

from __future__ import annotations

import datetime as dt
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.mail import smtp
from audit_pipeline.mail.smtp import Answer, Patience
from audit_pipeline.preflight import check
from audit_pipeline.settings import Settings
from audit_pipeline_tests.mail.smtp import Authority, Server, free_port

Serve = Callable[..., Server]
TO = "ciso@example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def configured(root: Path, port: int, **keys: Any) -> Settings:
    given = {"host": "127.0.0.1", "port": port, "from": "audit@example.com", "timeout_s": 5, **keys}
    lines = "".join(f"  {name}: {value}\n" for name, value in given.items())
    text = f"start: 2026-01-01\nsources: {{a: {{type: files, format: cloudtrail, paths: [x]}}}}\nsmtp:\n{lines}"
    return Settings.from_text(text, root / "pipeline.yaml")


def letter(text: str = "Hello\n.a line that begins with a dot\n..two\nend") -> EmailMessage:
    made = EmailMessage(policy=SMTP)
    made["Subject"], made["To"], made["From"] = "Test", TO, "audit@example.com"
    made.set_content(text, cte="quoted-printable")
    return made


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, monotonic=lambda: self.now, sleep=self.sleep)


def send(settings: Settings, seconds: float = 0, clock: Time | None = None) -> Answer:
    return smtp.send(settings, TO, letter(), (clock or Time()).patience(seconds))


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
@pytest.mark.parametrize("login", [True, False], ids=["login", "no login"])
def test_it_arrives_as_it_was(
    tmp_path: Path, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, security: str, login: bool
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2-secret")
    server = serve(
        password="hunter2-secret" if login else None,
        tls=authority.context if security == "tls" else None,
        starttls=authority.context if security == "starttls" else None,
    )
    keys = {"host": "localhost", "security": security, "ca_file": authority.file}
    settings = configured(tmp_path, server.port, **keys, **({"username": "audit"} if login else {}))
    assert smtp.probe(settings) is None
    answer = send(settings)
    assert (answer.outcome, answer.may_pass) == ("accepted", False)
    ((recipient, content),) = server.accepted
    assert recipient == TO
    assert content.rstrip() == letter().as_bytes().rstrip(), "dots and line ends came through"
    assert server.secured == [security != "none"]
    assert set(server.logins) == ({("audit", "hunter2-secret")} if login else set())


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(("host", "known"), [("localhost", False), ("127.0.0.1", True)], ids=["stranger", "other name"])
def test_a_certificate_that_proves_nothing_ends_it_at_once(
    tmp_path: Path, serve: Serve, authority: Authority, security: str, host: str, known: bool
) -> None:
    clock = Time()
    server = serve(**{security: authority.context})
    ca = {"ca_file": authority.file} if known else {}
    answer = send(configured(tmp_path, server.port, host=host, security=security, **ca), 600, clock)
    assert answer.outcome == "failed"
    assert "CERTIFICATE_VERIFY_FAILED" in answer.detail or "certificate verify failed" in answer.detail
    assert (server.accepted, server.tried, clock.slept) == ([], [], [])


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    answer = send(configured(tmp_path, 1, security="tls", ca_file="nowhere.pem"))
    assert (answer.outcome, answer.may_pass) == ("failed", False)
    assert f"smtp.ca_file {tmp_path / 'nowhere.pem'}" in answer.detail


def test_the_password_may_lie_in_a_file(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMTP_PASSWORD", raising=False)
    server = serve(password="from-a-file ")
    settings = configured(tmp_path, server.port, username="audit", password_file="secrets/smtp")
    missing = send(settings)
    assert (missing.outcome, server.logins) == ("failed", [])
    assert "password_file" in missing.detail
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/smtp").write_text("from-a-file \nsecond line\n")
    assert send(settings).outcome == "accepted"
    monkeypatch.setenv("SMTP_PASSWORD", "from-the-environment")
    refused = send(settings)
    assert (refused.outcome, server.logins[-1][1]) == ("failed", "from-the-environment")
    assert "from-the-environment" not in refused.detail


def test_greylisting_is_waited_for(tmp_path: Path, serve: Serve) -> None:
    clock, server = Time(), serve(refuse={TO: "451 4.7.1 greylisted"}, times=4)
    answer = send(configured(tmp_path, server.port), 120, clock)
    assert answer.outcome == "accepted"
    assert clock.slept == [1, 2, 4, 8]
    assert len(server.accepted) == 1


def test_patience_ends_and_says_so(tmp_path: Path, serve: Serve) -> None:
    clock, server = Time(), serve(refuse={TO: "451 4.7.1 greylisted"})
    answer = send(configured(tmp_path, server.port), 10, clock)
    assert (answer.outcome, answer.detail) == ("failed", "451 4.7.1 greylisted (tried 4 times)")
    assert sum(clock.slept) == 7
    assert len(server.tried) == 4


def test_patience_is_one_for_a_whole_night(tmp_path: Path) -> None:
    clock = Time()
    settings, patience = configured(tmp_path, free_port()), clock.patience(10)
    for _ in range(20):
        assert smtp.send(settings, TO, letter(), patience).outcome == "failed"
    assert sum(clock.slept) <= 10


def test_a_refusal_is_not_asked_again(tmp_path: Path, serve: Serve) -> None:
    clock, server = Time(), serve(refuse={TO: "550 5.1.1 no such user"})
    answer = send(configured(tmp_path, server.port), 600, clock)
    assert (answer.outcome, answer.detail) == ("refused", "550 5.1.1 no such user")
    assert (len(server.tried), clock.slept) == (1, [])


def test_a_server_that_comes_back_gets_it(tmp_path: Path, serve: Serve) -> None:
    clock, port = Time(), free_port()
    started: list[Server] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 2:
            server = Server()
            server.port = port
            server._controller.port = port
            server.start()
            started.append(server)

    try:
        patience = Patience(60, monotonic=lambda: clock.now, sleep=sleep)
        assert smtp.send(configured(tmp_path, port), TO, letter(), patience).outcome == "accepted"
    finally:
        for server in started:
            server.stop()
    assert len(started[0].accepted) == 1


def test_too_large_is_refused_by_its_size_alone(tmp_path: Path, serve: Serve) -> None:
    server = serve(size=100)
    answer = send(configured(tmp_path, server.port), 600)
    assert answer.outcome == "refused"
    assert answer.detail.startswith("552")
    assert server.tried == [], "the server was told the size before anything else"


def test_an_answer_quotes_no_secret(tmp_path: Path, serve: Serve) -> None:
    server = serve(refuse={TO: "550 token=abc123 rejected"})
    assert send(configured(tmp_path, server.port)).detail == "550 token=(masked) rejected"


@pytest.fixture
def drip() -> Iterator[int]:
    """A server that sends a piece of its greeting every 50 ms, and never ends it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        over = threading.Event()

        def talk() -> None:
            line, _ = listening.accept()
            with line:
                while not over.wait(0.05):
                    try:
                        line.sendall(b"220-still here\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=talk)
        thread.start()
        yield int(listening.getsockname()[1])
        over.set()
        thread.join()


def test_a_server_that_drips_does_not_hold_the_night(tmp_path: Path, drip: int) -> None:
    begin = time.monotonic()
    answer = send(configured(tmp_path, drip, timeout_s=0.2))
    assert answer.outcome == "failed"
    assert time.monotonic() - begin < 3


def test_patience_comes_from_the_configuration(tmp_path: Path) -> None:
    assert Patience.of(configured(tmp_path, 1)).seconds == 120
    assert Patience.of(configured(tmp_path, 1, retry_for="10m")).seconds == 600
    assert configured(tmp_path, 1).smtp is not None
    assert dt.timedelta(minutes=2) == configured(tmp_path, 1).smtp.retry_for  # type: ignore[union-attr]


def test_check_logs_in_as_a_night_would(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(password="right")
    settings = configured(tmp_path, server.port, username="audit")
    monkeypatch.setenv("SMTP_PASSWORD", "wrong")
    found = {probe.what: probe for probe in check(settings)}["smtp"]
    assert not found.ok
    assert "did not accept user and password (535)" in found.detail
    monkeypatch.setenv("SMTP_PASSWORD", "right")
    assert {probe.what: probe.ok for probe in check(settings)}["smtp"]
    assert server.accepted == []
