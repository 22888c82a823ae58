"""What a check says of a day, and how several are put together.

Belongs here: the three states and the worst of several. Not here: any check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from audit_pipeline.reports.controls.facts import Facts
from audit_pipeline.reports.coverage import NOT_COMPUTED
from audit_pipeline.reports.inputs import Row

OPERATED, NOT_OPERATED, NOT_EVALUATED = "operated", "not_operated", "not_evaluated"


class Outcome(NamedTuple):
    """What a check says of one day."""

    state: str
    why: str = ""


Days = dict[str, Outcome]


def every(facts: Facts, outcome: Outcome) -> Days:
    """The same for every day of the period."""
    return dict.fromkeys(facts.days, outcome)


def by_source(facts: Facts, judge: Callable[[Row], Outcome]) -> Days:
    """The worst of a day's sources in scope."""
    found = {}
    for day in facts.days:
        outcomes = [
            Outcome(state, f"{source}: {why}" if why else "")
            for source in facts.sources
            for state, why in [judge(facts.completeness.get((source, day)) or {"verdict": NOT_COMPUTED})]
        ]
        found[day] = worst(outcomes) if outcomes else Outcome(NOT_EVALUATED, "no source is in scope")
    return found


def worst(outcomes: list[Outcome]) -> Outcome:
    """Not operated before not evaluated before operated; the first of its kind says why."""
    for state in (NOT_OPERATED, NOT_EVALUATED):
        for outcome in outcomes:
            if outcome.state == state:
                return outcome
    return outcomes[0]
