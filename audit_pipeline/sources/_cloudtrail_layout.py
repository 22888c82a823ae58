"""Where CloudTrail puts its objects, and reading them from a bucket or from a folder of the same layout.

Belongs here: names of keys, listing, bytes and metadata. Not here: which of them are new (`cloudtrail`), what digests say
(`_cloudtrail_digests`). Source: AWS CloudTrail User Guide, "Finding your CloudTrail log files" and "CloudTrail digest file structure":
`[prefix/]AWSLogs/[o-id/]{account}/CloudTrail/{region}/yyyy/mm/dd/{account}_CloudTrail_{region}_{delivered to the minute}_{random}.json.gz`.

A folder has no object metadata. There the metadata of an object is what `aws s3api head-object` printed, beside it as
`<name>.metadata.json`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import fsspec

from audit_pipeline.clock import DAY, UTC
from audit_pipeline.sources.base import SourceError, failures

Kind = Literal["CloudTrail", "CloudTrail-Digest", "CloudTrail-Insight"]
LOGS: Kind = "CloudTrail"
DIGESTS: Kind = "CloudTrail-Digest"
INSIGHTS: Kind = "CloudTrail-Insight"
METADATA = ".metadata.json"
LOG_NAME = re.compile(r"\d{12}_CloudTrail_[a-z0-9-]+_(\d{8}T\d{4})Z_[A-Za-z0-9]+\.json\.gz", re.ASCII)
DIGEST_NAME = re.compile(r"\d{12}_CloudTrail-Digest_[a-z0-9-]+_(?P<trail>[A-Za-z0-9._-]+)_(?P<home>[a-z0-9-]+)_(?P<end>\d{8}T\d{6})Z(?P<backfill>_backfill)?\.json\.gz", re.ASCII)  # fmt: skip
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}", re.ASCII)
_BATCH, _BATCH_BYTES = 64, 32 * 2**20
"""Objects, and bytes of them, that are asked for side by side and held in memory."""
MANY_DAYS = 31
"""With more days than this a region is listed whole: fewer requests than one for each day."""


@dataclass(frozen=True)
class Stored:
    """An object; `key` begins with `AWSLogs/`, `etag` changes whenever the object is written."""

    key: str
    size: int
    etag: str
    modified: dt.datetime

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.rsplit("/", 1)[1]


@dataclass(frozen=True, order=True)
class Scope:
    """One account's one region: what has log files, and a digest each hour, of its own."""

    organization: str
    """empty for a trail of one account"""
    account: str
    region: str

    def folder(self, kind: Kind) -> str:
        """Where its objects of that kind lie."""
        within = f"{self.organization}/" if self.organization else ""
        return f"AWSLogs/{within}{self.account}/{kind}/{self.region}"

    def __str__(self) -> str:
        return "/".join(part for part in (self.organization, self.account, self.region) if part)


class DeniedError(SourceError):
    """A place or object that may not be read."""


