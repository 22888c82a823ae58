"""Kubernetes audit log to OCSF: wrappings, stages, who, how it ended, and odd records."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.formats.kubernetes_audit import FORMAT
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline_tests.ocsf.published import faults

_SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
_EVENT: dict[str, Any] = {
    "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "a-1", "stage": "ResponseComplete",
    "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web?x=1", "verb": "patch", "user": {"username": "ann@example.com", "groups": ["dev"]},
    "sourceIPs": ["203.0.113.66", "10.1.2.3"], "userAgent": "kubectl/v1.30", "objectRef": {"resource": "deployments", "namespace": "shop", "name": "web", "apiGroup": "apps", "apiVersion": "v1"},
    "responseStatus": {"metadata": {}, "code": 200}, "requestReceivedTimestamp": "2026-03-01T23:59:59.900000Z", "stageTimestamp": "2026-03-02T00:00:00.150900Z",
    "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed by dev"},
}  # fmt: skip


def _parse(*records: Any) -> Parsed:
    return parse("kubernetes_audit", "\n".join(json.dumps(record) for record in records).encode(), mode="flat")


def _row(**fields: Any) -> dict[str, Any]:
    (line,) = _parse(_EVENT | fields).lines
    row: dict[str, Any] = json.loads(line)
    return row


def test_columns() -> None:
    row = _row()
    want = {
        "time": "2026-03-01T23:59:59.900000Z", "day": "2026-03-01", "class_uid": 6003, "activity_id": 3, "type_uid": 600303, "status_id": 1, "duration": 250, "metadata_uid": "a-1",
        "actor_user_name": "ann@example.com", "x_actor": "ann@example.com", "x_actor_kind": "human", "src_endpoint_ip": "10.1.2.3", "api_operation": "patch", "api_service_name": "apps",
        "resource_type": "deployments", "resource_name": "web", "http_response_code": 200, "x_read_only": False, "status_detail": "allow: RBAC: allowed by dev", "user_name": None,
    }  # fmt: skip
    assert {name: row[name] for name in want} == want


@pytest.mark.parametrize(
    ("wrap", "events"),
    [
        (lambda e: "\n".join(map(json.dumps, e)), 3),
        (lambda e: json.dumps(e), 3),
        (lambda e: json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": e}), 3),
        (lambda e: json.dumps({"kind": "EventList", "items": e}, indent=1), 3),
        (lambda e: "\n".join(json.dumps({"kind": "EventList", "metadata": {}, "items": [x]}) for x in e), 3),
        (lambda e: json.dumps(e[0], indent=2), 1),
        (lambda e: json.dumps({"kind": "EventList", "items": e}) + "\n" + json.dumps(_EVENT | {"auditID": "z"}), 4),
    ],
)
def test_every_wrapping_gives_the_same_events(wrap: Any, events: int) -> None:
    records = [_EVENT | {"auditID": f"a-{n}"} for n in range(3)]
    parsed = parse("kubernetes_audit", wrap(records).encode(), mode="flat")
    assert parsed.rejects == []
    assert [json.loads(line)["metadata_uid"] for line in parsed.lines][:3] == ["a-0", "a-1", "a-2"][:events]
    assert parsed.events == events


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_stages_of_a_request_are_one_event(order: tuple[int, ...]) -> None:
    received = _EVENT | {"stage": "RequestReceived", "stageTimestamp": _EVENT["requestReceivedTimestamp"]}
    received.pop("responseStatus")
    started = _EVENT | {"stage": "ResponseStarted", "responseStatus": {"code": 200}}
    complete = _EVENT | {"responseStatus": {"code": 403, "reason": "Forbidden", "message": "no"}}
    stages = (received, started, complete)
    parsed = _parse(*(stages[n] for n in order))
    (row,) = [json.loads(line) for line in parsed.lines]
    assert (row["metadata_event_code"], row["status_id"], row["status_code"], row["api_response_error_message"]) == ("ResponseComplete", 2, "Forbidden", "no")  # fmt: skip
    assert (row["x_records"], row["x_duplicates"]) == (3, 0)
    assert parsed.summary["records"] == 3


def test_a_panic_wins_and_has_failed() -> None:
    panic = {k: v for k, v in _EVENT.items() if k != "responseStatus"} | {"stage": "Panic"}
    (line,) = _parse(panic, _EVENT | {"stage": "ResponseStarted"}).lines
    assert (json.loads(line)["metadata_event_code"], json.loads(line)["status_id"]) == ("Panic", 2)


def test_impersonation_is_on_the_account_of_who_impersonates() -> None:
    row = _row(user={"username": "root-ann"}, impersonatedUser={"username": "bob", "uid": "7"})
    assert (row["actor_user_name"], row["x_actor"], row["user_name"], row["user_uid"]) == ("root-ann", "root-ann", "bob", "7")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("system:serviceaccount:kube-system:generic-garbage-collector", "service"),
        ("system:node:ip-10-0-0-1", "service"),
        ("system:kube-scheduler", "service"),
        ("system:anonymous", "unknown"),
        ("system:admin", "unknown"),
        ("minikube-user", "unknown"),
        ("ann@example.com", "human"),
        ("ci@project.iam.gserviceaccount.com", "service"),
    ],
)
def test_kind_of_actor(name: str, kind: str) -> None:
    assert _row(user={"username": name})["x_actor_kind"] == kind


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"responseStatus": {"code": 399}}, 1),
        ({"responseStatus": {"code": 400}}, 2),
        ({"responseStatus": {"code": "503"}}, 2),
        ({"responseStatus": {"status": "Failure"}}, 2),
        ({"responseStatus": None, "stage": "RequestReceived", "annotations": None}, 0),
        ({"responseStatus": None, "annotations": {"authorization.k8s.io/decision": "forbid"}}, 2),
        ({"responseStatus": None}, 0),
    ],
)
def test_outcome(fields: dict[str, Any], status: int) -> None:
    assert _row(**fields)["status_id"] == status


@pytest.mark.parametrize(
    ("verb", "ref", "activity", "read_only"),
    [
        ("get", {"resource": "secrets"}, 2, True),
        ("watch", {"resource": "pods"}, 2, True),
        ("create", {"resource": "pods", "subresource": "exec", "name": "p"}, 1, False),
        ("get", {"resource": "pods", "subresource": "exec", "name": "p"}, 2, False),
        ("create", {"resource": "selfsubjectaccessreviews", "apiGroup": "authorization.k8s.io"}, 1, True),
        ("deletecollection", {"resource": "events"}, 4, False),
        ("impersonate", {"resource": "users"}, 99, False),
    ],
)
def test_verbs(verb: str, ref: dict[str, Any], activity: int, read_only: bool) -> None:
    row = _row(verb=verb, objectRef=ref)
    assert (row["activity_id"], row["type_uid"], row["x_read_only"]) == (activity, 600300 + activity, read_only)
    assert row["resource_type"] == "/".join(filter(None, [ref["resource"], ref.get("subresource")]))
    assert row["api_service_name"] == ref.get("apiGroup", "core")


def test_paths_without_a_resource() -> None:
    row = _row(objectRef=None, requestURI="/healthz?verbose", verb="get")
    assert (row["api_service_name"], row["resource_type"], row["resource_name"]) == ("kube-apiserver", None, "/healthz")


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"requestReceivedTimestamp": None, "timestamp": "2017-09-11T19:55:05Z"}, "2017-09-11T19:55:05Z"),
        ({"requestReceivedTimestamp": None}, "2026-03-02T00:00:00.150900Z"),
        ({"timestamp": "2017-09-11T19:55:05Z"}, "2026-03-01T23:59:59.900000Z"),
    ],
)
def test_older_stamps(fields: dict[str, Any], time: str) -> None:
    assert _row(**fields)["time"] == time


def test_duration_is_of_the_winner_and_never_guessed() -> None:
    assert _row(stageTimestamp="infinity")["duration"] is None
    assert _row(stageTimestamp="2026-03-01T23:59:59.000000Z")["duration"] is None
    assert _row(stage="RequestReceived")["duration"] is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"auditID": "x", "verb": "get"}, "no_time"),
        (_EVENT | {"requestReceivedTimestamp": "1970-01-01T00:00:00Z"}, "bad_time"),
        (_EVENT | {"requestReceivedTimestamp": "yesterday"}, "no_time"),
        ([1, 2], "not_an_object"),
    ],
)
def test_rejects_have_reasons(record: Any, reason: str) -> None:
    parsed = parse("kubernetes_audit", json.dumps([_EVENT, record]).encode())
    assert [reject.reason for reject in parsed.rejects] == [reason]
    assert parsed.events == 1


def test_a_damaged_line_costs_itself() -> None:
    data = b"\n".join(
        [json.dumps(_EVENT).encode(), b'{"auditID": "cut', json.dumps(_EVENT | {"auditID": "b"}).encode()]
    )
    parsed = parse("kubernetes_audit", data)
    assert (parsed.events, len(parsed.rejects)) == (2, 1)


def test_framing() -> None:
    line = json.dumps(_EVENT).encode()
    assert FORMAT.framing(line + b"\n" + line) == "lines"
    assert FORMAT.framing(json.dumps({"kind": "EventList", "items": []}).encode()) == "document"
    assert FORMAT.framing(b"[\n" + line) == "document"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(fields=st.dictionaries(st.sampled_from(sorted(_EVENT)), _JSON, max_size=5))
@settings(max_examples=50, deadline=None)
def test_whatever_a_field_holds_nothing_is_lost_and_the_export_is_valid(fields: dict[str, Any]) -> None:
    parsed = parse("kubernetes_audit", json.dumps([_EVENT | fields]).encode())
    lines = list(parsed.lines)
    assert len(lines) + len(parsed.rejects) == 1
    for line in lines:
        assert faults(json.loads(line)) == []


def _shared(name: str) -> Path:
    path = _SHARED / name
    if not path.exists():
        pytest.skip("shared data is absent")
    return path


def test_a_real_log_counted_another_way() -> None:
    data = (_shared("k8s_audit2rbac") / "demo.log").read_bytes()
    parsed = parse("kubernetes_audit", data, mode="flat")
    rows = [json.loads(line) for line in parsed.lines]
    assert len(rows) == data.count(b"\n") == 37
    assert parsed.rejects == []
    assert sum(row["http_response_code"] == 403 for row in rows) == data.count(b'"code":403')
    for name in ("alice", "bob", "system:serviceaccount:ns1:sa1"):
        assert sum(row["user_name"] == name for row in rows) == data.count(b'"impersonatedUser":{"username":"%b"' % name.encode())  # fmt: skip
    assert {row["x_actor"] for row in rows} == {"system:admin"}


def test_labelled_events_are_valid_and_named() -> None:
    files = sorted(_shared("labelled_falco_k8s").glob("*.json"))
    for path in files:
        parsed = parse("kubernetes_audit", path.read_bytes())
        (event,) = [json.loads(line) for line in parsed.lines]
        assert faults(event) == []
        verb = json.loads(path.read_bytes())["verb"]
        assert (event["api"]["operation"], event["class_uid"]) == (verb, 6003)
        assert event["resources"][0]["name"], path.name
    assert len(files) == 23
