"""One night's collection of one source: ask it, keep what it gives, and keep what it could not give as a fact.

Belongs here: the step from a configured source to the chain. Not here: any system, any table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit_pipeline import __version__, formats
from audit_pipeline.clock import Clock
from audit_pipeline.formats.base import Format
from audit_pipeline.formats.routed import routed
from audit_pipeline.lake import manifest, raw
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Collection, Reviewable, Source, SourceError, open_source


@dataclass(frozen=True)
class Collected:
    """What one asking gave."""

    entries: list[Entry]

    @property
    def members(self) -> int:
        """Files or pages that were kept."""
        return sum(len(entry.members) for entry in self.entries)

    @property
    def bytes(self) -> int:
        """Bytes that were kept."""
        return sum(entry.bytes for entry in self.entries)

    @property
    def remarks(self) -> list[Remark]:
        """What the source, or the collector, said about completeness."""
        return [remark for entry in self.entries for remark in entry.remarks]

    @property
    def failed(self) -> str | None:
        """Why the collection failed; null where it did not."""
        return next((remark.detail for remark in self.remarks if remark.code == "collection_failed"), None)


def format_of(settings: Settings, name: str) -> Format:
    """The record format of a configured source; `formats/<format>.yaml` beside the configuration is its mapping."""
    source = settings.sources[name]

    def opened(form: str) -> Format:
        mapping = Path(settings.resolve(f"formats/{form}.yaml"))
        return formats.open_format(
            form, year=source.year, zone=source.zone, mapping=mapping if mapping.is_file() else None
        )

    return opened(source.format) if isinstance(source.format, str) else routed(source.type, source.format, opened)


def source_of(settings: Settings, name: str) -> Source:
    """The configured source."""
    return open_source(settings, name, format_of(settings, name))


PROGRESS_MEMBERS = 500
"""so many files or pages are told of at once"""
Told = Callable[[int, int], None]
"""How far a collection is: files or pages, and bytes, so far."""


def collect(
    settings: Settings, lake: Lake, name: str, day: dt.date, clock: Clock, told: Told | None = None
) -> Collected:
    """Collect what became visible, for the night of `day`. A source that fails leaves an entry that says so; it never raises for it.

    `told` is called while it goes on, every `PROGRESS_MEMBERS`.

    Raises:
        LakeError: the lake cannot be written.
        FileExistsError: another collector wrote the same chain at the same time.
    """
    try:
        source: Source | SourceError = source_of(settings, name)
    except SourceError as error:
        source = error
    return gather(settings, lake, name, day, clock, source, told)


def gather(
    settings: Settings, lake: Lake, name: str, day: dt.date, clock: Clock, source: Source | SourceError, told: Told | None = None
) -> Collected:  # fmt: skip
    """Ask an opened source, or keep why it could not be opened; see `collect`."""
    collection = Collection(manifest.entries(lake, name), clock.now(), clock.simulated)
    collection.request["day"] = day.isoformat()
    items: Iterator[Item] = iter(())
    if isinstance(source, SourceError):
        collection.remarks.append(Remark("collection_failed", str(source)))
    else:
        items = _counted(_until_failure(source, collection), told)
    collector = f"{settings.sources[name].type}/{__version__}"
    return Collected(
        raw.append(
            lake, name, items, clock=clock, collector=collector, request=collection.request, remarks=collection.remarks
        )
    )


def _counted(items: Iterator[Item], told: Told | None) -> Iterator[Item]:
    """The same items; how far they are is told now and then."""
    size = 0
    for number, item in enumerate(items, 1):
        size += len(item.data)
        yield item
        if told is not None and number % PROGRESS_MEMBERS == 0:
            told(number, size)


def _until_failure(source: Source, collection: Collection) -> Iterator[Item]:
    """The source's items; a failure ends them and becomes a remark, so that what came before is kept."""
    try:
        yield from source.collect(collection)
    except SourceError as error:
        collection.remarks.append(Remark("collection_failed", str(error)))
        return
    if isinstance(source, Reviewable):
        _review(source, collection)


def _review(source: Reviewable, collection: Collection) -> None:
    """Who may do what to the source's logs, into the entry; a source that does not tell makes no day partial."""
    try:
        collection.request["access"] = [[grant.principal, grant.right, grant.via] for grant in source.access()]
    except SourceError as error:
        collection.request["access_refused"] = str(error)
