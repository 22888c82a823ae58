"""What an answer says: readers of its body, its reason when it is an error, how long to wait, what time it is there.

Belongs here: pure functions of what was received, for `http`. Not here: asking.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

_SHOWN = 300


class PassingError(Exception):
    """Trouble that may pass; `wait_s` is what the server asked for. A reader raises it for an answer that is cut short or none."""

    def __init__(self, detail: str, wait_s: float | None = None) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


Reader = Callable[[str, bytes], Any]
"""Content type (lower case, without parameters) and body to what the answer says; raises `PassingError` where it is none."""


def json_object(kind: str, data: bytes) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        PassingError: it is none.
    """
    found = json_value(kind, data)
    if not isinstance(found, dict):
        raise PassingError("the answer is no JSON object")
    return found


def json_value(kind: str, data: bytes) -> Any:
    """The JSON of a good answer; a login page of a proxy with status 200 is none.

    Raises:
        PassingError: it is no JSON.
    """
    if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        raise PassingError(f"the answer is {kind or 'of no type'} and not JSON")
    return decoded(data)


def decoded(data: bytes) -> Any:
    """JSON, quickly, else with the patience that JSON with escaped lone surrogates needs."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise PassingError("the answer is cut short or no JSON") from None


def words_of(data: bytes) -> str:
    """The source's own reason, bounded, on one line."""
    try:
        found = _reason(json.loads(data))
    except (ValueError, AttributeError, RecursionError, IndexError, TypeError, KeyError):
        return ""
    return f" ({''.join(c if c.isprintable() else ' ' for c in found[:_SHOWN])})"


def date_of(stamp: str | None) -> dt.datetime | None:
    try:
        found = parsedate_to_datetime(stamp or "")
    except ValueError:
        return None
    return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _reason(said: Any) -> str:
    """The words of an error in the shapes that sources use: `error`, `errors`, `message`, `messages`."""
    if "error" in said:
        error = said["error"]
        return error if isinstance(error, str) else f"{error.get('type')}: {error.get('reason')}"
    if "errors" in said:
        error = said["errors"][0]
        return error if isinstance(error, str) else str(error.get("detail") or error.get("title"))
    return str(said["message"] if "message" in said else said["messages"][0]["text"])


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by `Retry-After`, or by `X-RateLimit-Reset` where that counts seconds and not since 1970."""
    given = response.headers.get("Retry-After", "").strip()
    reset = response.headers.get("X-RateLimit-Reset", "").strip()
    if not given and reset.isdecimal() and len(reset) < 7:
        return float(reset)
    if given.isdecimal():
        return float(given[:9])
    until, now = date_of(given), date_of(response.headers.get("Date"))
    return max(0.0, (until - now).total_seconds()) if until and now else None
