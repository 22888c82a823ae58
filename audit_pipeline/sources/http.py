"""One HTTP client for all sources that answer over HTTP: patient with trouble that passes, strict with answers that are none.

Belongs here: connection, credentials, retries and their budget, bounds, what an answer's status means. Not here: any system's words.
Plain HTTP and no vendor's client: those hide headers, partial answers and retries that a collector has to know of.

Tried again: connections that break, bodies cut short, too slow or no JSON, 429 and 5xx (RFC 9110, 10.2.3: `Retry-After` in seconds
or as a date, read against the answer's own `Date`, so no clock is needed). Never: 401, 403 and other 4xx. No redirect is followed,
so credentials reach the configured host only.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from audit_pipeline.sections import AuthSettings, HttpSettings, Secret
from audit_pipeline.sources.base import SourceError

MAX_BODY = 64 * 2**20
"""Bytes of one answer, decoded."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
_PERMISSION = (401, 403)
_SHOWN = 300


class PermissionRefusedError(SourceError):
    """401 or 403: somebody has to grant a right; trying again does not help."""


class RefusedError(SourceError):
    """The source understood the request and refuses it."""

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class TooLargeError(SourceError):
    """The answer is larger than `MAX_BODY`: ask for less at once."""


class _PassingError(Exception):
    """Trouble that may pass; `wait_s` is what the server asked for."""

    def __init__(self, detail: str, wait_s: float | None = None) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    """A good answer: the bytes as they were sent (decoded), what they say, and the server's time where it tells it."""

    body: bytes
    data: dict[str, Any]
    date: dt.datetime | None


@dataclass(frozen=True)
class Waiting:
    """What waiting is made of; tests hand in their own."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    seed: int = 0


class Http:
    """A conversation with one source; its budget begins when it is opened."""

    def __init__(
        self,
        settings: HttpSettings,
        resolve: Callable[[str], str],
        *,
        waiting: Waiting | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings, self._waiting = settings, waiting or Waiting()
        self._random = random.Random(self._waiting.seed)  # noqa: S311 - spreads retries
        self._began = self._waiting.monotonic()
        self._headers, self._secrets = _credentials(settings.auth, resolve)
        self._client = httpx.Client(
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
            timeout=settings.timeout.total_seconds(),
            verify=_trust(settings, resolve),
            transport=transport,
            follow_redirects=False,
        )

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        at_once: tuple[bytes, ...] = (),
        tries: int | None = None,
    ) -> Answer:
        """Ask until there is a good answer, a refusal, or the budget is spent.

        Args:
            method: such as `POST`.
            path: below the configured address.
            params: of the query.
            body: JSON to send.
            at_once: words in the body of a 429 or 5xx that make it a refusal at once, since another request helps more than waiting.

            tries: how often at most; null: as the budget allows.

        Raises:
            PermissionRefusedError: 401 or 403.
            RefusedError: another 4xx, or one of `at_once`.
            TooLargeError: the answer exceeds `MAX_BODY`.
            SourceError: nothing good within the budget.
        """

        def stop(state: RetryCallState) -> bool:
            return self._spent(state) or (tries is not None and state.attempt_number >= tries)

        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError), wait=self._wait, stop=stop, sleep=self._waiting.sleep, reraise=True
        )  # fmt: skip
        try:
            answer: Answer = retrying(self._once, method, path, params, body, at_once)
        except _PassingError as error:
            tried = retrying.statistics.get("attempt_number", 1)
            raise SourceError(
                self._clean(
                    f"{self._where(method, path)}: {error} (tried {tried} times within http.budget). See whether the source is well; "
                    "the next collection goes on from the last one that was whole."
                )
            ) from None
        return answer

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _PassingError) and error.wait_s is not None:
            return error.wait_s
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(state.attempt_number - 1, 10))
        return longest * (0.5 + self._random.random() / 2)

    def _spent(self, state: RetryCallState) -> bool:
        return self._waiting.monotonic() - self._began + state.upcoming_sleep > self._settings.budget.total_seconds()

    def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None, at_once: tuple[bytes, ...]
    ) -> Answer:  # fmt: skip
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        try:
            with self._client.stream(
                method, self._settings.url + path, params=params, content=content, headers=headers
            ) as response:
                data = self._read(response, method, path)
                return self._judged(response, data, method, path, at_once)
        except ssl.SSLError as error:
            raise SourceError(self._clean(f"{self._where(method, path)}: {error}. Check http.ca_file.")) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise SourceError(
                    f"{self._where(method, path)}: the certificate is not trusted. Set http.ca_file to the authority that signed it."
                ) from None
            raise _PassingError(f"{type(error).__name__}: {error}") from None

    def _read(self, response: httpx.Response, method: str, path: str) -> bytes:
        """The body, bounded in size and in time: a server that drips is as good as none."""
        end = self._waiting.monotonic() + self._settings.timeout.total_seconds()
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise TooLargeError(f"{self._where(method, path)}: the answer has more than {MAX_BODY} bytes. Lower search.page_size.")  # fmt: skip
            if self._waiting.monotonic() > end:
                raise _PassingError(f"the answer took longer than {self._settings.timeout.total_seconds():.0f} s")
        return b"".join(parts)

    def _judged(
        self, response: httpx.Response, data: bytes, method: str, path: str, at_once: tuple[bytes, ...]
    ) -> Answer:
        status, where = response.status_code, self._where(method, path)
        if status < 300:
            return Answer(data, _object(response, data), _date(response.headers.get("Date")))
        said = self._clean(f"{where}: the source answers {status}{_words(data)}")
        if status in _PERMISSION:
            raise PermissionRefusedError(f"{said}. Check http.auth, and ask for the rights that `audit-pipeline check` lists.")  # fmt: skip
        if status in (408, 425, 429) or status >= 500:
            if any(word in data for word in at_once):
                raise RefusedError(said, status, data)
            raise _PassingError(f"the source answers {status}{_words(data)}", _retry_after(response))
        if status < 400:
            host = httpx.URL(response.headers.get("Location", "")).host or "elsewhere"
            raise SourceError(f"{where}: the source redirects to {host}, which is not followed. Set http.url to the right address.")  # fmt: skip
        raise RefusedError(f"{said}. Check the source's settings.", status, data)

    def _where(self, method: str, path: str) -> str:
        return f"{method} {self._settings.url}{path}"

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _object(response: httpx.Response, data: bytes) -> dict[str, Any]:
    """The JSON object of a good answer; a login page of a proxy with status 200 is none."""
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        raise _PassingError(f"the answer is {kind or 'of no type'} and not JSON")
    found = _decoded(data)
    if not isinstance(found, dict):
        raise _PassingError("the answer is no JSON object")
    return found


def _decoded(data: bytes) -> Any:
    """Quickly, else with the patience that JSON with escaped lone surrogates needs."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise _PassingError("the answer is cut short or no JSON") from None


