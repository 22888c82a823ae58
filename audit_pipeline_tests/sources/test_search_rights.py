"""Who may do what to documents, and how long they are kept, as two stores tell it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.lake import manifest
from audit_pipeline.sources._search_rights import overlap, seconds_of
from audit_pipeline.sources.base import Reviewable, SourceError
from audit_pipeline_tests.sources.search_world import BEGIN, DAY, SOURCE, SearchWorld, document

ROLES = {
    "auditor": {"cluster": [], "indices": [{"names": ["logs-*"], "privileges": ["read", "view_index_metadata"]}]},
    "superuser": {"cluster": ["all"], "indices": [{"names": ["*"], "privileges": ["all"]}]},
    "shop": {"cluster": ["monitor"], "indices": [{"names": ["shop-*"], "privileges": ["all"]}]},
    "shipper": {"cluster": ["manage_ingest_pipelines"], "indices": [{"names": ["logs-audit"], "privileges": ["create_doc"]}]},
}  # fmt: skip
ELASTIC: dict[str, dict[str, Any]] = {
    "roles": ROLES,
    "users": {"ann": {"roles": ["auditor"], "enabled": True}, "ex": {"roles": ["superuser"], "enabled": False}},
    "mappings": {"sso-admins": {"roles": ["superuser"], "enabled": True, "rules": {}}},
    "streams": {"data_streams": [{"name": "logs-audit", "ilm_policy": "logs", "lifecycle": {"data_retention": "30d"}}]},
    "lifecycle": {".ds-1": {"settings": {"index": {"lifecycle": {"name": "logs"}}}}},
    "policy": {"logs": {"policy": {"phases": {"hot": {}, "delete": {"min_age": "14d", "actions": {}}}}}},
}  # fmt: skip
OPENSEARCH: dict[str, dict[str, Any]] = {
    "roles": {
        "auditor": {"cluster_permissions": [], "index_permissions": [{"index_patterns": ["logs-*"], "allowed_actions": ["read"]}]},
        "all_access": {"cluster_permissions": ["*"], "index_permissions": [{"index_patterns": ["*"], "allowed_actions": ["*"]}]},
    },
    "mappings": {"auditor": {"users": ["ann"], "backend_roles": []}, "all_access": {"users": [], "backend_roles": ["admins"]}},
    "streams": {"logs-audit": {"policy_id": "logs"}, "total_managed_indices": 1},
    "policy": {"policy": {"states": [
        {"name": "hot", "actions": [], "transitions": [{"state_name": "end", "conditions": {"min_index_age": "14d"}}]},
        {"name": "end", "actions": [{"delete": {}}], "transitions": []},
    ]}},
}  # fmt: skip


def told(world: SearchWorld) -> dict[str, set[str]]:
    """Rights by principal."""
    world.store.now = BEGIN + DAY
    source = world.source()
    assert isinstance(source, Reviewable)
    found: dict[str, set[str]] = {}
    for grant in source.access():
        found.setdefault(grant.principal, set()).add(grant.right)
    return found


def test_elasticsearch_tells_roles_users_and_mappings(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path)
    world.store.management = dict(ELASTIC)
    assert told(world) == {
        "role:auditor": {"read"}, "user:ann": {"read"}, "role:superuser": {"read", "write", "delete", "retention", "stop"},
        "mapping:sso-admins": {"read", "write", "delete", "retention", "stop"}, "role:shipper": {"write", "stop"},
    }  # fmt: skip


def test_opensearch_tells_roles_and_their_mapping(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, opensearch=True)
    world.store.management = dict(OPENSEARCH)
    everything = {"read", "write", "delete", "retention", "stop"}
    assert told(world) == {
        "role:auditor": {"read"}, "user:ann": {"read"}, "role:all_access": everything, "mapping:admins": everything,
    }  # fmt: skip


@pytest.mark.parametrize("opensearch", [False, True])
def test_a_refusal_names_the_right_and_the_collection_is_whole(tmp_path: Path, opensearch: bool) -> None:
    world = SearchWorld(tmp_path, opensearch=opensearch)
    world.store.docs = [document(1, BEGIN + dt.timedelta(hours=1))]
    got = world.collect(BEGIN + DAY)
    request = got.entries[-1].request
    assert ("restapi:admin/roles" if opensearch else "read_security") in request["access_refused"]
    assert "checkpoint" in request
    assert got.remarks == []
    assert "horizon_s" not in request
    with pytest.raises(SourceError, match="does not show who may do what"):
        told(world)


@pytest.mark.parametrize("opensearch", [False, True])
def test_snapshot_and_horizon_lie_in_the_entry(tmp_path: Path, opensearch: bool) -> None:
    """The shortest time that a store tells; one that stops telling is remembered."""
    world = SearchWorld(tmp_path, opensearch=opensearch)
    world.store.docs = [document(1, BEGIN + dt.timedelta(hours=1))]
    world.store.management = dict(OPENSEARCH if opensearch else ELASTIC)
    world.collect(BEGIN + DAY)
    world.store.management = {}
    world.collect(BEGIN + 2 * DAY)
    first, second = (entry.request for entry in manifest.entries(world.lake, SOURCE))
    assert ["user:ann", "read", "role auditor: read on logs-*"] in first["access"]
    assert first["horizon_s"] == second["horizon_s"] == 14 * 86_400


def test_a_configured_time_is_taken_as_it_is(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path, retention="7d")
    world.store.management = dict(ELASTIC)
    assert world.collect(BEGIN + DAY).entries[-1].request["horizon_s"] == 7 * 86_400


def test_check_says_what_is_kept_and_who_reaches_it(tmp_path: Path) -> None:
    world = SearchWorld(tmp_path)
    world.store.docs, world.store.management = [document(1, BEGIN)], dict(ELASTIC)
    world.store.now = BEGIN + DAY
    found = {probe.what: probe.detail for probe in world.source().probe()}
    assert "kept for 14 d" in found["horizon"]
    assert found["access review"].startswith("5 principals reach")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("logs-*", "logs-audit", True), ("logs-audit", "logs-*", True), ("logs-*", "logs-audit-*", True), ("shop-*", "logs-*", False), ("*", "logs-1", True), ("logs-1", "logs-2", False)],
)  # fmt: skip
def test_patterns_that_can_mean_the_same_name(one: str, other: str, same: bool) -> None:
    assert overlap(one, other) is same


@pytest.mark.parametrize(("age", "seconds"), [("30d", 2_592_000.0), ("12h", 43_200.0), ("500ms", 0.5), ("", None), ("-1", None), ("forever", None)])  # fmt: skip
def test_ages(age: str, seconds: float | None) -> None:
    assert seconds_of(age) == seconds
