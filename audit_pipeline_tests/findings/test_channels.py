"""Random histories of decisions by every channel, interleaved: the log itself, the command line under any name, and files.

Three people, each with one key. Whatever name a person gives (`USER`, `--as`, `person:` of a file), whoever sits there is remembered
here: so a proposal and its approval by one person are known to be that, and must never count as approved by somebody else.
Each row is held to `laws`; the log is verified after every step.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from audit_pipeline.cli import main
from audit_pipeline.clock import DAY as ONE
from audit_pipeline.clock import SimulatedClock, rfc3339
from audit_pipeline.errors import UserError
from audit_pipeline.findings import commands, decisions, signing
from audit_pipeline.findings.view import finding_id, findings_table
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions as log
from audit_pipeline.state import open_state
from audit_pipeline_tests.detections.helpers import DAY, at
from audit_pipeline_tests.findings import laws

KEYS = [f'{{"user_name":"u{n}"}}' for n in range(3)]
FINDINGS = [finding_id("guessing", key) for key in KEYS]
PEOPLE = ("alice", "bob", "carol")
NAMES = ("alice", "bob", "carol", "caroline", " ALICE", "ghost")
"""caroline is carol, with the same key under another name"""
CONFIG = {
    "start": "2026-01-01", "sources": {"idp": {"type": "files", "format": "cloudtrail", "team": "cloud"}}, "teams": {"cloud": {"members": ["alice", "bob"]}},
}  # fmt: skip
FORWARD = {"open": "acknowledge", "acknowledged": "propose", "proposed": "approve", "approved": "implement", "ineffective": "propose", "inconclusive": "propose"}  # fmt: skip
"""what brings a finding on; drawn often, as histories of chance alone seldom come to an approval"""
OTHERS = ("reject", "accept", "duplicate", "false_positive", "reopen", "assign", "comment", "approve", "implement", "propose")  # fmt: skip
WHICH, HOURS = st.integers(0, 2), st.integers(1, 10 * 24)
Way = tuple[str, str | None, str, bool]
"""who sits there, under which name (none: the own one), by which channel, signed with the own key or not"""
CHANNEL = st.sampled_from(("log", "line", "line as", "file"))
HONEST = st.tuples(st.sampled_from(PEOPLE), st.none(), CHANNEL, st.just(True))
WAY = HONEST | st.tuples(st.sampled_from(PEOPLE), st.sampled_from((None, *NAMES)), CHANNEL, st.booleans())
VERDICTS = ("verified", "ineffective", "inconclusive")
pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@functools.cache
def keys() -> Path:
    """The people's keys, made once; `own` is nobody's that is listed."""
    folder = Path(tempfile.mkdtemp(prefix="keys"))
    for name in (*PEOPLE, "own"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True)
    listed = [*((name, name) for name in PEOPLE), ("caroline", "carol")]
    (folder / "allowed_signers").write_text("".join(f"{name} {(folder / f'{key}.pub').read_text()}" for name, key in listed))  # fmt: skip
    return folder


class Channels(RuleBasedStateMachine):
    """A folder with three findings, and people who decide about them in any way there is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="channels"))
        file = self.folder / "pipeline.yaml"
        file.write_text(yaml.safe_dump({**CONFIG, "decisions": {"allowed_signers": str(keys() / "allowed_signers")}}))
        (self.folder / "decisions").mkdir()
        self.settings = Settings.load(file)
        self.lake = Lake.open(self.settings.lake_url)
        self.engine = open_state(self.settings.state_url_resolved)
        base = {"day": DAY, "rule_id": "guessing", "kind": "rule", "level": "medium", "sources": ["idp"], "first_time": at(8), "n": 5}  # fmt: skip
        rows = [{**base, "detection_id": key, "group_key": key} for key in KEYS]
        self.lake.write_table("detections", pa.Table.from_pylist(rows, schema=TABLES["detections"].schema), DAY)
        self.now = at(12) + ONE
        self.rows: list[laws.Row] = []
        self.judged: dict[str, list[laws.Judged]] = {one: [] for one in FINDINGS}
        self.who: dict[int, str] = {}
        """who sat there when a decision was made, by its number"""
        self.writers: dict[str, str] = {}
        """who wrote an entry of a file, by its content"""
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(commands, "SystemClock", lambda: SimulatedClock(self.now))

    def teardown(self) -> None:
        self.patch.undo()
        try:
            self._view()
        finally:
            self.engine.dispose()
            shutil.rmtree(self.folder)

    @rule(which=WHICH, drawn=st.sampled_from(("forward",) * 14 + OTHERS), way=WAY, whole=st.sampled_from((True, True, True, False)), hours=HOURS)  # fmt: skip
    def decide(self, which: int, drawn: str, way: Way, whole: bool, hours: int) -> None:
        """Somebody decides something, under their own name or another."""
        action = FORWARD.get(self._state(which), "reopen") if drawn == "forward" else drawn
        self._step(which, action, way, hours, whole=whole)

    @rule(which=WHICH, ways=st.tuples(WAY, WAY), hours=HOURS)
    def approve(self, which: int, ways: tuple[Way, Way], hours: int) -> None:
        """A proposal and the attempt to approve it, at times by one person under two names."""
        while (action := FORWARD.get(self._state(which))) in ("acknowledge", "propose"):
            before = len(self.rows)
            self._step(which, str(action), ways[0], hours)
            if len(self.rows) == before:
                return
        self._step(which, "approve", ways[1], 1)

    def _state(self, which: int) -> str:
        return laws.state(self.rows, FINDINGS[which], self.judged[FINDINGS[which]], rfc3339(self.now))

    def _step(self, which: int, action: str, way: Way, hours: int, *, whole: bool = True) -> None:
        human, name, channel, signed = way
        self.now += dt.timedelta(hours=hours)
        proposed, _ = laws.proposal(self.rows, FINDINGS[which])
        payload = self._payload(action, FINDINGS[which - 1], proposed["seq"] if proposed else 1) if whole else {}
        reason = f"because {self.now.timestamp()}" if whole else ""
        key = str(keys() / human) if signed else None
        said = (FINDINGS[which], action, name or human, reason, payload, key)
        if channel == "log":
            self._log(*said)
        elif channel == "file":
            self._file(*said, human=human)
        else:
            self._line(*said, claimed=channel == "line as")
        self._look(human)

    @rule(which=WHICH, verdict=st.sampled_from(VERDICTS))
    def night(self, which: int, verdict: str) -> None:
        """The fix that is in place is judged, a day later."""
        finding = FINDINGS[which]
        proposed, _ = laws.proposal(self.rows, finding)
        if self._state(which) != "implemented" or not proposed:
            return
        self.now += ONE
        when = self.now.date()
        row = {"effect_id": "e", "subject": "remediation", "subject_id": f"{finding}:{proposed['seq']}", "kind": "state", "verdict": verdict, "as_of": self.now}  # fmt: skip
        self.lake.write_table("effects", pa.Table.from_pylist([row], schema=TABLES["effects"].schema), when)
        self.judged[finding].append((rfc3339(self.now), verdict, proposed["seq"]))

    @rule(name=st.sampled_from(("a.yaml", "z.yaml")))
    def tidy(self, name: str) -> None:
        """All files of decisions become one: nothing is taken in twice."""
        files = sorted((self.folder / "decisions").glob("*.yaml"))
        entries = [entry for file in files for entry in yaml.safe_load(file.read_text())]
        for file in files:
            file.unlink()
        (self.folder / "decisions" / name).write_text(yaml.safe_dump(entries, sort_keys=False))
        taken = {json.dumps(laws.said(row)["entry"], sort_keys=True) for row in self.rows if "entry" in laws.said(row)}
        self.now += dt.timedelta(minutes=1)
        self._run("take-in")
        again = [json.dumps(entry, sort_keys=True) for row in self._look(None) if (entry := laws.said(row).get("entry"))]  # fmt: skip
        assert taken.isdisjoint(again)

    def _payload(self, action: str, other: str, proposal: int) -> dict[str, Any]:
        date = self.now.date()
        payloads: dict[str, dict[str, Any]] = {
            "propose": {"fix": "lock", "kind": "state", "kpi_id": "failed_sign_ins", "scope": "all", "direction": "down", "promised": 1, "decision_date": (date + 40 * ONE).isoformat()},
            "approve": {"proposal": proposal}, "reject": {"proposal": proposal}, "implement": {"proposal": proposal},
            "accept": {"approver": "dana", "expires": (date + 9 * ONE).isoformat()}, "duplicate": {"of": other}, "assign": {"owner": "carol"},
        }  # fmt: skip
        return payloads.get(action, {})

    def _log(
        self, finding: str, action: str, person: str, reason: str, payload: dict[str, Any], key: str | None
    ) -> None:
        rows = findings_table(self.settings, self.lake, self.engine, None).to_pylist()
        made = [one for one in decisions.read(self.engine) if one.finding_id == finding]
        known = commands.context(self.settings, self.lake, rows, finding, made, self.now)
        try:
            decisions.record(
                self.engine, finding_id=finding, action=action, person=person, identity="claimed", reason=reason, clock=SimulatedClock(self.now), payload=payload,
                context=known, sign=signing.signer(self.settings, key) if key else None,
            )  # fmt: skip
        except UserError:
            assert self._stored() == self.rows
        else:
            assert len(self._stored()) == len(self.rows) + 1

    def _line(
        self,
        finding: str,
        action: str,
        person: str,
        reason: str,
        payload: dict[str, Any],
        key: str | None,
        *,
        claimed: bool,
    ) -> None:
        options = [part for name, value in payload.items() for part in (f"--{name.removesuffix('_id').replace('_', '-')}", str(value))]  # fmt: skip
        options += ["--as", person] if claimed else []
        options += ["--sign", key] if key else []
        code = self._run(action.replace("_", "-"), finding[:10], "--reason", reason, *options, user=person)
        made = self._stored()[len(self.rows) :]
        assert len(made) == (code == 0)
        expected = "ssh" if key else "claimed" if claimed else "os"
        assert [(row["person"], row["identity"]) for row in made] == [(person, expected)] * len(made)

    def _file(
        self,
        finding: str,
        action: str,
        person: str,
        reason: str,
        payload: dict[str, Any],
        key: str | None,
        *,
        human: str,
    ) -> None:
        entry = {"finding": finding[:12], "action": action, "person": person, "reason": reason, **payload}
        file = self.folder / "decisions" / f"{self.now:%Y%m%d%H%M%S}.yaml"
        file.write_text(yaml.safe_dump([entry], sort_keys=False))
        self.writers.setdefault(json.dumps(entry, sort_keys=True), human)
        if key:
            self._run("sign", str(file), "--as", person, "--key", key)
        self._run("take-in")

    def _run(self, *words: str, user: str = "nobody") -> int:
        arguments = ["-c", str(self.folder / "pipeline.yaml"), "findings", *words]
        done = CliRunner().invoke(main, arguments, env={"USER": user, "LOGNAME": user})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code

    def _stored(self) -> list[laws.Row]:
        with self.engine.connect() as con:
            return [dict(row) for row in con.execute(sa.select(log).order_by(log.c.seq)).mappings()]

    def _look(self, human: str | None) -> list[laws.Row]:
        """Hold what was recorded since to the laws; the rows of before are as they were."""
        stored, known = self._stored(), len(self.rows)
        assert stored[:known] == self.rows
        for at_, row in enumerate(stored[known:], known):
            laws.lawful(stored[:at_], row, self.judged[row["finding_id"]])
            entry = laws.said(row).get("entry")
            self.who[row["seq"]] = self.writers[json.dumps(entry, sort_keys=True)] if entry else str(human)
        laws.no_cycle(stored)
        self.rows = stored
        assert decisions.verify(self.engine) + decisions.verify_signatures(self.engine, self.settings) == []
        return stored[known:]

    def _view(self) -> None:
        """What is shown: the states of the laws, and an approval by another only where it was another."""
        shown = findings_table(self.settings, self.lake, self.engine, None).to_pylist()
        moment = max([self.settings.as_of(DAY), *(dt.datetime.fromisoformat(row["recorded_at"]) for row in self.rows)])
        assert {row["finding_id"] for row in shown} == set(FINDINGS)
        for row in shown:
            finding = row["finding_id"]
            assert row["state"] == laws.state(self.rows, finding, self.judged[finding], rfc3339(moment)), finding
            proposed, approved = laws.proposal(self.rows, finding)
            event(f"approval {row['approval']}")
            if row["approval"] != "signed":
                continue
            assert proposed is not None
            assert approved is not None
            assert self.who[proposed["seq"]] != self.who[approved["seq"]], "approved by the one who proposed it"
            assert {proposed["identity"], approved["identity"]} == {"ssh"}


TestChannels = Channels.TestCase
TestChannels.settings = settings(
    max_examples=20, stateful_step_count=16, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)  # a history that fails is printed whole: to make it shorter would take minutes
