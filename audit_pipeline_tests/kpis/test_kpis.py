"""KPIs of real lakes: numbers, what incomplete days do to them, baselines, files of a user's own."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from audit_pipeline.kpis import catalogue
from audit_pipeline.kpis.catalogue import KpiError, load, read
from audit_pipeline.kpis.compute import compute, numbers
from audit_pipeline.kpis.statistics import wilson
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline_tests.detections.helpers import (
    DAY,
    at,
    burst,
    make_settings,
    open_lake,
    write_completeness,
    write_events,
)

Place = tuple[Settings, Lake]
ONE_DAY = dt.timedelta(days=1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two sources, `idp` and `vpn`."""
    return make_settings(tmp_path), open_lake(tmp_path)


def rows(place: Place, kpi: str, day: dt.date = DAY) -> dict[str, dict[str, Any]]:
    """A day's rows of a KPI by scope, computed anew, as the table has them."""
    found, _, errors = numbers(*place, day, {kpi: catalogue(place[0])[kpi]})
    assert errors == []
    return {row["scope"]: row for row in pa.Table.from_pylist(found, schema=TABLES["kpis"].schema).to_pylist()}


def signed_in(user: str, time: dt.datetime, n: int, **more: Any) -> list[dict[str, Any]]:
    return [{**row, "status_id": 1} for row in burst(user, time, n, **more)]


def whole(place: Place, day: dt.date = DAY, **verdicts: str) -> None:
    write_completeness(place[1], day, {"idp": "no_gap_seen", "vpn": "proven", **verdicts})


def calls(service: str, good: int, bad: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"time": at(9, 0, i), "class_uid": 6003, "api_service_name": service, "api_operation": "Get", "status_id": 1 if i < good else 2, **more}
        for i in range(good + bad)
    ]  # fmt: skip


IDS = {
    "failed_sign_ins", "accounts_under_guessing", "access_refused", "error_rate_by_service", "slow_operations",
    "recurring_error_share", "time_to_detect", "time_to_acknowledge", "time_to_remediate", "time_to_verify", "coverage",
    "completeness", "lag", "reviews_on_time", "privilege_escalations", "off_hours_access", "downtime_minutes", "releases", "noise_share",
}  # fmt: skip


def test_the_shipped_kpis_have_the_ids_that_others_rely_on_and_the_four_of_the_first_screen_come_first() -> None:
    known, errors = load()
    assert errors == []
    assert set(known) == IDS
    assert list(known)[:4] == ["failed_sign_ins", "error_rate_by_service", "completeness", "lag"]
    assert {kpi.file.stem for kpi in known.values()} == set(known)
    assert all(kpi.title and kpi.owner and kpi.explanation for kpi in known.values())


def test_failed_sign_ins_count_of_attempts_by_source_and_in_all(place: Place) -> None:
    write_events(
        place[1],
        [
            *burst("alice", at(8), 7),
            *signed_in("bob", at(8), 20),
            *burst("carol", at(8), 2, x_source="vpn", count=5),
            {"time": at(9), "class_uid": 3002, "activity_id": 2, "status_id": 2},  # a logoff
            {"time": at(9), "class_uid": 6003, "activity_id": 1, "status_id": 2},
            *burst("late", at(0, day=DAY + ONE_DAY), 50),
            *burst("early", at(23, 30, day=DAY - ONE_DAY), 50),
        ],
    )
    whole(place)
    found = rows(place, "failed_sign_ins")
    assert {scope: (row["value"], row["n"], row["population"]) for scope, row in found.items()} == {
        "all": (17.0, 17, 37),
        "source:idp": (7.0, 7, 27),
        "source:vpn": (10.0, 10, 10),
    }
    assert found["all"]["verdict"] == "no_gap_seen"
    assert (found["all"]["period"], found["all"]["start"], found["all"]["end"]) == ("2026-03-02", at(0), at(24))
    assert (found["all"]["days_used"], found["all"]["days_left_out"]) == (1, 0)


