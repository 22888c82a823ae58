"""One collection of CloudTrail on its way: what the chain says of those before, and what this one says in the end.

Belongs here: the entry's words, read and written. Not here: objects and digests (`cloudtrail` and its other parts).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.sources._cloudtrail_days import Days, Received
from audit_pipeline.sources._cloudtrail_keys import PublicKeys
from audit_pipeline.sources.base import Collection


@dataclass
class Past:
    """What the chain says of earlier collections."""

    checkpoint: dt.datetime | None = None
    since: dt.datetime | None = None
    swept: dt.datetime | None = None
    scopes: list[str] = field(default_factory=list)
    digests: dict[str, Any] = field(default_factory=dict)
    """scope to its newest valid digest"""
    known: set[tuple[str, str]] = field(default_factory=set)
    """key and ETag of all that was taken"""
    received: Received = field(default_factory=Received)
    unread: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, entries: list[Entry], selector: str) -> Past:
        past = cls()
        for entry in entries:
            request = entry.request
            for member in entry.members:
                if member.error is None and isinstance(member.etag, str):
                    past.known.add((member.name, member.etag))
                    past.received.hashes[member.name].add(str(member.inflated_sha256 or ""))
            past.unread += request.get("unread") or []
            if request.get("selector") == selector and request.get("checkpoint"):
                past.checkpoint, past.since, past.swept = (dt.datetime.fromisoformat(request[key]) for key in ("checkpoint", "from", "swept"))  # fmt: skip
                past.scopes, past.digests = request["scopes"], request["digests"]
        return past


@dataclass
class Asking:
    """One collection on its way."""

    collection: Collection
    past: Past
    first: dt.date
    """from this day on log files are listed"""
    proof: dt.date
    """from this day on digests are"""
    last: dt.date
    days: Days
    keys: PublicKeys
    whole: bool = True
    """whether everything that lies there could be read"""
    insights: int = 0
    strange: int = 0
    later: int = 0
    digests: dict[str, Any] = field(default_factory=dict)

    def trouble(self, detail: str) -> None:
        """Something could not be read this time: the same days are listed again."""
        self.whole = False
        self.collection.remarks.append(Remark("source_partial", detail))

    def conclude(self) -> None:
        """What the collection as a whole says, into request and remarks."""
        collection = self.collection
        request = collection.request
        digests = {**self.past.digests, **self.digests}
        if digests or self.days.breaks:
            request["attested"] = self.days.attested()
            collection.remarks += self.days.overdue(self._night)
        self._breaks()
        if self.later and not collection.simulated:
            collection.remarks.append(Remark("future", f"{self.later} log files carry a delivery time after {rfc3339(collection.now)}: left for a later run"))  # fmt: skip
        if self.strange:
            collection.remarks.append(Remark("foreign", f"{self.strange} objects among the log files have no name that CloudTrail gives: left alone"))  # fmt: skip
        request.update({"digests": digests, "insights": self.insights})
        if self.whole:
            request["checkpoint"] = request["to"]

    def _breaks(self) -> None:
        """What is lost or changed for good is a fact of its days; what a right would mend, or a later digest, is one of tonight."""
        request = self.collection.request
        unread = list(request.get("unread") or [])
        night = midnight(self._night)
        for one in self.days.breaks:
            said = {"from": rfc3339(one.start), "to": rfc3339(one.end), "detail": one.detail}
            if one.lasting and said not in self.past.unread:
                unread.append(said)
            elif not one.lasting and one.start < night + DAY and one.end > night:
                self.collection.remarks.append(Remark("source_partial", one.detail))
        if any(one.unproven for one in self.days.breaks):
            self.whole = False
        if unread:
            request["unread"] = unread

    @property
    def _night(self) -> dt.date:
        """The day that is collected for."""
        day = self.collection.request.get("day")
        return dt.date.fromisoformat(day) if day else self.last - DAY
