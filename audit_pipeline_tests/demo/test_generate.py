"""The demo's logs: valid as the vendor writes them, the same each time, and truly what `cloudtrail.json` says of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import json
import time
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.demo import stories
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.generate import Story, generate
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline_tests.demo.conftest import (
    END,
    Delivered,
    Demo,
    digest,
    failed_sign_ins,
    log_files,
    read,
    records_of,
)

HOUR = dt.timedelta(hours=1)
RESERVED = [
    ipaddress.ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "2001:db8::/32")
]
# fmt: off
ALWAYS = {"eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent",
          "requestParameters", "responseElements", "eventID", "readOnly", "eventType", "managementEvent", "recipientAccountId", "eventCategory"}
SOMETIMES = {"errorCode", "errorMessage", "requestID", "additionalEventData", "resources", "sharedEventID", "tlsDetails"}
# fmt: on


def story(demo: Demo, kind: str) -> Story:
    (found,) = [story for story in demo.truth.stories if story.kind == kind]
    return found


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_default_demo_has_at_least_300_000_events_in_14_days(full: Demo) -> None:
    assert len(full.unique) >= 300_000
    assert {one.time.date() for one in full.unique.values()} == {END - at * DAY for at in range(14)}


def test_truth_agrees_with_a_recount_of_the_files(full: Demo) -> None:
    truth, unique = full.truth, list(full.unique.values())
    assert json.loads((full.root / "cloudtrail.json").read_text()) == json.loads(json.dumps(dataclasses.asdict(truth)))
    assert (truth.files, truth.records, truth.events) == (full.files, len(full.deliveries), len(unique))
    assert truth.duplicates == len(full.deliveries) - len(unique)

    def by_day(found: list[Delivered]) -> Counter[str]:
        return Counter(one.time.date().isoformat() for one in found)

    late = [one for one in unique if one.delivered - one.time >= HOUR]
    unseen = [one for one in unique if one.delivered > midnight(one.time.date()) + DAY + 3 * HOUR]
    assert {day.day: day.records for day in truth.days} == by_day(full.deliveries)
    assert {day.day: day.events for day in truth.days} == by_day(unique)
    assert Counter({day.day: day.late for day in truth.days}) == by_day(late)
    assert Counter({day.day: day.after_next_night for day in truth.days}) == by_day(unseen)
    assert (truth.late, truth.after_next_night) == (len(late), len(unseen))


def test_delivery_is_as_promised(full: Demo) -> None:
    lags = [one.delivered - one.time for one in full.unique.values()]
    late = [lag for lag in lags if lag >= HOUR]
    assert 0.002 < len(late) / len(lags) < 0.004
    disturbed = {one.time.date() for one, lag in zip(full.unique.values(), lags, strict=True) if lag >= HOUR}
    assert len(disturbed) == 1, "once in a fortnight, so that most nights find nothing late"
    assert max(late) <= 30 * HOUR
    assert all(dt.timedelta(minutes=2) <= lag <= dt.timedelta(minutes=12) for lag in lags if lag < HOUR)
    assert full.truth.after_next_night > 100
    assert 0.008 < full.truth.duplicates / full.truth.events < 0.02


def test_copies_are_equal_to_their_originals_and_lie_in_other_files(full: Demo) -> None:
    assert all(full.unique[one.event_id].text == one.text for one in full.deliveries)
    places = {(one.event_id, one.delivered) for one in full.deliveries}
    assert len(places) == len(full.deliveries), "no file repeats a record of its own"


def test_records_have_the_vendors_names_and_types(small: Demo) -> None:
    kinds, regions = set(), set()
    for file in log_files(small.root):
        for raw in records_of(file):
            record = json.loads(bytes(raw))
            assert ALWAYS <= set(record) <= ALWAYS | SOMETIMES, record
            assert uuid.UUID(record["eventID"]).version == 4
            assert record["eventSource"].endswith(".amazonaws.com")
            assert f"_CloudTrail_{record['awsRegion']}_" in file.name
            assert record["recipientAccountId"] == "123456789012"
            assert isinstance(record["readOnly"], bool)
            assert b"$" not in bytes(raw), "a placeholder was left"
            kinds.add(record["userIdentity"]["type"])
            regions.add(record["awsRegion"])
    assert kinds >= {"IAMUser", "AssumedRole", "AWSService"}
    assert regions == {"eu-central-1", "us-east-1", "eu-west-1", "us-west-2"}


def test_all_addresses_are_reserved_for_examples(full: Demo) -> None:
    services = {one.address for one in full.unique.values() if one.kind == "AWSService"}
    assert all(address.endswith(".amazonaws.com") for address in services)
    for address in {one.address for one in full.unique.values()} - services:
        assert any(ipaddress.ip_address(address) in net for net in RESERVED), address


def test_errors_are_few_and_rhythm_is_human(full: Demo) -> None:
    unique = full.unique.values()
    assert 0.01 < sum(one.failed for one in unique) / len(unique) < 0.03
    silence = dt.date.fromisoformat(story(full, "silence").day)
    hours = Counter(one.time.hour for one in unique if one.time.date() != silence and one.time.weekday() < 5)
    assert min(hours.values()) > 0, "services work day and night"
    assert sum(hours[hour] for hour in range(9, 15)) > 2 * sum(hours[hour] for hour in range(6))
    weekend = [day for day in full.truth.days if dt.date.fromisoformat(day.day).weekday() >= 5]
    assert all(day.events < 0.6 * full.truth.days[0].events for day in weekend)


def test_silence_is_silent_and_nothing_else_is(full: Demo) -> None:
    silence = story(full, "silence")
    start, end = moment(silence.start), moment(silence.end)
    assert (start.hour, end - start) == (8, 9 * HOUR)
    times = sorted(one.time for one in full.unique.values())
    assert not [time for time in times if start <= time < end]
    gaps = sorted((after - before for before, after in pairwise(times)), reverse=True)
    assert gaps[0] >= 9 * HOUR
    assert gaps[1] < dt.timedelta(minutes=5), "the only long gap is the planted one"


def test_burst_is_there(full: Demo) -> None:
    burst = story(full, "signin_burst")
    start, end = moment(burst.start), moment(burst.end)
    hits = [
        one
        for one in full.unique.values()
        if one.failed_sign_in and one.user == burst.actor and start <= one.time <= end
    ]
    assert len(hits) == burst.n
    assert 40 <= burst.n <= 90
    assert dt.timedelta(minutes=5) <= end - start <= dt.timedelta(minutes=9)
    assert {hit.address for hit in hits} == set(burst.addresses)
    assert 2 <= len(burst.addresses) <= 4
    planted = {hit.event_id for hit in hits}
    insiders = {one.address for one in full.unique.values() if one.event_id not in planted}
    assert not insiders & set(burst.addresses), "the addresses are from outside"


def test_people_mistype_but_never_ten_times_a_day(plain: Demo) -> None:
    tried = failed_sign_ins(plain)
    assert sum(tried.values()) > 10
    assert len({user for user, _ in tried}) > 5
    assert max(tried.values()) < 10


def test_without_stories_there_is_neither_and_all_else_is_the_same(small: Demo, plain: Demo) -> None:
    assert plain.truth.stories == ()
    silence, burst = story(small, "silence"), story(small, "signin_burst")
    told, ordinary = small.unique, plain.unique
    added, missing = told.keys() - ordinary.keys(), ordinary.keys() - told.keys()
    assert len(added) == burst.n
    assert {told[event].user for event in added} == {burst.actor}
    assert len(missing) == silence.n > 0
    assert all(moment(silence.start) <= ordinary[event].time < moment(silence.end) for event in missing)
    assert all(told[event].text == ordinary[event].text for event in told.keys() & ordinary.keys())


def test_same_seed_same_bytes_other_seed_others(small: Demo, tmp_path: Path) -> None:
    generate(tmp_path / "again", end=END, days=8, events=12_000)
    generate(tmp_path / "other", end=END, days=8, events=12_000, seed=8)
    assert digest(tmp_path / "again") == digest(small.root)
    assert digest(tmp_path / "other") != digest(small.root)


def test_two_ends_keep_the_shape(full: Demo, tmp_path: Path) -> None:
    end = dt.date(2026, 3, 4)
    moved = generate(tmp_path, end=end, events=6_000)
    assert (moved.start, moved.end) == ("2026-02-19", "2026-03-04")
    assert [story.kind for story in moved.stories] == [story.kind for story in full.truth.stories]
    there, here = moved.stories[1], story(full, "signin_burst")
    assert (there.actor, there.addresses, there.n, there.start[10:]) == (
        here.actor,
        here.addresses,
        here.n,
        here.start[10:],
    )
    ours, theirs = (sorted(day.events / truth.events for day in truth.days) for truth in (moved, full.truth))
    assert all(abs(one - other) < 0.02 for one, other in zip(ours, theirs, strict=True))


def test_stories_lie_on_two_working_days_of_the_second_week() -> None:
    company = Company.make(7)
    seen = set()
    for seed in range(40):
        end = dt.date(2026, 5, 1) + seed * DAY
        plan = stories.plan(company, end - 13 * DAY, 14, seed)
        seen |= {plan.silence.weekday(), plan.burst.day.weekday()}
        assert plan.silence != plan.burst.day
        assert all(day.weekday() < 5 and end - 6 * DAY <= day <= end for day in (plan.silence, plan.burst.day))
        assert 40 <= len(plan.burst.seconds) <= 90
        assert 5 * 60 <= plan.burst.seconds[-1] - plan.burst.seconds[0] <= 9 * 60
        assert 2 <= len(plan.burst.addresses) <= 4
    assert seen == set(range(5)), "drawn by the seed"


def test_running_again_replaces_its_own_logs_only(tmp_path: Path) -> None:
    generate(tmp_path, end=END, days=2, events=600, stories=False, seed=1)
    generate(tmp_path, end=END, days=2, events=600, stories=False, seed=2)
    generate(tmp_path / "fresh", end=END, days=2, events=600, stories=False, seed=2)
    assert digest(tmp_path / "logs") == digest(tmp_path / "fresh" / "logs")
    assert sorted(path.name for path in (tmp_path / "fresh").iterdir()) == ["cloudtrail.json", "logs"]

    foreign = tmp_path / "foreign"
    (foreign / "logs").mkdir(parents=True)
    (foreign / "logs" / "mine.log").write_text("not yours")
    with pytest.raises(UserError, match="not the demo's own"):
        generate(foreign, end=END, days=2, events=600, stories=False)
    assert (foreign / "logs" / "mine.log").read_text() == "not yours"


def test_too_few_days_for_stories_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 7"):
        generate(tmp_path, end=END, days=3)
    assert list(tmp_path.iterdir()) == [], "nothing is left half done"
    told = generate(tmp_path, end=END, days=3, events=600, stories=False)
    assert [day.day for day in told.days] == ["2026-11-21", "2026-11-22", "2026-11-23"]


def test_progress_tells_each_day(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    generate(tmp_path, end=END, days=3, events=600, stories=False, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_times_do_not_depend_on_the_machines_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Demo) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        generate(tmp_path, end=END, days=8, events=12_000, stories=False)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert digest(tmp_path) == digest(plain.root)


def test_days_without_any_event_are_told_as_such(tmp_path: Path) -> None:
    sunday = dt.date(2026, 11, 22)
    told = generate(tmp_path, end=sunday, days=2, events=0, stories=False)
    assert [day.day for day in told.days] == ["2026-11-21", "2026-11-22"]
    assert told.events == read(tmp_path, told).truth.events == len(read(tmp_path, told).unique) < 200
