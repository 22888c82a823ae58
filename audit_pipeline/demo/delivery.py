"""CloudTrail's files: which record is delivered when, in which file, how often, and the bytes of the files.

Belongs here: layout, names, delivery times, copies. Not here: what a record says (`cloudtrail`).
Layout (CloudTrail user guide, "Finding your CloudTrail log files"):
`AWSLogs/<account>/CloudTrail/<region>/YYYY/MM/DD/<account>_CloudTrail_<region>_YYYYMMDDTHHMMZ_<16 letters and digits>.json.gz`;
the stamp is the time of delivery, and a file may hold records of any earlier time, and records that another file holds too.
"""

from __future__ import annotations

import datetime as dt
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.clock import midnight
from audit_pipeline.demo.operations import ACCOUNT, REGIONS

FASTEST_S = 120
"""A record is delivered at least this long after its event; files follow each other by 5 to 10 minutes, so after 12 at the most."""
LATE_SHARE, LATE_S = 0.035, (3600, 30 * 3600 - 600)
"""On a day on which deliveries are disturbed, the share of records that come late, and by how much."""
_DISTURBED, _FIRST_DISTURBED = 14, 3
"""Every fourteenth day is one, so that each is seen by itself: a late record has a day computed and reported again."""
_BUSY, _OFTEN, _THIN = 15_000, (5, 11), 120_000
"""Events a day from which files follow each other often, and minutes between them; below, at least this by the events a day."""
_LONGEST = 28
COPIED_FILES, REPEATED_RECORDS = 0.01, 0.001
_AHEAD_MINUTES = 34 * 60
_ALNUM = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"))

Ints = NDArray[np.int64]


def late_share(number: int) -> float:
    """The share of records of the day of this number, from 0, that are delivered late."""
    return LATE_SHARE if number % _DISTURBED == _FIRST_DISTURBED else 0.0


class Schedule:
    """The delivery times of one region, drawn for the whole period; minutes since the first day's midnight."""

    def __init__(self, days: int, rng: np.random.Generator, every: tuple[int, int] = _OFTEN) -> None:
        n = (days * 1440 + _AHEAD_MINUTES) // 5
        minutes = np.cumsum(rng.integers(*every, n))
        self.minutes: Ints = minutes[: int(np.searchsorted(minutes, days * 1440 + _AHEAD_MINUTES))]
        self.names = _random_names(rng, len(self.minutes))
        self.copied = rng.random(len(self.minutes)) < COPIED_FILES
        self.copy_names = _random_names(rng, len(self.minutes))
        self.copy_after: Ints = rng.integers(1, 30, len(self.minutes))

    def slots(self, visible_s: Ints) -> Ints:
        """The number of the first delivery at or after each time (seconds since the first day's midnight)."""
        return np.searchsorted(self.minutes * 60, visible_s).astype(np.int64)


def _random_names(rng: np.random.Generator, n: int) -> list[str]:
    return ["".join(row) for row in _ALNUM[rng.integers(0, len(_ALNUM), (n, 16))]]


class Deliveries:
    """Takes records day by day and writes each file as soon as it can no longer grow."""

    def __init__(self, folder: Path, start: dt.date, days: int, seed: int, a_day: float) -> None:
        """`a_day`: about how many events a day there are; a thin trail is delivered in fewer, fuller files."""
        least = _OFTEN[0] if a_day >= _BUSY else int(min(_LONGEST, _THIN / max(a_day, 1)))
        every = (least, 2 * least + 1)
        self._folder = folder
        self._start = midnight(start)
        self._schedules = [
            Schedule(days, np.random.default_rng([seed, 1_000_000 + region]), every) for region in range(len(REGIONS))
        ]
        self._waiting: list[dict[int, list[tuple[int, str]]]] = [{} for _ in REGIONS]
        self.files = 0
        self.records: Counter[int] = Counter()
        """records written, copies included, by the number of the event's day"""

    def add(
        self, day: int, times: Ints, regions: Ints, texts: list[str], lag: Ints, repeated: NDArray[np.bool_]
    ) -> Ints:
        """Hand over a day's records.

        Args:
            day: its number, from 0.
            times: event times, seconds since the day's midnight.
            regions: index into `REGIONS`.
            texts: the records.
            lag: seconds from event to delivery at the least.
            repeated: records that the next file holds once more.

        Returns:
            The seconds since the day's midnight at which each record is delivered.
        """
        visible = np.zeros(len(texts), np.int64)
        for region, schedule in enumerate(self._schedules):
            here = np.flatnonzero(regions == region)
            slots = schedule.slots(times[here] + lag[here] + day * 86_400)
            visible[here] = schedule.minutes[slots] * 60 - day * 86_400
            waiting = self._waiting[region]
            for at, slot, again in zip(here.tolist(), slots.tolist(), repeated[here].tolist(), strict=True):
                waiting.setdefault(slot, []).append((day, texts[at]))
                if again:
                    waiting.setdefault(slot + 1, []).append((day, texts[at]))
        return visible

    def flush(self, day: int | None = None) -> None:
        """Write the files that no record of a day after number `day` can enter; without `day`, all."""
        for region, schedule in enumerate(self._schedules):
            last = (
                len(schedule.minutes)
                if day is None
                else int(schedule.slots(np.array([(day + 1) * 86_400 + FASTEST_S]))[0])
            )
            for slot in sorted(slot for slot in self._waiting[region] if slot < last):
                self._write(region, schedule, slot, self._waiting[region].pop(slot))

    def _write(self, region: int, schedule: Schedule, slot: int, records: list[tuple[int, str]]) -> None:
        text = '{"Records":[' + ",".join(record for _, record in records) + "]}"
        data = gzip.compress(text.encode("ascii"), 1, mtime=0)
        minute = int(schedule.minutes[slot])
        names = [(minute, schedule.names[slot])]
        if schedule.copied[slot]:
            names.append((minute + int(schedule.copy_after[slot]), schedule.copy_names[slot]))
        for at, name in names:
            path = self._folder / _path(REGIONS[region], self._start + dt.timedelta(minutes=at), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self.files += 1
            self.records.update(day for day, _ in records)


def _path(region: str, delivered: dt.datetime, name: str) -> str:
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{region}/{delivered:%Y/%m/%d}/{ACCOUNT}_CloudTrail_{region}_{delivered:%Y%m%dT%H%MZ}_{name}.json.gz"
