"""Interrupted time series whose effect was published, estimated by our regression beside a trend.

Belongs here: reading the series and their published effects. Not here: the table (`effects`). The files are not part of the project:
`sicily.csv` (Lopez Bernal et al. 2017, https://doi.org/10.1093/ije/dyw098) and `Seatbelts.csv` (Harvey and Durbin 1986,
https://doi.org/10.2307/2981553; in R as `Seatbelts`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from audit_pipeline.clock import DAY
from audit_pipeline.effects.model import Estimate, Point, with_trend
from benchmarks.effects_families import FIRST

SMOKING, BELTS = "sicily.csv", "Seatbelts.csv"
EFFECTS = (("drivers", -0.23), ("front", -0.30), ("rear", 0.03))
"""of the law on seat belts, by column"""


def published(folder: Path) -> Iterator[tuple[str, float, Estimate]]:
    """What was published of each series that is there (a share), and our estimate of it."""
    if (folder / SMOKING).is_file():
        rows = _rows(folder / SMOKING)
        people = [float(row["stdpop"]) for row in rows]
        points = [Point(FIRST + i * DAY, float(row["aces"]), people[i]) for i, row in enumerate(rows)]
        cut = next(i for i, row in enumerate(rows) if row["smokban"] == "1")
        yield "Sicily, smoking ban: coronary events", -0.106, with_trend(points[:cut], points[cut:])
    if (folder / BELTS).is_file():
        rows = _rows(folder / BELTS)
        cut = next(i for i, row in enumerate(rows) if row["law"] == "1")
        for column, effect in EFFECTS:
            months = [sum(float(row[column]) for row in rows[i:cut:12]) / len(rows[i:cut:12]) for i in range(12)]
            points = [Point(FIRST + i * DAY, float(row[column]), months[i % 12]) for i, row in enumerate(rows)]
            yield f"Great Britain, seat belts: {column}", effect, with_trend(points[cut - 84 : cut], points[cut:])


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
