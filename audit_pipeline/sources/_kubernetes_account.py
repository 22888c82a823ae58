"""What the API server's counters tell of loss, held against the lines of its log; used by `kubernetes`.

Belongs here: two readings and what came between them. Not here: reading counters (`_kubernetes_metrics`), files (`_kubernetes_log`).

Readings frame the files: all that the first of a collection counts must be in its files, and the next collection counts on from the
second one. So a difference is loss, or a queue; what is logged while the two are taken hides as many lost lines, which is why
agreement proves nothing.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from audit_pipeline.clock import rfc3339
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.sources._kubernetes_metrics import Counters
from audit_pipeline.sources.base import Collection

FOREIGN = (
    "another API server answers at http.url than the last time: its counters say nothing about this log, so drops go unseen. "
    "Set http.url to the server itself, not to a load balancer"
)
_MOMENT = dt.timedelta(seconds=1)


def last(known: list[Entry], key: str) -> Entry | None:
    """The newest entry that has this in its request."""
    return next((entry for entry in reversed(known) if entry.request.get(key)), None)


def stretch(begin: dt.datetime, end: dt.datetime, detail: str) -> dict[str, str]:
    """A stretch of `request.unread`, at least a moment long, so that it touches a day."""
    return {"from": rfc3339(begin), "to": rfc3339(max(end, begin + _MOMENT)), "detail": detail}


class Account:
    """The counters of a collection beside those of the last one that has any."""

    def __init__(self, collection: Collection) -> None:
        self._collection, self._now = collection, collection.now
        self._past = last(collection.known, "counters")
        self._kept: dict[str, Any] = self._past.request["counters"] if self._past else {"short": 0}
        self._old = Counters.of(self._kept) if self._past else None
        self._since = dt.datetime.fromisoformat(self._past.request["to"]) if self._past else None

    def held(self, before: Counters, after: Counters, lines: int) -> list[dict[str, str]]:
        """What is lost for good; the reading goes into the entry, and what may be lost into its remarks.

        Args:
            before: read before the files.
            after: read after them.
            lines: what came from the files.
        """
        if after.foreign(before) or (self._old and (before.foreign(self._old) or after.foreign(self._old))):
            self._remark("source_partial", FOREIGN)
            return []
        short = self._short(before, lines)
        unread = [*self._dropped(after), *self._lost(min(short, self._kept["short"]))]
        left = max(0, short - self._kept["short"])
        if left:
            self._remark("source_partial", f"the API server counted {left} events more than its log has: lost, or still queued (--audit-log-mode=batch)")  # fmt: skip
        self._collection.request["counters"] = after.kept() | {
            "lines": lines, "short": left, "short_from": rfc3339(self._since or self._now),
        }  # fmt: skip
        return unread

    def _dropped(self, after: Counters) -> list[dict[str, str]]:
        """By the server's own counter, since the last reading, or since the process began."""
        old, begin = self._old, min(after.started, self._now)
        if old and self._since and after.follows(old):
            dropped, begin = after.dropped - old.dropped, self._since
        else:
            dropped = after.dropped
            if old:
                self._remark("restarted", f"the API server was restarted at {rfc3339(after.started)}: what it dropped between {rfc3339(old.read)} and its end is not known")  # fmt: skip
        if not dropped:
            return []
        told = ", ".join(f"{plugin} {n}" for plugin, n in sorted(after.errors.items()))
        detail = f"the API server dropped {dropped} audit events since {rfc3339(begin)} (apiserver_audit_error_total by plugin: {told})"
        return [stretch(begin, self._now, detail)]

    def _short(self, before: Counters, lines: int) -> int:
        """Events counted that have not come; what was short before stays so where the two cannot be held against each other."""
        old, short = self._old, int(self._kept["short"])
        if old is None or self._past is not self._collection.known[-1]:
            return short
        if not before.follows(old):  # lines of the process before are among them, so this is the least
            return short + max(0, before.events - before.dropped - lines)
        expected = before.events - old.events - (before.dropped - old.dropped)
        return max(0, short + expected - lines)

    def _lost(self, gone: int) -> list[dict[str, str]]:
        """Short at the last collection, and still not here."""
        if not gone or self._since is None:
            return []
        detail = (
            f"the API server counted {gone} events more than its log had, and they have not come since: they are lost"
        )
        return [stretch(dt.datetime.fromisoformat(self._kept["short_from"]), self._since, detail)]

    def _remark(self, code: str, detail: str) -> None:
        self._collection.remarks.append(Remark(code, detail))
