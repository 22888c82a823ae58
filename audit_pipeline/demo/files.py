"""Rotated log files of lines: bytes and times as a shipper leaves them, and the counts of what they hold.

Belongs here: writing a file of lines, sharing out events over days. Not here: what a line says (`kubernetes`, `linux`, `application`).
A file's modification time is when it was complete on the collector's disk: the only delivery stamp that such files have.
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.demo.calendar import Calendar


class Files:
    """Writes compressed files below one folder and counts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def write(self, name: str, lines: Sequence[str], visible: dt.datetime) -> None:
        """Write one file; none where there are no lines."""
        if not lines:
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode("utf-8"), 1, mtime=0))
        os.utime(path, (visible.timestamp(), visible.timestamp()))
        self.count += 1


def shares(calendar: Calendar, start: dt.date, days: int, events: int, weekend: float) -> list[int]:
    """The events of each day; a day off has `weekend` of a working day's."""
    weights = np.array([1.0 if calendar.is_working(start + n * DAY) else weekend for n in range(days)])
    upto = np.rint(np.cumsum(weights) / weights.sum() * events).astype(int)
    return [int(n) for n in np.diff(upto, prepend=0)]


def moment(day: dt.date, second: float) -> dt.datetime:
    """A second of a UTC day as a time."""
    return midnight(day) + dt.timedelta(seconds=second)
