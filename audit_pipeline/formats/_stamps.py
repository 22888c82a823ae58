"""Event times as text: RFC 3339 and syslog stamps to microseconds since 1970 UTC, and whether an event may have such a time.

Belongs here: what several formats need of time. Not here: where a record keeps its time (the format). Nothing reads a clock.
"""

from __future__ import annotations

import datetime as dt
import functools
import re

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = 1_000_000
_EARLIEST_US = (dt.datetime(2000, 1, 1, tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)
_LATEST_US = (dt.datetime(2100, 1, 1, tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:[Zz]|([+-])(\d\d):?(\d\d))?", re.ASCII
)
MAX_STAMP = 64
"""Characters of a stamp that are read: a longer one is none."""

Fate = tuple[int | None, str | None, str | None]
"""Time in microseconds, reason of a reject, detail."""


@functools.lru_cache(maxsize=65_536)
def rfc3339(stamp: str, zone: dt.tzinfo = dt.UTC) -> int | None:
    """RFC 3339 (also with a space) in microseconds since 1970 UTC; `zone` is that of a stamp without one; None for what is no stamp."""
    match = _RFC3339.fullmatch(stamp)
    if match is None:
        return None
    fraction, sign, hours, minutes = match.group(7, 8, 9, 10)
    given = sign is not None or stamp[-1] in "Zz"
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        moment = dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=dt.UTC if given else zone)
        passed = (moment - EPOCH) // dt.timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None
    if second > 60:
        return None
    offset = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    late = _SECOND if second > 59 else 0
    return passed + late - offset // dt.timedelta(microseconds=1) + int((fraction or "0").ljust(6, "0")[:6])


def fate(time_us: int | None, field: str, stamp: object) -> Fate:
    """What becomes of a record with this time; `field` and `stamp` are for the words of a reject."""
    if stamp is None or stamp == "":
        return None, "no_time", f"the record has no {field}"
    if time_us is None:
        return None, "no_time", f"{field} is {str(stamp)[:MAX_STAMP]!r}, which is no time of the expected form"
    if not _EARLIEST_US <= time_us < _LATEST_US:
        return time_us, "bad_time", f"{field} is {str(stamp)[:MAX_STAMP]}, not between 2000 and 2100"
    return time_us, None, None
