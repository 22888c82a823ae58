"""Signed decisions and separation of duties: what a name alone, another key or a row put into the database does not count for."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from audit_pipeline.clock import UTC, SimulatedClock
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings import duties, signing
from audit_pipeline.findings.decisions import Decision, read, record, row_hash, verify, verify_signatures
from audit_pipeline.findings.duties import DutiesError, approval
from audit_pipeline.findings.payloads import Context
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions as log
from audit_pipeline.state import open_state

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
NOON = dt.datetime(2026, 3, 3, 12, tzinfo=UTC)
FIX = {"fix": "lock", "kind": "rate", "kpi_id": "failed_sign_ins", "scope": "all", "direction": "down", "promised": 0.5, "decision_date": "2026-04-10"}  # fmt: skip
CONFIG = """
start: 2026-01-01
sources: {idp: {type: files, format: cloudtrail, team: cloud}}
teams: {cloud: {members: [alice, bob]}, solo: {members: [carol]}}
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[Settings, sa.Engine]:
    """A configuration with the keys of alice and bob."""
    lines = []
    for name in ("alice", "bob", "carol"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / name], check=True)
        if name != "carol":
            lines.append(f'{name} namespaces="{signing.NAMESPACE}" {(tmp_path / f"{name}.pub").read_text().strip()}')
    (tmp_path / "allowed_signers").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = Settings.from_text(CONFIG, tmp_path / "pipeline.yaml")
    return settings, open_state(settings.state_url_resolved)


Place = tuple[Settings, sa.Engine]


def say(place: Place, action: str, person: str, *, key: str | None = None, at: int = 0, team: str | None = "cloud", **more: Any) -> Decision:  # fmt: skip
    settings, engine = place
    return record(
        engine, finding_id="f1", action=action, person=person, identity="claimed", reason="because",
        clock=SimulatedClock(NOON + dt.timedelta(minutes=at)), context=Context(settings, frozenset({"f1"}), team),
        sign=None if key is None else signing.signer(settings, str(settings.root / key)), **more,
    )  # fmt: skip


def propose(place: Place, person: str = "alice", key: str | None = "alice", team: str | None = "cloud") -> int:
    say(place, "acknowledge", person)
    return say(place, "propose", person, key=key, payload=FIX, team=team).seq


def standing(place: Place) -> str | None:
    return approval(read(place[1]), place[0])


def test_two_people_with_two_keys_count_as_signed(place: Place) -> None:
    seq = propose(place)
    assert standing(place) is None
    made = say(place, "approve", "bob", key="bob", payload={"proposal": seq})
    assert (made.identity, standing(place)) == ("ssh", "signed")
    assert verify(place[1]) + verify_signatures(place[1], place[0]) == []


@pytest.mark.parametrize("keys", [("alice", None), (None, "bob"), (None, None)])
def test_where_one_is_not_signed_it_is_asserted(place: Place, keys: tuple[str | None, str | None]) -> None:
    seq = propose(place, key=keys[0])
    say(place, "approve", "bob", key=keys[1], payload={"proposal": seq})
    assert standing(place) == "asserted"


@pytest.mark.parametrize("name", ["alice", "Alice", " alice ", "ａｌｉｃｅ"])
@pytest.mark.parametrize("key", ["alice", None])
def test_nobody_approves_their_own(place: Place, name: str, key: str | None) -> None:
    seq = propose(place, key=key)
    with pytest.raises(DutiesError, match="own"):
        say(place, "approve", name, payload={"proposal": seq})
    assert [one.action for one in read(place[1])] == ["acknowledge", "propose"]


def test_one_key_under_two_names_is_one_person(place: Place) -> None:
    keys = place[0].root / "allowed_signers"
    keys.write_text("* " + (place[0].root / "alice.pub").read_text(), encoding="utf-8")
    seq = propose(place)
    with pytest.raises(DutiesError):
        say(place, "approve", "bob", key="alice", payload={"proposal": seq})


def test_only_a_team_of_one_approves_its_own_and_that_is_said(place: Place) -> None:
    seq = propose(place, "carol", None, "solo")
    with pytest.raises(DutiesError):
        say(place, "approve", "carol", payload={"proposal": seq}, team="cloud")
    say(place, "approve", "carol", payload={"proposal": seq}, team="solo")
    assert standing(place) == "self-approved"


def test_a_key_that_is_not_the_persons_records_nothing(place: Place) -> None:
    for person, key in (("bob", "alice"), ("carol", "carol")):
        with pytest.raises(UserError, match="does not verify"):
            say(place, "acknowledge", person, key=key)
    with pytest.raises(UserError, match="no SSH key"):
        say(place, "acknowledge", "bob", key="none")
    assert read(place[1]) == []


