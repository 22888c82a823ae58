"""The log of one API server with its rotated copies, as lumberjack leaves them; used by `kubernetes`.

Belongs here: which files are a log while it is rotated and packed under our eyes, where each begins, how many lines came. Not here:
which bytes are new (`files`), what a gap means (`kubernetes`). Sources: kubernetes.io, "Auditing", log backend; lumberjack's `backupName`,
`millRunOnce` and `compressLogFile`: the log is renamed to `NAME-YYYY-MM-DDTHH-MM-SS.mmm.log` and begun anew, a copy is packed into
`….log.gz` beside it and then removed, and the copies with the oldest stamp are deleted first.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections.abc import Iterator

import msgspec

from audit_pipeline.formats._heads import UNREADABLE
from audit_pipeline.formats._stamps import EPOCH, MAX_STAMP, rfc3339
from audit_pipeline.formats.inflate import inflate, inflate_head
from audit_pipeline.lake.raw import Item
from audit_pipeline.sources.base import Collection
from audit_pipeline.sources.files import FilesSource
from audit_pipeline.sources.identity import Found

_HEADS = (2**16, 2**23)
"""Bytes in which the first line is looked for; an event with whole bodies may have megabytes."""


_NOT_THERE = os.strerror(errno.ENOENT)
"""How a file is refused that was renamed when it was opened; a log of its name may have been begun anew since."""


class _Event(msgspec.Struct):
    stageTimestamp: str = ""  # noqa: N815 - the API's word


_EVENT = msgspec.json.Decoder(_Event)


class RotatedLog(FilesSource):
    """Files of lines that are one log."""

    files: tuple[Found, ...] = ()
    """what the last listing found"""
    firsts: tuple[dt.datetime, ...] = ()
    """by the server's clock, the first event of each file, sorted; empty where a file could not be opened: it may be the oldest"""
    lines: int = 0
    """how many were handed over"""
    whole: bool = True
    """whether every file that was listed could be read"""

    def collect(self, collection: Collection) -> Iterator[Item]:
        """New lines of all files. One that was renamed, packed or deleted after it was listed is none that cannot be read."""
        remarked = len(collection.remarks)
        for item in super().collect(collection):
            if item.member.error is not None:
                self.whole = False
                if self._gone(item.member.name) or item.member.error.endswith(_NOT_THERE):
                    continue
            elif not item.data:  # a log that was just begun has nothing yet
                continue
            self.lines += _lines(item)
            yield item
        added = collection.remarks[remarked:]
        self.whole = self.whole and all(remark.code == "replaced" for remark in added)
        # A log that is begun anew is what rotation does; whether something is missing before it shows in `firsts`.
        collection.remarks[remarked:] = [remark for remark in added if remark.code != "replaced"]

    def _find(self, collection: Collection) -> list[Found]:
        """A packed copy is not whole before the plain one is gone."""
        found = super()._find(collection)
        plain = {file.path for file in found}
        files = [file for file in found if not (file.path[-3:] == ".gz" and file.path[:-3] in plain)]
        self.files = tuple(files)
        try:
            stamps = [_first(file) for file in files if file.regular]
        except OSError:
            stamps, self.whole = [], False
        self.firsts = tuple(sorted(stamp for stamp in stamps if stamp is not None))
        return files

    def _gone(self, name: str) -> bool:
        return any(file.name == name and not file.fs.exists(file.path) for file in self.files)


def _first(file: Found) -> dt.datetime | None:
    """When the first event of a file was written; null where the file has none that can be read.

    Raises:
        OSError: the file cannot be opened.
    """
    for size in _HEADS:
        with file.fs.open(file.path, "rb") as handle:
            data = handle.read(size)
        for line in inflate_head(data, file.path, size).split(b"\n")[:-1]:
            moment = _written(line)
            if moment is not None:
                return EPOCH + dt.timedelta(microseconds=moment)
        if len(data) < size:
            break
    return None


def _written(line: bytes) -> int | None:
    """The event's own stamp, not one in a body that it quotes; microseconds since 1970."""
    try:
        stamp = _EVENT.decode(line).stageTimestamp
    except UNREADABLE:
        return None
    return rfc3339(stamp) if len(stamp) <= MAX_STAMP else None


def _lines(item: Item) -> int:
    data = item.data if item.member.encoding == "plain" else inflate(item.data, item.member.name).data
    return data.count(b"\n") + bool(data and not data.endswith(b"\n"))
