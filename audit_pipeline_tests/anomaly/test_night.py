"""Anomalies of a night: a planted spike is told with its numbers, quiet populations give nothing, and nothing later enters."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline.anomaly import night
from audit_pipeline.anomaly.features import features
from audit_pipeline.clock import DAY, SimulatedClock, midnight
from audit_pipeline.findings import decisions
from audit_pipeline.findings.view import finding_id
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

FIRST = dt.date(2026, 3, 2)
TODAY = FIRST + 35 * DAY
ACTORS = 60


class World:
    """A lake with actor-days of people and services, drawn from a seed."""

    def __init__(self, root: Path, budget: int = 5, seed: int = 1, more: str = "") -> None:
        root.mkdir(exist_ok=True)
        self.settings = Settings.from_text(
            f"start: {FIRST}\nsources: {{app: {{type: files, format: cloudtrail, paths: [x]}}}}\nbudgets: {{anomalies_per_day: {budget}}}\n{more}",
            root / "pipeline.yaml",
        )
        self.lake = Lake.open(str(root / "lake"))
        self.engine = open_state(f"sqlite:///{root}/state.db")
        self.rng = np.random.default_rng(seed)
        self.usual = self.rng.uniform(2, 60, ACTORS)

    def day(
        self, day: dt.date, spikes: dict[str, dict[str, float]] | None = None, verdict: str = "no_gap_seen"
    ) -> None:
        rows = [self._row(day, f"p{n:02}", "human", mean) for n, mean in enumerate(self.usual)]
        rows += [self._row(day, f"s{n}", "service", 2000.0) for n in range(8)]
        for row in rows:
            row |= (spikes or {}).get(row["x_actor"], {})
        self.lake.write_table("actor_days", pa.Table.from_pylist(rows, schema=TABLES["actor_days"].schema), day)
        judged = {**dict.fromkeys(TABLES["completeness"].schema.names), "day": day, "source": "app", "verdict": verdict}
        self.lake.write_table("completeness", pa.Table.from_pylist([judged], schema=TABLES["completeness"].schema), day)

    def _row(self, day: dt.date, actor: str, kind: str, mean: float) -> dict[str, Any]:
        counts = {one.name: float(self.rng.poisson(mean / (at + 1))) for at, one in enumerate(features())}
        return {
            "day": day, "x_actor": actor, "x_actor_kind": kind, "team": None, "role": None, "n": int(counts["events"]), "hours": [0] * 24, "networks": [],
            "first_time": midnight(day), "last_time": midnight(day), "sources": ["app"], **counts,
        }  # fmt: skip

    def past(self, days: int = 35, **kind: Any) -> None:
        for number in range(days):
            self.day(FIRST + number * DAY, **kind)

    def record(self, day: dt.date, actors: list[str]) -> None:
        """Anomalies as a night before told them."""
        rows = [dict.fromkeys(TABLES["anomalies"].schema.names) | {"day": day, "x_actor": actor, "group_key": json.dumps({"actor": actor}, separators=(",", ":"))} for actor in actors]  # fmt: skip
        self.lake.write_table("anomalies", pa.Table.from_pylist(rows, schema=TABLES["anomalies"].schema), day)

    def judge(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = night.anomalies(self.settings, self.lake, self.engine, TODAY).to_pylist()
        return rows

    def card(self) -> dict[str, Any]:
        card: dict[str, Any] = json.loads((self.lake.table_metadata("anomalies", TODAY) or {})["card"])
        return card

    def bytes(self) -> bytes:
        return Path(self.lake.path(TABLES["anomalies"].file(TODAY))).read_bytes()


SPIKE = {"p07": {"secret_reads": 400.0, "events": 900.0}}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_spike_is_told_first_with_its_numbers(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed)
    world.past()
    world.day(TODAY, SPIKE)
    first = world.judge()[0]
    assert first["x_actor"] == "p07"
    assert "400 reads of secrets, usual" in first["explanation"]
    assert first["score"] > first["threshold"]
    assert json.loads(first["group_key"]) == {"actor": "p07"}


def test_a_quiet_day_gives_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past()
    world.day(TODAY)
    assert [row["x_actor"] for row in world.judge()] == []
    assert world.card()["people"]["state"] == "evaluated"


def test_a_first_time_is_no_surprise_and_many_first_times_are(tmp_path: Path) -> None:
    rare = {f"p{n:02}": {"secret_reads": 0.0, "deletes": 0.0} for n in range(ACTORS)}
    world = World(tmp_path)
    world.past(spikes=rare)
    world.day(
        TODAY, {**rare, "p01": {"secret_reads": 1.0, "deletes": 1.0}, "p02": {"secret_reads": 60.0, "deletes": 0.0}}
    )
    assert [row["x_actor"] for row in world.judge()] == ["p02"]


def test_whoever_always_does_more_than_their_peers_is_no_surprise(tmp_path: Path) -> None:
    world = World(tmp_path)
    busy = {"p09": {one.name: 4000.0 for one in features()}}
    world.past(spikes=busy)
    world.day(TODAY, busy)
    assert [row["x_actor"] for row in world.judge()] == []


def test_the_budget_is_a_ceiling(tmp_path: Path) -> None:
    world = World(tmp_path, budget=2)
    world.past()
    world.day(TODAY, {f"p{n:02}": {"deletes": 500.0 + n} for n in range(10)})
    assert len(world.judge()) == 2
    assert world.card()["people"]["beyond_threshold"] > 2


def test_the_budget_is_for_people_and_services_together(tmp_path: Path) -> None:
    world = World(tmp_path, budget=1)
    world.past()
    world.day(TODAY, {"s3": {"deletes": 90_000.0}, **SPIKE})
    assert len(world.judge()) == 1


def test_services_are_judged_among_themselves(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past()
    world.day(TODAY, {"s3": {"deletes": 90_000.0}, **SPIKE})
    assert {row["x_actor"] for row in world.judge()} == {"s3", "p07"}
    assert (world.card()["people"]["actors"], world.card()["services"]["actors"]) == (ACTORS, 8)


def test_too_little_history_is_said_and_nothing_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(5):
        world.day(TODAY - (number + 1) * DAY)
    world.day(TODAY, SPIKE)
    assert world.judge() == []
    assert (
        world.card()["people"] | {"state": "not_evaluated", "why": "5 of 14 usable days of history"}
        == world.card()["people"]
    )


def test_incomplete_days_are_no_history(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past(20, verdict="partial")
    for number in range(20, 35):
        world.day(
            FIRST + number * DAY, SPIKE if number % 2 else None, verdict="no_gap_seen" if number % 2 == 0 else "partial"
        )
    world.day(TODAY, SPIKE)
    world.judge()
    card = world.card()["people"]
    assert (card["usable_days"], card["state"]) == (8, "not_evaluated")
    assert card["days_left_out"] == 27


def test_what_is_on_record_of_an_incomplete_day_changes_nothing(tmp_path: Path) -> None:
    found = {}
    for name, wild in {"plain": None, "wild": {f"p{n:02}": {"deletes": 900.0, "events": 7.0} for n in range(ACTORS)}}.items():  # fmt: skip
        world = World(tmp_path / name)
        for number in range(35):
            partial = number in (9, 31)
            world.day(FIRST + number * DAY, wild if partial else None, "partial" if partial else "no_gap_seen")
        world.day(TODAY, SPIKE)
        found[name] = world.judge(), world.card()
    assert found["plain"] == found["wild"]
    assert found["plain"][0]


def test_nothing_later_enters_and_a_rerun_is_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past(34)
    world.day(TODAY - DAY, SPIKE)
    night.anomalies(world.settings, world.lake, world.engine, TODAY - DAY)
    world.day(TODAY, SPIKE)
    world.judge()
    before = world.bytes()
    for number in range(1, 4):
        world.day(TODAY + number * DAY, {f"p{n:02}": {"secret_reads": 5000.0} for n in range(30)})
    _decide(world, "p07", TODAY + 2 * DAY, "false_positive")
    world.judge()
    assert world.bytes() == before


def test_a_false_positive_lowers_what_looks_like_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past(34)
    world.day(TODAY - DAY, SPIKE)
    night.anomalies(world.settings, world.lake, world.engine, TODAY - DAY)
    world.day(TODAY, SPIKE)
    (plain,) = (row["score"] for row in world.judge() if row["x_actor"] == "p07")
    _decide(world, "p07", TODAY - DAY, "comment")  # no verdict
    _decide(world, "p07", TODAY, "false_positive")
    after = [row["score"] for row in world.judge() if row["x_actor"] == "p07"]
    assert world.card()["people"]["verdicts"] == 1
    assert not after or after[0] < plain


@pytest.mark.parametrize("later", [False, True], ids=["before", "after"])
def test_the_sample_size_is_chosen_by_verdicts_before_the_as_of_alone(tmp_path: Path, *, later: bool) -> None:
    world = World(tmp_path)
    world.past()
    world.day(TODAY, SPIKE)
    told = [(f"p{n:02}", TODAY - (3 + n % 9) * DAY, "false_positive" if n % 3 else "accept") for n in range(12)]
    for day in {day for _, day, _ in told}:
        world.record(day, [actor for actor, when, _ in told if when == day])
    for actor, _, action in told:
        _decide(world, actor, TODAY + (2 * DAY if later else -DAY), action)
    world.judge()
    card = world.card()["people"]
    assert card["verdicts"] == (0 if later else 12)
    assert card["choice"] == ("default: 0 confirmed and 0 false of 10 verdicts needed, 2 of either kind" if later else "by 12 verdicts")  # fmt: skip
    assert set(card.get("average_precision", {})) == (set() if later else {"sample 4096", "sample 256", "largest z"})


def test_the_card_says_how_the_words_were_checked(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past()
    world.day(TODAY, SPIKE)
    world.judge()
    assert world.card()["people"]["occlusion"].startswith("of 1 told")


def test_a_holiday_is_compared_with_days_off(tmp_path: Path) -> None:
    off = [FIRST + number * DAY for number in (3, 10, 16, 22)]  # working days of the week
    (tmp_path / "holidays.csv").write_text("date,zone\n" + "".join(f"{day},\n" for day in (*off, TODAY)))
    quiet = {f"p{n:02}": {one.name: 0.0 for one in features()} for n in range(ACTORS)}
    busy = {**quiet, "p05": {one.name: 60.0 for one in features()}}
    found = {}
    for name, more in {"off": "holidays: holidays.csv", "plain": "zone: UTC"}.items():
        world = World(tmp_path / name, more=f"hours: {{{more}}}\n".replace("holidays.csv", str(tmp_path / "holidays.csv")))  # fmt: skip
        for number in range(35):
            day = FIRST + number * DAY
            world.day(day, quiet if day in off or day.weekday() > 4 else {"p05": {one.name: 60.0 for one in features()}})  # fmt: skip
        world.day(TODAY, busy)
        found[name] = [row["x_actor"] for row in world.judge()]
    assert found == {"off": ["p05"], "plain": []}


def test_days_off_are_those_of_the_configuration_and_of_where_somebody_is(tmp_path: Path) -> None:
    (tmp_path / "holidays.csv").write_text("date,zone\n2026-03-04,Europe/Berlin\n2026-03-05,\n")
    text = f"start: {FIRST}\nsources: {{app: {{type: files, format: cloudtrail, paths: [x]}}}}\nhours: {{zone: Europe/Berlin, days: sun-thu, holidays: holidays.csv}}\n"  # fmt: skip
    settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    days = [FIRST + number * DAY for number in range(7)]  # Monday to Sunday
    zones = (None, "Europe/Berlin", "Asia/Tokyo")
    pairs = [(day, zone) for day in days for zone in zones]
    frame = pd.DataFrame(
        {"day": np.array([day for day, _ in pairs], "datetime64[D]"), "zone": [zone for _, zone in pairs]}
    )
    free = {pair for pair, off in zip(pairs, night._free(frame, settings), strict=True) if off}
    weekend = {(day, zone) for day in (days[4], days[5]) for zone in zones}
    assert free == weekend | {(days[2], None), (days[2], "Europe/Berlin")} | {(days[3], zone) for zone in zones}


def _decide(world: World, actor: str, day: dt.date, action: str) -> None:
    payload = {"approver": "bea", "expires": "2027-01-01"} if action == "accept" else {}
    finding = finding_id(night.RULE, json.dumps({"actor": actor}, separators=(",", ":")))
    clock = SimulatedClock(midnight(day) + dt.timedelta(hours=14))
    decisions.record(
        world.engine,
        finding_id=finding,
        action=action,
        person="ana",
        identity="claimed",
        reason="known work",
        clock=clock,
        payload=payload,
    )


def test_rows_have_the_registered_columns(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.past()
    world.day(TODAY, SPIKE)
    world.judge()
    assert pq.read_schema(world.lake.path(TABLES["anomalies"].file(TODAY))).names == TABLES["detections"].schema.names
