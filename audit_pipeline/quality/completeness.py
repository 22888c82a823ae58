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
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import pyarrow as pa

from audit_pipeline import __version__
from audit_pipeline.clock import DAY, UTC, rfc3339
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.views import add_view, connect, partition_files
from audit_pipeline.quality import reasons as why
from audit_pipeline.quality import words
from audit_pipeline.quality.evidence import Evidence
from audit_pipeline.quality.profile import Profile, occupied_minutes, profile
from audit_pipeline.quality.reasons import Reason
from audit_pipeline.quality.rhythm import Rhythm
from audit_pipeline.settings import Settings

BASELINE_DAYS = 28
"""Days of history from which on each weekday has a rhythm of its own; before, the source's own gaps serve."""
HISTORY_DAYS = 56
"""Days that are looked back on for what is usual."""
COLD_DAYS = 2
"""A source's first days with records, in which nothing is known of its rhythm."""
USED = ("no_gap_seen", "proven")
_COUNTS = ("verdict", "records", "events", "duplicates", "rejects")
_SENDERS = ("device_hostname", "src_endpoint_hostname", "src_endpoint_uid", "cloud_account_uid", "metadata_log_name")


@dataclass(frozen=True)
class Past:
    """A source's stored rows of the days before, newest last."""

    rows: list[dict[str, Any]]

    @property
    def baseline(self) -> list[dict[str, Any]]:
        """The days that show what is usual: collected, whole as far as can be told, with records."""
        return [row for row in self.rows if row["events"] and (row["verdict"] in USED or _cold(row))]

    def alike(self, day: dt.date) -> list[int]:
        """Events of the baseline days of the same kind: working days or weekend."""
        return [row["events"] for row in self.baseline if (row["day"].weekday() >= 5) == (day.weekday() >= 5)]


@dataclass(frozen=True)
class Judged:
    """One source's day: what was found, and what it was found from."""

    evidence: Evidence
    profile: Profile
    past: Past
    rhythm: Rhythm | None
    verdict: str
    reasons: list[Reason]

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
    stored = _stored(lake, day)
    before = {row["source"]: row for row in stored if row["day"] == day}
    judged = {
        name: judge(
            settings, lake, name, day, Past([row for row in stored if row["source"] == name and row["day"] < day])
        )
        for name in sorted(settings.sources)
    }
    rows = [_row(found, before.get(name)) for name, found in judged.items()]
    table = pa.Table.from_pylist(rows, TABLES["completeness"].schema)
    note = {
        "input_hash": _input_hash(settings, judged),
        "gap_ratio": json.dumps({name: found.gap_ratio for name, found in judged.items()}, sort_keys=True),
    }
    lake.write_table("completeness", table, day, metadata=note)
    return table


def lowering(reasons: Iterable[Mapping[str, Any]]) -> set[str]:
    """The codes, among a row's reasons, that make the day `partial` or `missing`; the others only stand beside the verdict."""
    return {reason["code"] for reason in reasons} & why.LOWERING


def judge(settings: Settings, lake: Lake, source: str, day: dt.date, past: Past) -> Judged:
    """Judge one source's day."""
    evidence = Evidence.read(lake, source, day)
    earlier = sum(settings.start <= known < day for known in evidence.record_days)
    expected = settings.sources[source].expected
    con = _connect(lake, source, day, past)
    try:
        numbers = profile(con, source, day)
        faults = why.faults(evidence.faults(con), numbers)
        heard = _heard(con, source, day) if expected else set()
        usual = [row["day"] for row in past.baseline] if earlier >= COLD_DAYS else []
        rhythm = Rhythm.learn(list(occupied_minutes(con, source, usual, "past_events").values()))
    finally:
        con.close()
    received = bool(numbers.events or faults or evidence.indexed > numbers.rejects)
    if not evidence.covered:
        found = [_not_covered(evidence, day), *faults]
    elif not received:
        found = [_no_data(evidence, past, day), *why.remarks(evidence.remarks)]
    else:
        found = [
            *faults,
            *why.accounting(evidence.indexed, evidence.declared, numbers),
            *why.remarks(evidence.remarks),
            *_silences(settings, evidence, numbers, rhythm),
            *why.senders(expected, heard),
            *why.volume(numbers, why.band(past.alike(day))),
            *(why.blind(numbers, rhythm) if rhythm and numbers.events else []),
            *why.timeliness(numbers, settings.sources[source].settles_after),
        ]
    cold = _cold_start(earlier, rhythm) if evidence.covered and received else []
    verdict = _verdict(evidence, received, found, cold)
    return Judged(evidence, numbers, past, rhythm, verdict, [*found, *cold])


