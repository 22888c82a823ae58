"""Where bytes lie and how they are replaced: one root, a directory or an object-store URL.

Belongs here: atomic writes, exclusive creation, listing, the lock of a local lake. Not here: what the bytes mean.
A reader never sees half a file: a local write goes to `.tmp/` and is renamed, a remote one is one PUT.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline import __version__
from audit_pipeline.errors import BusyError, LakeError
from audit_pipeline.lake.tables import TABLES, check_columns

_TMP = ".tmp"
_LOCK = ".lock"
LOCK_TIMEOUT_S = 600


@dataclass(frozen=True)
class Lake:
    """A root and the file system it lies on; all paths are relative to the root, with `/`."""

    root: str
    fs: Any
    local: bool

    @classmethod
    def open(cls, url: str, storage: dict[str, Any] | None = None) -> Lake:
        """Open the lake at `url`; a local directory is made when it is missing.

        Raises:
            LakeError: it cannot be reached or written; says where and what to do.
        """
        try:
            fs, root = fsspec.core.url_to_fs(url, **(storage or {}))
        except (ValueError, ImportError) as error:
            raise LakeError(
                f"lake {url}: no file system for it ({error}). Install the extra it needs, such as audit-pipeline[s3]."
            ) from None
        local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
        lake = cls(root.rstrip("/"), fs, local)
        if local:
            with lake.explained("cannot be made or written"):
                Path(root, _TMP).mkdir(parents=True, exist_ok=True)
        return lake

    def path(self, relative: str) -> str:
        """The absolute path (or bucket and key) of a path below the root."""
        return f"{self.root}/{relative}"

    def exists(self, relative: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self.fs.exists(self.path(relative)))

    def names(self, relative: str) -> list[str]:
        """The names in a folder, sorted; an absent folder is empty."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.path(relative), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for name in (str(item).rstrip("/").rsplit("/", 1)[-1] for item in found) if name)

    def read(self, relative: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or of its slice from `start` to before `end`."""
        if self.local:
            with Path(self.path(relative)).open("rb") as file:
                file.seek(start or 0)
                return file.read() if end is None else file.read(end - (start or 0))
        return bytes(self.fs.cat_file(self.path(relative), start=start, end=end))

    def write(self, relative: str, data: bytes) -> None:
        """Replace a file in one step; durable when this returns."""
        if not self.local:
            self.fs.pipe_file(self.path(relative), data)
            return
        with self.staged(relative) as temporary:
            temporary.write_bytes(data)

    def create(self, relative: str, data: bytes) -> None:
        """Create a file that must not exist yet, in one step.

        Raises:
            FileExistsError: somebody else was first; nothing was changed.
        """
        if not self.local:
            self.fs.pipe_file(self.path(relative), data, mode="create")
            return
        with self.explained("cannot be written"):
            temporary = self.temporary()
            try:
                temporary.write_bytes(data)
                _sync(temporary)
                Path(self.path(relative)).parent.mkdir(parents=True, exist_ok=True)
                os.link(temporary, self.path(relative))  # exclusive and atomic, with the content already there
                _sync(Path(self.path(relative)).parent)
            finally:
                temporary.unlink(missing_ok=True)

    def probe(self) -> None:
        """Write something small and remove it.

        Raises:
            LakeError: it cannot be written; says where and what to do.
        """
        name = f"{_TMP}/probe-{uuid.uuid4().hex}"
        self.write(name, b"written to see whether it can be")
        self.remove(name)

    def remove(self, relative: str) -> None:
        """Remove a file; none there is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(relative))

    @contextlib.contextmanager
    def staged(self, relative: str) -> Iterator[Path]:
        """A local path to write to; on success it becomes `relative` in one step, on failure it is gone."""
        with self.explained("cannot be written"):
            temporary = self.temporary()
            try:
                yield temporary
                self.publish(temporary, relative)
            finally:
                temporary.unlink(missing_ok=True)

    def publish(self, temporary: Path, relative: str) -> None:
        """Make a written local file the file `relative`, in one step; durable when this returns."""
        if not self.local:
            self.fs.put_file(str(temporary), self.path(relative))
            return
        target = Path(self.path(relative))
        _sync(temporary)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        _sync(target.parent)

    def temporary(self) -> Path:
        """A new local path for a file that is not whole yet; what a killed run leaves there is removed by the next."""
        folder = Path(self.root, _TMP) if self.local else Path(os.environ.get("TMPDIR", "/tmp"), "audit_pipeline")  # noqa: S108 - names are random
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid.uuid4().hex

    @contextlib.contextmanager
    def lock(self, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the lake for writing; another run waits, at most `timeout_s` seconds.

        On an object store there is no lock: the exclusive creation of manifest entries keeps two collectors apart.

        Raises:
            BusyError: the other run did not end in time.
        """
        if not self.local:
            yield
            return
        from filelock import FileLock, Timeout

        lock = FileLock(self.path(_LOCK), thread_local=False)
        with self.explained("cannot be locked"):
            try:
                lock.acquire(timeout=timeout_s)
            except Timeout:  # an OSError too: told apart before it is taken for one of the file system
                raise BusyError(
                    f"lake {self.root}: another run has been writing for {timeout_s:.0f} s. "
                    "Wait for it to end (`audit-pipeline status`), then run again."
                ) from None
        try:
            self._clean()
            yield
        finally:
            lock.release()

    def _clean(self) -> None:
        """What a killed run left half done; only under the lock."""
        for leftover in Path(self.root, _TMP).iterdir():
            if leftover.is_file():
                leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn an error of the file system into one that says where, why, and what to do."""
        try:
            yield
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError as error:
            free = shutil.disk_usage(self._existing()).free // 2**20
            raise LakeError(
                f"lake {self.root}: {what} ({error.strerror or error}; {free} MiB free). Make room or mend the rights, then run again: nothing is lost."
            ) from error

    def _existing(self) -> Path:
        path = Path(self.root)
        while not path.exists():
            path = path.parent
        return path

    def write_table(
        self,
        name: str,
        table: pa.Table,
        day: dt.date,
        source: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Replace one partition of a table; the columns must be those of the registry (`lake.tables`).

        Args:
            name: the table's name in `TABLES`.
            table: its rows; cast to the registered types.
            day: the partition.
            source: the partition's source, for tables that have one.
            metadata: kept in the Parquet file beside schema and code version, such as `input_hash`.
        """
        table = check_columns(name, table)
        note = {
            "table": name,
            "schema_version": str(TABLES[name].version),
            "code_version": __version__,
            **(metadata or {}),
        }
        table = table.replace_schema_metadata({f"audit_pipeline.{key}": value for key, value in note.items()})
        with self.staged(TABLES[name].file(day, source)) as temporary:
            pq.write_table(table, temporary, compression="zstd", compression_level=1, row_group_size=30_720)

    def table_metadata(self, name: str, day: dt.date, source: str | None = None) -> dict[str, str] | None:
        """What `write_table` kept beside the rows; `None` where the partition is absent."""
        relative = TABLES[name].file(day, source)
        if not self.exists(relative):
            return None
        with self.fs.open(self.path(relative), "rb") as file:
            found = pq.read_schema(file).metadata or {}
        prefix = b"audit_pipeline."
        return {key[len(prefix) :].decode(): value.decode() for key, value in found.items() if key.startswith(prefix)}

    def days(self, name: str, source: str | None = None) -> list[dt.date]:
        """The days of which a table has a partition, in order."""
        return [
            dt.date.fromisoformat(folder.removeprefix("day="))
            for folder in self.names(TABLES[name].folder(source))
            if folder.startswith("day=")
        ]


def _sync(path: Path) -> None:
    """Make a file or a folder's names survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
