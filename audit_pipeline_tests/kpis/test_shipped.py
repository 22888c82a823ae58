"""Every shipped KPI over one small company: numbers counted by hand, and each recounted through its own drill-down."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline.kpis import catalogue
from audit_pipeline.kpis.compute import DETAILS, compute, numbers
from audit_pipeline.kpis.measure import REVIEWS, Reader, Span
from audit_pipeline.kpis.statement import drilling
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry
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

ONE_DAY = dt.timedelta(days=1)
CONFIG = """
sources: {idp: {type: files, format: cloudtrail, team: iam}, app: {type: files, format: cloudtrail}, hosts: {type: files, format: linux_auth, team: ops}}
teams: {iam: {owns: ["service:sts.amazonaws.com"]}, ops: {owns: []}, shop: {owns: ["service:shop", "source:app"]}}
identities: identities.csv
hours: {zone: UTC, days: mon-fri, from: "07:00", to: "19:00"}
releases: releases.csv
"""
IDENTITIES = "source,account,person,role,kind,zone,team\n*,alice,Alice,dev,human,UTC,shop\n*,bob,Bob,sre,human,UTC,ops\n*,robot,Robot,,service,UTC,shop\n"
RELEASES = "time,service,version,change_id\n2026-03-01T23:59:59Z,shop,1,c1\n2026-03-02T00:00:00Z,shop,2,c2\n2026-03-02T15:00:00Z,cart,7,c3\n2026-03-03T00:00:00Z,shop,3,c4\n"
NOISE = """
id: front_page
title: The front page
reason: Everybody asks for it.
owner: shop
created: 2026-03-01
expires: 2026-04-01
sources: all
where: {page: {api_operation: GET /}, condition: page}
"""
Found = dict[tuple[str, str], dict[str, Any]]


def call(service: str, operation: str, time: dt.datetime, **more: Any) -> dict[str, Any]:
    return {"time": time, "class_uid": 6003, "category_uid": 6, "api_service_name": service, "api_operation": operation, "status_id": 1, **more}  # fmt: skip


def life(service: str, activity: int, time: dt.datetime, **more: Any) -> dict[str, Any]:
    return {"time": time, "x_source": "app", "class_uid": 6002, "category_uid": 6, "activity_id": activity, "api_service_name": service, **more}  # fmt: skip


def events() -> list[dict[str, Any]]:
    sudo = {
        "class_uid": 3002,
        "category_uid": 3,
        "activity_id": 7,
        "metadata_product_name": "sudo",
        "x_source": "hosts",
    }
    iam, sts, rbac = "iam.amazonaws.com", "sts.amazonaws.com", "rbac.authorization.k8s.io"
    return [
        *burst("alice", at(8), 12, src_endpoint_ip="203.0.113.9"),
        *burst("bob", at(9), 9),
        *burst("Hunter2!secret", at(9, 30), 2, x_source="hosts", count=6),  # twelve attempts, one line repeated
        *[{**row, "status_id": 1} for row in burst("carol", at(10), 3)],
        call(iam, "AttachRolePolicy", at(11)),
        call(iam, "AttachUserPolicy", at(11), status_id=2, status_code="AccessDenied"),
        call(iam, "ListRoles", at(11)),
        call(sts, "AssumeRole", at(11), user_name="OrgAdminAccess"),
        call(sts, "AssumeRole", at(11), user_name="reader"),
        call(rbac, "create", at(11), x_source="app", resource_type="clusterrolebindings"),
        call(rbac, "get", at(11), x_source="app", resource_type="clusterrolebindings"),
        {**sudo, "time": at(12), "user_name": "root", "status_id": 1},
        {**sudo, "time": at(12), "user_name": "root", "status_id": 1, "activity_id": 99},  # the session that PAM opens
        {**sudo, "time": at(12), "user_name": "root", "status_id": 2},
        {**sudo, "time": at(12), "user_name": "postgres", "status_id": 1},
        *[call("shop", "GET /", at(13, 0, i), x_source="app", duration=i, http_response_code=200, x_actor="robot") for i in range(1, 101)],
        *[call("shop", "GET /slow", at(13, 5, i), x_source="app", duration=5000, x_actor="alice") for i in range(20)],
        *[call("shop", "GET /rare", at(13, 6, i), x_source="app", duration=9000, x_actor="bob") for i in range(2)],
        call("shop", "GET /no", at(3), x_source="app", status_id=2, http_response_code=403, x_actor="alice"),
        call("shop", "GET /no", at(13), x_source="app", status_id=2, http_response_code=500, x_actor="alice"),
        call("core", "watch", at(13), x_source="app", duration=3_600_000),
        life("shop", 4, at(23, 40, day=DAY - ONE_DAY), message="out of memory password=hunter2hunter2"),
        life("shop", 3, at(0, 20)),
        life("shop", 4, at(10), message="deploy"),
        life("shop", 4, at(10, 1), message="still down"),
        life("shop", 3, at(10, 5)),
        life("cart", 4, at(23, 50), status_detail="disk full"),
        life("idle", 3, at(1, day=DAY - 20 * ONE_DAY)),
        life("sshd", 4, at(6), x_source="hosts", metadata_product_name="sshd"),
    ]  # fmt: skip


def detection(rule: str, key: dict[str, str], first: dt.datetime, day: dt.date, source: str) -> dict[str, Any]:
    empty = dict.fromkeys(TABLES["detections"].schema.names)
    return {**empty, "detection_id": rule, "day": day, "rule_id": rule, "kind": "rule", "level": "high", "sources": [source], "first_time": first, "last_time": first, "n": 3, "group_key": json.dumps(key)}  # fmt: skip


def write_detections(lake: Lake, day: dt.date, rows: list[dict[str, Any]]) -> None:
    lake.write_table("detections", pa.Table.from_pylist(rows, schema=TABLES["detections"].schema), day)


def collected(lake: Lake, source: str, *moments: str) -> None:
    for number, moment in enumerate(moments, 1):
        manifest.append(lake, Entry(source=source, sequence=number, collected_at=moment))


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Lake, pa.Table]:
    root: Path = tmp_path_factory.mktemp("company")
    (root / "identities.csv").write_text(IDENTITIES, encoding="utf-8")
    (root / "releases.csv").write_text(RELEASES, encoding="utf-8")
    (root / "noise").mkdir()
    (root / "noise" / "front_page.yaml").write_text(NOISE, encoding="utf-8")
    settings, lake = make_settings(root, CONFIG), open_lake(root)
    write_events(lake, events())
    write_completeness(lake, DAY, {"idp": "no_gap_seen", "app": "proven", "hosts": "no_gap_seen"})
    # idp was collected in the night after, hosts for the first time four days later: a backfill
    collected(lake, "idp", "2026-03-02T03:00:00Z", "2026-03-03T03:00:00Z", "2026-03-06T09:00:00Z")
    collected(lake, "hosts", "2026-03-06T09:00:00Z")
    write_detections(lake, DAY, [detection("r1", {"a": "x"}, at(21), DAY, "idp"), detection("r2", {"a": "y"}, at(2), DAY, "hosts")])  # fmt: skip
    calendar = [(DAY - n * ONE_DAY, "on_time" if n in (1, 3) else "late" if n == 2 else "missed") for n in range(1, 5)]
    reviews = [{"kind": "daily", "day": day, "due_at": at(3, day=day + 2 * ONE_DAY), "state": state} for day, state in [*calendar, (DAY, "on_time")]]  # fmt: skip
    tables = {"reviews": pa.Table.from_pylist(reviews, schema=REVIEWS)}
    return settings, lake, compute(settings, lake, DAY, tables=tables)


def by_scope(company: tuple[Settings, Lake, pa.Table], kpi: str) -> dict[str, tuple[Any, Any, Any]]:
    rows = [row for row in company[2].to_pylist() if row["kpi_id"] == kpi]
    return {row["scope"]: (row["value"], row["n"], row["population"]) for row in rows}


EXPECTED: dict[str, dict[str, tuple[Any, Any, Any]]] = {
    "failed_sign_ins": {
        "all": (33.0, 33, 36), "source:idp": (21.0, 21, 24), "source:hosts": (12.0, 12, 12), "source:app": (0.0, 0, 0),
        "team:iam": (21.0, 21, 24), "team:ops": (12.0, 12, 12),
    },
    "accounts_under_guessing": {
        "all": (2.0, 2, 4), "source:idp": (1.0, 1, 3), "source:hosts": (1.0, 1, 1), "source:app": (0.0, 0, 0),
        "team:iam": (1.0, 1, 3), "team:ops": (1.0, 1, 1),
    },
    "downtime_minutes": {
        "all": (20.0 + 5 + 10, 3, 3), "team:shop": (35.0, 3, 3),
        "service:shop": (25.0, 2, 1), "service:cart": (10.0, 1, 1), "service:idle": (0.0, 0, 1),
    },
    "releases": {"all": (2.0, 2, 3), "service:shop": (1.0, 1, 2), "service:cart": (1.0, 1, 1), "team:shop": (1.0, 1, 2)},
    "completeness": {
        "all": (1.0, 3, 3), "source:idp": (1.0, 1, 1), "source:app": (1.0, 1, 1), "source:hosts": (1.0, 1, 1),
        "team:iam": (1.0, 1, 1), "team:ops": (1.0, 1, 1), "team:shop": (1.0, 1, 1),
    },
    "reviews_on_time": {"all": (0.5, 2, 4)},  # that of the day itself falls due after its as-of
    "time_to_detect": {"all": (6 * 3600.0, 1, 1), "team:iam": (6 * 3600.0, 1, 1)},
    "time_to_acknowledge": {"all": (None, 0, 1), "team:iam": (None, 0, 1)},
    "time_to_remediate": {"all": (None, 0, 0)},
    "time_to_verify": {"all": (None, 0, 0)},
    "recurring_error_share": {"all": (None, 0, 0)},
}  # fmt: skip


@pytest.mark.parametrize("kpi", EXPECTED)
def test_numbers_counted_by_hand(company: tuple[Settings, Lake, pa.Table], kpi: str) -> None:
    assert by_scope(company, kpi) == EXPECTED[kpi]


@pytest.mark.parametrize(
    ("kpi", "scope", "expected"),
    [
        ("privilege_escalations", "all", (4.0, 4, None)),
        ("privilege_escalations", "source:idp", (2.0, 2, 29)),
        ("privilege_escalations", "source:app", (1.0, 1, None)),
        ("privilege_escalations", "source:hosts", (1.0, 1, 17)),  # 12 attempts in two lines, and five
        ("off_hours_access", "all", (1 / 24, 1, 24)),  # alice 20 + 2, bob 2; the robot is no person
        ("off_hours_access", "team:shop", (1 / 22, 1, 22)),
        ("access_refused", "source:idp", (1 / 5, 1, 5)),
        ("access_refused", "source:app", (1 / 127, 1, 127)),
        ("access_refused", "service:shop", (1 / 124, 1, 124)),
        ("error_rate_by_service", "service:shop", (2 / 124, 2, 124)),
        ("error_rate_by_service", "team:shop", (2 / 127, 2, 127)),
        ("noise_share", "source:idp", (0.0, 0, 29)),
        ("noise_share", "team:shop", (100 / 132, 100, 132)),
        ("slow_operations", "service:shop", (5.0, 122, 122)),
    ],
)
def test_numbers_of_single_scopes(company: tuple[Settings, Lake, pa.Table], kpi: str, scope: str, expected: tuple[Any, ...]) -> None:  # fmt: skip
    value, n, population = by_scope(company, kpi)[scope]
    assert (value, n) == (pytest.approx(expected[0]), expected[1])
    assert expected[2] in (None, population)


def test_every_number_is_recounted_through_its_drill_down(company: tuple[Settings, Lake, pa.Table]) -> None:
    settings, lake, table = company
    known = catalogue(settings)
    reader = Reader(settings, lake, DAY, {"reviews": REVIEWS.empty_table()})
    recounted = set()
    with contextlib.ExitStack() as stack:
        opened: dict[int, Any] = {}
        for row in table.to_pylist():
            kpi = known[row["kpi_id"]]
            drill = drilling(kpi, settings, row["scope"])
            if drill is None or kpi.id == "reviews_on_time":  # its table is handed in, and was not here
                continue
            if kpi.look_back not in opened:
                con = reader.open(Span.whole(DAY, DAY), kpi.look_back)
                opened[kpi.look_back] = stack.enter_context(contextlib.closing(con))
            span = Span.whole(DAY - (kpi.window - 1) * ONE_DAY, DAY)
            names = {"accounts_under_guessing": "x_source, user_name", "failed_sign_ins": '"count"'}.get(
                kpi.id, "1 AS one"
            )
            rows = reader.rows(opened[kpi.look_back], f"SELECT {names} FROM (\n{drill}\n)", span).to_pylist()
            if kpi.id == "accounts_under_guessing":
                n = len({(one["x_source"], one["user_name"]) for one in rows})
            elif kpi.id == "failed_sign_ins":
                n = sum(one["count"] or 1 for one in rows)
            else:
                n = len(rows)
            assert n == row["n"], (kpi.id, row["scope"])
            if n:
                recounted.add(kpi.id)
    assert recounted == {
        "failed_sign_ins", "accounts_under_guessing", "privilege_escalations", "off_hours_access", "access_refused", "error_rate_by_service",
        "slow_operations", "downtime_minutes", "releases", "completeness", "coverage", "time_to_detect", "noise_share",
    }  # fmt: skip


def test_uncertainty_stands_beside_rates_and_rare_counts_and_nowhere_else(company: tuple[Settings, Lake, pa.Table]) -> None:  # fmt: skip
    rows: Found = {(row["kpi_id"], row["scope"]): row for row in company[2].to_pylist()}
    for (kpi, scope), row in rows.items():
        wanted = kpi in ("error_rate_by_service", "access_refused", "off_hours_access", "accounts_under_guessing", "privilege_escalations")  # fmt: skip
        assert (row["low"] is not None) == (wanted and row["value"] is not None), (kpi, scope)
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"]
    guessed = rows["accounts_under_guessing", "all"]
    assert (guessed["low"], guessed["high"]) == (pytest.approx(0.2422, abs=1e-4), pytest.approx(7.2247, abs=1e-4))


def test_details_name_what_is_behind_and_no_secret(company: tuple[Settings, Lake, pa.Table]) -> None:
    note = (company[1].table_metadata("kpis", DAY) or {})[DETAILS]
    details = json.loads(note)
    assert [(row["operation"], row["p95_s"]) for row in details["slow_operations"]] == [
        ("GET /slow", 5.0),
        ("GET /", pytest.approx(0.09505)),
    ]  # the two rare calls were slower, but two say nothing
    longest, second, third = details["downtime_minutes"]
    assert (longest["service"], longest["minutes"], longest["since"]) == ("shop", 20.0, "2026-03-01T23:40:00Z")
    assert longest["cause"].startswith("out of memory")
    assert (second["cause"], third["cause"]) == ("disk full", "deploy")
    assert details["noise_share"] == [{"rule": "front_page", "n": 100}]
    assert details["time_to_detect"] == [{"what": "findings of backfilled days, left out", "n": 1}]
    assert [row["version"] for row in details["releases"]] == ["2", "7"]
    assert "hunter2" not in note.lower()


def test_names_that_were_typed_into_a_sign_in_are_not_in_the_table(company: tuple[Settings, Lake, pa.Table]) -> None:
    _, lake, table = company
    assert "Hunter2" not in json.dumps(table.to_pylist(), default=str)
    assert b"Hunter2" not in lake.read(f"kpis/day={DAY}/kpis.parquet")


def test_every_kpi_is_there_on_a_day_that_nobody_collected_and_none_has_a_value(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    found = compute(settings, lake, DAY).to_pylist()
    assert {row["kpi_id"] for row in found} == set(catalogue())
    assert {(row["value"], row["state"]) for row in found} == {(None, "no_data")}


def test_an_application_that_never_told_of_its_starts_has_no_downtime_known(tmp_path: Path) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    write_events(lake, [call("shop", "GET /", at(9)), life("old", 3, at(9, day=DAY - 36 * ONE_DAY), x_source="idp")])
    write_completeness(lake, DAY, {"idp": "proven", "vpn": "proven"})
    rows, _, _ = numbers(settings, lake, DAY, {"downtime_minutes": catalogue()["downtime_minutes"]})
    assert [(row["scope"], row["value"], row["state"]) for row in rows] == [("all", None, "no_data")]


@pytest.mark.parametrize(("day", "minutes"), [(DAY - ONE_DAY, 10.0), (DAY, 1440.0), (DAY + ONE_DAY, 30.0)])
def test_an_outage_over_midnights_is_cut_by_day(tmp_path: Path, day: dt.date, minutes: float) -> None:
    settings, lake = make_settings(tmp_path), open_lake(tmp_path)
    told = [life("shop", 4, at(23, 50, day=DAY - ONE_DAY)), life("shop", 3, at(0, 30, day=DAY + ONE_DAY))]
    told += [
        life("shop", 3, at(6, day=DAY - ONE_DAY), device_hostname="other")
    ]  # another host comes up and ends nothing here
    write_events(lake, [{**one, "x_source": "idp"} for one in told])
    for one in (DAY - ONE_DAY, DAY, DAY + ONE_DAY):
        write_completeness(lake, one, {"idp": "proven", "vpn": "proven"})
    rows, _, _ = numbers(settings, lake, day, {"downtime_minutes": catalogue()["downtime_minutes"]})
    assert {row["scope"]: row["value"] for row in rows} == {"all": minutes, "service:shop": minutes}
