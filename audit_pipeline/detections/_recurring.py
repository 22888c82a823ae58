"""Which templates of a day deserve a person's time, how much, and in which words.

Belongs here: the comparison of a day with the days before, as plain arithmetic over rows. Not here: making templates (`_drain`), reading
events (`error_events`), writing tables (`templates`).

A template is told of when it is new with weight, clearly above its own usual, or, once in `STANDING_AFTER` days, when it is a large and
lasting part of its service's errors. The usual is the mean of the same weekday where three of them are on record, else of all days; what
can still be chance is the negative binomial with the dispersion of the days before and never less than Poisson (Hilbe 2011, "Negative
Binomial Regression", 2nd ed., ch. 8), for a mean known from so few days only. Days that are incomplete or that nobody collected are no
days on which the error did not happen: they are left out.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import duckdb
import rfc8785

from audit_pipeline.detections.rule import noun

RULE_ID = "recurring_error"
VERSION = "1"
LEAST_DAYS = 7
"""complete days before that are needed to call anything new or unusual"""
LEAST, LEAST_SHARE, ALWAYS = 10, 0.05, 50
"""a template has weight from so many errors on a day and this share of its service's errors, or from so many errors alone"""
SURPRISE = 4.0
"""-log10 of the probability that the usual gives as many errors or more: one false alarm in 10,000 templates and days"""
FACTOR = 2.0
"""and at least so many times the usual"""
STANDING_DAYS, STANDING_SHARE, STANDING_AFTER = 14, 0.25, 28
_CEILING = 300.0
_LACKING = ("partial", "missing")

Why = Literal["new", "above", "standing"]


@dataclass(frozen=True)
class Judged:
    """A template of the day that is told of; `row` is its row of `error_templates`."""

    row: Mapping[str, Any]
    why: Why
    level: str
    score: float
    usual: float
    weekdays: int
    """same weekdays that the usual is made of; 0 where it is made of all days"""
    days: int
    days_seen: int
    first_seen: dt.datetime

    @property
    def since(self) -> dt.datetime:
        """The moment before which a change is of interest: the first sight; of an excess the day's first."""
        first: dt.datetime = self.row["first_time"]
        return first if self.why == "above" else self.first_seen


@dataclass
class Past:
    """What is stored of the days before: counts by template and day, and which days can be compared with."""

    day: dt.date
    days: Sequence[dt.date] = ()
    """those whose templates were computed"""
    lacking: Mapping[dt.date, frozenset[str]] = field(default_factory=dict)
    """sources that cannot be compared with, by day: incomplete, or not collected"""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """of the day itself, by source"""
    counts: dict[str, dict[dt.date, int]] = field(default_factory=lambda: defaultdict(dict))
    errors: dict[str, dict[dt.date, int]] = field(default_factory=lambda: defaultdict(dict))
    first: dict[str, dt.datetime] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """service and template by id"""
    told: frozenset[str] = frozenset()
    """templates that there was a detection of"""

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date], day: dt.date) -> Past:
        """From views of the days up to `day` (`error_templates`, `completeness`, `detections`)."""
        codes = "list_contains(list_transform(reasons, lambda r: r.code), 'not_collected')"
        verdicts = con.execute(f"SELECT day, source, verdict, coalesce({codes}, false) FROM completeness").fetchall()
        known: defaultdict[dt.date, set[str]] = defaultdict(set)
        for when, source, verdict, absent in verdicts:
            if verdict not in _LACKING and not absent:
                known[when].add(source)
        heard = {source for _, source, *_ in verdicts}
        told = con.execute("SELECT group_key FROM detections WHERE rule_id = ? AND day < ?", [RULE_ID, day]).fetchall()
        past = cls(
            day,
            days,
            {one: frozenset(heard - known[one]) for one in days},
            {source: verdict for when, source, verdict, _ in verdicts if when == day},
            told=frozenset(json.loads(key)["template"] for (key,) in told),
        )
        rows = con.execute(
            "SELECT service, template_id, template, day, n, errors, first_time FROM error_templates WHERE day < ? ORDER BY day", [day]
        ).fetchall()  # fmt: skip
        for service, key, template, when, n, errors, first in rows:
            past.counts[key][when] = n
            past.errors[service][when] = errors
            past.first.setdefault(key, first)
            past.names[key] = (service, template)
        return past

    def texts(self, most: int) -> dict[str, list[str]]:
        """The known templates by service, the most frequent `most` of each."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for key in sorted(self.names, key=lambda key: (-sum(self.counts[key].values()), key)):
            service, template = self.names[key]
            if len(found[service]) < most:
                found[service].append(template)
        return found

    def judge(self, row: Mapping[str, Any]) -> Judged | None:
        """Whether and why a template of the day is told of."""
        counts = self.counts.get(row["template_id"], {})
        days = [one for one in self.days if self.lacking.get(one, frozenset()).isdisjoint(row["sources"])]
        if len(days) < LEAST_DAYS:
            return None
        by_day = {one: counts.get(one, 0) for one in days}
        same = [n for one, n in by_day.items() if one.weekday() == self.day.weekday()]
        weekly = same if len(same) >= 3 else []
        usual, score = statistics.fmean(weekly or by_day.values()), surprise(row["n"], list(by_day.values()), weekly)
        why = self._why(row, by_day, usual, score, seen=bool(counts))
        if why is None:
            return None
        first = self.first.get(row["template_id"], row["first_time"])
        return Judged(row, why, _level(row, why, usual), score, usual, len(weekly), len(days), sum(n > 0 for n in by_day.values()), first)  # fmt: skip

    def _why(
        self, row: Mapping[str, Any], by_day: Mapping[dt.date, int], usual: float, score: float, *, seen: bool
    ) -> Why | None:
        n = row["n"]
        heavy = n >= LEAST and (n >= LEAST_SHARE * row["errors"] or n >= ALWAYS)
        if heavy and score >= SURPRISE and n >= FACTOR * usual:
            return "above" if seen else "new"
        return "standing" if self._standing(row, by_day) else None

    def _standing(self, row: Mapping[str, Any], by_day: Mapping[dt.date, int]) -> bool:
        """A large part of the service's errors for long, of which nobody was told in the days before."""
        total = sum(self.errors.get(row["service"], {}).get(one, 0) for one in by_day)
        seen = sum(n > 0 for n in by_day.values())
        return (
            len(by_day) >= STANDING_DAYS
            and seen >= len(by_day) / 2
            and sum(by_day.values()) >= max(STANDING_SHARE * total, LEAST * len(by_day))
            and row["n"] >= LEAST
            and row["template_id"] not in self.told
        )


