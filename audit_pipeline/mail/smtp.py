"""One mail to one recipient over SMTP: plain, STARTTLS or TLS, with or without login, tried again while that may help.

Belongs here: the dialogue and what its end means (RFC 5321). Not here: who has got what already (`delivery`).

Trouble is an answer, never an exception. A line that breaks after the text went out and before the server spoke leaves the outcome
unknown (RFC 5321, 4.5.3.2.6): that is never tried again here.
"""

from __future__ import annotations

import contextlib
import os
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential

from audit_pipeline.privacy.masks import mask
from audit_pipeline.reports.text import visible
from audit_pipeline.sections import SmtpSettings
from audit_pipeline.settings import Settings

ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"
NO_SERVER = "no mail server: add smtp to the configuration"
_LONGEST = 4
"""a whole dialogue may take so many times `timeout_s`: a server that drips its answers does not hold the night"""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1, 60


@dataclass(frozen=True)
class Answer:
    """How an attempt ended; `outcome` is null where it cannot be known, `may_pass` where another attempt can go better."""

    outcome: str | None
    detail: str
    may_pass: bool = False


@dataclass
class Patience:
    """How long all attempts of a night may go on together, in seconds of a clock that nobody sets."""

    seconds: float
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.monotonic()

    def spent(self, state: RetryCallState) -> bool:
        """Whether the next attempt would begin too late."""
        return self.monotonic() - self._began + state.upcoming_sleep > self.seconds

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """As configured by `smtp.retry_for`."""
        return cls(settings.smtp.retry_for.total_seconds() if settings.smtp else 0)


def send(settings: Settings, recipient: str, message: EmailMessage, patience: Patience) -> Answer:
    """Try until it is accepted, refused, unknown, or patience ends; waits 1, 2, 4 ... 60 s between attempts."""
    retrying = Retrying(
        retry=retry_if_result(lambda answer: answer.may_pass),
        stop=patience.spent,
        wait=wait_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        sleep=patience.sleep,
        retry_error_callback=_given_up,
    )
    found: Answer = retrying(attempt, settings, recipient, message)
    return found


def _given_up(state: RetryCallState) -> Answer:
    last: Answer = state.outcome.result() if state.outcome else Answer(FAILED, "not tried")
    tried = f" (tried {state.attempt_number} times)" if state.attempt_number > 1 else ""
    return Answer(last.outcome, last.detail + tried)


def attempt(settings: Settings, recipient: str, message: EmailMessage) -> Answer:
    """One dialogue; no secret enters the answer."""
    smtp = settings.smtp
    if smtp is None:
        return Answer(FAILED, NO_SERVER)
    try:
        password = _password(settings, smtp)
        context = _context(settings, smtp)
    except _SetupError as error:
        return Answer(FAILED, str(error))
    talk = _Talk(password)
    try:
        with _connected(smtp, context) as server:
            if smtp.username:
                server.login(smtp.username, password or "")
            return _transfer(server, smtp, recipient, message, talk)
    except smtplib.SMTPAuthenticationError as error:
        detail = f"the server did not accept user and password ({error.smtp_code})"
        return Answer(FAILED, detail, may_pass=error.smtp_code < 500)
    except smtplib.SMTPResponseException as error:
        return talk.said(error.smtp_code, error.smtp_error)
    except (smtplib.SMTPException, OSError, ValueError) as error:  # ValueError: a host or name that cannot be encoded
        detail = _clean(f"{smtp.host}:{smtp.port} {type(error).__name__}: {error}", password)
        if talk.text_sent:
            return Answer(None, f"the line broke before the server answered: {detail}")
        return Answer(FAILED, detail, may_pass=_may_pass(error))


def probe(settings: Settings) -> str | None:
    """Connect and log in as a night would, and send nothing; what is wrong, or `None`."""
    smtp = settings.smtp
    if smtp is None:
        return NO_SERVER
    password = None
    try:
        password = _password(settings, smtp)
        with _connected(smtp, _context(settings, smtp)) as server:
            if smtp.username:
                server.login(smtp.username, password or "")
            server.noop()
    except _SetupError as error:
        return str(error)
    except smtplib.SMTPAuthenticationError as error:
        return f"the server did not accept user and password ({error.smtp_code})"
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return _clean(f"{type(error).__name__}: {error}", password)
    return None