class Place:
    """A bucket with or without prefix, or a folder."""

    def __init__(self, url: str, storage: dict[str, Any]) -> None:
        self.url = url.rstrip("/").removesuffix("/AWSLogs")
        try:
            self._fs, root = fsspec.core.url_to_fs(self.url, **storage)
        except (ImportError, ValueError) as error:
            raise SourceError(f"{self.url}: cannot be opened ({error}). Install audit-pipeline[s3], or mend options.url.") from error  # fmt: skip
        self._root = str(root).rstrip("/")
        self.local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))
        self.bucket, _, prefix = ("", "", "") if self.local else self._root.partition("/")
        self.folder = f"{prefix}/" if prefix else ""
        """the prefix of all keys in the bucket"""

    def refresh(self) -> None:
        """Forget what was listed before."""
        self._fs.invalidate_cache()

    def folders(self, key: str) -> list[str]:
        """Names of the folders below a key, sorted; none where it is not there.

        Raises:
            DeniedError: it may not be listed.
            SourceError: the store does not answer.
        """
        return sorted(str(info["name"]).rstrip("/").rsplit("/", 1)[1] for info in self._list(key) if info["type"] == "directory")  # fmt: skip

    def objects(self, key: str) -> list[Stored]:
        """All objects below a key, sorted; raises as `folders` does."""
        below = self._root + "/"
        found = [_stored(str(info["name"]).removeprefix(below), info) for info in self._list(key, deep=True)]
        return sorted(found, key=lambda one: one.key)

    def days(self, scope: Scope, kind: Kind, first: dt.date, last: dt.date) -> list[Stored]:
        """A scope's objects of the days from `first` to `last`, by the days in their keys."""
        folder = scope.folder(kind)
        if last - first <= MANY_DAYS * DAY:
            days = (first + n * DAY for n in range((last - first).days + 1))
            return [one for day in days for one in self.objects(f"{folder}/{day:%Y/%m/%d}")]
        low, high = f"{folder}/{first:%Y/%m/%d}/", f"{folder}/{last + DAY:%Y/%m/%d}/"
        return [one for one in self.objects(folder) if low <= one.key < high]

    def read(self, key: str) -> bytes:
        """An object.

        Raises:
            FileNotFoundError: there is none.
            DeniedError: it may not be read.
            SourceError: the store does not answer.
        """
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{key}"))
        except FileNotFoundError:
            raise
        except failures() as error:
            raise _failed(self._shown(key), error) from error

    def find(self, key: str) -> Stored | None:
        """An object by its key; null where there is none, or none that may be seen."""
        try:
            return _stored(key, self._fs.info(f"{self._root}/{key}"))
        except failures():
            return None

    def read_all(self, objects: Iterable[Stored]) -> Iterator[tuple[Stored, bytes | OSError]]:
        """Objects in their order, several asked for side by side; an error in place of what cannot be read."""
        batch: list[Stored] = []
        size = 0
        for one in objects:
            if batch and (len(batch) == _BATCH or size + one.size > _BATCH_BYTES):
                yield from self._batch(batch)
                batch, size = [], 0
            batch.append(one)
            size += one.size
        if batch:
            yield from self._batch(batch)

    def _batch(self, batch: list[Stored]) -> Iterator[tuple[Stored, bytes | OSError]]:
        paths = [f"{self._root}/{one.key}" for one in batch]
        if self.local or len(paths) == 1:
            for one in batch:
                yield one, self._one(one.key)
            return
        got = self._fs.cat(paths, on_error="return")
        for one, path in zip(batch, paths, strict=True):
            data = got[path]
            yield one, data if isinstance(data, bytes) else data if isinstance(data, OSError) else OSError(str(data))

    def _one(self, key: str) -> bytes | OSError:
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{key}"))
        except failures() as error:
            return error if isinstance(error, OSError) else OSError(str(error))

    def metadata(self, key: str) -> dict[str, str]:
        """The object's own metadata, by names in lower case; empty where there is none (in a folder: no file beside it)."""
        try:
            if not self.local:
                found = self._fs.metadata(f"{self._root}/{key}")
            else:
                found = json.loads(self._fs.cat_file(f"{self._root}/{key}{METADATA}"))
                found = found.get("Metadata", found) if isinstance(found, dict) else {}
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise SourceError(f"{self._shown(key)}{METADATA}: is no JSON ({error}): write it anew with `aws s3api head-object`.") from error  # fmt: skip
        except failures() as error:
            raise _failed(self._shown(key), error) from error
        return {str(name).lower(): str(value) for name, value in found.items()}

    def _list(self, key: str, *, deep: bool = False) -> list[dict[str, Any]]:
        path = f"{self._root}/{key}" if key else self._root
        try:
            if deep:
                found = self._fs.find(path, detail=True, **({"on_error": "raise"} if self.local else {}))
                return [info for info in found.values() if info["type"] != "directory"]
            return list(self._fs.ls(path, detail=True))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except failures() as error:
            raise _failed(self._shown(key), error) from error

    def _shown(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url


def _failed(where: str, error: Exception) -> SourceError:
    if isinstance(error, PermissionError):
        return DeniedError(f"{where}: may not be read ({error.strerror or error}). Grant s3:ListBucket on the bucket and s3:GetObject on its objects, or the right to read the folder.")  # fmt: skip
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    return SourceError(f"{where}: cannot be read ({said}). Check the network, and the credentials in environment or profile.")  # fmt: skip


def _stored(key: str, info: dict[str, Any]) -> Stored:
    """A folder's files have no ETag: their size and time stand for it."""
    size = int(info.get("size") or 0)
    modified = info.get("LastModified", info.get("mtime"))
    at = modified.astimezone(UTC) if isinstance(modified, dt.datetime) else dt.datetime.fromtimestamp(modified or 0, UTC)  # fmt: skip
    etag = str(info.get("ETag") or f"{size:x}-{modified}").strip('"')
    return Stored(key, size, etag, at)


def scopes(place: Place, organization: str | None, accounts: list[str], regions: list[str]) -> tuple[list[Scope], list[str]]:  # fmt: skip
    """What is to be read, found by listing and narrowed by what is configured; and what may not be listed, in words.

    Raises:
        SourceError: nothing at all can be listed.
    """
    denied: list[str] = []
    found: set[Scope] = set()
    for org, account in _accounts(place, organization):
        if accounts and account not in accounts:
            continue
        try:
            found |= {Scope(org, account, region) for kind in (LOGS, DIGESTS) for region in place.folders(Scope(org, account, "").folder(kind).rstrip("/"))}  # fmt: skip
        except DeniedError as error:
            denied.append(str(error))
    return sorted(scope for scope in found if not regions or scope.region in regions), denied


def _accounts(place: Place, organization: str | None) -> Iterator[tuple[str, str]]:
    for name in [organization] if organization else place.folders("AWSLogs"):
        if _ORGANIZATION.fullmatch(name):
            yield from ((name, account) for account in place.folders(f"AWSLogs/{name}") if _ACCOUNT.fullmatch(account))
        elif _ACCOUNT.fullmatch(name):
            yield "", name
