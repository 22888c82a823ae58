"""What a detection rule is, once read: SQL over `events`, and words for people.

Belongs here: the shape. Not here: reading rule files (`sigma`), their SQL over a day (`windows`), running them (`run`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit_pipeline.detections.fields import Need
from audit_pipeline.errors import UserError

TESTS = ".tests.yml"
LOGGING = ("T1562", "T1070")
"""Impair Defenses and Indicator Removal (https://attack.mitre.org/techniques/T1562/, /T1070/), sub-techniques included"""
_PLURALS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", ""))
Kind = Literal["single", "event_count", "value_count", "temporal", "temporal_ordered"]
HistoryKind = Literal["new_network", "unusual_hour", "dormant"]


def about_logging(attack: Iterable[str]) -> bool:
    """Whether a rule's or a detection's techniques say that it looks for changes to logging itself."""
    return any(tag.upper().removeprefix("ATTACK.").partition(".")[0] in LOGGING for tag in attack)


class RuleError(UserError):
    """A rule that cannot be run; names its file and why."""

    def __init__(self, file: Path, reason: str, rule_id: str | None = None) -> None:
        super().__init__(f"{file}: this rule was not run: {reason}")
        self.file = file
        self.reason = reason
        self.rule_id = rule_id


@dataclass(frozen=True)
class Base:
    """A selection of events that a rule is made of."""

    name: str
    where: str
    groups: dict[str, str]
    """names of the group key to SQL; the same names in each base of a rule"""
    format: str | None
    """record format that its log source names; null for all events"""
    sources: tuple[str, ...]
    """configured sources that it applies to"""
    need: Need
    guard: str = "true"
    """SQL over columns of few values that is false only where `where` is false (`guard`)"""
    counted: str | None = None
    """SQL of the value whose different values are counted"""
    threshold: int | None = None
    """least number of its own events within `timespan`, where the base is a count itself"""
    timespan: dt.timedelta = dt.timedelta(0)


@dataclass(frozen=True)
class History:
    """Comparison with what the same actor did on the days before (`history`)."""

    kind: HistoryKind
    days: int
    """days before the day that are looked at"""
    at_least: int
    """days of them that must be on record (and, but for `dormant`, on which the actor must have acted)"""
    gap: int = 0
    """`dormant`: days without an act"""
    zone: str = "UTC"
    """`unusual_hour`: the zone of actors whose own is not known (`hours.zone`)"""


@dataclass(frozen=True)
class Rule:
    """A rule as SQL over `events`."""

    id: str
    title: str
    level: str
    version: str
    """first 12 digits of the SHA-256 of its file: which text of the rule found something"""
    file: Path
    bases: tuple[Base, ...]
    kind: Kind = "single"
    threshold: int | None = None
    """least number of events (or of different values, or of bases) within `timespan`; null where each event is a hit"""
    timespan: dt.timedelta = dt.timedelta(0)
    counted: str | None = None
    """name of the field whose different values are counted"""
    history: History | None = None
    attack: tuple[str, ...] = ()
    owner: str | None = None
    counts: str = "events"
    description: str = ""
    runbook: str = ""
    falsepositives: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    """what it cannot see"""

    @property
    def name(self) -> str:
        """The stem of its file, by which people call it."""
        return self.file.stem

    @property
    def sources(self) -> tuple[str, ...]:
        """Configured sources that it applies to; a rule for a format that no source has applies to none."""
        return tuple(sorted({source for base in self.bases for source in base.sources}))

    @property
    def where(self) -> str:
        """All events that it looks at."""
        return " OR ".join(f"({base.where})" for base in self.bases)

    @property
    def groups(self) -> dict[str, str]:
        """Names of the group key to SQL; by the first base that fits where the bases say it differently."""
        named: dict[str, str] = {}
        for name in self.bases[0].groups:
            said = [base.groups[name] for base in self.bases]
            cases = "".join(f" WHEN {base.where} THEN {base.groups[name]}" for base in self.bases)
            named[name] = said[0] if len(set(said)) == 1 else f"CASE{cases} END"
        return named

    @property
    def span(self) -> dt.timedelta:
        """How far before an event its window can reach, the windows of its bases included."""
        return self.timespan + max(base.timespan for base in self.bases)

    @property
    def tests(self) -> Path:
        """The file with its test events."""
        return self.file.with_name(self.file.name.rsplit(".", 1)[0] + TESTS)


def noun(n: float, what: str) -> str:
    """What stands after a number: `failed sign-ins`, of one `failed sign-in`; rules name what they count in the plural.

    The first English plural is the noun (`acts of root`); a phrase without one stays as it is.
    """
    words = what.split(" ")
    at = next(
        (at for at, word in enumerate(words) if word.endswith("s") and not word.endswith(("ss", "us", "is"))), None
    )
    if n != 1 or at is None:
        return what
    end, one = next((end, one) for end, one in _PLURALS if words[at].endswith(end))
    return " ".join([*words[:at], words[at].removesuffix(end) + one, *words[at + 1 :]])
