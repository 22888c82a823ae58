"""What a record format is: how its files are cut into records, what identifies a record, and its OCSF columns as SQL.

Belongs here: the protocol and the small types it speaks in. Not here: inflating (`inflate`), the drivers (`indexing`, `unify`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Framing = Literal["document", "lines"]


@dataclass(frozen=True)
class Damage:
    """A part of a member that is no record: where it begins (byte in the inflated member), why, and the bytes (bounded)."""

    position: int
    reason: str
    detail: str
    raw: bytes = b""


@dataclass
class Split:
    """A member cut into records, in order; `damaged` are its unreadable parts."""

    records: list[bytes] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)


@dataclass
class Keys:
    """What the index needs of each record, in the order of the records; a reject has a reason, and no time where it has none."""

    key: list[bytes]
    """identity at the source, such as CloudTrail's eventID; the record itself where there is none"""
    time_us: list[int | None]
    """event time in microseconds since 1970 UTC"""
    reason: list[str | None]
    detail: list[str | None]


class Format(Protocol):
    """A record format. All methods are pure; nothing is configured but by arguments."""

    name: str
    version: int
    """raised whenever index or columns change: days are then indexed and computed anew"""

    @property
    def structure(self) -> str:
        """DuckDB `json_transform` structure that the column expressions read as `r`."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """Event column to SQL expression over `r` (the transformed record) and `doc` (its JSON text); absent columns are null."""
        ...

    def framing(self, head: bytes) -> Framing:
        """Whether a file that begins so is one document or lines that may grow."""
        ...

    def delivery_time(self, name: str) -> dt.datetime | None:
        """The source's delivery stamp in a file's name, where it has one."""
        ...

    def split(self, data: bytes, whole: bool) -> Split:
        """Cut an inflated member into records; `whole` is false where the member was cut short. Never raises on bad input."""
        ...

    def keys(self, records: Sequence[bytes]) -> Keys:
        """Key, time and fate of each record."""
        ...