class _SetupError(Exception):
    """Something in the configuration that no attempt can mend."""


@dataclass
class _Talk:
    """How far a dialogue came, and what must not be quoted from it."""

    password: str | None
    text_sent: bool = False

    def said(self, code: int, said: bytes | str) -> Answer:
        """A 5xx answer is a refusal (RFC 5321, 4.2.1); anything else may succeed another time."""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        refused = 500 <= code < 600
        return Answer(REFUSED if refused else FAILED, _clean(f"{code} {words}", self.password), may_pass=not refused)


def _password(settings: Settings, smtp: SmtpSettings) -> str | None:
    if not smtp.username:
        return None
    if (found := os.environ.get(smtp.password_env)) is not None:
        return found
    if smtp.password_file is None:
        raise _SetupError(f"no password: set the environment variable {smtp.password_env}, or smtp.password_file")
    file = settings.resolve(smtp.password_file)
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise _SetupError(f"smtp.password_file {file}: cannot be read ({type(error).__name__})") from None


def _context(settings: Settings, smtp: SmtpSettings) -> ssl.SSLContext | None:
    """Certificates and host names are verified, always."""
    if smtp.security == "none":
        return None
    file = settings.resolve(smtp.ca_file) if smtp.ca_file else None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise _SetupError(
            f"smtp.ca_file {file}: holds no certificate that can be read ({type(error).__name__})"
        ) from None


@contextlib.contextmanager
def _connected(smtp: SmtpSettings, context: ssl.SSLContext | None) -> Iterator[smtplib.SMTP]:
    own = smtp.from_.rpartition("@")[2].strip("<> ") or "localhost"
    if smtp.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname=own, timeout=smtp.timeout_s, context=context)
    else:
        server = smtplib.SMTP(local_hostname=own, timeout=smtp.timeout_s)
    server._host = smtp.host  # type: ignore[attr-defined]  # the name that TLS checks; smtplib sets it in its constructor only
    watch = threading.Timer(_LONGEST * smtp.timeout_s, _hang_up, [server])
    watch.daemon = True
    watch.start()
    try:
        code, said = server.connect(smtp.host, smtp.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if smtp.security == "starttls":
            server.starttls(context=context)
        yield server
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()  # what the server says to a goodbye changes nothing
    finally:
        watch.cancel()
        server.close()


def _hang_up(server: smtplib.SMTP) -> None:
    sock = server.sock
    with contextlib.suppress(OSError):
        if sock is not None:
            sock.shutdown(2)


def _transfer(server: smtplib.SMTP, smtp: SmtpSettings, recipient: str, message: EmailMessage, talk: _Talk) -> Answer:
    """MAIL, RCPT, DATA and the text; each answer that is no yes ends it."""
    data = re.sub(rb"\r\n|\r|\n", b"\r\n", message.as_bytes())
    server.ehlo_or_helo_if_needed()
    size = [f"size={len(data)}"] if server.does_esmtp and server.has_extn("size") else []
    code, said = server.mail(smtp.from_, size)
    if code == 250:
        code, said = server.rcpt(recipient)
    if code in (250, 251):
        code, said = server.docmd("DATA")
    if code != 354:
        return talk.said(code, said)
    talk.text_sent = True
    server.send(re.sub(rb"(?m)^\.", b"..", data).removesuffix(b"\r\n") + b"\r\n.\r\n")
    code, said = server.getreply()
    if code == 250:
        return Answer(ACCEPTED, f"by {smtp.host}:{smtp.port}")
    return talk.said(code, said)


def _may_pass(error: Exception) -> bool:
    """A certificate or a server without STARTTLS stays as it is; a line that was not there may come back."""
    permanent = (ssl.SSLError, smtplib.SMTPNotSupportedError, ValueError)
    return not isinstance(error, permanent)


def _clean(detail: str, password: str | None) -> str:
    """What a server said, visible, short, and without the password should it have echoed it."""
    return visible(mask(detail.replace(password, "(withheld)") if password else detail), 160)
