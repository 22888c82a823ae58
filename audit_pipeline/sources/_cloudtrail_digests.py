"""CloudTrail's digests: which log files it says that it delivered, hour by hour, signed and chained.

Belongs here: walking a chain of digests and what it proves or shows broken. Not here: keys (`_cloudtrail_keys`), objects
(`_cloudtrail_layout`), which days it means (`_cloudtrail_days`). The algorithm is that of `aws cloudtrail validate-logs` (aws/aws-cli,
awscli/customizations/cloudtrail/validation.py): backwards from the newest; a digest that is missing or wrong is named, and the walk
goes on with the next older one that is listed; a first digest with older ones before it is a gap in logging.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from audit_pipeline.clock import UTC, rfc3339
from audit_pipeline.sources._cloudtrail_keys import KeyMissingError, PublicKeys
from audit_pipeline.sources._cloudtrail_layout import DIGEST_NAME, DeniedError, Place, Stored

HOUR = dt.timedelta(hours=1)
KEYS_AFTER = 2 * HOUR
"""Keys are asked for up to so long after the newest digest, as the vendor's tool does."""
MAX_DIGEST = 64 * 2**20
"""Bytes of an inflated digest that are read."""
_REQUIRED = ("digestPublicKeyFingerprint", "digestS3Bucket", "digestS3Object", "previousDigestSignature", "digestEndTime", "digestStartTime")  # fmt: skip


@dataclass(frozen=True)
class Break:
    """Something that the record of deliveries shows to be wrong, and the stretch of time that it bears on."""

    start: dt.datetime
    end: dt.datetime
    file: str
    reason: str
    lasting: bool = True
    """false where a right or a key is lacking: with it the same digest is good"""

    unproven: bool = False
    """whether the digest could not be judged at all, so that it has to be asked for again"""

    @property
    def detail(self) -> str:
        """In words."""
        return f"{self.reason}: {self.file} ({rfc3339(self.start)} to {rfc3339(self.end)})"


@dataclass(frozen=True)
class Named:
    """A log file that a valid digest names."""

    key: str
    sha256: str
    """of its inflated bytes"""
    start: dt.datetime
    """begin of the hour that it was delivered in; earlier where an event in it is older"""
    end: dt.datetime


@dataclass
class Chain:
    """What the digests of one scope prove."""

    spans: list[tuple[dt.datetime, dt.datetime]] = field(default_factory=list)
    """stretches of time of valid digests, without those of backfill"""
    files: list[Named] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    newest: str | None = None
    """the newest valid digest"""
    signature: str | None = None

    def covers(self, start: dt.datetime, end: dt.datetime) -> bool:
        """Whether valid digests follow each other without a hole over the whole stretch."""
        at = start
        for low, high in sorted(self.spans):
            if low <= at:
                at = max(at, high)
        return at >= end

    @property
    def until(self) -> dt.datetime | None:
        """The end of the newest valid digest."""
        return max((high for _, high in self.spans), default=None)


@dataclass(frozen=True)
class _Listed:
    key: str
    end: dt.datetime
    """by its name"""


class _InvalidError(Exception):
    """Why a digest counts for nothing; one that is not `lasting` could not be judged."""

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