def test_ssh_written_into_the_database_counts_for_nothing(place: Place) -> None:
    """The whole chain made anew by hand, so that hashes are right: the signature alone tells."""
    settings, engine = place
    seq = propose(place)
    say(place, "approve", "bob", payload={"proposal": seq})
    with engine.begin() as con:
        row = dict(con.execute(sa.select(log).where(log.c.seq == 3)).mappings().one())
        borrowed = con.execute(sa.select(log.c.signature).where(log.c.seq == 2)).scalar_one()
        row |= {"identity": "ssh", "signature": borrowed}
        con.execute(sa.update(log).where(log.c.seq == 3).values(**row | {"hash": row_hash(row)}))
    assert verify(engine) == []
    assert standing(place) == "asserted"
    assert [(one["problem"], one["seq"]) for one in verify_signatures(engine, settings)] == [("bad_signature", 3)]


def test_a_key_taken_from_the_file_counts_no_more_and_one_that_ended_later_still_does(place: Place) -> None:
    settings, engine = place
    seq = propose(place)
    say(place, "approve", "bob", key="bob", payload={"proposal": seq})
    file = settings.root / "allowed_signers"
    lines = file.read_text().splitlines()
    ended = [line.replace("namespaces", 'valid-before="20260304",namespaces') for line in lines]
    file.write_text("\n".join(ended), encoding="utf-8")
    assert standing(place) == "signed"
    file.write_text("\n".join(ended).replace("20260304", "20260303"), encoding="utf-8")
    assert standing(place) == "asserted"
    file.unlink()
    assert [one["seq"] for one in verify_signatures(engine, settings)] == [2, 3]


def test_only_the_proposal_in_force_is_approved_and_implemented(place: Place) -> None:
    first = propose(place)
    say(place, "reject", "bob", payload={"proposal": first})
    second = say(place, "propose", "alice", payload=FIX).seq
    for action in ("approve", "reject"):
        with pytest.raises(UsageError, match=f"it is {second}"):
            say(place, action, "bob", payload={"proposal": first})
    say(place, "approve", "bob", payload={"proposal": second})
    with pytest.raises(UsageError, match="before it was proposed"):
        say(place, "implement", "alice", payload={"proposal": second}, effective_at=NOON - dt.timedelta(days=1))
    with pytest.raises(UsageError, match="decision date has passed"):
        say(place, "implement", "alice", payload={"proposal": second}, at=60 * 24 * 60)
    assert say(place, "implement", "alice", payload={"proposal": second}).action == "implement"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kpi_id": "nothing"}, "no KPI"), ({"scope": "service:x"}, "no scope"), ({"scope": "source:other"}, "no source"), ({"scope": "everything"}, "scope"),
        ({"direction": "up"}, "down is better"), ({"promised": 0}, "promised"), ({"promised": 1.5}, "promised"), ({"decision_date": "2026-03-20"}, "2026-03-25"),
        ({"decision_date": "2029-01-01"}, "a year"), ({"kind": "recurrence"}, "covered_days"), ({"fix": " "}, "fix"), ({"more": 1}, "more"),
        ({"kpi_id": "detections", "scope": "finding:f9"}, "no such finding"), ({"kpi_id": "detections"}, "no scope"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_proposal_that_could_not_be_judged_is_refused(place: Place, change: dict[str, Any], message: str) -> None:
    say(place, "acknowledge", "alice")
    with pytest.raises(UsageError, match=message):
        say(place, "propose", "alice", payload=FIX | change)
    assert len(read(place[1])) == 1


def test_ssh_keygen_that_is_not_there_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(signing.SigningError, match="not installed"):
        say(place, "acknowledge", "alice", key="alice")


def test_an_acceptance_ends_by_itself(place: Place) -> None:
    for expires in ("2026-03-03", "2028-01-01", "soon"):
        with pytest.raises(UsageError, match="expires"):
            say(place, "accept", "alice", payload={"approver": "dana", "expires": expires})
    say(place, "accept", "alice", payload={"approver": "dana", "expires": "2026-03-05"})
    with pytest.raises(UserError, match="is accepted"):
        say(place, "acknowledge", "alice", at=35 * 60)
    say(place, "acknowledge", "alice", at=36 * 60)


def test_the_rows_signature_is_not_an_entrys(place: Place) -> None:
    row = duties.row(say(place, "acknowledge", "alice", key="alice"))
    assert signing.verified(row, signing.allowed_signers(place[0])) is not None
    for column in signing.HASHED:
        assert signing.verified(row | {column: "2026-03-03T12:00:01Z"}, signing.allowed_signers(place[0])) is None, (
            column
        )
