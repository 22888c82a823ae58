"""What of the new asks for a person's time: ceilings a day, not quotas.

Belongs here: choosing what is shown. Not here: how urgent something is (`risk`), how a spell ends (`spells`).
A finding is new on the day of its first detection, and on a day on which it was reopened. Rules of level high and critical are never
cut, but count. People come before services, so that noise of services cannot bury a person; then the points so far decide. What is over a ceiling
is held back, with the reason, and is new again on the next day on which it is detected. What somebody decided about is known and takes
no place. Days are gone through in their order, each with what was known by then: no later day changes an earlier one's choice.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from audit_pipeline.findings.risk import SERVICE, risk, severity_of
from audit_pipeline.sections import BudgetSettings

UNCUT = ("critical", "high")


@dataclass
class Candidate:
    """A finding as the budget sees it."""

    finding_id: str
    kind: str
    team: str | None
    detections: list[dict[str, Any]]
    """in the order of their days"""
    openings: list[dt.datetime] = field(default_factory=list)
    decided: list[dt.datetime] = field(default_factory=list)


def choose(
    candidates: Iterable[Candidate], budgets: BudgetSettings, as_of: Callable[[dt.date], dt.datetime]
) -> dict[str, str | None]:
    """By finding: null where it is shown, else why it is held back."""
    held: dict[str, str | None] = {}
    asking: defaultdict[dt.date, list[Candidate]] = defaultdict(list)
    for one in candidates:
        for day in _days(one, as_of):
            asking[day].append(one)
    for day in sorted(asking):
        taken = _Taken(budgets, day)
        new = [one for one in asking[day] if _is_new(one, day, held, as_of)]
        for one in sorted(new, key=lambda each: _rank(each, day)):
            held[one.finding_id] = taken.ask(one)
    return held


def _days(one: Candidate, as_of: Callable[[dt.date], dt.datetime]) -> set[dt.date]:
    """Days on which it may be new: those with a detection, and those whose as-of is the first after a reopening."""
    return {each["day"] for each in one.detections} | {_day_of(moment, as_of) for moment in one.openings}


def _day_of(moment: dt.datetime, as_of: Callable[[dt.date], dt.datetime]) -> dt.date:
    day = moment.date() - dt.timedelta(days=2)
    while as_of(day) < moment:
        day += dt.timedelta(days=1)
    return day


def _is_new(one: Candidate, day: dt.date, held: dict[str, str | None], as_of: Callable[[dt.date], dt.datetime]) -> bool:
    if any(_day_of(moment, as_of) == day for moment in one.openings):
        return True
    if any(moment <= as_of(day) for moment in one.decided):
        held[one.finding_id] = None
        return False
    return one.finding_id not in held or held[one.finding_id] is not None


def _so_far(one: Candidate, day: dt.date) -> list[dict[str, Any]]:
    return [each for each in one.detections if each["day"] <= day]


def _rank(one: Candidate, day: dt.date) -> tuple[Any, ...]:
    known = _so_far(one, day)
    service = known[-1]["x_actor_kind"] == SERVICE
    return not _uncut(one, day), service, -risk(known)[0], one.finding_id


def _uncut(one: Candidate, day: dt.date) -> bool:
    return one.kind == "rule" and severity_of(_so_far(one, day)) in UNCUT


class _Taken:
    """How much of a day's ceilings is taken."""

    def __init__(self, budgets: BudgetSettings, day: dt.date) -> None:
        self.day = day
        self.ceilings = {"team": budgets.findings_per_team_and_day, "all": budgets.findings_per_day, "anomaly": budgets.anomalies_per_day}  # fmt: skip
        self.shown: Counter[tuple[str, str | None]] = Counter()
        self.asked: Counter[tuple[str, str | None]] = Counter()

    def ask(self, one: Candidate) -> str | None:
        """Take a place, or say which ceiling is reached."""
        places: list[tuple[str, str | None]] = [("team", one.team), ("all", None)]
        if one.kind == "anomaly":
            places.insert(0, ("anomaly", None))
        self.asked.update(places)
        over = next((place for place in places if self.shown[place] >= self.ceilings[place[0]]), None)
        if over is not None and not _uncut(one, self.day):
            return f"{_nth(self.asked[over])} {_words(over)} on {self.day}, ceiling {self.ceilings[over[0]]}"
        self.shown.update(places)
        return None


def _words(place: tuple[str, str | None]) -> str:
    kind, team = place
    if kind == "team":
        return f"of team {team}" if team else "without a team"
    return "anomaly" if kind == "anomaly" else "new finding"


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
