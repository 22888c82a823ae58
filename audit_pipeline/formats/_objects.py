"""What formats of JSON objects do alike: framing, cutting, and a key, a time and a version for each record.

Belongs here: what does not depend on any system. Not here: which field says what (the format), SQL (its columns). A record that is no
object, or cannot be read, is a reject with the reason; one without an id is known by its text and its place among its equals.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit_pipeline.formats._heads import NO_RECORD
from audit_pipeline.formats._hits import fields_of
from audit_pipeline.formats._stamps import Fate
from audit_pipeline.formats.base import Framing, Keys, Split
from audit_pipeline.formats.records import numbered, split_json

Fields = dict[str, Any]


@dataclass(eq=False)
class Objects:
    """A format; see `formats.base.Format`."""

    name: str
    record: str
    made: Callable[[], Mapping[str, str]]
    """the columns"""
    is_record: Callable[[Mapping[str, Any]], bool]
    """whether an object among others, as in an array, is a record"""
    fate: Callable[[Fields], Fate]
    key: Callable[[Fields], bytes | None] = lambda _: None
    newest: Callable[[Fields], int] | None = None
    """`Keys.version`, where the source tells which record of a key is the newest"""
    containers: tuple[str, ...] = ()
    """keys below which the records of a page lie"""
    version: int = 1
    variant: str = ""

    @functools.cached_property
    def columns(self) -> Mapping[str, str]:
        """All but `time`, which is the index's."""
        return self.made()

    def framing(self, head: bytes) -> Framing:
        """Lines where the first one is an object by itself and no page."""
        first = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        fields = fields_of(first)
        alone = isinstance(fields, dict) and not any(name in fields for name in self.containers)
        return "lines" if alone else "document"

    def delivery_time(self, name: str) -> dt.datetime | None:  # noqa: ARG002
        """Names carry no delivery stamp."""
        return None

    def split(self, data: bytes, whole: bool) -> Split:
        """The records of a page, of lines or of an array."""
        return split_json(data, whole=whole, containers=self.containers, is_record=self.is_record)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:  # noqa: ARG002
        """Key, time and fate of each record, and its version."""
        found = [fields_of(record) for record in records]
        fates = [(None, fields, NO_RECORD) if isinstance(fields, str) else self.fate(fields) for fields in found]
        keys = [None if isinstance(fields, str) else self.key(fields) for fields in found]
        newest = self.newest
        return Keys(
            [key or own for key, own in zip(keys, numbered(records), strict=True)],
            [time for time, _, _ in fates],
            [reason for _, reason, _ in fates],
            [detail for _, _, detail in fates],
            None if newest is None else [0 if isinstance(fields, str) else newest(fields) for fields in found],
        )
