"""A Splunk is collected to the last event, however it behaves; and what it could not give is a fact."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.errors import ConfigError
from audit_pipeline.lake import manifest
from audit_pipeline.lake.verify import verify
from audit_pipeline.settings import Settings
from audit_pipeline.sources import get, http, splunk
from audit_pipeline.sources._splunk import read_export
from audit_pipeline.sources.collect import Collected
from audit_pipeline_tests.sources.lives import BEGIN, DAY, SOURCE
from audit_pipeline_tests.sources.splunk_world import SplunkWorld, event
from audit_pipeline_tests.stubs.splunk import PASSWORD, SAID, SECRET

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
THREE = BEGIN + DAY + 3 * HOUR
"""The night after the first day."""


@pytest.fixture
def world(tmp_path: Path) -> SplunkWorld:
    return SplunkWorld(tmp_path)


def filled(world: SplunkWorld, n: int = 50, begin: dt.datetime = BEGIN, step: dt.timedelta = 20 * MINUTE, name: str = "b") -> list[str]:  # fmt: skip
    """Events in Splunk; the names of all, sorted."""
    first = len(world.splunk.events)
    world.splunk.events += [event(f"{name}-{first + k:04d}", begin + k * step) for k in range(n)]
    return sorted(f"{e.bkt}-{e.cd}" for e in world.splunk.events)


def codes(got: Collected) -> list[str]:
    return [remark.code for remark in got.remarks]


def request_of(world: SplunkWorld) -> dict[str, Any]:
    return manifest.entries(world.lake, SOURCE)[-1].request


def test_every_event_is_an_event_and_an_answer_is_kept_as_it_was_sent(world: SplunkWorld) -> None:
    names = filled(world)
    got = world.night(THREE)
    assert (got.remarks, world.uids()) == ([], names)
    (entry,) = manifest.entries(world.lake, SOURCE)
    pages = world.lake.read(entry.segment or "")
    lines = [json.loads(line) for line in pages.splitlines()]
    assert (sum("result" in line for line in lines), sum("lastrow" in line for line in lines)) == (50, got.members)
    assert (entry.request["from"], entry.request["to"]) == ("2025-06-01T00:00:00Z", "2025-06-02T02:59:00Z")
    assert entry.covers(BEGIN.date())
    assert verify(world.lake)[0] == []


def test_a_second_collection_takes_what_is_new_and_doubles_nothing(world: SplunkWorld) -> None:
    filled(world, 80)
    world.collect(THREE)
    names = filled(world, begin=BEGIN + DAY + 2 * HOUR)
    world.collect(THREE + DAY)
    world.build()
    assert world.uids() == names
    assert request_of(world)["window"] == ["2025-06-02T01:59:00Z", "2025-06-03T02:59:00Z"]
    ((copies,),) = world.rows("SELECT sum(x_duplicates)::INT FROM events")
    assert copies > 0  # the overlap was read again


def test_events_of_one_second_at_the_edge_of_two_searches(world: SplunkWorld) -> None:
    edge = BEGIN + 2 * HOUR
    world.splunk.events = [event(f"b-{n}", edge, indexed=edge + (n - 2) * dt.timedelta(seconds=1)) for n in range(5)]
    world.collect(THREE)
    assert len(world.received()) == 5
    names = [form["search"].split() for form in world.splunk.searched if form["search"].startswith("search ")]
    bounds = [tuple(int(part.split("=")[1]) for part in words if part.startswith("_index_")) for words in names[:-2]]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    assert len(bounds) > 3


PASSING = [
    "429",
    "429_seconds",
    "503",
    "refused",
    "cut",
    "slow",
    "content_type",
    "no_lastrow",
    "only_preview",
    "fatal_quota",
]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("kind", ["edge", "count", "rows"])
def test_trouble_that_passes_is_waited_for(world: SplunkWorld, kind: str, fault: str) -> None:
    names = filled(world, begin=BEGIN - 55 * MINUTE)  # the first window holds some
    world.splunk.plan = [(kind, fault)] * 3
    got = world.collect(THREE)
    assert (world.fired, got.remarks, world.received()) == ({fault: 3}, [], names)
    if fault == "429_seconds":
        assert world.time.waits == [7.0] * 3
    elif fault != "slow":
        assert [low <= wait <= 2 * low for wait, low in zip(world.time.waits, [0.5, 1, 2], strict=True)] == [True] * 3


def test_trouble_that_stays_ends_within_the_budget_and_the_next_night_heals(world: SplunkWorld) -> None:
    names = filled(world)
    world.splunk.plan = [("rows", "no_lastrow")] * 500
    got = world.night(THREE)
    assert "no last row" in (got.failed or "")
    assert "http.budget" in (got.failed or "")
    assert world.verdict(BEGIN.date())[0] == "missing"
    world.heal()
    assert world.night(THREE + HOUR).remarks == []
    assert world.uids() == names


@pytest.mark.parametrize("fault", ["unauthorized", "forbidden", "fatal"])
@pytest.mark.parametrize("kind", ["edge", "count", "rows"])
def test_a_refusal_is_not_tried_again_and_moves_no_checkpoint(world: SplunkWorld, kind: str, fault: str) -> None:
    names = filled(world)
    world.splunk.plan = [(kind, fault)]
    got = world.collect(THREE)
    assert (world.fired, world.time.waits, codes(got)) == ({fault: 1}, [], ["collection_failed"])
    assert "checkpoint" not in request_of(world)
    world.collect(THREE + HOUR)
    assert world.received() == names


@pytest.mark.parametrize(("kind", "fault"), [*(("rows", fault) for fault in sorted(SAID)), ("edge", "peer"), ("count", "peer")])  # fmt: skip
def test_a_good_answer_that_says_that_it_lacks_rows_is_partial_and_read_again(world: SplunkWorld, kind: str, fault: str) -> None:  # fmt: skip
    names = filled(world)
    world.splunk.plan = [(kind, fault)] * 12
    got = world.night(THREE)
    assert (world.fired[fault] >= 1, codes(got)) == (True, ["source_partial"])
    assert SAID[fault][1][:60] in got.remarks[0].detail
    assert not {"checkpoint", "counted", "settled"} & set(request_of(world))
    verdict, reasons = world.verdict(BEGIN.date())
    assert (verdict, "source_partial" in reasons) == ("partial", True)
    assert (len(world.uids()) < len(names)) == (kind == "rows")
    world.heal()
    assert world.collect(THREE + HOUR).remarks == []
    assert world.received() == names


def test_harmless_messages_and_previews_make_no_day_partial(world: SplunkWorld) -> None:
    names = filled(world)
    world.splunk.plan = [("rows", "chatter"), ("count", "chatter"), ("rows", "preview"), ("rows", "preview"), ("edge", "chatter")]  # fmt: skip
    got = world.collect(THREE)
    assert (world.fired, got.remarks, world.received()) == ({"chatter": 3, "preview": 2}, [], names)


def test_a_warning_that_the_user_knows_to_be_harmless(tmp_path: Path) -> None:
    world = SplunkWorld(tmp_path, harmless=["Something new that no list"])
    filled(world)
    world.splunk.plan = [("edge", "unknown")]
    assert (world.collect(THREE).remarks, world.fired) == ([], {"unknown": 1})


def test_many_messages_are_counted_and_not_all_kept(world: SplunkWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    filled(world)
    answer = world.splunk.handle

    def chatty(*asked: Any) -> Any:
        reply = answer(*asked)
        lines = [{"messages": [{"type": "ERROR", "text": f"peer {n} is down"} for n in range(40)]}]
        more = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        return replace(reply, data=more + reply.data) if asked[1].endswith("/export") else reply

    monkeypatch.setattr(world.splunk, "handle", chatty)
    details = [remark.detail for remark in world.collect(THREE).remarks]
    assert (len(details), details[0], details[-1]) == (6, "peer 0 is down", "35 more such messages")


def test_a_row_sent_twice_is_one_event(world: SplunkWorld) -> None:
    names = filled(world)
    world.splunk.plan = [("rows", "again")] * 3
    world.night(THREE)
    assert (world.fired, world.uids()) == ({"again": 3}, names)
    assert world.rows("SELECT sum(x_duplicates)::INT FROM events") == [(2,)]  # the first window holds nothing


def test_rows_of_a_wrong_content_type_are_no_answer() -> None:
    """Such as a page of a proxy that was stored with the right words in it."""
    whole = b'{"preview":false,"lastrow":true,"result":{"day":"1"}}\n'
    assert len(read_export("application/json", whole).rows) == 1
    with pytest.raises(http.PassingError, match="text/html"):
        read_export("text/html", whole)


def test_an_old_server_is_asked_by_its_own_path_and_asked_twice_only_once(world: SplunkWorld) -> None:
    names = filled(world)
    world.splunk.old = True
    assert world.collect(THREE).remarks == []
    assert world.received() == names
    paths = {form["path"] for form in world.splunk.searched}
    assert paths == {"/services/search/jobs/export"}


@pytest.mark.parametrize(("age", "found"), [(20, True), (60, True), (120, False)])
def test_an_event_of_any_age_is_new_when_it_is_indexed(world: SplunkWorld, age: int, found: bool) -> None:
    filled(world)
    world.collect(THREE)
    old = BEGIN - age * DAY
    world.splunk.events.append(event("b-old", old, indexed=THREE + HOUR))
    filled(world, begin=BEGIN + DAY)
    world.collect(THREE + DAY)
    assert ("b-old" in world.received()) == found


def test_an_event_dated_far_into_the_future_is_found(world: SplunkWorld) -> None:
    filled(world)
    world.splunk.events.append(event("b-f", BEGIN + 20 * DAY, indexed=BEGIN + HOUR))
    assert world.collect(THREE).remarks == []
    assert "b-f" in world.received()


def test_what_became_searchable_late_is_found_behind_the_window(world: SplunkWorld) -> None:
    """An indexer that was away for hours comes back, with index times of before; the day is counted again, and read again."""
    filled(world, 216)
    for night in range(3):
        world.splunk.events += [event(f"slow-{night}", BEGIN + night * DAY + 5 * HOUR, visible=THREE + night * DAY + 5 * HOUR)]  # fmt: skip
        world.night(THREE + night * DAY)
        assert [f"slow-{n}" in world.uids() for n in range(night + 1)] == [True] * night + [False]
    names = [member.name for entry in manifest.entries(world.lake, SOURCE) for member in entry.members]
    assert [name.split("/")[0] for name in names].count("again") == 2
    assert world.verdict((BEGIN + DAY).date())[0] != "partial"


def test_what_was_frozen_does_not_hide_what_came_late_to_the_same_day(world: SplunkWorld) -> None:
    """Two fewer and one more are one fewer: any other number makes the day be read again."""
    filled(world, 72)
    world.splunk.events = [
        replace(e, gone=THREE + 20 * HOUR) if n < 2 else e for n, e in enumerate(world.splunk.events)
    ]
    world.splunk.events.append(event("slow-1", BEGIN + 12 * HOUR, visible=THREE + HOUR))
    world.collect(THREE)
    assert "slow-1" not in world.received()
    world.collect(THREE + DAY)
    assert "slow-1" in world.received()


def test_the_second_count_proves_a_day_or_names_what_is_missing(world: SplunkWorld) -> None:
    for night in range(4):
        filled(world, 70, begin=BEGIN + night * DAY)
        world.night(THREE + night * DAY)
    assert world.verdict((BEGIN + 3 * DAY).date())[0] == "proven"
    assert request_of(world)["counted"]["2025-06-04"] == 70


@pytest.mark.parametrize("given", [70, 0], ids=["some", "none"])
def test_fewer_events_than_splunk_counts_are_missing(world: SplunkWorld, monkeypatch: pytest.MonkeyPatch, given: int) -> None:  # fmt: skip
    """An export that loses rows and says nothing is found out by the count, which does not read the raw data."""
    for night in range(3):
        filled(world, 70, begin=BEGIN + night * DAY)
        world.night(THREE + night * DAY)
    kept = filled(world, given, begin=BEGIN + 3 * DAY)
    world.splunk.events += [event(f"lost-{n}", BEGIN + 3 * DAY + n * HOUR) for n in range(5)]
    rows = world.splunk._found
    monkeypatch.setattr(
        world.splunk, "_found", lambda *asked: [row for row in rows(*asked) if row.get("_bkt") != "lost"]
    )
    world.night(THREE + 3 * DAY)
    assert world.uids() == kept
    verdict, reasons = world.verdict((BEGIN + 3 * DAY).date())
    assert verdict in ("partial", "missing")
    assert "5 are missing" in reasons["mismatch"]


def test_a_filter_is_counted_by_a_search_and_never_widens_what_is_read(tmp_path: Path) -> None:
    world = SplunkWorld(tmp_path, search="sourcetype=audittrail")
    names = filled(world)
    world.splunk.events.append(event("c-1", BEGIN + HOUR, sourcetype="other"))
    assert world.night(THREE).remarks == []
    assert world.uids() == names
    counts = [form["search"] for form in world.splunk.searched if "by day" in form["search"]]
    assert counts
    assert all(text.startswith('search (index="_audit") (sourcetype=audittrail) _index_latest=') for text in counts)


@pytest.mark.parametrize(
    "text",
    ["error | delete", "x [search index=y]", "`macro`", "earliest=-1h x", "_index_latest=5", "a) OR (index=b) (", 'user="x', "LATEST =now"],
)  # fmt: skip
def test_a_filter_that_could_hide_events_is_refused(tmp_path: Path, text: str) -> None:
    if text.startswith("a)"):  # in pairs, and harmless: the terms of the index stand in front of it
        SplunkWorld(tmp_path, search=text)
        return
    with pytest.raises(ConfigError, match="options"):
        SplunkWorld(tmp_path, search=text)


@pytest.mark.parametrize("index", ['x" OR index="y', "a b", "", "A", "a,,b", "x|delete"])
def test_a_name_of_an_index_that_is_none_is_refused(tmp_path: Path, index: str) -> None:
    with pytest.raises(ConfigError, match="index"):
        SplunkWorld(tmp_path, index=index)


def test_several_indexes(tmp_path: Path) -> None:
    world = SplunkWorld(tmp_path, index="_audit, app_*")
    world.splunk.readable = frozenset({"_audit", "app_web", "other"})
    world.splunk.events = [event(f"{name}-1", BEGIN + HOUR, index=name) for name in ("_audit", "app_web", "other")]
    world.collect(THREE)
    assert world.received() == ["_audit-1", "app_web-1"]


def test_an_answer_that_is_too_large_is_asked_for_in_halves(world: SplunkWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(http, "MAX_BODY", 1500)
    names = filled(world)
    got = world.collect(THREE)
    assert (got.remarks, world.received(), got.members > 12) == ([], names, True)
    world.splunk.events += [event(f"x-{n}", BEGIN + DAY + 4 * HOUR) for n in range(50)]
    failed = world.collect(THREE + DAY).failed or ""
    assert "A second of 2025-06-02T04:00:01Z has more than that" in failed


def test_windows_grow_where_little_is_indexed(world: SplunkWorld) -> None:
    filled(world)
    world.collect(BEGIN + 20 * DAY)
    assert world.asked["rows"] < 45  # of 480 hours


def test_an_index_that_cannot_be_seen_is_a_silent_source(world: SplunkWorld) -> None:
    names = filled(world)
    world.splunk.readable = frozenset()
    got = world.night(THREE)
    assert (codes(got), "srchIndexesAllowed" in got.remarks[0].detail) == (["silent"], True)
    assert world.verdict(BEGIN.date())[0] == "missing"
    world.splunk.readable = frozenset({"_audit"})
    assert world.night(THREE + HOUR).remarks == []
    assert world.uids() == names


@pytest.mark.parametrize("limit", [{"srchFilter": "user!=ann"}, {"srchTimeWin": 86400}])
def test_a_role_that_hides_events_from_the_reader_makes_the_day_partial(world: SplunkWorld, limit: dict[str, Any]) -> None:  # fmt: skip
    """Neither export nor count would show it."""
    filled(world)
    world.splunk.limits = limit
    got = world.night(THREE)
    assert (codes(got), next(iter(limit)) in got.remarks[0].detail) == (["source_partial"], True)
    assert world.verdict(BEGIN.date())[0] == "partial"
    assert not next(probe.ok for probe in world.open().probe() if probe.what == "rights")


def test_a_quiet_index_has_lost_nothing(world: SplunkWorld) -> None:
    """Its last event is older than the usual look; all of the index is asked before a loss is claimed."""
    world.splunk.events = [event("b-1", BEGIN + HOUR), event("b-2", BEGIN + 120 * DAY)]
    world.collect(BEGIN + 110 * DAY)
    assert world.collect(BEGIN + 121 * DAY).remarks == []
    assert ("unread" in request_of(world), world.received()) == (False, ["b-1", "b-2"])


def test_a_long_first_window_is_read_in_parts_with_bounds_of_their_own(world: SplunkWorld) -> None:
    """An event that is late by less than `wide_sweep` is found wherever in the window it was indexed."""
    world.splunk.events = [event(f"b-{n}", BEGIN + n * DAY - 50 * DAY, indexed=BEGIN + n * DAY) for n in range(1, 60)]
    world.collect(BEGIN + 61 * DAY)
    assert len(world.received()) == 59
    widest = max(int(form["latest_time"]) - int(form["earliest_time"]) for form in world.splunk.searched if form["search"].startswith("search "))  # fmt: skip
    assert widest <= 90 * 86_400


def test_what_was_frozen_before_it_was_read_is_said(world: SplunkWorld) -> None:
    filled(world)
    world.night(THREE)
    gone = THREE + 4 * DAY
    world.splunk.events = [event(f"b-{n}", BEGIN + DAY + n * HOUR, gone=gone) for n in range(60)]
    world.splunk.events += [event(f"c-{n}", BEGIN + 4 * DAY + n * HOUR) for n in range(20)]
    world.night(THREE + 4 * DAY)
    world.night(THREE + 5 * DAY)
    for day in range(1, 4):
        verdict, reasons = world.verdict((BEGIN + day * DAY).date())
        assert verdict in ("partial", "missing")
        assert "frozen or deleted unread" in reasons["source_partial"]
    assert "source_partial" not in world.verdict((BEGIN + 4 * DAY).date())[1]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_loses_nothing_and_is_named(world: SplunkWorld, hours: int) -> None:
    world.splunk.skew = dt.timedelta(hours=hours)
    world.splunk.events = [
        event(f"b-{n}", at, indexed=at + world.splunk.skew, visible=at + MINUTE)
        for n, at in enumerate(BEGIN + DAY + k * 10 * MINUTE for k in range(120))
    ]
    got = world.collect(THREE)
    assert (codes(got)[0], f"{abs(hours) * 3600} s" in got.remarks[0].detail) == ("future", True)
    assert request_of(world)["to"] == f"2025-06-02T0{2 if hours > 0 else 0}:59:00Z"  # by the clock that is behind
    world.collect(THREE + DAY)
    assert len(world.received()) == 120


def test_another_selection_is_read_from_its_start(tmp_path: Path) -> None:
    world = SplunkWorld(tmp_path)
    filled(world)
    world.collect(THREE)
    again = SplunkWorld(tmp_path, search="sourcetype=audittrail")
    again.splunk.events = world.splunk.events
    again.collect(THREE + DAY)
    assert request_of(again)["window"][0] == "2025-05-31T23:00:00Z"


class _KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("request_number", [1, 3, 5, 7, 8, 9, 12])
def test_killed_at_any_request_nothing_is_lost_or_doubled(world: SplunkWorld, request_number: int) -> None:
    names = filled(world)

    def die(_: str) -> None:
        if world.asked.total() == request_number:
            raise _KilledError

    world.before = die
    with contextlib.suppress(_KilledError):
        world.collect(THREE)
    world.before = None
    world.collect(THREE + MINUTE)
    world.build()
    assert world.uids() == names
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert verify(world.lake)[0] == []


@pytest.mark.parametrize("auth", [{"bearer": {"file": "token"}}, {"username": "audit_reader", "password": {"file": "token"}}], ids=["token", "password"])  # fmt: skip
def test_the_secret_is_in_no_output(tmp_path: Path, caplog: pytest.LogCaptureFixture, auth: dict[str, Any]) -> None:
    """Splunk repeats the credentials in its refusal; nothing of it comes through, neither to files nor to messages."""
    world = SplunkWorld(tmp_path, auth=auth)
    filled(world)
    (tmp_path / "token").write_text("wrong-but-secret")
    got = world.night(THREE)
    assert "401" in (got.failed or "")
    probes = world.open().probe()
    said = [got.failed, str(probes), repr(world.open()), caplog.text]
    (tmp_path / "token").write_text(SECRET if "bearer" in auth else PASSWORD)
    assert world.night(THREE + HOUR).failed is None
    stored = [path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    secrets = ("wrong-but-secret", SECRET, PASSWORD)
    assert not [text for text in said for secret in secrets if secret in (text or "")]
    assert not [data for data in stored for secret in secrets if secret.encode() in data]
    assert any(b"***" in data for data in stored)


def by_name(world: SplunkWorld, at: dt.datetime = THREE) -> dict[str, tuple[bool, str]]:
    world.now = at
    return {probe.what: (probe.ok, probe.detail) for probe in world.open().probe()}


def test_check_tells_identity_rights_newest_and_horizon(world: SplunkWorld) -> None:
    filled(world)
    found = by_name(world)
    assert {what: ok for what, (ok, _) in found.items()} == dict.fromkeys(["reach", "identity", "rights", "clock", "newest record", "horizon"], True)  # fmt: skip
    assert "version 9.4.1" in found["reach"][1]
    assert "audit_reader" in found["identity"][1]
    assert "2025-06-01T16:20:01Z, 10.7 h before" in found["newest record"][1]
    assert "frozen after 2184.0 days" in found["horizon"][1]
    world.collect(THREE)
    assert request_of(world)["horizon_s"] == 188_697_600


def test_a_horizon_that_nobody_tells_is_not_made_up(world: SplunkWorld) -> None:
    filled(world)
    world.splunk.frozen_s = None
    assert "does not tell" in by_name(world)["horizon"][1]
    world.collect(THREE)
    assert "horizon_s" not in request_of(world)


@pytest.mark.parametrize(
    ("change", "what", "words"),
    [
        (lambda stub: setattr(stub, "skew", -HOUR), "clock", "3600 s behind"),
        (lambda stub: stub.context.update(capabilities=["list_all_roles"]), "rights", "search = enabled"),
        (lambda stub: setattr(stub, "readable", frozenset()), "read", "srchIndexesAllowed = _audit"),
        (lambda stub: stub.plan.append(("context", "unauthorized")), "identity", "expired"),
        (lambda stub: stub.plan.append(("server", "unauthorized")), "identity", "expired"),
        (lambda stub: stub.plan.append(("edge", "forbidden")), "read", "role_audit_reader"),
        (lambda stub: stub.plan.extend([("server", "refused")] * 9), "reach", "http"),
    ],
)
def test_check_names_what_is_lacking(world: SplunkWorld, change: Callable[[Any], None], what: str, words: str) -> None:
    filled(world)
    change(world.splunk)
    ok, detail = by_name(world)[what]
    assert not ok
    assert words in detail


def test_who_may_do_what_to_the_index(world: SplunkWorld) -> None:
    filled(world)
    world.collect(THREE)
    held = {(who, right) for who, right, _ in request_of(world)["access"]}
    assert held == {
        ("role:admin", "read"), ("role:admin", "retention"), ("role:admin", "stop"), ("role:admin", "write"), ("role:can_delete", "read"), ("role:can_delete", "delete"),
        ("role:audit_reader", "read"), ("role:ops", "read"), ("user:audit_reader", "read"),
        ("user:root", "read"), ("user:root", "retention"), ("user:root", "stop"), ("user:root", "write"), ("user:root", "delete"),
    }  # fmt: skip
    assert ["role:ops", "read", "srchIndexesAllowed: _audit, only user!=ann"] in request_of(world)["access"]


@pytest.mark.parametrize("lacking", ["list_all_roles", "list_all_users"])
def test_a_refused_review_names_the_capability_and_harms_nothing(world: SplunkWorld, lacking: str) -> None:
    filled(world)
    world.splunk.context["capabilities"] = [one for one in world.splunk.context["capabilities"] if one != lacking]
    got = world.collect(THREE)
    assert (got.remarks, "access" in request_of(world)) == ([], False)
    assert f"capability {lacking}" in request_of(world)["access_refused"]
    assert lacking in by_name(world)["rights"][1]


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    block = yaml.safe_load(f"start: 2025-06-01\nsources:\n{splunk.EXAMPLE}")
    settings = Settings.from_text(json.dumps(block, default=str), tmp_path / "pipeline.yaml")
    options = get("splunk").Options.model_validate(settings.sources["splunk_audit"].options)
    assert options == splunk.Options(index="_audit")
