"""The report as a mail: at most 180 words, a text part as good as the HTML, one picture, no attachment, no link but to the page.

Belongs here: what the mail says, and the MIME tree. Not here: sending (`delivery`), numbers (`reports.model`).

The same report, recipient and time give the same bytes: Message-ID, Content-ID and boundaries are hashes. Mail clients read old
HTML: tables, inline styles, colours as attributes too (https://www.caniemail.com/).
"""

from __future__ import annotations

import hashlib
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment

from audit_pipeline.clock import Clock
from audit_pipeline.lake.store import Lake
from audit_pipeline.reports import coverage, page, picture, pseudonyms, text, wording
from audit_pipeline.settings import Settings

WORDS = 180
EVERYBODY = "all"
"""the recipient of the copy that is kept in the lake"""
_UNFOLDED = SMTP.clone(max_line_length=998)
"""a long subject stays on its line (RFC 5322 allows 998): at 78 it would be folded before its first word; bodies keep their short lines"""
_TEMPLATES = Path(__file__).with_name("templates")
_ROOMS = ((5, 3, 64), (5, 2, 48), (4, 2, 44), (3, 2, 40), (3, 1, 36), (2, 1, 32), (1, 1, 24))
"""decisions, subjects not judged and characters of a title, tried in this order until the words fit"""


def build(
    report: dict[str, Any],
    *,
    recipient: str,
    settings: Settings,
    clock: Clock,
    page_url: str,
    lake: Lake,
) -> EmailMessage:
    """The mail of a report to one recipient, or to `EVERYBODY` for the copy in the lake.

    Under `privacy.mail: pseudonyms` (the default) tokens stand in place of people's names.

    Args:
        report: the model with its edition.
        recipient: an address, checked by `delivery.is_address`.
        settings: sender and recipients.
        clock: gives the Date.
        page_url: where the page lies: a URL, or a path for readers on the same machine.
        lake: holds the key of the tokens.

    Raises:
        ValueError: the recipient cannot stand in a header.
    """
    if settings.privacy.mail == "pseudonyms":
        report = pseudonyms.hide(report, pseudonyms.key(settings, lake))
    values = _values(report, page_url)
    html, plain = _parts(values)
    sender = settings.smtp.from_ if settings.smtp else "audit@localhost"
    identity = _digest(report["kind"], report["period"], str(report["edition"]), recipient)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = _to(recipient, report["kind"], settings)
    message["Subject"] = wording.subject(report)
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{identity[:32]}@{_domain(sender)}>"
    message["List-Id"] = f"Audit log reports <{report['kind']}.audit-pipeline.{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(plain, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    related = cast("EmailMessage", message.get_payload(1))
    related.add_related(values["png"], "image", "png", cid=f"<{values['cid']}>", disposition="inline")
    message.set_boundary(f"=_alternative_{identity[:24]}")
    related.set_boundary(f"=_related_{identity[:24]}")
    for part in related.walk():
        del part["MIME-Version"]
    message.policy = _UNFOLDED
    return message


def _values(report: dict[str, Any], page_url: str) -> dict[str, Any]:
    svg = picture.strips_svg(report)
    png = picture.png(svg)
    width, height = picture.size(len(report["sources"]))
    whole = sum(row["today"]["verdict"] in coverage.WHOLE for row in report["sources"])
    return {
        "r": report,
        "page_url": page_url,
        "link": page_url.startswith(("https://", "http://")),
        "four": page.four(report["kpis"]),
        "whole": whole,
        "png": png,
        "cid": f"{hashlib.sha256(png).hexdigest()[:24]}@audit-pipeline",
        "width": width,
        "height": height,
    }


def _parts(values: dict[str, Any]) -> tuple[str, str]:
    """HTML and text, with as many rows as the words allow; both say how many were left out."""
    html = plain = ""
    for decisions, subjects, characters in _ROOMS:
        room = {**values, "decisions": decisions, "subjects": subjects, "characters": characters}
        html = _environment(True).get_template("mail.html.j2").render(**room)
        plain = _environment(False).get_template("mail.txt.j2").render(**room)
        if max(text.words(page.plain(html)), text.words(plain)) <= WORDS:
            break
    return html, plain


@cache
def _environment(escape: bool) -> Environment:
    return page.environment(_TEMPLATES, autoescape=escape)


def _to(recipient: str, kind: str, settings: Settings) -> str:
    if recipient != EVERYBODY:
        return recipient
    return ", ".join(getattr(settings.reports, kind).to) or "undisclosed-recipients:;"


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2].strip("<> ") or "localhost"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
