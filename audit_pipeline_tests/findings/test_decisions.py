"""The decisions log: chained, append-only, safe with several writers, and honest about what it cannot see."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import UTC, SimulatedClock
from audit_pipeline.errors import LakeError, UsageError, UserError
from audit_pipeline.findings.decisions import Decision, count, head, read, record, verify
from audit_pipeline.findings.states import ACTIONS, STATES, allowed, state_of
from audit_pipeline.state import decisions as log
from audit_pipeline.state import open_state

NOON = dt.datetime(2026, 3, 3, 12, tzinfo=UTC)


def engine_in(root: Path) -> sa.Engine:
    return open_state(f"sqlite:///{root / 'state.db'}")


def decide(
    engine: sa.Engine, action: str = "comment", finding: str = "f1", at: dt.datetime = NOON, **more: Any
) -> Decision:
    values: dict[str, Any] = {
        "person": "alice",
        "identity": "os",
        "reason": "looked at it",
        "clock": SimulatedClock(at),
    }
    return record(engine, finding_id=finding, action=action, **{**values, **more})


def chain(engine: sa.Engine, n: int = 5) -> None:
    for i in range(n):
        decide(engine, at=NOON + dt.timedelta(minutes=i), reason=f"note {i}", finding=f"f{i % 2}")


def test_a_stranger_can_recompute_the_chain_with_the_standards_alone(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    chain(engine)
    decide(engine, "comment", payload={"owner": "böb", "n": 1})
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sa.text("SELECT * FROM decisions ORDER BY seq")).mappings()]
    previous = "0" * 64
    for number, row in enumerate(rows, 1):
        body = {name: value for name, value in row.items() if name not in ("hash", "signature")}
        assert row["seq"] == number
        assert row["previous"] == previous
        assert hashlib.sha256(rfc8785.dumps(body)).hexdigest() == row["hash"]
        previous = row["hash"]
    assert rows[-1]["payload"] == '{"n":1,"owner":"böb"}'
    assert verify(engine) == []
    assert head(engine) == (6, previous)


COLUMNS = [
    "finding_id",
    "action",
    "person",
    "identity",
    "recorded_at",
    "effective_at",
    "reason",
    "payload",
    "previous",
    "hash",
]


def test_any_changed_field_of_any_row_is_seen(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    chain(engine)

    def put(seq: int, column: str, value: str) -> None:
        with engine.begin() as connection:
            connection.execute(sa.update(log).where(log.c.seq == seq).values({column: value}))

    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(log)).mappings()]
    for row in rows:
        for column in COLUMNS:
            put(row["seq"], column, "0" * 63 + "1")
            problems = verify(engine)
            assert row["seq"] in [problem["seq"] for problem in problems], (row["seq"], column)
            assert all(problem["file"] == "decisions" and problem["detail"] for problem in problems)
            put(row["seq"], column, row[column])
    assert verify(engine) == []


def test_a_row_rewritten_with_a_right_hash_breaks_the_next_link(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    chain(engine)
    with engine.begin() as connection:
        row = dict(connection.execute(sa.select(log).where(log.c.seq == 2)).mappings().one())
        row["reason"] = "never mind"
        body = {name: value for name, value in row.items() if name not in ("hash", "signature")}
        new = hashlib.sha256(rfc8785.dumps(body)).hexdigest()
        connection.execute(sa.update(log).where(log.c.seq == 2).values(reason=row["reason"], hash=new))
    assert [(problem["problem"], problem["seq"]) for problem in verify(engine)] == [("broken_link", 3)]


def test_a_removed_row_is_a_hole_and_a_removed_tail_shows_only_against_a_kept_head(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    chain(engine)
    kept = head(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(log).where(log.c.seq == 2))
    (hole,) = verify(engine)
    assert (hole["problem"], hole["seq"], "decision 2" in hole["detail"]) == ("hole", 3, True)
    with engine.begin() as connection:
        connection.execute(sa.delete(log))
    assert verify(engine) == []  # what the documentation says cannot be seen
    assert [problem["problem"] for problem in verify(engine, {kept: "a mail"})] == ["other_head"]


def test_a_new_chain_of_the_same_length_shows_against_a_kept_head(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    chain(engine)
    kept = head(engine)
    assert verify(engine, {kept: "a mail"}) == []
    decide(engine)
    assert verify(engine, {kept: "a mail"}) == []  # the log may grow
    with engine.begin() as connection:
        connection.execute(sa.delete(log))
    for _ in range(6):
        decide(engine, reason="invented")
    assert verify(engine) == []
    assert [problem["problem"] for problem in verify(engine, {kept: "a mail"})] == ["other_head"]


@pytest.mark.parametrize("column", ["recorded_at", "effective_at"])
def test_a_time_that_is_none_is_an_error_with_its_place(tmp_path: Path, column: str) -> None:
    engine = engine_in(tmp_path)
    chain(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(log).where(log.c.seq == 4).values({column: "yesterday"}))
    with pytest.raises(LakeError, match="decision 4"):
        read(engine)
    assert count(engine) == 5
    assert [(problem["problem"], problem["seq"]) for problem in verify(engine)] == [("changed_row", 4)]


def test_numbers_that_json_has_not_are_a_changed_row(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    chain(engine, 1)
    with engine.begin() as connection:
        connection.execute(sa.update(log).values(seq=2**60))
    assert {problem["problem"] for problem in verify(engine)} == {"hole", "changed_row"}


def _write(url: str, worker: int, n: int) -> None:
    engine = open_state(url)
    for i in range(n):
        decide(engine, finding=f"w{worker}", reason=f"{worker}/{i}")


def test_processes_that_decide_at_once_make_one_chain_without_loss(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    context = multiprocessing.get_context("spawn")
    url = f"sqlite:///{tmp_path / 'state.db'}"
    workers = [context.Process(target=_write, args=(url, worker, 8)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    found = read(engine)
    assert [one.seq for one in found] == list(range(1, 25))
    assert {one.reason for one in found} == {f"{worker}/{i}" for worker in range(3) for i in range(8)}
    assert verify(engine) == []


def test_of_two_people_who_acknowledge_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second person decides between the first one's look at the chain and the first one's entry."""
    engine, other = engine_in(tmp_path), engine_in(tmp_path)
    calls: list[str] = []

    def meanwhile(state: str) -> list[str]:
        if not calls:
            calls.append(state)
            decide(other, "acknowledge", person="bob")
        return allowed(state)

    monkeypatch.setattr("audit_pipeline.findings.course.allowed", meanwhile)
    with pytest.raises(UserError, match="is acknowledged"):
        decide(engine, "acknowledge")
    assert [one.person for one in read(engine)] == ["bob"]


