"""Cutting an inflated member into records without parsing them, and naming what is no record.

Belongs here: JSON documents, arrays, JSON lines, concatenated objects, whole or damaged. Not here: what a record means.
The fast path keeps slices of the input (`msgspec.Raw`); damaged input is scanned record by record, so that one bad byte costs one
record and not the file.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from audit_pipeline.formats.base import Damage, Split

MAX_DAMAGE = 4096
"""Bytes of a damaged part that are kept with the reject."""

IsRecord = Callable[[dict[str, object]], bool]

_SPACE = re.compile(r"[\s\x00,]*")
_WHITE = re.compile(r"\s*")
_NEXT = re.compile(r"\}\s*,?\s*(?=\{)|\n\s*(?=[\[{])")
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_DECODE = json.JSONDecoder(strict=False).raw_decode
_BOM = b"\xef\xbb\xbf"


def split_json(data: bytes, *, whole: bool, containers: tuple[str, ...], is_record: IsRecord) -> Split:
    """Cut JSON in any of its usual wrappings into records; never raises on bad input.

    Args:
        data: the inflated member.
        whole: false where the member was cut short: an unfinished record at its end is then `truncated`.
        containers: keys of a document that hold the list of records, such as `Records`.
        is_record: whether an object found while looking for the next good record after damage is one (and not a part of one).
    """
    data = data.removeprefix(_BOM)
    if not data.strip():
        return Split(damaged=[Damage(0, "empty", "the file has no content")])
    fast = _fast(data, containers) if whole else None
    return fast if fast is not None else _scan(data, whole, containers, is_record)


def _fast(data: bytes, containers: tuple[str, ...]) -> Split | None:
    """The whole member as one document or as lines; None where it is anything else."""
    try:
        if data.lstrip()[:1] == b"[":
            return Split([bytes(raw) for raw in _LIST.decode(data)])
        document = _document(containers).decode(data)
    except (msgspec.DecodeError, RecursionError):
        return _fast_lines(data)
    for container in containers:
        found = getattr(document, container)
        if found is not msgspec.UNSET:
            return Split([bytes(raw) for raw in found])
    return Split([data.strip()])


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
    except (msgspec.DecodeError, RecursionError):
        return None
    return Split(lines)


@functools.cache
def _document(containers: tuple[str, ...]) -> Any:
    fields = [(name, list[msgspec.Raw] | msgspec.UnsetType, msgspec.UNSET) for name in containers]
    return msgspec.json.Decoder(msgspec.defstruct("Document", fields))


def _scan(data: bytes, whole: bool, containers: tuple[str, ...], is_record: IsRecord) -> Split:
    """Record by record, with a search for the next good one after damage."""
    text = data.decode("utf-8", "surrogateescape")
    split = Split()
    prefix = re.compile(r'\{\s*"(?:' + "|".join(map(re.escape, containers)) + r')"\s*:\s*\[') if containers else None
    at = 0
    damage_from: int | None = None

    def close(end: int) -> None:
        nonlocal damage_from
        if damage_from is not None and text[damage_from:end].strip(" \t\r\n,]}"):
            split.damaged.append(_damage(text, damage_from, end, whole))
        damage_from = None

    while at < len(text):
        at = _end(_SPACE, text, at)
        if at >= len(text):
            break
        opened = _opening(text, at, prefix)
        if opened is not None:  # into the list: its elements are records
            close(at)
            at = opened
            continue
        if text[at] in "]}":  # out of a list or its document
            at += 1
            continue
        found = _element(text, at, containers)
        if found is None or (damage_from is not None and not all(_is_good(record, is_record) for record in found[0])):
            damage_from = at if damage_from is None else damage_from
            at = _next_candidate(text, at)
            continue
        close(at)
        split.records += [record.encode("utf-8", "surrogateescape") for record in found[0]]
        at = found[1]
    close(len(text))
    if not whole and not split.damaged:
        split.damaged.append(
            Damage(len(data), "truncated", "the member ends before its end; its records up to there are whole")
        )
    if not split.records and not split.damaged and whole and prefix is not None and not prefix.match(text.lstrip()):
        split.damaged.append(Damage(0, "not_json", "no record was found", data[:MAX_DAMAGE]))
    return split


def _opening(text: str, at: int, prefix: re.Pattern[str] | None) -> int | None:
    """Where the elements of a list that opens here begin."""
    if text[at] == "[":
        return at + 1
    match = prefix.match(text, at) if prefix is not None else None
    return match.end() if match else None


def _element(text: str, at: int, containers: tuple[str, ...]) -> tuple[list[str], int] | None:
    """The record that stands here, or the records of the document that stands here; None where nothing readable does."""
    if text[at] != "{":
        return None
    try:
        value, end = _DECODE(text, at)
    except (ValueError, RecursionError):
        return None
    for container in containers:
        if isinstance(value.get(container), list):
            inner = _fast(text[at:end].encode("utf-8", "surrogateescape"), containers)
            return ([record.decode("utf-8", "surrogateescape") for record in inner.records], end) if inner else None
    return [text[at:end]], end


def _is_good(record: str, is_record: IsRecord) -> bool:
    value = json.loads(record, strict=False)
    return isinstance(value, dict) and is_record(value)


def _next_candidate(text: str, at: int) -> int:
    """Where the next record may begin after damage: behind `},` or at the next line."""
    match = _NEXT.search(text, at)
    return match.end() if match else len(text)


def _damage(text: str, start: int, end: int, whole: bool) -> Damage:
    at_end = end >= len(text)
    piece = text[start:end]
    position = len(text[:start].encode("utf-8", "surrogateescape"))
    raw = piece[:MAX_DAMAGE].encode("utf-8", "surrogateescape")[:MAX_DAMAGE]
    if at_end and not whole:
        return Damage(position, "truncated", "the member ends inside this record", raw)
    try:
        _DECODE(text, start)
        return Damage(position, "not_a_record", "readable JSON, but no record", raw)
    except RecursionError:
        return Damage(position, "too_deep", "nested deeper than any record is", raw)
    except json.JSONDecodeError as error:
        return Damage(
            position, "not_json", f"{error.msg} at byte {position + error.pos - start} of the inflated member", raw
        )


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
        yield (_repair(text) if "\\u" in text and _RISKY.search(text) else text), text.replace("\x00", "�")


_RISKY = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_RISKY_BYTES = re.compile(_RISKY.pattern.encode())


def harmless(data: bytes) -> bool:
    """Whether no record of these bytes can be refused by the engine: UTF-8, without NUL and without escapes of NUL or surrogates."""
    if b"\x00" in data or _RISKY_BYTES.search(data):
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
