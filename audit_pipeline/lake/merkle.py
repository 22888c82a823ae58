"""Merkle roots over members' hashes (RFC 6962 section 2.1), so that one member can be proved without the others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of the leaves' data: SHA-256, leaves prefixed by 0x00 and nodes by 0x01.

    The largest power of two smaller than n goes left, which equals pairing level by level with an odd last one carried up.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        paired = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]
