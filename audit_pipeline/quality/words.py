"""Numbers and times as a person reads them.

Belongs here: spans, counts, moments in English. Not here: any judgement.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.clock import UTC


def span(seconds: float) -> str:
    """`9 h 1 min`, `4 min`, `45 s`; rounded to what matters."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h" * (hours > 0) + " " * (hours > 0 and rest > 0) + f"{rest} min" * (rest > 0 or hours == 0)


def count(number: float, noun: str = "event") -> str:
    """`12,400 events`, `1 event`, `0.4 events`."""
    shown = f"{number:,.0f}" if number >= 10 or float(number).is_integer() else f"{number:.1f}"
    return f"{shown} {noun}" + ("" if shown == "1" else "s")


def share(part: float) -> str:
    """`3.1 %`; what is not nothing is never shown as 0."""
    return f"{part:.1%}".replace("%", " %") if part >= 0.0005 or not part else "under 0.1 %"


def clock(moment: dt.datetime, day: dt.date) -> str:
    """`08:02` UTC; with its date where it lies on another day; the end of the day is `24:00`."""
    moment = moment.astimezone(UTC)
    if moment.date() == day:
        return moment.strftime("%H:%M")
    if moment.date() == day + dt.timedelta(days=1) and moment.time() == dt.time():
        return "24:00"
    return moment.strftime("%H:%M on %Y-%m-%d")
