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
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from audit_pipeline.quality.profile import DAY_US, HOUR_US, Minutes

Array = npt.NDArray[np.float64]
Weekdays = npt.NDArray[np.int64]
"""Monday is 0."""
SATURDAY = 5

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
SEASON = 4
"""Days of the same weekday that make a rhythm of their own: from 28 days of history on."""
OWN_TAIL = 8
"""Days of the same kind from which on their gaps alone make the threshold."""
USUAL_SHARE = 0.8
"""A silence that a fifth of the like days had too, at these hours, is none, whatever was expected in it."""
STRANGE_FACTOR = 2.5
"""How much wider the threshold is on a kind of day that is hardly known yet, such as the first Saturday."""
TELLING = 3
"""Days from which on one can be told to be odd."""
LONGER = 1.5
"""How much longer than that a silence has to be."""
LENT = 3
"""How far its neighbours raise an hour, as a factor."""
PRECISION = 1.05
"""How exactly the smallest outage that would be noticed is told."""
BUSIEST = 3
"""Hours of the day in each of which it has to be noticed."""
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
    usual_s: float
    """seconds of silence that like days have around these hours"""

    @property
    def ratio(self) -> float:
        """Above 1 the silence is unusual: by what was expected in it, and by its length."""
        seconds = (self.end_us - self.start_us) / 1e6
        if seconds < SHORTEST_S:
            return 0.0
        return min(self.expected / self.threshold, seconds / max(LONGER * self.usual_s, 1.0))