def test_error_rate_by_service_with_its_interval(place: Place) -> None:
    write_events(
        place[1],
        [*calls("s3.amazonaws.com", 90, 10), *calls("iam.amazonaws.com", 4, 0), {"time": at(9), "api_service_name": "x", "api_operation": "y", "status_id": 0}],
    )  # fmt: skip
    whole(place)
    found = rows(place, "error_rate_by_service")
    assert {scope: (row["n"], row["population"], row["value"]) for scope, row in found.items()} == {
        "all": (10, 104, 10 / 104),
        "source:idp": (10, 104, 10 / 104),
        "source:vpn": (0, 0, None),
        "service:s3.amazonaws.com": (10, 100, 0.1),
        "service:iam.amazonaws.com": (0, 4, 0.0),
    }
    s3, iam = found["service:s3.amazonaws.com"], found["service:iam.amazonaws.com"]
    assert (s3["low"], s3["high"]) == (pytest.approx(0.05523, abs=1e-5), pytest.approx(0.17437, abs=1e-5))
    assert (iam["low"], iam["high"]) == (0.0, pytest.approx(0.4899, abs=1e-4))  # four calls prove little
    assert s3["state"] == "not_evaluated"  # no target


def test_wilson_is_the_set_of_shares_that_a_score_test_does_not_refuse() -> None:
    for n, population in [(0, 1), (1, 1), (3, 7), (10, 100), (999, 1000), (1, 10**6)]:
        low, high = wilson(n, population)
        share = n / population
        assert 0 <= low <= share <= high <= 1
        for bound in (low, high):
            if 0 < bound < 1:
                score = abs(share - bound) / math.sqrt(bound * (1 - bound) / population)
                assert score == pytest.approx(1.959964, abs=1e-5)


def test_lag_is_the_95th_percentile_of_records_whose_visible_time_is_known(place: Place) -> None:
    lags = [float(i) for i in range(101)]
    random.Random(7).shuffle(lags)
    events = [{"time": at(8, 0, i), "x_visible_time": at(8, 0, i + lag)} for i, lag in enumerate(lags)]
    write_events(place[1], [*events, *[{"time": at(9), "x_visible_time": None}] * 50])
    whole(place)
    found = rows(place, "lag")
    assert found["all"]["value"] == pytest.approx(95.0)
    assert (found["all"]["n"], found["source:idp"]["value"]) == (101, pytest.approx(95.0))
    vpn = found["source:vpn"]
    assert (vpn["value"], vpn["state"], vpn["n"]) == (None, "no_data", 0)


