"""Random histories of decisions: no state is reached without what it needs, and the log verifies.

By `decisions.record` alone, with writers that are killed; `test_channels` has the other ways in. What a step needs is in `laws`.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.clock import UTC, SimulatedClock
from audit_pipeline.errors import UserError
from audit_pipeline.findings import course, duties, signing
from audit_pipeline.findings.decisions import read, record, verify, verify_signatures
from audit_pipeline.findings.payloads import Context
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions as log
from audit_pipeline.state import open_state
from audit_pipeline_tests.findings import laws

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
NOON = dt.datetime(2026, 3, 3, 12, tzinfo=UTC)
FIX = {"fix": "lock", "kind": "state", "kpi_id": "failed_sign_ins", "scope": "all", "direction": "down", "promised": 1, "decision_date": "2026-08-10"}  # fmt: skip
CONFIG = "start: 2026-01-01\nsources: {idp: {type: files, format: cloudtrail}}\n"
FINDINGS = ("f1", "f2", "f3")
ACTIONS = ("acknowledge", "propose", "approve", "reject", "implement", "accept", "duplicate", "false_positive", "reopen", "assign", "comment")  # fmt: skip
FORWARD = {"open": "acknowledge", "acknowledged": "propose", "proposed": "approve", "approved": "implement"}
"""what brings a finding on; drawn often, as histories of chance alone seldom come to an approval"""
STEP = st.tuples(
    st.sampled_from(FINDINGS), st.sampled_from(("forward",) * 12 + ACTIONS), st.sampled_from(["alice", "bob"]), st.sampled_from([None, "alice", "bob"]),
    st.sampled_from(["", "because"]), st.sampled_from([True, True, True, False]), st.sampled_from([False, False, False, True]), st.sampled_from(FINDINGS), st.integers(1, 40 * 24),
)  # fmt: skip
"""finding, action, who, whose key, reason, complete payload, killed before it is committed, the other finding, hours that pass"""


class KilledError(Exception):
    """Stands for a process that is killed."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration folder with the keys of alice and bob."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True)
    (folder / "allowed_signers").write_text("".join(f"{name} {(folder / f'{name}.pub').read_text()}" for name in ("alice", "bob")))  # fmt: skip
    return folder


def payload(action: str, other: str, proposal: int | None, now: dt.datetime) -> dict[str, Any]:
    payloads: dict[str, dict[str, Any]] = {
        "propose": FIX, "approve": {"proposal": proposal}, "reject": {"proposal": proposal}, "implement": {"proposal": proposal},
        "accept": {"approver": "dana", "expires": (now + dt.timedelta(days=9)).date().isoformat()}, "duplicate": {"of": other}, "assign": {"owner": "carol"},
    }  # fmt: skip
    return payloads.get(action, {})


@settings(max_examples=25)
@given(steps=st.lists(STEP, min_size=8, max_size=30), flip=st.integers(0, 10**6))
def test_no_state_is_reached_without_what_it_needs(keys: Path, steps: list[Any], flip: int) -> None:
    mine = Settings.from_text(CONFIG, keys / "pipeline.yaml")
    with tempfile.TemporaryDirectory() as folder:
        writers = [open_state(f"sqlite:///{folder}/state.db") for _ in range(2)]
        now = NOON
        for number, (finding, drawn, person, key, reason, whole, killed, other, hours) in enumerate(steps):
            now += dt.timedelta(hours=hours)
            made = [one for one in read(writers[0]) if one.finding_id == finding]
            action = FORWARD.get(course.state_at(made, until=now), "comment") if drawn == "forward" else drawn
            proposed = (duties.in_force(made) or (None, None))[0]
            given_ = payload(action, other, proposed.seq if proposed else 1, now) if whole else {}
            engine = writers[number % 2]
            before = len(read(engine))
            if killed:
                sa.event.listen(engine, "commit", _kill, once=True)
            try:
                record(
                    engine, finding_id=finding, action=action, person=person, identity="claimed", reason=reason, clock=SimulatedClock(now), payload=given_,
                    context=Context(mine, frozenset(FINDINGS)), sign=signing.signer(mine, str(keys / key)) if key else None,
                )  # fmt: skip
            except KilledError:
                assert len(read(engine)) == before
            except UserError:
                assert len(read(engine)) == before
            finally:
                if killed and sa.event.contains(engine, "commit", _kill):
                    sa.event.remove(engine, "commit", _kill)
        with writers[0].connect() as con:
            rows = [dict(row) for row in con.execute(sa.select(log).order_by(log.c.seq)).mappings()]
        for at, row in enumerate(rows):
            laws.lawful(rows[:at], row)
        for finding in FINDINGS:
            assert course.state_at([one for one in read(writers[0]) if one.finding_id == finding], until=now)
        laws.no_cycle(rows)
        assert verify(writers[0]) + verify_signatures(writers[0], mine) == []
        if rows:
            _flip(writers[0], mine, rows, flip)
        for engine in writers:
            engine.dispose()


def _kill(_: object) -> None:
    raise KilledError


def _flip(engine: sa.Engine, mine: Settings, rows: list[dict[str, Any]], place: int) -> None:
    """One changed character of one row is named."""
    row = rows[place % len(rows)]
    columns = [name for name, value in row.items() if name not in ("seq", "signature") and value]
    column = columns[place % len(columns)]
    at = place % len(row[column])
    text = row[column][:at] + ("x" if row[column][at] != "x" else "y") + row[column][at + 1 :]
    with engine.begin() as con:
        con.execute(sa.update(log).where(log.c.seq == row["seq"]).values({column: text}))
    assert row["seq"] in [problem["seq"] for problem in verify(engine)], (row["seq"], column)
