"""Features of an actor-day against a recount by hand, whatever the events say."""

from __future__ import annotations

import datetime as dt
import random
import re
import zoneinfo
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline.anomaly.features import MAX_NETWORKS, actor_days, counted, features
from audit_pipeline.context import connect
from audit_pipeline.lake.store import Lake
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings

DAY = dt.date(2026, 3, 2)
MIDNIGHT = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
HOSTILE = ["' OR 1=1 --", 'x"; DROP VIEW events', "naïve\u202e\n", "a" * 300, "%_", "ÄÖ", "{curly}", "NULL", " "]
CONFIG = """
start: 2026-03-01
sources: {one: {type: files, format: cloudtrail, paths: [x]}, two: {type: files, format: cloudtrail, paths: [x]}}
teams: {cloud: {}}
identities: identities.csv
"""
HOURS = {
    "none": "",
    "on quarters": 'hours: {zone: Europe/Berlin, from: "07:00", to: "19:00"}\n',
    "between quarters": 'hours: {zone: Asia/Kathmandu, from: "07:10", to: "15:05"}\n',
    "over midnight": 'hours: {zone: America/St_Johns, from: "22:20", to: "06:00"}\n',
}
LISTED = """source,account,person,role,kind,zone,team,from,to
*,dora,Dora Doe,admin,human,Asia/Kolkata,cloud,,2026-03-02T11:00:00Z
*,dora,Dora Doe,dev,service,Europe/Berlin,,2026-03-02T11:00:00Z,
one,bot,Dora Doe,,service,,,,
*,job,,batch,service,,cloud,,
"""


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_number_is_what_a_recount_by_hand_gives(tmp_path: Path, seed: int, hours: str) -> None:
    settings, lake = _project(tmp_path, HOURS[hours])
    rows = _events(random.Random(seed), 400)
    _write(lake, rows)
    expected = _recount(rows, settings if HOURS[hours] else None)
    with connect(settings, lake, tables=["events"]) as con:
        for small in (True, False):
            assert {row["x_actor"]: row for row in counted(con, settings, small=small).to_pylist()} == expected


def test_an_identity_whose_events_have_no_values_is_in_the_table(tmp_path: Path) -> None:
    settings, lake = _project(tmp_path, "")
    _write(lake, [_blank(x_actor="eve"), _blank(x_actor=None)])
    (row,) = actor_days(settings, lake, DAY).to_pylist()
    assert (row["x_actor"], row["n"], row["operations"], row["hosts"], row["network_count"]) == ("eve", 1, 0, 0, 0)
    assert (lake.table_metadata("actor_days", DAY) or {})["events_without_actor"] == "1"


def test_no_event_makes_an_empty_table(tmp_path: Path) -> None:
    settings, lake = _project(tmp_path, HOURS["on quarters"])
    assert actor_days(settings, lake, DAY).num_rows == 0


def _project(root: Path, more: str) -> tuple[Settings, Lake]:
    (root / "identities.csv").write_text(LISTED, encoding="utf-8")
    return Settings.from_text(CONFIG + more, root / "pipeline.yaml"), Lake.open(str(root / "lake"))


def _write(lake: Lake, rows: list[dict[str, Any]]) -> None:
    for source in ("one", "two"):
        mine = [row for row in rows if row["x_source"] == source]
        lake.write_table("events", pa.Table.from_pylist(mine, schema=EVENT_SCHEMA), DAY, source, {"input_hash": "x"})