def test_completeness_counts_what_is_whole_of_what_is_configured(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    place = make_settings(tmp_path, f"sources: {json.dumps({name: {'type': 'files', 'format': 'cloudtrail'} for name in names})}"), open_lake(tmp_path)  # fmt: skip
    write_completeness(
        place[1], DAY, {"a": "proven", "b": "no_gap_seen", "c": "partial", "d": "missing", "foreign": "proven"}
    )
    found = rows(place, "completeness")
    assert (found["all"]["n"], found["all"]["population"], found["all"]["value"]) == (2, 5, 0.4)
    assert (found["all"]["state"], found["all"]["verdict"], found["all"]["low"]) == ("bad", "missing", None)
    assert {scope: (row["value"], row["state"]) for scope, row in found.items() if scope != "all"} == {
        "source:a": (1.0, "good"),
        "source:b": (1.0, "good"),
        "source:c": (0.0, "bad"),
        "source:d": (None, "no_data"),
        "source:e": (None, "no_data"),
    }


def test_a_sources_first_days_are_not_whole_and_not_bad_either(place: Place) -> None:
    write_completeness(place[1], DAY, {"idp": "unknown", "vpn": "proven"}, {"idp": "cold_start"})
    found = {scope: (row["value"], row["state"]) for scope, row in rows(place, "completeness").items()}
    assert found == {"all": (0.5, "not_evaluated"), "source:idp": (0.0, "not_evaluated"), "source:vpn": (1.0, "good")}


def test_completeness_with_a_lower_target_is_still_never_good_on_a_partial_day(place: Place) -> None:
    with_target(place, "completeness", 0.5)
    whole(place, idp="partial")
    row = rows(place, "completeness")["all"]
    assert (row["value"], row["state"], row["verdict"]) == (0.5, "not_evaluated", "partial")


def test_a_day_that_nobody_collected_has_no_value_anywhere(place: Place) -> None:
    expected = {(None, "no_data", None, None, "unknown", 0, 1)}
    for _ in range(2):
        found = compute(*place, DAY).to_pylist()
        assert {row["kpi_id"] for row in found} == set(catalogue())
        values = {(row["value"], row["state"], row["n"] if row["kpi_id"] not in ("completeness", "coverage") else None, row["low"], row["verdict"], row["days_used"], row["days_left_out"]) for row in found}  # fmt: skip
        assert values == expected
        write_completeness(
            place[1], DAY, dict.fromkeys(("idp", "vpn"), "unknown"), dict.fromkeys(("idp", "vpn"), "not_collected")
        )


@pytest.mark.parametrize(
    ("verdict", "code", "value", "state"),
    [
        ("proven", None, 0.0, "good"),
        ("no_gap_seen", None, 0.0, "good"),
        ("partial", "volume_low", None, "no_data"),
        ("unknown", "cold_start", None, "no_data"),
        ("unknown", "not_collected", None, "no_data"),
        ("missing", "no_data", None, "no_data"),
    ],
)
def test_silence_is_zero_only_where_the_source_was_seen_whole(
    tmp_path: Path, verdict: str, code: str | None, value: float | None, state: str
) -> None:
    place = make_settings(tmp_path, "sources: {idp: {type: files, format: cloudtrail}}"), open_lake(tmp_path)
    with_target(place, "failed_sign_ins", 100)
    write_events(place[1], [{"time": at(8), "class_uid": 6003}])
    write_completeness(place[1], DAY, {"idp": verdict}, {"idp": code} if code else None)
    found = rows(place, "failed_sign_ins")
    for scope in ("all", "source:idp"):
        row = found[scope]
        assert (row["value"], row["state"], row["verdict"]) == (value, state, verdict)
    rate = rows(place, "error_rate_by_service")["all"]
    assert (rate["value"], rate["state"], rate["low"]) == (None, "no_data", None)


def with_target(place: Place, kpi: str, target: float) -> None:
    """The shipped KPI with a target of the user's, in a file of the user's."""
    folder = place[0].root / "kpis"
    folder.mkdir(exist_ok=True)
    text = catalogue()[kpi].file.read_text(encoding="utf-8")
    data = {**yaml.safe_load(text), "target": target}
    (folder / f"{kpi}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


@pytest.mark.parametrize(
    ("verdict", "few", "many"),
    [("proven", "good", "bad"), ("no_gap_seen", "good", "bad"), ("unknown", "good", "bad"), ("partial", "not_evaluated", "not_evaluated")],
)  # fmt: skip
def test_a_partial_day_is_shown_but_never_good(place: Place, verdict: str, few: str, many: str) -> None:
    with_target(place, "failed_sign_ins", 5)
    whole(place, idp=verdict)
    for n, state in ((5, few), (6, many)):
        write_events(place[1], burst("alice", at(8), n))
        found = rows(place, "failed_sign_ins")
        for scope in ("all", "source:idp"):
            row = found[scope]
            assert (row["value"], row["state"], row["verdict"], row["target"]) == (n, state, verdict, 5.0)  # fmt: skip


def test_a_missing_source_takes_the_value_of_all_away_but_not_of_the_others(place: Place) -> None:
    yesterday = DAY - ONE_DAY
    write_events(place[1], [*burst("alice", at(8), 3), *burst("bob", at(8, day=yesterday), 3, x_source="vpn")])
    whole(place, vpn="missing")
    found = rows(place, "failed_sign_ins")
    assert (found["all"]["value"], found["all"]["state"], found["all"]["verdict"]) == (None, "no_data", "missing")
    assert (found["source:idp"]["value"], found["source:idp"]["verdict"]) == (3.0, "no_gap_seen")
    assert (found["source:vpn"]["value"], found["source:vpn"]["n"]) == (None, None)


def test_a_missing_source_that_has_no_part_in_a_kpi_does_no_harm(place: Place) -> None:
    """`vpn` is heard in the week before, but never with a sign-in."""
    write_events(
        place[1],
        [*burst("alice", at(8), 3), {"time": at(8, day=DAY - 3 * ONE_DAY), "x_source": "vpn", "class_uid": 6003}],
    )
    whole(place, vpn="missing")
    row = rows(place, "failed_sign_ins")["all"]
    assert (row["value"], row["verdict"]) == (3.0, "no_gap_seen")


def test_a_partial_source_without_sign_ins_today_still_casts_doubt_on_all(place: Place) -> None:
    write_events(
        place[1],
        [
            *burst("alice", at(8), 3),
            *burst("bob", at(8, day=DAY - ONE_DAY), 3, x_source="vpn"),
            {"time": at(8), "x_source": "vpn"},
        ],
    )
    whole(place, vpn="partial")
    row = rows(place, "failed_sign_ins")["all"]
    assert (row["value"], row["verdict"], row["state"]) == (3.0, "partial", "not_evaluated")


def store(
    place: Place, values: dict[dt.date, float | None], verdict: str = "proven", kpi: str = "failed_sign_ins"
) -> None:
    """Stored rows of earlier days."""
    empty = dict.fromkeys(TABLES["kpis"].schema.names)
    for day, value in values.items():
        row = {**empty, "period": day.isoformat(), "kpi_id": kpi, "scope": "all", "value": value, "verdict": verdict}
        place[1].write_table("kpis", pa.Table.from_pylist([row], schema=TABLES["kpis"].schema), day)


def before(days: int) -> dt.date:
    return DAY - days * ONE_DAY


def previous_of(place: Place, n: int = 6) -> tuple[float | None, float | None]:
    write_events(place[1], burst("alice", at(8), n))
    whole(place)
    row = rows(place, "failed_sign_ins")["all"]
    return row["previous"], row["trend"]


def test_the_baseline_is_the_median_of_the_same_weekday_in_four_weeks(place: Place) -> None:
    store(place, {before(i): 1000.0 for i in range(1, 30)})
    store(place, {before(7): 2.0, before(14): 4.0, before(21): 100.0, before(28): 4.0, before(35): 9999.0})
    assert previous_of(place) == (4.0, 0.5)


def test_fewer_than_two_of_the_weekdays_are_no_baseline(place: Place) -> None:
    store(place, {before(i): float(i) for i in range(1, 10)})
    store(place, {before(14): None, before(35): 5.0})
    assert previous_of(place) == (None, None)
    store(place, {before(28): 3.0})
    assert previous_of(place) == (5.0, 0.2)  # of 7 and 3


@pytest.mark.parametrize("verdict", ["partial", "missing"])
def test_incomplete_days_are_kept_out_of_baselines(place: Place, verdict: str) -> None:
    store(place, {before(7): 500.0, before(14): 500.0, before(21): 500.0}, verdict)
    assert previous_of(place) == (None, None)
    store(place, {before(7): 3.0, before(28): 3.0})
    assert previous_of(place) == (3.0, 1.0)


def test_a_baseline_of_zero_gives_no_relative_trend(place: Place) -> None:
    store(place, {before(7): 0.0, before(14): 0.0})
    assert previous_of(place) == (0.0, None)


def test_later_days_and_the_day_itself_are_no_baseline(place: Place) -> None:
    store(place, {DAY: 77.0, before(-1): 88.0, before(-7): 99.0})
    assert previous_of(place) == (None, None)
    assert previous_of(place) == (None, None)  # its own first result is none either


def test_the_same_lake_gives_the_same_bytes(place: Place) -> None:
    seen = set()
    events = [*calls("s3", 50, 3), *calls("iam", 50, 3, x_source="vpn"), *burst("alice", at(8), 9)]
    events = [
        {**event, "x_visible_time": event["time"] + dt.timedelta(seconds=i % 17)} for i, event in enumerate(events)
    ]
    whole(place)
    for seed in range(2):
        random.Random(seed).shuffle(events)
        write_events(place[1], events)
        compute(*place, DAY)
        seen.add(place[1].read(f"kpis/day={DAY}/kpis.parquet"))
    assert len(seen) == 1


def test_hostile_service_names_are_scopes_and_nothing_else(place: Place) -> None:
    name = "'; DROP TABLE events; --\n<script>"
    write_events(place[1], calls(name, 1, 1))
    whole(place)
    assert rows(place, "error_rate_by_service")[f"service:{name}"]["value"] == 0.5


OWN = {
    "id": "deletions",
    "title": "Deletions",
    "unit": "count",
    "direction": "lower_is_better",
    "owner": "cloud",
    "kind": "count",
    "explanation": "Calls that delete.",
    "sql": "SELECT 'all' AS scope, count(*) AS n, count(*) AS population, list(DISTINCT x_source) AS sources FROM events WHERE api_operation LIKE 'Delete%';\n",
}


def write_kpi(place: Place, name: str, text: str | dict[str, Any]) -> Path:
    folder = place[0].root / "kpis"
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text if isinstance(text, str) else yaml.safe_dump(text), encoding="utf-8")
    return file


def test_a_users_kpi_is_computed_like_the_shipped_ones(place: Place) -> None:
    write_kpi(place, "deletions.yaml", OWN)
    write_events(place[1], [{"time": at(8), "api_operation": "DeleteTrail"}] * 3)
    whole(place)
    assert list(catalogue(place[0]))[-1] == "deletions"
    assert {scope: row["value"] for scope, row in rows(place, "deletions").items()} == {"all": 3.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"direction": "sideways"}, "direction"),
        ({"sql": None}, "sql"),
        ({"colour": "red"}, "colour"),
        ({"id": "Not a name"}, "id"),
    ],
)
def test_a_kpi_file_with_a_wrong_key_names_file_and_key(place: Place, change: dict[str, Any], reason: str) -> None:
    file = write_kpi(place, "own.yaml", {**OWN, **change})
    with pytest.raises(KpiError, match=reason) as error:
        read(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("text", ["[", "", "a: [1", "- x", "\x00"])
def test_a_file_that_is_no_kpi_is_told_and_stops_nothing(place: Place, text: str) -> None:
    write_kpi(place, "own.yaml", text)
    assert list(catalogue(place[0])) == list(catalogue())
    assert [error.file.name for error in load(place[0])[1]] == ["own.yaml"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sql": "SELECT nonsense FROM nowhere"}, "nowhere"),
        ({"sql": "SELECT 'all' AS scope, 1 AS n"}, "population, sources"),
        ({"sql": "SELECT 'all' AS scope, 1 AS n, 1 AS population, [] AS sources UNION ALL SELECT 'all', 2, 2, []"}, "more than once"),
        ({"sql": "SELECT 'all' AS scope, 3 AS n, 2 AS population, [] AS sources", "kind": "rate"}, "above the population"),
        ({"sql": "SELECT 'all' AS scope, 'x' AS n, 2 AS population, [] AS sources"}, "wrong kind"),
        ({"sql": "DROP VIEW events"}, "syntax"),
        ({"sql": "SELECT 'all' AS scope, 1 AS n, 1 AS population, [] AS sources", "kind": "duration"}, "value"),
    ],
)  # fmt: skip
def test_a_kpi_that_fails_has_no_data_is_told_and_stops_nothing(
    place: Place, change: dict[str, Any], reason: str
) -> None:
    write_kpi(place, "own.yaml", {**OWN, "order": 0, **change})
    write_events(place[1], burst("alice", at(8), 3))
    whole(place)
    found = {(row["kpi_id"], row["scope"]): row for row in compute(*place, DAY).to_pylist()}
    assert [(row["value"], row["state"]) for (kpi, _), row in found.items() if kpi == "deletions"] == [
        (None, "no_data")
    ]
    assert found["failed_sign_ins", "all"]["value"] == 3.0
    (told,) = json.loads((place[1].table_metadata("kpis", DAY) or {})["kpi_errors"])
    assert told["file"] == "own.yaml"
    assert reason in told["reason"]


def test_two_files_of_one_id_are_told(place: Place) -> None:
    write_kpi(place, "a.yaml", OWN)
    write_kpi(place, "b.yaml", {**OWN, "title": "Other"})
    known, errors = load(place[0])
    assert known["deletions"].title == "Deletions"
    assert "also that of" in errors[0].reason
