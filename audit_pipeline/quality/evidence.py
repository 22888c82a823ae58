"""What the manifest and the index say about a source's day: whether it was asked for, what failed, what was unreadable.

Belongs here: facts of collection that bear on one day. Not here: the verdict (`completeness`) or anything that needs events.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import duckdb
import pyarrow.parquet as pq

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.formats import indexing, received
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.store import Lake

FAILED = "collection_failed"


@dataclass(frozen=True)
class Fault:
    """Why a member, or records of it, could not be read; `count` rejects stand for it."""

    member: str
    reason: str
    count: int
    detail: str


@dataclass(frozen=True)
class _Asking:
    """One asking: the entries it wrote; the last carries request and remarks. One that was killed has no last one."""

    entries: tuple[Entry, ...]

    @property
    def last(self) -> Entry:
        return self.entries[-1]

    @property
    def day(self) -> str | None:
        return self.last.request.get("day")

    def covers(self, day: dt.date) -> bool:
        """An entry without a request says nothing about what was asked."""
        return bool(self.last.request) and self.last.covers(day)

    @property
    def failure(self) -> str | None:
        return next((remark.detail for remark in self.last.remarks if remark.code == FAILED), None)

    @property
    def until(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.last.request.get("to") or self.last.collected_at)

    def attests(self, day: dt.date) -> bool:
        """Whether all parts of the day that the source's own record names were received."""
        found = (self.last.request.get("attested") or {}).get(day.isoformat())
        return found is not None and bool(found["received"] >= found["expected"])

    def counts(self, day: dt.date) -> bool:
        """Whether it read everything up to the day's end, and holds the source's own count of it."""
        request = self.last.request
        if day.isoformat() not in (request.get("counted") or {}) or not request.get("checkpoint"):
            return False
        return dt.datetime.fromisoformat(request["checkpoint"]) >= midnight(day + DAY)

    def made_for(self, day: dt.date) -> bool:
        """By its own word, else by when it was made: on the day after."""
        if self.day is not None:
            return self.day == day.isoformat()
        return midnight(day + DAY) <= dt.datetime.fromisoformat(self.last.collected_at) < midnight(day + 2 * DAY)


def _listed(found: object) -> list[dict[str, str]]:
    """One stretch, or a list of them."""
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


