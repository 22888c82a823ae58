"""Turning a token back: the name, and who asked for it on record before it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit_pipeline.cli import main
from audit_pipeline.clock import SimulatedClock
from audit_pipeline.detections.run import detect
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings import decisions
from audit_pipeline.lake.store import Lake
from audit_pipeline.privacy.pseudonyms import key, token
from audit_pipeline.privacy.reveal import reveal
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state
from audit_pipeline_tests.detections.helpers import DAY, at, burst, make_settings, open_lake, write_events

Place = tuple[Settings, Lake]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, burst("mara.lindqvist", at(8), 12, x_actor="AIDA:mara"))
    write_events(lake, burst("Hunter2!secret", at(9), 12, x_source="vpn"), known=False)
    return settings, lake


def on_record(settings: Settings) -> list[decisions.Decision]:
    engine = open_state(settings.state_url_resolved)
    try:
        assert decisions.verify(engine) == []
        return decisions.read(engine)
    finally:
        engine.dispose()


def test_a_token_of_a_mail_leads_to_its_name_and_is_recorded(place: Place) -> None:
    settings, lake = place
    given = token("mara.lindqvist", key(settings, lake))
    assert reveal(settings, given, reason="incident 7", person="ana", clock=SimulatedClock(at(12))) == [
        "mara.lindqvist"
    ]
    (one,) = on_record(settings)
    assert (one.finding_id, one.action, one.person, one.identity, one.reason) == (
        given,
        "reveal",
        "ana",
        "claimed",
        "incident 7",
    )
    assert one.recorded_at == at(12)
    assert json.loads(one.payload) == {"names": 1}
    assert "mara" not in json.dumps(vars(one), default=str), "the record names who asked, not who was asked for"
    assert reveal(settings, given.upper().replace("USER", "User"), reason="again") == ["mara.lindqvist"]
    assert [(one.seq, one.identity) for one in on_record(settings)] == [(1, "claimed"), (2, "os")]


def test_a_name_that_is_not_printed_can_be_revealed(place: Place) -> None:
    settings, lake = place
    titles = [row["explanation"] for row in detect(settings, lake, DAY).to_pylist()]
    (hidden,) = (title for title in titles if "(unlisted name)" in title)
    given = hidden.split("(unlisted name) ")[1].split()[0]
    assert reveal(settings, given, reason="is it a password?") == ["Hunter2!secret"]


def test_what_nobody_knows_is_recorded_too(place: Place) -> None:
    settings, _ = place
    assert reveal(settings, "user-22222", reason="curious") == []
    assert [json.loads(one.payload) for one in on_record(settings)] == [{"names": 0}]


@pytest.mark.parametrize(
    "given",
    ["", "mara", "user-", "user-4T2Q", "user-4T2QXX", "user-4T2Q1", "user-4T2QX\n", "(unlisted name) user-4T2QX"],
)
def test_what_is_no_token_is_not_looked_up(place: Place, given: str) -> None:
    with pytest.raises(UsageError, match="is no token"):
        reveal(place[0], given, reason="x")
    assert on_record(place[0]) == []


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_without_a_reason_it_refuses(place: Place, reason: str) -> None:
    settings, lake = place
    with pytest.raises(UsageError, match="needs a reason"):
        reveal(settings, token("mara.lindqvist", key(settings, lake)), reason=reason)
    assert on_record(settings) == []


def test_nothing_is_told_where_it_cannot_be_recorded(place: Place) -> None:
    settings, lake = place
    given = token("mara.lindqvist", key(settings, lake))
    with pytest.raises(UserError, match="nobody decides"):
        reveal(settings, given, reason="x", person=" ")
    assert on_record(settings) == []


def test_with_another_key_the_token_leads_nowhere(place: Place) -> None:
    settings, lake = place
    given = token("mara.lindqvist", key(settings, lake))
    (settings.root / "pseudonyms.key").write_bytes(b"another key" * 6)
    assert reveal(settings, given, reason="x") == []


def test_the_command(place: Place) -> None:
    settings, lake = place
    (settings.root / "pipeline.yaml").write_text(
        "start: 2026-01-01\nsources: {idp: {type: files, format: cloudtrail}}\n"
    )
    run = ["-c", str(settings.root / "pipeline.yaml"), "reveal", token("mara.lindqvist", key(settings, lake))]
    refused = CliRunner().invoke(main, run)
    assert (refused.exit_code, "mara" in refused.output) == (2, False)
    assert "--reason" in refused.output
    told = CliRunner().invoke(main, [*run, "--reason", "incident 7"])
    assert (told.exit_code, told.stdout) == (0, "mara.lindqvist\n")
    nowhere = CliRunner().invoke(main, [*run[:-1], "user-22222", "--reason", "x"])
    assert (nowhere.exit_code, nowhere.stdout) == (1, "")
    assert len(on_record(settings)) == 2
