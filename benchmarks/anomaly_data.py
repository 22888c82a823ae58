"""What `benchmarks.anomaly` measures on: labelled sets as they are published, simulated actor-days, simulated events.

The sets are those of ADBench (Han et al. 2022, https://arxiv.org/abs/2206.09426) that lie in the folder. The actor-days: 200 identities,
a tenth of them services, six roles, weekly rhythm, days of their own that are busier than others, nine counts; five kinds of
anomalies (one count far up, many counts up, something never done, another role's day, a night of everything doubled).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from audit_pipeline.anomaly.features import features
from audit_pipeline.clock import DAY, midnight
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings

Matrix = npt.NDArray[np.float64]
FIRST = dt.date(2026, 3, 2)
COUNTS, ROLES = 9, 6
CONFIG = """
start: 2026-03-01
sources: {{{sources}}}
teams: {{cloud: {{}}}}
identities: identities.csv
hours: {{zone: Europe/Berlin, from: "07:00", to: "19:00"}}
"""


class Set(NamedTuple):
    """A labelled set; `whole`: its rows before a seeded part was drawn."""

    name: str
    rows: Matrix
    odd: npt.NDArray[np.bool_]
    whole: int


def sets(data: Path, most: int) -> list[Set]:
    """The sets, of each at most so many rows, drawn by a constant seed."""
    found = []
    for file in sorted(data.rglob("anomaly_adbench/*.npz")):
        with np.load(file) as held:
            rows, odd = np.asarray(held["X"], dtype=float), np.asarray(held["y"]).astype(bool)
        kept = np.sort(np.random.default_rng(7).permutation(len(rows))[:most])
        found.append(Set(file.stem.split("_", 1)[-1], rows[kept], odd[kept], len(rows)))
    return found


def actor_frame(
    seed: int, days: int, actors: int, share: float
) -> tuple[pd.DataFrame, list[str], npt.NDArray[np.bool_]]:
    """Rows as `baseline.scored` takes them, the names of the counts, and which are anomalies (of the last 14 days)."""
    draw = np.random.default_rng(seed)
    role = draw.integers(0, ROLES, actors)
    service = draw.random(actors) < 0.1
    of_role = draw.gamma(0.6, 8, (ROLES, COUNTS)) * (draw.random((ROLES, COUNTS)) < 0.8)
    usual = of_role[role] * draw.lognormal(0, 0.7, (actors, COUNTS)) * np.where(service, 8, 1)[:, None]
    frames, marks = [], []
    for number in range(days):
        free = number % 7 >= 5
        rate = usual * draw.lognormal(0, 0.35, (actors, 1)) * np.where(free & ~service, 0.15, 1.0)[:, None]
        odd = (draw.random(actors) < share) & (number >= days - 14)
        rate[odd] = _odd(draw, rate[odd], usual[draw.permutation(actors)[: odd.sum()]])
        counts = draw.poisson(draw.gamma(6, 1 / 6, rate.shape) * rate).astype(float)
        there = counts.sum(axis=1) > 0
        about: dict[str, Any] = {"day": np.datetime64(FIRST) + number, "x_actor": [f"a{n:04}" for n in range(actors)], "peer": np.where(service, "service", role.astype(str)), "free": free, "usable": True}  # fmt: skip
        part = pd.DataFrame(counts, columns=[f"c{n}" for n in range(COUNTS)]).assign(**about)
        frames.append(part[there])
        marks.append(odd[there])
    return pd.concat(frames, ignore_index=True), [f"c{n}" for n in range(COUNTS)], np.concatenate(marks)


def _odd(draw: np.random.Generator, rate: Matrix, others: Matrix) -> Matrix:
    """Anomalous rates of rows, one of five kinds each."""
    made = rate.copy()
    for at, kind in enumerate(draw.integers(0, 5, len(rate))):
        some = draw.integers(0, COUNTS)
        if kind == 0:
            made[at, some] = made[at, some] * 8 + 10
        elif kind == 1:
            made[at] = made[at] * 3 + 1
        elif kind == 2:
            made[at, int(np.argmin(made[at]))] += 12
        elif kind == 3:
            made[at] = others[at]
        else:
            made[at] = made[at] * 2
    return made


def project(root: Path, sources: int) -> tuple[Settings, Lake]:
    """A configuration with an inventory of 1,000 accounts of 800 persons, and an empty lake."""
    root.mkdir(parents=True, exist_ok=True)
    listed = [f"*,user{n},Person {n % 800},role{n % 6},{'service' if n % 5 == 0 else 'human'},Europe/Berlin,cloud" for n in range(1000)]  # fmt: skip
    (root / "identities.csv").write_text("source,account,person,role,kind,zone,team\n" + "\n".join(listed) + "\n", encoding="utf-8")  # fmt: skip
    told = ", ".join(f"s{n}: {{type: files, format: cloudtrail, paths: [x]}}" for n in range(sources))
    return Settings.from_text(CONFIG.format(sources=told), root / "pipeline.yaml"), Lake.open(str(root / "lake"))


def write_events(lake: Lake, events: int, sources: int) -> None:
    """A day of calls by 1,000 accounts: 36 operations, 20 services, 20,000 resources, 4,000 addresses, a tenth of them failed."""
    draw = np.random.default_rng(7)
    start = int(midnight(FIRST).timestamp() * 1e6)
    for source in range(sources):
        n = events // sources
        actor = draw.zipf(1.3, n) % 1000
        text = {
            "status_code": (draw.integers(0, 20, n), lambda x: "" if x else "AccessDenied"),
            "x_source": (np.full(n, source), lambda x: f"s{x}"),
            "x_actor": (actor, lambda x: f"user{x}"),
            "x_actor_kind": (np.zeros(n, int), lambda _: "unknown"),
            "api_operation": (draw.zipf(1.5, n) % 36, lambda x: f"Operation{x}"),
            "api_service_name": (draw.zipf(1.5, n) % 20, lambda x: f"service{x}.amazonaws.com"),
            "resource_uid": (draw.zipf(1.4, n) % 20_000, lambda x: f"arn:aws:s3:::bucket-number-{x}"),
            "src_endpoint_ip": (actor * 7 + draw.integers(0, 4, n), lambda x: f"{10 + x % 90}.{x % 250}.{x % 199}.{x % 251}"),
            "x_segment": (np.arange(n) // 5000, lambda x: f"2026-03-02/segment{x}"),
        }  # fmt: skip
        made: dict[str, Any] = {name: _text(codes, told) for name, (codes, told) in text.items()}
        made |= {
            "day": pa.array([FIRST], pa.date32()).take(pa.array(np.zeros(n, np.int32))),
            "time": pa.array(np.sort(draw.integers(0, 86_400_000_000, n)) + start, pa.timestamp("us", tz="UTC")),
            "class_uid": draw.choice([3002, 6003, 6003, 6003], n), "category_uid": np.full(n, 6), "activity_id": draw.choice([1, 2, 2, 2, 3, 4], n),
            "status_id": draw.choice([1] * 9 + [2], n), "http_response_code": draw.choice([200] * 9 + [403], n), "x_read_only": draw.random(n) < 0.5,
            "x_line": np.arange(n),
        }  # fmt: skip
        columns = [pa.array(made[one.name]).cast(one.type) if one.name in made else pa.nulls(n, one.type) for one in EVENT_SCHEMA]  # fmt: skip
        lake.write_table("events", pa.table(columns, schema=EVENT_SCHEMA), FIRST, f"s{source}", {"input_hash": "made"})


def _text(codes: npt.NDArray[np.int64], told: Any) -> pa.Array:
    values, places = np.unique(codes, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array([told(int(x)) for x in values])).cast(pa.string())  # fmt: skip


def write_actor_days(lake: Lake, actors: int, days: int) -> dt.date:
    """`actor_days` and `completeness` of so many days; the last of them has twenty spikes. Returns the last day."""
    draw, names = np.random.default_rng(5), [one.name for one in features()]
    usual = draw.gamma(0.6, 12, (actors, len(names)))
    schema = TABLES["actor_days"].schema
    for number in range(days):
        day = FIRST + number * DAY
        counts = draw.poisson(usual * draw.lognormal(0, 0.3, (actors, 1))).astype(float)
        if number == days - 1:
            counts[:20, :4] += 400
        made: dict[str, Any] = {name: counts[:, at] for at, name in enumerate(names)}
        made |= {
            "day": [day] * actors, "x_actor": [f"a{n:05}" for n in range(actors)], "x_actor_kind": ["service" if n % 10 == 0 else "human" for n in range(actors)],
            "n": counts[:, 0].astype(int), "first_time": [midnight(day)] * actors, "last_time": [midnight(day)] * actors,
            "hours": [[0] * 24] * actors, "networks": [[]] * actors, "sources": [["s0"]] * actors,
        }  # fmt: skip
        columns = [pa.array(made[one.name], one.type) if one.name in made else pa.nulls(actors, one.type) for one in schema]  # fmt: skip
        lake.write_table("actor_days", pa.table(columns, schema=schema), day)
        whole = {**dict.fromkeys(TABLES["completeness"].schema.names), "day": day, "source": "s0", "verdict": "proven"}
        lake.write_table("completeness", pa.Table.from_pylist([whole], schema=TABLES["completeness"].schema), day)
    return FIRST + (days - 1) * DAY
