"""An ordinary day of the company as CloudTrail records: who is there, what they call, what fails, who mistypes a password.

Belongs here: one day's records in memory. Not here: planted stories (`stories`), files (`delivery`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.clock import midnight, rfc3339
from audit_pipeline.demo import cloudtrail, rhythm
from audit_pipeline.demo.calendar import Calendar
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.operations import CATALOGUE, GLOBAL_REGION, REGIONS, ROLE_USES
from audit_pipeline.demo.planted import Call, SignIn

MISTYPED = 0.07
"""Share of console sign-ins that begin with one to three wrong passwords."""
_REFUSED = {"human": 0.028, "service": 0.012}
"""Share of calls that fail."""
_AT_WORK, _HOME_REGION_SHARE, _OFFICE_SHARE = 0.93, 0.88, 0.7
_UNKNOWN_NAMES_A_DAY = 2.0
_GLOBAL = REGIONS.index(GLOBAL_REGION)
_SESSION_S = 6 * 3600


class Record(NamedTuple):
    """One event: seconds since the day's midnight, index into `REGIONS`, the record's text."""

    time: int
    region: int
    text: str


class Day:
    """Makes the records of one UTC day; everything is drawn from the day's own generator."""

    def __init__(
        self, company: Company, forms: cloudtrail.Forms, day: dt.date, rng: np.random.Generator, calendar: Calendar
    ) -> None:
        self.company = company
        self.calendar = calendar
        self.forms = forms
        self.day = day
        self.rng = rng
        self._midnight = midnight(day)
        self._stamp = day.isoformat() + "T"

    def records(self, n: int) -> list[Record]:
        """About `n` records (exactly, unless `n` is below the day's sign-ins), in order of time."""
        present = self._present()
        found = [record for actor, start in present for record in self._sign_ins(actor, start)]
        found += self._unknown_names()
        found += self._root_user()
        starts = {actor.account: start for actor, start in present}
        acting = [actor for actor in self.company.actors if actor.kind == "service" or actor.account in starts]
        weights = np.array([self.calendar.weight(actor, self.day) for actor in acting])
        counts = self.rng.multinomial(max(0, n - len(found)), weights / weights.sum())
        for actor, count in zip(acting, counts.tolist(), strict=True):
            found += self._calls(actor, count, starts.get(actor.account, 0))
        found.sort(key=lambda record: record.time)
        return found

    def planted(self, acts: list[Call | SignIn], seed: int) -> list[Record]:
        """The records of a case's acts of this day; drawn apart, so that all other records stay as they are."""
        ids = cloudtrail.uuids(np.random.default_rng([seed, 10_000_000, self.day.toordinal()]), 3 * len(acts))
        return [self._planted(one, ids, f"{seed} {self.day} {row}") for row, one in enumerate(acts)]

    def _planted(self, one: Call | SignIn, ids: Iterator[str], seed: str) -> Record:
        second = int((one.at - self._midnight).total_seconds())
        if isinstance(one, SignIn):
            return Record(second, _GLOBAL, cloudtrail.sign_in(one.actor, one.at, one.address, one.actor.agents[0], next(ids), one.outcome))  # fmt: skip
        region = _GLOBAL if one.operation.everywhere else REGIONS.index(one.actor.region)
        form = self.forms.planted(one.operation, region, seed)
        who = cloudtrail.identity(one.actor, one.at.replace(minute=0, second=0))
        caller = cloudtrail.arn(one.actor) if one.refused else None
        return Record(second, region, cloudtrail.api_call(form, who, rfc3339(one.at), one.address, cloudtrail.dumps(one.agent), ids, caller, own=False))  # fmt: skip

    def moment(self, second: int) -> dt.datetime:
        """A second of the day as a time."""
        return self._midnight + dt.timedelta(seconds=second)

    def _present(self) -> list[tuple[Actor, int]]:
        """Who works today, and when they begin (seconds since midnight)."""
        draws = self.rng.random(len(self.company.people))
        found = []
        for actor, draw in zip(self.company.people, draws.tolist(), strict=True):
            share = self.calendar.weight(actor, self.day) / actor.activity
            if draw < (_AT_WORK if share == 1.0 else share):
                found.append((actor, rhythm.session_start(actor, self.day, self.rng)))
        return found

    def _sign_ins(self, actor: Actor, start: int) -> list[Record]:
        if actor.identity == "sso" and self.rng.random() > 0.6:
            return []  # command line only: no console sign-in
        address, agent = self._place(actor), actor.agents[0]
        found = [self._sign_in(actor, start, address, agent, "success")]
        if actor.identity == "iam_user" and self.rng.random() < MISTYPED:
            before = np.cumsum(self.rng.integers(5, 40, int(self.rng.integers(1, 4))))
            found += [
                self._sign_in(actor, max(0, start - int(back)), address, agent, "wrong_password") for back in before
            ]
        return found

    def _sign_in(self, actor: Actor, second: int, address: str, agent: str, outcome: cloudtrail.Outcome) -> Record:
        event_id = next(cloudtrail.uuids(self.rng, 1))
        return Record(
            second, _GLOBAL, cloudtrail.sign_in(actor, self.moment(second), address, agent, event_id, outcome)
        )

    def _unknown_names(self) -> list[Record]:
        """People who type a name that no user has."""
        seconds = np.sort(self.rng.integers(0, rhythm.DAY_S, int(self.rng.poisson(_UNKNOWN_NAMES_A_DAY)))).tolist()
        people = [
            self.company.people[at] for at in self.rng.integers(0, len(self.company.people), len(seconds)).tolist()
        ]
        return [
            self._sign_in(who, at, who.addresses[-1], who.agents[0], "no_such_user")
            for at, who in zip(seconds, people, strict=True)
        ]

    def _root_user(self) -> list[Record]:
        """The account's root user, with a second factor, about once in three weeks."""
        root = self.company.root
        if self.rng.random() > 0.07 or not self.calendar.is_working(self.day):
            return []
        start = rhythm.session_start(root, self.day, self.rng)
        sign_in = self._sign_in(root, start, root.addresses[0], root.agents[0], "success")
        return [sign_in, *self._calls(root, int(self.rng.integers(3, 9)), start)]

    def _place(self, actor: Actor) -> str:
        """The office or home; for one day one of them."""
        return actor.addresses[0 if self.rng.random() < _OFFICE_SHARE else -1]

    def _calls(self, actor: Actor, n: int, start: int) -> list[Record]:
        if n == 0:
            return []
        rng, human = self.rng, actor.kind == "human"
        times = rhythm.human_times(actor, start, n, rng) if human else rhythm.service_times(actor, n, rng)
        keys, weights = list(ROLE_USES[actor.role]), np.array(list(ROLE_USES[actor.role].values()))
        operations = rng.choice(len(keys), n, p=weights / weights.sum())
        addresses = (self._place(actor),) if human else actor.addresses
        agents = [cloudtrail.dumps(agent) for agent in actor.agents]
        drawn = zip(
            times.tolist(),
            operations.tolist(),
            self._regions(actor, n).tolist(),
            rng.integers(0, cloudtrail.VARIANTS, n).tolist(),
            rng.integers(0, len(addresses), n).tolist(),
            rng.integers(0, len(agents), n).tolist(),
            (rng.random(n) < _REFUSED[actor.kind]).tolist(),
            strict=True,
        )
        ids, own, caller = cloudtrail.uuids(rng, 3 * n), actor.identity == "aws_service", cloudtrail.arn(actor)
        sessions = self._sessions(actor, start)
        found = []
        for time, operation, home, variant, address, agent, refused in drawn:
            key = keys[operation]
            region = _GLOBAL if CATALOGUE[key].everywhere else home
            form = self.forms.of(key, region)[variant]
            who = sessions[agent > 0] if human else sessions[time // _SESSION_S]
            stamp = f"{self._stamp}{time // 3600:02d}:{time // 60 % 60:02d}:{time % 60:02d}Z"
            text = cloudtrail.api_call(
                form, who, stamp, addresses[address], agents[agent], ids, caller if refused else None, own
            )
            found.append(Record(time, region, text))
        return found

    def _regions(self, actor: Actor, n: int) -> NDArray[np.int64]:
        home = REGIONS.index(actor.region)
        return np.where(self.rng.random(n) < _HOME_REGION_SHARE, home, self.rng.integers(0, len(REGIONS), n))

    def _sessions(self, actor: Actor, start: int) -> list[str]:
        """A person's console session and command-line identity; a service's session of each quarter of the day."""
        if actor.kind == "human":
            return [cloudtrail.identity(actor, self.moment(start), console=console) for console in (True, False)]
        return [cloudtrail.identity(actor, self.moment(at)) for at in range(0, rhythm.DAY_S, _SESSION_S)]
