"""What silence is usual for a source: gaps measured in the events that its own rhythm would have put there.

Belongs here: rate profiles, time-rescaled gaps, the threshold they are held against. Not here: tables, verdicts, words.

Time rescaling (Brown et al. 2002, Neural Computation 14:325): if a source writes at the rate λ(t), the integral of λ over a gap, the
number of events expected in it, is exponential with mean 1, by night as by day. Audit logs come in bursts, so the tail is wider; its
width is learned from the source's own days (exponential tail over a high threshold, the peaks-over-threshold method with ξ = 0:
Coles 2001, section 4) and never taken as narrower than that of a steady source.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit_pipeline.quality.profile import DAY_US, HOUR_US, Minutes

Array = npt.NDArray[np.float64]

FALSE_ALARM = 1e-5
"""Chance of an alarm on a whole day that the tail is extrapolated to."""
SHORTEST_S = 300
"""Seconds; a shorter silence is never reported: restarts and rotations are no loss of evidence worth a verdict."""
TAIL = 10
"""Gaps a baseline day that make the tail."""
KEPT = 16
"""Gaps of a day that are rescaled exactly: the longest by the plain profile."""
LONGEST_FACTOR = 1.25
ALIKE = 2
"""Days of the same kind (working days, weekend) that make a rhythm of their own."""
STRANGE_FACTOR = 2.5
"""How much wider the threshold is on a kind of day that is hardly known yet, such as the first Saturday."""
TELLING = 3
"""Days from which on one can be told to be odd."""
ROUNDS = 20
PRIOR = 0.003
"""Weight of the ordinary level against what the day's other hours show, as a share of an ordinary day's events."""


@dataclass(frozen=True)
class Silence:
    """A gap held against what is usual; times are microseconds since the day's midnight."""

    start_us: int
    end_us: int
    expected: float
    """events that the rhythm, at this day's own level, would have put there"""
    threshold: float
    """expected events above which a silence is unusual"""

    @property
    def ratio(self) -> float:
        """Above 1 the silence is unusual."""
        return self.expected / self.threshold if (self.end_us - self.start_us) >= SHORTEST_S * 1_000_000 else 0.0


@dataclass(frozen=True)
class Rhythm:
    """What a source's baseline days show."""

    days: tuple[Minutes, ...]
    tail: float
    """expected events in the greatest gap that is still usual"""

    @classmethod
    def learn(cls, days: list[Minutes]) -> Rhythm | None:
        """From the days before, each rescaled by the others; null where there are none.

        A day that would itself be unusual by the others teaches nothing: one outage in a source's first days must not hide the next.
        """
        if not days:
            return None
        gaps = [_rescaled(day, _without(days, day))[2] for day in days]
        kept = [day for number, day in enumerate(days) if len(days) < TELLING or not _odd(gaps, number)]
        if len(kept) < len(days):
            gaps = [_rescaled(day, _without(kept, day))[2] for day in kept]
        return cls(tuple(kept), _tail(gaps))

    def silences(self, day: Minutes) -> list[Silence]:
        """The day's greatest gaps by expected events, the most unusual first."""
        starts, ends, expected = _rescaled(day, list(self.days))
        threshold = self.threshold(day.day)
        found = [Silence(int(s), int(e), float(x), threshold) for s, e, x in zip(starts, ends, expected, strict=True)]
        return sorted(found, key=lambda silence: (-silence.ratio, silence.start_us))

    def threshold(self, day: dt.date) -> float:
        """Expected events above which a silence of that day is unusual; wider the fewer like days are known."""
        alike = sum(_weekend(known.day) == _weekend(day) for known in self.days)
        return self.tail * (_margin(alike) if alike >= ALIKE else STRANGE_FACTOR * _margin(len(self.days)))

    def smallest_s(self, day: Minutes) -> float | None:
        """The shortest silence that would have been noticed at the day's mean rate, in seconds; null where none of a day would."""
        seconds = self.threshold(day.day) / max(day.events, 1e-9) * DAY_US / 1e6
        return max(seconds, float(SHORTEST_S)) if seconds <= DAY_US / 1e6 else None

    def usual_s(self, start_us: int, end_us: int) -> float:
        """The longest silence of the baseline days between these times of day, in seconds."""
        longest = 0
        for known in self.days:
            starts, ends = known.gaps()
            longest = max(longest, int((np.minimum(ends, end_us) - np.maximum(starts, start_us)).max()))
        return longest / 1e6


