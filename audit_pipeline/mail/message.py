"""The report as a mail: at most 180 words, a text part as good as the HTML, one picture, no attachment, no link but to the page.

Belongs here: what the mail says, and the MIME tree. Not here: sending (`delivery`), numbers (`reports.model`).

The same report, recipient and time give the same bytes: Message-ID, Content-ID and boundaries are hashes. Mail clients read old
HTML: tables, inline styles, colours as attributes too (https://www.caniemail.com/).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment

from audit_pipeline.clock import Clock
from audit_pipeline.lake.store import Lake
from audit_pipeline.mail.audience import EVERYBODY, subject
from audit_pipeline.mail.corrections import Correction
from audit_pipeline.reports import asked, coverage, page, picture, pseudonyms, text, wording
from audit_pipeline.settings import Settings

WORDS = 180
_UNFOLDED = SMTP.clone(max_line_length=998)
"""a long subject stays on its line (RFC 5322 allows 998): at 78 it would be folded before its first word; bodies keep their short lines"""
_PARTS = {"events": " events", "verdict": " verdict", "finding": ":", "kpi": "", "effect": ":"}
_TEMPLATES = Path(__file__).with_name("templates")
_ROOMS = ((5, 3, 64, 3), (5, 2, 48, 2), (4, 2, 44, 2), (3, 2, 40, 2), (3, 1, 36, 1), (2, 1, 32, 1), (1, 1, 24, 1))
"""decisions, subjects not judged, characters of a title and corrections, tried in this order until the words fit"""
_EXPLAINED = 90
"""characters of an explanation, where the configuration wants findings in full"""


def build(
    report: dict[str, Any],
    *,
    recipient: str,
    settings: Settings,
    clock: Clock,
    page_url: str,
    lake: Lake,
    corrections: Sequence[Correction] = (),
    listed: Sequence[str] | None = None,
) -> EmailMessage:
    """The mail of a report to one recipient, or to `EVERYBODY` for the copy in the lake.

    Under `privacy.mail: pseudonyms` (the default) tokens stand in place of people's names.

    Args:
        report: the model with its edition; for a team cut down to what is theirs (`audience.cut`).
        recipient: an address, checked by `delivery.is_address`.
        settings: sender and recipients.
        clock: gives the Date.
        page_url: where the page lies: a URL, or a path for readers on the same machine.
        lake: may hold the key of the tokens.
        corrections: what later editions of earlier reports changed.
        listed: who stands in the copy's To; by default those who get the whole report.

    Raises:
        ValueError: the recipient cannot stand in a header.
    """
    if settings.privacy.mail == "pseudonyms":
        report = pseudonyms.hide(report, pseudonyms.key(settings, lake))
    values = _values(report, page_url, settings, corrections)
    html, plain = _parts(values)
    sender = settings.smtp.from_ if settings.smtp else "audit@localhost"
    whom = recipient if recipient != EVERYBODY else "+".join(report.get("teams") or [EVERYBODY])
    identity = _digest(report["kind"], report["period"], str(report["edition"]), whom)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipient if recipient != EVERYBODY else _to(listed or getattr(settings.reports, report["kind"]).to)
    message["Subject"] = subject(report)
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{identity[:32]}@{_domain(sender)}>"
    message["List-Id"] = f"Audit log reports <{report['kind']}.audit-pipeline.{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(plain, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    related = cast("EmailMessage", message.get_payload(1))
    if values["png"]:
        related.add_related(values["png"], "image", "png", cid=f"<{values['cid']}>", disposition="inline")
    else:
        related.make_related()
    message.set_boundary(f"=_alternative_{identity[:24]}")
    related.set_boundary(f"=_related_{identity[:24]}")
    for part in related.walk():
        del part["MIME-Version"]
    message.policy = _UNFOLDED
    return message


def _values(
    report: dict[str, Any], page_url: str, settings: Settings, corrections: Sequence[Correction]
) -> dict[str, Any]:
    png = picture.png(picture.strips_svg(report)) if report["sources"] else b""
    width, height = picture.size(len(report["sources"]))
    whole = sum(row["today"]["verdict"] in coverage.WHOLE for row in report["sources"])
    detail = settings.reports.detail
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
        "detail": detail,
        "severities": _severities(report["decisions"]),
        "explained": _explanations(report) if detail == "full" else {},
        "corrections": [line for one in corrections for line in _lines(one, detail)],
        "headline": _headline(report),
        "decided": _decided(report),
        "held": sum(row.get("shown") is False for row in report["findings"]),
        "edition": wording.edition(report) if "settles_at" in report else f"edition {report['edition']}",
    }


def _headline(report: dict[str, Any]) -> str:
    """What the mail is about, in its first line and its title."""
    when = f"{report['day']}, UTC" if report["kind"] == "daily" else f"{report['kind']} report {report['period']}"
    return " · ".join(["Audit logs", *([" and ".join(report["teams"])] if report.get("teams") else []), when])


def _decided(report: dict[str, Any]) -> dict[str, Any] | None:
    """Number and hash of the newest decision; null where there is none (or in a report of an older version)."""
    head: dict[str, Any] = report["evidence"].get("decisions") or {}
    return head if head.get("seq") else None


def _severities(decisions: Sequence[dict[str, Any]]) -> str:
    """`2 critical, 11 high`: what waits, where no title may be in the mail."""
    counted = Counter(str(row["severity"]) for row in decisions)
    ordered = sorted(counted, key=lambda one: asked.SEVERITIES.index(one) if one in asked.SEVERITIES else 99)
    return ", ".join(f"{counted[one]} {one}" for one in ordered)


def _explanations(report: dict[str, Any]) -> dict[str, str]:
    """The newest detection's explanation of each finding."""
    shown = {row["finding_id"]: row["detections"] for row in report["findings"]}
    return {name: text.visible(found[0]["explanation"] or "", _EXPLAINED) for name, found in shown.items() if found}


def _lines(correction: Correction, detail: str) -> list[str]:
    """`2026-11-21: trail events 588 → 590`, a line a change; a finding by its title where titles may be in the mail."""
    lines = []
    for row in correction.changes:
        subject = row.get("title") if detail != "counts" else None
        what = f"{text.visible(subject or row['subject'], 40)}{_PARTS.get(row['part'], '')}"
        lines.append(f"{correction.period}: {what} {row['from']} → {row['to']}")
    return lines


def _parts(values: dict[str, Any]) -> tuple[str, str]:
    """HTML and text, with as many rows as the words allow; both say how many were left out."""
    html = plain = ""
    for decisions, subjects, characters, changes in _ROOMS:
        room = {"decisions": decisions, "subjects": subjects, "characters": characters, "changes": changes}
        html = _environment(True).get_template("mail.html.j2").render(**values, **room)
        plain = _environment(False).get_template("mail.txt.j2").render(**values, **room)
        if max(text.words(page.plain(html)), text.words(plain)) <= WORDS:
            break
    return html, plain


@cache
def _environment(escape: bool) -> Environment:
    return page.environment(_TEMPLATES, autoescape=escape)


def _to(recipients: Sequence[str]) -> str:
    return ", ".join(recipients) or "undisclosed-recipients:;"


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2].strip("<> ") or "localhost"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
