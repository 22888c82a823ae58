"""The life cycle of a finding: one table of actions and the states they lead to.

Belongs here: which action is allowed in which state. Not here: how decisions are stored (`decisions`) or findings made (`view`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OPEN = "open"
FALSE_POSITIVE = "false_positive"
ALIVE = frozenset({OPEN, "acknowledged"})
CLOSED = frozenset({FALSE_POSITIVE})
STATES = ALIVE | CLOSED


@dataclass(frozen=True)
class Action:
    """What a person can do about a finding: in which states, to which (null: it stays), and what it needs."""

    allowed: frozenset[str]
    leads_to: str | None = None
    needs_reason: bool = False
    needs: str | None = None
    """key that its payload must have"""


ACTIONS: dict[str, Action] = {
    "acknowledge": Action(frozenset({OPEN}), "acknowledged"),
    "false_positive": Action(ALIVE, FALSE_POSITIVE, needs_reason=True),
    "comment": Action(STATES, needs_reason=True),
    "assign": Action(ALIVE, needs="owner"),
    "reveal": Action(frozenset({OPEN}), needs_reason=True),  # of a token, not of a finding: `privacy.reveal`
}


def after(state: str, action: str) -> str:
    """The state after an action; one that this version does not know changes nothing."""
    return (ACTIONS[action].leads_to if action in ACTIONS else None) or state


def state_of(actions: Iterable[str]) -> str:
    """The state that a finding's actions lead to, in the order in which they were decided."""
    state = OPEN
    for action in actions:
        state = after(state, action)
    return state


def allowed(state: str) -> list[str]:
    """The actions that a state allows, sorted."""
    return sorted(name for name, action in ACTIONS.items() if state in action.allowed)


def words(names: Iterable[str]) -> str:
    """Actions or states as the command line writes them: `false-positive`."""
    return ", ".join(name.replace("_", "-") for name in names)
