"""Working hours: whether an event lies outside them, in the zone of whom acted.

Belongs here: `hours` of the configuration and `holidays.csv` as one SQL expression. Not here: who acted (`identities`).
Zones and their changes of the clock are the engine's (IANA, by ICU); an event in the hour that a change repeats or leaves out
is judged by what clocks on the wall showed.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from audit_pipeline.context import csv_file
from audit_pipeline.errors import ConfigError
from audit_pipeline.lake.views import any_of, quote
from audit_pipeline.settings import Settings

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def off_hours(settings: Settings, zone: str, time: str = '"time"') -> str:
    """SQL over an event's `time` and `zone` (expressions; the zone is null where the actor's is not known); null without `hours`.

    Raises:
        ConfigError: zone, days or the file of holidays is wrong.
    """
    if "hours" not in settings.model_fields_set:
        return "NULL::BOOLEAN"
    hours = settings.hours
    if not csv_file.is_zone(hours.zone):
        raise ConfigError(
            f"{settings.file}: hours.zone: {hours.zone[:40]!r} is no IANA time zone, such as Europe/Berlin."
        )
    days = working_days(hours.days, settings)
    local = f"timezone(coalesce({zone}, {quote(hours.zone)}), {time})"
    clock = f"CAST({local} AS TIME)"
    begin, end = f"TIME '{hours.from_:%H:%M:%S}'", f"TIME '{hours.to:%H:%M:%S}'"
    if hours.from_ < hours.to:
        outside = f"NOT ({clock} >= {begin} AND {clock} < {end}) OR NOT {_weekday(days, local)}"
    else:  # a shift over midnight belongs to the day on which it begins
        evening = f"({clock} >= {begin} AND {_weekday(days, local)})"
        morning = f"({clock} < {end} AND {_weekday(days, f'{local} - INTERVAL 1 DAY')})"
        outside = f"NOT ({evening} OR {morning})"
    return f"({outside}{_holidays(settings, local, zone)})"


def working_days(text: str, settings: Settings) -> list[int]:
    """`mon-fri`, `sun-thu`, `mon,wed,fri` to numbers, Monday 1."""
    found: set[int] = set()
    for part in text.lower().split(","):
        match = re.fullmatch(r"\s*([a-z]{3})\s*(?:-\s*([a-z]{3})\s*)?", part)
        ends = [name for name in match.groups() if name] if match else []
        if not ends or any(name not in DAYS for name in ends):
            raise ConfigError(f"{settings.file}: hours.days: {text[:40]!r}. Write days as mon-fri or mon,wed,fri.")
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        found |= {(first + n) % 7 + 1 for n in range((last - first) % 7 + 1)}
    return sorted(found)


def holidays(settings: Settings) -> list[tuple[dt.date, str | None]]:
    """Days off, and the zone they hold for; null is everywhere."""
    if settings.hours.holidays is None:
        return []
    found = []
    for row in csv_file.rows(Path(settings.resolve(settings.hours.holidays)), ("date",), ("zone", "name")):
        moment = row.moment("date")
        if moment is None:
            raise row.error("date is empty. Write a day such as 2026-12-25.")
        found.append((moment.date(), row.zone("zone")))
    return sorted(set(found), key=lambda one: (one[0], one[1] or ""))


def _holidays(settings: Settings, local: str, zone: str) -> str:
    by_zone: dict[str | None, list[str]] = {}
    for day, where in holidays(settings):
        by_zone.setdefault(where, []).append(f"DATE '{day.isoformat()}'")
    terms = []
    for where, days in by_zone.items():
        here = "" if where is None else f" AND coalesce({zone}, {quote(settings.hours.zone)}) = {quote(where)}"
        terms.append(f" OR ({any_of(days, f'CAST({local} AS DATE)')}{here})")
    return "".join(terms)


def _weekday(days: list[int], local: str) -> str:
    return any_of(map(str, days), f"isodow({local})")
