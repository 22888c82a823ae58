"""The stores' own audit logs to OCSF.

Examples are those of "Elasticsearch audit events" (elastic.co/docs/reference/elasticsearch/elasticsearch-audit-events), of "Audit log field
reference" (docs.opensearch.org/latest/security/audit-logs/field-reference) and of OpenSearch's own tests (github.com/opensearch-project/security).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from audit_pipeline.formats._elasticsearch_audit import CALLS, KINDS
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline_tests.ocsf.published import faults

SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
NAME = "elasticsearch_audit"


def event(action: str, layer: str = "rest", /, **fields: Any) -> dict[str, Any]:
    return {"type": "audit", "timestamp": "2020-12-30T22:30:06,949+0200", "node.id": "0RMNyghkQYCc_gVd1G6tZQ", "event.type": layer, "event.action": action, "request.id": "yKOgWn2CRQCKYgZRz3phJw"} | fields  # fmt: skip


def opened(category: str, **fields: Any) -> dict[str, Any]:
    fixed = {"audit_cluster_name": "c", "audit_node_name": "data_0", "audit_category": category, "audit_request_origin": "REST", "audit_request_layer": "REST", "@timestamp": "2023-08-16T17:35:53.531+00:00", "audit_format_version": 4,
             "audit_request_remote_address": "127.0.0.1", "audit_request_effective_user": "audit_log_verifier", "audit_node_host_name": "10.0.0.1"}  # fmt: skip
    return fixed | fields


FROM: dict[str, Any] = {"origin.type": "rest", "origin.address": "[::1]:52434"}
WHO: dict[str, Any] = {"user.name": "user1", "user.realm": "default_native", "user.roles": ["test_role"]}
_PATH: dict[str, Any] = {"url.path": "/twitter/_search", "url.query": "pretty", "request.method": "POST"}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (event("authentication_success", **FROM, **_PATH, **{"user.name": "elastic", "user.realm": "reserved", "authentication.type": "REALM"}),
     {"type_uid": 300201, "status_id": 1, "actor_user_name": "elastic", "user_name": "elastic", "src_endpoint_ip": "::1", "actor_idp_name": "reserved", "x_actor_kind": "unknown", "resource_name": "/twitter/_search"}),
    (event("authentication_failed", **{"user.name": "elastic", "origin.address": "203.0.113.9:51504"}), {"type_uid": 300201, "status_id": 2, "status_code": "authentication_failed", "user_name": "elastic", "src_endpoint_ip": "203.0.113.9"}),
    (event("realm_authentication_failed", **{"user.name": "elastic", "realm": "myTestRealm1"}), {"type_uid": 300299, "status_id": 2, "status_detail": "myTestRealm1"}),
    (event("run_as_granted", "transport", **FROM, **{"user.name": "elastic", "user.run_as.name": "user1", "action": "indices:data/read/search", "indices": ["alias1"]}),
     {"type_uid": 300207, "status_id": 1, "actor_user_name": "elastic", "user_name": "user1", "x_actor": "elastic"}),
    (event("run_as_denied", **{"user.name": "user1", "user.run_as.name": "root"}), {"type_uid": 300207, "status_id": 2, "user_name": "root"}),
    (event("access_denied", "transport", **FROM, **WHO, action="indices:admin/auto_create", indices=["<index-{now/d+1d}>"]),
     {"type_uid": 600301, "status_id": 2, "api_operation": "access_denied", "resource_name": "<index-{now/d+1d}>", "resource_type": "index", "actor_user_name": "user1", "x_read_only": False}),
    (event("access_granted", "transport", **WHO, action="indices:data/write/bulk"), {"type_uid": 600303, "status_id": 1, "user_name": None}),
    (event("access_granted", "transport", **WHO, action="indices:data/read/mget[shard]"), {"type_uid": 600302, "x_read_only": True}),
    (event("access_granted", "transport", **WHO, action="cluster:admin/xpack/security/role/delete"), {"type_uid": 600304}),
    (event("access_granted", "transport", **WHO, action="cluster:admin/xpack/security/user/get"), {"type_uid": 600302}),
    (event("access_granted", "transport", action="indices:data/read/get", **WHO, **{"user.run_by.name": "proxy"}), {"actor_user_name": "proxy", "user_name": "user1", "x_actor": "proxy"}),
    (event("access_granted", "transport", action="x:y", **{"user.name": "elastic/fleet-server"}), {"type_uid": 600399, "x_actor_kind": "service"}),
    (event("anonymous_access_denied", **FROM, **_PATH), {"type_uid": 600399, "status_id": 2, "api_operation": "anonymous_access_denied", "actor_user_name": None}),
    (event("tampered_request", **_PATH), {"class_uid": 6003, "status_id": 2}),
    (event("connection_denied", "ip_filter", rule="deny 10.10.0.0/16", **{"origin.address": "10.10.0.20:52314"}), {"type_uid": 400105, "status_id": 2, "status_detail": "deny 10.10.0.0/16", "src_endpoint_ip": "10.10.0.20"}),
    (event("connection_granted", "ip_filter"), {"type_uid": 400101, "status_id": 1}),
    (event("put_user", "security_config_change", put={"user": {"name": "user1", "enabled": False, "roles": ["admin"]}}), {"type_uid": 300199, "status_id": 1, "user_name": "user1", "api_operation": "put_user"}),
    (event("delete_user", "security_config_change", delete={"user": {"name": "jacknich"}}), {"type_uid": 300106, "user_name": "jacknich"}),
    (event("change_password", "security_config_change", change={"password": {"user": {"name": "user1"}}}), {"type_uid": 300103, "user_name": "user1"}),
    (event("change_disable_user", "security_config_change", change={"disable": {"user": {"name": "user1"}}}), {"type_uid": 300105, "user_name": "user1"}),
    (event("change_enable_user", "security_config_change", change={"enable": {"user": {"name": "user1"}}}), {"type_uid": 300102, "user_name": "user1"}),
    (event("put_role", "security_config_change", put={"role": {"name": "test_role", "role_descriptor": {"cluster": ["all"]}}}), {"type_uid": 300601, "group_name": "test_role"}),
    (event("delete_role", "security_config_change", delete={"role": {"name": "my_admin_role"}}), {"type_uid": 300605, "group_name": "my_admin_role"}),
    (event("put_role_mapping", "security_config_change", put={"role_mapping": {"name": "mapping1", "roles": ["user"]}}), {"type_uid": 300699, "group_name": "mapping1"}),
    (event("create_apikey", "security_config_change", create={"apikey": {"name": "test-api-key-1", "expiration": "10d"}}), {"type_uid": 300199, "resource_name": "test-api-key-1", "resource_type": "api key"}),
    (event("invalidate_apikeys", "security_config_change", invalidate={"apikeys": {"user": {"name": "myuser", "realm": "native1"}}}), {"type_uid": 300199, "user_name": "myuser"}),
    (event("create_service_token", "security_config_change", create={"service_token": {"namespace": "elastic", "service": "fleet-server", "name": "token1"}}), {"type_uid": 300199, "user_name": "elastic/fleet-server"}),
    (event("put_privileges", "security_config_change", put={"privileges": [{"application": "myapp"}]}), {"type_uid": 600303}),
    (event("put_future", "security_config_change"), {"type_uid": 600399, "status_id": 1}),
    (event("something_else"), {"type_uid": 99, "status_id": 0, "metadata_event_code": "something_else"}),
    (opened("FAILED_LOGIN", audit_rest_request_path="/", audit_request_effective_user="admin", audit_rest_request_headers={"User-Agent": ["curl/8"]}),
     {"type_uid": 300201, "status_id": 2, "user_name": "admin", "http_request_user_agent": "curl/8", "metadata_product_name": "OpenSearch", "src_endpoint_ip": "127.0.0.1", "device_hostname": "10.0.0.1"}),
    (opened("AUTHENTICATED", audit_request_initiating_user="CN=proxy"), {"type_uid": 300201, "status_id": 1, "actor_user_name": "CN=proxy", "user_name": "audit_log_verifier"}),
    (opened("GRANTED_PRIVILEGES", audit_rest_request_method="GET", audit_rest_request_path="/_plugins/_security/whoamiprotected"), {"type_uid": 600302, "status_id": 1, "api_operation": "GET", "resource_name": "/_plugins/_security/whoamiprotected"}),
    (opened("GRANTED_PRIVILEGES", audit_request_layer="TRANSPORT", audit_transport_request_type="GetSettingsRequest", audit_request_privilege="indices:monitor/settings/get"), {"type_uid": 600302, "api_operation": "indices:monitor/settings/get"}),
    (opened("MISSING_PRIVILEGES", audit_request_privilege="indices:admin/delete", audit_trace_resolved_indices=["humanresources"]), {"type_uid": 600304, "status_id": 2, "resource_name": "humanresources"}),
    (opened("OPENSEARCH_SECURITY_INDEX_ATTEMPT"), {"class_uid": 6003, "status_id": 2}),
    (opened("BAD_HEADERS"), {"class_uid": 6003, "status_id": 2}),
    (opened("SSL_EXCEPTION", audit_request_exception_stacktrace="javax.net.ssl.SSLException: x\n\tat y"), {"type_uid": 400104, "status_id": 2, "status_detail": "javax.net.ssl.SSLException: x"}),
    (opened("INDEX_EVENT", audit_request_privilege="indices:admin/create"), {"type_uid": 600301}),
    (opened("COMPLIANCE_DOC_WRITE", audit_compliance_operation="UPDATE", audit_trace_resolved_indices=["salary"], audit_trace_doc_id="7"), {"type_uid": 600303, "status_id": 0, "resource_name": "salary", "resource_uid": "7", "api_operation": "UPDATE"}),
    (opened("COMPLIANCE_DOC_READ"), {"type_uid": 600302}),
    (opened("CLUSTER_SETTINGS_CHANGED"), {"type_uid": 600303}),
]  # fmt: skip


def rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parsed.lines]


def lines(*events: Any) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in events)


@pytest.fixture(scope="module")
def read() -> list[dict[str, Any]]:
    return rows(parse(NAME, lines(*(one for one, _ in CASES)), mode="flat"))


@pytest.mark.parametrize("at", range(len(CASES)))
def test_events_become_classes_with_who_what_and_outcome(at: int, read: list[dict[str, Any]]) -> None:
    want = CASES[at][1]
    assert {name: read[at][name] for name in want} == want


def test_all_of_them_are_valid_ocsf_and_every_kind_is_among_them() -> None:
    every = [event(word, "security_config_change") if word.islower() else opened(word) for word in (*KINDS, *CALLS)]
    parsed = parse(NAME, lines(*(one for one, _ in CASES), *every))
    found = rows(parsed)
    assert len(found) == len(CASES) + len(every)
    assert [(row["type_uid"], fault) for row in found for fault in faults(row)] == []
    assert all(row["class_uid"] for row in found[len(CASES) :])


def test_times_of_both_and_of_older_versions() -> None:
    old = event("access_granted") | {"timestamp": None, "@timestamp": "2020-04-01T11:21:06,725+0200"}
    found = rows(parse(NAME, lines(event("access_granted"), old, opened("AUTHENTICATED")), mode="flat"))
    assert [row["time"] for row in found] == ["2020-12-30T20:30:06.949000Z", "2020-04-01T09:21:06.725000Z", "2023-08-16T17:35:53.531000Z"]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [({"type": "server", "timestamp": "2020-12-30T22:30:06,949+0200", "message": "started"}, "not_a_record"), (event("access_granted", timestamp="soon"), "no_time"), (event("access_granted", timestamp=None), "no_time"), ([1], "not_a_record")],
)  # fmt: skip
def test_what_is_no_event_is_a_reject(line: Any, reason: str) -> None:
    parsed = parse(NAME, lines(event("access_granted"), opened("AUTHENTICATED"), line))
    assert [reject.reason for reject in parsed.rejects] == [reason]
    assert parsed.summary["events"] == 2


def test_the_text_log_of_6_is_read_as_the_json_that_followed_it() -> None:
    """With and without a node's name, brackets and commas inside values, a line that is none."""
    lines = [
        b"[2018-06-19T05:16:15,549] [rest] [authentication_failed]        origin_address=[203.0.113.9], principal=[eve], uri=[/_x?a=b%2Cc]",
        b"[2019-01-08T14:15:02,011] [node-0] [transport] [access_granted]\torigin_type=[transport], origin_address=[192.0.2.1], principal=[ann], roles=[a,b], action=[indices:data/read/search[free_context]], indices=[foo-1,foo-2], request=[X]",
        b"[2019-01-08 not one of them",
        b"",
    ]
    parsed = parse(NAME, b"\n".join(lines), mode="flat")
    rows = [json.loads(line) for line in parsed.lines]
    shown = [(row["actor_user_name"] or row["user_name"], row["src_endpoint_ip"], row["api_operation"], row["status_id"], row["device_hostname"]) for row in rows]  # fmt: skip
    assert shown == [("eve", "203.0.113.9", "authentication_failed", 2, None), ("ann", "192.0.2.1", "access_granted", 1, "node-0")]  # fmt: skip
    assert rows[1]["time"] == "2019-01-08T14:15:02.011000Z"
    assert rows[1]["type_uid"] == 600302
    assert "indices:data/read/search[free_context]" in rows[1]["raw_data"]
    assert [(reject.reason, reject.offset) for reject in parsed.rejects] == [("not_a_record", len(lines[0]) + len(lines[1]) + 2)]  # fmt: skip


