"""Whether a file's content is known: by its hash, whatever name it lies under.

Belongs here: what earlier entries took, and what lies under a name now. Not here: reading what is new (`files`).

Content that is known under another name moved from there, unless it still lies there too: then it is a copy, and collected again.
So rotation (`app.log` to `app.log.1`, a new `app.log`), also by copying and truncating, takes nothing twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from audit_pipeline.formats.inflate import encoding_of, inflate
from audit_pipeline.lake.manifest import Entry, Member

MAX_FILE = 512 * 2**20
"""Bytes of a compressed file or a document that is taken; lines have no bound."""


@dataclass(frozen=True)
class Found:
    """A file that a glob matched; `name` is its path as text that can be stored, whatever bytes are in it."""

    path: str
    name: str
    fs: Any
    size: int
    modified: dt.datetime | None
    regular: bool = True
    """false for pipes, sockets and devices: opening one could wait for ever"""


@dataclass
class Known:
    """What earlier entries say was taken."""

    names: set[str] = field(default_factory=set)
    unchanged: set[tuple[str, int, str | None]] = field(default_factory=set)
    """name, size and time of files that were taken whole"""
    documents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """SHA-256 of a document to its names"""
    streams: dict[tuple[int, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """end and prefix hash of what was taken of a stream, to its names"""

    @classmethod
    def of(cls, entries: list[Entry]) -> Known:
        """From the chain."""
        known = cls()
        for member in (member for entry in entries for member in entry.members if member.error is None):
            known.add(member)
        return known

    def add(self, member: Member) -> None:
        """One member more."""
        self.names.add(member.name)
        if member.prefix is None:
            self.documents[member.sha256].add(member.name)
        else:
            self.streams[member.at + member.inflated, member.prefix].add(member.name)
        if member.size is not None:
            self.unchanged.add((member.name, member.size, member.modified))


class Present:
    """The files that are there now, by name."""

    def __init__(self, files: list[Found]) -> None:
        self._files = {file.name: file for file in files}
        self._hashes: dict[tuple[str, int | None], str | None] = {}

    def moved(self, names: set[str], name: str, sha256: str, end: int | None) -> bool:
        """Whether content known under `names` belongs to `name`: known under it, or gone from one of the others.

        Args:
            names: the names that the content was taken under.
            name: the file that has it now.
            sha256: its hash.
            end: how many bytes of the inflated file it is; null for a document: all stored bytes.
        """
        return name in names or any(self._hash(other, end) != sha256 for other in names)

    def _hash(self, name: str, end: int | None) -> str | None:
        if (name, end) not in self._hashes:
            file = self._files.get(name)
            try:
                self._hashes[name, end] = _hash(file, end) if file is not None and file.regular else None
            except OSError:
                self._hashes[name, end] = None
        return self._hashes[name, end]


def _hash(file: Found, end: int | None) -> str | None:
    """SHA-256 of the first `end` bytes that the file holds when inflated (of all stored ones where null); null where it is shorter."""
    with file.fs.open(file.path, "rb") as handle:
        head = handle.read(64)
        if end is None:
            return hashlib.sha256(head + handle.read(MAX_FILE)).hexdigest()
        if encoding_of(head, file.path) != "plain":
            data = inflate(head + handle.read(MAX_FILE), file.path).data
            return hashlib.sha256(data[:end]).hexdigest() if len(data) >= end else None
        digest, left = hashlib.sha256(head[:end]), end - len(head)
        while left > 0 and (chunk := handle.read(min(left, 2**20))):
            digest.update(chunk)
            left -= len(chunk)
        return digest.hexdigest() if left <= 0 else None


def continued(chunks: Iterator[bytes], size: int, known: Known, name: str, present: Present) -> tuple[int, Any]:
    """Where what is new begins: the longest known stream that this content begins with; and the hash state up to there."""
    ends = sorted({end for end, _ in known.streams if 0 < end <= size})
    digest, best = hashlib.sha256(), (0, hashlib.sha256())
    at = 0
    for chunk in chunks:
        while ends and ends[0] <= at + len(chunk):
            end = ends.pop(0)
            digest.update(chunk[: end - at])
            chunk, at = chunk[end - at :], end
            prefix = digest.hexdigest()
            names = known.streams.get((end, prefix), set())
            if names and present.moved(names, name, prefix, end):
                best = (end, digest.copy())
        if not ends:
            break
        digest.update(chunk)
        at += len(chunk)
    return best
