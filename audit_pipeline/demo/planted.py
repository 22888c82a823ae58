"""What a case of the demo adds to the logs or takes out of them, and how to find what belongs to one day of one source.

Belongs here: the planted things as data. Not here: which cases there are (`cases`, `fixes`), or how a line is written (the source's own
module).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.demo.cloudtrail import Outcome
from audit_pipeline.demo.company import Actor
from audit_pipeline.demo.operations import Operation


@dataclass(frozen=True)
class Call:
    """One call of the AWS API; the operation has no `$word` left but random digits."""

    at: dt.datetime
    actor: Actor
    operation: Operation
    address: str
    agent: str
    refused: bool = False


@dataclass(frozen=True)
class SignIn:
    """One sign-in to the AWS console."""

    at: dt.datetime
    actor: Actor
    address: str
    outcome: Outcome


@dataclass(frozen=True)
class Kubectl:
    """One request of a person to the cluster: verb, API group and resource as an audit event names them."""

    at: dt.datetime
    actor: Actor
    verb: str
    group: str
    resource: str
    name: str
    address: str
    namespace: str | None = None
    code: int = 201


@dataclass(frozen=True)
class HostLine:
    """One line of a host's auth.log, without its stamp."""

    at: dt.datetime
    host: str
    text: str


@dataclass(frozen=True)
class Errors:
    """An error of a service, `a_day` times a day on average from `first` to before `last`; from `change` on `changed_to` times."""

    service: str
    first: dt.datetime
    last: dt.datetime
    a_day: float
    message: str
    stack: str
    change: dt.datetime | None = None
    changed_to: float = 0.0

    def spans(self) -> list[tuple[dt.datetime, dt.datetime, float]]:
        """From, to, and how many a day."""
        if self.change is None:
            return [(self.first, self.last, self.a_day)]
        return [(self.first, self.change, self.a_day), (self.change, self.last, self.changed_to)]


@dataclass(frozen=True)
class Broken:
    """From `first` to before `last` this share of a service's requests fails."""

    service: str
    first: dt.datetime
    last: dt.datetime
    share: float
    message: str
    stack: str


@dataclass(frozen=True)
class Silence:
    """From `first` to before `last` a source (or one host of it) writes nothing."""

    source: str
    first: dt.datetime
    last: dt.datetime
    host: str | None = None

    def covers(self, at: dt.datetime) -> bool:
        """Whether something at this time was not written."""
        return self.first <= at < self.last


Planted = Call | SignIn | Kubectl | HostLine | Errors | Broken | Silence


@dataclass(frozen=True)
class Fix:
    """What people will propose for a case: what it is judged by, what they promise, and when."""

    kind: str
    """rate or recurrence"""
    kpi_id: str
    """with scope `template:…` (`recurring_errors`) or `finding:…` (`detections`), which the finding tells"""
    day: dt.date
    """on which it takes effect"""
    decision_date: dt.date
    promised: float
    words: str
    covered_days: int | None = None
    change_id: str | None = None


@dataclass(frozen=True)
class Case:
    """One story or decoy: what was planted, and what should come of it."""

    kind: str
    first: dt.datetime
    last: dt.datetime
    expects: tuple[str, ...] = ()
    """rules by the stem of their file, or kinds of detections; any of them is enough"""
    also: tuple[str, ...] = ()
    """what may well be found besides"""
    decoy: bool = False
    detectable: bool = True
    why: str = ""
    """of a case that is not detectable: why not; of a decoy: what is ordinary about it"""
    actors: tuple[str, ...] = ()
    """names in the logs and names of people"""
    services: tuple[str, ...] = ()
    """services and hosts"""
    sources: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    """words of an error, any of them enough to tell it from others of its service"""
    fix: Fix | None = None
    verdict: str | None = None
    """of the fix: what the effect should be judged as"""
    decisions: tuple[str, ...] = ()
    """what people do about it, in their order"""
    planted: tuple[Planted, ...] = ()


@dataclass(frozen=True)
class Cases:
    """All cases of one demo."""

    all: tuple[Case, ...] = ()
    strangers: tuple[Actor, ...] = field(default=())
    """who is not of the company but in its inventory"""

    def of(self, kind: type | tuple[type, ...], day: dt.date) -> Iterator[Planted]:
        """What was planted of one kind and touches a UTC day, in the order of the cases."""
        start, end = midnight(day), midnight(day) + DAY
        for case in self.all:
            for one in case.planted:
                if isinstance(one, kind) and _touches(one, start, end):
                    yield one

    def silences(self, source: str, day: dt.date) -> list[Silence]:
        """When a source writes nothing."""
        return [one for one in self.of(Silence, day) if isinstance(one, Silence) and one.source == source]


def _touches(one: Planted, start: dt.datetime, end: dt.datetime) -> bool:
    if isinstance(one, Errors | Broken | Silence):
        return one.first < end and one.last > start
    return start <= one.at < end
