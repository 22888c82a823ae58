"""Delivery: once, recorded before and after, trouble as an outcome, no secret anywhere."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
import sqlalchemy as sa

from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.mail import smtp
from audit_pipeline.mail.delivery import BACKFILL, Outcome, deliver
from audit_pipeline.mail.message import build
from audit_pipeline.state import deliveries
from audit_pipeline_tests.mail.smtp import Server, free_port
from audit_pipeline_tests.reports.company import LAST, Company

Report = dict[str, Any]
Serve = Callable[..., Server]
CISO, CLOUD = "ciso@example.com", "cloud@example.com"
NOT_AGAIN = dt.timedelta(0)
COPY = "reports/daily/2026-11-23/1/mail/all.eml"


class Post:
    """The company's mail of one report, ready to deliver."""

    def __init__(self, company: Company, report: Report, port: int = 1, **smtp: Any) -> None:
        self.company, self.report = company, report
        self.use(port, **smtp)

    def use(self, port: int, **smtp: Any) -> None:
        found = self.company.settings.smtp
        assert found is not None
        update = {"port": port, "timeout_s": 5.0, "retry_for": NOT_AGAIN, **smtp}
        self.settings = self.company.settings.model_copy(update={"smtp": found.model_copy(update=update)})

    def message(self, recipient: str) -> EmailMessage:
        company = self.company
        return build(
            self.report, recipient=recipient, settings=company.settings, clock=company.clock, page_url="https://a.example.com/", lake=company.lake
        )  # fmt: skip

    def deliver(self, *recipients: str, send: bool = True, edition: int = 1, **more: Any) -> list[Outcome]:
        company = self.company
        return deliver(
            company.engine, self.settings, company.clock, kind="daily", period="2026-11-23", edition=edition, message_for=self.message,
            recipients=recipients or (CISO, CLOUD), send=send, lake=company.lake, **more,
        )  # fmt: skip

    def rows(self) -> dict[str, Any]:
        with self.company.engine.connect() as connection:
            return {row.recipient: row for row in connection.execute(sa.select(deliveries))}

    def copy(self) -> EmailMessage:
        return message_from_bytes(self.company.lake.read(COPY), policy=default)


def test_a_mail_is_accepted_and_recorded(company: Company, report: Report, serve: Serve) -> None:
    server = serve()
    post = Post(company, report, server.port)
    assert [(one.recipient, one.outcome, one.sent_now) for one in post.deliver()] == [
        (CISO, "accepted", True),
        (CLOUD, "accepted", True),
    ]
    assert [recipient for recipient, _ in server.accepted] == [CISO, CLOUD]
    row = post.rows()[CISO]
    assert (row.outcome, row.intended_at, row.outcome_at) == (
        "accepted",
        "2026-11-24T03:00:00Z",
        "2026-11-24T03:00:00Z",
    )
    received = message_from_bytes(server.accepted[0][1], policy=default)
    assert received["Message-ID"] == row.message_id
    assert received["To"] == CISO
    assert received["Subject"].startswith("[BAD] SIMULATED Audit logs")
    assert post.copy()["To"] == f"{CISO}, {CLOUD}"
    assert post.copy()["X-Audit-Pipeline"] is None


def test_an_accepted_mail_is_never_sent_again(company: Company, report: Report, serve: Serve) -> None:
    server = serve()
    post = Post(company, report, server.port)
    post.deliver()
    before, kept = post.rows(), company.lake.read(COPY)
    company.clock = SimulatedClock(company.settings.as_of(LAST) + DAY)
    again = post.deliver(CISO, CLOUD, CISO)
    assert [(one.outcome, one.sent_now) for one in again] == [("accepted", False)] * 2
    assert len(server.accepted) == 2
    assert post.rows() == before
    assert company.lake.read(COPY) == kept
    (later,) = post.deliver(CISO, edition=2)
    assert (later.outcome, later.sent_now, len(server.accepted)) == ("accepted", False, 2)
    assert later.detail == "edition 1 was accepted; what changed is told in the next mail"
    copy = message_from_bytes(company.lake.read(COPY.replace("/1/", "/2/")), policy=default)
    assert copy["X-Audit-Pipeline"] == "not sent: a correction, told in the next mail"
    assert [one.sent_now for one in post.deliver("new@example.com", edition=2)] == [True], (
        "who got nothing gets the newest"
    )


