"""The daily root: one hash over the heads of all chains, printed in every report and mail.

Belongs here: the root and the heads it is made of. Not here: checking a chain (`verify`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
import rfc8785

from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake


class Head(msgspec.Struct, frozen=True):
    """The part of a manifest entry that a summary needs; the members are not decoded."""

    sequence: int
    hash: str
    collected_at: str
    clock: str = "system"
    segment: str | None = None
    bytes: int = 0


def heads(lake: Lake, source: str) -> list[Head]:
    """The entries of a source's chain in short, in order.

    Raises:
        msgspec.DecodeError: a file of the chain is no entry; `audit-pipeline verify` names it.
    """
    return [
        msgspec.json.decode(lake.read(manifest.file(source, sequence)), type=Head)
        for sequence in manifest.sequences(lake, source)
    ]


def daily_root(lake: Lake, sources: Iterable[str]) -> str:
    """SHA-256 (hex) over RFC 8785 of `[[source, hash of its newest entry]…]`, sorted by source; null where a chain is empty.

    Whoever keeps a mail with it can prove that no chain was changed or cut short later.
    """
    pairs: list[list[str | None]] = []
    for source in sorted(set(sources)):
        found = manifest.sequences(lake, source)
        last = manifest.file(source, found[-1]) if found else None
        pairs.append([source, msgspec.json.decode(lake.read(last), type=Head).hash if last else None])
    return hashlib.sha256(rfc8785.dumps(pairs)).hexdigest()