@dataclass(frozen=True)
class Evidence:
    """The facts of collection of one source, seen from one day."""

    lake: Lake
    source: str
    day: dt.date
    entries: tuple[Entry, ...]
    markers: dict[int, indexing.Marker]

    @classmethod
    def read(cls, lake: Lake, source: str, day: dt.date) -> Evidence:
        """From the lake."""
        return cls(lake, source, day, tuple(manifest.entries(lake, source)), indexing.markers(lake, source))

    @cached_property
    def _askings(self) -> list[_Asking]:
        found: list[_Asking] = []
        parts: list[Entry] = []
        for entry in self.entries:
            parts.append(entry)
            if entry.request:
                found.append(_Asking(tuple(parts)))
                parts = []
        return found

    @cached_property
    def _covering(self) -> list[_Asking]:
        return [asking for asking in self._askings if asking.covers(self.day)]

    @property
    def covered(self) -> bool:
        """Whether some collection asked for the whole day and did not fail."""
        return bool(self._covering)

    @property
    def failures(self) -> list[str]:
        """What the failed collections for this day said, oldest first."""
        return [asking.failure for asking in self._askings if asking.failure and asking.made_for(self.day)]

    @property
    def remarks(self) -> list[Remark]:
        """What the source said of this day when it was last asked for it: being asked again and giving all heals an earlier gap."""
        made = [asking for asking in self._covering if asking.made_for(self.day)]
        asked = made[-1:] or self._covering[:1]
        return [remark for asking in asked for remark in self._healing(asking).last.remarks]

    def _healing(self, asked: _Asking) -> _Asking:
        """The first later asking that proves the day, where this one could not: what was missing was asked for again, and is there.

        Having read everything is no proof: what was there at first may be gone by then. It takes the source's own record of all parts
        (`request.attested`), from an asking that has nothing to say; or its count of the day (`request.counted`, which is held against
        what was received), from one of the same selection that read everything up to the day's end (`request.checkpoint`).
        """
        later = [one for one in self._askings[self._askings.index(asked) + 1 :] if not one.failure]
        chosen = asked.last.request.get("selector")
        proofs = (
            one
            for one in later
            if (one.attests(self.day) and not one.last.remarks)
            or (one.counts(self.day) and one.last.request.get("selector") == chosen)
        )
        return asked if asked.counts(self.day) else next(proofs, asked)

    def backfilled(self, as_of: dt.datetime) -> bool:
        """Whether the first collection that covers the day came more than a day after its as-of."""
        first = min((dt.datetime.fromisoformat(asking.last.collected_at) for asking in self._covering), default=None)
        return first is not None and first > as_of + DAY

    @property
    def until(self) -> dt.datetime | None:
        """Up to when the day was asked for: by the first collection that covers it, or a later one that brought records of it."""
        brought = [
            asking for asking in self._covering if any(entry.sequence in self.sequences for entry in asking.entries)
        ]
        return max((asking.until for asking in [*self._covering[:1], *brought]), default=None)

    @cached_property
    def sequences(self) -> set[int]:
        """The entries that have records or rejects of the day."""
        return {number for number, marker in self.markers.items() if self.day.isoformat() in marker.days}

    @property
    def indexed(self) -> int:
        """Records and rejects that the index gives the day."""
        return sum(sum(marker.days.get(self.day.isoformat(), [])) for marker in self.markers.values())

    @cached_property
    def record_days(self) -> set[dt.date]:
        """The days of which there are records."""
        return {
            dt.date.fromisoformat(day)
            for marker in self.markers.values()
            for day, (records, _) in marker.days.items()
            if records
        }

    @property
    def goes_on(self) -> bool:
        """Whether there are records of a later day; dates beyond the last collection are wrong clocks and count for nothing."""
        end = max((entry.collected_at for entry in self.entries), default="")
        return any(self.day < found and found.isoformat() <= end for found in self.record_days)

    @property
    def declared(self) -> int | None:
        """The source's own count of the day's records, where all of them came by collections of exactly this day that have one."""
        bounds = (rfc3339(midnight(self.day)), rfc3339(midnight(self.day + DAY)))
        exact = [a for a in self._covering if (a.last.request.get("from"), a.last.request.get("to")) == bounds]
        entries = [entry for asking in exact for entry in asking.entries]
        counts = [entry.records for entry in entries if entry.records is not None]
        if not exact or len(counts) < len(exact) or not self.sequences <= {entry.sequence for entry in entries}:
            return None
        return sum(counts)

    @property
    def counted(self) -> int | None:
        """How many documents of the day the source had when it was asked last: a count of its own, beside what it gave."""
        key = self.day.isoformat()
        counts = [
            found[key]
            for asking in self._askings
            if not asking.failure and isinstance(found := asking.last.request.get("counted"), dict) and key in found
        ]
        return counts[-1] if counts else None

    @cached_property
    def documents(self) -> int | None:
        """How many of a store's own records of the day were received, where they become events of other days; null where events are they."""
        held = {number: marker.own for number, marker in self.markers.items() if marker.own is not None}
        key = self.day.isoformat()
        return (
            received.count(self.lake, self.source, key, [n for n, days in held.items() if key in days])
            if held
            else None
        )

    @property
    def attested(self) -> tuple[int, int, str] | None:
        """How many parts of the day the source's own record of them names, how many were received and verified, and what they are."""
        key = self.day.isoformat()
        found = [
            known[key]
            for asking in self._askings
            if not asking.failure and isinstance(known := asking.last.request.get("attested"), dict) and key in known
        ]
        return (int(found[-1]["expected"]), int(found[-1]["received"]), str(found[-1]["of"])) if found else None

    @property
    def unread(self) -> list[str]:
        """What may have been deleted at the source before it was read, where it touches the day; a later collection heals none of it."""
        begin, end = midnight(self.day), midnight(self.day + DAY)
        return [
            found["detail"]
            for asking in self._askings
            for found in _listed(asking.last.request.get("unread"))
            if dt.datetime.fromisoformat(found["from"]) < end and dt.datetime.fromisoformat(found["to"]) > begin
        ]

    def faults(self, con: duckdb.DuckDBPyConnection) -> list[Fault]:
        """What could not be read of the day and was not replaced since by a readable copy: rejects, then members without one.

        Args:
            con: sees the day's `rejects`.
        """
        rows = con.execute(
            "SELECT segment, coalesce(member, ''), reason, count(*), min(detail) FROM rejects WHERE source = $source AND day = $day "
            "GROUP BY ALL ORDER BY 2, 3, 1",
            {"source": self.source, "day": self.day},
        ).fetchall()
        found = [Fault(*row[1:]) for row in rows if not self._healed(self._origin(row[0], row[1]), row[1])]
        named = {row[1] for row in rows}
        return found + [
            Fault(member.name, "unreadable", 1, member.error or "")
            for entry, member in self._errors()
            if member.name not in named and not self._healed(entry, member.name)
        ]

    def _errors(self) -> Iterable[tuple[Entry, Member]]:
        """Members that failed already at collection: of the day they were visible on, else of the day that was collected for."""
        for asking in self._askings:
            for entry in asking.entries:
                for member in entry.members:
                    day = member.visible_time[:10] if member.visible_time else None
                    of_day = day == self.day.isoformat() if day else asking.made_for(self.day)
                    if member.error and of_day:
                        yield entry, member

    def _origin(self, segment: str | None, member: str) -> Entry | None:
        """The entry that a reject came with; one without a segment held nothing but members that failed."""
        return next(
            (
                entry
                for entry in self.entries
                if entry.segment == segment and (segment or any(found.name == member for found in entry.members))
            ),
            None,
        )

    def _healed(self, origin: Entry | None, name: str) -> bool:
        """Whether the member was collected again later, from its beginning, without any reject."""
        if origin is None:
            return False
        parts = [member for member in origin.members if member.name == name]
        begin = min((member.at for member in parts), default=0)
        end = max((member.at + member.inflated for member in parts), default=0)
        return any(
            member.name == name
            and member.error is None
            and member.at <= begin
            and (
                member.prefix is None or member.at + member.inflated >= end
            )  # lines: the same stretch, not what came after it
            and name not in self._rejected(entry.sequence)
            for entry in self.entries
            if entry.sequence > origin.sequence
            for member in entry.members
        )

    def _rejected(self, sequence: int) -> set[str]:
        """The members of a segment that have rejects, on whatever day; all of them where it is not indexed yet."""
        marker = self.markers.get(sequence)
        if marker is None:
            return {member.name for entry in self.entries if entry.sequence == sequence for member in entry.members}
        found: set[str] = set()
        for day, (_, rejects) in marker.days.items():
            if rejects:
                path = self.lake.path(indexing.file(self.source, dt.date.fromisoformat(day), sequence))
                with self.lake.fs.open(path, "rb") as file:
                    table = pq.read_table(file, columns=["member", "reason"])
                found.update(table.filter(table["reason"].is_valid())["member"].to_pylist())
        return found
