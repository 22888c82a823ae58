"""A hoop.dev gateway is collected to the last session and act, whatever becomes of them; what it could not give is a fact."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.lake import manifest
from audit_pipeline.lake.verify import verify
from audit_pipeline.sources import _hoop
from audit_pipeline.sources.base import Grant
from audit_pipeline.sources.collect import Collected
from audit_pipeline_tests.sources.hoop_world import HoopWorld, act, session
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR, SECOND
from audit_pipeline_tests.stubs.hoop import SECRET

MINUTE = dt.timedelta(minutes=1)
THREE = BEGIN + DAY + 3 * HOUR
"""The night after the first day."""
PENDING = {"id": "r", "status": "PENDING", "review_groups_data": [{"group": "dba", "status": "PENDING", "reviewed_by": None, "forced_review": False}]}  # fmt: skip
FORCED = {"id": "r", "status": "EXECUTED", "review_groups_data": [{"group": "dba", "status": "APPROVED", "reviewed_by": {"id": "u", "email": "bob@example.com"}, "forced_review": True}]}  # fmt: skip
OPEN = {"status": "open", "end_date": None, "exit_code": None, "review": PENDING}


def filled(world: HoopWorld, n: int = 30, begin: dt.datetime = BEGIN, step: dt.timedelta = 30 * MINUTE) -> list[str]:
    """Sessions and as many acts at the gateway; all ids, sorted."""
    first, gateway = len(world.gateway.sessions), world.gateway
    gateway.sessions += [session(f"{first + k:04d}", begin + k * step) for k in range(n)]
    gateway.acts += [act(f"{first + k:04d}", begin + k * step + MINUTE) for k in range(n)]
    return sorted([one.id for one in gateway.sessions] + [one.id for one in gateway.acts])


@pytest.fixture
def world(tmp_path: Path) -> HoopWorld:
    return HoopWorld(tmp_path)


def codes(got: Collected) -> list[str]:
    return [remark.code for remark in got.remarks]


def request_of(world: HoopWorld) -> dict[str, Any]:
    return manifest.entries(world.lake, "hoop")[-1].request


def test_every_session_and_act_is_an_event_and_a_page_is_kept_as_it_was_sent(world: HoopWorld) -> None:
    ids = filled(world)
    got = world.night(THREE)
    assert (got.remarks, got.members, world.uids()) == ([], 2, ids)
    (entry,) = manifest.entries(world.lake, "hoop")
    pages = world.lake.read(entry.segment or "")
    first = json.loads(pages[: entry.members[0].length])
    assert [len(first["data"]), first["total"], first["total_is_capped"]] == [30, 30, False]
    assert (entry.request["from"], entry.request["to"]) == ("2025-06-01T00:00:00Z", "2025-06-02T02:58:00Z")
    assert verify(world.lake)[0] == []


def test_a_second_collection_takes_what_is_new_and_doubles_nothing(world: HoopWorld) -> None:
    filled(world)
    world.collect(THREE)
    ids = filled(world, begin=THREE)
    world.night(THREE + DAY)
    assert world.uids() == ids
    assert request_of(world)["window"] == ["2025-06-02T01:58:00Z", "2025-06-03T02:58:00Z"]
    assert world.rows("SELECT sum(x_records) - count(*) = sum(x_duplicates) FROM events") == [(True,)]


def test_pages_follow_each_other_to_the_end(world: HoopWorld) -> None:
    ids = filled(world, 250, step=MINUTE)
    got = world.night(THREE)
    assert (got.remarks, got.members, world.uids()) == ([], 6, ids)


@pytest.mark.parametrize("n", [21, 40, 80])
def test_a_window_with_more_than_offsets_reach_is_halved(world: HoopWorld, monkeypatch: pytest.MonkeyPatch, n: int) -> None:  # fmt: skip
    monkeypatch.setattr(_hoop, "MOST", 20)
    world.gateway.cap = 20
    ids = filled(world, n, step=dt.timedelta(seconds=700))
    got = world.night(THREE)
    assert (got.remarks, world.uids()) == ([], ids)
    windows = [member.name.split("/")[1:3] for member in got.entries[-1].members if member.name.startswith("sessions")]
    assert len({tuple(one) for one in windows}) > 1


def test_more_than_can_be_listed_within_a_second_is_said(world: HoopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hoop, "MOST", 20)
    world.gateway.cap = 20
    world.gateway.sessions = [session(n, BEGIN + HOUR) for n in range(30)]
    got = world.night(THREE)
    assert codes(got) == ["source_partial"] * len(got.remarks)
    assert "within a second of 2025-06-01T0" in got.remarks[0].detail
    assert "checkpoint" not in request_of(world)
    assert world.verdict(BEGIN.date())[0] == "partial"


def test_acts_of_one_moment_across_a_page_edge_are_all_found(tmp_path: Path) -> None:
    again = 0
    for seed in range(8):
        root = tmp_path / str(seed)
        root.mkdir()
        world = HoopWorld(root, seed=seed)
        world.gateway.acts = [act(n, BEGIN + HOUR) for n in range(60)] + [act(n, BEGIN + n * MINUTE) for n in range(100, 170)]  # fmt: skip
        got = world.collect(THREE)
        world.build(BEGIN.date())
        assert (got.remarks, len(world.uids())) == ([], 130)
        again += got.members > 2
    assert again > 2


def test_more_acts_of_one_moment_than_a_page_holds_are_all_found_or_said_to_be_missing(tmp_path: Path) -> None:
    whole = 0
    for seed in range(6):
        root = tmp_path / str(seed)
        root.mkdir()
        world = HoopWorld(root, seed=seed)
        world.gateway.acts = [act(n, BEGIN + HOUR) for n in range(104)]
        got = world.collect(THREE)
        world.build(BEGIN.date())
        assert (len(world.uids()) == 104) == ("checkpoint" in request_of(world)) == (got.remarks == [])
        whole += len(world.uids()) == 104
    assert whole > 0


PASSING = ["429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type"]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("kind", ["me", "count", "sessions", "acts"])
def test_trouble_that_passes_is_waited_for(world: HoopWorld, kind: str, fault: str) -> None:
    filled(world, 3)
    world.gateway.plan = [(kind, fault)] * 3
    got = world.collect(THREE)
    assert (world.fired, got.remarks, got.members) == ({fault: 3}, [], 2)
    if fault == "429_seconds":
        assert world.time.waits == [7.0] * 3
    elif fault == "429_date":
        assert world.time.waits == [11.0] * 3
    elif fault != "slow":
        assert [low <= wait <= 2 * low for wait, low in zip(world.time.waits, [0.5, 1, 2], strict=True)] == [True] * 3


def test_trouble_that_stays_ends_within_the_budget_and_the_next_night_heals(world: HoopWorld) -> None:
    ids = filled(world)
    world.gateway.plan = [("acts", "503")] * 500
    got = world.night(THREE)
    assert "503" in (got.failed or "")
    assert 25 * 60 < world.time.seconds <= 30 * 60
    assert (len(world.uids()), world.verdict(BEGIN.date())[0]) == (30, "partial")
    world.heal()
    assert world.night(THREE + HOUR).remarks == []
    assert world.uids() == ids


@pytest.mark.parametrize("kind", ["me", "count", "sessions", "acts"])
def test_a_refusal_is_not_tried_again_and_moves_no_checkpoint(world: HoopWorld, kind: str) -> None:
    ids = filled(world)
    world.gateway.plan = [(kind, "unauthorized")]
    got = world.collect(THREE)
    assert (world.fired, world.time.waits, codes(got)) == ({"unauthorized": 1}, [], ["collection_failed"])
    assert "checkpoint" not in request_of(world)
    world.night(THREE + HOUR)
    assert world.uids() == ids


def test_a_list_that_is_short_is_read_again(world: HoopWorld) -> None:
    ids = filled(world)
    world.gateway.plan = [("sessions", "short"), ("acts", "short")]
    got = world.night(THREE)
    assert (world.fired, got.remarks, world.uids()) == ({"short": 2}, [], ids)


def test_a_list_that_stays_short_is_partial(world: HoopWorld) -> None:
    filled(world)
    world.gateway.plan = [("sessions", "short")] * 3
    got = world.night(THREE)
    assert (codes(got), len(world.uids())) == (["source_partial"], 59)
    assert "counts 30 and listed 29" in got.remarks[0].detail
    verdict, reasons = world.verdict(BEGIN.date())
    assert (verdict, "1 are missing" in reasons["mismatch"]) == ("partial", True)


def test_a_record_sent_twice_is_one_event(world: HoopWorld) -> None:
    ids = filled(world)
    world.gateway.plan = [("sessions", "again")]
    world.night(THREE)
    assert (world.fired, world.uids()) == ({"again": 1}, ids)


def test_a_role_that_sees_only_its_own_sessions_makes_no_day_whole(world: HoopWorld) -> None:
    ids = filled(world)
    world.gateway.sessions.append(session("mine", BEGIN + HOUR, user="audit-reader@example.com"))
    world.gateway.role = "standard"
    got = world.night(THREE)
    assert (codes(got), world.uids()) == (["source_partial"], ["s-mine"])
    assert "role standard" in got.remarks[0].detail
    assert ("checkpoint" in request_of(world), request_of(world)["counted"]) == (False, {})
    assert world.verdict(BEGIN.date())[0] == "partial"
    world.gateway.role = "auditor"
    assert world.night(THREE + HOUR).remarks == []
    assert world.uids() == sorted([*ids, "s-mine"])


@pytest.mark.parametrize("kind", ["count", "sessions"])
def test_a_role_that_is_lost_on_the_way_is_noticed(tmp_path: Path, kind: str) -> None:
    world = HoopWorld(tmp_path, audit_log=False)
    filled(world)
    world.gateway.plan = [(kind, "demoted")]
    got = world.night(THREE)
    assert (world.fired["demoted"], "role standard" in got.remarks[0].detail) == (1, True)
    assert "checkpoint" not in request_of(world)


def state_of(world: HoopWorld, uid: str) -> tuple[Any, ...]:
    (row,) = world.rows(f"SELECT metadata_event_code, status_id, x_records::INT FROM events WHERE metadata_uid = '{uid}'")  # fmt: skip
    return row


def test_a_session_is_followed_until_it_is_final_and_its_newest_state_counts(world: HoopWorld) -> None:
    filled(world)
    changes = ((BEGIN, OPEN), (THREE + DAY + HOUR, {"status": "done", "review": FORCED, "end_date": "2025-06-03T00:00:00Z", "exit_code": 0}))  # fmt: skip
    world.gateway.sessions.append(session("long", BEGIN + HOUR, changes=changes))
    world.night(THREE)
    assert (state_of(world, "s-long"), request_of(world)["open"]) == (("session", 0, 1), {"s-long": "2025-06-01T01:00:00Z"})  # fmt: skip
    world.night(THREE + DAY)
    assert (state_of(world, "s-long")[:2], world.asked["session"]) == (("session", 0), 1)
    world.night(THREE + 2 * DAY)
    assert state_of(world, "s-long") == ("session forced_review", 1, 3)
    assert request_of(world)["open"] == {}
    world.night(THREE + 3 * DAY)
    assert world.asked["session"] == 2


def test_a_session_is_done_but_its_review_is_not(world: HoopWorld) -> None:
    waiting = {"status": "done", "review": PENDING | {"status": "APPROVED"}}
    revoked = {"review": PENDING | {"status": "REVOKED"}}
    world.gateway.sessions = [session("jit", BEGIN + HOUR, changes=((BEGIN, waiting), (THREE + HOUR, revoked)))]
    world.night(THREE)
    assert state_of(world, "s-jit") == ("session", 1, 1)
    world.night(THREE + DAY)
    assert state_of(world, "s-jit")[:2] == ("session revoked", 2)


def test_a_failed_collection_forgets_no_open_session(world: HoopWorld) -> None:
    done = {"status": "done", "review": FORCED}
    world.gateway.sessions = [session("x", BEGIN + HOUR, changes=((BEGIN, OPEN), (THREE + HOUR, done)))]
    world.collect(THREE)
    world.gateway.plan = [("session", "unauthorized")]
    assert codes(world.collect(THREE + DAY)) == ["collection_failed"]
    world.night(THREE + 2 * DAY)
    assert state_of(world, "s-x")[0] == "session forced_review"


def test_a_followed_session_that_is_gone_is_said_and_its_day_is_not_whole(world: HoopWorld) -> None:
    filled(world)
    gone = THREE + HOUR
    world.gateway.sessions.append(session("gone", BEGIN + HOUR, changes=((BEGIN, OPEN),), gone=gone))
    world.night(THREE)
    got = world.night(THREE + DAY)
    assert (codes(got), "s-gone of 2025-06-01T01:00:00Z is no longer" in got.remarks[0].detail) == (["source_partial"], True)  # fmt: skip
    assert (request_of(world)["open"], "checkpoint" in request_of(world)) == ({}, True)
    verdict, reasons = world.verdict(BEGIN.date())
    assert (verdict, "s-gone" in reasons["source_partial"]) == ("partial", True)
    assert world.night(THREE + 2 * DAY).remarks == []
    assert world.verdict(BEGIN.date())[0] == "partial"


def test_a_session_that_never_ends_is_given_up_in_time(tmp_path: Path) -> None:
    world = HoopWorld(tmp_path, follow="60h")
    world.gateway.sessions = [session("zombie", BEGIN + HOUR, changes=((BEGIN, OPEN),))]
    for night in range(3):
        world.collect(THREE + night * DAY)
    assert (request_of(world)["given_up"], request_of(world)["open"], world.asked["session"]) == (1, {}, 1)
    world.collect(THREE + 3 * DAY)
    assert (request_of(world)["given_up"], world.asked["session"]) == (0, 1)


def test_a_session_written_within_the_look_back(world: HoopWorld) -> None:
    filled(world)
    world.gateway.sessions.append(session("late", THREE - 30 * MINUTE, THREE + MINUTE))
    world.night(THREE)
    assert "s-late" not in world.uids()
    world.night(THREE + DAY)
    assert "s-late" in world.uids()


def test_a_record_later_than_the_look_back_is_found_by_the_count(world: HoopWorld) -> None:
    for night in range(3):
        filled(world, begin=BEGIN + night * DAY)
    world.gateway.acts.append(act("late", BEGIN + HOUR, THREE + DAY + HOUR))
    for night in range(3):
        world.night(THREE + night * DAY)
        assert ("a-late" in world.uids()) == (night == 2)
    assert request_of(world)["window"][0] == "2025-06-01T00:00:00Z"


def test_the_gateway_counts_and_agreement_is_proof(world: HoopWorld) -> None:
    """Also of the last second of a day and the first of the next, which its bounds of whole seconds cannot tell apart."""
    edge = BEGIN + DAY - dt.timedelta(microseconds=1)
    for night in range(4):
        filled(world, begin=BEGIN + night * DAY)
    for night in range(1, 4):
        world.gateway.sessions += [session(f"e{night}", edge + night * DAY), session(f"m{night}", BEGIN + night * DAY)]
        world.gateway.acts += [act(f"e{night}", edge + night * DAY), act(f"m{night}", BEGIN + night * DAY)]
    for night in range(4):
        world.night(THREE + night * DAY)
    assert request_of(world)["counted"] == {"2025-06-01": 60, "2025-06-02": 64, "2025-06-03": 64, "2025-06-04": 64}
    assert [world.verdict((BEGIN + night * DAY).date())[0] for night in (2, 3)] == ["proven", "proven"]


def test_what_was_pruned_before_it_was_read_is_said(world: HoopWorld) -> None:
    filled(world)
    world.night(THREE)
    world.gateway.sessions, world.gateway.acts = [], world.gateway.acts[:1]
    world.gateway.sessions = [session(f"c{n}", BEGIN + 4 * DAY + n * HOUR) for n in range(20)]
    world.gateway.acts += [act(f"c{n}", BEGIN + 4 * DAY + n * HOUR) for n in range(20)]
    world.night(THREE + 4 * DAY)
    unread = request_of(world)["unread"]
    assert [(one["from"], one["to"], one["detail"].split(":")[0]) for one in unread] == [("2025-06-02T02:58:00Z", "2025-06-05T00:00:00Z", "sessions")]  # fmt: skip
    for day in range(1, 4):
        verdict, reasons = world.verdict((BEGIN + day * DAY).date())
        assert verdict in ("partial", "missing")
        assert "may have been deleted unread" in reasons["source_partial"]
    assert "source_partial" not in world.verdict((BEGIN + 4 * DAY).date())[1]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_loses_nothing_and_is_named(world: HoopWorld, hours: int) -> None:
    world.gateway.skew = dt.timedelta(hours=hours)
    stamp = BEGIN + DAY + 2 * HOUR
    world.gateway.sessions = [session(n, stamp + world.gateway.skew + n * MINUTE, stamp + n * MINUTE + MINUTE) for n in range(120)]  # fmt: skip
    got = world.night(THREE)
    assert (codes(got), f"{abs(hours) * 3600} s" in got.remarks[0].detail) == (["future"], True)
    world.night(THREE + DAY)
    assert len(world.uids()) == 120


def test_with_the_audit_log_too_everything_is_read_from_its_start(tmp_path: Path) -> None:
    world = HoopWorld(tmp_path, audit_log=False)
    filled(world)
    world.collect(THREE)
    assert world.asked["acts"] == 0
    again = HoopWorld(tmp_path)
    again.gateway.sessions, again.gateway.acts = world.gateway.sessions, world.gateway.acts
    again.collect(THREE + DAY)
    assert request_of(again)["window"][0] == "2025-06-01T00:00:00Z"


class _KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("request_number", [1, 3, 5, 6, 7, 8, 9])
def test_killed_at_any_request_nothing_is_lost_or_doubled(world: HoopWorld, request_number: int) -> None:
    ids = filled(world)

    def die(_: str) -> None:
        if world.asked.total() == request_number:
            raise _KilledError

    world.before = die
    with contextlib.suppress(_KilledError):
        world.collect(THREE)
    world.before = None
    world.night(THREE + MINUTE)
    assert world.uids() == ids
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert verify(world.lake)[0] == []


@pytest.mark.parametrize("auth", [{"bearer": {"file": "key"}}, {"headers": {"Api-Key": {"file": "key"}}}], ids=["bearer", "header"])  # fmt: skip
def test_the_secret_is_in_no_output(tmp_path: Path, caplog: pytest.LogCaptureFixture, auth: dict[str, Any]) -> None:
    """The gateway repeats the credentials in its refusal; nothing of it comes through, neither to files nor to messages."""
    world = HoopWorld(tmp_path, auth=auth)
    ids = filled(world)
    world.night(THREE)
    assert world.uids() == ids
    (tmp_path / "key").write_text("wrong-but-secret")
    got = world.night(THREE + HOUR)
    assert "401" in (got.failed or "")
    said = [got.failed, str(world.open().probe()), repr(world.open()), caplog.text]
    stored = [path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert not [text for text in said if "wrong-but-secret" in (text or "")]
    assert not [data for data in stored if b"wrong-but-secret" in data or SECRET.encode() in data]
    assert any(b"***" in data for data in stored)


def test_who_sees_and_who_may_stop_is_a_fact_of_the_collection(world: HoopWorld) -> None:
    filled(world)
    world.collect(THREE)
    assert request_of(world)["access"] == [
        ["user:audit-reader@example.com", "read", "group auditor"],
        ["user:root@example.com", "read", "group admin"], ["user:root@example.com", "stop", "group admin"],
    ]  # fmt: skip
    assert Grant("user:root@example.com", "stop", "group admin") in world.open().access()


def test_a_key_that_may_not_list_users_harms_nothing(world: HoopWorld) -> None:
    ids = filled(world)
    world.gateway.lists_users = False
    assert (world.night(THREE).remarks, world.uids()) == ([], ids)
    assert "403" in request_of(world)["access_refused"]


def by_name(world: HoopWorld) -> dict[str, tuple[bool, str]]:
    world.now = THREE
    return {probe.what: (probe.ok, probe.detail) for probe in world.open().probe()}


def test_check_tells_identity_rights_newest_and_horizon(world: HoopWorld) -> None:
    filled(world)
    found = by_name(world)
    assert [(what, ok) for what, (ok, _) in found.items()] == [(what, True) for what in ("reach", "identity", "rights", "clock", "newest record", "horizon")]  # fmt: skip
    assert found["identity"][1] == "audit-reader@example.com, role auditor"
    assert "2025-06-01T14:30:00Z" in found["newest record"][1]


@pytest.mark.parametrize(
    ("what", "words"),
    [("rights", "everybody's sessions"), ("identity", "group auditor"), ("clock", "3600 s behind"), ("newest record", "no session"), ("reach", "Connection refused")],
)  # fmt: skip
def test_check_names_what_is_lacking(world: HoopWorld, what: str, words: str) -> None:
    filled(world)
    if what == "rights":
        world.gateway.role = "standard"
    elif what == "clock":
        world.gateway.skew = -HOUR
    elif what == "newest record":
        world.gateway.sessions = []
    else:
        world.gateway.plan = [("me", "unauthorized" if what == "identity" else "refused")] * 500
    ok, detail = by_name(world)[what]
    assert (ok, words in detail) == (False, True), detail


def test_a_name_does_not_lead_to_another_endpoint(world: HoopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "../../users?x=1"
    world.gateway.sessions = [session("x", BEGIN + HOUR, changes=((BEGIN, OPEN | {"id": odd}),))]
    paths: list[str] = []
    handle = world.gateway.handle

    def heard(method: str, path: str, *rest: Any) -> Any:
        paths.append(path)
        return handle(method, path, *rest)

    monkeypatch.setattr(world.gateway, "handle", heard)
    world.collect(THREE)
    world.collect(THREE + DAY)
    assert "/api/sessions/..%2F..%2Fusers%3Fx%3D1" in paths
    assert {path.split("?")[0].split("/")[2] for path in paths} == {"userinfo", "sessions", "audit", "users"}


def test_a_page_that_is_none_of_a_gateway_is_a_failure_that_says_so(world: HoopWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    handle = world.gateway.handle

    def older(method: str, path: str, *rest: Any) -> Any:
        reply = handle(method, path, *rest)
        if path == "/api/sessions":
            reply.data.pop("total")
        return reply

    monkeypatch.setattr(world.gateway, "handle", older)
    filled(world)
    assert "no list of records with its total" in (world.night(THREE).failed or "")


@pytest.mark.parametrize("late", [SECOND, dt.timedelta(0)])
def test_a_record_of_the_last_second_is_read_by_one_of_two_collections(world: HoopWorld, late: dt.timedelta) -> None:
    edge = THREE - 2 * MINUTE + dt.timedelta(milliseconds=500)
    world.gateway.sessions = [session("edge", edge, edge + late)]
    world.night(THREE)
    world.night(THREE + DAY)
    assert world.uids() == ["s-edge"]
