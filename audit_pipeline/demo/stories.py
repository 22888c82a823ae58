"""What is planted in the demo's logs, so that the pipeline can be judged by what it finds: a silence and a burst of sign-ins.

Belongs here: where a story lies and what it adds or takes away. Not here: ordinary days (`activity`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from audit_pipeline.clock import UTC
from audit_pipeline.demo import cloudtrail
from audit_pipeline.demo.activity import Day, Record
from audit_pipeline.demo.calendar import Calendar
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.operations import GLOBAL_REGION, REGIONS
from audit_pipeline.errors import UsageError

SILENCE = (8 * 3600, 17 * 3600)
"""Seconds since midnight: from 08:00 to before 17:00 UTC nothing is logged."""
FEWEST_DAYS = 7
_OUTSIDE = range(230, 255)
"""Last numbers of addresses in 203.0.113.0/24 that nobody in the company uses."""


@dataclass(frozen=True)
class Burst:
    """Failed console sign-ins for one person from outside."""

    day: dt.date
    actor: Actor
    seconds: tuple[int, ...]
    """of the day, ascending; one an attempt"""
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The stories of one period."""

    silence: dt.date
    burst: Burst


def plan(company: Company, start: dt.date, days: int, seed: int, calendar: Calendar | None = None) -> Plan:
    """Draw the stories: both on working days of the second week (of a shorter period: of its second half), never on the same one.

    Raises:
        UsageError: the period is too short for them.
    """
    if days < FEWEST_DAYS:
        raise UsageError(
            f"{days} days are too few for the demo's stories: ask for at least {FEWEST_DAYS}, or for none of them (--stories none)"
        )
    rng = np.random.default_rng([seed, 2_000_000])
    second_week = [start + dt.timedelta(days=at) for at in range(min(7, days // 2), min(14, days))]
    working = [day for day in second_week if (calendar or Calendar()).is_working(day)]
    silence, burst = (working[int(at)] for at in rng.choice(len(working), 2, replace=False))
    return Plan(silence, _burst(company, burst, rng))


def _burst(company: Company, day: dt.date, rng: np.random.Generator) -> Burst:
    targets = [person for person in company.people if person.identity == "iam_user"]
    first, length = int(rng.integers(1 * 3600, 22 * 3600)), int(rng.integers(5 * 60, 9 * 60))
    inner = first + np.sort(rng.integers(1, length, int(rng.integers(40, 91)) - 2))
    outside = rng.choice(_OUTSIDE, int(rng.integers(2, 5)), replace=False)
    return Burst(
        day=day,
        actor=targets[int(rng.integers(0, len(targets)))],
        seconds=(first, *inner.tolist(), first + length),
        addresses=tuple(f"203.0.113.{number}" for number in sorted(outside.tolist())),
    )


def is_silent(day: dt.date, second: int, stories: Plan | None) -> bool:
    """Whether an event of this second was never logged."""
    return stories is not None and day == stories.silence and SILENCE[0] <= second < SILENCE[1]


def burst_records(day: Day, burst: Burst, seed: int) -> list[Record]:
    """The attempts, from each address at least one, in order of time."""
    rng = np.random.default_rng([seed, 3_000_000])
    ids = cloudtrail.uuids(rng, len(burst.seconds))
    region, agent = REGIONS.index(GLOBAL_REGION), "python-requests/2.32.3"
    turn = [*range(len(burst.addresses)), *rng.integers(0, len(burst.addresses), len(burst.seconds)).tolist()]
    return [
        Record(
            at,
            region,
            cloudtrail.sign_in(burst.actor, day.moment(at), burst.addresses[who], agent, event_id, "wrong_password"),
        )
        for at, who, event_id in zip(burst.seconds, turn, ids, strict=False)
    ]


def between(day: dt.date, seconds: tuple[int, int]) -> tuple[dt.datetime, dt.datetime]:
    """Two seconds of a day as times."""
    start = dt.datetime.combine(day, dt.time(), UTC)
    return start + dt.timedelta(seconds=seconds[0]), start + dt.timedelta(seconds=seconds[1])
