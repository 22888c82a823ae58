"""An API server's audit log is collected to the last line, however it rotates; what was dropped or deleted is a fact."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.errors import UserError
from audit_pipeline.lake import manifest, raw
from audit_pipeline.lake.raw import Item
from audit_pipeline.lake.verify import verify
from audit_pipeline.settings import Settings
from audit_pipeline.sources import _kubernetes_log
from audit_pipeline.sources._kubernetes_log import RotatedLog
from audit_pipeline.sources._kubernetes_probe import ROLES, left_out
from audit_pipeline.sources.collect import Collected, source_of
from audit_pipeline.sources.identity import Found
from audit_pipeline_tests.sources.kubernetes_world import KubernetesWorld
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR, KilledError
from audit_pipeline_tests.stubs.kubernetes import SECRET, event
from audit_pipeline_tests.test_docs import blocks

MINUTE = dt.timedelta(minutes=1)
THREE = BEGIN + DAY + 3 * HOUR
"""The night after the first day."""


@pytest.fixture
def world(tmp_path: Path) -> KubernetesWorld:
    return KubernetesWorld(tmp_path)


def usual(world: KubernetesWorld, name: str, begin: dt.datetime, n: int = 70) -> list[str]:
    """A day's events, twenty minutes apart; their ids."""
    names = [f"{name}-{k:03d}" for k in range(n)]
    for k, one in enumerate(names):
        world.happen(one, at=begin + k * 20 * MINUTE)
    return names


def codes(got: Collected) -> list[str]:
    return [remark.code for remark in got.remarks]


def unread(world: KubernetesWorld) -> list[tuple[str, str]]:
    return [(one["from"], one["to"]) for one in world.request().get("unread", [])]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
def test_every_line_is_one_event_through_rotations(tmp_path: Path, compress: bool) -> None:
    world = KubernetesWorld(tmp_path, compress=compress)
    names: list[str] = []
    for night in range(4):
        names += usual(world, f"a{night}", BEGIN + night * DAY)
        world.server.now = BEGIN + night * DAY + 23 * HOUR + 30 * MINUTE
        if night != 1:
            world.server.rotate()
        names += usual(world, f"b{night}", BEGIN + (night + 1) * DAY - 25 * MINUTE, 1)
        assert world.night(THREE + night * DAY).remarks == []
    assert world.uids() == sorted(names)
    assert world.rows("SELECT sum(x_duplicates)::INT, sum(x_records)::INT FROM events") == [(0, len(names))]
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert (unread(world), verify(world.lake)[0]) == ([], [])
    assert world.verdict((BEGIN + 3 * DAY).date())[0] == "no_gap_seen"


