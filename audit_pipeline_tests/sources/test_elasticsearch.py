"""A search store is collected to the last document, however it behaves; and what it could not give is a fact."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.lake import manifest
from audit_pipeline.lake.verify import verify
from audit_pipeline.sources.collect import Collected
from audit_pipeline_tests.sources.search_world import BEGIN, DAY, SOURCE, SearchWorld, document
from audit_pipeline_tests.stubs.elasticsearch import SECRET

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
THREE = BEGIN + DAY + 3 * HOUR
"""The night after the first day."""


def filled(world: SearchWorld, n: int = 50, begin: dt.datetime = BEGIN, step: dt.timedelta = 20 * MINUTE) -> list[str]:
    """Documents in the store; their ids, sorted."""
    first = len(world.store.docs)
    world.store.docs += [document(f"{first + k:04d}", begin + k * step) for k in range(n)]
    return sorted(doc.id for doc in world.store.docs)


@pytest.fixture(params=[False, True], ids=["elasticsearch", "opensearch"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> SearchWorld:
    return SearchWorld(tmp_path, opensearch=request.param, page_size=20)


def codes(got: Collected) -> list[str]:
    return [remark.code for remark in got.remarks]


def request_of(world: SearchWorld) -> dict[str, Any]:
    return manifest.entries(world.lake, SOURCE)[-1].request


def test_every_document_is_an_event_and_a_page_is_kept_as_it_was_sent(world: SearchWorld) -> None:
    ids = filled(world)
    got = world.night(THREE)
    assert (got.remarks, got.members, world.store.open_pits) == ([], 3, 0)
    assert world.uids() == ids
    (entry,) = manifest.entries(world.lake, SOURCE)
    pages = world.lake.read(entry.segment or "")
    first = json.loads(pages[: entry.members[0].length])
    assert [len(first["hits"]["hits"]), first["timed_out"], "pit_id" in first] == [20, False, True]
    assert (entry.request["from"], entry.request["to"]) == ("2025-06-01T00:00:00Z", "2025-06-02T02:58:00Z")
    assert entry.covers(BEGIN.date())
    assert verify(world.lake)[0] == []


def test_a_second_collection_takes_what_is_new_and_doubles_nothing(world: SearchWorld) -> None:
    filled(world)
    world.collect(THREE)
    ids = filled(world, begin=BEGIN + DAY)
    world.collect(THREE + DAY)
    world.build()
    assert world.uids() == ids
    assert request_of(world)["window"] == ["2025-06-01T02:58:00Z", "2025-06-03T02:58:00Z"]
    assert world.rows("SELECT sum(x_records) - count(*) = sum(x_duplicates) FROM events") == [(True,)]


@pytest.mark.parametrize("page_size", [1, 7, 10])
def test_documents_of_one_instant_across_page_edges(tmp_path: Path, page_size: int) -> None:
    for opensearch in (False, True):
        root = tmp_path / str(opensearch)
        root.mkdir()
        world = SearchWorld(root, opensearch=opensearch, page_size=page_size)
        world.store.docs += [document(n, BEGIN + HOUR) for n in range(30)]
        world.collect(THREE)
        assert len(world.received()) == 30


PASSING = ["429", "429_seconds", "429_date", "503", "refused", "cut", "slow", "content_type"]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("kind", ["edge", "count", "open", "page"])
def test_trouble_that_passes_is_waited_for(world: SearchWorld, kind: str, fault: str) -> None:
    ids = filled(world)
    world.store.plan = [(kind, fault)] * 3
    got = world.collect(THREE)
    assert (world.store.fired, got.remarks) == ({fault: 3}, [])
    assert world.received() == ids
    if fault == "429_seconds":
        assert world.time.waits == [7.0] * 3
    elif fault == "429_date":
        assert world.time.waits == [11.0] * 3
    elif fault != "slow":
        assert [low <= wait <= 2 * low for wait, low in zip(world.time.waits, [0.5, 1, 2], strict=True)] == [True] * 3


def test_trouble_that_stays_ends_within_the_budget_and_the_next_night_heals(world: SearchWorld) -> None:
    ids = filled(world)
    world.store.plan = [("page", "503")] * 500
    got = world.night(THREE)
    assert "503" in (got.failed or "")
    assert "http.budget" in (got.failed or "")
    assert 25 * 60 < world.time.seconds <= 30 * 60
    assert world.verdict(BEGIN.date())[0] == "missing"
    world.store.plan = []
    assert world.night(THREE + HOUR).remarks == []
    assert world.uids() == ids


@pytest.mark.parametrize("fault", ["unauthorized", "vanished"])
@pytest.mark.parametrize("kind", ["edge", "count", "open", "page"])
def test_a_refusal_is_not_tried_again_and_moves_no_checkpoint(world: SearchWorld, kind: str, fault: str) -> None:
    ids = filled(world)
    world.store.plan = [(kind, fault)]
    got = world.collect(THREE)
    assert (world.store.fired, world.time.waits, codes(got)) == ({fault: 1}, [], ["collection_failed"])
    assert "checkpoint" not in request_of(world)
    world.collect(THREE + HOUR)
    assert world.received() == ids


def test_a_token_refused_between_pages_keeps_the_pages_before(world: SearchWorld) -> None:
    ids = filled(world)
    world.store.before = lambda kind: world.store.plan.append(("page", "unauthorized")) if (kind, world.store.asked["page"]) == ("page", 2) else None  # fmt: skip
    got = world.night(THREE)
    assert (got.members, codes(got), len(world.uids())) == (1, ["collection_failed"], 20)
    assert world.verdict(BEGIN.date())[0] == "partial"
    world.store.before = None
    world.store.plan = []
    world.night(THREE + HOUR)
    assert world.uids() == ids


@pytest.mark.parametrize(("fault", "words"), [("shards", "shards failed"), ("timed_out", "timed out")])
def test_a_good_answer_that_lacks_documents_is_partial_and_read_again(world: SearchWorld, fault: str, words: str) -> None:  # fmt: skip
    ids = filled(world)
    world.store.plan = [("page", fault)]
    got = world.night(THREE)
    assert (world.store.fired, codes(got)) == ({fault: 1}, ["source_partial"])
    assert words in got.remarks[0].detail
    assert len(world.uids()) < len(ids)
    verdict, reasons = world.verdict(BEGIN.date())
    assert (verdict, sorted(reasons)) == ("partial", ["cold_start", "mismatch", "source_partial"])
    assert "are missing" in reasons["mismatch"]
    assert world.night(THREE + HOUR).remarks == []
    assert request_of(world)["window"][0] == "2025-06-01T00:00:00Z"
    assert world.uids() == ids


def test_the_next_night_heals_what_the_last_one_could_not_read_and_nothing_less(world: SearchWorld) -> None:
    """The stretch is read again from the last whole collection: once that was whole too, nothing of the day is missing any more."""
    filled(world)
    day = BEGIN.date()
    world.store.plan = [("page", "shards")]
    world.night(THREE)
    assert "source_partial" in world.verdict(day)[1]
    world.store.plan = [("page", "shards")]
    world.night(THREE + DAY)
    assert "source_partial" in world.verdict(day)[1]
    world.night(THREE + 2 * DAY)
    assert not {"source_partial", "mismatch"} & world.verdict(day)[1].keys()


def test_another_selection_heals_nothing(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path)
    filled(world)
    world.store.plan = [("page", "shards")]
    world.night(THREE)
    other = SearchWorld(tmp_path, query={"match_all": {}})
    other.store.docs = world.store.docs
    other.night(THREE + DAY)
    assert "checkpoint" in request_of(other)
    assert "source_partial" in other.verdict(BEGIN.date())[1]


def test_a_lost_point_in_time_is_opened_again_and_nothing_is_missed(world: SearchWorld) -> None:
    world.store.docs += [document(n, BEGIN + HOUR) for n in range(70)]
    world.store.plan = [("page", "pit_lost"), ("page", "pit_lost")]
    world.store.before = lambda kind: world.store.plan.append(("page", "pit_lost")) if (kind, world.store.asked["page"]) == ("page", 4) else None  # fmt: skip
    got = world.night(THREE)
    assert (world.store.fired, got.remarks, len(world.uids())) == ({"pit_lost": 3}, [], 70)
    assert request_of(world)["reopened"] == 3


def test_pages_shrink_where_the_breaker_trips(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, page_size=1000)
    ids = filled(world, 60)
    world.store.largest_page = 40
    world.store.plan = [("page", "breaker")]
    got = world.night(THREE)
    assert (got.remarks, world.time.waits, world.store.fired["breaker"] > 3) == ([], [], True)
    assert world.uids() == ids


def test_a_document_sent_twice_is_one_event(world: SearchWorld) -> None:
    ids = filled(world)
    world.store.plan = [("page", "again")]
    world.night(THREE)
    assert (world.store.fired, world.uids()) == ({"again": 1}, ids)
    assert world.rows("SELECT sum(x_duplicates)::INT FROM events") == [(1,)]


def test_a_document_that_came_within_the_look_back(world: SearchWorld) -> None:
    filled(world)
    world.store.docs.append(document("late", BEGIN + 20 * HOUR, THREE + HOUR))
    world.night(THREE)
    assert "late" not in world.uids()
    filled(world, begin=BEGIN + DAY)
    world.night(THREE + DAY)
    assert "late" in world.uids()


def test_a_document_later_than_the_look_back_is_found_by_the_count(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, look_back="1h")
    for night in range(3):
        filled(world, begin=BEGIN + night * DAY)
    world.store.docs.append(document("late", BEGIN + HOUR, THREE + DAY + HOUR))
    for night in range(3):
        world.night(THREE + night * DAY)
        assert ("late" in world.uids()) == (night == 2)
    assert request_of(world)["window"][0] == "2025-06-01T00:00:00Z"


def test_by_an_ingest_stamp_a_document_of_any_age_is_found(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, visible_field="event.ingested", look_back="10m")

    def put(n: int, at: dt.datetime, ingested: dt.datetime) -> None:
        stamped = {"category": ["authentication"], "type": ["start"], "ingested": ingested.isoformat()}
        world.store.docs.append(document(n, at, ingested + MINUTE, event=stamped))

    for n in range(40):
        put(n, BEGIN + n * 30 * MINUTE, BEGIN + n * 30 * MINUTE + MINUTE)
    put(99, BEGIN + HOUR, BEGIN + DAY + 20 * HOUR)
    world.night(THREE)
    assert len(world.uids()) == 40
    world.night(THREE + DAY)
    assert len(world.uids()) == 41


def test_documents_without_the_field_are_named(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, visible_field="event.ingested")
    filled(world, 3)
    got = world.night(THREE)
    assert [remark.detail[:44] for remark in got.remarks] == ["3 documents of logs-audit have no event.inge"]
    assert codes(got) == ["source_partial"]


def test_a_pattern_that_matches_nothing_is_a_silent_source(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, index="nothing-*")
    got = world.night(THREE)
    assert codes(got) == ["silent"]
    assert world.verdict(BEGIN.date())[0] == "missing"


def test_an_index_that_is_not_there_is_a_failure_that_names_it(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, index="nothing")
    assert "nothing: there is no such index" in (world.night(THREE).failed or "")


def test_what_was_deleted_before_it_was_read_is_said(world: SearchWorld) -> None:
    filled(world)
    world.night(THREE)
    gone = THREE + 4 * DAY
    world.store.docs = [document(f"b{n}", BEGIN + DAY + n * HOUR, gone=gone) for n in range(60)]
    world.store.docs += [document(f"c{n}", BEGIN + 4 * DAY + n * HOUR) for n in range(20)]
    world.night(THREE + 4 * DAY)
    world.night(THREE + 5 * DAY)
    for day in range(1, 4):
        verdict, reasons = world.verdict((BEGIN + day * DAY).date())
        assert verdict in ("partial", "missing")
        assert "may have been deleted unread" in reasons["source_partial"]
    assert "source_partial" not in world.verdict((BEGIN + 4 * DAY).date())[1]


def test_what_was_deleted_unread_is_not_healed_by_a_later_collection_of_the_same_day(world: SearchWorld) -> None:
    """Noticed by a collection during the day, for the night before; the night's own collection finds nothing wrong any more."""
    filled(world)
    world.night(THREE)
    world.store.docs = [document(f"b{n}", THREE + n * HOUR) for n in range(10, 20)]
    world.collect(BEGIN + DAY + 20 * HOUR)
    assert world.night(THREE + DAY).remarks == []
    verdict, reasons = world.verdict((BEGIN + DAY).date())
    assert (verdict, "may have been deleted unread" in reasons["source_partial"]) == ("partial", True)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_loses_nothing_and_is_named(tmp_path: Path, hours: int) -> None:
    world = SearchWorld(tmp_path, look_back="10m")
    world.store.skew = dt.timedelta(hours=hours)
    stamp = BEGIN + DAY + 2 * HOUR
    world.store.docs = [document(n, stamp + world.store.skew + n * MINUTE, stamp + n * MINUTE + MINUTE) for n in range(120)]  # fmt: skip
    got = world.night(THREE)
    assert codes(got) == ["future"]
    assert f"{abs(hours) * 3600} s" in got.remarks[0].detail
    world.night(THREE + DAY)
    assert len(world.uids()) == 120


