"""Why a day is judged as it is: each finding about a source's day becomes a reason with code, interval, numbers and words.

Belongs here: one function a kind of reason, from facts to `Reason`. Not here: reading the lake, the order of verdicts (`completeness`).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.lake.manifest import Remark
from audit_pipeline.privacy.masks import mask
from audit_pipeline.quality import words
from audit_pipeline.quality.evidence import FAILED, Fault
from audit_pipeline.quality.profile import DAY_US, LATE_S, Minutes, Profile
from audit_pipeline.quality.rhythm import SHORTEST_S, Rhythm, Silence

UNREADABLE = frozenset({"truncated", "unreadable", "not_json", "too_large", "too_deep", "trailing", "empty"})
"""Reject reasons that say that a member, or a stretch of it, could not be read; others are single bad records."""
LOWERING = frozenset(
    {
        FAILED,
        "no_data",
        "silent",
        "rejects",
        "mismatch",
        "unreadable",
        "corrupt",
        "window_edge",
        "source_partial",
        "sender_silent",
    }
)
"""Codes that make a day at best `partial`; the others stand beside a verdict."""
NAMED = 3
"""Members and senders named in a reason; the table `rejects` has all."""
EDGE_FACTOR = 3
EDGE_EVENTS = 5
EDGE_ALONE_S = 3600


@dataclass(frozen=True)
class Reason:
    """One reason; `seen` of `expected`, `share` of all that was received."""

    code: str
    detail: str
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    expected: float | None = None
    seen: float | None = None
    share: float | None = None

    @property
    def lowers(self) -> bool:
        """Whether the day is at best `partial` for it."""
        return self.code in LOWERING

    def row(self) -> dict[str, Any]:
        """As a value of the column `reasons`; a detail may quote a record, so what looks like a secret is masked."""
        return {
            "code": self.code, "from": self.start, "to": self.end, "expected": self.expected, "seen": self.seen, "share": self.share, "detail": mask(self.detail),
        }  # fmt: skip


def lowering(reasons: Iterable[Mapping[str, Any]]) -> set[str]:
    """The codes, among a row's reasons, that make the day `partial` or `missing`; the others only stand beside the verdict."""
    return {reason["code"] for reason in reasons} & LOWERING


def faults(found: list[Fault], day: Profile) -> list[Reason]:
    """`corrupt`, `unreadable` and `rejects`: what was received and could not be read."""
    kinds: defaultdict[str, list[Fault]] = defaultdict(list)
    for fault in found:
        kinds[
            "corrupt" if fault.reason == "corrupt" else "unreadable" if fault.reason in UNREADABLE else "rejects"
        ].append(fault)
    reasons = []
    for code in ("corrupt", "unreadable", "rejects"):
        if not kinds[code]:
            continue
        seen = sum(fault.count for fault in kinds[code])
        part = min(seen / max(day.records + day.rejects, seen), 1.0)
        names = sorted({fault.member for fault in kinds[code]})
        said = {
            "corrupt": f"the checksum fails, so none of the records in it can be trusted: {words.count(len(names), 'file')}",
            "unreadable": f"{words.count(len(names), 'file')} could not be read whole",
            "rejects": f"{words.count(seen, 'record')} ({words.share(part)}) could not be normalised, in {words.count(len(names), 'file')}",
        }[code]
        first = kinds[code][0]
        detail = f"{said}: {listed(names)}; {first.reason}: {first.detail}"
        reasons.append(Reason(code, detail, seen=float(seen), share=part))
    return reasons


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def accounting(indexed: int, declared: int | None, day: Profile) -> list[Reason]:
    """`mismatch`: what the index, or the source's own count, gives the day is not what its tables hold."""
    total = day.records + day.rejects
    reasons = []
    if indexed != total:
        detail = f"the index gives the day {words.count(indexed, 'record')}, its tables hold {total:,} ({day.records:,} in events, {day.rejects:,} rejects); compute the day again"
        reasons.append(Reason("mismatch", detail, expected=float(indexed), seen=float(total)))
    if declared is not None and declared != total:
        detail = f"the source counts {words.count(declared, 'record')}, {total:,} were received"
        reasons.append(Reason("mismatch", detail, expected=float(declared), seen=float(total)))
    return reasons


def reconciled(counted: int | None, received: int) -> list[Reason]:
    """`mismatch`: the source holds more documents of the day than were received; more received than it holds now is no loss."""
    if counted is None or counted <= received:
        return []
    detail = f"the source counts {words.count(counted, 'document')}, {received:,} were received: {counted - received:,} are missing"
    return [Reason("mismatch", detail, expected=float(counted), seen=float(received))]


def attested(found: tuple[int, int, str] | None) -> list[Reason]:
    """`mismatch`: the source's own record of what it delivered names more than was received and verified."""
    if found is None or found[1] >= found[0]:
        return []
    expected, seen, what = found
    detail = f"the source's record names {expected:,} {what}, {seen:,} were received and verified: {expected - seen:,} are missing"
    return [Reason("mismatch", detail, expected=float(expected), seen=float(seen))]


