"""What a record format is: how its files are cut into records, what identifies a record, and its OCSF columns as SQL.

Belongs here: the protocol and the small types it speaks in. Not here: inflating (`inflate`), the drivers (`indexing`, `unify`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

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
    """identity at the source, such as CloudTrail's eventID; the record itself (`records.numbered`) where there is none"""
    time_us: list[int | None]
    """event time in microseconds since 1970 UTC"""
    reason: list[str | None]
    detail: list[str | None]
    version: list[int] | None = None
    """which record of a key is the newest where the source tells (the greatest; Kubernetes: the stage); else visible time decides.
    Records of a key with different versions are parts of one event, not repetitions"""
    own: list[tuple[bytes, int | None]] | None = None
    """a store's own identity and time of each of its records, where these become events of other identities and times"""


class Format(Protocol):
    """A record format. All methods are pure; nothing is configured but by arguments."""

    name: str
    version: int
    """raised whenever index or columns change: days are then indexed and computed anew"""

    variant: str
    """what else index and columns depend on, such as zone and year; empty where nothing"""

    @property
    def record(self) -> str:
        """SQL expression over `doc` (a record's text) that gives what the column expressions read as `r`.

        Null where the text cannot be read; it must not fail, whatever the text. For JSON: `json_record`.
        """
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """Event column to SQL expression over `r`, `doc` and `"time"`; absent columns are null."""
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

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:
        """Key, time and fate of each record of one member; `visible` is the member's visible time, for stamps without a year."""
        ...


@dataclass(frozen=True)
class Envelope:
    """How a store's record carries another system's record; a format of such a store has one as `ENVELOPE` beside `FORMAT`."""

    facts: Callable[[Mapping[str, Any]], Mapping[str, str]]
    """of a record's decoded fields, what a condition may ask for, such as `index`, `sourcetype`, `service`, `dataset`"""
    payload: Callable[[Mapping[str, Any]], bytes | None]
    """the other system's record as it stands in the store's; null where there is none, and the record is the store's own"""
    names: tuple[str, ...]
    """all facts that there are, whether or not a record says them: a condition that asks for another one is refused"""


@runtime_checkable
class Configurable(Protocol):
    """A format whose records lack year or zone, or whose fields are named by a mapping file."""

    def configured(self, *, year: int | None, zone: str, mapping: Path | None) -> Format:
        """The format with these settings; its `variant` tells them.

        Raises:
            UserError: a setting is wrong or missing; says which and what to do.
        """
        ...


_GUARDED = "CASE WHEN json_valid(doc) THEN doc END"


def json_record(structure: str) -> str:
    """`Format.record` of JSON: a `json_transform` structure, guarded against text that is none."""
    return f"json_transform({_GUARDED}, '{structure.replace(chr(39), chr(39) * 2)}')"


def trusting(record: str) -> str:
    """The same expression without the guard of `json_record`: a third quicker, but the statement fails on text that is no JSON."""
    return record.replace(_GUARDED, "doc")
