"""AWS CloudTrail as a collector meets it: a trail that delivers log files and signed digests, and the API beside the bucket.

Objects and digests by the AWS CloudTrail User Guide, "CloudTrail log file examples" and "CloudTrail digest file structure"; signing as
aws/aws-cli, awscli/customizations/cloudtrail/validation.py verifies it (that tool accepts these digests: `sources/test_cloudtrail_oracle.py`).
The API by botocore's service model `cloudtrail` 2013-11-01, protocol JSON 1.1: ListPublicKeys, GetTrailStatus, GetEventSelectors. Strict:
an unknown call or field, a missing signature (SigV4), a wrong method, a span that ends before it begins is refused.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import gzip
import hashlib
import json
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline_tests.stubs.wire import Reply

BUCKET, ACCOUNT, REGION, TRAIL = "audit-logs", "123456789012", "eu-central-1", "main"
HOUR = dt.timedelta(hours=1)
FAULTS = ("denied", "throttled", "cut", "slow", "empty")
"""What may go wrong with a call; `empty`: an answer without keys."""
_TARGET = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101."
_FIELDS = {"ListPublicKeys": {"StartTime", "EndTime", "NextToken"}, "GetTrailStatus": {"Name"}, "GetEventSelectors": {"TrailName"}}  # fmt: skip


@functools.cache
def signing_key(name: str = "first", bits: int = 2048) -> RSAPrivateKey:
    """A key of this process; another `name`, another key."""
    assert name
    return generate_private_key(65537, bits)


def der(key: RSAPrivateKey) -> bytes:
    """The public key as the API gives it."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)


def fingerprint(key: RSAPrivateKey) -> str:
    return hashlib.sha256(der(key)).hexdigest()[:32]


def published(*keys: RSAPrivateKey) -> dict[str, Any]:
    """What `aws cloudtrail list-public-keys` prints."""
    return {"PublicKeyList": [{"Value": base64.b64encode(der(key)).decode(), "Fingerprint": fingerprint(key)} for key in keys]}  # fmt: skip


class Bucket(Protocol):
    """Where objects lie."""

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], at: dt.datetime) -> None: ...

    def get(self, key: str) -> bytes: ...

    def remove(self, key: str) -> None: ...


@dataclass
class Folder:
    """A copy of a bucket; metadata beside each object as `aws s3api head-object` prints it."""

    root: Path
    sidecars: bool = True

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], at: dt.datetime) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (at.timestamp(), at.timestamp()))
        if metadata and self.sidecars:
            path.with_name(path.name + ".metadata.json").write_text(json.dumps({"Metadata": dict(metadata)}))

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def remove(self, key: str) -> None:
        (self.root / key).unlink()


@dataclass
class S3:
    """A bucket of a server, by its client."""

    client: Any
    bucket: str = BUCKET
    prefix: str = ""

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], at: dt.datetime) -> None:
        del at  # the server's own
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, Metadata=dict(metadata))

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read())

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)


