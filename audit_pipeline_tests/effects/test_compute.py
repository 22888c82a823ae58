"""Effects of stored days: pending, judged once, left-out days, the episode, and what a day may know."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.detections.sigma import load
from audit_pipeline.effects.model import Point
from audit_pipeline_tests.effects.place import FINDING, SCOPE, Place
from benchmarks.effects_families import BASE, CAMPAIGNS, FIRST, draw

FIXED = FIRST + 42 * DAY
DECISION = FIXED + 29 * DAY


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


def series(effect: float, before: int = 42, after: int = 28, seed: int = 3) -> list[Point]:
    """Days before, the day of the fix, days after."""
    from dataclasses import replace

    one, two = draw(replace(BASE, before=before, after=after + 1), seed, effect)
    return [*one, *two]


def test_pending_until_the_decision_date_then_judged_once(place: Place) -> None:
    place.days(series(0.6))
    place.detection(FIRST)
    subject = place.fix(FIXED, DECISION)
    (early,) = place.effects(DECISION - DAY)
    assert (early["verdict"], early["subject_id"], early["ratio"]) == ("pending", subject, None)
    (judged,) = place.effects(DECISION)
    assert judged["verdict"] == "verified", judged["reason"]
    assert judged["low"] < 0.4 < judged["high"] < 1
    assert "was reached" in judged["reason"]
    assert (judged["after_start"], judged["after_end"]) == (FIXED + DAY, DECISION - DAY)
    assert judged["days_after"] == 28
    assert FIXED not in {one["day"] for one in judged["series"] if one["window"] in ("before", "after")}


def test_later_days_show_the_same_row_and_change_nothing(place: Place) -> None:
    place.days(series(0.6))
    place.detection(FIRST)
    place.fix(FIXED, DECISION)
    (judged,) = place.effects(DECISION)
    place.days([Point(DECISION + n * DAY, 4000.0) for n in range(5)])
    place.kpi(FIXED + 3 * DAY, 9000.0)  # what is recomputed later does not judge again
    (later,) = place.effects(DECISION + 3 * DAY)
    assert later | {"recurred_at": None} == judged


def level(place: Place, first: int, last: int, share: float, effect: float = 0.6) -> None:
    """Days after the decision date, in numbers, with so many times as many as before the fix."""
    days = [one for one in series(effect, after=120, seed=9) if one.day > DECISION]
    place.days([Point(one.day, round(one.n / (1 - effect) * share)) for one in days[first:last]])


@pytest.mark.parametrize(("share", "back"), [(0.4, False), (1.0, True), (3.0, True)])
def test_a_verified_rate_is_back_when_it_runs_above_its_band_and_beyond_its_promise(
    place: Place, share: float, back: bool
) -> None:
    place.days(series(0.6))
    place.detection(FIRST)
    place.fix(FIXED, DECISION)
    (judged,) = place.effects(DECISION)
    assert (judged["verdict"], judged["recurred_at"]) == ("verified", None)
    level(place, 0, 20, 0.4)
    (quiet,) = place.effects(DECISION + 20 * DAY)
    assert quiet == judged
    level(place, 20, 40, share)
    found = {n: place.effects(DECISION + n * DAY)[0]["recurred_at"] for n in (21, 30, 40)}
    if not back:
        assert set(found.values()) == {None}
        return
    assert found[21] is None
    assert found[40] == found[30] is not None  # once known it stays, and says since when
    when = (found[30] - place.settings.as_of(DECISION)).days
    assert 21 < when <= 30
    assert [place.effects(DECISION + n * DAY)[0]["recurred_at"] for n in (when - 1, when)] == [None, found[30]]


def test_a_rate_that_rises_but_keeps_what_was_promised_is_not_back(place: Place) -> None:
    """Half was promised and four fifths achieved: two fifths of before are above the band, and within the promise."""
    place.days(series(0.8))
    place.detection(FIRST)
    place.fix(FIXED, DECISION)
    (judged,) = place.effects(DECISION)
    assert judged["verdict"] == "verified"
    level(place, 0, 20, 0.2, 0.8)
    level(place, 20, 40, 0.4, 0.8)
    assert place.effects(DECISION + 40 * DAY) == [judged]


def test_what_is_not_verified_is_not_watched(place: Place) -> None:
    place.days(series(0.0))
    place.fix(FIXED, DECISION)
    level(place, 0, 20, 1.0, 0.0)
    level(place, 20, 40, 9.0, 0.0)
    assert place.effects(DECISION + 40 * DAY)[0]["recurred_at"] is None


def test_nothing_of_a_day_changes_when_later_days_and_decisions_are_added(place: Place) -> None:
    place.days(series(0.6))
    place.detection(FIRST)
    place.fix(FIXED, DECISION)
    first = place.effects(DECISION)
    place.days([Point(DECISION + n * DAY, 4000.0) for n in range(5)])
    place.detection(DECISION + DAY)
    place.decide("propose", midnight(DECISION) + 3 * DAY, kind="rate", decision_date=DECISION.isoformat())
    place.decide("implement", midnight(DECISION) + 3 * DAY)
    assert place.effects(DECISION) == first


def test_the_kpi_of_the_decision_date_does_not_enter(place: Place) -> None:
    place.days(series(0.6))
    place.fix(FIXED, DECISION)
    first = place.effects(DECISION)
    place.kpi(DECISION, 100_000.0)
    assert place.effects(DECISION) == first


def test_a_decision_recorded_after_the_as_of_is_not_known(place: Place) -> None:
    place.days(series(0.6))
    place.fix(FIXED, DECISION)
    assert place.effects(FIXED - DAY) == []
    assert len(place.effects(FIXED)) == 1


def test_incomplete_days_are_left_out_and_named(place: Place) -> None:
    points = series(0.6)
    bad = {FIXED + n * DAY: "partial" for n in (2, 3)} | {FIXED - 4 * DAY: "missing"}
    broken = [Point(point.day, 90_000.0) if point.day in bad else point for point in points]
    place.days([point for point in broken if point.day != FIXED + 9 * DAY], bad)
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert {(one["day"], one["reason"]) for one in row["left_out"]} == {
        *((day, verdict) for day, verdict in bad.items()),
        (FIXED + 9 * DAY, "not computed"),
    }
    assert row["verdict"] == "verified", row["reason"]
    assert row["days_after"] == 25
    assert {one["day"] for one in row["series"] if one["window"] == "left_out"} >= set(bad)


def test_a_useless_fix_at_the_end_of_a_campaign_is_not_verified(place: Place) -> None:
    """Red without the episode cut: of 300 such series 99 % look improved (28 days of doubling that end by themselves)."""
    before, after = draw(CAMPAIGNS["K28"], 5)
    fixed = after[0].day
    opened = fixed - 27 * DAY
    place.days([*before, *after, Point(after[-1].day + DAY, 40.0)])
    place.detection(opened)
    place.fix(fixed, fixed + 28 * DAY)
    (row,) = place.effects(fixed + 28 * DAY)
    assert row["verdict"] in ("ineffective", "inconclusive"), row["reason"]
    assert abs((row["before_end"] - opened).days) <= 5
    assert "episode" in {one["window"] for one in row["series"]}
    assert "episode that opened the finding" in row["reason"]


def test_an_error_as_old_as_its_records_is_compared_with_itself(place: Place) -> None:
    place.days(series(0.6))
    place.detection(FIRST)
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert "no time without the problem on record" in row["reason"]
    assert row["before_end"] == FIXED - DAY


@pytest.mark.parametrize(("effect", "verdict"), [(0.6, "verified"), (0.0, "ineffective")])
def test_days_from_before_the_problem_do_not_enter_its_own_comparison(
    place: Place, effect: float, verdict: str
) -> None:
    """Red where the window begins with the records: zeros before the first error make any interval useless."""
    points = series(effect)
    place.days([Point(one.day, 0.0) if n < 10 else one for n, one in enumerate(points)])
    place.detection(FIRST + 10 * DAY)
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == verdict, row["reason"]
    assert row["before_start"] >= FIRST + 10 * DAY
    assert "no time without the problem on record" in row["reason"]


def test_a_useless_fix_is_ineffective(place: Place) -> None:
    place.days(series(0.0))
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == "ineffective"
    assert row["low"] > 0.5


def test_recurrence(place: Place) -> None:
    days = [FIRST + n * DAY for n in range(80)]
    place.days([Point(day, 1.0) for day in days])
    place.evaluated(days)
    place.detection(FIRST + 30 * DAY)
    place.fix(FIXED, FIXED + 16 * DAY, kind="recurrence", kpi_id="detections", scope=f"finding:{FINDING}", covered_days=14, promised=None)  # fmt: skip
    (row,) = place.effects(FIXED + 16 * DAY)
    assert row["verdict"] == "verified", row["reason"]
    place.detection(FIXED + 5 * DAY)
    (row,) = place.effects(FIXED + 16 * DAY)
    assert row["verdict"] == "ineffective"
    assert (FIXED + 5 * DAY).isoformat() in row["reason"]


def test_a_day_on_which_the_rule_was_not_evaluated_is_no_day_without_recurrence(place: Place) -> None:
    days = [FIRST + n * DAY for n in range(80)]
    place.days([Point(day, 1.0) for day in days])
    place.evaluated(days)
    place.evaluated([FIXED + n * DAY for n in range(3, 9)], "not_evaluated")
    place.detection(FIRST + 30 * DAY)
    place.fix(FIXED, FIXED + 16 * DAY, kind="recurrence", kpi_id="detections", scope=f"finding:{FINDING}", covered_days=14)  # fmt: skip
    (row,) = place.effects(FIXED + 16 * DAY)
    assert row["verdict"] == "inconclusive"
    assert "5 more days" in row["reason"]
    assert {"source missing"} == {one["reason"] for one in row["left_out"] if one["day"] > FIXED}


def test_state(place: Place) -> None:
    days = [FIRST + n * DAY for n in range(80)]
    place.days([Point(day, 1.0 if day <= FIXED else 0.0) for day in days])
    place.evaluated(days)
    place.detection(FIRST + 30 * DAY)
    place.fix(FIXED, FIXED + 16 * DAY, kind="state", covered_days=7)
    (row,) = place.effects(FIXED + 16 * DAY)
    assert row["verdict"] == "verified", row["reason"]
    place.kpi(FIXED + 15 * DAY, 2.0)
    (row,) = place.effects(FIXED + 16 * DAY)
    assert row["verdict"] == "ineffective"


@pytest.mark.parametrize("scope", ["source:'; DROP TABLE kpis; --", "service:<script>", "team:\x1b[31m", SCOPE + "\n"])
def test_hostile_scopes_are_values(place: Place, scope: str) -> None:
    place.days(series(0.6))
    place.fix(FIXED, DECISION, scope=scope)
    (row,) = place.effects(DECISION)
    assert row["scope"] == scope


def test_what_is_logged_changed(place: Place) -> None:
    place.days(series(0.6))
    (rule,) = (one for one in load(place.settings)[0] if one.file.stem == "logging_stopped")
    place.detection(FIXED + 2 * DAY, rule=rule.id, group="{}", attack=list(rule.attack))
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == "inconclusive"
    assert f"what is logged was changed on {FIXED + 2 * DAY} ({rule.title})" in row["reason"]


def test_what_other_sources_log_does_not_matter(place: Place) -> None:
    place.days(series(0.6))
    place.detection(FIXED + 2 * DAY, rule="own", group="{}", attack=["T1562.008"], sources=["elsewhere"])
    place.fix(FIXED, DECISION, scope="source:idp")
    (named,) = place.effects(DECISION)
    place.detection(FIXED + 2 * DAY, rule="own", group="{}", attack=["T1562.008"], sources=["elsewhere", "idp"])
    (touched,) = place.effects(DECISION)
    assert ("what is logged" in named["reason"], "what is logged" in touched["reason"]) == (False, True)


def test_a_source_that_fell_silent(place: Place) -> None:
    points = series(0.6)
    place.days(points)
    for point in points[-10:]:
        place.write("completeness", point.day, source="idp", verdict="proven", events=0, reasons=[])
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == "inconclusive"
    assert "source idp has no events after" in row["reason"]


def test_a_noise_rule_is_named(place: Place) -> None:
    noise = place.settings.root / "noise"
    noise.mkdir()
    created = FIXED + 3 * DAY
    (noise / "probe.yaml").write_text(
        f"id: probe\ntitle: t\nreason: r\nowner: o\ncreated: {created}\nexpires: 2030-01-01\nsources: all\nwhere: {{api_operation: x}}\n"
    )
    place.days(series(0.6))
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert f"noise rule probe in force since {created}" in row["reason"]
    assert row["verdict"] == "verified"  # events that are marked still count in this KPI
    for n in range(72):
        place.evaluated([FIRST + n * DAY])
    place.fix(FIXED, DECISION, kpi_id="detections", scope=f"finding:{FINDING}")


def test_more_people(place: Place) -> None:
    points = series(0.0)
    place.days(points)
    for point in points:
        rows = 3 if point.day < FIXED else 9
        from audit_pipeline_tests.effects.place import table

        people = [{"day": point.day, "x_actor": f"a{n}", "sources": ["idp"]} for n in range(rows)]
        place.lake.write_table("actor_days", table("actor_days", people), point.day)
    place.fix(FIXED, DECISION)
    (row,) = place.effects(DECISION)
    assert row["verdict"] == "inconclusive"
    assert "9 actors a day instead of 3" in row["reason"]


def test_reruns_give_the_same_bytes(place: Place) -> None:
    place.days(series(0.6))
    place.fix(FIXED, DECISION)
    place.effects(DECISION)
    first = place.lake.read(f"effects/day={DECISION}/effects.parquet")
    place.effects(DECISION)
    assert place.lake.read(f"effects/day={DECISION}/effects.parquet") == first


def test_a_time_of_an_unlucky_zone_is_its_utc_day(place: Place) -> None:
    place.days(series(0.6))
    seq = place.decide("propose", midnight(FIXED) - DAY, kind="rate", kpi_id="failed_sign_ins", scope=SCOPE, direction="down", promised=0.5, decision_date=DECISION.isoformat())  # fmt: skip
    zone = dt.timezone(dt.timedelta(hours=-5))
    place.decide("implement", midnight(FIXED) + DAY, midnight(FIXED).astimezone(zone), proposal=seq)
    (row,) = place.effects(DECISION)
    assert row["after_start"] == FIXED + DAY
