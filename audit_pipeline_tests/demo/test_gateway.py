"""The demo's hoop.dev gateway: collected over a real socket night by night, every session and act of the truth is an event."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections import Counter
from typing import Any, NamedTuple

import pytest

from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.demo import config, sources
from audit_pipeline.demo.gateway import KEY, Gateway, at_time, served
from audit_pipeline.formats import indexing, unify
from audit_pipeline.formats.hoop import FORMAT, is_final
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import open_source
from audit_pipeline.sources.collect import Collected, collect

END = dt.date(2026, 11, 22)
DAYS = 9


class Made(NamedTuple):
    """A demo whose gateway was collected on each of its nights, and once more."""

    settings: Settings
    lake: Lake
    whole: sources.Whole
    got: list[Collected]
    probes: list[str]
    records: list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("gateway")
    plot, whole = sources.make(root, days=DAYS, end=END, events=4_000)
    gateway = Gateway(root / "logs" / "hoop")
    got = []
    with served(gateway) as url:
        settings = Settings.load(config.write_config(root, start=plot.start, plot=plot, url=url))
        lake = Lake.open(settings.lake_url)
        for day in [plot.start + n * DAY for n in range(DAYS + 1)]:
            gateway.now = settings.as_of(day)
            got.append(collect(settings, lake, "hoop", day, SimulatedClock(gateway.now)))
        probes = [f"{one.what}: {one.detail}" for one in open_source(settings, "hoop", FORMAT).probe() if not one.ok]
    indexing.ensure(lake, "hoop", FORMAT)
    for day in indexing.indexed_days(lake, "hoop"):
        unify.build(lake, "hoop", FORMAT, day)
    records = [json.loads(line) for file in sorted((root / "logs" / "hoop").glob("*.gz")) for line in gzip.decompress(file.read_bytes()).splitlines()]  # fmt: skip
    return Made(settings, lake, whole, got, probes, records)


def test_every_night_is_whole_and_every_record_of_the_truth_is_an_event_as_it_ended(made: Made) -> None:
    assert [one.remarks for one in made.got] == [[]] * (DAYS + 1)
    with connect(made.lake, tables=["events"]) as con:
        rows = con.execute("SELECT metadata_uid, raw_data, strftime(day, '%Y-%m-%d') FROM events").fetchall()
    ended = {one["id"]: {k: v for k, v in one.items() if k != "script"} for one in made.records}
    assert {uid: {k: v for k, v in json.loads(raw).items() if k != "script"} for uid, raw, _ in rows} == ended
    assert Counter(day for *_, day in rows) == {one.day: one.events for one in made.whole.sources["hoop"].days if one.events}  # fmt: skip


def test_a_session_that_lasts_overnight_was_followed(made: Made) -> None:
    entries = [entry for entry in manifest.entries(made.lake, "hoop") if entry.request]
    followed = [uid for entry in entries for uid in entry.request["open"]]
    assert 1 <= len(followed) <= 3
    assert entries[-1].request["open"] == {}
    late = [member.name for entry in entries for member in entry.members if member.name.startswith("session/")]
    assert sorted(late) == sorted(f"session/{uid}" for uid in followed)


def test_the_stream_has_approvals_and_what_rules_look_for_and_no_story(made: Made) -> None:
    with connect(made.lake, tables=["events"]) as con:
        codes = dict(con.execute("SELECT metadata_event_code, count(*)::INT FROM events GROUP BY 1").fetchall())
    total = sum(codes.values())
    assert 0.2 < codes["session"] / total < 0.6
    assert 0.3 < codes["session unreviewed"] / total < 0.7
    assert codes["admin"] > 0
    assert sum(n for code, n in codes.items() if "forced_review" in code or "guardrail" in code) < 0.06 * total
    assert not [code for code in codes if "self_approved" in code]
    assert not [story for story in made.whole.stories if story.source == "hoop"]


def test_states_before_the_end(made: Made) -> None:
    session = next(one for one in made.records if one.get("review") and one["review"]["status"] == "EXECUTED")
    begin, decided, end = (dt.datetime.fromisoformat(text) for text in (session["start_date"], session["review"]["review_groups_data"][0]["review_date"], session["end_date"]))  # fmt: skip
    states = [at_time(session, at) for at in (begin, decided, end)]
    assert [(one["status"], one["review"]["status"], is_final(one)) for one in states] == [("open", "PENDING", False), ("open", "PROCESSING", False), ("done", "EXECUTED", True)]  # fmt: skip
    assert states[2] == session


def test_check_finds_nothing_wrong_and_a_wrong_key_is_refused(made: Made) -> None:
    assert [one for one in made.probes if not one.startswith("clock")] == []
    (made.settings.root / "hoop.key").write_text("wrong\n", encoding="utf-8")
    with served(Gateway(made.settings.root / "logs" / "hoop")) as url:
        got = again(made, url)
    (made.settings.root / "hoop.key").write_text(KEY + "\n", encoding="utf-8")
    assert "401" in (got.failed or "")


def test_after_the_demo_a_collection_fails_and_says_why(made: Made) -> None:
    got = again(made, "http://127.0.0.1:9")
    assert "Connection refused" in (got.failed or "")
    assert "See whether the source is well" in (got.failed or "")


def again(made: Made, url: str) -> Collected:
    """The last night once more, from another address."""
    old = made.settings.sources["hoop"].http
    assert old is not None
    text = made.settings.file.read_text(encoding="utf-8").replace(old.url, url).replace("budget: 10s", "budget: 1s")
    settings = Settings.from_text(text, made.settings.file)
    return collect(settings, made.lake, "hoop", END, SimulatedClock(settings.as_of(END)))