def remarks(found: list[Remark]) -> list[Reason]:
    """What source and collector said themselves, under their own code."""
    return [Reason(remark.code, remark.detail) for remark in found]


def unread(found: list[str]) -> list[Reason]:
    """`source_partial`: what the source deleted before it was read."""
    return [Reason("source_partial", detail) for detail in found[-1:]]


def silences(day: Profile, rhythm: Rhythm, at_the_end: str) -> list[Reason]:
    """`silent`: gaps longer than the source's own.

    Args:
        day: the profile.
        rhythm: what is usual.
        at_the_end: the code of a silence that lasts to the end of the day.
    """
    unusual = [silence for silence in rhythm.silences(day.minutes) if silence.ratio > 1]
    return [
        _silence(day, silence, rhythm, at_the_end if silence.end_us == DAY_US else "silent")
        for silence in sorted(unusual, key=lambda silence: silence.start_us)
    ]


def _silence(day: Profile, silence: Silence, rhythm: Rhythm, code: str) -> Reason:
    start, end = _at(day.day, silence.start_us), _at(day.day, silence.end_us)
    if silence.start_us == 0 and day.before is not None:
        start = day.before
    usual = words.span(rhythm.usual_s(day.day, silence.start_us, silence.end_us))
    ends = "; no later record is known: the records may simply end here" if code == "window_edge" else ""
    detail = (
        f"silent from {words.clock(start, day.day)} to {words.clock(end, day.day)}, {words.span((end - start).total_seconds())}; "
        f"expected {words.count(silence.expected)}{' on this day' * (start < midnight(day.day))}; "
        f"the longest silence usual at these hours is {usual}{ends}"
    )
    return Reason(code, detail, start, end, expected=silence.expected, seen=0.0)


def edges(day: Profile, begins: bool, ends: bool) -> list[Reason]:
    """`window_edge`: records that begin, or end, within the day, held against the day's own gaps.

    Args:
        day: the profile.
        begins: whether this is the first day that has records.
        ends: whether no later record is known of an archive that was read long after.
    """
    minutes = day.minutes
    if not minutes.events:
        return []
    reasons = []
    if begins and _edge(minutes, 0, int(minutes.first[0])):
        detail = f"the first record known of this source is of {words.clock(_at(day.day, minutes.first[0]), day.day)}: what came before it that day is not known"
        reasons.append(Reason("window_edge", detail, midnight(day.day), _at(day.day, minutes.first[0]), seen=0.0))
    if ends and _edge(minutes, int(minutes.last[-1]), DAY_US):
        detail = f"the last record known of this source is of {words.clock(_at(day.day, minutes.last[-1]), day.day)}: the records may simply end there"
        reasons.append(Reason("window_edge", detail, _at(day.day, minutes.last[-1]), midnight(day.day + DAY), seen=0.0))
    return reasons


def _edge(minutes: Minutes, start: int, end: int) -> bool:
    """Whether the silence at the edge is longer than the gaps inside the day; with hardly any record an hour is."""
    length = (end - start) / 1e6
    starts, ends = minutes.gaps()
    inner = (ends - starts)[1:-1] / 1e6
    if len(inner) < 2:
        return length > EDGE_ALONE_S
    expected = minutes.events * length / max(DAY_US / 1e6 - length, 1.0)
    return bool(length > SHORTEST_S and length > EDGE_FACTOR * inner.max() and expected > EDGE_EVENTS)


def blind(day: Profile, rhythm: Rhythm) -> list[Reason]:
    """Said in words where no silence shorter than the day would have been noticed."""
    if rhythm.smallest_s(day.minutes) is not None:
        return []
    detail = f"with {words.count(day.events)} a day, or events in such bursts, no silence shorter than a day would have been noticed"
    return [Reason("volume_low", detail, seen=float(day.events))]


def timeliness(day: Profile, settles_after: dt.timedelta) -> list[Reason]:
    """`lag`, `future`: for information."""
    reasons = []
    limit = settles_after.total_seconds()
    said = []
    if day.arrival_p95_s is not None and day.arrival_p95_s > limit:
        said.append(
            f"{words.span(day.arrival_p95_s)} passed after the end of the day until 95 % of the records were visible; settles_after is {words.span(limit)}"
        )
    if day.late:
        said.append(
            f"{words.count(day.late)} ({words.share(day.late / day.events)}) dated more than {words.span(LATE_S)} before they were visible: "
            "delivered late, or a clock is behind"
        )
    if said:
        late = day.late / day.events if day.late else None
        reasons.append(Reason("lag", "; ".join(said), expected=limit, seen=day.arrival_p95_s, share=late))
    if day.future:
        part = day.future / day.events
        detail = f"{words.count(day.future)} ({words.share(part)}) dated more than 5 min after they were visible: a clock is wrong"
        reasons.append(Reason("future", detail, seen=float(day.future), share=part))
    return reasons


def _at(day: dt.date, offset_us: int) -> dt.datetime:
    return midnight(day) + dt.timedelta(microseconds=int(offset_us))