def test_the_store_counts_and_agreement_is_proof(world: SearchWorld) -> None:
    for night in range(4):
        filled(world, 70, begin=BEGIN + night * DAY)
        world.night(THREE + night * DAY)
    assert world.verdict((BEGIN + 3 * DAY).date())[0] == "proven"
    assert request_of(world)["counted"]["2025-06-04"] == 70


@pytest.mark.parametrize("given", [70, 0], ids=["some", "none"])
def test_fewer_documents_than_the_store_counts_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    world = SearchWorld(tmp_path)
    for night in range(3):
        filled(world, 70, begin=BEGIN + night * DAY)
        world.night(THREE + night * DAY)
    answer = world.store.handle

    def counts_more(method: str, path: str, params: Any, headers: Any, body: bytes) -> Any:
        reply = answer(method, path, params, headers, body)
        asked = path.endswith("/_count") and b'"gte":"2025-06-04T00:00:00' in body
        return dataclasses.replace(reply, data=reply.data | {"count": reply.data["count"] + 5}) if asked else reply

    monkeypatch.setattr(world.store, "handle", counts_more)
    filled(world, given, begin=BEGIN + 3 * DAY)
    world.night(THREE + 3 * DAY)
    verdict, reasons = world.verdict((BEGIN + 3 * DAY).date())
    assert verdict in ("partial", "missing")
    assert "5 are missing" in reasons["mismatch"]


