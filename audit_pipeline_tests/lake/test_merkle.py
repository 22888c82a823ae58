"""Merkle roots against the recursive definition of RFC 6962, section 2.1."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.lake.merkle import root


def _defined(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + _defined(leaves[:k]) + _defined(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    assert root(leaves) == _defined(leaves)


def test_known_root_of_an_empty_tree() -> None:
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
