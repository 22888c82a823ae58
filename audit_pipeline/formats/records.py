"""Cutting an inflated member into records without parsing them, and naming what is no record.

Belongs here: JSON documents, arrays, JSON lines, concatenated objects, lines of text, whole or damaged. Not here: what a record means.
The fast path keeps slices of the input (`msgspec.Raw`); damaged input is scanned record by record, so that one bad byte costs one
record and not the file.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from audit_pipeline.formats.base import Damage, Split

MAX_DAMAGE = 4096
"""Bytes of a damaged part that are kept with the reject."""

IsRecord = Callable[[dict[str, object]], bool]

_SPACE = re.compile(r"[\s\x00,]*")
_NEXT = re.compile(r"\}\s*+,?+\s*+(?=\{)|\n(?=[ \t\r]*+[\[{])")  # possessive: blanks are read once, however many
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_DECODE = json.JSONDecoder(strict=False).raw_decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the second: a key that is no UTF-8
_BOM = b"\xef\xbb\xbf"
_WINDOW = 2**16
_NEAR = 16
"""Characters before the end of a window in which an error may only mean that the window is too small."""


def split_json(data: bytes, *, whole: bool, containers: tuple[str, ...], is_record: IsRecord) -> Split:
    """Cut JSON in any of its usual wrappings into records; never raises on bad input.

    Args:
        data: the inflated member.
        whole: false where the member was cut short: an unfinished record at its end is then `truncated`.
        containers: keys of a document that hold the list of records, such as `Records`.
        is_record: whether an object found while looking for the next good record after damage is one (and not a part of one).
    """
    begin = len(_BOM) if data.startswith(_BOM) else 0
    data = data[begin:] if begin else data
    if not data.strip():
        return Split(damaged=[Damage(0, "empty", "the file has no content")])
    fast = _fast(data, containers) if whole else None
    return fast if fast is not None else _Scan(data, whole, containers, is_record, begin).run()


def _fast(data: bytes, containers: tuple[str, ...]) -> Split | None:
    """The whole member as one document or as lines; None where it is anything else."""
    try:
        if data.lstrip()[:1] == b"[":
            return Split([bytes(raw) for raw in _LIST.decode(data)])
        document = _document(containers).decode(data)
    except _UNREADABLE:
        return _fast_lines(data)
    lists = [found for name in containers if (found := getattr(document, name)) is not msgspec.UNSET]
    if not lists:
        return Split([data.strip()])
    records = [bytes(raw) for raw in lists[0]]
    return None if _several_lists(data, containers, records) else Split(records)


def _several_lists(data: bytes, containers: tuple[str, ...], records: list[bytes]) -> bool:
    """Whether a document names its list more than once: JSON allows it, and one of them would be lost."""
    around = len(data) - sum(map(len, records)) - max(0, len(records) - 1)  # bytes beside the records and their commas
    if around < 2 * min(len(name) + 2 for name in containers):  # no room for two names: the usual compact document
        return False
    if sum(data.count(f'"{name}"'.encode()) for name in containers) < 2:
        return False
    try:
        pairs = json.loads(data, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return True
    return sum(name in containers for name, _ in pairs) > 1


def _fast_lines(data: bytes) -> Split | None:
    """JSON lines of single objects: each line checked, none wrapped in a container."""
    lines = [line.strip() for line in data.split(b"\n")]
    lines = [line for line in lines if line]
    if len(lines) < 2 or not all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        return None
    check = msgspec.json.Decoder(dict[str, msgspec.Raw])
    try:
        for line in lines:
            if len(check.decode(line)) < 2:  # a wrapped document has one key: leave it to the scan
                return None
    except _UNREADABLE:
        return None
    return Split(lines)


def split_lines(data: bytes, *, whole: bool) -> Split:
    """Cut text into its lines that are not blank; an unfinished last line of a member that was cut short is `truncated`."""
    data = data.removeprefix(_BOM)
    lines = data.split(b"\n")
    found = Split([line for line in map(_line, lines[:-1]) if line])
    last = _line(lines[-1])
    if last and whole:
        found.records.append(last)
    elif not whole:
        detail = (
            "the member ends inside this line"
            if last
            else "the member ends before its end; its lines up to there are whole"
        )
        found.damaged.append(Damage(len(data) - len(lines[-1]), "truncated", detail, last[:MAX_DAMAGE]))
    if not found.records and not found.damaged:
        found.damaged.append(Damage(0, "empty", "the file has no content"))
    return found


def _line(line: bytes) -> bytes:
    line = line.removesuffix(b"\r")
    return line if line.strip() else b""


def numbered(records: Sequence[bytes]) -> list[bytes]:
    """Identities of records without an id: the record, and which of its equals in the member it is.

    So two equal lines of a log are two events, and the same file collected again, whole or rotated, is none more.
    """
    seen: dict[bytes, int] = {}
    found = []
    for record in records:
        n = seen.get(record, 0)
        seen[record] = n + 1
        found.append(record if n == 0 else b"%b\n%d" % (record, n))
    return found


@functools.cache
def _document(containers: tuple[str, ...]) -> Any:
    fields = [(name, list[msgspec.Raw] | msgspec.UnsetType, msgspec.UNSET) for name in containers]
    return msgspec.json.Decoder(msgspec.defstruct("Document", fields))


class _Scan:
    """Record by record, with a search for the next good one after damage."""

    def __init__(
        self, data: bytes, whole: bool, containers: tuple[str, ...], is_record: IsRecord, first_byte: int
    ) -> None:
        self._text = data.decode("utf-8", "surrogateescape")
        self._whole, self._containers, self._is_record = whole, containers, is_record
        self._prefix = (
            re.compile(r'\{\s*"(?:' + "|".join(map(re.escape, containers)) + r')"\s*:\s*\[') if containers else None
        )
        self._split = Split()
        self._at = 0
        self._open = 0  # brackets that wait for their other half
        self._damage_from: int | None = None
        self._counted = (0, first_byte)  # a place in the text, and which byte of the member it is

    def run(self) -> Split:
        """The records, and what is none."""
        while (at := _end(_SPACE, self._text, self._at)) < len(self._text):
            self._at = at
            self._step()
        at_the_end = self._damage_from is not None
        self._close(len(self._text))
        split, end = self._split, self._byte(len(self._text))
        if self._whole and self._open and not at_the_end:
            split.damaged.append(Damage(end, "truncated", "the document ends before its list is closed"))
        if not self._whole and not split.damaged:
            split.damaged.append(
                Damage(end, "truncated", "the member ends before its end; its records up to there are whole")
            )
        if not split.records and not split.damaged and self._whole and not self._begins_document():
            raw = self._text[:MAX_DAMAGE].encode("utf-8", "surrogateescape")[:MAX_DAMAGE]
            split.damaged.append(Damage(0, "not_json", "no record was found", raw))
        return split

    def _begins_document(self) -> bool:
        return self._prefix is None or bool(self._prefix.match(self._text.lstrip()))

    def _step(self) -> None:
        text, at = self._text, self._at
        opened = self._opening()
        if opened is not None:  # into the list: its elements are records
            self._close(at)
            self._open = self._open + 1 if text[at] == "[" else 2
            self._at = opened
        elif text[at] in "]}":  # out of a list or its document
            self._open = max(0, self._open - 1)
            self._at = at + 1
        else:
            found = self._element(at)
            if found is None or (self._damage_from is not None and not all(map(self._good, found[0]))):
                self._damage_from = at if self._damage_from is None else self._damage_from
                match = _NEXT.search(text, at)  # behind `},` or at the next line
                self._at = match.end() if match else len(text)
                return
            self._close(at)
            self._split.records += [record.encode("utf-8", "surrogateescape") for record in found[0]]
            self._at = found[1]

    def _opening(self) -> int | None:
        """Where the elements of a list that opens here begin; within damage only a list of records counts."""
        if self._text[self._at] == "[":
            first = _end(_SPACE, self._text, self._at + 1)
            if self._damage_from is not None and not self._record_at(first):
                return None
            return self._at + 1
        match = self._prefix.match(self._text, self._at) if self._prefix is not None else None
        return match.end() if match else None

    def _record_at(self, at: int) -> bool:
        found = self._element(at) if at < len(self._text) else None
        return found is not None and all(map(self._good, found[0]))

    def _element(self, at: int) -> tuple[list[str], int] | None:
        """The record that stands here, or the records of the document that stands here; None where nothing readable does."""
        if self._text[at] != "{":
            return None
        try:
            value, end = _decode(self._text, at)
        except (ValueError, RecursionError):
            return None
        for container in self._containers:
            if isinstance(value.get(container), list):
                inner = _fast(self._text[at:end].encode("utf-8", "surrogateescape"), self._containers)
                return ([record.decode("utf-8", "surrogateescape") for record in inner.records], end) if inner else None
        return [self._text[at:end]], end

    def _good(self, record: str) -> bool:
        value = json.loads(record, strict=False)
        return isinstance(value, dict) and self._is_record(value)

    def _close(self, end: int) -> None:
        """What was damaged ends here."""
        start, self._damage_from = self._damage_from, None
        if start is not None and self._text[start:end].strip(" \t\r\n,]}"):
            self._split.damaged.append(self._damage(start, end))

    def _damage(self, start: int, end: int) -> Damage:
        position = self._byte(start)
        raw = self._text[start : min(end, start + MAX_DAMAGE)].encode("utf-8", "surrogateescape")[:MAX_DAMAGE]
        if end >= len(self._text) and not self._whole:
            return Damage(position, "truncated", "the member ends inside this record", raw)
        try:
            _decode(self._text, start)
        except RecursionError:
            return Damage(position, "too_deep", "nested deeper than any record is", raw)
        except json.JSONDecodeError as error:
            where = position + len(error.doc[: error.pos].encode("utf-8", "surrogateescape"))
            return Damage(position, "not_json", f"{error.msg} at byte {where} of the inflated member", raw)
        return Damage(position, "not_a_record", "readable JSON, but no record", raw)

    def _byte(self, place: int) -> int:
        """Which byte of the member a place in the text is; places only grow."""
        text, byte = self._counted
        byte += len(self._text[text:place].encode("utf-8", "surrogateescape"))
        self._counted = (place, byte)
        return byte


def _decode(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends.

    In windows, since an error of the decoder counts all lines before it: with the whole text that would be quadratic.

    Raises:
        json.JSONDecodeError: there is none; `doc` begins at `at`.
    """
    size = _WINDOW
    while True:
        window = text[at : at + size]
        try:
            value, end = _DECODE(window, 0)
        except json.JSONDecodeError as error:
            inside = error.pos < len(window) - _NEAR and not error.msg.startswith("Unterminated string")
            if inside or at + size >= len(text):
                raise
        else:
            if end < len(window) or at + size >= len(text):
                return value, at + end
        size *= 8


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def texts(records: list[bytes]) -> Iterator[tuple[str, str]]:
    """Each record as (text to parse, text to keep): the same, but where the engine would refuse what JSON allows.

    Bytes that are no UTF-8, lone surrogates and NUL become U+FFFD in the text to parse; the segment keeps the truth.
    """
    for record in records:
        try:
            text = record.decode()
        except UnicodeDecodeError:
            text = record.decode("utf-8", "replace")
        text = text.replace("\x00", "�")
        yield (_repair(text) if "\\u" in text and _RISKY.search(text) else text), text


_RISKY = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_RISKY_BYTES = re.compile(_RISKY.pattern.encode())


def harmless(data: bytes) -> bool:
    """Whether no record of these bytes can be refused by the engine: UTF-8, without NUL and without escapes of NUL or surrogates."""
    if b"\x00" in data or _RISKY_BYTES.search(
        data
    ):  # the pattern alone: looking for its two first bytes by `in` takes three times as long
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _repair(text: str) -> str:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    return json.dumps(_clean(value), ensure_ascii=False)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "�")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
