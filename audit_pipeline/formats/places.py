"""Where the records of a member lie in it, and columns of text that point there: the quick way from an inflated member to the engine.

Belongs here: places of records in a healthy, compact JSON document, and Arrow's string views over them, which copy nothing. Not here:
splitting anything else (`records`). A format that has no places for a member has it split.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_END = b"]}"
_INLINE = 12
"""Bytes up to which Arrow keeps a text in the view itself (columnar format, "Variable-size Binary View Layout")."""


@dataclass(frozen=True)
class Places:
    """Records as slices of `data`, in order."""

    data: bytes
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]

    @classmethod
    def of(cls, records: Sequence[bytes]) -> Places:
        """Records that lie anywhere, put behind each other."""
        length = np.fromiter(map(len, records), np.int64, len(records))
        return cls(b"".join(records), np.cumsum(length) - length, length)

    def take(self, chosen: npt.NDArray[np.int64]) -> Places:
        """Some of them."""
        return Places(self.data, self.start[chosen], self.length[chosen])

    def records(self) -> list[bytes]:
        """Each as bytes of its own."""
        return [self.data[at : at + size] for at, size in zip(self.start.tolist(), self.length.tolist(), strict=True)]


@runtime_checkable
class Placing(Protocol):
    """A format that can tell places without making records."""

    def places(self, data: bytes) -> Places | None:
        """What `split` would give for a whole member, without damage; null where only `split` can tell."""
        ...


def json_places(data: bytes, containers: tuple[str, ...]) -> Places | None:
    """The records of `{"Records":[…]}` without a blank or anything else beside them; null for any other text.

    Args:
        data: the inflated member.
        containers: keys that hold the list of records.
    """
    head = next((head for head in _heads(containers) if data.startswith(head)), None)
    if head is None or not data.endswith(_END):
        return None
    try:
        records = _document(head).decode(data).records
    except _UNREADABLE:
        return None
    length = np.fromiter(map(len, records), np.int64, len(records))
    start = np.cumsum(length + 1) - length - 1 + len(head)  # a comma behind each but the last
    end = len(head) + int(length.sum()) + max(0, len(records) - 1) + len(_END)
    return Places(data, start, length) if end == len(data) else None  # not one byte is left for anything else


@functools.cache
def _heads(containers: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(f'{{"{name}":['.encode() for name in containers)


@functools.cache
def _document(head: bytes) -> Any:
    name = head[2:-3].decode()
    return msgspec.json.Decoder(
        msgspec.defstruct("Document", [("records", list[msgspec.Raw])], rename={"records": name})
    )


def column(parts: Sequence[Places]) -> pa.Array:
    """One text column over all parts, in order, that points into their data; it must be UTF-8."""
    views = np.concatenate([_views(part, number) for number, part in enumerate(parts)])
    buffers = [None, pa.py_buffer(views), *(pa.py_buffer(part.data) for part in parts)]
    return pa.Array.from_buffers(pa.string_view(), len(views), buffers)


def _views(part: Places, number: int) -> npt.NDArray[np.int32]:
    """Length, first four bytes, number of the buffer, place in it: four int32 a text; short ones lie in the view."""
    found = np.empty((len(part.start), 4), np.int32)
    found[:, 0] = part.length
    text = np.frombuffer(part.data, np.uint8)
    long = part.length > _INLINE
    at = part.start if long.all() else np.where(long, part.start, 0)
    if long.any():
        found[:, 1] = np.ascontiguousarray(text[at[:, None] + np.arange(4)]).view(np.int32)[:, 0]
        found[:, 2] = number
        found[:, 3] = at
    for row in np.flatnonzero(~long).tolist():
        begin, size = int(part.start[row]), int(part.length[row])
        found[row, 1:] = np.frombuffer(part.data[begin : begin + size].ljust(_INLINE, b"\x00"), np.int32)
    return found
