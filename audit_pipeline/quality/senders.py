"""Senders behind a source: hosts, accounts or services that must be heard (`expected`), each against its own rhythm.

Belongs here: who was heard when, and `sender_silent`. Not here: silences of the whole source (`reasons`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from audit_pipeline.clock import DAY, UTC, midnight
from audit_pipeline.quality import words
from audit_pipeline.quality.profile import Minutes, minutes_of_each
from audit_pipeline.quality.reasons import Reason
from audit_pipeline.quality.rhythm import Rhythm

COLUMNS = ("device_hostname", "src_endpoint_hostname", "src_endpoint_uid", "cloud_account_uid", "metadata_log_name")
"""Event columns that name a sender, whatever the format."""


@dataclass(frozen=True)
class Sender:
    """One expected sender, seen from a day."""

    name: str
    today: Minutes | None
    last: dt.datetime | None
    """when it was last heard before the day; null where never, in the days looked back on, and where it is heard today"""
    rhythm: Rhythm | None


def hear(
    con: duckdb.DuckDBPyConnection, source: str, day: dt.date, expected: list[str], usual: list[dt.date]
) -> list[Sender]:
    """What is known of each expected sender.

    Args:
        con: sees `events` of the day, `past_events` of the baseline days and `earlier_events` of all days looked back on.
        source: whose senders.
        day: the UTC day.
        expected: their names, as one of `COLUMNS` has them.
        usual: the days that show what is usual.
    """
    names = list(dict.fromkeys(expected))
    past = minutes_of_each(con, source, usual, "past_events", COLUMNS, names)
    today = {name: days[day] for name, days in minutes_of_each(con, source, [day], "events", COLUMNS, names).items()}
    last = _last_heard(con, source, [name for name in names if name not in today])
    return [
        Sender(name, today.get(name), last.get(name), Rhythm.learn(list(past.get(name, {}).values()))) for name in names
    ]


def _last_heard(con: duckdb.DuckDBPyConnection, source: str, names: list[str]) -> dict[str, dt.datetime]:
    if not names:
        return {}
    rows = con.execute(
        f'SELECT name, epoch_us(max("time")) FROM (SELECT "time", unnest(list_distinct([{", ".join(COLUMNS)}])) AS name '
        "FROM earlier_events WHERE x_source = $source) WHERE list_contains($names, name) GROUP BY name",
        {"source": source, "names": names},
    ).fetchall()
    zero = dt.datetime.fromtimestamp(0, UTC)
    return {name: zero + dt.timedelta(microseconds=at) for name, at in rows if at is not None}


def silent(senders: list[Sender], day: dt.date, looked_back: int, silences: list[Reason]) -> list[Reason]:
    """`sender_silent`, one reason a sender: never heard, not heard this day, or silent for longer than is its way.

    Args:
        senders: what is known of them.
        day: the UTC day.
        looked_back: days before it that were looked at.
        silences: silences of the whole source: what falls into them is not said of each sender again.
    """
    return [
        reason
        for sender in senders
        for reason in (_absent(sender, day, looked_back) if sender.today is None else _stopped(sender, day))
        if sender.today is None or not _within(reason, silences)
    ]


def _absent(sender: Sender, day: dt.date, looked_back: int) -> list[Reason]:
    end = midnight(day + DAY)
    if sender.last is None:
        detail = f"{sender.name}: never heard, on this day or in the {looked_back} days before; is the name right, does it send at all?"
        return [Reason("sender_silent", detail, midnight(day), end, seen=0.0)]
    detail = f"{sender.name}: not heard on this day; last heard {words.clock(sender.last, day)}"
    return [Reason("sender_silent", detail, sender.last, end, expected=_expected(sender), seen=0.0)]


def _expected(sender: Sender) -> float | None:
    """Events a day that are usual for it."""
    known = sender.rhythm.days if sender.rhythm else ()
    return sum(day.events for day in known) / len(known) if known else None


def _stopped(sender: Sender, day: dt.date) -> list[Reason]:
    if sender.rhythm is None or sender.today is None or len(sender.rhythm.days) < 2:
        return []
    reasons = []
    for silence in sorted(sender.rhythm.silences(sender.today), key=lambda one: one.start_us):
        if silence.ratio > 1:
            start, end = (midnight(day) + dt.timedelta(microseconds=at) for at in (silence.start_us, silence.end_us))
            what = "stopped, silent from" if end == midnight(day + DAY) else "silent from"
            detail = (
                f"{sender.name}: {what} {words.clock(start, day)} to {words.clock(end, day)}, {words.span((end - start).total_seconds())}; "
                f"expected {words.count(silence.expected)}"
            )
            reasons.append(Reason("sender_silent", detail, start, end, expected=silence.expected, seen=0.0))
    return reasons


def _within(reason: Reason, silences: list[Reason]) -> bool:
    """Whether the whole source was silent then, give or take a few minutes."""
    near = dt.timedelta(minutes=15)
    return any(
        one.start and one.end and reason.start and reason.end
        and one.code in ("silent", "window_edge") and one.start - near <= reason.start and reason.end <= one.end + near
        for one in silences
    )  # fmt: skip
