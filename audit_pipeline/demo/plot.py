"""What happens to the company beyond its ordinary days: releases, a holiday, a new hire, a bad night, a load test, logs that come late.

Belongs here: who, where and when, drawn once from the seed. Not here: the lines that tell of it (each source's own module), the first
form's silence and burst of sign-ins (`stories`), intrusions and fixes (`cases`, `fixes`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np

from audit_pipeline.clock import DAY
from audit_pipeline.demo.calendar import Calendar, clock_changes, holidays
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.planted import Cases

EVENTS_A_DAY = 18_000
"""Default of all sources together; 60 days of it are more than a million."""
SERVICES = ("checkout", "payments", "search")
HOSTS = ("bastion-01", "build-01", "db-01", "db-02", "mail-01", "vpn-01", "web-01", "web-02", "web-03", "web-04", "worker-01", "worker-02")  # fmt: skip
ORDINARY_DAYS = 14
"""The first two weeks are left to the first form's stories; these come after them."""
SETTLED_IN = 28
"""Fewest days for the stories that leave gaps behind."""
VANISHED_DAYS, LATE_DAYS = 3, 2
_SATURDAY = 5


@dataclass(frozen=True)
class Release:
    """A version that went out."""

    day: dt.date
    second: int
    service: str
    version: str
    change_id: str


@dataclass(frozen=True)
class Plot:
    """The special days of one demo; null where its period is too short for one."""

    start: dt.date
    days: int
    calendar: Calendar
    releases: tuple[Release, ...]
    clock_changes: tuple[dt.date, ...]
    on_call: dt.date | None = None
    """At 01:12 UTC `payments` goes down; someone on call mends it"""
    on_call_person: Actor | None = None
    load_test: dt.date | None = None
    late: dt.date | None = None
    """What one host logged on this day reaches the collector `LATE_DAYS` days later"""
    late_host: str = "db-02"
    vanished: tuple[dt.date, ...] = ()
    """In the nights after these days the path of the Kubernetes logs is not there"""
    new_hire: Actor | None = None
    cases: Cases = field(default_factory=Cases)

    @property
    def last(self) -> dt.date:
        """The last day."""
        return self.start + (self.days - 1) * DAY


def make(company: Company, start: dt.date, days: int, seed: int, *, stories: bool = True) -> Plot:
    """Draw what happens; without `stories` only what is no trouble: releases, public holidays, changes of the clock."""
    rng = np.random.default_rng([seed, 4_000_000])
    last = start + (days - 1) * DAY
    public = holidays(start, last)
    ordinary = Calendar(public)
    releases = tuple(_release(start + n * DAY, rng) for n in range(days) if (start + n * DAY).weekday() == 1)
    changes = tuple(clock_changes(start, last))
    free = [start + n * DAY for n in range(ORDINARY_DAYS, days - 1) if ordinary.is_working(start + n * DAY)]
    if not stories or len(free) < 2:
        return Plot(start, days, ordinary, releases, changes)
    drawn = [free[int(at)] for at in rng.permutation(len(free))]
    sre = [person for person in company.people if person.role == "sre" and person.zone == "Europe/Berlin" and person.identity == "sso"]  # fmt: skip
    on_call_person = sre[int(rng.integers(0, len(sre)))] if sre else None
    on_call, load_test = drawn.pop(), drawn.pop()
    if days < SETTLED_IN:
        return Plot(start, days, ordinary, releases, changes, on_call, on_call_person, load_test)
    vanished = _in_a_row(drawn, {on_call, load_test}, last)
    drawn = [day for day in drawn if day not in vanished]
    late = next((day for day in drawn if day + (LATE_DAYS + 1) * DAY < last), None)
    drawn = [day for day in drawn if day != late]
    own = (
        {}
        if not drawn or any(day >= start + ORDINARY_DAYS * DAY and day.weekday() < _SATURDAY for day in public)
        else {drawn.pop(): "Company day off"}
    )
    newcomers = [person for person in company.people if person.role == "engineer" and person.identity == "sso" and person.zone == "Europe/Berlin"]  # fmt: skip
    new_hire = newcomers[int(rng.integers(0, len(newcomers)))]
    mondays = [day for day in free if day.weekday() == 0 and day not in own] or free
    calendar = Calendar(public | own, {new_hire.account: mondays[len(mondays) // 3]})
    return Plot(start, days, calendar, releases, changes, on_call, on_call_person, load_test, late, vanished=vanished, new_hire=new_hire)  # fmt: skip


def _release(day: dt.date, rng: np.random.Generator) -> Release:
    year, week, _ = day.isocalendar()
    service = SERVICES[week % len(SERVICES)]
    return Release(day, int(rng.integers(8 * 3600, 14 * 3600)), service, f"{year % 100}.{week}.0", f"CHG-{year % 100}{week:02d}{int(rng.integers(10, 100))}")  # fmt: skip


def _in_a_row(drawn: list[dt.date], taken: set[dt.date], last: dt.date) -> tuple[dt.date, ...]:
    """Days in a row on which nothing else happens, with nights left in which what is missing can come in."""
    for first in drawn:
        run = tuple(first + n * DAY for n in range(VANISHED_DAYS))
        if not taken & {*run} and run[-1] + 2 * DAY <= last and run[-1].weekday() < 5:
            return run
    return ()
