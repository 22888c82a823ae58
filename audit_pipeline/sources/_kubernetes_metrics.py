"""What an API server counts of its own auditing: `/metrics` in the text format; used by `kubernetes`.

Belongs here: reading the counters, and what two readings say of each other. Not here: asking (`http`), what a collection makes of it
(`kubernetes`). Sources: k8s.io/apiserver `pkg/audit/metrics.go` (`event_total` goes up just before an event is handed to the backends,
`error_total` for each event that a plugin could not keep), prometheus.io, "Exposition formats".
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Any

from audit_pipeline.clock import UTC, rfc3339
from audit_pipeline.sources.http import PassingError, Reader

_LINE = re.compile(
    rb"^(process_start_time_seconds|apiserver_audit_(?:event|error|requests_rejected)_total)"
    rb'(?:\{((?:[^}"]|"(?:[^"\\]|\\.)*")*)\})?[ \t]+(\S+)',
    re.MULTILINE,
)
_PLUGIN = re.compile(rb'plugin="((?:[^"\\]|\\.)*)"')
_JITTER = dt.timedelta(seconds=2)
"""The start of a process is made from the machine's boot time, which its clock's corrections move."""


@dataclass(frozen=True)
class Counters:
    """One reading; counters begin at 0 when the process starts."""

    started: dt.datetime
    events: int
    """handed to the backends"""
    errors: dict[str, int]
    """events that could not be kept, by plugin"""
    rejected: int
    """requests that were refused since they could not be audited"""
    read: dt.datetime
    """by the server's clock, where it tells it"""

    @property
    def dropped(self) -> int:
        """Events that the log may lack: the webhook's own are in the log all the same."""
        return sum(n for plugin, n in self.errors.items() if "webhook" not in plugin)

    def follows(self, old: Counters) -> bool:
        """Whether it is a later reading of the same process."""
        grown = self.events >= old.events and self.dropped >= old.dropped
        return grown and abs(self.started - old.started) <= _JITTER

    def foreign(self, old: Counters) -> bool:
        """Whether it is a reading of another server: a process that is not the same and did not begin after the old reading."""
        return not self.follows(old) and self.started <= old.read - _JITTER

    def kept(self) -> dict[str, Any]:
        """As it stands in an entry."""
        return {
            "started": rfc3339(self.started), "events": self.events, "errors": self.errors, "rejected": self.rejected, "read": rfc3339(self.read),
        }  # fmt: skip

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Counters:
        """From an entry."""
        started, read = (dt.datetime.fromisoformat(kept[name]) for name in ("started", "read"))
        return cls(started, kept["events"], kept["errors"], kept["rejected"], read)


def reader(now: dt.datetime) -> Reader:
    """A reader of the text format; `now` stands where the server does not tell its time."""
    return lambda kind, data: _counters(kind, data, now)


def _counters(kind: str, data: bytes, now: dt.datetime) -> Counters:
    """The counters in the text format.

    Raises:
        PassingError: it is none, is cut short, or has not the counters of an API server that audits.
    """
    if kind != "text/plain":
        raise PassingError(f"the answer is {kind or 'of no type'} and not metrics as text")
    if not data.endswith(b"\n"):
        raise PassingError("the metrics are cut short")
    found: dict[bytes, float] = {}
    errors: dict[str, int] = {}
    for name, labels, value in _LINE.findall(data):
        if name == b"apiserver_audit_error_total":
            plugin = _PLUGIN.search(labels)
            errors[plugin[1].decode("utf-8", "replace") if plugin else ""] = int(_number(value))
        else:
            found[name] = found.get(name, 0.0) + _number(value)
    started, events = found.get(b"process_start_time_seconds"), found.get(b"apiserver_audit_event_total")
    if not started or events is None:
        raise PassingError("the metrics lack process_start_time_seconds or apiserver_audit_event_total: is this an API server?")  # fmt: skip
    rejected = int(found.get(b"apiserver_audit_requests_rejected_total", 0))
    return Counters(dt.datetime.fromtimestamp(started, UTC), int(events), errors, rejected, now)


def _number(text: bytes) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 2**53:
        raise PassingError(f"{text[:40]!r} is no value of a counter")
    return value
