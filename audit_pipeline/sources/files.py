"""Logs that lie in files: globs on a local disk or an object store (fsspec), plain or compressed.

Belongs here: which bytes of which file are new. Not here: what they mean (`formats`), how they are kept (`lake.raw`).

A file's identity is its content (`identity`), so rotation, copytruncate and renaming lose nothing and double nothing: a file of
lines continues a stream when it begins with all that was taken of it (hash of the prefix); a document is known by its hash. The same
content under a second name while the first still has it is collected again: the records say themselves whether they are extra copies.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import glob as globbing
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import msgspec

from audit_pipeline.clock import UTC, rfc3339
from audit_pipeline.formats.base import Format
from audit_pipeline.formats.inflate import encoding_of, inflate, inflate_head
from audit_pipeline.lake.manifest import Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sections import Section
from audit_pipeline.sources.base import Collection, Opening, Probe, SourceError, failures
from audit_pipeline.sources.identity import MAX_FILE, Found, Known, Present, continued

SLICE = 32 * 2**20
"""Bytes of a plain file of lines that become one member."""
_HEAD = 2**16
MEANWHILE = dt.timedelta(minutes=5)
"""A file that is written to after the run began, and before it is listed, is none of the future."""

EXAMPLE = """\
  cloudtrail_prod:
    type: files                    # collector
    format: cloudtrail             # record format
    paths: ["logs/cloudtrail/**/*.json.gz"]   # change this: globs, from this folder; URLs such as s3://bucket/AWSLogs/** too
    storage: {}                    # options of the object store, such as {endpoint_url: "https://s3.example.com"}; no secrets
    team: cloud                    # who owns the source; stands under teams
    settles_after: 2h              # when a day's records have normally all arrived: s, m, h, d or w
    expected: []                   # senders that must be heard, such as [i-0abc, i-0def]
    zone: UTC                      # time zone of stamps where the format has none (CloudTrail has), such as Europe/Berlin
    year: null                     # where the format has no year (CloudTrail has) and the file's time does not tell it