@pytest.mark.parametrize("note", [BACKFILL, "written only"])
def test_nothing_is_sent_without_send(company: Company, report: Report, serve: Serve, note: str) -> None:
    server = serve()
    post = Post(company, report, server.port)
    assert post.deliver(send=False, why_not=note) == []
    assert server.accepted == []
    assert post.rows() == {}
    assert post.copy()["X-Audit-Pipeline"] == note


def test_a_sent_mail_is_not_called_unsent_by_a_later_run(company: Company, report: Report, serve: Serve) -> None:
    post = Post(company, report, serve().port)
    post.deliver(send=False)
    post.deliver()
    assert post.copy()["X-Audit-Pipeline"] is None
    post.deliver(send=False, why_not=BACKFILL)
    assert post.copy()["X-Audit-Pipeline"] is None


def test_a_refused_recipient_does_not_stop_the_others(company: Company, report: Report, serve: Serve) -> None:
    server = serve(refuse={CISO: "550 5.1.1 no such \x1b[31muser"})
    post = Post(company, report, server.port)
    first, second = post.deliver()
    assert (first.outcome, first.detail) == ("refused", "550 5.1.1 no such ␛[31muser")
    assert second.outcome == "accepted"
    assert post.rows()[CISO].outcome == "refused"
    server.refuse = {}
    assert [(one.outcome, one.sent_now) for one in post.deliver()] == [("accepted", True), ("accepted", False)]


@pytest.mark.parametrize(("answer", "outcome"), [("554 not this", "refused"), ("451 try later", "failed")])
def test_the_servers_word_decides(company: Company, report: Report, serve: Serve, answer: str, outcome: str) -> None:
    (one,) = Post(company, report, serve(data_answer=answer).port).deliver(CISO)
    assert (one.outcome, one.detail) == (outcome, answer)


def test_a_line_dropped_before_the_text_is_a_failure(company: Company, report: Report, serve: Serve) -> None:
    post = Post(company, report, serve(drop="rcpt").port)
    (one,) = post.deliver(CISO)
    assert one.outcome == "failed"
    assert "SMTPServerDisconnected" in one.detail
    assert post.rows()[CISO].outcome == "failed"


def ids(server: Server) -> list[str]:
    return [str(message_from_bytes(content, policy=default)["Message-ID"]) for _, content in server.accepted]


def test_a_line_cut_within_the_text_is_unknown_and_sent_once_more(
    company: Company, report: Report, serve: Serve
) -> None:
    server = serve(drop="data", times=1)
    post = Post(company, report, server.port)
    (one,) = post.deliver(CISO)
    assert (one.outcome, one.sent_now) == ("accepted", True)
    assert one.detail.startswith("unknown, sent again: by 127.0.0.1")
    assert ids(server) == [post.rows()[CISO].message_id] * 2, "the reader's program can tell that it is one mail"
    assert not post.deliver(CISO)[0].sent_now


def test_twice_unknown_stays_unknown_and_is_not_sent_a_third_time(
    company: Company, report: Report, serve: Serve
) -> None:
    server = serve(drop="data")
    post = Post(company, report, server.port, retry_for=dt.timedelta(minutes=9))
    (one,) = post.deliver(CISO)
    assert one.outcome is None
    assert one.detail.startswith("unknown after two tries, not sent again")
    assert post.rows()[CISO].outcome is None
    server.drop = None
    (again,) = post.deliver(CISO)
    assert (again.outcome, again.sent_now, len(server.accepted)) == (None, False, 2)


def test_a_rude_goodbye_does_not_undo_an_acceptance(company: Company, report: Report, serve: Serve) -> None:
    (one,) = Post(company, report, serve(drop="quit").port).deliver(CISO)
    assert one.outcome == "accepted"


def test_no_server_is_an_outcome_and_heals(company: Company, report: Report, serve: Serve) -> None:
    post = Post(company, report, free_port())
    (one,) = post.deliver(CISO)
    assert one.outcome == "failed"
    assert "ConnectionRefusedError" in one.detail
    server = serve()
    post.use(server.port)
    assert [found.outcome for found in post.deliver(CISO)] == ["accepted"]
    assert post.rows()[CISO].outcome == "accepted"


def test_a_silent_server_does_not_hold_the_night(company: Company, report: Report) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        (one,) = Post(company, report, mute.getsockname()[1], timeout_s=0.3).deliver(CISO)
    assert one.outcome == "failed"
    assert "timed out" in one.detail


