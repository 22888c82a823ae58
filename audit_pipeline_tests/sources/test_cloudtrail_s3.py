"""A trail's bucket over S3 requests to a server on loopback, with CloudTrail's API beside it; and the vendor's own validator over the same objects."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.lake import manifest
from audit_pipeline.sources.base import Grant, Reviewable
from audit_pipeline.sources.collect import source_of
from audit_pipeline_tests.lake.s3 import server
from audit_pipeline_tests.sources.cloudtrail_world import TrailWorld, taken
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR
from audit_pipeline_tests.stubs.cloudtrail import S3, Control, event, signing_key
from audit_pipeline_tests.stubs.wire import serve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore", "ignore::DeprecationWarning:moto")
CANARY = "canary/SECRET+access+key"
NOON = BEGIN + 12 * HOUR
ARN = "arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with server() as found:
        yield found


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    """CloudTrail's API, found as a person would point a client at it."""
    stub = Control(BEGIN)
    running = serve(stub)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDTRAIL", f"http://127.0.0.1:{running.server_port}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    yield stub
    running.shutdown()
    running.server_close()


class _Bucket(TrailWorld):
    """The world's trail delivers into a bucket, below a prefix."""

    def __init__(self, root: Path, client: Any, name: str, **options: Any) -> None:
        super().__init__(root, **{"url": f"s3://{name}/team", "public_keys": None, "trail": "main"} | options)
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.place = S3(client, name, "team/")
        self.trail.place, self.trail.bucket, self.trail.prefix = self.place, name, "team/"
        self.name, self.client = name, client
        self.logs_at: dict[int, str] = {}

    def fill(self) -> None:
        """A day and two hours in digests of three, a log file in each; the first one is of before the start."""
        for n in range(9):
            at = self.trail.since + 10 * dt.timedelta(minutes=1)
            self.logs_at[n] = self.trail.deliver(at, event(f"e-{n}", at))
            self.trail.digest(self.trail.since + 3 * HOUR)


@pytest.fixture
def bucket(client: Any, control: Control, tmp_path: Path, request: pytest.FixtureRequest) -> _Bucket:
    assert control
    made = _Bucket(tmp_path, client, "trail-" + str(abs(hash(request.node.name)))[:12])
    made.fill()
    return made


def _night(bucket: _Bucket) -> Any:
    return bucket.collect(BEGIN + DAY + 3 * HOUR).entries[-1]


def test_a_bucket_below_a_prefix_is_collected_and_attested(bucket: _Bucket, control: Control) -> None:
    entry = _night(bucket)
    assert [remark.detail for remark in entry.remarks if remark.code != "future"] == []
    assert (len(entry.members), "checkpoint" in entry.request) == (8, True)
    assert entry.request["attested"] == {BEGIN.date().isoformat(): {"expected": 8, "received": 8, "of": "log files"}}
    head = bucket.client.head_object(Bucket=bucket.name, Key="team/" + entry.members[0].name)
    assert entry.members[0].etag == head["ETag"].strip('"')
    assert taken(bucket.collect(BEGIN + DAY + 4 * HOUR)) == []
    assert control.spans[0][1] - control.spans[0][0] == 28 * HOUR, "keys are asked for from the first day to two hours after the newest digest"  # fmt: skip


def test_a_digest_without_its_signature_is_invalid(bucket: _Bucket) -> None:
    key = bucket.trail.digests[-3]
    bucket.place.put(key, bucket.place.get(key), {"signature-algorithm": "SHA256withRSA"}, NOON)
    assert _night(bucket).request["unread"][0]["detail"].startswith("digest file is invalid: it has no signature")  # fmt: skip


def test_the_trail_says_that_it_does_not_log(bucket: _Bucket, control: Control) -> None:
    control.status |= {"IsLogging": False, "StopLoggingTime": (BEGIN + 20 * HOUR).timestamp(), "LatestDeliveryError": "AccessDenied", "LatestDigestDeliveryError": "NoSuchBucket"}  # fmt: skip
    entry = _night(bucket)
    assert entry.request["unread"][0]["from"] == "2025-06-01T20:00:00Z"
    assert "did not log from" in entry.request["unread"][0]["detail"]
    said = [remark.detail for remark in entry.remarks if remark.code == "source_partial"]
    assert ["log files: AccessDenied" in said[0], "digests: NoSuchBucket" in said[1]] == [True, True]


