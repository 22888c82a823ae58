"""What a source is: something that can be asked for what became visible, and says what it could not give.

Belongs here: the protocol and its small types. Not here: any system (one module each) or how members are stored (`lake.raw`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from audit_pipeline.clock import midnight
from audit_pipeline.errors import UserError
from audit_pipeline.formats.base import Format
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.settings import Settings


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


def open_source(settings: Settings, name: str, form: Format) -> Source:
    """The configured source of that name.

    Args:
        settings: the whole configuration: paths start from its folder, collection from its first day.
        name: the source's name.
        form: its record format.

    Raises:
        SourceError: there is no collector of that type, or it lacks a section.
    """
    source = settings.sources[name]
    if source.type == "files":
        from audit_pipeline.sources.files import FilesSource

        paths = [settings.resolve(path) for path in source.paths]
        return FilesSource(paths, form, source.storage, source.settles_after)
    if source.type in ("elasticsearch", "opensearch"):
        from audit_pipeline.sources.elasticsearch import DIALECTS, SearchSource

        if source.http is None or source.search is None:
            raise SourceError(f"sources.{name}: type {source.type} needs the sections http and search: `audit-pipeline init --source {source.type}` shows them.")  # fmt: skip
        return SearchSource(
            DIALECTS[source.type], source.http, source.search, midnight(settings.start), settings.resolve
        )
    raise SourceError(f"sources.{name}.type is {source.type!r}: this version collects from files, elasticsearch and opensearch.")  # fmt: skip
