"""What a source is: something that can be asked for what became visible, and says what it could not give.

Belongs here: the protocol and its small types. Not here: any system (one module each) or how members are stored (`lake.raw`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from audit_pipeline.errors import UserError
from audit_pipeline.formats.base import Format
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sections import SourceSettings


class SourceError(UserError):
    """The source could not be collected; says where, why, and what to do."""


@dataclass
class Collection:
    """One asking: what was seen before, and what the source says while it is asked (`remarks`, `request`)."""

    known: list[Entry]
    now: dt.datetime
    simulated: bool = False
    """whether `now` is made up: what lies after it is then no surprise"""
    remarks: list[Remark] = field(default_factory=list)
    request: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """One thing that `check` tried at a source."""

    what: str
    ok: bool
    detail: str


class Source(Protocol):
    """A configured source."""

    def collect(self, collection: Collection) -> Iterator[Item]:
        """What became visible by `collection.now` and is not known yet.

        Raises:
            SourceError: nothing more can be had; what was yielded before is kept.
        """
        ...

    def probe(self) -> list[Probe]:
        """Whether it can be read, and what is missing."""
        ...


def open_source(name: str, settings: SourceSettings, paths: list[str], form: Format) -> Source:
    """The source of that configuration.

    Args:
        name: its name.
        settings: its part of the configuration.
        paths: its globs, absolute.
        form: its record format.

    Raises:
        SourceError: there is no collector of that type.
    """
    if settings.type == "files":
        from audit_pipeline.sources.files import FilesSource

        return FilesSource(paths, form, settings.storage, settings.settles_after)
    raise SourceError(f"sources.{name}.type is {settings.type!r}: this version collects from 'files' only.")
