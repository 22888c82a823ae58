"""Datadog is collected to the last event, however it behaves; and what it could not give is a fact."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.lake import manifest
from audit_pipeline.lake.verify import verify
from audit_pipeline.sections import SourceSettings
from audit_pipeline.sources import datadog
from audit_pipeline.sources.base import Reviewable
from audit_pipeline.sources.collect import Collected
from audit_pipeline_tests.sources.datadog_world import DatadogWorld, event
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR, SOURCE, KilledError
from audit_pipeline_tests.stubs.datadog import API_KEY, APP_KEY

MINUTE = dt.timedelta(minutes=1)
THREE = BEGIN + DAY + 3 * HOUR
"""The night after the first day."""
LOGS: dict[str, Any] = {"reads": ["logs"]}
TIERS: dict[str, Any] = LOGS | {"storage_tiers": ["indexes", "flex"]}


def filled(
    world: DatadogWorld, n: int = 50, begin: dt.datetime = BEGIN, step: dt.timedelta = 20 * MINUTE, **fields: Any
) -> list[str]:
    """Events of the kind that the world reads; the ids of all, sorted."""
    kind = world.settings.sources[SOURCE].options.get("reads", ["audit"])[0]
    first = len(world.datadog.events)
    world.datadog.events += [
        event(f"{first + k:04d}", begin + k * step + MINUTE, kind=kind, **fields) for k in range(n)
    ]
    return sorted(one.id for one in world.datadog.events)


@pytest.fixture(params=[{}, LOGS, TIERS], ids=["audit", "logs", "tiers"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> DatadogWorld:
    return DatadogWorld(tmp_path, page_limit=20, window="12h", **request.param)


@pytest.fixture
def audit(tmp_path: Path) -> DatadogWorld:
    return DatadogWorld(tmp_path, page_limit=20, window="12h")


@pytest.fixture
def tiers(tmp_path: Path) -> DatadogWorld:
    return DatadogWorld(tmp_path, page_limit=20, window="12h", **TIERS)


def codes(got: Collected) -> list[str]:
    return [remark.code for remark in got.remarks]


def request_of(world: DatadogWorld) -> dict[str, Any]:
    return manifest.entries(world.lake, SOURCE)[-1].request


def received(world: DatadogWorld) -> list[str]:
    world.build()
    return world.uids()


def test_every_event_is_one_and_a_page_is_kept_as_it_was_sent(world: DatadogWorld) -> None:
    ids = filled(world)
    got = world.night(THREE)
    assert got.remarks == []
    assert world.uids() == ids
    (entry,) = manifest.entries(world.lake, SOURCE)
    first = json.loads(world.lake.read(entry.segment or "")[: entry.members[0].length])
    assert (len(first["data"]), first["meta"]["status"], "links" in first) == (20, "done", True)
    assert (entry.request["from"], entry.request["to"]) == ("2025-06-01T00:00:00Z", "2025-06-02T02:55:00Z")
    assert entry.covers(BEGIN.date())
    assert verify(world.lake)[0] == []


def test_times_are_absolute_and_each_tier_is_asked_for_itself(tmp_path: Path) -> None:
    world = DatadogWorld(
        tmp_path, reads=["audit", "logs"], storage_tiers=["flex", "indexes"], indexes=["main"], query="service:shop"
    )
    world.collect(THREE)
    filters = [body["filter"] for body in world.datadog.bodies if body.get("sort") == "timestamp"]
    assert {one.get("storage_tier") for one in filters} == {None, "flex", "indexes"}
    assert {str(one.get("indexes")) for one in filters} == {"None", "['main']"}
    assert {one["query"] for one in filters} == {"service:shop"}
    assert all(one["from"].endswith("Z") and one["to"].endswith("Z") for one in filters)


def test_a_second_collection_takes_what_is_new_and_doubles_nothing(world: DatadogWorld) -> None:
    filled(world)
    world.collect(THREE)
    ids = filled(world, begin=BEGIN + DAY)
    world.collect(THREE + DAY)
    assert received(world) == ids
    assert request_of(world)["window"] == ["2025-06-01T02:55:00Z", "2025-06-03T02:55:00Z"]
    assert world.rows("SELECT sum(x_records) - count(*) = sum(x_duplicates) FROM events") == [(True,)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("page_limit", [1, 7, 10])
def test_events_of_one_instant_across_edges_of_pages_and_windows(tmp_path: Path, page_limit: int, seed: int) -> None:
    """Whether a range includes its ends, and whether the last page has a cursor, is drawn by the seed."""
    world = DatadogWorld(tmp_path, page_limit=page_limit, window="1h", seed=seed)
    world.datadog.events = [event(n, BEGIN + HOUR) for n in range(30)]
    world.collect(BEGIN + 4 * HOUR)
    assert len(received(world)) == 30


PASSING = ["429", "429_reset", "429_seconds", "503", "refused", "cut", "slow", "content_type"]


@pytest.mark.parametrize(
    ("kind", "fault"), [("page", fault) for fault in PASSING] + [(kind, fault) for kind in ("count", "edge") for fault in ("429_reset", "cut")]
)  # fmt: skip
def test_trouble_that_passes_is_waited_for(tmp_path: Path, kind: str, fault: str) -> None:
    world = DatadogWorld(tmp_path, **LOGS)
    ids = filled(world)
    world.collect(THREE)
    world.datadog.plan = [(kind, fault)] * 3
    got = world.collect(THREE + HOUR)
    assert (world.fired, got.remarks) == ({fault: 3}, [])
    assert received(world) == ids
    if fault == "429_seconds":
        assert world.time.waits == [7.0] * 3
    elif fault == "429_reset":
        assert world.time.waits == [9.0] * 3


def test_trouble_that_stays_ends_within_the_budget_and_the_next_night_heals(audit: DatadogWorld) -> None:
    ids = filled(audit)
    audit.datadog.plan = [("page", "503")] * 500
    got = audit.night(THREE)
    assert "http.budget" in (got.failed or "")
    assert 25 * 60 < audit.time.seconds <= 30 * 60
    assert audit.verdict(BEGIN.date())[0] == "missing"
    audit.heal()
    assert audit.night(THREE + HOUR).remarks == []
    assert audit.uids() == ids


@pytest.mark.parametrize("kind", ["count", "page", "edge"])
def test_a_refusal_is_not_tried_again_and_moves_no_checkpoint(tmp_path: Path, kind: str) -> None:
    world = DatadogWorld(tmp_path, **LOGS)
    filled(world)
    world.collect(THREE)
    ids = filled(world, begin=BEGIN + DAY)
    world.datadog.plan = [(kind, "forbidden")]
    got = world.collect(THREE + DAY)
    assert (world.fired, world.time.waits, codes(got)) == ({"forbidden": 1}, [], ["collection_failed"])
    assert "checkpoint" not in request_of(world)
    world.collect(THREE + DAY + HOUR)
    assert received(world) == ids


def test_a_key_refused_between_pages_keeps_the_pages_before(audit: DatadogWorld) -> None:
    ids = filled(audit)
    audit.before = lambda kind: audit.datadog.plan.append(("page", "forbidden")) if (kind, audit.asked["page"]) == ("page", 2) else None  # fmt: skip
    got = audit.night(THREE)
    assert (got.members, codes(got), len(audit.uids())) == (1, ["collection_failed"], 20)
    assert audit.verdict(BEGIN.date())[0] == "partial"
    audit.before = None
    audit.heal()
    audit.night(THREE + HOUR)
    assert audit.uids() == ids


@pytest.mark.parametrize(("fault", "words"), [("timeout", "status timeout"), ("warning", "Results are incomplete")])
def test_a_good_answer_that_lacks_events_is_partial_and_read_again(world: DatadogWorld, fault: str, words: str) -> None:
    ids = filled(world)
    world.datadog.plan = [("page", fault)]
    got = world.night(THREE)
    assert (world.fired, codes(got)) == ({fault: 1}, ["source_partial"])
    assert words in got.remarks[0].detail
    assert len(world.uids()) < len(ids)
    verdict, reasons = world.verdict(BEGIN.date())
    assert verdict == "partial"
    assert words in reasons["source_partial"]
    assert "checkpoint" not in request_of(world)
    assert world.night(THREE + HOUR).remarks == []
    assert request_of(world)["window"][0] == "2025-06-01T00:00:00Z"
    assert world.uids() == ids


@pytest.mark.parametrize("fault", ["timeout", "warning"])
def test_a_count_that_is_not_whole_proves_nothing(tmp_path: Path, fault: str) -> None:
    world = DatadogWorld(tmp_path, **LOGS)
    filled(world)
    world.datadog.plan = [("count", fault)]
    assert world.collect(THREE).remarks == []
    assert (world.fired, request_of(world)["counted"]) == ({fault: 1}, {})
    world.collect(THREE + HOUR)
    assert request_of(world)["counted"] == {"2025-06-01": 50}


def test_a_day_is_read_whole_once_however_short_the_look_back(tmp_path: Path) -> None:
    """Only a day that was read as a whole can be held against its count."""
    world = DatadogWorld(tmp_path, look_back="1h", **LOGS)
    for night in range(3):
        filled(world, 70, begin=BEGIN + night * DAY)
        world.night(THREE + night * DAY)
    world.collect(THREE + 2 * DAY + HOUR)
    assert "2025-06-03" not in request_of(world)["counted"]
    assert world.verdict((BEGIN + 2 * DAY).date())[0] == "proven"


def test_an_expired_cursor_is_begun_anew_and_nothing_is_missed(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, page_limit=20, window="1d")
    world.datadog.events = [event(n, BEGIN + HOUR + n // 30 * MINUTE) for n in range(130)]
    world.before = lambda kind: world.datadog.plan.append(("page", "expired")) if kind == "page" and world.asked["page"] in (2, 4, 7) else None  # fmt: skip
    got = world.night(THREE)
    assert (world.fired["expired"], got.remarks, len(world.uids())) == (3, [], 130)
    assert request_of(world)["begun_anew"] == 3


def test_cursors_that_expire_after_each_page_still_lead_on(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, page_limit=20, window="1d")
    world.datadog.events = [event(n, BEGIN + HOUR + n * MINUTE) for n in range(700)]
    world.before = lambda kind: world.datadog.plan.append(("page", "expired")) if kind == "page" and world.asked["page"] % 2 == 0 and world.asked["page"] <= 60 else None  # fmt: skip
    assert world.collect(THREE).remarks == []
    assert (len(received(world)), request_of(world)["begun_anew"] == 30) == (700, True)


def test_cursors_that_expire_within_one_second_end(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, page_limit=20)
    world.datadog.events = [event(n, BEGIN + HOUR) for n in range(100)]
    world.before = lambda kind: world.datadog.plan.append(("page", "expired")) if kind == "page" else None
    assert "page.cursor" in (world.collect(THREE).failed or "")


def test_a_first_page_that_is_refused_is_no_expired_cursor(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, reads=["logs"], storage_tiers=["online-archives"])
    assert "storage tier online-archives is not enabled" in (world.collect(THREE).failed or "")
    assert world.asked.total() == 1


def test_a_cursor_that_does_not_move_ends(audit: DatadogWorld) -> None:
    filled(audit)
    audit.before = lambda kind: audit.datadog.plan.append(("page", "stuck"))
    assert "the cursor does not move" in (audit.collect(THREE).failed or "")


def test_pages_shrink_where_an_answer_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = DatadogWorld(tmp_path, page_limit=40)
    ids = filled(world, 60)
    monkeypatch.setattr("audit_pipeline.sources.http.MAX_BODY", 4000)
    got = world.collect(THREE)
    assert (got.remarks, received(world)) == ([], ids)
    assert {body["page"]["limit"] for body in world.datadog.bodies} == {40, 20, 10, 1}


def test_an_event_sent_twice_is_one(tiers: DatadogWorld) -> None:
    ids = filled(tiers)
    tiers.datadog.plan = [("page", "again")]
    tiers.night(THREE)
    assert (tiers.fired, tiers.uids()) == ({"again": 1}, ids)
    assert tiers.rows("SELECT sum(x_duplicates)::INT > 0 FROM events") == [(True,)]


def test_an_event_that_came_within_the_look_back(audit: DatadogWorld) -> None:
    filled(audit)
    kind = audit.datadog.events[0].kind
    audit.datadog.events.append(event("late", BEGIN + 9 * HOUR, THREE + HOUR, kind=kind))
    audit.night(THREE)
    assert "late" not in audit.uids()
    filled(audit, begin=BEGIN + DAY)
    audit.night(THREE + DAY)
    assert "late" in audit.uids()


def test_logs_later_than_the_look_back_are_found_by_the_count(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, look_back="1h", **TIERS)
    for night in range(3):
        filled(world, begin=BEGIN + night * DAY, tiers=frozenset({"indexes", "flex"}))
    world.datadog.events.append(event("late", BEGIN + HOUR, THREE + HOUR, kind="logs"))
    for night in range(2):
        world.night(THREE + night * DAY)
        assert ("late" in world.uids()) == (night == 1)
    assert request_of(world)["window"][0] == "2025-06-01T00:00:00Z"
    assert request_of(world)["counted"]["2025-06-01"] == 51


def test_datadog_counts_logs_and_agreement_is_proof(tmp_path: Path) -> None:
    """Logs that lie in two tiers are counted twice there and are one event here."""
    world = DatadogWorld(tmp_path, **TIERS)
    for night in range(3):
        begin = BEGIN + night * DAY
        filled(world, 35, begin=begin, tiers=frozenset({"indexes", "flex"}))
        filled(world, 35, begin=begin + 12 * HOUR, tiers=frozenset({"flex"}))
        world.night(THREE + night * DAY)
    assert request_of(world)["tallies"]["2025-06-03"] == 105
    assert request_of(world)["counted"]["2025-06-03"] == 70
    assert world.verdict((BEGIN + 2 * DAY).date())[0] == "proven"


def test_logs_of_another_system_are_its_events_and_still_held_against_the_count(tmp_path: Path) -> None:
    form = [{"format": "cloudtrail", "when": {"source": "cloudtrail"}}, {"format": "datadog_audit"}]
    world = DatadogWorld(tmp_path, form=form, **LOGS)
    for night in range(3):
        for n in range(60):
            at = BEGIN + night * DAY + n * 20 * MINUTE + MINUTE
            trail = {"eventVersion": "1.08", "eventID": f"e-{night}-{n}", "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}", "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "awsRegion": "eu-central-1"}  # fmt: skip
            said = {"message": json.dumps(trail), "tags": ["source:cloudtrail"]} if n % 2 else {"message": "GET /"}
            world.datadog.events.append(event(f"{night}-{n}", at, kind="logs", attributes=said))
        world.night(THREE + night * DAY)
    assert world.verdict((BEGIN + 2 * DAY).date())[0] == "proven"
    assert world.rows("SELECT class_uid, count(*)::INT FROM events GROUP BY 1 ORDER BY 1") == [(0, 90), (6003, 90)]
    assert world.rows("SELECT count(*)::INT FROM events WHERE api_operation = 'GetObject'") == [(90,)]


def test_fewer_logs_than_datadog_counts_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = DatadogWorld(tmp_path, **LOGS)
    for night in range(2):
        filled(world, 70, begin=BEGIN + night * DAY)
        world.night(THREE + night * DAY)
    filled(world, 70, begin=BEGIN + 2 * DAY)
    search = world.datadog._search
    monkeypatch.setattr(world.datadog, "_search", lambda kind, given, fault: (found := search(kind, given, fault)) | {"data": [one for one in found["data"] if one["id"] != "0150"]})  # fmt: skip
    world.night(THREE + 2 * DAY)
    verdict, reasons = world.verdict((BEGIN + 2 * DAY).date())
    assert verdict == "partial"
    assert "1 are missing" in reasons["mismatch"]


def test_the_audit_trail_has_no_count_and_logs_prove_nothing_of_it(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, reads=["audit", "logs"])
    filled(world)
    world.datadog.events.append(event("log", BEGIN + HOUR, kind="logs"))
    world.night(THREE)
    assert (world.asked["count"], request_of(world)["counted"], len(world.uids())) == (0, {}, 51)


def test_a_collector_that_slept_longer_than_the_retention_says_what_is_lost(audit: DatadogWorld) -> None:
    audit.settings.sources[SOURCE].options["retention"] = "3d"
    filled(audit)
    audit.night(THREE)
    gone = THREE + 8 * DAY
    audit.datadog.events = [event(f"c{n}", BEGIN + 6 * DAY + n * HOUR, kind=audit.datadog.events[0].kind, gone=gone) for n in range(60)]  # fmt: skip
    audit.night(THREE + 7 * DAY)
    assert request_of(audit)["horizon_s"] == 3 * 86_400
    audit.night(THREE + 7 * DAY + HOUR)
    for day in range(1, 5):
        verdict, reasons = audit.verdict((BEGIN + day * DAY).date())
        assert verdict in ("partial", "missing")
        assert "may have been deleted unread" in reasons["source_partial"]
    assert "source_partial" not in audit.verdict((BEGIN + 6 * DAY).date())[1]


def test_a_retention_that_is_shorter_than_configured_is_noticed(tiers: DatadogWorld) -> None:
    filled(tiers)
    tiers.night(THREE)
    kind = tiers.datadog.events[0].kind
    tiers.datadog.events = [event(f"b{n}", BEGIN + 3 * DAY + n * HOUR, kind=kind) for n in range(20)]
    tiers.night(THREE + 3 * DAY)
    verdict, reasons = tiers.verdict((BEGIN + 2 * DAY).date())
    assert verdict in ("partial", "missing")
    assert "is gone: set options.retention as it is at Datadog" in reasons["source_partial"]


@pytest.mark.parametrize("fault", ["timeout", "warning"])
def test_an_oldest_event_that_was_not_looked_for_everywhere_tells_nothing(audit: DatadogWorld, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    filled(audit)
    audit.collect(THREE)
    audit.datadog.plan = [("edge", fault)]
    answer = audit.datadog._search
    monkeypatch.setattr(audit.datadog, "_search", lambda kind, given, fault: answer(kind, given, fault) | ({"data": []} if fault else {}))  # fmt: skip
    audit.collect(THREE + DAY)
    assert audit.fired == {fault: 1}
    assert request_of(audit)["oldest"] == {"audit": "2025-06-01T00:01:00Z"}
    assert "unread" not in request_of(audit)


def test_a_start_that_is_moved_back_leaves_alone_what_was_read(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, retention="3d")
    filled(world)
    world.collect(THREE)
    world.settings = world.settings.model_copy(update={"start": dt.date(2025, 5, 25)})
    world.collect(THREE + DAY)
    assert [(one["from"], one["to"]) for one in request_of(world)["unread"]] == [
        ("2025-05-25T00:00:00Z", "2025-05-31T02:55:00Z")
    ]
    assert request_of(world)["window"][0] == "2025-05-25T00:00:00Z"


def test_a_quiet_organisation_whose_events_are_forgotten_in_time_loses_nothing(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path, retention="3d")
    world.datadog.events = [event("once", BEGIN + HOUR, gone=BEGIN + HOUR + 3 * DAY)]
    for night in range(6):
        world.collect(THREE + night * DAY)
    assert not [entry.sequence for entry in manifest.entries(world.lake, SOURCE) if entry.request.get("unread")]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_loses_nothing_and_is_named(tmp_path: Path, hours: int) -> None:
    world = DatadogWorld(tmp_path, look_back="10m")
    world.datadog.skew = dt.timedelta(hours=hours)
    stamp = BEGIN + DAY + 2 * HOUR
    world.datadog.events = [event(n, stamp + world.datadog.skew + n * MINUTE, stamp + n * MINUTE + MINUTE) for n in range(120)]  # fmt: skip
    got = world.night(THREE)
    assert codes(got) == ["future"]
    assert f"{abs(hours) * 3600} s" in got.remarks[0].detail
    world.night(THREE + DAY)
    assert len(world.uids()) == 120


def test_another_selection_is_read_from_its_start_and_marks_no_day_again(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path)
    filled(world)
    world.collect(THREE)
    again = DatadogWorld(tmp_path, query="service:shop")
    again.datadog.events = world.datadog.events
    again.collect(THREE + DAY)
    assert request_of(again)["window"][0] == "2025-06-01T00:00:00Z"
    assert "unread" not in request_of(again)


@pytest.mark.parametrize("request_number", range(1, 9))
def test_killed_at_any_request_nothing_is_lost_or_doubled(tiers: DatadogWorld, request_number: int) -> None:
    ids = filled(tiers)

    def die(kind: str) -> None:
        if tiers.asked.total() == request_number:
            raise KilledError

    tiers.before = die
    with contextlib.suppress(KilledError):
        tiers.collect(THREE)
    tiers.before = None
    tiers.collect(THREE + MINUTE)
    assert received(tiers) == ids
    assert tiers.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert verify(tiers.lake)[0] == []


def test_the_secrets_are_in_no_output(world: DatadogWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Datadog repeats the key in its refusal; nothing of it comes through, neither to files nor to messages."""
    filled(world)
    (tmp_path / "app").write_text("wrong-but-secret")
    got = world.night(THREE)
    assert "403" in (got.failed or "")
    probes = world.open().probe()
    (tmp_path / "app").unlink()
    said = [got.failed, str(probes), repr(world.open), caplog.text, world.night(THREE + HOUR).failed]
    stored = [path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    secrets = ["wrong-but-secret", API_KEY, APP_KEY]
    assert not [text for text in said for secret in secrets if secret in (text or "")]
    assert not [data for data in stored for secret in secrets if secret.encode() in data]
    assert any(b"***" in data for data in stored)


ROLES = {"admins": ["audit_logs_write", "audit_logs_read", "logs_delete_data", "logs_modify_indexes"], "readers": ["logs_read_data", "dashboards_read"]}  # fmt: skip
USERS: list[dict[str, Any]] = [
    {"email": "ann@example.com", "roles": ["admins", "readers"]}, {"email": "gone@example.com", "roles": ["admins"], "disabled": True},
    {"email": "bot@example.com", "roles": ["readers"], "service_account": True}, *({"email": f"{n}@example.com", "roles": []} for n in range(250)),
]  # fmt: skip


def test_who_may_do_what_is_collected_for_what_is_read(world: DatadogWorld) -> None:
    filled(world)
    world.datadog.roles, world.datadog.users = ROLES, USERS
    world.collect(THREE)
    found = {tuple(one) for one in request_of(world)["access"]}
    if world.settings.sources[SOURCE].options.get("reads") == ["logs"]:
        assert found == {
            ("role:admins", "delete", "logs_delete_data"), ("role:admins", "retention", "logs_modify_indexes"), ("role:admins", "stop", "logs_modify_indexes"),
            ("role:readers", "read", "logs_read_data"), ("service_account:bot@example.com", "read", "role:readers, logs_read_data"),
            ("user:ann@example.com", "delete", "role:admins, logs_delete_data"), ("user:ann@example.com", "retention", "role:admins, logs_modify_indexes"),
            ("user:ann@example.com", "stop", "role:admins, logs_modify_indexes"), ("user:ann@example.com", "read", "role:readers, logs_read_data"),
        }  # fmt: skip
    else:
        assert {(who, right) for who, right, _ in found} == {(who, right) for who in ("role:admins", "user:ann@example.com") for right in ("read", "stop", "retention")}  # fmt: skip


def test_the_last_of_many_users_is_seen(tmp_path: Path) -> None:
    world = DatadogWorld(tmp_path)
    world.datadog.roles, world.datadog.users = ROLES, [*USERS[3:], USERS[0]]
    source = world.open()
    assert isinstance(source, Reviewable)
    assert "user:ann@example.com" in {grant.principal for grant in source.access()}


def test_a_refused_review_names_the_right_and_harms_nothing(audit: DatadogWorld) -> None:
    ids = filled(audit)
    audit.datadog.scopes -= {"user_access_read"}
    got = audit.night(THREE)
    assert (got.remarks, audit.uids()) == ([], ids)
    assert "lacks user_access_read" in request_of(audit)["access_refused"]
    assert "checkpoint" in request_of(audit)


def test_a_review_that_nobody_answers_keeps_nobody_waiting(audit: DatadogWorld) -> None:
    filled(audit)
    audit.datadog.plan = [("list", "503")] * 50
    got = audit.collect(THREE)
    assert (got.remarks, audit.fired) == ([], {"503": 3})
    assert "503" in request_of(audit)["access_refused"]


def by_name(world: DatadogWorld) -> dict[str, tuple[bool, str]]:
    world.now = THREE
    return {probe.what: (probe.ok, probe.detail) for probe in world.open().probe()}


def test_check_tells_identity_rights_newest_and_horizon(world: DatadogWorld) -> None:
    filled(world, tiers=frozenset({"indexes", "flex"}))
    found = by_name(world)
    assert [ok for ok, _ in found.values()] == [True] * len(found)
    assert {"reach", "identity", "clock", "rights", "horizon", "access review"} < found.keys()
    newest = [detail for what, (_, detail) in found.items() if what.startswith("newest record of")]
    assert "2025-06-01T16:21:00Z, 10.7 h before" in newest[0]
    assert found["horizon"][1].startswith("7 days" if "newest record of audit" in found else "15 days")


@pytest.mark.parametrize(
    ("change", "what", "words"),
    [
        (lambda stub: setattr(stub, "skew", -HOUR), "clock", "3600 s behind"),
        (lambda stub: setattr(stub, "scopes", frozenset()), "rights", "Ask for a service account with a role that has"),
        (lambda stub: stub.events.clear(), "newest record of", "there is none"),
        (lambda stub: stub.plan.append(("validate", "forbidden")), "identity", "the API key is refused"),
    ],
)  # fmt: skip
def test_check_names_what_is_lacking(world: DatadogWorld, change: Callable[[Any], None], what: str, words: str) -> None:
    filled(world)
    change(world.datadog)
    ok, detail = next(found for name, found in by_name(world).items() if name.startswith(what))
    assert not ok
    assert words in detail


@pytest.mark.parametrize(("url", "ok"), [("https://api.datadoghq.eu", True), ("https://api.ddog-gov.com", True), ("https://app.datadoghq.com", False), ("https://datadoghq.com", False), ("https://api.datadoghq.com.example", False)])  # fmt: skip
def test_check_knows_the_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, ok: bool) -> None:
    monkeypatch.setattr("audit_pipeline_tests.sources.datadog_world.URL", url)
    found = by_name(DatadogWorld(tmp_path))
    assert found["reach"][0] is ok
    assert ok or "datadoghq.eu" in found["reach"][1]


def test_the_example_is_of_this_type() -> None:
    import yaml

    source = SourceSettings.model_validate(yaml.safe_load(datadog.EXAMPLE)["datadog_audit"])
    options = datadog.Options.model_validate(source.options)
    assert (source.type, source.format, options.kept) == ("datadog", "datadog_audit", dt.timedelta(days=7))
