"""Writes the synthetic company's CloudTrail logs for some days, and beside them what is true about them.

Belongs here: the loop over days, and the truth. Not here: how a day comes about (`activity`), what is planted (`stories`), the files
(`delivery`). Same arguments, same bytes. Days are made one after the other, so memory holds one day of records.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.demo import stories as planning
from audit_pipeline.demo.activity import Day, Record
from audit_pipeline.demo.calendar import Calendar
from audit_pipeline.demo.cloudtrail import Forms
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.delivery import FASTEST_S, LATE_S, REPEATED_RECORDS, Deliveries, late_share
from audit_pipeline.demo.operations import ACCOUNT
from audit_pipeline.demo.planted import Call, Cases, SignIn
from audit_pipeline.errors import UserError

DEFAULT_SEED = 7
LOGS, COUNTS = "logs", "cloudtrail.json"
_UNFINISHED = ".logs-unfinished"
_NEXT_NIGHT_S = 86_400 + 3 * 3600


@dataclass(frozen=True)
class Story:
    """Something planted. `n`: events it added (`signin_burst`) or kept from being logged (`silence`)."""

    kind: str
    day: str
    start: str
    """first moment; RFC 3339"""
    end: str
    """of a silence: the first moment after it; of a burst: the last attempt"""
    n: int
    actor: str | None = None
    person: str | None = None
    addresses: tuple[str, ...] = ()
    source: str = "cloudtrail"
    detail: str | None = None
    """a service, host or name that it is about"""


@dataclass(frozen=True)
class DayTruth:
    """One UTC day of events: `records` with the extra copies, `events` without them."""

    day: str
    records: int
    events: int
    late: int
    """delivered an hour or more after the event"""
    after_next_night: int
    """delivered after 03:00 UTC of the next day"""


@dataclass(frozen=True)
class Truth:
    """What a reader of the logs should find; `cloudtrail.json` has the same keys."""

    seed: int
    start: str
    end: str
    account: str
    files: int
    records: int
    events: int
    duplicates: int
    late: int
    after_next_night: int
    days: tuple[DayTruth, ...]
    stories: tuple[Story, ...]


def generate(
    root: Path,
    *,
    days: int = 14,
    end: dt.date,
    seed: int = DEFAULT_SEED,
    events: int = 320_000,
    stories: bool = True,
    calendar: Calendar | None = None,
    cases: Cases | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Write `root/logs/AWSLogs/...` for the `days` UTC days up to `end`, and `root/cloudtrail.json`.

    Args:
        root: folder of the demo; its `logs` are replaced when an earlier call made them.
        days: how many days.
        end: the last day, included.
        seed: whatever is drawn is drawn from it.
        events: about how many events over all days (before a silence takes its own away).
        stories: whether to plant a silence and a burst of failed sign-ins.
        calendar: days off and who is new; by default every week is like the other.
        cases: what else was planted.
        progress: called after each day with the days done and `days`.

    Raises:
        UserError: `root/logs` is there and no earlier call made it; or too few days for the stories; or it cannot be written.
    """
    try:
        unfinished = _prepare(root)
        truth = _generate(
            unfinished, days, end, seed, events, stories, calendar or Calendar(), cases or Cases(), progress
        )
        _finish(root, unfinished, truth)
    except UserError:
        shutil.rmtree(root / _UNFINISHED, ignore_errors=True)
        raise
    except OSError as error:
        raise UserError(
            f"{error.filename or root}: the demo's logs cannot be written ({error.strerror or error}). Make room or mend the rights, then run it again."
        ) from error
    return truth


def _prepare(root: Path) -> Path:
    if (root / LOGS).exists() and not (root / COUNTS).exists():
        raise UserError(
            f"{root / LOGS}: is there already, and is not the demo's own. Choose another folder for the demo, or move it away."
        )
    unfinished = root / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def _finish(root: Path, unfinished: Path, truth: Truth) -> None:
    """Swap the logs in; the truth first, so that an interrupted swap is taken as the demo's own."""
    text = json.dumps(asdict(truth), indent=2, ensure_ascii=False) + "\n"
    (root / COUNTS).write_text(text, encoding="utf-8")
    if (root / LOGS).exists():
        shutil.rmtree(root / LOGS)
    unfinished.rename(root / LOGS)


