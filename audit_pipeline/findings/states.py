"""The life cycle of a finding: one table of actions, of what comes from elsewhere, and of the states they lead to.

Belongs here: which step is possible in which state. Not here: what an action must say (`payloads`), how decisions are stored
(`decisions`) or findings made (`view`). `verified`, `ineffective` and `inconclusive` are judged, not decided: they come from effects;
`expired` (an acceptance), `detected` (again, after a fix was verified) and `recurred` (the rate of a verified fix is back) come from
time, detections and effects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OPEN = "open"
FALSE_POSITIVE = "false_positive"
IMPLEMENTED = "implemented"
JUDGED = frozenset({"verified", "ineffective", "inconclusive"})
"""verdicts of a fix on its decision date, and the states they lead to"""
CLOSED = frozenset({FALSE_POSITIVE, "duplicate", "accepted", "verified"})
_WORK = frozenset({OPEN, "acknowledged", "proposed", "approved", "ineffective", "inconclusive"})
ALIVE = _WORK | {IMPLEMENTED}
STATES = ALIVE | CLOSED


@dataclass(frozen=True)
class Action:
    """What a person can do about a finding: in which states, to which (null: it stays), and whether it needs a reason."""

    allowed: frozenset[str]
    leads_to: str | None = None
    needs_reason: bool = False


ACTIONS: dict[str, Action] = {
    "acknowledge": Action(frozenset({OPEN}), "acknowledged"),
    "propose": Action(frozenset({"acknowledged", "ineffective", "inconclusive"}), "proposed"),
    "approve": Action(frozenset({"proposed"}), "approved"),
    "reject": Action(frozenset({"proposed", "approved"}), "acknowledged", needs_reason=True),
    "implement": Action(frozenset({"approved"}), IMPLEMENTED),
    "accept": Action(_WORK, "accepted", needs_reason=True),
    "false_positive": Action(_WORK, FALSE_POSITIVE, needs_reason=True),
    "duplicate": Action(_WORK, "duplicate"),
    "reopen": Action(CLOSED | JUDGED | {IMPLEMENTED}, OPEN, needs_reason=True),
    "comment": Action(STATES, needs_reason=True),
    "assign": Action(ALIVE),
    "reveal": Action(frozenset({OPEN}), needs_reason=True),  # of a token, not of a finding: `privacy.reveal`
}
EVENTS: dict[str, Action] = {
    **{verdict: Action(frozenset({IMPLEMENTED}), verdict) for verdict in JUDGED},
    "expired": Action(frozenset({"accepted"}), OPEN),
    "detected": Action(frozenset({"verified"}), OPEN),
    "recurred": Action(frozenset({"verified"}), OPEN),
}
"""What happens to a finding without anybody deciding."""


def after(state: str, step: str) -> str:
    """The state after an action or event; one that is unknown, or not possible in this state, changes nothing.

    What happened after a fix was implemented is judged anew from the data each time, so that a decision made upon another verdict
    than today's still counts.
    """
    if step in EVENTS:
        return EVENTS[step].leads_to or state if state in EVENTS[step].allowed else state
    known = ACTIONS.get(step)
    if known is None or known.leads_to is None:
        return state
    return known.leads_to if state in known.allowed or (state in JUDGED and known.allowed & JUDGED) else state


def state_of(steps: Iterable[str]) -> str:
    """The state that a finding's steps lead to: actions of decisions and `EVENTS`, in the order in which they happened."""
    state = OPEN
    for step in steps:
        state = after(state, step)
    return state


def allowed(state: str) -> list[str]:
    """The actions that a state allows, sorted."""
    return sorted(name for name, action in ACTIONS.items() if state in action.allowed)


def words(names: Iterable[str]) -> str:
    """Actions or states as the command line writes them: `false-positive`."""
    return ", ".join(name.replace("_", "-") for name in names)