def test_no_configuration_is_an_outcome(company: Company, report: Report) -> None:
    post = Post(company, report)
    post.settings = post.settings.model_copy(update={"smtp": None})
    (one,) = post.deliver(CISO)
    assert (one.outcome, one.detail) == ("failed", "no mail server: add smtp to the configuration")


class KilledError(Exception):
    """The process ends here."""


def crash(post: Post, monkeypatch: pytest.MonkeyPatch, *, after_smtp: bool) -> None:
    """A night that ends between intent and outcome: before the server has the mail, or after."""
    send = smtp.send

    def dies(*given: Any) -> smtp.Answer:
        assert post.rows()[CISO].outcome is None, "the intent is committed before SMTP"
        if after_smtp:
            send(*given)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(smtp, "send", dies)
        with pytest.raises(KilledError):
            post.deliver(CISO)


@pytest.mark.parametrize("after_smtp", [True, False])
def test_a_crash_between_intent_and_outcome_sends_once_more(
    company: Company, report: Report, serve: Serve, monkeypatch: pytest.MonkeyPatch, after_smtp: bool
) -> None:
    server = serve()
    post = Post(company, report, server.port)
    crash(post, monkeypatch, after_smtp=after_smtp)
    (one,) = post.deliver(CISO)
    assert (one.outcome, one.sent_now) == ("accepted", True)
    assert one.detail.startswith("unknown, sent again")
    assert post.rows()[CISO].detail.startswith("unknown, sent again")
    ids = {message_from_bytes(content, policy=default)["Message-ID"] for _, content in server.accepted}
    assert len(server.accepted) == 1 + after_smtp
    assert ids == {post.rows()[CISO].message_id}
    (last,) = post.deliver(CISO)
    assert not last.sent_now


def test_two_crashes_are_not_followed_by_a_third_mail(
    company: Company, report: Report, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    post = Post(company, report, server.port)
    crash(post, monkeypatch, after_smtp=True)
    crash(post, monkeypatch, after_smtp=True)
    (one,) = post.deliver(CISO)
    assert (one.outcome, one.sent_now) == (None, False)
    assert "not sent again" in one.detail
    assert len(server.accepted) == 2


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nobody",
        "a@b\r\nBcc: x@y",
        "Ana <ana@example.com>",
        "ana@exämple.com",
        "a b@example.com",
        "a@example.com>",
        "@example.com",
    ],
)
def test_what_is_no_address_is_refused_unsent(company: Company, report: Report, serve: Serve, address: str) -> None:
    server = serve()
    first, second = Post(company, report, server.port).deliver(address, CLOUD)
    assert (first.outcome, first.sent_now) == ("refused", False)
    assert second.outcome == "accepted"
    assert [recipient for recipient, _ in server.accepted] == [CLOUD]


def test_a_password_is_used_and_told_to_nobody(
    company: Company, report: Report, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(password="hunter2-secret")
    post = Post(company, report, server.port, username="audit")
    monkeypatch.delenv("SMTP_PASSWORD", raising=False)
    (missing,) = post.deliver(CISO)
    assert missing.outcome == "failed"
    assert missing.detail == "no password: set the environment variable SMTP_PASSWORD, or smtp.password_file"
    monkeypatch.setenv("SMTP_PASSWORD", "wrong-secret")
    (wrong,) = post.deliver(CISO)
    assert (wrong.outcome, wrong.detail) == ("failed", "the server did not accept user and password (535)")
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2-secret")
    (right,) = post.deliver(CISO)
    assert right.outcome == "accepted"
    assert server.logins[-1] == ("audit", "hunter2-secret")
    assert not [one for one in (missing, wrong, right) if "secret" in one.detail]


def test_a_server_that_echoes_the_password_is_not_quoted(
    company: Company, report: Report, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2-secret")
    server = serve(password="hunter2-secret", refuse={CISO: "550 you said hunter2-secret"})
    (one,) = Post(company, report, server.port, username="audit").deliver(CISO)
    assert one.detail == "550 you said (withheld)"


def test_starttls_is_not_given_up_silently(company: Company, report: Report, serve: Serve) -> None:
    server = serve()
    (one,) = Post(company, report, server.port, security="starttls").deliver(CISO)
    assert one.outcome == "failed"
    assert "STARTTLS" in one.detail
    assert server.accepted == [], "nothing went out in the clear"


def test_tls_to_a_plain_server_fails(company: Company, report: Report, serve: Serve) -> None:
    (one,) = Post(company, report, serve().port, security="tls", timeout_s=2.0).deliver(CISO)
    assert one.outcome == "failed"