@dataclass
class Trail:
    """What a trail delivers for one account and region. A digest names the log files delivered since the one before it."""

    place: Bucket
    since: dt.datetime
    """end of what the chain has covered, or begin of its first digest"""
    bucket: str = BUCKET
    prefix: str = ""
    """with its slash"""
    organization: str = ""
    account: str = ACCOUNT
    region: str = REGION
    home: str = REGION
    key: RSAPrivateKey = field(default_factory=signing_key)
    pending: list[dict[str, Any]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    last: tuple[str, str, str] | None = None
    """key, signature and hash of the newest digest; null: the next one is the first of a chain"""
    last_backfill: tuple[str, str, str] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def folder(self, kind: str, at: dt.datetime) -> str:
        within = f"{self.organization}/" if self.organization else ""
        return f"AWSLogs/{within}{self.account}/{kind}/{self.region}/{at:%Y/%m/%d}/"

    def name(self, at: dt.datetime) -> str:
        """A log file's key: delivered at that minute."""
        rest = "".join(self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=16))
        return (
            f"{self.folder('CloudTrail', at)}{self.account}_CloudTrail_{self.region}_{at:%Y%m%dT%H%MZ}_{rest}.json.gz"
        )

    def deliver(self, at: dt.datetime, *records: bytes, key: str | None = None, listed: bool = True) -> str:
        """A log file; `listed`: whether the next digest names it."""
        key, data = key or self.name(at), b'{"Records":[' + b",".join(records) + b"]}"
        self.place.put(key, gzip.compress(data, mtime=0), {}, at)
        if listed:
            self.pending.append(self.listed(key, data))
        return key

    def listed(self, key: str, data: bytes) -> dict[str, Any]:
        """How a digest names a log file."""
        times = sorted(found.decode() for found in re.findall(rb'"eventTime": ?"([^"]+)"', data)) or [rfc3339(self.since)]  # fmt: skip
        return {
            "s3Bucket": self.bucket, "s3Object": self.prefix + key, "hashValue": hashlib.sha256(data).hexdigest(), "hashAlgorithm": "SHA-256",
            "newestEventTime": times[-1], "oldestEventTime": times[0],
        }  # fmt: skip

    def digest(self, end: dt.datetime | None = None, **changes: Any) -> str:
        """The digest of what was delivered since the last one, an hour by default."""
        end = end or self.since + HOUR
        key = self._digest_key(end)
        self.last = self._signed(key, self.since, end, self.pending, self.last, {}, changes)
        self.since, self.pending = end, []
        self.digests.append(key)
        return key

    def backfill(self, end: dt.datetime, made: dt.datetime, files: list[dict[str, Any]]) -> str:
        """A digest of late files, of the chain of these."""
        key = self._digest_key(end, "_backfill")
        metadata = {"backfill-generation-timestamp": rfc3339(made)}
        self.last_backfill = self._signed(key, end - HOUR, end, files, self.last_backfill, metadata, {})
        return key

    def restart(self, at: dt.datetime) -> None:
        """Logging begins again: the next digest is the first of a new chain."""
        self.since, self.last, self.pending = at, None, []

    def _digest_key(self, end: dt.datetime, suffix: str = "") -> str:
        return f"{self.folder('CloudTrail-Digest', end)}{self.account}_CloudTrail-Digest_{self.region}_{TRAIL}_{self.home}_{end:%Y%m%dT%H%M%SZ}{suffix}.json.gz"

    def _signed(self, key: str, start: dt.datetime, end: dt.datetime, files: list[dict[str, Any]], previous: tuple[str, str, str] | None, metadata: Mapping[str, str], changes: Mapping[str, Any]) -> tuple[str, str, str]:  # fmt: skip
        before_key, before_signature, before_hash = previous or (None, None, None)
        content = {
            "awsAccountId": self.account, "digestStartTime": rfc3339(start), "digestEndTime": rfc3339(end), "digestS3Bucket": self.bucket,
            "digestS3Object": self.prefix + key, "digestPublicKeyFingerprint": fingerprint(self.key), "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": rfc3339(end), "oldestEventTime": rfc3339(start),
            "previousDigestS3Bucket": self.bucket if before_key else None, "previousDigestS3Object": self.prefix + before_key if before_key else None,
            "previousDigestHashValue": before_hash, "previousDigestHashAlgorithm": "SHA-256" if before_key else None,
            "previousDigestSignature": before_signature, "logFiles": files, **changes,
        }  # fmt: skip
        data = json.dumps(content).encode()
        text = f"{content['digestEndTime']}\n{content['digestS3Bucket']}/{content['digestS3Object']}\n{hashlib.sha256(data).hexdigest()}\n{before_signature or 'null'}"
        signature = self.key.sign(text.encode(), PKCS1v15(), SHA256()).hex()
        self.place.put(key, gzip.compress(data, mtime=0), {"signature": signature, "signature-algorithm": "SHA256withRSA", **metadata}, end)  # fmt: skip
        return key, signature, hashlib.sha256(data).hexdigest()


