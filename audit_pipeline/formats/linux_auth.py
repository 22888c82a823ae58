"""Linux sign-in logs: `auth.log`, `secure`, `messages` as syslog daemons write them (RFC 3164 and RFC 3339 stamps).

Belongs here: framing, keys, times. Not here: what a line means (`_linux_auth`). An RFC 3164 stamp (`Jan  5 10:00:00`) has neither year
nor zone: the zone is configured, the year is configured (of the file's first line) or the latest in which the file's last line is not
later than a day after the file's own time; where months begin anew inside a file, so does the year.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from audit_pipeline.errors import UsageError
from audit_pipeline.formats._linux_auth import columns, record
from audit_pipeline.formats._stamps import EPOCH, Fate, fate, rfc3339
from audit_pipeline.formats.base import Format, Framing, Keys, Split
from audit_pipeline.formats.records import numbered, split_lines

_MONTHS = {
    m: n for n, m in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}
_STAMP = re.compile(
    rb"(?:<\d{1,3}>(?:1 )?)?(?:(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (?P<day>[ 0-3]?\d) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,6}))?"
    rb"|(?P<full>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)?)) +(?=\S)"
)
_WRAP = 2
"""Months by which a stamp lies before the one above it where a new year began: lines are nearly in order, so one month may be disorder."""
_BACK = dt.timedelta(minutes=5)
"""Lines may be out of order by this much; a jump back by more inside the hour that occurs twice is its second time."""
_US = dt.timedelta(microseconds=1)

_Stamp = tuple[int, int, int, int, int, int]
"""Month, day, hour, minute, second, microsecond."""


def _stamps(records: Sequence[bytes]) -> list[_Stamp | str | None]:
    """Each line's stamp: parts where it has no year, text where it is RFC 3339, None where it has none."""
    found: list[_Stamp | str | None] = []
    for line in records:
        match = _STAMP.match(line)
        if match is None:
            found.append(None)
        elif match["full"]:
            found.append(match["full"].decode())
        else:
            found.append(_parts(match["month"], match["day"], match["clock"], match["part"] or b""))
    return found


@functools.lru_cache(maxsize=65_536)
def _parts(month: bytes, day: bytes, clock: bytes, part: bytes) -> _Stamp:
    hour, minute, second = (int(text) for text in clock.split(b":"))
    return _MONTHS[month.decode()], int(day), hour, minute, second, int(part.ljust(6, b"0"))


def _years(
    stamps: Sequence[_Stamp | str | None], first: int | None, visible: dt.datetime | None, zone: dt.tzinfo
) -> list[int | None]:
    """The year of each stamp without one; None where nothing tells it."""
    turns: list[int] = []  # how many years after the first line
    turn, month, last = 0, 0, None
    for stamp in stamps:
        if isinstance(stamp, tuple):
            if month - stamp[0] >= _WRAP:
                turn += 1
            elif turn and (month, stamp[0]) == (1, 12):  # a line of December among those of January
                turn -= 1
            month, last = stamp[0], stamp
        turns.append(turn)
    if first is None:
        if visible is None or last is None:
            return [None] * len(stamps)
        first = _latest_year(last, visible.astimezone(zone) + dt.timedelta(days=1)) - turn
    return [first + at for at in turns]


def _latest_year(stamp: _Stamp, limit: dt.datetime) -> int:
    """The latest year in which the stamp exists and does not lie behind the limit."""
    for year in range(limit.year, limit.year - 9, -1):  # 29 February: at most eight years apart
        try:
            moment = dt.datetime(year, *stamp[:4], min(stamp[4], 59))  # noqa: DTZ001 - the zone's own clock
        except ValueError:
            continue
        if moment <= limit.replace(tzinfo=None):
            return year
    return limit.year


class _Zone:
    """Local stamps of one file, in order, to UTC: where an hour occurs twice, its first time until the clock jumps back."""

    def __init__(self, zone: dt.tzinfo) -> None:
        self._zone = zone
        self._before: dt.datetime | None = None
        self._second = False
        self._minutes: dict[tuple[int, int, int, int, int], tuple[int, int]] = {}

    def micros(self, year: int, stamp: _Stamp) -> int:
        """Microseconds since 1970 UTC.

        Raises:
            ValueError: there is no such day or time.
        """
        month, day, hour, minute, second, part = stamp
        known = self._minutes.get((year, month, day, hour, minute))
        if known is None:
            local = dt.datetime(year, month, day, hour, minute, tzinfo=self._zone)
            known = (local - EPOCH) // _US, (local.replace(fold=1) - EPOCH) // _US
            self._minutes[year, month, day, hour, minute] = known
        if second > 60:
            raise ValueError("a minute has at most 61 seconds")
        first, again = known
        if again <= first:  # this minute occurs once (or never: then as if the clock had not been put forward)
            self._before, self._second = None, False
            return first + second * 1_000_000 + part
        now = dt.datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001 - the zone's own clock
        if self._before is not None and now < self._before - _BACK:
            self._second = True
        self._before = now
        return (again if self._second else first) + second * 1_000_000 + part


class LinuxAuth:
    """The format; see `formats.base.Format`."""

    name = "linux_auth"
    version = 1

    def __init__(self, year: int | None = None, zone: str = "UTC") -> None:
        """A format for stamps of this zone; `year` is that of each file's first line.

        Raises:
            UsageError: the zone is not known.
        """
        try:
            self._zone: dt.tzinfo = dt.UTC if zone == "UTC" else ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise UsageError(f"unknown zone {zone!r}: give an IANA time zone such as Europe/Berlin.") from error
        self._year = year
        self.variant = "" if (year, zone) == (None, "UTC") else f"year={year or ''},zone={zone}"

    def configured(self, *, year: int | None, zone: str, mapping: Path | None) -> Format:
        """The format for this year and zone.

        Raises:
            UsageError: the zone is not known, or a mapping is given.
        """
        if mapping is not None:
            raise UsageError("format linux_auth takes no mapping: leave out --mapping.")
        return LinuxAuth(year, zone)

    @functools.cached_property
    def record(self) -> str:
        """Host, program and message of a line, and which kind of line it is."""
        return record()

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return columns()

    def framing(self, head: bytes) -> Framing:  # noqa: ARG002
        """Lines, always."""
        return "lines"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Syslog files carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """One record a line."""
        return split_lines(data, whole=whole)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:
        """Each line with its place among its equals, and its time."""
        stamps = _stamps(records)
        zone = _Zone(self._zone)
        years = _years(stamps, self._year, visible, self._zone)
        fates = [self._fate(stamp, year, zone) for stamp, year in zip(stamps, years, strict=True)]
        return Keys(
            numbered(records),
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
        )

    def _fate(self, stamp: _Stamp | str | None, year: int | None, zone: _Zone) -> Fate:
        if stamp is None:
            return (
                None,
                "no_time",
                "the line begins with no stamp of RFC 3164 or RFC 3339; it may belong to the line before it",
            )
        if isinstance(stamp, str):
            return fate(rfc3339(stamp, self._zone), "stamp", stamp)
        if year is None:
            return None, "no_time", "the stamp has no year: give --year, or `year` of the source"
        try:
            return fate(zone.micros(year, stamp), "stamp", year)
        except (ValueError, OverflowError):
            return (
                None,
                "bad_time",
                f"there is no {year}-{stamp[0]:02}-{stamp[1]:02} {stamp[2]:02}:{stamp[3]:02}:{stamp[4]:02}",
            )


FORMAT = LinuxAuth()