def _words(data: bytes) -> str:
    """The source's own reason, bounded, on one line."""
    try:
        error = json.loads(data).get("error")
        found = error if isinstance(error, str) else f"{error.get('type')}: {error.get('reason')}"
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" ({''.join(c if c.isprintable() else ' ' for c in found[:_SHOWN])})"


def _date(stamp: str | None) -> dt.datetime | None:
    try:
        found = parsedate_to_datetime(stamp or "")
    except ValueError:
        return None
    return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _retry_after(response: httpx.Response) -> float | None:
    given = response.headers.get("Retry-After", "").strip()
    if given.isdecimal():
        return float(given[:9])
    until, now = _date(given), _date(response.headers.get("Date"))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def _trust(settings: HttpSettings, resolve: Callable[[str], str]) -> ssl.SSLContext:
    if settings.ca_file is None:
        if settings.url.startswith(
            "http:"
        ):  # nothing to verify; reading the system's authorities takes longer than a page
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return ssl.create_default_context()
    path = resolve(settings.ca_file)
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"http.ca_file {path}: cannot be used ({error}). It must be a readable PEM file.") from None


def _credentials(auth: AuthSettings, resolve: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """The header, and what must never be shown."""
    if auth.username is not None and auth.password is not None:
        password = read_secret(auth.password, "http.auth.password", resolve)
        pair = base64.b64encode(f"{auth.username}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}, [password, pair]
    for word, given, key in (("ApiKey", auth.api_key, "api_key"), ("Bearer", auth.bearer, "bearer")):
        if given is not None:
            secret = read_secret(given, f"http.auth.{key}", resolve)
            return {"Authorization": f"{word} {secret}"}, [secret]
    return {}, []


def read_secret(secret: Secret, key: str, resolve: Callable[[str], str]) -> str:
    """The secret's value.

    Raises:
        SourceError: it is not there, or cannot be sent in a header; names key and place, never a value.
    """
    if secret.env is not None:
        value, place = os.environ.get(secret.env, ""), f"environment variable {secret.env}"
    else:
        place = f"file {resolve(secret.file or '')}"
        try:
            value = Path(resolve(secret.file or "")).read_text(encoding="utf-8").split("\n", 1)[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{key}: {place} cannot be read ({type(error).__name__}). Mend path or rights.") from None
    if not value or not value.isascii() or not value.isprintable():
        raise SourceError(f"{key}: {place} holds no usable secret (empty, or not printable ASCII). Put it there.")
    return value
