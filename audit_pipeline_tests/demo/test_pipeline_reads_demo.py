"""The pipeline's own reader finds in the demo's logs exactly what the truth says: every record, every copy, no reject, the burst."""

from __future__ import annotations

import datetime as dt

import pytest

from audit_pipeline.clock import DAY, SimulatedClock, midnight
from audit_pipeline.demo.config import SOURCE, write_config
from audit_pipeline.detections.run import detect
from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of
from audit_pipeline_tests.demo.conftest import END, Demo


@pytest.fixture(scope="module")
def lake(small: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Lake]:
    """The thin demo, collected in one go two days after its end, when all has been delivered."""
    root = tmp_path_factory.mktemp("pipeline")
    (root / "logs").symlink_to(small.root / "logs")
    settings = Settings.load(write_config(root, start=dt.date.fromisoformat(small.truth.start)))
    lake = Lake.open(settings.lake_url)
    got = collect(settings, lake, SOURCE, END, SimulatedClock(midnight(END) + 3 * DAY))
    assert not got.failed
    form = format_of(settings, SOURCE)
    indexing.ensure(lake, SOURCE, form)
    for day in small.truth.days:
        unify.build(lake, SOURCE, form, dt.date.fromisoformat(day.day))
    return settings, lake


def test_events_and_copies_of_each_day_are_those_of_the_truth(lake: tuple[Settings, Lake], small: Demo) -> None:
    query = "SELECT strftime(day, '%Y-%m-%d'), count(*), sum(x_records)::INT, sum(x_duplicates)::INT FROM events GROUP BY 1 ORDER BY 1"
    found = connect(lake[1]).execute(query).fetchall()
    assert found == [(day.day, day.events, day.records, day.records - day.events) for day in small.truth.days]
    assert connect(lake[1]).execute("SELECT count(*) FROM rejects").fetchone() == (0,)


def test_every_actor_is_known_and_of_a_kind(lake: tuple[Settings, Lake]) -> None:
    rows = connect(lake[1]).execute("SELECT DISTINCT x_actor, x_actor_kind FROM events").fetchall()
    known = {line.split(",")[1] for line in (lake[0].root / "identities.csv").read_text(encoding="utf-8").splitlines()}
    assert {actor for actor, _ in rows} - known <= {"HIDDEN_DUE_TO_SECURITY_REASONS"}
    assert {"human", "service"} <= {kind for _, kind in rows}


def test_the_burst_is_found_once_and_is_the_worst_there_is(lake: tuple[Settings, Lake], small: Demo) -> None:
    (burst,) = [story for story in small.truth.stories if story.kind == "signin_burst"]
    hits = [hit for day in small.truth.days for hit in detect(*lake, dt.date.fromisoformat(day.day)).to_pylist()]
    worst = [hit for hit in hits if hit["level"] in ("high", "critical")]
    assert [(hit["day"].isoformat(), hit["x_target"], hit["n"]) for hit in worst] == [
        (burst.day, burst.actor, burst.n)
    ], worst
    assert (worst[0]["first_time"], worst[0]["last_time"]) == tuple(
        map(dt.datetime.fromisoformat, (burst.start, burst.end))
    )
