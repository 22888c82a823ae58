"""Mails of a report: to all and to each team what is theirs, corrections in the next one, weekly and monthly like daily."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
import sqlalchemy as sa

from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.errors import UserError
from audit_pipeline.mail import audience
from audit_pipeline.mail.audience import audiences
from audit_pipeline.mail.daily import mail_daily
from audit_pipeline.mail.delivery import Outcome
from audit_pipeline.mail.message import WORDS
from audit_pipeline.mail.periodic import mail_report
from audit_pipeline.reports import page, text
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.monthly import publish_monthly
from audit_pipeline.reports.weekly import publish_weekly
from audit_pipeline.settings import Settings
from audit_pipeline.state import deliveries
from audit_pipeline_tests.mail.smtp import Server
from audit_pipeline_tests.reports.company import CONFIG, LAST, Company, completeness, detection, detections, kpi, kpis

Serve = Callable[..., Server]
CISO, CLOUD, PLATFORM, PAYMENTS = (
    "ciso@example.com",
    "cloud@example.com",
    "platform@example.com",
    "payments@example.com",
)


def configure(company: Company, port: int, **changes: str) -> Company:
    given = CONFIG.format(clock="simulated").replace("port: 25", f"port: {port}, retry_for: 0s, timeout_s: 5")
    for old, new in changes.items():
        assert CONFIGURED[old] in given
        given = given.replace(CONFIGURED[old], new)
    company.settings = Settings.from_text(given, company.settings.file)
    return company


CONFIGURED = {
    "to": "{daily: {to: [ciso@example.com, cloud@example.com]}, base",
    "teams": "platform: {mail: [platform@example.com]",
}


def night(company: Company, day: dt.date = LAST, *, send: bool = True) -> list[Outcome]:
    clock = SimulatedClock(company.settings.as_of(day))
    publish_daily(company.settings, company.lake, day, clock)
    return mail_daily(company.settings, company.lake, day, clock, send=send)[0]


def read(server: Server) -> dict[str, EmailMessage]:
    return {recipient: message_from_bytes(content, policy=default) for recipient, content in server.accepted}


def body(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def copy(company: Company, name: str, day: dt.date = LAST, edition: int = 1) -> EmailMessage:
    return message_from_bytes(company.lake.read(f"reports/daily/{day}/{edition}/mail/{name}.eml"), policy=default)


def test_each_team_gets_its_own_and_the_others_everything(company: Company, serve: Serve) -> None:
    server = serve()
    outcomes = night(configure(company, server.port))
    assert [(one.recipient, one.outcome) for one in outcomes] == [
        (who, "accepted") for who in (CISO, CLOUD, PLATFORM, PAYMENTS)
    ]
    mails = read(server)
    whole, platform, payments = (body(mails[who]) for who in (CISO, PLATFORM, PAYMENTS))
    assert "Sources whole: 2 of 3, segments: 42" in whole
    assert "first 5 of 13" in whole
    assert body(mails[CLOUD]) == whole, "an address in `to` gets the whole report, and no second mail"
    assert "Sources whole: 1 of 1, segments: 14" in platform
    assert "NEEDS YOU\n- nothing" in platform
    assert "payments_db" not in platform
    assert "Nothing waits for a decision, and the one source was judged whole" in platform
    assert mails[PLATFORM]["Subject"].startswith(
        "[ATTENTION] SIMULATED Audit logs 2026-11-23, platform: nothing waits, 1 of 1 sources whole"
    )
    assert mails[PAYMENTS]["Subject"].startswith(
        "[ATTENTION] SIMULATED Audit logs 2026-11-23, payments: nothing waits, 1 source incomplete"
    )
    assert "payments_db: silent 08:02 to 17:03" in payments
    root = body(mails[CISO]).split("Root: ")[1].split()[0]
    assert all(root in body(mail) for mail in mails.values()), "whoever keeps a mail can prove the whole"


def test_a_copy_of_each_lies_beside_the_report(company: Company, serve: Serve) -> None:
    server = serve()
    night(configure(company, server.port))
    folder = f"reports/daily/{LAST}/1/mail"
    assert company.lake.names(folder) == ["all.eml", "cloud.eml", "payments.eml", "platform.eml"]
    assert copy(company, "all")["To"] == f"{CISO}, {CLOUD}"
    assert copy(company, "platform")["To"] == PLATFORM
    assert copy(company, "platform")["X-Audit-Pipeline"] is None
    assert copy(company, "cloud")["X-Audit-Pipeline"] == "written only", "cloud's address gets the whole report"
    assert body(copy(company, "cloud")).count("Burst of failed sign-ins") == 5
    assert len({copy(company, name)["Message-ID"] for name in ("all", "cloud", "payments", "platform")}) == 4


def test_without_send_nothing_goes_out_and_every_copy_says_so(company: Company, serve: Serve) -> None:
    server = serve()
    assert night(configure(company, server.port), send=False) == []
    assert server.accepted == []
    assert {copy(company, name)["X-Audit-Pipeline"] for name in ("all", "platform")} == {"written only"}
    clock = SimulatedClock(company.settings.as_of(LAST) + 2 * DAY)
    mail_daily(company.settings, company.lake, LAST, clock, send=False)
    assert {copy(company, name)["X-Audit-Pipeline"] for name in ("all", "platform")} == {"not sent: backfill"}


def test_one_address_gets_one_mail_for_all_its_teams(company: Company, serve: Serve) -> None:
    server = serve()
    configure(company, server.port, teams=f"platform: {{mail: [{PLATFORM}, {PAYMENTS}]")
    groups = {group.name: group.recipients for group in audiences(company.settings, "daily")}
    assert groups == {
        "all": (CISO, CLOUD),
        "cloud": (),
        "platform": (PLATFORM,),
        "payments": (),
        "platform+payments": (PAYMENTS,),
    }
    night(company)
    assert [recipient for recipient, _ in server.accepted].count(PAYMENTS) == 1
    mixed = read(server)[PAYMENTS]
    assert "Sources whole: 1 of 2" in body(mixed)
    assert "2026-11-23, platform and payments: " in mixed["Subject"]


def test_a_team_that_owns_nothing_is_told_so_truly(company: Company, serve: Serve) -> None:
    server = serve()
    configure(company, server.port, teams="idle: {mail: [idle@example.com]}\n  platform: {mail: []")
    night(company)
    mail = read(server)["idle@example.com"]
    assert "Nothing waits." in body(mail)
    assert "Sources whole" not in body(mail)
    assert mail["Subject"].endswith("2026-11-23, idle: nothing waits")
    assert "cid:" not in body(mail, "html"), "no picture of nothing"
    assert PLATFORM not in read(server)


def test_a_teams_kpi_is_its_own_number_or_marked_as_that_of_all(company: Company, serve: Serve) -> None:
    server = serve()
    own = kpi(LAST, "failed_sign_ins", "team:platform", 7.0, n=7, population=900)
    company.write("kpis", [*kpis(LAST), own], LAST)
    night(configure(company, server.port))
    platform = body(read(server)[PLATFORM])
    assert "(7 of 900)" in platform
    assert "all teams)" in platform
    assert "7 of 900" not in body(read(server)[CISO])
    assert "all teams" not in body(read(server)[CISO])


def test_who_refuses_does_not_keep_the_others_from_theirs(company: Company, serve: Serve) -> None:
    server = serve(refuse={PLATFORM: "550 no such user"})
    outcomes = {one.recipient: one.outcome for one in night(configure(company, server.port))}
    assert outcomes == {CISO: "accepted", CLOUD: "accepted", PLATFORM: "refused", PAYMENTS: "accepted"}


def late(company: Company, day: dt.date, events: int) -> None:
    """Records of `payments_db` came after the report: the day is made again, its report too, and nothing is mailed."""
    rows = completeness(day)
    for row in rows:
        if row["source"] == "payments_db":
            row["events"] = events
    company.write("completeness", rows, day)
    publish_daily(company.settings, company.lake, day, SimulatedClock(company.settings.as_of(day)))


@pytest.fixture
def corrected(company: Company, serve: Serve) -> tuple[Company, Server]:
    """The report of the day before was mailed; then it got a second edition."""
    server = serve()
    configure(company, server.port)
    night(company, LAST - DAY)
    server.accepted.clear()
    late(company, LAST - DAY, 4_321)
    return company, server


def test_a_correction_is_told_in_the_next_mail_and_only_there(corrected: tuple[Company, Server]) -> None:
    company, server = corrected
    again = mail_daily(
        company.settings, company.lake, LAST - DAY, SimulatedClock(company.settings.as_of(LAST - DAY)), send=True
    )[0]
    assert {(one.outcome, one.sent_now) for one in again} == {("accepted", False)}
    assert server.accepted == [], "a correction is no mail of its own"
    night(company)
    for kind in ("plain", "html"):
        shown = " ".join(page.plain(body(read(server)[CISO], kind)).split())
        assert " → 4,321" in shown, kind
        assert "2026-11-22: payments_db events" in shown
    assert "CORRECTIONS" not in body(read(server)[PLATFORM]), "what is not theirs is not told to them"
    assert "4,321" in body(read(server)[PAYMENTS])
    server.accepted.clear()
    company.write("completeness", completeness(LAST + DAY), LAST + DAY)
    night(company, LAST + DAY)
    assert server.accepted
    assert all("CORRECTIONS" not in body(mail) for mail in read(server).values()), "told once"
    with company.engine.connect() as connection:
        rows = connection.execute(sa.select(deliveries).where(deliveries.c.edition == 2)).all()
    assert {(row.recipient, row.period) for row in rows} == {
        (who, "2026-11-22") for who in (CISO, CLOUD, PLATFORM, PAYMENTS)
    }
    assert {row.detail for row in rows} == {"told as a correction in the mail of 2026-11-23"}


def test_a_correction_waits_for_a_mail_that_arrives(corrected: tuple[Company, Server]) -> None:
    company, server = corrected
    server.refuse = {CISO: "550 not today"}
    night(company)
    server.refuse = {}
    server.accepted.clear()
    company.write("completeness", completeness(LAST + DAY), LAST + DAY)
    night(company, LAST + DAY)
    assert "→ 4,321" in body(read(server)[CISO])
    assert "→ 4,321" not in body(read(server)[CLOUD])


def test_who_never_got_a_report_needs_no_correction_of_it(company: Company, serve: Serve) -> None:
    server = serve()
    configure(company, server.port)
    night(company, LAST - DAY, send=False)
    late(company, LAST - DAY, 4_321)
    night(company)
    assert "CORRECTIONS" not in body(read(server)[CISO])


def test_corrections_name_nobody(company: Company, serve: Serve) -> None:
    server = serve()
    configure(company, server.port)
    night(company, LAST - DAY)
    server.accepted.clear()
    company.write("detections", [detection(LAST - DAY, "mara.lindqvist@example.com", n=52)], LAST - DAY)
    publish_daily(company.settings, company.lake, LAST - DAY, SimulatedClock(company.settings.as_of(LAST - DAY)))
    night(company)
    told = body(read(server)[CISO]).split("CORRECTIONS")[1]
    assert "not there → open, 52 events" in told
    assert "mara" not in told
    assert "user-" in told


def test_many_corrections_are_counted_and_the_mail_stays_short(company: Company, serve: Serve) -> None:
    server = serve()
    configure(company, server.port)
    for step in (5, 4, 3, 2, 1):
        night(company, LAST - step * DAY)
    for step in (5, 4, 3, 2, 1):
        late(company, LAST - step * DAY, 4_000 + step)
    server.accepted.clear()
    night(company)
    mail = read(server)[CISO]
    assert text.words(body(mail)) <= WORDS
    assert text.words(page.plain(body(mail, "html"))) <= WORDS
    assert "of 5" in body(mail).split("CORRECTIONS")[1].split("\n\n")[0]


@pytest.mark.parametrize("detail", ["counts", "titles", "full"])
def test_detail_says_how_much_of_a_finding_is_in_the_mail(company: Company, serve: Serve, detail: str) -> None:
    server = serve()
    company.write("detections", detections(LAST, hostile=False), LAST)
    configure(
        company, server.port, to="{detail: " + detail + ", daily: {to: [ciso@example.com, cloud@example.com]}, base"
    )
    night(company)
    for kind in ("plain", "html"):
        shown = " ".join(page.plain(body(read(server)[CISO], kind)).split())
        assert ("2 high: on the page" in shown) == (detail == "counts")
        assert ("Burst of failed sign-ins" in shown) == (detail != "counts")
        assert ("failed sign-ins for user-" in shown) == (detail == "full")


@pytest.mark.parametrize(
    ("kind", "publish", "period"), [("weekly", publish_weekly, "2026-W47"), ("monthly", publish_monthly, "2026-11")]
)
def test_weeks_and_months_are_mailed_like_days(
    company: Company, serve: Serve, kind: str, publish: Callable[..., Any], period: str
) -> None:
    server = serve()
    configure(company, server.port, to=f"{{daily: {{to: []}}, {kind}: {{to: [{CISO}]}}, base")
    clock = SimulatedClock(company.settings.as_of(dt.date(2026, 11, 30)))
    with pytest.raises(UserError, match=f"mail {kind} {period}: there is no report of it"):
        mail_report(company.settings, company.lake, kind, period, clock, send=True)
    publish(company.settings, company.lake, dt.date(2026, 11, 20), clock)
    outcomes, path = mail_report(company.settings, company.lake, kind, period, clock, send=True)
    assert path == f"reports/{kind}/{period}/1/mail/all.eml"
    mails = read(server)
    assert set(mails) == ({CISO, CLOUD, PLATFORM, PAYMENTS} if kind == "weekly" else {CISO}), (
        "months are for compliance"
    )
    assert len(outcomes) == len(mails)
    mail = mails[CISO]
    assert f"Audit logs {period}: " in mail["Subject"]
    assert f"{kind} report {period} · edition 1" in body(mail)
    for shown in (body(mail), page.plain(body(mail, "html"))):
        assert 60 < text.words(shown) <= WORDS
        assert "mara" not in shown
    assert not mail_report(company.settings, company.lake, kind, period, clock, send=True)[0][0].sent_now


def test_everybody_gets_the_report_as_it_is(report: dict[str, Any], company: Company) -> None:
    assert audience.cut(report, company.settings, ()) is report