"""


class Options(Section):
    """None: `paths` and `storage` say it all."""


def open_source(opening: Opening) -> FilesSource:
    """The configured files."""
    source = opening.source
    paths = [opening.resolve(path) for path in source.paths]
    return FilesSource(paths, opening.form, source.storage, source.settles_after)


class FilesSource:
    """Globs of files; see the module."""

    def __init__(self, patterns: list[str], form: Format, storage: dict[str, Any], settles_after: dt.timedelta) -> None:
        self._patterns, self._format, self._storage, self._settles = patterns, form, storage, settles_after

    def collect(self, collection: Collection) -> Iterator[Item]:
        """New content of all files visible by now; what cannot be read is named, and the rest is taken."""
        known = Known.of(collection.known)
        files = self._find(collection)
        present = Present(files)
        later, latest = 0, collection.now + (dt.timedelta(0) if collection.simulated else MEANWHILE)
        for file in files:
            modified = rfc3339(file.modified) if file.modified else None
            if (file.name, file.size, modified) in known.unchanged:
                continue
            visible, visible_from = self._visible(file)
            if visible is not None and visible > latest:
                later += 1
                continue
            member = Member(
                name=file.name, offset=0, length=0, sha256="", visible_time=rfc3339(visible) if visible else None, visible_from=visible_from,
                modified=modified, size=file.size,
            )  # fmt: skip
            for item in self._read(file, member, known, present, collection):
                if item.member.error is None:
                    known.add(item.member)
                yield item
        if later and not collection.simulated:
            collection.remarks.append(
                Remark("future", f"{later} files carry a time after {rfc3339(collection.now)}: left for a later run")
            )
        collection.request.update({"from": None, "to": rfc3339(collection.now)})

    def probe(self) -> list[Probe]:
        """Whether each glob's folder is there and its newest file can be read."""
        collection = Collection([], dt.datetime.max.replace(tzinfo=UTC))
        try:
            files = self._find(collection)
        except SourceError as error:
            return [Probe("paths", False, str(error))]
        probes = [Probe("paths", bool(files), f"{len(files)} files match {', '.join(self._patterns)}")]
        probes += [Probe("folder", False, remark.detail) for remark in collection.remarks]
        if files:
            newest = max(files, key=lambda file: (file.modified or dt.datetime.min.replace(tzinfo=UTC), file.path))
            try:
                newest.fs.cat_file(newest.path, start=0, end=1)
                probes.append(Probe("read", True, f"newest file {newest.path}"))
            except failures() as error:
                probes.append(
                    Probe(
                        "read",
                        False,
                        f"{newest.path}: {getattr(error, 'strerror', None) or error}. Give the user that runs this the right to read it.",
                    )
                )
        return probes

    def _find(self, collection: Collection) -> list[Found]:
        """All matching files, sorted by path; a folder that cannot be read is remarked, a missing one is an error."""
        found: dict[str, Found] = {}
        for pattern in self._patterns:
            try:
                fs, path = fsspec.core.url_to_fs(pattern, **self._storage)
                base = _base(path)
                if not fs.exists(base):
                    raise SourceError(
                        f"{base}: no such folder or bucket (from paths: {pattern}). Mend the path, or mount what should be there."
                    )
                if _is_local(fs) and globbing.has_magic(path):
                    os.scandir(base).close()  # a local glob finds nothing, in silence, where it may not look
                matches = fs.glob(path, detail=True)
            except (PermissionError, ValueError, ImportError) as error:
                raise SourceError(
                    f"{pattern}: cannot be listed ({error}). Give the user that runs this the right to read it."
                ) from error
            except failures() as error:
                raise SourceError(
                    f"{pattern}: cannot be listed ({getattr(error, 'strerror', None) or error})."
                ) from error
            closed = _unreadable_folders(fs, base)
            if any(remark.detail.startswith(f"{base}: ") for remark in closed):  # nothing at all can be seen
                raise SourceError(f"{pattern}: {closed[0].detail}")
            collection.remarks += closed
            local = _is_local(fs)
            for name, info in matches.items():
                linked = local and info.get("islink")
                if info.get("type") != "directory" and not (linked and Path(name).is_dir()):
                    found[name] = _found(fs, name, info, local=local)
        return [found[name] for name in sorted(found)]

    def _visible(self, file: Found) -> tuple[dt.datetime | None, str]:
        stamp = self._format.delivery_time(file.path)
        if stamp is not None:
            return stamp, "delivery"
        return (file.modified, "modified") if file.modified is not None else (None, "collected")

    def _read(
        self, file: Found, member: Member, known: Known, present: Present, collection: Collection
    ) -> Iterator[Item]:
        if not file.regular:
            yield Item(b"", _replace(member, error="unreadable: no regular file (a pipe, socket or device)", size=None))
            return
        try:
            with file.fs.open(file.path, "rb") as handle:
                head = handle.read(_HEAD)
                encoding = encoding_of(head, file.path)
                if encoding == "plain" and self._format.framing(head) == "lines":
                    yield from self._lines(handle, head, member, known, present, collection)
                    return
                data = head + handle.read(MAX_FILE) if len(head) == _HEAD else head  # a bound reserves memory
                if encoding == "plain" and _begun(data) and not self._final(member, collection):
                    return
        except failures() as error:
            yield Item(
                b"", _replace(member, error=f"unreadable: {getattr(error, 'strerror', None) or error}", size=None)
            )
            return
        if len(data) > MAX_FILE:
            yield Item(
                b"", _replace(member, error=f"unreadable: over the bound of {MAX_FILE} bytes for one file", size=None)
            )
            return
        if encoding != "plain" and self._format.framing(inflate_head(data, file.path)) == "lines":
            inflated = inflate(data, file.path)
            if inflated.fault is None:
                yield from _packed_lines(data, inflated.data, _replace(member, encoding=encoding), known, present)
                return
        digest = hashlib.sha256(data).hexdigest()
        names = known.documents.get(digest, set())
        if not (names and present.moved(names, member.name, digest, None)):
            yield Item(data, _replace(member, encoding=encoding, sha256=digest))

    def _final(self, member: Member, collection: Collection) -> bool:
        """Whether the file is so old that nobody will finish its last line any more."""
        modified = dt.datetime.fromisoformat(member.modified) if member.modified else None
        return modified is not None and collection.now - modified > self._settles

    def _lines(
        self, handle: Any, head: bytes, member: Member, known: Known, present: Present, collection: Collection
    ) -> Iterator[Item]:
        """What a growing file of lines has beyond what was taken; its unfinished last line is left while it may still grow."""
        size = member.size or 0
        start, digest = continued(_chunks(handle, head), size, known, member.name, present)
        if start == 0 and size and member.name in known.names:
            collection.remarks.append(
                Remark(
                    "replaced",
                    f"{member.name}: does not begin with what was taken of it before (truncated or replaced): taken from its start",
                )
            )
        handle.seek(start)
        at = start
        for piece in _slices(handle, self._final(member, collection)):
            digest.update(piece)
            done = at + len(piece) == size
            yield Item(
                piece,
                _replace(member, at=at, inflated=len(piece), prefix=digest.hexdigest(), size=size if done else None),
            )
            at += len(piece)


