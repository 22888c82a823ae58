"""CSV files that people keep: read whole, with errors that name file, line and remedy.

Belongs here: the frame of a file (encoding, separator, header) and the cells that several files share. Not here: what rows mean.
"""

from __future__ import annotations

import csv
import datetime as dt
import difflib
import io
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_pipeline.errors import ConfigError

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Row:
    """A row with its place, for errors."""

    file: Path
    line: int
    cells: dict[str, str]

    def error(self, what: str) -> ConfigError:
        """An error that names file and line."""
        return ConfigError(f"{self.file} line {self.line}: {what}")

    def text(self, column: str) -> str | None:
        """The cell without blanks around it; empty is none."""
        return self.cells.get(column, "").strip() or None

    def needed(self, column: str) -> str:
        """The cell, which must not be empty."""
        found = self.text(column)
        if found is None:
            raise self.error(f"{column} is empty. Fill it in, or remove the line.")
        return found

    def moment(self, column: str) -> dt.datetime | None:
        """A date (its midnight, UTC) or an RFC 3339 time; empty is none."""
        found = self.text(column)
        if found is None:
            return None
        try:
            moment = dt.datetime.fromisoformat(found)
        except ValueError:
            raise self.error(
                f"{column} is {found[:40]!r}. Write a date (2026-03-01) or a time (2026-03-01T08:00:00Z)."
            ) from None
        if not 1900 <= moment.year < 9999:  # beyond, a zone could lead out of the calendar
            raise self.error(f"{column} is {found[:40]!r}. Write a year from 1900 on, or leave the cell empty.")
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)

    def zone(self, column: str) -> str | None:
        """An IANA time zone; empty is none."""
        found = self.text(column)
        if found is not None and not is_zone(found):
            near = difflib.get_close_matches(found, zoneinfo.available_timezones(), n=1)
            raise self.error(f"{column} {found[:40]!r} is no IANA time zone{f'; did you mean {near[0]!r}?' if near else ', such as Europe/Berlin.'}")  # fmt: skip
        return found


def is_zone(name: str) -> bool:
    """Whether the machine knows this IANA time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def rows(file: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """The rows that are not blank.

    Separators may be commas or semicolons, a byte order mark is fine; lines that begin with # are comments.

    Raises:
        ConfigError: the file cannot be read or its header is wrong; names file, line and remedy.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file}: is larger than {MAX_BYTES // 2**20} MiB. Keep only what is needed in it.")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error}). Mend the path or the rights.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is no UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    lines = io.StringIO(
        text, newline=""
    ).readlines()  # not splitlines: it also cuts at characters that are part of a cell
    begin = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if begin is None:
        raise ConfigError(f"{file}: is empty. Its first line must be {','.join(needed)}.")
    separator = ";" if lines[begin].count(";") > lines[begin].count(",") else ","
    reader = csv.reader(lines[begin:], delimiter=separator, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader)]
        _check_header(file, begin + 1, header, needed, optional)
        for cells in reader:
            line = begin + reader.line_num
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            if len(cells) > len(header):
                raise ConfigError(f"{file} line {line}: has {len(cells)} cells, the header {len(header)}. Put text with a {separator!r} in quotes.")  # fmt: skip
            yield Row(file, line, dict(zip(header, cells, strict=False)))
    except csv.Error as error:
        raise ConfigError(f"{file} line {begin + reader.line_num}: is no CSV ({error}). Mend the quotes.") from None


def _check_header(file: Path, line: int, header: list[str], needed: Sequence[str], optional: Sequence[str]) -> None:
    known = [*needed, *optional]
    for name in header:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise ConfigError(f"{file} line {line}: unknown column {name[:40]!r}; {hint}")
    missing = [name for name in needed if name not in header]
    if missing:
        raise ConfigError(f"{file} line {line}: the column {missing[0]!r} is missing. The header is {','.join(known)}.")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice:
        raise ConfigError(f"{file} line {line}: the column {twice!r} stands twice. Remove one.")