def _generate(
    folder: Path, days: int, end: dt.date, seed: int, events: int, with_stories: bool, calendar: Calendar, cases: Cases, progress: Callable[[int, int], None] | None
) -> Truth:  # fmt: skip
    start = end - (days - 1) * DAY
    company = Company.make(seed)
    plan = planning.plan(company, start, days, seed, calendar) if with_stories else None
    forms = Forms(company, seed, start)
    deliveries = Deliveries(folder, start, days, seed, events / days)
    told: list[tuple[int, int, int]] = []
    silenced = 0
    for number, count in enumerate(_shares(company, calendar, start, days, events)):
        day = Day(company, forms, start + number * DAY, np.random.default_rng([seed, number]), calendar)
        made = day.records(count)
        fate = _Fate.draw(made, day, plan, late_share(number))
        silenced += len(made) - int(fate.logged.sum())
        fate = fate.without(cases, day, made)
        planted = planning.burst_records(day, plan.burst, seed) if plan and plan.burst.day == day.day else []
        planted += day.planted(
            [one for one in cases.of((Call, SignIn), day.day) if isinstance(one, Call | SignIn)], seed
        )
        told.append(_deliver(deliveries, number, made, fate, planted))
        deliveries.flush(number)
        if progress:
            progress(number + 1, days)
    deliveries.flush()
    return _truth(start, seed, deliveries, told, _stories(plan, silenced))


def _shares(company: Company, calendar: Calendar, start: dt.date, days: int, events: int) -> list[int]:
    """The events of each day, by how many people and services work on it."""
    weights = [sum(calendar.weight(actor, start + at * DAY) for actor in company.actors) for at in range(days)]
    upto = np.rint(np.cumsum(weights) / sum(weights) * events).astype(int)
    return np.diff(upto, prepend=0).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Fate:
    """What becomes of each record of a day; drawn alike with and without stories."""

    lag: NDArray[np.int64]
    """seconds from event to delivery at the least"""
    repeated: NDArray[np.bool_]
    logged: NDArray[np.bool_]

    @classmethod
    def draw(cls, made: list[Record], day: Day, plan: planning.Plan | None, share: float) -> _Fate:
        late = day.rng.random(len(made)) < share
        lag = np.where(late, day.rng.integers(*LATE_S, len(made)), FASTEST_S)
        repeated = day.rng.random(len(made)) < REPEATED_RECORDS
        return cls(
            lag, repeated, np.array([not planning.is_silent(day.day, record.time, plan) for record in made], np.bool_)
        )

    def without(self, cases: Cases, day: Day, made: list[Record]) -> _Fate:
        """Less what a case keeps from being logged."""
        silences = cases.silences("cloudtrail", day.day)
        if not silences:
            return self
        kept = [not any(one.covers(day.moment(record.time)) for one in silences) for record in made]
        return replace(self, logged=self.logged & np.array(kept, np.bool_))


def _deliver(
    deliveries: Deliveries, number: int, made: list[Record], fate: _Fate, planted: list[Record]
) -> tuple[int, int, int]:
    """Hand a day to the deliveries: its events, the late ones among them, those that the next night does not see."""
    records = [record for record, logged in zip(made, fate.logged.tolist(), strict=True) if logged] + planted
    times = np.array([record.time for record in records], np.int64)
    visible = deliveries.add(
        number,
        times,
        np.array([record.region for record in records], np.int64),
        [record.text for record in records],
        np.append(fate.lag[fate.logged], np.full(len(planted), FASTEST_S)),
        np.append(fate.repeated[fate.logged], np.zeros(len(planted), bool)),
    )
    return len(records), int((visible - times >= LATE_S[0]).sum()), int((visible > _NEXT_NIGHT_S).sum())


def _stories(plan: planning.Plan | None, silenced: int) -> tuple[Story, ...]:
    if plan is None:
        return ()
    silent_from, silent_to = planning.between(plan.silence, planning.SILENCE)
    burst = plan.burst
    first, last = planning.between(burst.day, (burst.seconds[0], burst.seconds[-1]))
    return (
        Story("silence", plan.silence.isoformat(), rfc3339(silent_from), rfc3339(silent_to), silenced),
        Story("signin_burst", burst.day.isoformat(), rfc3339(first), rfc3339(last), len(burst.seconds), burst.actor.account, burst.actor.person, burst.addresses),
    )  # fmt: skip


def _truth(
    start: dt.date, seed: int, deliveries: Deliveries, told: list[tuple[int, int, int]], planted: tuple[Story, ...]
) -> Truth:
    days = tuple(
        DayTruth((start + at * DAY).isoformat(), deliveries.records[at], events, late, after)
        for at, (events, late, after) in enumerate(told)
    )
    records, events = sum(day.records for day in days), sum(day.events for day in days)
    return Truth(
        seed=seed,
        start=start.isoformat(),
        end=days[-1].day,
        account=ACCOUNT,
        files=deliveries.files,
        records=records,
        events=events,
        duplicates=records - events,
        late=sum(day.late for day in days),
        after_next_night=sum(day.after_next_night for day in days),
        days=days,
        stories=planted,
    )
