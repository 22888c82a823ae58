"""The mail that tells of a run that failed before its report could.

Belongs here: a short plain mail, built and sent at once. Not here: which runs failed (orchestration).
"""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from audit_pipeline.clock import Clock
from audit_pipeline.mail import smtp
from audit_pipeline.mail.delivery import is_address
from audit_pipeline.privacy.masks import mask
from audit_pipeline.reports.text import visible
from audit_pipeline.settings import Settings

_LINES = 40


def build_failure(
    settings: Settings, clock: Clock, *, job: str, run_id: str, day: str | None, detail: str
) -> EmailMessage:
    """The mail: what failed, for which day, why, and how to look and run again."""
    found = EmailMessage(policy=SMTP)
    found["From"] = settings.smtp.from_ if settings.smtp else "audit@localhost"
    found["Subject"] = (
        f"[FAILED] Audit logs {visible(day or '', 10)}: the run {visible(job, 30)} ended without a report".replace(
            "  ", " "
        )
    )
    found["Date"] = format_datetime(clock.now())
    found["Message-ID"] = f"<failure-{visible(run_id, 60)}@audit-pipeline>"
    found["Auto-Submitted"] = "auto-generated"
    why = [visible(mask(line), 200) for line in detail.splitlines()[:_LINES]]
    again = f"audit-pipeline run --date {day}" if day else "audit-pipeline status"
    found.set_content(
        "\n".join(
            [
                f"The run {visible(job, 30)} of {visible(day or 'no day', 10)} failed, and no report of it was mailed.", "", "Why:", *why, "",
                f"Look: audit-pipeline ui, run {visible(run_id, 60)}", f"Run again: {again} (nothing is lost, nothing is doubled)",
            ]
        ),
        cte="quoted-printable",
    )  # fmt: skip
    return found


def mail_failure(settings: Settings, clock: Clock, *, job: str, run_id: str, day: str | None, detail: str) -> str:
    """Send it to the daily report's recipients; says what became of it, never raises for SMTP trouble."""
    recipients = [one for one in settings.reports.daily.to if is_address(one)]
    if settings.smtp is None or not recipients:
        return "not sent: no smtp or no recipients in the configuration"
    outcomes, patience = [], smtp.Patience.of(settings)
    for recipient in recipients:
        found = build_failure(settings, clock, job=job, run_id=run_id, day=day, detail=detail)
        found["To"] = recipient
        answer = smtp.send(settings, recipient, found, patience)
        outcomes.append(f"{recipient}: {answer.outcome or 'unknown'} {answer.detail}")
    return "; ".join(outcomes)
