"""What the digests of all accounts and regions mean for whole UTC days: parts that are named, parts that were received.

Belongs here: coverage of days, log files held against the digests that name them. Not here: reading anything but the one object that
turned out wrong.

A day is attested when valid digests follow each other, in every account and region, from its midnight to an hour after its end (what
happened in its last minutes is delivered in the next hour), and then by its log files: named, received with the right hash. An object
that lies there and is in no digest counts as one that is lacking.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from isal import igzip_lib, isal_zlib

from audit_pipeline.clock import DAY, UTC, midnight, rfc3339
from audit_pipeline.formats.inflate import MAX_INFLATED
from audit_pipeline.lake.manifest import Remark
from audit_pipeline.sources._cloudtrail_digests import HOUR, Break, Chain, Named
from audit_pipeline.sources._cloudtrail_layout import LOG_NAME, Place, Scope, Stored

MINUTE = dt.timedelta(minutes=1)
DUE = 3 * HOUR
"""So long after the end of a day its digests must be there: the last one ends within two hours of it, and comes within one more."""
_NAMED_SCOPES = 3
_ERROR: Any = igzip_lib.IsalError


def content_hash(data: bytes) -> tuple[str, str]:
    """SHA-256 of what one gzip stream holds, and what is wrong with it; the hash is empty where something is."""
    inflater = isal_zlib.decompressobj(31)
    try:
        out = inflater.decompress(data, MAX_INFLATED + 1)
    except _ERROR:
        return "", "log file is invalid: it is no gzip"
    if not inflater.eof:
        return "", "log file is invalid: its gzip stream is cut short"
    if inflater.unused_data:
        return "", "log file is invalid: bytes follow its gzip stream (trailing data)"
    return hashlib.sha256(out).hexdigest(), ""


def delivered(name: str) -> dt.datetime | None:
    """The delivery stamp in a log file's name."""
    match = LOG_NAME.fullmatch(name)
    try:
        return dt.datetime.fromisoformat(match[1]).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


@dataclass
class Received:
    """What was taken of log files, now and before."""

    hashes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """key to the hashes of all its versions; empty for one that could not be inflated whole"""
    written: dict[str, dt.datetime] = field(default_factory=dict)
    """when the version that lies there was written"""
    refused: set[str] = field(default_factory=set)
    """keys that are there and could not be read this time"""


@dataclass
class _Day:
    expected: int = 0
    received: int = 0
    unsigned: int = 0
    covered: bool = True