@pytest.mark.slow
def test_logs_that_real_clusters_wrote() -> None:
    """Those of the test data of Beats (github.com/elastic/beats, filebeat/module/elasticsearch/audit)."""
    files = sorted((SHARED / "pairs_elastic" / NAME).glob("*test-audit-*.log"))
    if not files:
        pytest.skip("shared data is absent")
    found = []
    for file in files:
        parsed = parse(NAME, file.read_bytes(), mode="flat")
        assert parsed.rejects == []
        found += rows(parsed)
    assert len(found) == 11
    assert all(row["class_uid"] and row["src_endpoint_ip"] and row["status_id"] for row in found)
    assert {"kibana", "logstash_manager"} <= {row["actor_user_name"] for row in found}


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.dictionaries(st.sampled_from([*event("x", **FROM, **WHO, put={}), *opened("x"), "indices", "change"]), st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["user", "name"]), inner), max_leaves=4), max_size=5), min_size=20, max_size=60))  # fmt: skip
def test_whatever_stands_where_it_is_an_event_or_a_reject(said: list[dict[str, Any]]) -> None:
    parsed = parse(NAME, lines(*(event("access_granted", n=n) | one for n, one in enumerate(said))))
    assert len(list(parsed.lines)) == parsed.summary["events"]
    assert parsed.summary["events"] + parsed.summary["rejects"] == len(said)