def _verdict(evidence: Evidence, received: bool, found: list[Reason], cold: list[Reason]) -> str:
    """The first verdict that applies."""
    if not evidence.covered:
        return "unknown" if not evidence.failures else "partial" if received else "missing"
    if not received:
        return "missing"
    if any(reason.lowers for reason in found):
        return "partial"
    if cold:
        return "unknown"
    return "no_gap_seen" if evidence.declared is None else "proven"


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


def _no_data(evidence: Evidence, past: Past, day: dt.date) -> Reason:
    earlier = [known for known in evidence.record_days if known < day]
    if not earlier:
        return Reason("no_data", "nothing was ever received from this source", seen=0.0)
    alike = past.alike(day)
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


def _cold(row: dict[str, Any]) -> bool:
    """Whether a day is unknown only because it is one of the first: collected, and as good as any other."""
    return row["verdict"] == "unknown" and all(reason["code"] != "not_collected" for reason in row["reasons"])


def _connect(lake: Lake, source: str, day: dt.date, past: Past) -> duckdb.DuckDBPyConnection:
    """A connection that sees one source: `events` and `rejects` of the day and the one before, `past_events` of the baseline days."""
    con = connect(lake, tables=())
    for name in ("events", "rejects"):
        add_view(con, name, TABLES[name].schema, partition_files(lake, name, day - DAY, day, source))
    usual = {row["day"].isoformat() for row in past.baseline}
    files = partition_files(lake, "events", day - HISTORY_DAYS * DAY, day - DAY, source)
    chosen = [file for file in files if file.rsplit("/day=", 1)[1][:10] in usual]
    add_view(con, "past_events", TABLES["events"].schema, chosen)
    return con


def _heard(con: duckdb.DuckDBPyConnection, source: str, day: dt.date) -> set[str]:
    """Whom the day's events tell of, in any of the columns that name a sender."""
    parts = " UNION ".join(
        f"SELECT {column} FROM events WHERE x_source = $source AND day = $day" for column in _SENDERS
    )
    return {row[0] for row in con.execute(parts, {"source": source, "day": day}).fetchall() if row[0] is not None}


def _stored(lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    """Stored rows of the day, from an earlier computation, and of the days before it, by day."""
    con = connect(lake, since=day - HISTORY_DAYS * DAY, until=day, tables=["completeness"])
    try:
        rows: list[dict[str, Any]] = (
            con.sql("SELECT * FROM completeness ORDER BY day, source").to_arrow_table().to_pylist()
        )
        return rows
    finally:
        con.close()


def _row(found: Judged, old: dict[str, Any] | None) -> dict[str, Any]:
    day = found.profile
    expected = why.band(found.past.alike(day.day))
    until = found.evidence.until
    row: dict[str, Any] = {
        "day": day.day, "source": day.source, "verdict": found.verdict, "reasons": [reason.row() for reason in found.reasons],
        "records": day.records, "events": day.events, "duplicates": day.duplicates, "rejects": day.rejects,
        "expected_low": expected[0] if expected else None, "expected_high": expected[1] if expected else None,
        "smallest_gap_s": found.rhythm.smallest_s(day.minutes) if found.rhythm and day.events else None,
        "baseline_days": len(found.rhythm.days) if found.rhythm else 0,
        "lag_p50_s": day.lag_p50_s, "lag_p95_s": day.lag_p95_s, "lag_max_s": day.lag_max_s, "future": day.future,
        "collected_until": until.astimezone(UTC) if until else None,
    }  # fmt: skip
    changed = old is not None and any(old[name] != row[name] for name in _COUNTS)
    return {**row, "edition": (old["edition"] if old else 1) + changed}


def _input_hash(settings: Settings, judged: dict[str, Judged]) -> str:
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
    text = json.dumps({"code": __version__, "sources": used}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