class _UnsignedCopyError(Exception):
    """The newest digest of a folder without metadata: the one after it will state its signature, as this one states that of `before`."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__()
        self.before = str(fields.get("previousDigestS3Object"))
        self.stated: str | None = fields["previousDigestSignature"]


@dataclass(frozen=True)
class _Digest:
    """A valid digest."""

    key: str
    start: dt.datetime
    end: dt.datetime
    signature: str
    previous: str | None
    """key of the one before it; null for the first of a chain"""
    elsewhere: bool
    """whether the one before it lies in another bucket, which this source does not read"""
    previous_signature: str | None
    files: list[Named]


def validate(place: Place, keys: PublicKeys, first: dt.datetime, listed: Iterable[Stored]) -> Chain:
    """Walk all chains of a scope from the newest digest back to `first`.

    Args:
        place: where the digests lie.
        keys: what they are signed with.
        first: digests that end before it are not asked for.
        listed: the scope's objects below `CloudTrail-Digest`, of all days from `first` on.

    Raises:
        SourceError: place or keys cannot be asked; nothing is proven then.
    """
    found = Chain()
    chains: dict[tuple[str, str, bool], list[_Listed]] = {}
    for one in listed:
        if match := DIGEST_NAME.fullmatch(one.name):
            chain = (match["trail"], match["home"], bool(match["backfill"]))
            chains.setdefault(chain, []).append(_Listed(one.key, _stamp(match["end"])))
    for (_, _, backfill), digests in sorted(chains.items()):
        _Walk(place, keys, found, backfill=backfill).back(sorted(digests, key=lambda d: (d.end, d.key)), first)
    return found


class _Walk:
    """One chain, backwards."""

    def __init__(self, place: Place, keys: PublicKeys, found: Chain, *, backfill: bool) -> None:
        self._place, self._keys, self._found, self._backfill = place, keys, found, backfill
        self._signed = (dt.datetime.max.replace(tzinfo=UTC), dt.datetime.max.replace(tzinfo=UTC))

    def back(self, older: list[_Listed], first: dt.datetime) -> None:
        """From the newest of `older`, which are sorted, to the one that begins before `first`."""
        newest = older.pop()
        self._signed = (first, newest.end + KEYS_AFTER)
        at: _Listed | None = newest
        after, stated = newest.end, None
        while at is not None and after > first:
            try:
                digest = self._read(at.key, stated)
            except _UnsignedCopyError as copy:
                at = _before(older, at.end)
                stated = copy.stated if at is not None and copy.before.endswith(at.key) else None
                continue
            except _InvalidError as error:
                before = max((one.end for one in older if one.end < at.end), default=at.end - HOUR)
                self._break(before, max(after, at.end), at.key, str(error), lasting=error.lasting)
                at, stated = _before(older, at.end), None
                continue
            self._take(digest)
            after, stated = digest.start, digest.previous_signature
            at = self._previous(digest, older, at.end)

    def _previous(self, digest: _Digest, older: list[_Listed], end: dt.datetime) -> _Listed | None:
        if digest.elsewhere:
            return None
        if digest.previous is not None:
            return _Listed(digest.previous, _end_of(digest.previous, digest.start))
        found = _before(older, end)
        if found is not None:
            reason = "logging, or its validation, was stopped before this digest, which is the first of a chain"
            self._break(min(found.end, digest.start), digest.start, digest.key, reason)
        return found

    def _take(self, digest: _Digest) -> None:
        found = self._found
        found.files += digest.files
        if self._backfill:
            return
        if found.until is None or digest.end > found.until:
            found.newest, found.signature = digest.key, digest.signature
        found.spans.append((digest.start, digest.end))

    def _break(self, start: dt.datetime, end: dt.datetime, file: str, reason: str, *, lasting: bool = True) -> None:
        self._found.breaks.append(Break(start, end, file, reason, lasting, unproven=not lasting))

    def _read(self, key: str, stated: str | None) -> _Digest:
        """The digest, when everything about it is right; `stated` is its signature by the digest after it."""
        try:
            packed, metadata = self._place.read(key), self._place.metadata(key)
        except FileNotFoundError:
            raise _InvalidError("digest file is missing") from None
        except DeniedError as error:
            raise _InvalidError(f"digest file may not be read ({error})", lasting=False) from None
        if self._place.local and stated and "signature" not in metadata:  # a copy without its metadata
            metadata = {**metadata, "signature": stated, "signature-algorithm": "SHA256withRSA"}
        data = _inflated(packed)
        fields = _fields(data)
        if self._place.local and not metadata and not self._backfill:
            raise _UnsignedCopyError(fields)
        if "signature" not in metadata or "signature-algorithm" not in metadata:
            raise _InvalidError("digest file is invalid: it has no signature (object metadata)")
        origin = self._origin(key, fields)
        signature = metadata["signature"]
        self._verify(data, fields, signature, self._span(metadata))
        return _digest(key, fields, signature, origin)

    def _span(self, metadata: dict[str, str]) -> tuple[dt.datetime, dt.datetime]:
        """When the key must have been valid."""
        if not self._backfill:
            return self._signed
        try:
            made = _time(metadata["backfill-generation-timestamp"])
        except (KeyError, ValueError):
            raise _InvalidError("digest file is invalid: it has no backfill-generation-timestamp (object metadata)") from None  # fmt: skip
        return made - HOUR, made + HOUR

    def _origin(self, key: str, fields: dict[str, Any]) -> tuple[str, str]:
        """Bucket and prefix that the digest says it lies in; a folder may have any, a bucket its own."""
        bucket, stated = str(fields["digestS3Bucket"]), str(fields["digestS3Object"])
        prefix = stated.removesuffix(key)
        wrong_place = not self._place.local and (bucket, prefix) != (self._place.bucket, self._place.folder)
        if not stated.endswith(key) or wrong_place:
            raise _InvalidError("digest file is invalid: it has been moved from its original location")
        return bucket, prefix

    def _verify(self, data: bytes, fields: dict[str, Any], signature: str, span: tuple[dt.datetime, dt.datetime]) -> None:  # fmt: skip
        text = "\n".join([
            str(fields["digestEndTime"]), f"{fields['digestS3Bucket']}/{fields['digestS3Object']}", hashlib.sha256(data).hexdigest(),
            "null" if fields["previousDigestSignature"] is None else str(fields["previousDigestSignature"]),
        ])  # fmt: skip
        try:
            right = self._keys.verified(text.encode(), signature, str(fields["digestPublicKeyFingerprint"]), *span)
        except KeyMissingError as error:
            raise _InvalidError(f"digest file cannot be verified: {error}", lasting=False) from None
        if not right:
            raise _InvalidError("digest file is invalid: signature verification failed")


def _before(older: list[_Listed], end: dt.datetime) -> _Listed | None:
    """The newest of the listed ones that ends before; those after it are taken off the list."""
    while older:
        found = older.pop()
        if found.end < end:
            return found
    return None


def _inflated(packed: bytes) -> bytes:
    inflater = zlib.decompressobj(31)
    try:
        data = inflater.decompress(packed, MAX_DIGEST)
    except zlib.error:
        raise _InvalidError("digest file is invalid: it is no gzip") from None
    if not inflater.eof:
        raise _InvalidError("digest file is invalid: its gzip stream is cut short")
    return data


def _fields(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise _InvalidError("digest file is invalid: it is no JSON") from None
    if not isinstance(fields, dict) or any(name not in fields for name in _REQUIRED):
        raise _InvalidError("digest file is invalid: fields are missing")
    return fields


def _digest(key: str, fields: dict[str, Any], signature: str, origin: tuple[str, str]) -> _Digest:
    """What a verified digest says; `origin` is the bucket and prefix that it lies in."""
    bucket, prefix = origin
    try:
        start, end = _time(fields["digestStartTime"]), _time(fields["digestEndTime"])
        files = [_log_file(log, bucket, prefix, start, end) for log in fields.get("logFiles") or []]
        before_bucket = fields.get("previousDigestS3Bucket")
        before = fields.get("previousDigestS3Object") if before_bucket else None
    except (KeyError, TypeError, ValueError):
        raise _InvalidError("digest file is invalid: a field has no usable value") from None
    previous_signature = fields["previousDigestSignature"]
    previous = str(before).removeprefix(prefix) if before else None
    return _Digest(key, start, end, signature, previous, before_bucket not in (None, bucket), previous_signature, files)


def _log_file(log: dict[str, Any], bucket: str, prefix: str, start: dt.datetime, end: dt.datetime) -> Named:
    key = str(log["s3Object"])
    key = key.removeprefix(prefix) if log["s3Bucket"] == bucket else f"{log['s3Bucket']}/{key}"
    oldest = _time(log["oldestEventTime"]) if log.get("oldestEventTime") else start
    return Named(key, str(log["hashValue"]), min(start, oldest), end)


def _end_of(key: str, otherwise: dt.datetime) -> dt.datetime:
    """The end of a digest by its name."""
    match = DIGEST_NAME.fullmatch(key.rsplit("/", 1)[-1])
    return _stamp(match["end"]) if match else otherwise


def _stamp(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def _time(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