class _RefusedError(Exception):
    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Control:
    """CloudTrail's API, for one trail."""

    def __init__(self, now: dt.datetime, *keys: RSAPrivateKey) -> None:
        self.now, self.keys = now, list(keys) or [signing_key()]
        self.status: dict[str, Any] = {"IsLogging": True, "LatestDeliveryTime": now.timestamp(), "StartLoggingTime": (now - 400 * DAY).timestamp()}  # fmt: skip
        self.selectors: dict[str, Any] = {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": [], "ExcludeManagementEventSources": []}]}  # fmt: skip
        self.plan: list[tuple[str, str]] = []
        self.fired: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.spans: list[tuple[dt.datetime, dt.datetime]] = []
        self.before: Callable[[str], None] | None = None

    def handle(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Reply:  # fmt: skip
        call = headers.get("X-Amz-Target", "").removeprefix(_TARGET)
        self.asked[call] += 1
        if self.before:
            self.before(call)
        fault = next((found for found in self.plan if found[0] == call), None)
        if fault is not None:
            self.plan.remove(fault)
            self.fired[fault[1]] += 1
        try:
            return self._answer(call, method, path, params, headers, body, fault[1] if fault else None)
        except _RefusedError as error:
            return Reply(400, {"__type": error.code, "message": str(error)}, {"Content-Type": "application/x-amz-json-1.1"})  # fmt: skip

    def _answer(self, call: str, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes, fault: str | None) -> Reply:  # fmt: skip
        if method != "POST" or path != "/" or params:
            raise _RefusedError("InvalidAction", f"{method} {path}")
        if call not in _FIELDS:
            raise _RefusedError("UnknownOperationException", call)
        if not headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
            raise _RefusedError("MissingAuthenticationTokenException", "not signed")
        given = json.loads(body)
        if unknown := given.keys() - _FIELDS[call]:
            raise _RefusedError("SerializationException", f"unknown {sorted(unknown)}")
        if fault == "denied":
            raise _RefusedError("AccessDeniedException", f"not authorized to perform: cloudtrail:{call}")
        if fault == "throttled":
            raise _RefusedError("ThrottlingException", "Rate exceeded")
        answer = {"ListPublicKeys": self._keys, "GetTrailStatus": self._status, "GetEventSelectors": self._selectors}[call](given)  # fmt: skip
        if fault == "empty":
            answer = {"PublicKeyList": []}
        return Reply(200, answer, {"Content-Type": "application/x-amz-json-1.1"}, fault if fault in ("cut", "slow") else None)  # fmt: skip

    def _keys(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if given.keys() < {"StartTime", "EndTime"} or given["EndTime"] < given["StartTime"]:
            raise _RefusedError("InvalidTimeRangeException", "StartTime and EndTime")
        self.spans.append(tuple(dt.datetime.fromtimestamp(given[k], dt.UTC) for k in ("StartTime", "EndTime")))  # type: ignore[arg-type]
        return published(*self.keys)

    def _status(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self._known(given.get("Name"))
        return self.status

    def _selectors(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self._known(given.get("TrailName"))
        return {"TrailARN": f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{TRAIL}", **self.selectors}

    def _known(self, trail: str | None) -> None:
        if trail not in (TRAIL, f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{TRAIL}"):
            raise _RefusedError("TrailNotFoundException", f"Unknown trail: {trail}")


def event(name: str, at: dt.datetime, **changes: Any) -> bytes:
    """A record."""
    return json.dumps({
        "eventVersion": "1.10", "userIdentity": {"type": "IAMUser", "userName": "ann", "accountId": ACCOUNT}, "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "ec2.amazonaws.com", "eventName": "DescribeInstances", "awsRegion": REGION, "sourceIPAddress": "198.51.100.7",
        "eventID": name, "readOnly": True, "eventType": "AwsApiCall", "recipientAccountId": ACCOUNT, **changes,
    }).encode()  # fmt: skip


def _by_hand(now: dt.datetime, n: int) -> tuple[Control, str]:
    """A folder of two days of a trail, an event a minute at most; its keys over the API."""
    root = Path(tempfile.mkdtemp(prefix="cloudtrail-"))
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
    trail = Trail(Folder(root), begin)
    minutes = min(n, int((now - begin) / dt.timedelta(minutes=1)))
    for at in (begin + k * dt.timedelta(minutes=1) for k in range(minutes)):
        if at - trail.since >= HOUR:
            trail.digest()
        trail.deliver(at, event(f"e-{at:%Y%m%d%H%M}", at))
    (root / "keys.json").write_text(json.dumps(published(signing_key())))
    return Control(
        now
    ), f"options {{url: {root}, public_keys: {root / 'keys.json'}}}; the API for AWS_ENDPOINT_URL_CLOUDTRAIL"


BY_HAND = {"cloudtrail": _by_hand}
