"""A day is looked at once: what rules find over the candidates is what they find over all events."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from audit_pipeline.detections import history, rule_tests, sieve
from audit_pipeline.detections.rule import Rule
from audit_pipeline.detections.run import detections, rules
from audit_pipeline_tests.detections.helpers import DAY, make_settings

POOLS = 3
SOURCES = "sources: {aws: {type: files, format: cloudtrail}, cluster: {type: files, format: kubernetes_audit}, hosts: {type: files, format: linux_auth}, gate: {type: hoop, format: hoop}}"


def cases(rule: Rule) -> Iterator[dict[str, Any]]:
    """The rule's test events, positive and negative, moved to `DAY`."""
    said = yaml.safe_load(rule.tests.read_text(encoding="utf-8"))
    for case in (*said["positive"], *said["negative"]):
        by = DAY - case["day"]
        events = [{**event, "time": event["time"] + by} for event in case["events"]]
        yield {"events": rule_tests.events(events, rule.sources[0]), "history": rule_tests.actor_days(case.get("history", []), DAY)}  # fmt: skip


def connection(pool: list[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"autoload_known_extensions": False})
    con.execute("SET TimeZone = 'UTC'")
    con.register("events", pa.concat_tables([case["events"] for case in pool]))
    con.register(history.TABLE, pa.concat_tables([case["history"] for case in pool]))
    return con


def over_all(con: duckdb.DuckDBPyConnection, known: list[Rule]) -> dict[str, list[dict[str, Any]]]:
    return {rule.id: detections(con, rule, DAY) for rule in known}


def sieved(con: duckdb.DuckDBPyConnection, known: list[Rule]) -> dict[str, list[dict[str, Any]]]:
    where = sieve.relations(con, known, DAY)
    return {rule.id: detections(con, rule, DAY, events=where[rule.id]) if rule.id in where else [] for rule in known}


def ordered(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {key: sorted(rows, key=lambda row: str(row["detection_id"])) for key, rows in found.items()}


@pytest.mark.parametrize("most", [sieve.MOST, 60], ids=["all copied", "some copied"])
def test_every_shipped_rule_finds_over_candidates_what_it_finds_over_all_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(sieve, "MOST", most)
    known = rules(make_settings(tmp_path, SOURCES))
    everything = [case for rule in known for case in cases(rule)]
    random.Random(most).shuffle(everything)
    hit: set[str] = set()
    for n in range(POOLS if most == sieve.MOST else 1):
        with connection(everything[n::POOLS]) as con:
            expected = ordered(over_all(con, known))
            assert ordered(sieved(con, known)) == expected
        hit |= {key for key, rows in expected.items() if rows}
    assert most != sieve.MOST or len(hit) >= 0.9 * len(known), (
        "nearly every rule has found something: there was something to compare"
    )


def test_a_day_without_what_a_rule_looks_for_runs_no_rule(tmp_path: Path) -> None:
    known = rules(make_settings(tmp_path, SOURCES))
    with connection([{"events": rule_tests.events([], "test"), "history": rule_tests.actor_days([], DAY)}]) as con:
        assert sieve.relations(con, known, DAY) == {}


def test_yesterdays_events_alone_run_no_rule_and_too_few_no_count(tmp_path: Path) -> None:
    known = [rule for rule in rules(make_settings(tmp_path, SOURCES)) if rule.file.stem == "signin_burst"]
    (burst,) = known
    failed = {"class_uid": 3002, "activity_id": 1, "status_id": 2, "user_name": "ann", "x_actor": "ann", "src_endpoint_ip": "192.0.2.1"}  # fmt: skip
    midnight = dt.datetime.combine(DAY, dt.time(), dt.UTC)
    nothing = rule_tests.actor_days([], DAY)

    def run(*events: dict[str, Any]) -> dict[str, str]:
        with connection([{"events": rule_tests.events([*events], "test"), "history": nothing}]) as con:
            return sieve.relations(con, known, DAY)

    before = {**failed, "time": midnight - dt.timedelta(minutes=2), "repeat": 12, "every": 1}
    assert run(before) == {}
    assert run(before, {**failed, "time": midnight}) == {burst.id: sieve.CANDIDATES}
    assert run({**failed, "time": midnight, "repeat": 9, "every": 1}) == {}
    assert run({**failed, "time": midnight, "count": 10}) == {burst.id: sieve.CANDIDATES}, "ten in one record"


def test_a_rule_that_cannot_be_run_leaves_the_others_to_the_view(tmp_path: Path) -> None:
    known = rules(make_settings(tmp_path, SOURCES))
    broken = dataclasses.replace(known[0].bases[0], where="regexp_matches(message, '(?=x)')", guard="true")
    bad = dataclasses.replace(known[0], bases=(broken,))
    event = {"class_uid": 3002, "message": "x", "time": dt.datetime.combine(DAY, dt.time(), dt.UTC)}
    pool = [{"events": rule_tests.events([event], "test"), "history": rule_tests.actor_days([], DAY)}]
    with connection(pool) as con:
        assert set(sieve.relations(con, [bad, *known[1:]], DAY).values()) == {sieve.EVENTS}
