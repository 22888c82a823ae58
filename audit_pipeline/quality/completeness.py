"""The completeness verdict of each source and day: table `completeness` (words and order of the verdicts: contracts).

Belongs here: which verdict applies, from which days the usual is learned, the row. Not here: single reasons (`reasons`), statistics
(`rhythm`), facts of collection (`evidence`).

A row of D is a pure function of stored tables of days up to D, of raw evidence and index, and of configuration; the clock is not read.
None of the verdicts says that the system logged every act: what was never written leaves no gap.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from audit_pipeline import __version__
from audit_pipeline.clock import DAY, UTC, rfc3339
from audit_pipeline.context.hours import holidays
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.quality import history, senders, volume, words
from audit_pipeline.quality import reasons as why
from audit_pipeline.quality.evidence import Evidence
from audit_pipeline.quality.history import BASELINE_DAYS, COLD_DAYS, HISTORY_DAYS, Past, connection
from audit_pipeline.quality.profile import Minutes, Profile, profile
from audit_pipeline.quality.reasons import Reason
from audit_pipeline.quality.rhythm import Rhythm
from audit_pipeline.quality.senders import hear
from audit_pipeline.quality.volume import Calendar, explained
from audit_pipeline.settings import Settings

CHANGES = "changes"
"""Key in the table's metadata: JSON of source to the records before and after each edition that late records made."""
_COUNTS = ("verdict", "records", "events", "duplicates", "rejects")


@dataclass(frozen=True)
class Judged:
    """One source's day: what was found, and what it was found from."""

    evidence: Evidence
    profile: Profile
    past: Past
    rhythm: Rhythm | None
    verdict: str
    reasons: list[Reason]
    band: tuple[float, float] | None
    """events that like days let expect"""

    @property
    def gap_ratio(self) -> float | None:
        """The most unusual silence against what is usual; null where nothing could be compared."""
        if self.rhythm is None or not self.profile.minutes.events:
            return None
        return self.rhythm.silences(self.profile.minutes)[0].ratio


