"""One HTTP client for all sources that answer over HTTP: patient with trouble that passes, strict with answers that are none.

Belongs here: connection, credentials, retries and their budget, bounds, what an answer's status means. Not here: any system's words.
Plain HTTP and no vendor's client: those hide headers, partial answers and retries that a collector has to know of.

Tried again: connections that break, bodies cut short, too slow or no JSON, 429 and 5xx (RFC 9110, 10.2.3: `Retry-After` in seconds
or as a date, read against the answer's own `Date`, so no clock is needed). Never: 401, 403 and other 4xx. No redirect is followed,
so credentials reach the configured host only.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from audit_pipeline.sections import HttpSettings
from audit_pipeline.sources._answers import (
    PassingError,
    Reader,
    date_of,
    decoded,
    json_object,
    json_value,
    retry_after,
    words_of,
)
from audit_pipeline.sources._credentials import credentials, read_secret, trust
from audit_pipeline.sources.base import SourceError

MAX_BODY = 64 * 2**20
"""Bytes of one answer, decoded."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
__all__ = [
    "Answer",
    "Http",
    "PassingError",
    "PermissionRefusedError",
    "Reader",
    "RefusedError",
    "TooLargeError",
    "Waiting",
    "decoded",
    "json_object",
    "json_value",
    "read_secret",
]

_PERMISSION = (401, 403)
_LOCAL = ("localhost", "127.0.0.1", "::1")


class PermissionRefusedError(SourceError):
    """401 or 403: somebody has to grant a right; trying again does not help."""


class RefusedError(SourceError):
    """The source understood the request and refuses it."""

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class TooLargeError(SourceError):
    """The answer is larger than `MAX_BODY`: ask for less at once."""


@dataclass(frozen=True)
class Answer:
    """A good answer: the bytes as they were sent (decoded), what they say by the reader, and the server's time where it tells it."""

    body: bytes
    data: Any
    date: dt.datetime | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Content:
    """What is sent with a request."""

    data: bytes | None
    headers: dict[str, str]

    @classmethod
    def of(cls, body: Mapping[str, Any] | None, form: Mapping[str, str] | None) -> _Content:
        if form is not None:
            return cls(urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"})
        if body is None:
            return cls(None, {})
        return cls(json.dumps(body, separators=(",", ":")).encode(), {"Content-Type": "application/json"})


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
        self._began = self._due = self._waiting.monotonic()
        self._headers, self._secrets = credentials(settings.auth, resolve)
        self._client = httpx.Client(
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
            timeout=settings.timeout.total_seconds(),
            verify=trust(settings, resolve),
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
        form: Mapping[str, str] | None = None,
        read: Reader | None = None,
        at_once: tuple[bytes, ...] = (),
        tries: int | None = None,
    ) -> Answer:
        """Ask until there is a good answer, a refusal, or the budget is spent.

        Args:
            method: such as `POST`.
            path: below the configured address.
            params: of the query.
            body: JSON to send.
            form: fields to send as a form, in place of JSON.
            read: what the answer says; null: a JSON object.
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
            retry=retry_if_exception_type(PassingError), wait=self._wait, stop=stop, sleep=self._waiting.sleep, reraise=True
        )  # fmt: skip
        try:
            answer: Answer = retrying(
                self._once, method, path, params, _Content.of(body, form), read or json_object, at_once
            )
        except PassingError as error:
            tried = retrying.statistics.get("attempt_number", 1)
            raise SourceError(
                self._clean(
                    f"{self._where(method, path)}: {error} (tried {tried} times within http.budget). See whether the source is well; "
                    "the next collection goes on from the last one that was whole."
                )
            ) from None
        return answer

    @property
    def url(self) -> str:
        """The configured address."""
        return self._settings.url

    @property
    def unencrypted(self) -> bool:
        """Whether credentials and logs cross a network in the clear."""
        where = httpx.URL(self.url)
        return where.scheme == "http" and where.host not in _LOCAL

    def _pace(self) -> None:
        """Wait until the next request is due by `http.rate`."""
        if self._settings.rate is None:
            return
        now = self._waiting.monotonic()
        if now < self._due:
            self._waiting.sleep(self._due - now)
        self._due = max(now, self._due) + 1 / self._settings.rate

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, PassingError) and error.wait_s is not None:
            return error.wait_s
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(state.attempt_number - 1, 10))
        return longest * (0.5 + self._random.random() / 2)

    def _spent(self, state: RetryCallState) -> bool:
        return self._waiting.monotonic() - self._began + state.upcoming_sleep > self._settings.budget.total_seconds()

    def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, content: _Content, read: Reader, at_once: tuple[bytes, ...]
    ) -> Answer:  # fmt: skip
        self._pace()
        headers = self._headers | content.headers
        try:
            with self._client.stream(
                method, self._settings.url + path, params=params, content=content.data, headers=headers
            ) as response:
                data = self._read(response, method, path)
                return self._judged(response, data, method, path, read, at_once)
        except ssl.SSLError as error:
            raise SourceError(self._clean(f"{self._where(method, path)}: {error}. Check http.ca_file.")) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise SourceError(
                    f"{self._where(method, path)}: the certificate is not trusted. Set http.ca_file to the authority that signed it."
                ) from None
            raise PassingError(f"{type(error).__name__}: {error}") from None

    def _read(self, response: httpx.Response, method: str, path: str) -> bytes:
        """The body, bounded in size and in time: a server that drips is as good as none."""
        end = self._waiting.monotonic() + self._settings.timeout.total_seconds()
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise TooLargeError(f"{self._where(method, path)}: the answer has more than {MAX_BODY} bytes. Ask for less at once, such as by a smaller page.")  # fmt: skip
            if self._waiting.monotonic() > end:
                raise PassingError(f"the answer took longer than {self._settings.timeout.total_seconds():.0f} s")
        return b"".join(parts)

    def _judged(
        self, response: httpx.Response, data: bytes, method: str, path: str, read: Reader, at_once: tuple[bytes, ...]
    ) -> Answer:
        status, where = response.status_code, self._where(method, path)
        if status < 300:
            kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
            return Answer(data, read(kind, data), date_of(response.headers.get("Date")), response.headers)
        said = self._clean(f"{where}: the source answers {status}{words_of(data)}")
        if status in _PERMISSION:
            raise PermissionRefusedError(f"{said}. Check http.auth, and ask for the rights that `audit-pipeline check` lists.")  # fmt: skip
        if status in (408, 425, 429) or status >= 500:
            if any(word in data for word in at_once):
                raise RefusedError(said, status, data)
            raise PassingError(f"the source answers {status}{words_of(data)}", retry_after(response))
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