@dataclass(frozen=True)
class Rhythm:
    """What a source's baseline days show."""

    days: tuple[Minutes, ...]
    tail: float
    """expected events in the greatest gap that is still usual"""
    kinds: dict[bool, float]
    """the same of working days (false) and weekends (true), once enough of them are known: a weekly batch is no working day's matter"""

    @classmethod
    def learn(cls, days: list[Minutes]) -> Rhythm | None:
        """From the days before, each rescaled by the others; null where there are none.

        A day that would itself be unusual by the others teaches nothing: one outage in a source's first days must not hide the next.
        """
        if not days:
            return None
        gaps = _by_the_others(days)
        kept = [day for number, day in enumerate(days) if len(days) < TELLING or not _odd(gaps, number)]
        if len(kept) < len(days):
            gaps = _by_the_others(kept)
        kinds = {}
        for weekend in (False, True):
            own = [gap for day, gap in zip(kept, gaps, strict=True) if _weekend(day.day) == weekend]
            if len(own) >= OWN_TAIL:
                kinds[weekend] = _tail(own)
        return cls(tuple(kept), _tail(gaps), kinds)

    @cached_property
    def _known(self) -> tuple[Array, Weekdays]:
        return _arrays(self.days)

    @cached_property
    def _of_kind(self) -> dict[bool, tuple[Minutes, ...]]:
        return {kind: tuple(known for known in self.days if _weekend(known.day) == kind) for kind in (False, True)}

    def silences(self, day: Minutes) -> list[Silence]:
        """The day's greatest gaps by expected events, the most unusual first."""
        shapes = _shapes(*self._known, day.day)
        starts, ends = _greatest(day, shapes)
        expected = _expected(day, starts, ends, shapes)
        found = [
            self._silence(day.day, int(start), int(end), float(events))
            for start, end, events in zip(starts, ends, expected, strict=True)
        ]
        return sorted(found, key=lambda silence: (-silence.ratio, silence.start_us))

    def threshold(self, day: dt.date) -> float:
        """Expected events above which a silence of that day is unusual; wider the fewer like days are known."""
        alike = len(self._of_kind[_weekend(day)])
        tail = self.kinds.get(_weekend(day), self.tail)
        return tail * (_margin(alike) if alike >= ALIKE else STRANGE_FACTOR * _margin(len(self.days)))

    def smallest_s(self, day: Minutes) -> float | None:
        """The shortest outage in the day's busiest hours that would have been noticed, in seconds; null where none of a day would.

        Found by trying: events are taken out of the day as it was, and what is left is judged.
        """
        if not day.events:
            return None
        shapes = _shapes(*self._known, day.day)
        busy = _rates(day.hours, np.zeros((1, 24)), shapes)[0] * day.hours
        middles = [(int(hour) * 2 + 1) * HOUR_US // 2 for hour in np.argsort(-busy, kind="stable")[:BUSIEST]]
        low = high = SHORTEST_S * 1_000_000
        while not self._notices(day, shapes, middles, high):
            low, high = high, high * 2
            if high > DAY_US:
                return None
        while high > low * PRECISION:
            tried = int(math.sqrt(low * high))
            low, high = (low, tried) if self._notices(day, shapes, middles, tried) else (tried, high)
        return high / 1e6

    def _notices(self, day: Minutes, shapes: Array, middles: list[int], length_us: int) -> bool:
        """Whether an outage of that length would be found, around whichever of these times of day."""
        return all(self._notice(day, shapes, middle, length_us) for middle in middles)

    def _notice(self, day: Minutes, shapes: Array, middle_us: int, length_us: int) -> bool:
        begin = min(max(middle_us - length_us // 2, 0), DAY_US - length_us)
        rest = day.without(begin, begin + length_us)
        if not rest.events:
            return False
        starts, ends = rest.gaps()
        at = int(np.searchsorted(ends, middle_us))
        starts, ends = starts[at : at + 1], ends[at : at + 1]
        expected = _expected(rest, starts, ends, shapes)
        return self._silence(day.day, int(starts[0]), int(ends[0]), float(expected[0])).ratio > 1

    def _silence(self, day: dt.date, start_us: int, end_us: int, expected: float) -> Silence:
        threshold = self.threshold(day)
        usual = self._usual_around_s(day, start_us, end_us) if expected > threshold else 0.0
        return Silence(start_us, end_us, expected, threshold, usual)

    def usual_s(self, day: dt.date, start_us: int, end_us: int) -> float:
        """The silence that four of five like days do not exceed between these times of day, in seconds; of all days where few are alike."""
        return self._quantile_s(self._alike(day) or self.days, start_us, end_us)

    def _usual_around_s(self, day: dt.date, start_us: int, end_us: int) -> float:
        """The same around these hours, half the length on either side looked at; 0 where few days are alike."""
        wider = (end_us - start_us) // 2
        alike = self._alike(day)
        return self._quantile_s(alike, start_us - wider, end_us + wider) if alike else 0.0

    def _alike(self, day: dt.date) -> tuple[Minutes, ...]:
        found = self._of_kind[_weekend(day)]
        return found if len(found) >= ALIKE else ()

    def _quantile_s(self, days: tuple[Minutes, ...], start_us: int, end_us: int) -> float:
        return float(np.quantile([_longest(known, start_us, end_us) for known in days], USUAL_SHARE)) / 1e6


def _weekend(day: dt.date) -> bool:
    return day.weekday() >= SATURDAY


def _longest(day: Minutes, start_us: int, end_us: int) -> int:
    """The longest silence of a day between these times of day, in microseconds."""
    starts, ends = day.gaps()
    return int((np.minimum(ends, end_us) - np.maximum(starts, start_us)).max())


def _arrays(days: Sequence[Minutes]) -> tuple[Array, Weekdays]:
    """Events by day and hour, and the weekday of each."""
    return np.stack([day.hours for day in days]), np.array([day.day.weekday() for day in days])


def _by_the_others(days: list[Minutes]) -> list[Array]:
    """Expected events of each day's greatest gaps, by the other days; by itself where it is the only one."""
    hours, weekdays = _arrays(days)
    every = np.arange(len(days))
    alike: defaultdict[tuple[int, int], list[tuple[int, Array, Array]]] = defaultdict(list)
    for number, day in enumerate(days):
        others = every != number if len(days) > 1 else every
        shapes = _shapes(hours[others], weekdays[others], day.day)
        share = _shares(*_greatest(day, shapes))
        alike[len(share), len(shapes)].append((number, share, shapes))
    found: dict[int, Array] = {}
    for group in alike.values():  # arrays of one form are fitted in one go
        numbers = [number for number, _, _ in group]
        share, shapes = (np.stack([one[at] for one in group]) for at in (1, 2))
        expected = (_rates(hours[numbers], share, shapes) * share).sum(axis=-1)
        found.update(zip(numbers, expected, strict=True))
    return [found[number] for number in range(len(days))]


def _shapes(hours: Array, weekdays: Weekdays, day: dt.date) -> Array:
    """Hourly rates that a day may be made of: its weekday's own, like days, the others, an even flow. The first is the ordinary one."""
    same = hours[weekdays == day.weekday()]
    kind = (weekdays >= SATURDAY) == _weekend(day)
    alike, unlike = hours[kind], hours[~kind]
    rows = [part.mean(axis=0) for part in (alike, unlike) if len(part) >= ALIKE]
    if len(alike) < ALIKE:  # too few like days to tell them apart
        rows = [np.concatenate([alike, unlike]).mean(axis=0), *rows]
    if len(same) >= SEASON:
        rows = [_trimmed(same), *rows]
    smooth = _smooth(np.stack(rows))
    return np.concatenate([smooth, np.full((1, 24), smooth[0].mean())])


def _trimmed(hours: Array) -> Array:
    """The mean of each hour without its lowest and highest day: a holiday or an outage among four weeks is not the rhythm."""
    ordered = np.sort(hours, axis=0)
    return np.asarray(ordered[1:-1].mean(axis=0))


def _smooth(hours: Array) -> Array:
    """Neighbouring hours of each row lend to each other (work does not begin on the stroke; a batch does), and no hour is impossible."""
    padded = np.concatenate([hours[:, -1:], hours, hours[:, :1]], axis=1)
    smooth = np.minimum((padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4, LENT * hours + 1e-9)
    return np.asarray(np.maximum(smooth, 1e-3 * smooth.mean(axis=1, keepdims=True) + 1e-9))


def _greatest(day: Minutes, shapes: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and end of the day's greatest gaps by the plain profile."""
    starts, ends = day.gaps()
    until = np.concatenate([[0.0], np.cumsum(shapes.sum(axis=0))])  # expected events from midnight to each full hour
    plain = np.interp(ends, _HOURS, until) - np.interp(starts, _HOURS, until)
    chosen = np.sort(np.argsort(-plain, kind="stable")[:KEPT])
    return starts[chosen], ends[chosen]


def _expected(day: Minutes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], shapes: Array) -> Array:
    """Expected events of each gap, at the level that the hours outside it show."""
    share = _shares(starts, ends)
    return np.asarray((_rates(day.hours, share, shapes) * share).sum(axis=1))


def _rates(hours: Array, share: Array, shapes: Array) -> Array:
    """Hourly rates of a day for each gap, which covers that share of each hour; or of many days, along a first axis of all three."""
    rates = _mixed(hours, 1 - share, shapes)
    # a burst in the day's other hours does not make its silence greater
    level = shapes[..., 0, :].sum(axis=-1)[..., None] / rates.sum(axis=-1)
    return np.asarray(rates * np.minimum(1, level)[..., None])


_HOURS = np.arange(25, dtype=np.int64) * HOUR_US


def _shares(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Array:
    """The share of each hour that each gap covers: gaps x 24."""
    overlap = np.minimum(ends[:, None], _HOURS[1:]) - np.maximum(starts[:, None], _HOURS[:-1])
    return np.asarray(np.clip(overlap, 0, None) / HOUR_US, np.float64)


def _mixed(counts: Array, outside: Array, shapes: Array) -> Array:
    """Hourly rates of the day as a mixture of shapes, fitted to its counts outside each gap (EM for Poisson mixtures).

    A holiday then looks like a weekend or an even flow, and a source that died at eight still like a working day.
    """
    prior = np.full(shapes.shape[-2], 0.02)
    prior[0] = 1.0
    weight = np.tile(prior, (*outside.shape[:-1], 1))
    counts, turned = counts[..., None, :], shapes.swapaxes(-1, -2)
    exposure = outside @ turned
    pseudo = PRIOR * shapes[..., 0, :].sum(axis=-1)[..., None, None]
    for _ in range(ROUNDS):
        rate = weight @ shapes
        pull = (counts / rate) @ turned  # gap x shape; counts of the gap's own hours are zero inside it
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