def test_what_was_collected_is_told_in_the_entry(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.server.now = BEGIN + 23 * HOUR + 30 * MINUTE
    world.server.rotate()
    world.happen("b", at=BEGIN + DAY - MINUTE)
    world.collect(THREE)
    told = world.request()
    assert (told["checkpoint"], told["oldest"], told["newest"]) == ("2025-06-02T03:00:00Z", "2025-06-01T00:00:00Z", "2025-06-01T23:59:00Z")  # fmt: skip
    assert [told["counters"][name] for name in ("events", "errors", "rejected", "lines", "short")] == [71, {}, 0, 71, 0]
    assert told["access"] == []


def test_copies_deleted_before_they_were_read_are_said_for_good(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, maxbackup=1, http=False)
    usual(world, "a", BEGIN)
    world.night(THREE)
    for n in range(3):
        world.happen(f"b{n}", at=THREE + (6 * n + 1) * HOUR)
        world.server.now += HOUR
        world.server.rotate()
    world.happen("c", at=THREE + 20 * HOUR)
    got = world.night(THREE + DAY)
    assert (unread(world), got.remarks) == ([("2025-06-02T03:00:00Z", "2025-06-02T16:00:00Z")], [])
    world.happen("d", at=THREE + DAY + HOUR)
    world.night(THREE + 2 * DAY)
    assert unread(world) == []
    verdict, reasons = world.verdict((BEGIN + DAY).date())
    assert verdict == "partial"
    assert "may have been deleted unread" in reasons["source_partial"]
    assert "source_partial" not in world.verdict((BEGIN + 2 * DAY).date())[1]


def test_an_emptied_folder_is_said(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, http=False)
    usual(world, "a", BEGIN)
    world.collect(THREE)
    world.server.log.unlink()
    world.collect(THREE + DAY)
    assert unread(world) == [("2025-06-02T03:00:00Z", "2025-06-03T03:00:00Z")]


def test_deletion_of_what_was_read_is_no_loss_and_tells_the_horizon(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, maxbackup=1)
    for night in range(3):
        usual(world, f"a{night}", BEGIN + night * DAY)
        world.collect(THREE + night * DAY)
        kept = (2 * DAY - MINUTE).total_seconds() if night == 2 else None
        assert (unread(world), world.request().get("horizon_s")) == ([], kept)
        world.server.rotate()
        world.happen(f"b{night}", at=THREE + night * DAY + MINUTE)
    world.collect(THREE + 3 * DAY)
    assert (unread(world), world.request()["oldest"]) == ([], "2025-06-03T03:01:00Z")
    assert world.request()["horizon_s"] == (2 * DAY - MINUTE).total_seconds()
    world.collect(THREE + 4 * DAY)
    assert world.request()["horizon_s"] == (2 * DAY - MINUTE).total_seconds()


def test_a_rotated_log_that_is_packed_is_not_taken_twice_nor_half(world: KubernetesWorld) -> None:
    """The packed copy grows beside the plain one, which is removed at the end."""
    names = usual(world, "a", BEGIN)
    copy = world.server.rotate()
    packed = gzip.compress(copy.read_bytes(), mtime=0)
    copy.with_name(copy.name + ".gz").write_bytes(packed[: len(packed) // 2])
    got = world.night(THREE)
    assert ([Path(m.name).name for e in got.entries for m in e.members], got.remarks) == ([copy.name], [])
    copy.unlink()
    copy.with_name(copy.name + ".gz").write_bytes(packed)
    assert world.night(THREE + HOUR).members == 0
    assert (world.uids(), unread(world)) == (names, [])


def test_a_log_that_was_just_begun_or_emptied_is_no_fault_of_its_own(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.night(THREE)
    world.server.now = THREE + HOUR
    world.server.rotate()
    world.night(THREE + DAY)
    assert (world.rows("SELECT count(*)::INT FROM rejects"), unread(world)) == ([(0,)], [])
    for copy in world.server.copies():
        copy.unlink()
    world.night(THREE + 2 * DAY)
    assert len(unread(world)) == 1


def test_a_copy_that_is_packed_between_listing_and_reading_is_taken_the_next_time(world: KubernetesWorld) -> None:
    names = usual(world, "a", BEGIN)
    copy = world.server.rotate()
    world.happen("b", at=THREE - HOUR)
    world.listed = lambda: copy.exists() and world.server.pack(copy)
    got = world.night(THREE)
    assert (codes(got), "checkpoint" in world.request(), world.uids()) == (["source_partial"], False, ["b"])
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert world.night(THREE + HOUR).remarks == []
    assert (world.uids(), unread(world)) == ([*names, "b"], [])


def test_a_copy_that_is_deleted_between_listing_and_reading_is_lost_and_said(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.collect(THREE)
    world.happen("b", at=THREE + HOUR)
    copy = world.server.rotate()
    world.happen("c", at=THREE + 20 * HOUR)
    world.listed = lambda: copy.unlink(missing_ok=True)
    assert codes(world.collect(THREE + DAY)) == ["source_partial"] * 2  # a line is short, and a file is gone
    world.collect(THREE + DAY + HOUR)
    assert ("2025-06-02T03:00:00Z", "2025-06-02T23:00:00Z") in unread(world)


def test_a_file_that_cannot_be_opened_is_not_taken_for_deleted(
    world: KubernetesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual(world, "a", BEGIN)
    world.server.rotate()
    world.happen("b", at=THREE - HOUR)
    world.collect(THREE)
    (copy,), first = world.server.copies(), _kubernetes_log._first

    def refused(file: Any) -> Any:
        if file.path == str(copy):
            raise PermissionError(13, "Permission denied")
        return first(file)

    world.server.rotate()
    world.happen("c", at=THREE + 20 * HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(_kubernetes_log, "_first", refused)
        got = world.collect(THREE + DAY)
        assert (codes(got), unread(world), "checkpoint" in world.request()) == (["source_partial"], [], False)
    assert (world.collect(THREE + DAY + HOUR).remarks, unread(world)) == ([], [])


def test_a_pipe_among_the_files_is_named_and_not_waited_for(world: KubernetesWorld) -> None:
    names = usual(world, "a", BEGIN)
    os.mkfifo(world.root / "logs" / "audit-pipe.log")
    os.utime(world.root / "logs" / "audit-pipe.log", (BEGIN.timestamp(), BEGIN.timestamp()))
    world.night(THREE)
    assert (world.uids(), world.rows("SELECT reason FROM rejects")) == (names, [("unreadable",)])


def test_a_first_event_with_a_large_body_is_read_to_its_own_stamp(world: KubernetesWorld) -> None:
    """The body quotes another stamp, and pushes the event's own beyond the first bytes that are read."""
    body = {"stageTimestamp": "2020-01-01T00:00:00.000000Z", "data": "x" * 200_000}
    one = event("a", BEGIN + HOUR)
    times = {name: one.pop(name) for name in ("requestReceivedTimestamp", "stageTimestamp")}
    world.server.now = BEGIN + HOUR
    world.server.write(one | {"requestObject": body} | times)
    world.collect(THREE)
    assert world.request()["oldest"] == "2025-06-01T01:00:00Z"


# The counters


@pytest.mark.parametrize("fault", ["503", "429", "refused", "cut", "content_type", "slow"])
def test_trouble_of_the_counters_that_passes_is_waited_for(world: KubernetesWorld, fault: str) -> None:
    names = usual(world, "a", BEGIN)
    world.server.plan = [("metrics", fault)] * 2
    got = world.collect(THREE)
    assert (world.fired, got.remarks, world.request()["counters"]["events"]) == ({fault: 2}, [], len(names))


@pytest.mark.parametrize("fault", ["503", "429", "refused", "cut", "content_type", "slow", "unauthorized", "forbidden", "no_audit", "short", "odd_value"])  # fmt: skip
@pytest.mark.parametrize("reading", [1, 2])
def test_counters_that_cannot_be_read_lower_the_day_and_lose_no_line(
    world: KubernetesWorld, fault: str, reading: int
) -> None:
    """They are asked for before the files and after them; asked again, all is known, since counters go on."""
    usual(world, "a", BEGIN)
    world.collect(THREE)
    usual(world, "b", BEGIN + DAY)
    before = world.asked["metrics"]

    def spoil(_: str) -> None:
        if world.asked["metrics"] >= before + reading:
            world.server.plan = [("metrics", fault)]

    world.server.before = spoil
    got = world.collect(THREE + DAY)
    world.server.before, world.server.plan = None, []
    assert (codes(got), world.fired[fault] >= 1, "counters" in world.request()) == (["source_partial"], True, False)
    assert "not known whether it dropped events" in got.remarks[0].detail
    assert got.bytes > 0
    assert (world.collect(THREE + DAY + HOUR).remarks, world.request()["counters"]["events"]) == ([], 140)


def test_a_day_without_counters_is_partial_until_they_are_read(world: KubernetesWorld) -> None:
    for night in range(3):
        usual(world, f"{night}", BEGIN + night * DAY)
        world.server.plan = [("metrics", "503")] * 3 * (night == 2)
        world.night(THREE + night * DAY)
    assert world.verdict((BEGIN + 2 * DAY).date())[0] == "partial"
    world.night(THREE + 2 * DAY + HOUR)
    assert world.verdict((BEGIN + 2 * DAY).date())[0] == "no_gap_seen"


def test_without_http_the_log_is_collected_and_nothing_is_said_of_drops(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, http=False)
    for night in range(3):
        usual(world, f"{night}", BEGIN + night * DAY)
        world.server.drop(5)
        assert world.night(THREE + night * DAY).remarks == []
    assert (world.asked.total() - world.asked["item"], world.verdict((BEGIN + 2 * DAY).date())[0]) == (0, "no_gap_seen")
    assert "needs the section http" in world.request()["access_refused"]


def test_events_that_the_server_dropped_are_said_for_good_with_their_number(world: KubernetesWorld) -> None:
    for night in range(4):
        usual(world, f"{night}", BEGIN + night * DAY)
        if night == 2:
            world.server.drop(7)
            world.server.errors["webhook"] = 3
            world.server.rejected = 2
        got = world.night(THREE + night * DAY)
        assert got.remarks == []
        assert unread(world) == ([("2025-06-03T03:00:00Z", "2025-06-04T03:00:00Z")] if night == 2 else [])
    verdict, reasons = world.verdict((BEGIN + 2 * DAY).date())
    assert (verdict, "dropped 7 audit events" in reasons["source_partial"]) == ("partial", True)
    assert world.request()["counters"]["errors"] == {"buffered": 7, "webhook": 3}


def test_drops_before_the_first_reading_may_be_of_any_day_since_the_process_began(world: KubernetesWorld) -> None:
    world.server.drop(2, "log")
    usual(world, "a", BEGIN)
    world.collect(THREE)
    assert unread(world) == [("2025-05-23T00:00:00Z", "2025-06-02T03:00:00Z")]


def test_what_only_the_webhook_lost_is_in_the_log(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.server.errors["webhook"] += 9
    assert (world.collect(THREE).remarks, unread(world)) == ([], [])


def test_after_a_restart_counters_begin_anew(world: KubernetesWorld) -> None:
    for night in range(4):
        usual(world, f"{night}", BEGIN + night * DAY)
        if night == 2:
            world.server.now = BEGIN + night * DAY + 23 * HOUR + 30 * MINUTE
            world.server.restart()
            world.server.drop(4)
            world.happen("after", at=world.server.now)
        got = world.night(THREE + night * DAY)
        assert codes(got) == (["restarted"] if night == 2 else [])
        assert unread(world) == ([("2025-06-03T23:30:00Z", "2025-06-04T03:00:00Z")] if night == 2 else [])
    assert "what it dropped between 2025-06-03T03:00:00Z and its end is not known" in world.verdict((BEGIN + 2 * DAY).date())[1]["restarted"]  # fmt: skip


def test_a_restart_alone_lowers_no_day(world: KubernetesWorld) -> None:
    for night in range(3):
        usual(world, f"{night}", BEGIN + night * DAY)
        world.server.restart()
        world.night(THREE + night * DAY)
    assert (world.verdict((BEGIN + 2 * DAY).date())[0], unread(world)) == ("no_gap_seen", [])


def test_a_new_process_has_no_fewer_lines_than_it_counts(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.collect(THREE)
    world.server.now = THREE + HOUR
    world.server.restart()
    usual(world, "b", BEGIN + DAY + 4 * HOUR, 40)
    world.server.events += 6
    assert sorted(codes(world.collect(THREE + DAY))) == ["restarted", "source_partial"]
    world.collect(THREE + 2 * DAY)
    assert unread(world) == [("2025-06-02T03:00:00Z", "2025-06-03T03:00:00Z")]


def test_another_server_behind_the_address_is_named(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.collect(THREE)
    own = (world.server.started, world.server.events)
    usual(world, "b", BEGIN + DAY)
    world.server.started, world.server.events = BEGIN - 30 * DAY, 99_999
    got = world.collect(THREE + DAY)
    assert (codes(got), "load balancer" in got.remarks[0].detail, "counters" in world.request()) == (["source_partial"], True, False)  # fmt: skip
    world.server.started, world.server.events = own[0], own[1] + 70
    assert (world.collect(THREE + 2 * DAY).remarks, unread(world)) == ([], [])


def test_two_servers_in_turns_are_noticed_within_one_collection(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)

    def other(_: str) -> None:
        world.server.started = (world.server.started or BEGIN) - DAY

    world.server.before = other
    assert codes(world.collect(THREE)) == ["source_partial"]


def test_fewer_lines_than_events_are_a_remark_and_then_lost(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.collect(THREE)
    usual(world, "b", BEGIN + DAY)
    world.server.events += 5
    got = world.collect(THREE + DAY)
    assert (codes(got), unread(world)) == (["source_partial"], [])
    assert "5 events more than its log has" in got.remarks[0].detail
    usual(world, "c", BEGIN + 2 * DAY)
    got = world.collect(THREE + 2 * DAY)
    assert (got.remarks, unread(world)) == ([], [("2025-06-02T03:00:00Z", "2025-06-03T03:00:00Z")])
    usual(world, "d", BEGIN + 3 * DAY)
    assert (world.collect(THREE + 3 * DAY).remarks, unread(world)) == ([], [])


def test_events_that_were_only_queued_are_no_loss(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.collect(THREE)
    world.server.events += 3
    assert codes(world.collect(THREE + DAY)) == ["source_partial"]
    world.server.events -= 3
    world.happen("q1", "q2", "q3", at=THREE + DAY - MINUTE)
    assert (world.collect(THREE + DAY + HOUR).remarks, unread(world)) == ([], [])


def test_lines_of_a_packed_copy_count(tmp_path: Path) -> None:
    world = KubernetesWorld(tmp_path, compress=True)
    usual(world, "a", BEGIN)
    world.collect(THREE)
    usual(world, "b", BEGIN + DAY)
    world.server.rotate()
    assert (world.collect(THREE + DAY).remarks, world.request()["counters"]["lines"]) == ([], 70)


def test_lines_that_a_killed_collection_took_are_not_missed(world: KubernetesWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    usual(world, "a", BEGIN)
    world.night(THREE)
    monkeypatch.setattr(raw, "SEGMENT_MEMBERS", 1)
    names = usual(world, "b", BEGIN + DAY)
    world.server.rotate()
    for n, name in enumerate("cde"):
        world.happen(name, at=THREE + (21 + n) * HOUR)
        world.server.rotate()

    def die(kind: str) -> None:
        if kind == "item" and world.asked["item"] == 5:
            raise KilledError

    world.before = die
    with contextlib.suppress(KilledError):
        world.collect(THREE + DAY)
    world.before = None
    assert manifest.entries(world.lake, world.source)[-1].request == {}
    assert (world.night(THREE + DAY + HOUR).remarks, unread(world)) == ([], [])
    assert world.uids()[-73:] == [*names, "c", "d", "e"]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_is_named(world: KubernetesWorld, hours: int) -> None:
    usual(world, "a", BEGIN)
    world.server.skew = hours * HOUR
    got = world.collect(THREE)
    assert (codes(got), f"{2 * 3600} s {'ahead' if hours > 0 else 'behind'}" in got.remarks[0].detail) == (["future"], True)  # fmt: skip


def test_a_server_that_does_not_tell_its_time(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.server.date = False
    assert (world.collect(THREE).remarks, world.request()["counters"]["read"]) == ([], "2025-06-02T03:00:00Z")


# Policy


def test_a_change_of_the_policy_is_said_beside_the_verdict(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    world = KubernetesWorld(tmp_path, policy="policy.yaml")
    for night in range(4):
        policy.write_text(f"rules: [{{level: {'Metadata' if night < 2 else 'None'}}}]")
        usual(world, f"{night}", BEGIN + night * DAY)
        assert codes(world.night(THREE + night * DAY)) == (["policy_changed"] if night == 2 else [])
        assert world.request()["policy"] == hashlib.sha256(policy.read_bytes()).hexdigest()
    verdict, reasons = world.verdict((BEGIN + 2 * DAY).date())
    assert (verdict, "between 2025-06-03T03:00:00Z and 2025-06-04T03:00:00Z" in reasons["policy_changed"]) == ("no_gap_seen", True)  # fmt: skip


def test_a_policy_that_cannot_be_read_is_said_and_compared_when_it_is_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    world = KubernetesWorld(tmp_path, policy="policy.yaml")
    usual(world, "a", BEGIN)
    policy.write_text("rules: [{level: Metadata}]")
    world.collect(THREE)
    policy.unlink()
    assert world.collect(THREE + HOUR).remarks == []
    assert "cannot be read (No such file or directory)" in world.request()["policy_refused"]
    policy.write_text("rules: []")
    assert "was changed between 2025-06-02T03:00:00Z" in world.collect(THREE + 2 * HOUR).remarks[0].detail


# Who may do what


def _role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def _bound(name: str, role: str, *subjects: tuple[str, str], kind: str = "ClusterRole") -> dict[str, Any]:
    found = [{"kind": what, "name": who} | ({"namespace": "ops"} if what == "ServiceAccount" else {}) for what, who in subjects]  # fmt: skip
    return {"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": found}  # fmt: skip


def test_who_reaches_the_log_is_collected(world: KubernetesWorld) -> None:
    usual(world, "a", BEGIN)
    world.server.roles = {
        "ClusterRoleList": [
            _role("cluster-admin", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}),
            _role("kubelet-logs", {"apiGroups": [""], "resources": ["nodes/log"], "verbs": ["get"]}),
            _role("view", {"apiGroups": ["", "apps"], "resources": ["pods", "pods/log", "nodes"], "verbs": ["get", "list", "watch"]}),
            _role("any-exec", {"apiGroups": [""], "resources": ["*/exec"], "verbs": ["create"]}),
            _role("elsewhere", {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["create"]}),
        ],
        "ClusterRoleBindingList": [
            _bound("admins", "cluster-admin", ("Group", "system:masters")),
            _bound("agents", "kubelet-logs", ("ServiceAccount", "agent")),
            _bound("viewers", "view", ("User", "vic")),
            _bound("others", "elsewhere", ("User", "otto")),
            _bound("dangling", "gone", ("User", "gus")),
        ],
        "RoleList": [_role("deployer", {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]})],
        "RoleBindingList": [_bound("d", "deployer", ("User", "dan"), kind="Role"), _bound("e", "any-exec", ("User", "eve"))],
    }  # fmt: skip
    world.collect(THREE)
    found: dict[str, list[str]] = {}
    for who, right, _ in world.request()["access"]:
        found.setdefault(who, []).append(right)
    assert found == {
        "group:system:masters": ["delete", "read", "retention", "stop", "write"], "serviceaccount:ops/agent": ["read"],
        "user:dan": ["delete", "read", "retention", "stop", "write"], "user:eve": ["delete", "read", "write"],
    }  # fmt: skip
    assert ["serviceaccount:ops/agent", "read", "ClusterRole kubelet-logs by binding agents"] in world.request()["access"]  # fmt: skip


@pytest.mark.parametrize("right", ["clusterroles", "clusterrolebindings", "roles", "rolebindings"])
def test_a_review_that_is_refused_names_the_right_and_harms_nothing(world: KubernetesWorld, right: str) -> None:
    usual(world, "a", BEGIN)
    world.server.rights -= {right}
    assert world.collect(THREE).remarks == []
    assert f"Lacking: list on {right} of rbac.authorization.k8s.io" in world.request()["access_refused"]


# Check


def _second_folder(world: KubernetesWorld) -> None:
    other = world.root / "logs-2" / "audit.log"
    other.parent.mkdir()
    other.write_bytes(world.server.log.read_bytes())
    source = world.settings.sources[world.source].model_copy(update={"paths": ["logs*/audit*.log*"]})
    world.settings = world.settings.model_copy(update={"sources": {world.source: source}})


def by_name(world: KubernetesWorld, at: dt.datetime = THREE) -> dict[str, tuple[bool, str]]:
    world.now = at
    return {probe.what: (probe.ok, probe.detail) for probe in world.open().probe()}


def test_check_tells_files_identity_rights_clock_counters_and_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("rules: [{level: Metadata}]")
    world = KubernetesWorld(tmp_path, policy="policy.yaml")
    usual(world, "a", BEGIN)
    found = by_name(world)
    assert {name: ok for name, (ok, _) in found.items()} == dict.fromkeys(["paths", "read", "horizon", "reach", "identity", "rights", "clock", "counters", "policy"], True)  # fmt: skip
    assert "2025-06-01T00:00:00Z, the log was written last at 2025-06-01T23:00:00Z" in found["horizon"][1]
    assert found["identity"][1] == "system:serviceaccount:audit:pipeline"
    assert "70 events since 2025-05-23T00:00:00Z, 0 dropped" in found["counters"][1]


@pytest.mark.parametrize(
    ("change", "what", "words"),
    [
        (lambda world: setattr(world.server, "rights", frozenset({"/metrics"})), "rights", "lacking: list clusterroles, list clusterrolebindings, list roles, list rolebindings. Ask for kind: ClusterRole"),
        (lambda world: setattr(world.server, "rights", world.server.rights - {"/metrics"}), "counters", "nonResourceURLs: [/metrics]"),
        (lambda world: setattr(world.server, "skew", -HOUR), "clock", "3600 s behind"),
        (lambda world: setattr(world.server, "events", 0), "counters", "is http.url the API server that writes this log?"),
        (lambda world: world.server.drop(3), "counters", "3 dropped"),
        (lambda world: world.server.plan.append(("version", "refused")), "reach", "Connection refused"),
        (lambda world: world.server.log.unlink(), "paths", "0 files match"),
        (lambda world: _second_folder(world), "one server", "one source for each API server"),
        (lambda world: world.root.joinpath("policy.yaml").write_text("rules: 3"), "policy", "cannot be read as an audit policy"),
    ],
    ids=["rights", "metrics", "clock", "no events", "dropped", "unreachable", "no files", "two servers", "policy"],
)  # fmt: skip
def test_check_names_what_is_lacking(tmp_path: Path, change: Callable[[Any], object], what: str, words: str) -> None:
    (tmp_path / "policy.yaml").write_text("rules: [{level: Metadata}]")
    world = KubernetesWorld(tmp_path, policy="policy.yaml")
    usual(world, "a", BEGIN)
    change(world)
    ok, detail = by_name(world)[what]
    assert (ok, words in detail) == (False, True), detail


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("[{level: Metadata}]", []),
        ("[]", [("no rule is for all the rest, so what no rule names is not logged", False)]),
        ("[{level: None, resources: [{group: '', resources: [secrets, configmaps]}]}, {level: Metadata}]", [("rule 1 does not log secrets", False)]),
        ("[{level: None, resources: [{group: ''}]}, {level: Metadata}]", [("rule 1 does not log secrets", False)]),
        ("[{level: None, resources: [{group: apps}]}, {level: Metadata}]", []),
        ("[{level: None, nonResourceURLs: ['/healthz*']}, {level: Metadata}]", []),
        ("[{level: None, users: ['system:kube-proxy'], verbs: [watch]}, {level: Metadata}]", [("rule 1 does not log everything where users ['system:kube-proxy'], verbs ['watch']", True)]),
        ("[{level: Metadata}, {level: None, resources: [{resources: [secrets]}]}]", []),
        ("[{level: Request, verbs: [create]}, {level: None}]", [("rule 2 does not log everything", False)]),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_a_policy_leaves_out(rules: str, expected: list[tuple[str, bool]]) -> None:
    """The first rule that matches decides; what none matches is not logged."""
    assert left_out(yaml.safe_load(f"rules: {rules}")) == expected


def test_the_how_to_grants_what_check_asks_for_and_its_configuration_loads() -> None:
    manifests, configuration = blocks("how-to/sources/kubernetes.md", "yaml")
    granted = {one["kind"]: one["rules"] for one in yaml.safe_load_all(manifests) if "rules" in one}
    asked = [yaml.safe_load(f"{{{part}}}") for part in ROLES.split("; ")]
    assert {one["kind"].split()[0]: one["rules"] for one in asked} == granted
    assert Settings.model_validate({"start": BEGIN.date()} | yaml.safe_load(configuration)).sources["cluster_a"].type == "kubernetes"  # fmt: skip


def test_the_secret_is_in_no_output(world: KubernetesWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server repeats the credentials in its refusal; nothing of it comes through."""
    usual(world, "a", BEGIN)
    (tmp_path / "token").write_text("wrong-but-secret")
    got = world.night(THREE)
    assert "401" in got.remarks[0].detail
    said = [str(got.remarks), str(by_name(world)), repr(world.open()), caplog.text]
    stored = [path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert not [text for text in said if "wrong-but-secret" in text]
    assert not [data for data in stored if b"wrong-but-secret" in data or SECRET.encode() in data]
    assert any(b"***" in data for data in stored)


def test_a_source_without_paths_says_what_it_needs(tmp_path: Path) -> None:
    source = {"type": "kubernetes", "format": "kubernetes_audit"}
    settings = Settings.from_text(json.dumps({"start": "2025-06-01", "sources": {"k": source}}), tmp_path / "p.yaml")
    with pytest.raises(UserError, match="type kubernetes needs paths"):
        source_of(settings, "k")


def test_a_log_that_is_not_there_in_the_moment_it_is_opened_is_read_the_next_time(world: KubernetesWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Renamed when it is opened, and begun anew before anybody can look whether it is gone."""
    names = usual(world, "a", BEGIN)
    read = RotatedLog._read

    def renamed(self: RotatedLog, file: Found, *more: Any) -> Iterator[Item]:
        Path(file.path).rename(f"{file.path}.moved")
        items = list(read(self, file, *more))
        Path(f"{file.path}.moved").rename(file.path)
        yield from items

    with monkeypatch.context() as patch:
        patch.setattr(RotatedLog, "_read", renamed)
        got = world.night(THREE)
    assert (codes(got), "checkpoint" in world.request(), world.uids()) == (["source_partial"], False, [])
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert world.night(THREE + HOUR).remarks == []
    assert world.uids() == names


# A real writer


WRITER = """
import datetime as dt, gzip, json, sys, time
from pathlib import Path
from audit_pipeline_tests.stubs.kubernetes import event
folder, total, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
log, now, copies = folder / "audit.log", dt.datetime.now(dt.UTC), 0
file = log.open("ab")
for n in range(total):
    file.write(json.dumps(event(f"e-{n:05d}", now + n * dt.timedelta(microseconds=1))).encode() + b"\\n")
    file.flush()
    if file.tell() > size:
        file.close()
        copies += 1
        copy = folder / f"audit-{dt.datetime.now(dt.UTC):%Y-%m-%dT%H-%M-%S}.{n:05d}.log"
        log.rename(copy)
        file = log.open("ab")
        if copies % 2:
            with copy.with_name(copy.name + ".gz").open("wb") as packed:
                data = gzip.compress(copy.read_bytes())
                packed.write(data[:100])
                packed.flush()
                time.sleep(0.01)
                packed.write(data[100:])
            copy.unlink()
"""


def test_a_process_that_writes_and_rotates_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Collected again and again while it writes; every other copy is packed, slowly."""
    world = KubernetesWorld(tmp_path, http=False)
    total = 6_000
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "logs"), str(total), "200000"])
    seen: list[str] = []
    try:
        while writer.poll() is None:
            seen.append(" ".join(codes(world.collect(dt.datetime.now(dt.UTC)))))
    finally:
        writer.kill()
    assert writer.wait() == 0
    world.collect(dt.datetime.now(dt.UTC))
    world.build()
    assert world.rows("SELECT count(*)::INT, count(DISTINCT metadata_uid)::INT, sum(x_duplicates)::INT FROM events") == [(total, total, 0)]  # fmt: skip
    assert world.rows("SELECT member, reason, detail FROM rejects") == []
    assert len(seen) > 2
    assert set(seen) <= {"", "source_partial"}  # a copy that was packed while it was read
    assert all("unread" not in entry.request for entry in manifest.entries(world.lake, world.source))
