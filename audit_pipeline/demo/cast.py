"""Who and when: people and days are handed out once each, so that no two cases of the demo meet by chance.

Belongs here: drawing from the company and the calendar. Not here: what happens to whom (`cases`, `fixes`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np

from audit_pipeline.clock import DAY
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.files import moment
from audit_pipeline.demo.plot import EVENTS_A_DAY, Plot

OUTSIDE = range(200, 230)
"""Last numbers of addresses in 203.0.113.0/24 that nobody in the company has and the first form's stories do not use."""


class Cast:
    """Hands out days, people and addresses of one demo; everything is drawn from the seed."""

    def __init__(self, company: Company, plot: Plot, seed: int, events_a_day: float, taken: set[dt.date]) -> None:
        """`taken`: days on which something else happens already."""
        self.company, self.plot, self.seed = company, plot, seed
        self.rng = np.random.default_rng([seed, 9_000_000])
        self.scale = float(min(1.0, events_a_day / EVENTS_A_DAY))
        """how much of the full form's traffic there is"""
        self._taken = set(taken)
        known = {person.account for person in (plot.on_call_person, plot.new_hire) if person is not None}
        self._people = [person for person in company.people if person.account not in known]
        self._outside = [f"203.0.113.{n}" for n in self.rng.permutation(OUTSIDE).tolist()]

    def day(self, low: int, high: int) -> dt.date | None:
        """A working day with a number from `low` to before `high` on which nothing else happens; null where there is none."""
        start, calendar = self.plot.start, self.plot.calendar
        free = [start + n * DAY for n in range(max(low, 0), min(high, self.plot.days))]
        free = [day for day in free if calendar.is_working(day) and day not in self._taken]
        if not free:
            return None
        found = free[int(self.rng.integers(0, len(free)))]
        self._taken.add(found)
        return found

    def number(self, day: dt.date) -> int:
        """The number of a day, from 0."""
        return (day - self.plot.start).days

    def person(self, fits: Callable[[Actor], bool]) -> Actor:
        """Somebody who fits and plays no other part.

        Raises:
            LookupError: nobody is left; the company is too small for its stories.
        """
        found = [person for person in self._people if fits(person)]
        if not found:
            raise LookupError("nobody in the company fits a story of the demo")
        one = found[int(self.rng.integers(0, len(found)))]
        self._people.remove(one)
        return one

    def outside(self) -> str:
        """An address from which nobody of the company comes."""
        return self._outside.pop()

    def at(self, day: dt.date, low_hour: float, high_hour: float) -> dt.datetime:
        """A whole second of a UTC day between two hours."""
        return moment(day, int(self.rng.integers(int(low_hour * 3600), int(high_hour * 3600))))

    def times(self, first: dt.datetime, seconds: int, n: int) -> list[dt.datetime]:
        """`n` whole seconds, ascending, the first at `first` and the last within `seconds`."""
        after = np.sort(self.rng.integers(1, max(2, seconds), max(0, n - 1))).tolist()
        return [first, *(first + dt.timedelta(seconds=second) for second in after)]

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))


def names(actor: Actor) -> tuple[str, ...]:
    """How a person is called in the logs of any source, and by name."""
    return tuple(dict.fromkeys((actor.account, actor.account.split("@")[0], actor.person)))