def test_a_pause_is_a_stretch_of_time(bucket: _Bucket, control: Control) -> None:
    control.status |= {"StopLoggingTime": (BEGIN + 3 * HOUR).timestamp(), "StartLoggingTime": (BEGIN + 5 * HOUR).timestamp()}  # fmt: skip
    (found,) = _night(bucket).request["unread"]
    assert (found["from"], found["to"]) == ("2025-06-01T03:00:00Z", "2025-06-01T05:00:00Z")


@pytest.mark.parametrize(("fault", "said"), [("denied", "cloudtrail:ListPublicKeys is not granted"), ("empty", "public key not found"), ("throttled", "ThrottlingException")])  # fmt: skip
def test_keys_that_cannot_be_had_prove_nothing_and_are_asked_for_again(bucket: _Bucket, control: Control, fault: str, said: str) -> None:  # fmt: skip
    control.plan = [("ListPublicKeys", fault)] * 9
    entry = _night(bucket)
    assert any(said in remark.detail for remark in entry.remarks)
    assert ("checkpoint" in entry.request, entry.request.get("unread")) == (False, None)
    assert control.fired[fault]
    control.plan = []
    assert "attested" in bucket.collect(BEGIN + DAY + 4 * HOUR).entries[-1].request


def test_a_call_that_passes_is_tried_again(bucket: _Bucket, control: Control) -> None:
    control.plan = [("ListPublicKeys", "throttled"), ("GetTrailStatus", "cut")]
    assert _night(bucket).request["attested"]
    assert control.fired == {"throttled": 1, "cut": 1}


def test_a_status_that_is_refused_is_a_fact_and_harms_nothing(bucket: _Bucket, control: Control) -> None:
    control.plan = [("GetTrailStatus", "denied")]
    entry = _night(bucket)
    assert entry.request["status_refused"].startswith("cloudtrail:GetTrailStatus is not granted")
    assert "checkpoint" in entry.request


