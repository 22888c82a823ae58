"""CloudTrail to OCSF: who, what, how it ended, and what odd records become."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.formats._cloudtrail import _BY_SERVICE
from audit_pipeline.formats.cloudtrail import FORMAT
from audit_pipeline.formats.parse import parse
from audit_pipeline.ocsf.classes import CLASSES
from audit_pipeline.ocsf.columns import BY_NAME, DRIVER
from audit_pipeline_tests.ocsf.published import faults

_EVENT: dict[str, Any] = {
    "eventVersion": "1.08", "eventID": "a-1", "eventTime": "2021-07-29T23:55:00Z", "eventSource": "ec2.amazonaws.com", "eventName": "RunInstances",
    "awsRegion": "eu-central-1", "sourceIPAddress": "10.0.0.9", "userAgent": "aws-cli/2", "requestID": "r-1", "eventType": "AwsApiCall", "readOnly": False,
    "recipientAccountId": "111122223333", "userIdentity": {"type": "IAMUser", "userName": "ann", "arn": "arn:aws:iam::111122223333:user/ann", "accountId": "111122223333"},
    "requestParameters": {"instanceType": "t3.micro"}, "responseElements": None,
}  # fmt: skip


def _rows(*records: dict[str, Any]) -> list[dict[str, Any]]:
    parsed = parse("cloudtrail", json.dumps({"Records": list(records)}).encode(), mode="flat")
    assert not parsed.rejects
    return [json.loads(line) for line in parsed.lines]


def _row(**fields: Any) -> dict[str, Any]:
    return _rows(_EVENT | fields)[0]


def _role(session: str = "ses", role: str = "Ops", **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:iam::1:role/{more.pop('path', '')}{role}"
    context = {
        "attributes": {"mfaAuthenticated": "false"},
        "sessionIssuer": {"type": "Role", "arn": arn, "userName": role},
    } | more
    return {"type": "AssumedRole", "principalId": f"AROAX:{session}", "arn": f"arn:aws:sts::1:assumed-role/{role}/{session}", "accountId": "1", "sessionContext": context}  # fmt: skip


_SSO = "AWSReservedSSO_Admin_0a1b2c"
_WHO: list[tuple[str, dict[str, Any], tuple[str | None, str | None, str]]] = [
    ("user", {}, ("ann", "ann", "unknown")),
    ("user in the console", {"sessionCredentialFromConsole": "true"}, ("ann", "ann", "human")),
    ("user with MFA", {"userIdentity": {"type": "IAMUser", "userName": "ann", "sessionContext": {"attributes": {"mfaAuthenticated": "true"}}}}, ("ann", "ann", "human")),
    ("user by ARN alone", {"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::1:user/eng/ops/ann"}}, ("ann", "ann", "unknown")),
    ("role", {"userIdentity": _role()}, ("Ops", "Ops", "unknown")),
    ("role without issuer", {"userIdentity": {"type": "AssumedRole", "principalId": "AROAX:ses", "arn": "arn:aws:sts::1:assumed-role/Ops/ses"}}, ("Ops", "Ops", "unknown")),
    ("role of a person (SSO)", {"userIdentity": _role("ann", _SSO)}, (_SSO, "ann", "human")),
    ("role of a person (mail address)", {"userIdentity": _role("ann@example.com")}, ("Ops", "ann@example.com", "human")),
    ("role of a person (source identity)", {"userIdentity": _role(sourceIdentity="ann")}, ("Ops", "ann", "human")),
    ("role switched to in the console", {"userIdentity": _role("ann"), "sessionCredentialFromConsole": "true"}, ("Ops", "ann", "human")),
    ("role of an instance", {"userIdentity": _role("i-0123456789abcdef0")}, ("Ops", "Ops", "service")),
    ("role of an instance by delivery", {"userIdentity": _role(ec2RoleDelivery="2.0")}, ("Ops", "Ops", "service")),
    ("service-linked role", {"userIdentity": _role("AutoScaling", "AWSServiceRoleForAutoScaling", path="aws-service-role/autoscaling.amazonaws.com/")}, ("AWSServiceRoleForAutoScaling", "AWSServiceRoleForAutoScaling", "service")),
    ("root", {"userIdentity": {"type": "Root", "accountId": "1", "arn": "arn:aws:iam::1:root"}}, ("root", "root@1", "human")),
    ("service", {"userIdentity": {"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}}, ("ec2.amazonaws.com", "ec2.amazonaws.com", "service")),
    ("service that is not named", {"userIdentity": {"type": "AWSService"}, "sourceIPAddress": "x.amazonaws.com"}, (None, "x.amazonaws.com", "service")),
    ("service event", {"eventType": "AwsServiceEvent", "userIdentity": {"accountId": "1", "invokedBy": "kms.amazonaws.com"}}, (None, "kms.amazonaws.com", "service")),
    ("portal sign-in", {"eventSource": "signin.amazonaws.com", "userIdentity": {"type": "Unknown", "userName": "ann"}}, ("ann", "ann", "human")),
    ("account", {"userIdentity": {"type": "AWSAccount", "principalId": "AROAX:eve", "accountId": "9"}}, (None, "eve", "unknown")),
    ("federated", {"userIdentity": {"type": "FederatedUser", "arn": "arn:aws:sts::1:federated-user/ann"}}, ("ann", "ann", "unknown")),
    ("SAML", {"userIdentity": {"type": "SAMLUser", "principalId": "x=:ann", "userName": "ann", "identityProvider": "x="}}, ("ann", "ann", "human")),
    ("web identity", {"userIdentity": {"type": "WebIdentityUser", "userName": "42", "identityProvider": "accounts.google.com"}}, ("42", "42", "unknown")),
    ("workload identity", {"userIdentity": {"type": "WebIdentityUser", "userName": "system:serviceaccount:ns:app", "identityProvider": "arn:aws:iam::1:oidc-provider/oidc.eks.eu.amazonaws.com/id/X"}}, ("system:serviceaccount:ns:app", "system:serviceaccount:ns:app", "service")),
    ("Identity Center", {"userIdentity": {"type": "IdentityCenterUser", "onBehalfOf": {"userId": "u-1"}}}, (None, "u-1", "human")),
    ("nobody", {"userIdentity": None}, (None, None, "unknown")),
    ("text", {"userIdentity": "ann"}, (None, None, "unknown")),
    ("empty", {"userIdentity": {"type": "IAMUser", "userName": ""}}, (None, None, "unknown")),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), [case[1:] for case in _WHO], ids=[case[0] for case in _WHO])
def test_who_acted(fields: dict[str, Any], expected: tuple[str | None, str | None, str]) -> None:
    row = _case(fields)
    assert (row["actor_user_name"], row["x_actor"], row["x_actor_kind"]) == expected


_IAM, _STS, _SIGNIN = "iam.amazonaws.com", "sts.amazonaws.com", "signin.amazonaws.com"
_WHAT: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("RunInstances", {}, 600301, None),
    ("DescribeInstances", {"readOnly": True}, 600302, None),
    ("GetCallerIdentity", {"eventSource": _STS}, 600302, None),
    ("StopLogging", {}, 600303, None),
    ("DeleteTrail", {}, 600304, None),
    ("PutObject", {}, 600301, None),
    ("PutBucketPolicy", {}, 600303, None),
    ("InvokeExecution", {}, 600399, None),
    ("GetUser", {"eventSource": _IAM, "requestParameters": {"userName": "bob"}}, 600302, "bob"),
    ("CreateUser", {"eventSource": _IAM, "requestParameters": {"userName": "bob"}}, 300101, "bob"),
    ("CreateUser", {"eventSource": "rds.example.com", "requestParameters": {"userName": "bob"}}, 600301, "bob"),
    ("DeleteRole", {"eventSource": _IAM, "requestParameters": {"roleName": "Ops"}}, 300106, "Ops"),
    ("CreateAccessKey", {"eventSource": _IAM, "requestParameters": None}, 300199, "ann"),
    ("CreateAccessKey", {"eventSource": _IAM, "requestParameters": {"userName": "bob"}}, 300199, "bob"),
    ("CreateAccessKey", {"eventSource": _IAM, "requestParameters": None, "errorCode": "AccessDenied"}, 300199, None),
    ("EnableMFADevice", {"eventSource": _IAM, "requestParameters": {"userName": "bob"}}, 300110, "bob"),
    ("AddUserToGroup", {"eventSource": _IAM, "requestParameters": {"userName": "bob", "groupName": "g"}}, 300603, "bob"),
    ("AssumeRole", {"eventSource": _STS, "requestParameters": {"roleArn": "arn:aws:iam::1:role/eng/Ops"}, "readOnly": True}, 300203, "Ops"),
    ("AssumeRole", {"eventSource": _STS, "requestParameters": "odd"}, 300203, None),
    ("ConsoleLogin", {"eventSource": _SIGNIN}, 300201, "ann"),
    ("SwitchRole", {"eventSource": _SIGNIN}, 300207, "ann"),
    ("UserAuthentication", {"eventSource": _SIGNIN, "userIdentity": {"type": "Unknown"}, "additionalEventData": {"UserName": "ann"}}, 300201, "ann"),
    ("DisableUser", {"eventSource": "sso-directory.amazonaws.com", "requestParameters": {"userId": "u"}}, 300105, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "type_uid", "target"), _WHAT)
def test_what_was_done_to_whom(name: str, fields: dict[str, Any], type_uid: int, target: str | None) -> None:
    row = _case({"eventName": name} | fields)
    assert row["type_uid"] == type_uid == row["class_uid"] * 100 + row["activity_id"]
    assert row["category_uid"] == CLASSES[row["class_uid"]].category_uid
    assert row["user_name"] == target


def test_each_class_and_activity_exists() -> None:
    numbers = {number for operations in _BY_SERVICE.values() for number in operations.values()}
    assert numbers
    assert all(number % 100 in CLASSES[number // 100].activities for number in numbers)


_OUTCOMES: list[tuple[dict[str, Any], int, int]] = [
    ({}, 1, 1),
    ({"errorCode": "", "errorMessage": None}, 1, 1),
    ({"errorCode": "AccessDenied"}, 2, 2),
    ({"errorCode": "Client.UnauthorizedOperation"}, 2, 2),
    ({"errorCode": "NoSuchBucketPolicy"}, 2, 1),
    ({"errorMessage": "odd"}, 2, 1),
    ({"eventSource": _SIGNIN, "eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}}, 1, 1),
    ({"eventSource": _SIGNIN, "eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}}, 2, 2),
    ({"eventSource": _SIGNIN, "eventName": "ConsoleLogin", "errorMessage": "Failed authentication"}, 2, 2),
    ({"eventSource": _SIGNIN, "eventName": "CredentialVerification", "serviceEventDetails": {"CredentialVerification": "Failure"}}, 2, 2),
    ({"responseElements": {"status": "Failure"}}, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "severity"), _OUTCOMES)
def test_how_it_ended(fields: dict[str, Any], status: int, severity: int) -> None:
    row = _case(fields)
    assert (row["status_id"], row["severity_id"]) == (status, severity)


_ADDRESSES = [
        ("10.0.0.9", True), ("255.255.255.255", True), ("2001:db8::1", True), ("::1", True), ("1:2:3:4:5:6:7:8", True), ("::ffff:10.0.0.9", True),
        ("256.1.1.1", False), ("1.2.3", False), ("10.0.0.9:443", False), ("1:2", False), ("ec2.amazonaws.com", False), ("AWS Internal", False),
        ("10.0.0.9\n", False), ("' OR 1=1 --", False), ("a:b:c", False),
]  # fmt: skip


@functools.cache
def _cases() -> dict[str, dict[str, Any]]:
    """The rows of all cases above, from one file: a statement of many columns is dear to plan."""
    fields = (
        [case[1] for case in _WHO]
        + [{"eventName": case[0]} | case[1] for case in _WHAT]
        + [case[0] for case in _OUTCOMES]
    )
    fields += [{"sourceIPAddress": text} for text, _ in _ADDRESSES]
    rows = _rows(*(_EVENT | found | {"eventID": str(n)} for n, found in enumerate(fields)))
    return {json.dumps(found): row for found, row in zip(fields, rows, strict=True)}


def _case(fields: dict[str, Any]) -> dict[str, Any]:
    return _cases()[json.dumps(fields)]


@pytest.mark.parametrize(("text", "is_address"), _ADDRESSES)
def test_where_it_came_from(text: str, is_address: bool) -> None:
    row = _case({"sourceIPAddress": text})
    assert (row["src_endpoint_ip"], row["src_endpoint_hostname"]) == ((text, None) if is_address else (None, text))


def test_failed_sign_in_names_who_tried() -> None:
    hidden = {"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS", "accountId": "1", "principalId": ""}
    row = _row(
        eventSource=_SIGNIN,
        eventName="ConsoleLogin",
        userIdentity=hidden,
        additionalEventData={"MFAUsed": "No"},
        responseElements={"ConsoleLogin": "Failure"},
    )
    assert (row["user_name"], row["is_mfa"]) == ("HIDDEN_DUE_TO_SECURITY_REASONS", False)


def test_insight_digest_and_what_is_no_event() -> None:
    insight = {"eventTime": "2020-09-09T23:00:00Z", "eventID": "i", "eventType": "AwsCloudTrailInsight", "insightDetails": {"state": "End", "eventName": "AttachUserPolicy", "insightType": "ApiCallRateInsight"}}  # fmt: skip
    digest = {
        "awsAccountId": "1",
        "digestStartTime": "2020-09-11T18:36:49Z",
        "digestEndTime": "2020-09-11T19:36:49Z",
        "digestS3Object": "o",
    }
    rows = _rows(insight, digest, {"eventTime": "2020-09-09T23:00:00Z"})
    assert [row["type_uid"] for row in rows] == [200403, 100899, 0]
    assert [row["status_id"] for row in rows] == [0, 0, 0], "none of them tells how an act ended"


def test_columns_are_the_registrys_and_none_of_the_driver() -> None:
    assert set(FORMAT.columns) <= set(BY_NAME) - set(DRIVER)


_ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
    | st.sampled_from(["", "x" * 70_000, "true", "\x00", "‮", "<script>", "'; DROP TABLE batch --", "iam.amazonaws.com", "ConsoleLogin"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "userName", "ARN", "arn", "x", "userIdentity"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_MUTABLE = sorted(set(_EVENT) - {"eventTime"} | {"resources", "tlsDetails", "additionalEventData", "serviceEventDetails", "insightDetails", "errorCode", "somethingNew", "digestS3Object"})  # fmt: skip
_BASES = [
    _EVENT,
    _EVENT | {"userIdentity": _role("ann", _SSO)},
    *({**_EVENT, "eventSource": source, "eventName": name} for source, name in [(_IAM, "AttachUserPolicy"), (_STS, "AssumeRole"), (_SIGNIN, "ConsoleLogin"), (_IAM, "CreateGroup")]),
]  # fmt: skip


@given(
    records=st.lists(
        st.tuples(
            st.sampled_from(_BASES),
            st.dictionaries(st.sampled_from(_MUTABLE), _ODD, max_size=4),
            st.sets(st.sampled_from(_MUTABLE), max_size=3),
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=8, deadline=None)
def test_no_mutation_loses_a_record_or_breaks_the_schema(
    records: list[tuple[dict[str, Any], dict[str, Any], set[str]]],
) -> None:
    made = [
        {k: v for k, v in (base | odd).items() if k not in gone} | {"n": n}
        for n, (base, odd, gone) in enumerate(records)
    ]
    parsed = parse("cloudtrail", "\n".join(map(json.dumps, made)).encode())
    events = [json.loads(line) for line in parsed.lines]
    assert (len(events), parsed.rejects) == (len(made), [])
    assert [faults(event) for event in events] == [[] for _ in made]


def _shared(*parts: str) -> Path:
    folder = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared/data"), *parts)
    if not folder.is_dir():
        pytest.skip("shared data is absent")
    return folder


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in document.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return out


_ECS = {
    "user.name": "actor",
    "user.target.name": "target",
    "source.ip": "address",
    "event.action": "operation",
    "event.outcome": "outcome",
}


def test_agrees_with_the_expected_documents_of_others() -> None:
    """At most 3 of 100 values of the ECS documents for the same records differ (an insight has no outcome of its own)."""
    files = sorted(_shared("pairs_elastic", "aws_cloudtrail").glob("*-expected.json"))
    found = [json.loads(file.read_text()) for file in files]
    documents = [_flat(document) for one in found for document in (one if isinstance(one, list) else one["expected"])]
    by_record = {document["event.original"]: document for document in documents}
    lines = list(parse("cloudtrail", "\n".join(by_record).encode(), mode="facets").lines)
    pairs = [
        (expected[ecs], json.loads(line)[facet])
        for expected, line in zip(by_record.values(), lines, strict=True)
        for ecs, facet in _ECS.items()
        if expected.get(ecs)
    ]
    hits = sum(want == got for want, got in pairs)
    assert len(pairs) > 80
    assert hits >= 0.97 * len(pairs)


def test_real_records_validate() -> None:
    records = [
        record for file in sorted(_shared("labelled_stratus").glob("*.json")) for record in json.loads(file.read_text())
    ]
    history = (_shared("plaso_raw", "jsonl") / "aws_cloudtrail.jsonl").read_bytes()
    for data in (json.dumps(records).encode(), history):
        parsed = parse("cloudtrail", data)
        events = [json.loads(line) for line in parsed.lines]
        assert events
        assert parsed.rejects == []
        assert [fault for event in events for fault in faults(event)] == []
        assert all(event["class_uid"] for event in events), "no Base Event among real records"