def _blank(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(EVENT_SCHEMA.names) | {"day": DAY, "time": MIDNIGHT, "x_source": "one", "x_line": 0} | values


def _events(draw: random.Random, n: int) -> list[dict[str, Any]]:
    pools: dict[str, list[Any]] = {
        "x_source": ["one", "two"],
        "x_actor": [None, "dora", "bot", "job", "eve", *HOSTILE],
        "x_actor_kind": [None, "human", "service", "unknown"],
        "count": [None, None, 1, 7, 0, -3, 2_000_000_000],
        "class_uid": [1001, 1007, 3001, 3002, 3004, 3006, 6001, 6003, 6005, None],
        "category_uid": [6, 6, 3, None],
        "activity_id": [*range(8), None],
        "status_id": [1, 2, 2, 99, None],
        "status_code": [None, "", "AccessDenied", "client.unauthorisedOperation", "ThrottlingException", *HOSTILE],
        "http_response_code": [None, 200, 401, 403, 500],
        "x_read_only": [None, True, False],
        "api_operation": [None, "GetObject", "GetSecretValue", "get", "list", "create", "AttachUserPolicy", "AssumeRole", *HOSTILE],
        "metadata_event_code": [None, "4624", *HOSTILE],
        "api_service_name": [None, "iam.amazonaws.com", "sts.amazonaws.com", "rbac.authorization.k8s.io", *HOSTILE],
        "metadata_product_name": [None, "sudo", "su", *HOSTILE],
        "resource_type": [None, "secrets", "rolebindings", *HOSTILE],
        "resource_uid": [None, *HOSTILE],
        "resource_name": [None, *HOSTILE],
        "user_name": [None, "root", "Administrator", *HOSTILE],
        "device_hostname": [None, *HOSTILE],
        "dst_endpoint_hostname": [None, "web-1"],
        "src_endpoint_ip": [None, "10.0.0.1", "10.0.9.9", "192.0.2.77", "2001:db8:1:2::3", "2001:DB8:1::", "::1", "no address", "999.1", *HOSTILE],
    }  # fmt: skip
    rows = []
    for _ in range(n):
        moment = MIDNIGHT + dt.timedelta(microseconds=draw.randrange(86_400_000_000))
        rows.append(_blank(time=moment, **{name: draw.choice(pool) for name, pool in pools.items()}))
    for number in range(MAX_NETWORKS + 20):
        rows.append(_blank(x_actor="eve", src_endpoint_ip=f"172.{number}.0.1"))
    return rows


def _who(row: dict[str, Any]) -> dict[str, Any]:
    """What `LISTED` says about the account at the event's time."""
    account, kind = row["x_actor"], row["x_actor_kind"]
    if account == "dora":
        early = row["time"] < MIDNIGHT + dt.timedelta(hours=11)
        told = ("admin", "human", "Asia/Kolkata", "cloud") if early else ("dev", "service", "Europe/Berlin", None)
        return dict(zip(("actor", "role", "kind", "zone", "team"), ("Dora Doe", *told), strict=True))
    if account == "bot" and row["x_source"] == "one":
        return {"actor": "Dora Doe", "role": None, "kind": "service", "zone": None, "team": None}
    if account == "job":
        return {"actor": "job", "role": "batch", "kind": "service", "zone": None, "team": "cloud"}
    return {"actor": account, "role": None, "kind": kind, "zone": None, "team": None}


def _refused(row: dict[str, Any]) -> bool:
    denied = re.search("denied|unauthori[sz]ed|forbidden|notauthorized", row["status_code"] or "", re.IGNORECASE)
    called = row["category_uid"] == 6 and row["api_operation"] is not None and row["status_id"] == 2
    return bool(called and (row["http_response_code"] in (401, 403) or denied))


def _privileged(row: dict[str, Any]) -> bool:
    if row["status_id"] == 2:
        return False
    if row["metadata_product_name"] in ("sudo", "su"):
        switched = row["class_uid"] == 3002 and row["activity_id"] == 7
        return row["user_name"] == "root" and (row["class_uid"] in (1007, 3003, 3005) or switched)
    if row["api_service_name"] == "iam.amazonaws.com":
        return bool(row["api_operation"] == "AttachUserPolicy")
    if row["api_service_name"] == "sts.amazonaws.com":
        return row["api_operation"] == "AssumeRole" and "admin" in (row["user_name"] or "").lower()
    if row["api_service_name"] == "rbac.authorization.k8s.io":
        return bool(row["api_operation"] == "create" and row["resource_type"] == "rolebindings")
    return False


def _deleted(row: dict[str, Any]) -> bool:
    where = (1001, 4), (3004, 4), (6001, 4), (6003, 4), (3001, 6), (3006, 5), (6005, 7)
    return (row["class_uid"], row["activity_id"]) in where


def _read(row: dict[str, Any]) -> bool:
    return row["api_operation"] == "GetObject" or (row["class_uid"], row["activity_id"]) in ((6005, 1), (6005, 4), (1001, 2))  # fmt: skip


HOLDS = {
    "events": lambda row: True,
    "failures": lambda row: row["status_id"] == 2,
    "refusals": _refused,
    "errors": lambda row: row["category_uid"] == 6 and row["status_id"] == 2 and not _refused(row),
    "sign_in_failures": lambda row: (row["class_uid"], row["activity_id"], row["status_id"]) == (3002, 1, 2),
    "privileged": _privileged,
    "changes": lambda row: row["x_read_only"] is False,
    "deletes": _deleted,
    "secret_reads": lambda row: (
        row["api_operation"] == "GetSecretValue"
        or (row["resource_type"] == "secrets" and row["api_operation"] in ("get", "list"))
    ),
    "data_reads": _read,
}
FIRST_OF = {
    "operations": ("api_operation", "metadata_event_code"),
    "services": ("api_service_name", "metadata_product_name"),
    "resources": ("resource_uid", "resource_name"),
    "hosts": ("device_hostname", "dst_endpoint_hostname"),
}


def _network(address: str | None) -> str | None:
    if address is None:
        return None
    if ":" in address:
        found = re.match("([0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F]*)", address)
        return (found.group(1) if found else "") + "::/48"
    if "." in address:
        found = re.match("([0-9]+[.][0-9]+)", address)
        return (found.group(1) if found else "") + ".0.0/16"
    return None


def _outside(local: dt.datetime, settings: Settings) -> bool:
    begin, end, at = settings.hours.from_, settings.hours.to, local.time()
    if begin < end:
        return not (begin <= at < end) or local.weekday() > 4
    evening = at >= begin and local.weekday() < 5
    morning = at < end and (local - dt.timedelta(days=1)).weekday() < 5
    return not (evening or morning)


def _recount(rows: list[dict[str, Any]], settings: Settings | None) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["x_actor"] is not None:
            told = _who(row)
            times = max(1 if row["count"] is None else row["count"], 1)
            zone = told["zone"] or (settings.hours.zone if settings else "UTC")
            groups[told["actor"]].append(row | told | {"times": times, "local": row["time"].astimezone(zoneinfo.ZoneInfo(zone))})  # fmt: skip
    return {actor: _one(actor, own, settings) for actor, own in groups.items()}


def _one(actor: str, rows: list[dict[str, Any]], settings: Settings | None) -> dict[str, Any]:
    def total(kept: list[dict[str, Any]]) -> int:
        return sum(row["times"] for row in kept)

    def greatest(name: str) -> str | None:
        return max((row[name] for row in rows if row[name] is not None), default=None)

    kinds = {row["kind"] for row in rows}
    networks = sorted({network for row in rows if (network := _network(row["src_endpoint_ip"]))})
    found: dict[str, Any] = {name: float(total([row for row in rows if holds(row)])) for name, holds in HOLDS.items()}
    for name, (first, second) in FIRST_OF.items():
        values = {row[first] if row[first] is not None else row[second] for row in rows}
        found[name] = float(len(values - {None}))
    found["off_hours"] = None if settings is None else float(total([row for row in rows if _outside(row["local"], settings)]))  # fmt: skip
    return found | {
        "x_actor": actor, "x_actor_kind": next((kind for kind in ("human", "service") if kind in kinds), "unknown"),
        "team": greatest("team"), "role": greatest("role"), "zone": greatest("zone"), "n": total(rows), "records": len(rows), "sources": sorted({row["x_source"] for row in rows}),
        "first_time": min(row["time"] for row in rows), "last_time": max(row["time"] for row in rows),
        "hours": [total([row for row in rows if row["local"].hour == hour]) for hour in range(24)],
        "networks": networks[:MAX_NETWORKS], "network_count": float(len(networks)),
    }  # fmt: skip


def test_the_recount_knows_every_feature() -> None:
    assert {one.name for one in features()} == {*HOLDS, *FIRST_OF, "off_hours", "network_count"}
