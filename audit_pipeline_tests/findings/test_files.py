"""Decisions by files: taken in once, whatever happens to the file; a bad entry is named and stops no other."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.detections.run import detect
from audit_pipeline.findings import duties, signing
from audit_pipeline.findings.decisions import read, verify, verify_signatures
from audit_pipeline.findings.files import sign_file, take_in
from audit_pipeline.findings.view import findings_table
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state
from audit_pipeline_tests.detections.helpers import DAY, at, burst, make_settings, open_lake, write_events

Place = tuple[Settings, Lake, sa.Engine, str]
CLOCK = SimulatedClock(at(12) + dt.timedelta(days=2))
DECISION = (CLOCK.at + dt.timedelta(days=30)).date()
FIX: dict[str, Any] = {"fix": "lock", "kind": "rate", "kpi_id": "failed_sign_ins", "scope": "all", "direction": "down", "promised": 0.5, "decision_date": DECISION}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = make_settings(tmp_path, "sources: {idp: {type: files, format: cloudtrail, team: cloud}}\nteams: {cloud: {}}")  # fmt: skip
    lake, engine = open_lake(tmp_path), open_state(settings.state_url_resolved)
    write_events(lake, burst("alice", at(8), 12))
    detect(settings, lake, DAY)
    (settings.root / "decisions").mkdir()
    (row,) = findings_table(settings, lake, engine, None).to_pylist()
    return settings, lake, engine, row["finding_id"][:8]


def put(place: Place, name: str, *entries: object) -> Path:
    file = place[0].root / "decisions" / name
    file.write_text(yaml.safe_dump(list(entries), sort_keys=False), encoding="utf-8")
    return file


def said(place: Place, action: str, person: str = "alice", **more: Any) -> dict[str, Any]:
    return {"finding": place[3], "action": action, "person": person, "reason": "because", **more}


def taken(place: Place) -> list[str]:
    return [f"{one.file}:{one.line} {one.reason}" for one in take_in(*place[:3], CLOCK)]


def test_each_entry_is_taken_in_once_also_when_files_are_renamed_and_joined(place: Place) -> None:
    first, second = said(place, "acknowledge"), said(place, "propose", **FIX)
    put(place, "b.yaml", first)
    put(place, "a.yaml", second)  # stands before what it needs
    assert taken(place) == []
    (place[0].root / "decisions" / "b.yaml").unlink()
    put(place, "a.yaml", said(place, "comment"), first, second)
    assert taken(place) == []
    assert taken(place) == []
    assert [(one.action, one.identity) for one in read(place[2])] == [
        ("acknowledge", "claimed"), ("propose", "claimed"), ("comment", "claimed"),
    ]  # fmt: skip
    assert verify(place[2]) == []


def test_a_bad_entry_is_named_each_time_and_stops_no_other(place: Place) -> None:
    put(place, "a.yaml", said(place, "approve", "bob", proposal=7), said(place, "acknowledge"), said(place, "delete"), "x", {"finding": 123456}, said(place, "accept", more=1))  # fmt: skip
    (place[0].root / "decisions" / "b.yaml").write_text("- a: [\n", encoding="utf-8")
    (place[0].root / "decisions" / "c.yaml").write_text("- &x {finding: a}\n- *x\n", encoding="utf-8")
    before = taken(place)
    assert [one.split()[0] for one in before] == ["a.yaml:1", "a.yaml:10", "a.yaml:14", "a.yaml:15", "a.yaml:16", "b.yaml:2", "c.yaml:1"]  # fmt: skip
    assert taken(place) == before
    assert [one.action for one in read(place[2])] == ["acknowledge"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_signed_entries_count_and_changed_ones_are_refused(place: Place) -> None:
    settings, _, engine, _ = place
    lines = []
    for name in ("alice", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", settings.root / name], check=True)
        lines.append(f"{name} {(settings.root / f'{name}.pub').read_text()}")
    (settings.root / "allowed_signers").write_text("".join(lines), encoding="utf-8")
    file = put(place, "a.yaml", said(place, "acknowledge"), said(place, "propose", **FIX))
    assert sign_file(settings, file, "alice", str(settings.root / "alice")) == 2
    assert sign_file(settings, file, "alice", str(settings.root / "alice")) == 0
    assert taken(place) == []
    other = put(place, "b.yaml", said(place, "approve", "bob", proposal=2))
    sign_file(settings, other, "bob", str(settings.root / "bob"))
    right = other.read_text()
    other.write_text(right.replace("because", "why not"), encoding="utf-8")
    assert "does not verify" in taken(place)[0]
    other.write_text(right, encoding="utf-8")
    assert taken(place) == []
    made = read(engine)
    assert [one.identity for one in made] == ["ssh"] * 3
    assert duties.approval(made, settings) == "signed"
    assert verify(engine) + verify_signatures(engine, settings) == []
    row = duties.row(made[-1])
    for column, value in {"person": "carol", "reason": "x", "action": "reject", "finding_id": "0" * 20, "payload": row["payload"].replace('"proposal":2', '"proposal":3', 1)}.items():  # fmt: skip
        assert signing.verified(row | {column: value}, signing.allowed_signers(settings)) is None, column
