"""`demo --score`: over a lake of real logs, and by cases and findings made for the point."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit_pipeline.cli import main
from audit_pipeline.clock import DAY, SimulatedClock, midnight
from audit_pipeline.demo import sources
from audit_pipeline.demo.config import write_config
from audit_pipeline.demo.score import Seen, compare, seen
from audit_pipeline.demo.truth import Told, read
from audit_pipeline.detections.run import detect
from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of

END = dt.date(2026, 11, 23)
AT = dt.datetime(2026, 11, 2, 10, tzinfo=dt.UTC)
CASE = Told(
    id="01-x", kind="x", decoy=False, detectable=True, why="", first_time=AT, last_time=AT + dt.timedelta(minutes=9), actors=("alice", "Alice A"), services=(),
    sources=("cloudtrail",), expects=("signin_success_after_failures",), also=("signin_burst",), about=(), decisions=(), verdict=None,
)  # fmt: skip
SEEN = Seen("f" * 32, "signin_success_after_failures", "Guessed: alice", "high", "open", frozenset({"alice"}), "", ((AT, AT),))  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dt.date]:
    """Eight thin days of CloudTrail with a burst, its day detected."""
    root = tmp_path_factory.mktemp("scored")
    plot, _ = sources.make(root, days=8, end=END, events=6_000)
    settings = Settings.load(write_config(root, start=plot.start, plot=plot))
    lake = Lake.open(settings.lake_url)
    collect(settings, lake, "cloudtrail", END, SimulatedClock(midnight(END) + 3 * DAY))
    form = format_of(settings, "cloudtrail")
    indexing.ensure(lake, "cloudtrail", form)
    (burst,) = read(root)
    day = burst.first_time.date()
    unify.build(lake, "cloudtrail", form, day)
    detect(settings, lake, day)
    return root, day


def test_a_story_counts_as_found_until_its_finding_is_gone(demo: tuple[Path, dt.date]) -> None:
    root, day = demo
    good = CliRunner().invoke(main, ["demo", str(root), "--score"])
    assert good.exit_code == 0, good.output
    assert "stories found: 1 of 1" in good.output
    told = json.loads((root / "score.json").read_text(encoding="utf-8"))
    assert (list(told["found"]), told["missed"], told["share"]) == (["01-signin_burst"], [], 1.0)
    lake = Lake.open(Settings.load(root / "pipeline.yaml").lake_url)
    lake.write_table("detections", detect(Settings.load(root / "pipeline.yaml"), lake, day).slice(0, 0), day)
    gone = CliRunner().invoke(main, ["demo", str(root), "--score"])
    assert gone.exit_code == 1
    assert "MISSED  01-signin_burst" in gone.output


def test_a_folder_without_a_truth_is_said(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["demo", str(tmp_path), "--score"])
    assert said.exit_code == 2
    assert "truth.json is not there" in said.output


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, True),
        ({"rule": "signin_burst"}, False),
        ({"who": frozenset({"bob"})}, False),
        ({"spans": ((AT + 2 * DAY, AT + 2 * DAY),)}, False),
        ({"spans": ((AT - 9 * DAY, AT - 9 * DAY), (AT, AT + DAY))}, True),
        ({"who": frozenset({"bob", "Alice A"})}, True),
    ],
    ids=["same", "another rule", "somebody else", "days later", "one of two detections", "the person's name"],
)
def test_rule_person_and_time_must_agree(other: dict[str, object], found: bool) -> None:
    result = compare([CASE], [dataclasses.replace(SEEN, **other)], {})  # type: ignore[arg-type]
    assert (bool(result.found), result.missed) == (found, [] if found else ["01-x"])


def test_what_may_be_found_besides_is_no_story_of_its_own_and_all_else_is() -> None:
    beside, foreign = dataclasses.replace(SEEN, finding_id="b", rule="signin_burst"), dataclasses.replace(SEEN, finding_id="c", rule="mass_read")  # fmt: skip
    assert [one["finding_id"] for one in compare([CASE], [SEEN, beside, foreign], {}).no_story] == ["c"]


def test_errors_of_one_service_are_told_apart_by_their_words() -> None:
    case = dataclasses.replace(CASE, expects=("recurring_error",), services=("search",), about=("facet cache lost",))
    error = dataclasses.replace(
        SEEN, rule="recurring_error", who=frozenset({"search"}), text="facet cache lost key <*>"
    )
    assert compare([case], [error], {}).found
    assert not compare([case], [dataclasses.replace(error, text="thumbnail <*> has no colour")], {}).found


def test_a_decoy_alarms_at_high_only_and_not_for_a_story_of_the_same_person() -> None:
    decoy = dataclasses.replace(CASE, id="02-decoy", decoy=True, detectable=False, expects=(), also=(), actors=("eve",))
    low, high = (dataclasses.replace(SEEN, who=frozenset({"eve"}), severity=level) for level in ("medium", "critical"))
    assert compare([decoy], [low], {}).decoys_alarmed == {}
    assert compare([decoy], [high], {}).decoys_alarmed == {"02-decoy": ["f" * 32]}
    both = dataclasses.replace(decoy, actors=("alice",))
    assert compare([CASE, both], [SEEN], {}).decoys_alarmed == {}


@pytest.mark.parametrize(
    ("expected", "judged", "right"),
    [("verified", "verified", "yes"), ("verified", "inconclusive", "no"), ("not_verified", "ineffective", "yes"), ("not_verified", "verified", "no"), ("ineffective", None, "no")],
)  # fmt: skip
def test_verdicts_of_fixes_are_compared(expected: str, judged: str | None, right: str) -> None:
    case = dataclasses.replace(CASE, verdict=expected)
    result = compare([case], [SEEN], {SEEN.finding_id: judged} if judged else {})
    assert result.verdicts == {"01-x": {"expected": expected, "judged": judged or "not judged", "right": right}}


def test_a_release_lies_between_its_first_day_and_the_night_that_judged_it(demo: tuple[Path, dt.date]) -> None:
    root, _ = demo
    settings = Settings.load(root / "pipeline.yaml")
    lake = Lake.open(settings.lake_url)
    row = {
        "finding_id": "e" * 32, "rule_id": "release_worse", "group_key": '{"service":"search","version":"26.44.0"}', "title": "Release", "severity": "medium",
        "state": "open", "x_actor": None, "first_time": midnight(AT.date()), "detected_at": midnight(AT.date()) + 2 * DAY,
    }  # fmt: skip
    case = dataclasses.replace(CASE, actors=(), services=("search", "26.44.0"), expects=("release_worse",), also=())
    later = dataclasses.replace(case, first_time=AT + 9 * DAY, last_time=AT + 10 * DAY)
    found = seen(settings, lake, [row])
    assert compare([case], found, {}).missed == []
    assert compare([later], found, {}).missed == [later.id]
