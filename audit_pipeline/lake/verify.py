"""Recomputing the evidence: every entry, every link, every member. Names the file, and inside a segment the member.

Belongs here: checks over `raw/` and against the heads that reports printed. Not here: decisions (`findings`) or repairs: nothing
here changes anything.

What it can show: any change, removal or addition in the chain that does not also rewrite everything after it; and, by the heads in
reports (and in the mails that people kept), a rewrite of the whole chain or a cut at its end.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from audit_pipeline.lake import manifest, merkle
from audit_pipeline.lake.manifest import Entry, Member
from audit_pipeline.lake.store import Lake

_CHUNK = 2**20


@dataclass(frozen=True)
class Problem:
    """One difference; `file` is the path below the lake's root, `position` the byte in it where the changed part begins."""

    problem: str
    file: str
    source: str
    segment: str | None = None
    sequence: int | None = None
    member: str | None = None
    position: int | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For one JSON line."""
        return asdict(self)


@dataclass
class Summary:
    """What was looked at."""

    sources: int = 0
    entries: int = 0
    segments: int = 0
    members: int = 0
    bytes: int = 0


def verify(lake: Lake, since: str | None = None, until: str | None = None) -> tuple[list[Problem], Summary]:
    """Check all sources' chains, or only the bytes of segments collected from day `since` to `until` (ISO, both included).

    Links between entries are always checked as a whole: a chain with a hole proves nothing.
    """
    summary = Summary()
    problems: list[Problem] = []
    for source in lake.names("raw"):
        summary.sources += 1
        found, entries, trusted = _chain(lake, source)
        problems += found
        summary.entries += len(entries)
        chosen = [
            e
            for e in trusted
            if (since is None or e.collected_at[:10] >= since) and (until is None or e.collected_at[:10] <= until)
        ]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # hashing leaves the interpreter free
            for segment_problems, size in pool.map(lambda entry: _segment(lake, entry), chosen):
                problems += segment_problems
                summary.bytes += size
        summary.segments += sum(entry.segment is not None for entry in chosen)
        summary.members += sum(len(entry.members) for entry in chosen)
        problems += _unlisted(lake, source, entries)
    return problems, summary


def _chain(lake: Lake, source: str) -> tuple[list[Problem], list[Entry], list[Entry]]:
    """What is wrong with entries and links; the entries that can be read; those of them that can be trusted to judge a segment."""
    problems: list[Problem] = []
    entries: list[Entry] = []
    trusted: list[Entry] = []
    previous, broken = manifest.NO_PREVIOUS, False
    expected = 1
    for sequence in manifest.sequences(lake, source):
        file = manifest.file(source, sequence)
        if sequence != expected:
            problems.append(
                Problem(
                    "missing_entry",
                    manifest.file(source, expected),
                    source,
                    sequence=expected,
                    detail=f"entries {expected} to {sequence - 1} are not there",
                )
            )
            broken = True
        data = lake.read(file)
        entry, detail = _entry(data, source, sequence)
        if detail:
            problems.append(Problem("changed_entry", file, source, sequence=sequence, detail=detail))
        if entry is not None and not broken and not detail and entry.previous != previous:
            problems.append(
                Problem(
                    "broken_link",
                    manifest.file(source, max(1, sequence - 1)),
                    source,
                    sequence=sequence - 1,
                    detail=f"entry {sequence} was written after another entry than the one that stands here",
                )
            )
        if entry is not None:
            entries.append(entry)
            trusted += [] if detail else [entry]
        previous, broken = hashlib.sha256(data).hexdigest(), bool(detail)
        expected = sequence + 1
    return problems, entries, trusted


def _entry(data: bytes, source: str, sequence: int) -> tuple[Entry | None, str]:
    """The entry and what is wrong with its bytes, if anything."""
    try:
        entry = manifest.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, f"no readable entry ({error})"
    try:
        same = manifest.encode(entry) == data
    except (ValueError, OverflowError) as error:  # a number that canonical JSON cannot hold
        return None, f"no canonical entry ({error})"
    if not same:
        return entry, "its hash does not match its content, or it is not canonical; its segment cannot be judged"
    if (entry.source, entry.sequence) != (source, sequence):
        return None, f"it is entry {entry.sequence} of {entry.source}"
    return entry, ""


def _segment(lake: Lake, entry: Entry) -> tuple[list[Problem], int]:
    """Every byte of a segment against its members' hashes; the members must cover it without a gap."""
    if entry.segment is None:
        return [], 0
    path, own = entry.segment, manifest.file(entry.source, entry.sequence)

    def problem(
        kind: str, file: str, detail: str, member: Member | None = None, position: int | None = None
    ) -> Problem:
        name = None if member is None else member.name
        return Problem(kind, file, entry.source, path, entry.sequence, name, position, detail)

    if not lake.exists(path):
        return [problem("missing_segment", path, "the file is not there")], 0
    problems: list[Problem] = []
    size = int(lake.fs.size(lake.path(path)))
    if size != entry.bytes:
        problems.append(
            problem("changed_size", path, f"{size} bytes, recorded {entry.bytes}", position=min(size, entry.bytes))
        )
    at = 0
    for member, digest in _digests(lake, path, entry.members):
        if member.offset != at:
            problems.append(problem("changed_entry", own, "members do not follow each other", member, member.offset))
        if digest != member.sha256:
            detail = f"SHA-256 differs from the recorded one (member of {member.length} bytes)"
            problems.append(problem("changed_member", path, detail, member, member.offset))
        at = member.offset + member.length
    if merkle.root([bytes.fromhex(member.sha256) for member in entry.members]).hex() != entry.root:
        problems.append(problem("changed_entry", own, "its Merkle root is not that of its members"))
    return problems, size


def _digests(lake: Lake, path: str, members: list[Member]) -> Iterator[tuple[Member, str]]:
    """Each member with the SHA-256 of its stored bytes, in one pass over the segment."""
    with lake.fs.open(lake.path(path), "rb", **({} if not lake.local else {"buffering": _CHUNK})) as file:
        for member in members:
            file.seek(member.offset)
            digest = hashlib.sha256()
            left = member.length
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
            yield member, digest.hexdigest() if left == 0 else "cut short"


def _unlisted(lake: Lake, source: str, entries: list[Entry]) -> list[Problem]:
    """Files that no entry names."""
    listed = {entry.segment for entry in entries}
    unreadable = set(manifest.sequences(lake, source)) - {entry.sequence for entry in entries}  # named already
    found = [
        f"raw/{source}/{day}/{name}"
        for day in lake.names(f"raw/{source}")
        if day != "manifest"
        for name in lake.names(f"raw/{source}/{day}")
    ]
    problems = [
        Problem(
            "unlisted_segment",
            path,
            source,
            segment=path,
            detail="no entry names it: a collection was killed before its entry (the next one collects it again and removes this), or somebody put it there",
        )
        for path in found
        if path not in listed and _sequence(path) not in unreadable
    ]
    named = {manifest.file(source, sequence) for sequence in manifest.sequences(lake, source)}
    problems += [
        Problem("unlisted_file", path, source, detail="a name that no entry has")
        for path in (f"{manifest.folder(source)}/{name}" for name in lake.names(manifest.folder(source)))
        if path not in named
    ]
    return problems


def _sequence(path: str) -> int:
    head = path.rsplit("/", 1)[1].split("-", 1)[0]
    return int(head) if head.isascii() and head.isdigit() else -1