def _begun(data: bytes) -> bool:
    """Whether this is the beginning of a first line, or of a document on one line, that is being written just now."""
    if (
        not data or len(data) >= _HEAD or b"\n" in data
    ):  # an empty file is named at once: it may be all that is left of one
        return False
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _slices(handle: Any, final: bool) -> Iterator[bytes]:
    """Whole lines, some `SLICE` bytes at a time; the unfinished last line only when the file is `final`."""
    rest = b""
    while chunk := handle.read(SLICE):
        piece = rest + chunk
        cut = len(piece) if len(piece) > MAX_FILE else piece.rfind(b"\n") + 1
        rest = piece[cut:]
        if cut:
            yield piece[:cut]
    if rest and final:
        yield rest


def _packed_lines(data: bytes, inflated: bytes, member: Member, known: Known, present: Present) -> Iterator[Item]:
    """A compressed file of lines: whole with its own bytes, or what it has beyond a stream that was taken before (rotated, then packed)."""
    start, digest = continued(iter([inflated]), len(inflated), known, member.name, present)
    rest = inflated[start:]
    if start and not rest:
        return
    digest.update(rest)
    taken = _replace(member, at=start, inflated=len(rest), prefix=digest.hexdigest())
    yield Item(rest, _replace(taken, encoding="plain")) if start else Item(data, taken)


def _chunks(handle: Any, head: bytes) -> Iterator[bytes]:
    yield head
    while chunk := handle.read(2**20):
        yield chunk


def _replace(member: Member, **changes: Any) -> Member:
    return msgspec.structs.replace(member, **changes)


def _base(path: str) -> str:
    """The folder before the first wildcard, or the file's own folder."""
    parts = path.split("/")
    fixed = next((i for i, part in enumerate(parts) if globbing.has_magic(part)), len(parts) - 1)
    return "/".join(parts[:fixed]) or "/"


def _unreadable_folders(fs: Any, base: str) -> list[Remark]:
    """Folders that a local glob passes over in silence."""
    if not _is_local(fs):
        return []
    problems: list[OSError] = []
    for _ in os.walk(base, onerror=problems.append):
        pass
    return [
        Remark(
            "source_partial",
            f"{error.filename}: folder cannot be read ({error.strerror}). Give the user that runs this the right to read it.",
        )
        for error in problems
    ]


def _is_local(fs: Any) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def _found(fs: Any, path: str, info: dict[str, Any], *, local: bool) -> Found:
    """The file; a local link has the size and time of what it leads to."""
    size, modified, regular = int(info.get("size") or 0), _modified(info), True
    if local and info.get("islink"):
        with contextlib.suppress(OSError):  # it leads nowhere: reading it says so
            status = Path(path).stat()
            modified = dt.datetime.fromtimestamp(status.st_mtime, UTC)
            size, regular = status.st_size, stat.S_ISREG(status.st_mode)
    elif local:
        regular = stat.S_ISREG(info["mode"])
    name = path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return Found(path, name, fs, size, modified, regular)


def _modified(info: dict[str, Any]) -> dt.datetime | None:
    value = info.get("mtime", info.get("LastModified", info.get("last_modified")))
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, UTC)
    return value.astimezone(UTC) if isinstance(value, dt.datetime) else None