POLICY = {"Version": "2012-10-17", "Statement": [
    {"Sid": "Write", "Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "s3:PutObject", "Resource": "*", "Condition": {"StringEquals": {"aws:SourceArn": ARN}}},
    {"Sid": "Admin", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::1:role/admin"]}, "Action": ["s3:Delete*", "S3:putLifecycleConfiguration"], "Resource": "*"},
    {"Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "*"},
    {"Sid": "Never", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"},
]}  # fmt: skip


def test_the_bucket_tells_who_may_do_what_and_when_it_deletes(bucket: _Bucket) -> None:
    source = source_of(bucket.settings, bucket.source)
    assert isinstance(source, Reviewable)
    assert source.access() == []
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(POLICY))
    rules = [{"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "team/"}, "Expiration": {"Days": 90}}, {"ID": "other", "Status": "Enabled", "Filter": {"Prefix": "elsewhere/"}, "Expiration": {"Days": 1}}]  # fmt: skip
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": rules})
    assert source.access() == [
        Grant("aws:arn:aws:iam::1:role/admin", "delete", "bucket policy, statement Admin"),
        Grant("aws:arn:aws:iam::1:role/admin", "retention", "bucket policy, statement Admin"),
        Grant("everyone", "read", "bucket policy, statement Open"),
        Grant("service:cloudtrail.amazonaws.com", "write", "bucket policy, statement Write, under a condition"),
    ]
    entry = _night(bucket)
    assert (entry.request["horizon_s"], len(entry.request["access"])) == (90 * 86_400.0, 4)


def test_probe_says_identity_trail_selection_and_horizon(bucket: _Bucket, control: Control) -> None:
    said = {probe.what: (probe.ok, probe.detail) for probe in source_of(bucket.settings, bucket.source).probe()}
    assert {what: ok for what, (ok, _) in said.items() if what != "clock"} == dict.fromkeys(["reach", "newest", "digests", "identity", "horizon", "access", "trail", "selects"], True)  # fmt: skip
    assert said["selects"][1] == "management events (All); data events: none"
    assert "arn:aws:" in said["identity"][1]
    control.status["IsLogging"] = False
    control.plan = [("ListPublicKeys", "denied")]
    told = {probe.what: (probe.ok, probe.detail) for probe in source_of(bucket.settings, bucket.source).probe()}
    assert (told["trail"][0], told["digests"][0]) == (False, False)
    assert "arn:aws:s3:::" + bucket.name + "/team/AWSLogs/*" in told["digests"][1]


def test_no_secret_is_in_any_output(bucket: _Bucket, control: Control) -> None:
    """Neither of the key nor of a signed request, whatever goes wrong."""
    control.plan = [(call, "denied") for call in ("ListPublicKeys", "GetTrailStatus", "GetEventSelectors")] * 3
    bucket.client.delete_object(Bucket=bucket.name, Key="team/" + bucket.logs_at[5])
    told = [str(probe) for probe in source_of(bucket.settings, bucket.source).probe()]
    got = bucket.collect(BEGIN + DAY + 3 * HOUR)
    told += [remark.detail for remark in got.remarks]
    told += [manifest.encode(entry).decode() for entry in manifest.entries(bucket.lake, bucket.source)]
    assert len(told) > 6
    assert not [text for text in told if CANARY in text or "SECRET" in text or "AWS4-HMAC" in text]


def test_a_bucket_that_is_not_there_is_silent_or_failed(bucket: _Bucket) -> None:
    other = _Bucket.__new__(_Bucket)
    TrailWorld.__init__(other, bucket.root, url="s3://no-such-bucket-here", public_keys=None)
    got = other.collect(BEGIN + DAY + 3 * HOUR)
    assert [remark.code for remark in got.remarks if remark.code != "future"] in (["silent"], ["collection_failed"])


@pytest.mark.parametrize("lacking", ["server", "credentials"])
def test_a_store_that_cannot_be_asked_is_a_failed_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name, raising=False) if lacking == "credentials" else patch.setenv(name, "test")
        world = TrailWorld(tmp_path, url=f"s3://nobody-{lacking}", public_keys=None, storage={"skip_instance_cache": True})  # fmt: skip
        got = world.collect(BEGIN + DAY + 3 * HOUR)
        (probe,) = source_of(world.settings, world.source).probe()
    assert got.failed is not None
    assert f"s3://nobody-{lacking}/AWSLogs: cannot be read" in got.failed
    assert (probe.what, probe.ok) == ("reach", False)


def _exe() -> str:
    found = os.environ.get("AWSCLI_EXE") or shutil.which("aws")
    if not found:
        pytest.skip("the AWS CLI is not installed")
    return found


def _looks_behind_the_stream(exe: str) -> bool:
    """Whether this version of the AWS CLI (1.46 or later) notices what follows the gzip stream of a log file."""
    said = subprocess.run([exe, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    major, minor = said.partition("/")[2].split(".")[:2]
    return (int(major), int(minor)) >= (1, 46)


def _rewrite(bucket: _Bucket, change: Callable[[bytes], bytes]) -> str:
    key = bucket.logs_at[4]
    bucket.place.put(key, change(bucket.place.get(key)), {}, NOON)
    return key


def _drop(bucket: _Bucket, key: str) -> str:
    bucket.place.remove(key)
    return key


def _forge(bucket: _Bucket) -> str:
    key = bucket.trail.digests[4]
    metadata = bucket.client.head_object(Bucket=bucket.name, Key="team/" + key)["Metadata"]
    data = gzip.decompress(bucket.place.get(key))
    bucket.place.put(key, gzip.compress(data.replace(b'"SHA-256"', b'"SHA-512"')), metadata, NOON)
    return key


def _restart(bucket: _Bucket) -> str:
    for key in bucket.trail.digests[-4:]:
        bucket.place.remove(key)
    bucket.trail.restart(BEGIN + 17 * HOUR)
    for _ in range(3):
        bucket.trail.digest(bucket.trail.since + 3 * HOUR)
    return bucket.trail.digests[-3]


def _moved(bucket: _Bucket) -> str:
    bucket.place.remove(bucket.trail.digests[-1])
    key = bucket.trail.digests[-2]
    metadata = bucket.client.head_object(Bucket=bucket.name, Key="team/" + key)["Metadata"]
    other = key.replace("0000Z.json", "0030Z.json")
    bucket.place.put(other, bucket.place.get(key), metadata, NOON)
    bucket.place.remove(key)
    return other


def _backfill(bucket: _Bucket) -> str:
    bucket.trail.backfill(BEGIN + 20 * HOUR, BEGIN + 21 * HOUR, [bucket.trail.listed(bucket.logs_at[3], gzip.decompress(bucket.place.get(bucket.logs_at[3])))])  # fmt: skip
    key = bucket.trail.backfill(BEGIN + 22 * HOUR, BEGIN + 23 * HOUR, [])
    assert bucket.trail.last_backfill
    bucket.place.put(key, bucket.place.get(key), {"signature": bucket.trail.last_backfill[1], "signature-algorithm": "SHA256withRSA"}, NOON)  # fmt: skip
    return key


ORACLE: dict[str, tuple[Callable[[_Bucket], str | None], str, str]] = {
    "all is well": (lambda bucket: None, "", ""),
    "log deleted": (lambda bucket: _drop(bucket, bucket.logs_at[4]), "INVALID: not found", "log file is missing"),
    "log altered": (lambda bucket: _rewrite(bucket, lambda data: gzip.compress(b'{"Records":[]}')), "INVALID: hash value doesn't match", "log file was altered"),
    "trailing data": (lambda bucket: _rewrite(bucket, lambda data: data + b"more"), "INVALID: unexpected data after end of compressed stream", "trailing data"),
    "log no gzip": (lambda bucket: _rewrite(bucket, gzip.decompress), "INVALID: invalid format", "it is no gzip"),
    "digest deleted": (lambda bucket: _drop(bucket, bucket.trail.digests[4]), "INVALID: not found", "digest file is missing"),
    "digest forged": (_forge, "INVALID: signature verification failed", "signature verification failed"),
    "digest moved": (_moved, "INVALID: has been moved from its original location", "has been moved from its original location"),
    "logging stopped": (_restart, "No log files were delivered by CloudTrail between", "first of a chain"),
    "backfill without its time": (_backfill, "INVALID: invalid format", "backfill-generation-timestamp"),
}  # fmt: skip


@pytest.mark.parametrize("name", ORACLE)
def test_the_vendors_validator_says_the_same(bucket: _Bucket, name: str) -> None:
    """`aws cloudtrail validate-logs` accepts what we accept, and names what we name."""
    exe = _exe()
    spoil, theirs, ours = ORACLE[name]
    if name == "trailing data" and not _looks_behind_the_stream(exe):
        pytest.skip("the AWS CLI is not installed in a version that looks behind the gzip stream")
    key = spoil(bucket)
    endpoint = os.environ["AWS_ENDPOINT_URL_CLOUDTRAIL"]
    argv = [exe, "cloudtrail", "validate-logs", "--trail-arn", ARN, "--start-time", "2025-06-01T00:00:00Z", "--end-time", "2025-06-02T01:00:00Z", "--s3-bucket", bucket.name, "--s3-prefix", "team", "--region", "eu-central-1", "--endpoint-url", endpoint, "--verbose"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"})  # fmt: skip
    entry = _night(bucket)
    unread = [one["detail"] for one in entry.request.get("unread", [])]
    said = unread + [remark.detail for remark in entry.remarks if remark.code == "source_partial"]
    bad = [line for line in done.stderr.splitlines() if line.strip()]
    if key is None:
        assert (done.returncode, bad, said) == (0, [], []), done.stderr
        assert done.stdout.count("\tvalid") == 9 + 9, "9 digests and their log files"
        assert entry.request["attested"]["2025-06-01"]["received"] == 8
        return
    assert any(theirs in line for line in bad), done.stderr
    assert any(ours in detail for detail in said), said
    if "stopped" not in name:
        assert [line for line in bad if key in line and theirs in line], (key, bad)
        assert [detail for detail in said if key in detail and ours in detail], (key, said)


def test_the_signing_key_is_of_this_run() -> None:
    assert signing_key() is signing_key()
    assert signing_key() is not signing_key("another")