def _weekend(day: dt.date) -> bool:
    return day.weekday() >= 5


def _without(days: list[Minutes], day: Minutes) -> list[Minutes]:
    """The other days; the day itself where it is the only one."""
    return [other for other in days if other.day != day.day] or [day]


def _shapes(known: list[Minutes], day: dt.date) -> Array:
    """Hourly rates that a day may be made of: like days, the other days of the week, an even flow. The first is the ordinary one."""
    alike = [other.hours for other in known if _weekend(other.day) == _weekend(day)]
    unlike = [other.hours for other in known if _weekend(other.day) != _weekend(day)]
    rows = [_smooth(np.mean(part, axis=0)) for part in (alike, unlike) if len(part) >= ALIKE]
    if len(alike) < ALIKE:  # too few like days to tell them apart
        rows = [_smooth(np.mean(alike + unlike, axis=0)), *rows]
    return np.stack([*rows, np.full(24, rows[0].mean())])


def _smooth(hours: Array) -> Array:
    """Neighbouring hours lend to each other (work does not begin on the stroke), and no hour is impossible."""
    padded = np.concatenate([hours[-1:], hours, hours[:1]])
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.asarray(np.maximum(smooth, 1e-3 * smooth.mean() + 1e-9))


def _rescaled(day: Minutes, known: list[Minutes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]:
    """Start, end and expected events of the day's greatest gaps, at the level that the hours outside each gap show."""
    starts, ends = day.gaps()
    shapes = _shapes(known, day.day)
    until = np.concatenate([[0.0], np.cumsum(shapes.sum(axis=0))])  # expected events from midnight to each full hour
    plain = np.interp(ends, _HOURS, until) - np.interp(starts, _HOURS, until)
    chosen = np.sort(np.argsort(-plain, kind="stable")[:KEPT])
    starts, ends = starts[chosen], ends[chosen]
    share = _shares(starts, ends)
    rates = _mixed(day.hours, 1 - share, shapes)
    level = shapes[0].sum() / rates.sum(axis=1)  # a burst in the day's other hours does not make its silence greater
    rates *= np.minimum(1, level)[:, None]
    return starts, ends, (rates * share).sum(axis=1)


_HOURS = np.arange(25, dtype=np.int64) * HOUR_US


def _shares(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Array:
    """The share of each hour that each gap covers: gaps x 24."""
    overlap = np.minimum(ends[:, None], _HOURS[1:]) - np.maximum(starts[:, None], _HOURS[:-1])
    return np.asarray(np.clip(overlap, 0, None) / HOUR_US, np.float64)


def _mixed(counts: Array, outside: Array, shapes: Array) -> Array:
    """Hourly rates of the day as a mixture of shapes, fitted to its counts outside each gap (EM for Poisson mixtures).

    A holiday then looks like a weekend or an even flow, and a source that died at eight still like a working day.
    """
    prior = np.full(len(shapes), 0.02)
    prior[0] = 1.0
    weight = np.tile(prior, (len(outside), 1))
    exposure = outside @ shapes.T
    pseudo = PRIOR * shapes[0].sum()
    for _ in range(ROUNDS):
        rate = weight @ shapes
        pull = (counts / rate) @ shapes.T  # gap x shape; counts of the gap's own hours are zero inside it
        weight = (weight * pull + pseudo * prior) / (exposure + pseudo)
    return np.asarray(weight @ shapes)


def _odd(gaps: list[Array], number: int) -> bool:
    """Whether a day's greatest gap is unusual by the other days."""
    others = gaps[:number] + gaps[number + 1 :]
    return float(gaps[number].max()) > _tail(others) * _margin(len(others))


def _margin(days: int) -> float:
    """How much wider a threshold from so few days has to be."""
    return 1 + 2 / days


def _tail(gaps: list[Array]) -> float:
    """Expected events in the greatest gap that is still usual."""
    ordered = np.sort(np.concatenate(gaps))[::-1]
    size = min(TAIL * len(gaps), max(len(ordered) // 2, 1))
    base = ordered[size - 1]
    width = max(float((ordered[:size] - base).mean()), 1.0)
    return max(float(base) + width * math.log(size / len(gaps) / FALSE_ALARM), LONGEST_FACTOR * float(ordered[0]))