def surprise(n: int, counts: Sequence[int], weekly: Sequence[int] = ()) -> float:
    """-log10 of the probability of `n` errors or more on a day, given the counts of days before; at most 300.

    Args:
        n: today's count.
        counts: those of the days before that can be compared with.
        weekly: those of the same weekdays; the mean is theirs where given.
    """
    from scipy.special import betainc, gammainc

    if n <= 0:
        return 0.0
    base = weekly or counts
    mean = (math.fsum(base) + 0.5) / len(base)  # half an event more (Jeffreys' prior): never seen is not impossible
    overall = (math.fsum(counts) + 0.5) / len(counts)
    spread = statistics.variance(counts) if len(counts) > 1 else 0.0
    dispersion = max(0.0, (spread - overall) / overall**2)
    excess = dispersion * mean**2 + (mean + dispersion * mean**2) / len(
        base
    )  # of the days, and of the mean's own error
    size = mean**2 / excess
    p = float(betainc(n, size, mean / (mean + size))) if math.isfinite(size) else float(gammainc(n, mean))
    return min(_CEILING, -math.log10(p)) if p > 0 else _CEILING


def _level(row: Mapping[str, Any], why: Why, usual: float) -> str:
    """Of what it is worth: most of a service's errors, and many, is high; a fifth of them, or threefold, is medium."""
    share, n = row["n"] / max(row["errors"], 1), row["n"]
    if why == "standing":
        return "low"
    if n >= 100 and share >= 0.5 and (why == "new" or n >= 5 * usual):
        return "high"
    return "medium" if share >= 0.2 or (why == "above" and n >= 3 * usual) else "low"


def explain(one: Judged, change: str | None) -> str:
    """What was seen, in words with numbers."""
    row = one.row
    first = f"{one.first_seen:%Y-%m-%d %H:%M} UTC"
    day = f"{row['day']:%A}s"
    usual = (
        f"usual on {day} {one.usual:.3g} ({one.weekdays} of them)" if one.weekdays else f"usual {one.usual:.3g} a day"
    )
    if one.why == "new":
        history = f"new: not seen on the {one.days} complete days before; first seen {first}"
    else:
        history = f"{usual}; seen on {one.days_seen} of the {one.days} complete days before, first {first}"
    told = [
        f"{row['n']} {noun(row['n'], 'errors')} in {row['service']}: {row['template']}",
        f"{row['n'] / max(row['errors'], 1):.0%} of the service's {row['errors']} {noun(row['errors'], 'errors')}",
        history,
        *([f"{row['n'] / one.usual:.1f} times the usual"] if one.why == "above" and one.usual else []),
        *([change] if change else []),
    ]
    return "; ".join(told)


def detection(one: Judged, change: str | None, verdict: str | None) -> dict[str, Any]:
    """The row of the table `detections`."""
    from audit_pipeline.detections.run import short_hash

    row = one.row
    key = rfc8785.dumps({"service": row["service"], "template": row["template_id"]}).decode()
    return {
        **{name: row[name] for name in ("day", "n", "first_time", "last_time", "sources", "refs")},
        "detection_id": short_hash(RULE_ID, key, row["day"].isoformat()),
        "rule_id": RULE_ID,
        "rule_version": VERSION,
        "kind": "recurring_error",
        "level": one.level,
        "x_actor": None,
        "x_target": row["service"],
        "score": round(one.score, 3),
        "threshold": None if one.why == "standing" else SURPRISE,
        "explanation": explain(one, change),
        "attack": [],
        "group_key": key,
        "verdict": verdict,
    }
