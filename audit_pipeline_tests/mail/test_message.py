"""What the mail says: little, the same in text and HTML, inert, without names, in the same bytes."""

from __future__ import annotations

import copy
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from audit_pipeline.mail import message
from audit_pipeline.mail.audience import EVERYBODY
from audit_pipeline.mail.message import WORDS, build
from audit_pipeline.reports import page, text
from audit_pipeline.reports.model import build_daily
from audit_pipeline.settings import Settings
from audit_pipeline_tests.reports.company import CONFIG, LAST, PAYLOADS, Company, detection
from audit_pipeline_tests.reports.html_check import Page

Report = dict[str, Any]
URL = "https://audit.example.com/reports/daily/2026-11-23/1/report.html"
MAIL = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "div",
    "table",
    "tr",
    "td",
    "span",
    "b",
    "br",
    "h1",
    "h2",
    "img",
    "a",
}


def make(company: Company, report: Report, recipient: str = "ciso@example.com", url: str = URL) -> EmailMessage:
    return build(
        report, recipient=recipient, settings=company.settings, clock=company.clock, page_url=url, lake=company.lake
    )


def parts(mail: EmailMessage) -> tuple[str, str, bytes]:
    """HTML, text and picture as a mail program reads them from the wire."""
    read = message_from_bytes(mail.as_bytes(), policy=default)
    assert [part.get_content_type() for part in read.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    _, plain, _, html, image = read.walk()
    return html.get_content().replace("\r\n", "\n"), plain.get_content().replace("\r\n", "\n"), image.get_content()


def seen(html: str) -> str:
    return " ".join(page.plain(html).split())


def with_names(company: Company) -> Company:
    text_ = CONFIG.format(clock="simulated") + "privacy: {mail: names}\n"
    company.settings = Settings.from_text(text_, company.settings.file)
    return company


def test_both_parts_say_the_same(company: Company, report: Report) -> None:
    html, plain, _ = parts(make(company, report))
    facts = [
        report["verdict"],
        "SIMULATED: simulated clock, not evidence",
        "payments_db: silent 08:02 to 17:03",
        "One KPI: no data: Lag",
        "overdue 11-22",
        "12 new, 0 closed, 0 reopened; 1 source with another verdict",
        report["evidence"]["root"],
        "2026-11-25 03:00 UTC",
        "449 of 33,600",
        "no data",
        "first 5 of 13",
        "edition 1",
    ]
    for fact in facts:
        assert fact in seen(html), fact
        assert fact in " ".join(plain.split()), fact
    assert URL in html
    assert URL in plain


def test_it_is_short_whatever_happens(company: Company, report: Report) -> None:
    crowded = copy.deepcopy(report)
    crowded["decisions"] = [
        {**crowded["decisions"][0], "title": "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 9}
    ] * 40
    crowded["not_judged"] = [
        {**crowded["not_judged"][0], "phrase": "silent 08:02 to 17:03, records rejected, count mismatch"}
    ] * 9
    for case in (report, crowded):
        html, plain, _ = parts(make(company, case))
        assert 60 < text.words(page.plain(html)) <= WORDS
        assert 60 < text.words(plain) <= WORDS
        assert len(html.encode()) < 80_000


def test_what_is_left_out_is_counted(company: Company, report: Report) -> None:
    report["not_judged"] = report["not_judged"] * 4
    html, plain, _ = parts(make(company, report))
    for shown in (seen(html), " ".join(plain.split())):
        first, total = re.findall(r"first (\d+) of (\d+)", shown)[0]
        assert (int(total), shown.count("due 11-")) == (13, int(first))
        (more,) = re.findall(r"and (\d+) more", shown)
        assert int(more) == 8 - shown.count("payments_db:") - shown.count("One KPI:")


def test_the_html_is_old_fashioned_and_well_formed(company: Company, report: Report) -> None:
    html, _, _ = parts(make(company, report))
    read = Page(html, allowed=MAIL, links=("https://audit.example.com/", "cid:"))
    assert read.faults == []
    assert read.hrefs == [URL]
    assert not re.search(r"<svg|=.data:|position|float|flex|grid|javascript|<script|background-image", html)
    assert html.count("<style>") == 1
    assert len(re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0]) < 16_000, "Gmail drops longer ones"
    assert re.search(r'width="640"', html)
    assert html.count('bgcolor="') >= 4


def test_every_picture_is_there_and_used(company: Company, report: Report) -> None:
    mail = make(company, report)
    html, _, png = parts(mail)
    assert png.startswith(b"\x89PNG")
    (used,) = re.findall(r'src="cid:([^"]+)"', html)
    assert [part["Content-ID"] for part in mail.walk() if part["Content-ID"]] == [f"<{used}>"]


def test_the_same_input_gives_the_same_bytes(company: Company, report: Report) -> None:
    assert make(company, report).as_bytes() == make(company, copy.deepcopy(report)).as_bytes()


def test_headers(company: Company, report: Report) -> None:
    mail = make(company, report)
    assert mail["Subject"] == "[BAD] SIMULATED Audit logs 2026-11-23: 13 decisions, 1 source incomplete"
    assert mail["From"] == "audit@example.com"
    assert mail["To"] == "ciso@example.com"
    assert mail["Date"] == "Tue, 24 Nov 2026 03:00:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "Audit log reports <daily.audit-pipeline.example.com>"
    assert b"Subject: [BAD] SIMULATED" in mail.as_bytes(), "not folded before its first word"
    assert max(len(line) for line in mail.as_bytes().splitlines()) <= 998, "RFC 5322, 2.1.1"
    assert mail.as_bytes().count(b"MIME-Version") == 1


def test_the_message_id_is_the_deliverys_own(company: Company, report: Report) -> None:
    ids = {make(company, report)["Message-ID"], make(company, report)["Message-ID"]}
    assert len(ids) == 1
    ids |= {
        make(company, report, "cloud@example.com")["Message-ID"],
        make(company, {**report, "edition": 2})["Message-ID"],
    }
    ids.add(make(company, {**report, "period": "2026-11-24"})["Message-ID"])
    assert len(ids) == 4
    assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.com>", str(one)) for one in ids)


def test_the_copy_for_everybody_names_the_recipients(company: Company, report: Report) -> None:
    assert make(company, report, EVERYBODY)["To"] == "ciso@example.com, cloud@example.com"


def test_no_name_of_a_person_is_in_a_mail(company: Company) -> None:
    company.write("detections", [detection(LAST, "mara.lindqvist@example.com", n=52)], LAST)
    report = {
        **build_daily(company.settings, company.lake, company.engine, LAST, company.clock),
        "edition": 1,
        "corrects": None,
    }
    hidden = make(company, report)
    html, plain, _ = parts(hidden)
    for shown in (html, plain, str(hidden["Subject"])):
        assert "mara" not in shown.casefold()
        assert "svc-backup" not in shown
    assert re.search(r"Burst of failed sign-ins: user-[2-9A-Z]{5}", plain)
    html, plain, _ = parts(make(with_names(company), report))
    assert "svc-backup" in html, "names only where the configuration asks for them"
    assert "svc-backup" in plain


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_hostile_text_is_inert(company: Company, report: Report, payload: str) -> None:
    report["decisions"] = [{**report["decisions"][0], "title": payload, "owner": payload}]
    report["not_judged"] = [{**report["not_judged"][0], "phrase": payload}]
    mail = make(with_names(company), report)
    html, plain, _ = parts(mail)
    assert Page(html, allowed=MAIL, links=("https://audit.example.com/", "cid:")).faults == []
    assert text.visible(payload, 24)[:20] in seen(html)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", plain)
    assert plain.count("\n- ") == 2, "a log cannot add a line"
    assert set(mail.keys()) == set(make(company, {**report, "decisions": [], "not_judged": []}).keys())
    assert payload not in str(mail["Subject"])


def test_the_check_sees_what_escaping_prevents(
    company: Company, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = page.environment(message._TEMPLATES, autoescape=False)
    monkeypatch.setattr(message, "_environment", lambda escape: careless)
    report["decisions"] = [{**report["decisions"][0], "title": PAYLOADS["script"]}]
    html, _, _ = parts(make(with_names(company), report))
    assert "element <script>" in Page(html, allowed=MAIL, links=("https://", "cid:")).faults


def test_a_path_is_no_link(company: Company, report: Report) -> None:
    html, plain, _ = parts(make(company, report, url="/srv/lake/reports/daily/2026-11-23/1/report.html"))
    assert "<a " not in html
    assert "/srv/lake/reports/daily/2026-11-23/1/report.html" in plain
    html, _, _ = parts(make(company, report, url="javascript:alert(1)"))
    assert "<a " not in html


def test_a_recipient_cannot_add_a_header(company: Company, report: Report) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        make(company, report, "x@example.com\r\nBcc: victim@example.com")


def test_nothing_to_do_is_said_too(company: Company, report: Report) -> None:
    calm = {**report, "decisions": [], "not_judged": [], "clock_note": None, "state": "good"}
    html, plain, _ = parts(make(company, calm))
    assert "Could not be judged: nothing" in seen(html)
    assert "NEEDS YOU\n- nothing" in plain
    assert "SIMULATED" not in html + plain
    _, plain, _ = parts(make(company, {**calm, "not_computed": ["detections"]}))
    assert "NEEDS YOU\n- no rule has run" in plain


def contrast(one: str, other: str) -> float:
    """Contrast of two colours (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("state", ["good", "attention", "bad"])
def test_text_stands_out_in_light_and_dark(company: Company, report: Report, state: str) -> None:
    html, _, _ = parts(make(company, {**report, "state": state}))
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0]
    plates = dict(re.findall(r'class="(good|attention|bad|warn)" bgcolor="(#[0-9a-f]{6})"', html))
    assert set(plates) == {state, "warn"}
    for name, plate in plates.items():
        (colour,) = set(re.findall(rf'class="{name}"[^>]*;color:(#[0-9a-f]{{6}})', html))
        assert contrast(colour, plate) >= 4.5, name
    for colour in set(re.findall(r'class="(?:ink|soft|late|link|sim)[^>]*[;"]color:(#[0-9a-f]{6})', html)):
        assert contrast(colour, "#ffffff") >= 4.5, colour
    dark = dict(re.findall(r"\.(\w+)\{([^}]*)\}", style.split("prefers-color-scheme:dark)")[1]))
    card = re.findall(r"background-color:(#[0-9a-f]{6})", dark["card"])[0]
    shown = set(re.findall(r'class="([^"]+)"', html))
    used = {name for names in shown for name in names.split()} & set(dark) - {"page", "card", "rule"}
    assert {"ink", "soft", "late", "link", "sim", "warn", state} <= used
    for name in used:
        own = re.findall(r"background-color:(#[0-9a-f]{6})", dark[name])
        (colour,) = re.findall(r"(?<!-)color:(#[0-9a-f]{6})", dark[name])
        assert contrast(colour, own[0] if own else card) >= 4.5, name


def test_what_has_a_colour_of_its_own_has_one_in_the_dark_too(company: Company, report: Report) -> None:
    html, _, _ = parts(make(company, report))
    body = html.split("</style>")[1]
    bare = [tag for tag in re.findall(r"<(?:td|span|h1|h2|a)\b[^>]*[;\"]color:#[^>]*>", body) if "class=" not in tag]
    assert bare == []


def test_a_screen_reader_finds_its_way(company: Company, report: Report) -> None:
    html, _, _ = parts(make(company, report))
    assert html.count('role="main"') == 1
    assert '<html lang="en">' in html
    assert re.search(r"<title>[^<]+</title>", html)
    assert html.count("<h1") == 1
    assert [seen(one) for one in re.findall(r"<h2.*?</h2>", html)] == ["Needs you", "Changed"]
    assert all('role="presentation"' in tag for tag in re.findall(r"<table[^>]*>", html))
    for tag in re.findall(r"<img[^>]*>", html):
        assert re.search(r'alt="[^"]{20,}"', tag)
        assert re.search(r'width="\d+" height="\d+"', tag)


def test_a_hostile_report_stays_short_too(company: Company, report: Report) -> None:
    assert len(report["decisions"]) > len(PAYLOADS), "names that try to break out, one a finding"
    for one in (report, {**report, "provisional": ["linux_edge"]}):
        html, plain, _ = parts(make(with_names(company), one))
        assert max(text.words(page.plain(html)), text.words(plain)) <= WORDS
        assert len(html.encode()) < 80_000