def test_read_knows_what_was_recorded_by_then_and_that_moment_is_included(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    for second in (0, 0.5, 1):
        decide(engine, at=NOON + dt.timedelta(seconds=second))
    assert [len(read(engine, NOON + dt.timedelta(seconds=s))) for s in (-1, 0, 0.4, 0.5, 1)] == [0, 1, 1, 2, 3]
    assert len(read(engine)) == 3
    assert head(engine, NOON)[0] == 1


def test_recorded_is_the_clocks_time_and_effective_may_be_earlier_only(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    one = decide(engine, effective_at=NOON - dt.timedelta(hours=3))
    assert (one.recorded_at, one.effective_at) == (NOON, NOON - dt.timedelta(hours=3))
    with pytest.raises(UsageError, match="future"):
        decide(engine, effective_at=NOON + dt.timedelta(seconds=1))
    with pytest.raises(UsageError, match="zone"):
        decide(engine, effective_at=dt.datetime(2026, 3, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"action": "delete"}, "accept, acknowledge, approve, assign, comment, duplicate, false-positive"),
        ({"identity": "ssh"}, "os, claimed"),
        ({"person": " "}, "who"),
        ({"action": "false_positive", "reason": " "}, "reason"),
        ({"action": "comment", "reason": ""}, "reason"),
        ({"action": "assign"}, "owner"),
        ({"person": "al\udcffice"}, "UTF-8"),
        ({"reason": "a\0b"}, "UTF-8"),
        ({"action": "assign", "payload": {"owner": "\udcff"}}, "UTF-8"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_written(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    engine = engine_in(tmp_path)
    with pytest.raises(UsageError, match=message):
        decide(engine, **more)
    assert read(engine) == []


def test_a_state_allows_only_its_actions(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    decide(engine, "acknowledge")
    with pytest.raises(
        UserError,
        match=r"is acknowledged: acknowledge is not possible now\. Possible: accept, assign, comment, duplicate, false-positive",
    ):
        decide(engine, "acknowledge")
    decide(engine, "acknowledge", finding="f2")
    decide(engine, "false_positive")
    for action in ("acknowledge", "false_positive", "assign"):
        with pytest.raises(UserError, match="Possible: comment, reopen"):
            decide(engine, action, payload={"owner": "x"} if action == "assign" else {})
    decide(engine)
    assert [one.action for one in read(engine)] == ["acknowledge", "acknowledge", "false_positive", "comment"]


def test_the_table_of_actions_is_sound() -> None:
    for action in ACTIONS.values():
        assert action.allowed
        assert action.allowed <= STATES
        assert action.leads_to is None or action.leads_to in STATES
    assert all(allowed(state) for state in STATES)
    assert state_of(["acknowledge", "from a later version", "comment"]) == "acknowledged"


def test_hostile_text_comes_back_as_it_was(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    text = "'); DROP TABLE decisions; --\x07\n\u202e<script>"
    decide(engine, reason=text, person=text, finding=text, payload={text: text})
    (one,) = read(engine)
    assert (one.reason, one.person, one.finding_id, json.loads(one.payload)) == (text, text, text, {text: text})
    assert verify(engine) == []


def test_a_database_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    engine_in(tmp_path).dispose()
    engine = sa.create_engine(f"sqlite:///file:{tmp_path / 'state.db'}?mode=ro&uri=true")
    with pytest.raises(LakeError, match="readonly"):
        decide(engine)