def test_another_selection_is_read_from_its_start(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path)
    filled(world)
    world.collect(THREE)
    again = SearchWorld(tmp_path, query={"exists": {"field": "@timestamp"}})
    again.store = world.store
    again.collect(THREE + DAY)
    assert request_of(again)["window"][0] == "2025-06-01T00:00:00Z"


class _KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("request_number", [1, 3, 5, 6, 7, 9])
def test_killed_at_any_request_nothing_is_lost_or_doubled(tmp_path: Path, request_number: int) -> None:
    world = SearchWorld(tmp_path, page_size=20)
    ids = filled(world)

    def die(kind: str) -> None:
        if world.store.asked.total() == request_number:
            raise _KilledError

    world.store.before = die
    with contextlib.suppress(_KilledError):
        world.collect(THREE)
    world.store.before = None
    world.collect(THREE + MINUTE)
    world.build()
    assert world.uids() == ids
    assert world.rows("SELECT count(*)::INT FROM rejects") == [(0,)]
    assert verify(world.lake)[0] == []


def test_the_secret_is_in_no_output(world: SearchWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The store repeats the credentials in its refusal; nothing of it comes through, neither to files nor to messages."""
    filled(world)
    (tmp_path / "key").write_text("wrong-but-secret")
    got = world.night(THREE)
    assert "401" in (got.failed or "")
    probes = world.source().probe()
    (tmp_path / "key").unlink()
    said = [got.failed, str(probes), repr(world.source()), caplog.text, world.night(THREE + HOUR).failed]
    stored = [path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert not [text for text in said if "wrong-but-secret" in (text or "")]
    assert not [data for data in stored if b"wrong-but-secret" in data or SECRET.encode() in data]
    assert any(b"***" in data for data in stored)


def by_name(world: SearchWorld) -> dict[str, tuple[bool, str]]:
    return {probe.what: (probe.ok, probe.detail) for probe in world.source().probe()}


def test_check_tells_identity_rights_newest_and_horizon(world: SearchWorld) -> None:
    filled(world)
    world.store.now = THREE
    found = by_name(world)
    assert [ok for ok, _ in found.values()] == [True] * 7
    assert found["identity"][1] == "audit_reader"
    assert "2025-06-01T16:20:00Z, 10.7 h before" in found["newest record"][1]
    assert "2025-06-01T00:00:00Z" in found["horizon"][1]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda store: setattr(store, "skew", -HOUR), "clock"),
        (lambda store: setattr(store, "rights", frozenset()), "rights"),
        (lambda store: store.docs.clear(), "read"),
    ],
)  # fmt: skip
def test_check_names_what_is_lacking(world: SearchWorld, change: Callable[[Any], None], what: str) -> None:
    filled(world)
    world.store.now = THREE
    change(world.store)
    ok, detail = by_name(world)[what]
    assert not ok
    words = {"read": "options.visible_field", "rights": '["read", "view_index_metadata"]', "clock": "3600 s behind"}
    if world.store.opensearch:
        words["rights"] = "indices:data/read/point_in_time/create"
    assert words[what] in detail


def test_a_name_does_not_lead_to_another_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = SearchWorld(tmp_path, index="<logs-{now/d}>/_doc?x=1,logs-*")
    paths: list[str] = []
    handle = world.store.handle

    def heard(method: str, path: str, *rest: Any) -> Any:
        paths.append(path)
        return handle(method, path, *rest)

    monkeypatch.setattr(world.store, "handle", heard)
    world.collect(THREE)
    assert {path.count("/") for path in paths} == {2}
    assert paths[0].startswith("/%3Clogs-%7Bnow%2Fd%7D%3E%2F_doc%3Fx%3D1,logs-*/")