def assess(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Judge every configured source's day and write the table `completeness`; returns it.

    Raises:
        LakeError: the lake cannot be written.
    """
    stored = history.stored(lake, day)
    before = {row["source"]: row for row in stored if row["day"] == day}
    calendar = _calendar(settings)
    kept = history.remembered(lake, day)
    judged = {}
    for name in sorted(settings.sources):
        rows_before = [row for row in stored if row["source"] == name and row["day"] < day]
        judged[name] = judge(settings, lake, name, day, Past(rows_before, kept.get(name, {})), calendar)
    judged = _compared(judged, day in calendar.holidays)
    rows = {name: _row(found, before.get(name)) for name, found in judged.items()}
    table = pa.Table.from_pylist(list(rows.values()), TABLES["completeness"].schema)
    note = {
        "input_hash": _input_hash(settings, judged, calendar),
        "gap_ratio": json.dumps({name: found.gap_ratio for name, found in judged.items()}, sort_keys=True),
        CHANGES: json.dumps(_changes(changes(lake, day), before, rows), sort_keys=True),
    }
    history.remember(lake, day, {name: found.profile.minutes for name, found in judged.items()})
    lake.write_table("completeness", table, day, metadata=note)
    return table


def changes(lake: Lake, day: dt.date) -> dict[str, list[dict[str, int]]]:
    """What records that came after the day was first computed changed: by source, `edition` and the `records` `before` and `after` it."""
    found: dict[str, list[dict[str, int]]] = json.loads(
        (lake.table_metadata("completeness", day) or {}).get(CHANGES, "{}")
    )
    return found


def _changes(
    known: dict[str, list[dict[str, int]]], before: dict[str, dict[str, Any]], rows: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, int]]]:
    for name, row in rows.items():
        old = before.get(name)
        if old is not None and old["records"] != row["records"]:
            note = {"edition": row["edition"], "before": old["records"], "after": row["records"]}
            known.setdefault(name, []).append(note)
    return known


def _compared(judged: dict[str, Judged], holiday: bool) -> dict[str, Judged]:
    """Low volume beside the calendar and the other sources of the day."""
    told = {name for name, found in judged.items() if found.band is not None and found.profile.events}
    low = {
        name for name in told if any(r.code == "volume_low" and r.expected is not None for r in judged[name].reasons)
    }
    return {
        name: replace(found, reasons=[explained(reason, holiday, (len(low - {name}), len(told - {name}))) for reason in found.reasons])
        for name, found in judged.items()
    }  # fmt: skip


def _calendar(settings: Settings) -> Calendar:
    """Holidays of the configured zone, and those of all."""
    zone = settings.hours.zone
    return Calendar(frozenset(day for day, where in holidays(settings) if where in (None, zone)))


def judge(settings: Settings, lake: Lake, source: str, day: dt.date, past: Past, calendar: Calendar) -> Judged:
    """Judge one source's day."""
    evidence = Evidence.read(lake, source, day)
    earlier = sum(settings.start <= known < day for known in evidence.record_days)
    expected = settings.sources[source].expected
    usual = [row["day"] for row in past.baseline] if earlier >= COLD_DAYS else []
    con = connection(lake, source, day, usual if expected else past.lacking(usual), earlier=bool(expected))
    try:
        numbers = profile(con, source, day)
        faults = why.faults(evidence.faults(con), numbers)
        heard = hear(con, source, day, expected, usual) if expected else []
        days = past.learned(con, source, usual)
        rhythm = Rhythm.learn(list(days.values()))
    finally:
        con.close()
    band = volume.band(past.alike(day, calendar))
    documents = numbers.events if evidence.documents is None else evidence.documents
    received = bool(numbers.events or faults or evidence.indexed > numbers.rejects)
    if not evidence.covered:
        found = [_not_covered(evidence, day), *faults]
    elif not received:
        found = [
            _no_data(evidence, past.alike(day, calendar), day),
            *why.reconciled(evidence.counted, documents),
            *why.attested(evidence.attested),
            *why.remarks(evidence.remarks),
            *why.unread(evidence.unread),
        ]
    else:
        silences = _silences(settings, evidence, numbers, rhythm)
        found = [
            *faults,
            *why.accounting(evidence.indexed, evidence.declared, numbers),
            *why.reconciled(evidence.counted, documents),
            *why.attested(evidence.attested),
            *why.remarks(evidence.remarks),
            *why.unread(evidence.unread),
            *silences,
            *senders.silent(heard, day, HISTORY_DAYS, silences),
            *_volume(numbers, band, silences, [days[one] for one in days if calendar.off(one) == calendar.off(day)]),
            *(why.blind(numbers, rhythm) if rhythm and numbers.events else []),
            *why.timeliness(numbers, settings.sources[source].settles_after),
        ]
    cold = _cold_start(earlier, rhythm) if evidence.covered and received else []
    attested = evidence.attested is not None and evidence.attested[1] >= evidence.attested[0]
    agreed = evidence.counted == documents or attested
    verdict = _verdict(evidence, received, found, cold, agreed=agreed)
    return Judged(evidence, numbers, past, rhythm, verdict, [*found, *cold], band)


def _verdict(evidence: Evidence, received: bool, found: list[Reason], cold: list[Reason], *, agreed: bool) -> str:
    """The first verdict that applies."""
    if not evidence.covered:
        return "unknown" if not evidence.failures else "partial" if received else "missing"
    if not received:
        return "missing"
    if any(reason.lowers for reason in found):
        return "partial"
    if cold:
        return "unknown"
    return "proven" if agreed or evidence.declared is not None else "no_gap_seen"


def _cold_start(earlier: int, rhythm: Rhythm | None) -> list[Reason]:
    """`cold_start`: nothing to hold a silence against."""
    if earlier < COLD_DAYS:
        detail = f"day {earlier + 1} with records of this source: its rhythm is not known yet"
    elif rhythm is None:
        detail = f"none of the {HISTORY_DAYS} days before is whole: nothing to compare a silence with"
    else:
        return []
    return [Reason("cold_start", detail)]


def _not_covered(evidence: Evidence, day: dt.date) -> Reason:
    if evidence.failures:
        tries = len(evidence.failures)
        also = f" (the last of {tries} tries)" if tries > 1 else ""
        return Reason("collection_failed", f"{evidence.failures[-1]}{also}")
    return Reason("not_collected", f"no run has collected the whole of {day.isoformat()}")


def _volume(
    day: Profile, band: tuple[float, float] | None, silences: list[Reason], usual: list[Minutes]
) -> list[Reason]:
    """The hours that were low, else the day; hours are not told where a silence has told of them."""
    whole = volume.volume(day, band)
    if silences or any(reason.code == "volume_high" for reason in whole):
        return whole
    return volume.quiet_hours(day.minutes, usual) or whole


def _no_data(evidence: Evidence, alike: list[int], day: dt.date) -> Reason:
    earlier = [known for known in evidence.record_days if known < day]
    if not earlier:
        return Reason("no_data", "nothing was ever received from this source", seen=0.0)
    expected = sum(alike) / len(alike) if alike else None
    usual = f"; like days had {words.count(expected)} on average" if expected is not None else ""
    return Reason(
        "no_data",
        f"no record; the last day with any was {max(earlier).isoformat()}{usual}",
        expected=expected,
        seen=0.0,
    )


def _silences(settings: Settings, evidence: Evidence, day: Profile, rhythm: Rhythm | None) -> list[Reason]:
    """Silences against the source's own rhythm; where that is not known, and at the first day's beginning, against the day's own gaps."""
    horizon = min(settings.start, day.day - BASELINE_DAYS * DAY)
    begins = not any(horizon <= known < day.day for known in evidence.record_days)
    ends = evidence.backfilled(settings.as_of(day.day)) and not evidence.goes_on
    found = why.edges(day, begins, ends and rhythm is None)
    if rhythm is not None and day.minutes.events:
        found += why.silences(day, rhythm, "window_edge" if ends else "silent")
    return found


def _row(found: Judged, old: dict[str, Any] | None) -> dict[str, Any]:
    day = found.profile
    until = found.evidence.until
    row: dict[str, Any] = {
        "day": day.day, "source": day.source, "verdict": found.verdict, "reasons": [reason.row() for reason in found.reasons],
        "records": day.records, "events": day.events, "duplicates": day.duplicates, "rejects": day.rejects,
        "expected_low": found.band[0] if found.band else None, "expected_high": found.band[1] if found.band else None,
        "smallest_gap_s": found.rhythm.smallest_s(day.minutes) if found.rhythm and day.events else None,
        "baseline_days": len(found.rhythm.days) if found.rhythm else 0,
        "lag_p50_s": day.lag_p50_s, "lag_p95_s": day.lag_p95_s, "lag_max_s": day.lag_max_s, "future": day.future,
        "collected_until": until.astimezone(UTC) if until else None,
    }  # fmt: skip
    changed = old is not None and any(old[name] != row[name] for name in _COUNTS)
    return {**row, "edition": (old["edition"] if old else 1) + changed}


def _input_hash(settings: Settings, judged: dict[str, Judged], calendar: Calendar) -> str:
    """Over everything the rows were made from."""
    used = {
        name: {
            "settings": {
                "start": settings.start.isoformat(),
                "run_at": settings.run_at.isoformat(),
                "settles_after_s": settings.sources[name].settles_after.total_seconds(),
                "expected": settings.sources[name].expected,
            },
            "evidence": [entry.hash for entry in found.evidence.entries if entry.sequence in found.evidence.sequences],
            "covered": found.evidence.covered,
            "until": rfc3339(found.evidence.until) if found.evidence.until else None,
            "reasons": [{**asdict(reason)} for reason in found.reasons],
            "hours": found.profile.hours,
            "records": [found.profile.records, found.profile.duplicates, found.profile.rejects],
            "baseline": [
                [row["day"].isoformat(), row["verdict"], row["events"], row["edition"]] for row in found.past.baseline
            ],
        }
        for name, found in judged.items()
    }
    text = json.dumps(
        {"code": __version__, "holidays": sorted(calendar.holidays), "sources": used}, sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()