class Days:
    """All days from `first` on whose digests can have come by `now`."""

    def __init__(self, place: Place, start: dt.datetime, first: dt.date, now: dt.datetime) -> None:
        self._place, self._start, self._first = place, start, midnight(first)
        count = max(0, (now - HOUR - self._first) // DAY)
        self._days = {first + n * DAY: _Day() for n in range(count)}
        self._loose: dict[Scope, tuple[Chain, bool]] = {}
        self._now = now
        self.breaks: list[Break] = []

    def add(self, scope: Scope, chain: Chain, listed: Sequence[Stored], received: Received, *, known: bool) -> None:
        """One account's one region.

        Args:
            scope: which.
            chain: what its digests say.
            listed: its log files that lie there.
            received: what was taken of them.
            known: whether it had digests at an earlier collection.
        """
        self._loose[scope] = (chain, known)
        self.breaks += chain.breaks
        named: defaultdict[str, list[Named]] = defaultdict(list)
        for one in chain.files:
            named[one.key].append(one)
        lacking = set(self.lacking(chain, received))
        fresh = {key for key in named if self._fresh(key, chain, received)}
        wrong = {key for key, parts in named.items() if self._wrong(key, parts, received, lacks=key in lacking, fresh=key in fresh)}  # fmt: skip
        unsure = {key for key in fresh - wrong if received.hashes[key] - {part.sha256 for part in named[key]}}
        unsigned = [one for one in listed if one.key not in named and self._unsigned(one, chain)]
        for day, found in self._days.items():
            begin, end = midnight(day), midnight(day) + DAY + HOUR
            of_day = {key for key, parts in named.items() if any(p.end > begin and p.start < end for p in parts) and self._asked(key, received)}  # fmt: skip
            outside = sum(one.key.rsplit("/", 4)[1:4] == f"{day:%Y/%m/%d}".split("/") for one in unsigned)
            found.covered &= chain.covers(begin, end) and not of_day & unsure
            found.expected += len(of_day) + outside
            found.received += len(of_day - wrong)
            found.unsigned += outside

    def attested(self) -> dict[str, dict[str, Any]]:
        """For each day that the digests cover whole: how many log files they name, and how many were received and verified."""
        return {
            day.isoformat(): {
                "expected": found.expected, "received": found.received,
                "of": f"log files ({found.unsigned} of them in no digest)" if found.unsigned else "log files",
            }
            for day, found in self._days.items()
            if found.covered and self._loose
        }  # fmt: skip

    def overdue(self, day: dt.date) -> list[Remark]:
        """What lacks a digest that must be there by now; a later collection for the day may find it."""
        begin, end = midnight(day), midnight(day) + DAY + HOUR
        if begin < self._first or midnight(day) + DAY + DUE > self._now:
            return []
        late = []
        for scope, (chain, known) in sorted(self._loose.items()):
            began = min((low for low, _ in chain.spans), default=begin)
            if (known or began <= end) and not chain.covers(max(begin, began), end):
                late.append(f"{scope} (up to {rfc3339(chain.until)})" if chain.until else f"{scope} (none)")
        if not late:
            return []
        more = f" and {len(late) - _NAMED_SCOPES} more" if len(late) > _NAMED_SCOPES else ""
        detail = f"digests do not cover the day: {', '.join(late[:_NAMED_SCOPES])}{more}. Nothing shows that its log files are all there; collect the day again, and see that log file validation is on"  # fmt: skip
        return [Remark("source_partial", detail)]

    def lacking(self, chain: Chain, received: Received) -> list[str]:
        """Keys that digests name, in a version that was not taken: delivered late under a key of an earlier day, or gone."""
        newest = {one.key: one.sha256 for one in sorted(chain.files, key=lambda one: one.end)}
        return sorted(key for key, sha256 in newest.items() if sha256 not in received.hashes.get(key, ()) and self._asked(key, received))  # fmt: skip

    def _asked(self, key: str, received: Received) -> bool:
        """Whether the file was to be collected: not one of a time before the first day."""
        stamp = delivered(key.rsplit("/", 1)[-1])
        return stamp is None or stamp >= self._start or key in received.hashes

    def _fresh(self, key: str, chain: Chain, received: Received) -> bool:
        """Whether the version that lies there was written so late that the digest that names it cannot have come."""
        written = received.written.get(key)
        return written is not None and (chain.until is None or written + HOUR + MINUTE > chain.until)

    def _wrong(self, key: str, parts: list[Named], received: Received, *, lacks: bool, fresh: bool) -> bool:
        """Whether a named file was not taken as it was delivered; says why. A file that was delivered again has several right hashes."""
        hashes = received.hashes.get(key, set())
        strange = hashes - {part.sha256 for part in parts}
        if not lacks and (fresh or not strange):
            return False
        reason, lasting = "log file is missing: it was deleted before it was read", True
        if key in received.refused:
            reason, lasting = "log file could not be read", False
        elif hashes:
            reason, lasting = self._altered(key), not fresh
        self.breaks.append(Break(min(p.start for p in parts), max(p.end for p in parts), key, reason, lasting))
        return True

    def _altered(self, key: str) -> str:
        reason = "log file was altered: its hash is not the one in the digest"
        try:
            return content_hash(self._place.read(key))[1] or reason
        except (OSError, ValueError):
            return reason

    def _unsigned(self, one: Stored, chain: Chain) -> bool:
        """Whether a digest should name it by now: those of its hour and of the next are there, and do not."""
        at = delivered(one.name)
        if at is None or not chain.covers(at, at + HOUR + MINUTE):
            return False
        self.breaks.append(Break(at, at + HOUR, one.key, "log file is in no digest: CloudTrail does not say that it delivered it", lasting=False))  # fmt: skip
        return True
