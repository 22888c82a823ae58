"""Inflating a member: gzip, zstd, bzip2, xz or plain, with every checksum verified and a bound on what comes out.

Belongs here: bytes in, bytes and a verdict out. Not here: records (`records`), files (`sources`).
The fast path is ISA-L; whatever it does not like goes through the standard library in small steps, so that what lies before the
damage is known. DuckDB does not verify gzip's CRC, so nothing compressed is handed to it.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import zstandard
from isal import igzip_lib, isal_zlib

MAX_INFLATED = 512 * 2**20
"""Bytes; a member that grows beyond this is cut there and named (decompression bombs)."""

Encoding = Literal["plain", "gzip", "zstd", "bzip2", "xz"]
Fault = Literal["truncated", "corrupt", "too_large", "trailing"]

_MAGIC: tuple[tuple[bytes, Encoding], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_SUFFIX: dict[str, Encoding] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
_ISAL_ERROR: Any = igzip_lib.IsalError
_ZLIB: Any = type(zlib.decompressobj())
_STEP = 2**16
_OUT = 2**20  # at most so much at a time: 64 KiB of bzip2 can hold gigabytes of zeros
_ZSTD_STEP = 2**10  # one kilobyte of zstd can hold 32 MB of zeros


@dataclass(frozen=True)
class Inflated:
    """What came out of a member.

    `fault` is null for a healthy one; `truncated`: the data is right as far as it goes; `corrupt`: a checksum or the stream
    failed, so nobody can tell which byte is wrong; `too_large`: cut at the bound; `trailing`: bytes that belong to nothing follow.
    """

    data: bytes
    encoding: Encoding
    fault: Fault | None = None
    detail: str = ""

    @property
    def whole(self) -> bool:
        """Whether the data ends where the member ends."""
        return self.fault in (None, "trailing")


def encoding_of(head: bytes, name: str = "") -> Encoding:
    """The encoding by the first bytes; by the name only where they say nothing and are no text."""
    for magic, encoding in _MAGIC:
        if head.startswith(magic):
            return encoding
    suffix = next((found for ending, found in _SUFFIX.items() if name.lower().endswith(ending)), None)
    return suffix if suffix and head and not _looks_like_text(head) else "plain"


def inflate(data: bytes, name: str = "", limit: int = MAX_INFLATED) -> Inflated:
    """Inflate a member; never raises on bad input, never gives more than `limit` bytes."""
    encoding = encoding_of(data[:64], name)
    if encoding == "plain":
        return (
            Inflated(data[:limit], "plain", "too_large", f"over {limit} bytes")
            if len(data) > limit
            else Inflated(data, "plain")
        )
    if encoding == "gzip":
        try:
            decoder = isal_zlib.decompressobj(31)
            out = decoder.decompress(data, limit + 1)
            if decoder.eof and not decoder.unused_data and len(out) <= limit:
                return Inflated(out, "gzip")
        except _ISAL_ERROR:
            pass  # the slow path finds out what and where
    return _inflate_slowly(data, encoding, limit)


def inflate_head(data: bytes, name: str = "", size: int = 2**16) -> bytes:
    """About the first `size` bytes that come out; fewer where the member is damaged before."""
    encoding = encoding_of(data[:64], name)
    if encoding == "plain":
        return data[:size]
    if encoding == "gzip":
        try:
            return bytes(isal_zlib.decompressobj(31).decompress(data, size))
        except _ISAL_ERROR:
            pass  # in small steps, up to the damage
    out, _, _ = _feed(_decoder(encoding), data, 0, 4096, size)
    return b"".join(out)[:size]


def _inflate_slowly(data: bytes, encoding: Encoding, limit: int) -> Inflated:
    """Stream by stream (archives may be concatenated), step by step."""
    parts: list[bytes] = []
    room = limit
    at = 0
    while at < len(data):
        if at and not _begins_stream(data, at, encoding):
            rest = data[at:]
            if not rest.strip(b"\x00"):  # padding of tapes and block devices
                break
            return Inflated(
                b"".join(parts), encoding, "trailing", f"{len(rest)} bytes after the end of the archive, at byte {at}"
            )
        used, out, fault, detail = _one_stream(data, at, encoding, room)
        parts += out
        room -= sum(map(len, out))
        if fault:
            return Inflated(b"".join(parts), encoding, fault, detail)
        at += used
    return Inflated(b"".join(parts), encoding)


def _one_stream(data: bytes, at: int, encoding: Encoding, room: int) -> tuple[int, list[bytes], Fault | None, str]:
    """One archive of perhaps several: bytes used, what came out, fault and detail."""
    decoder = _decoder(encoding)
    out, position, error = _feed(decoder, data, at, _ZSTD_STEP if encoding == "zstd" else _STEP, room)
    if error is not None:  # once more, at the end byte by byte, so that all that lies before the damage comes out
        careful = _decoder(encoding)
        out, _, _ = _feed(careful, data[:position], at, _STEP, room)
        more, position, _ = _feed(careful, data, position, 1, room)
        return 0, [b"".join([*out, *more])[:room]], "corrupt", f"{encoding}: {error}, near byte {position}"
    if sum(map(len, out)) > room:
        return 0, [b"".join(out)[:room]], "too_large", f"{encoding}: inflates to more than {room} bytes, cut there"
    if not decoder.eof:
        return 0, out, "truncated", f"{encoding}: ends before its end, at byte {len(data)}"
    return position - len(decoder.unused_data) - at, out, None, ""


def _feed(decoder: Any, data: bytes, start: int, step: int, room: int) -> tuple[list[bytes], int, Exception | None]:
    """Feed `data` from `start` in steps; stops at the archive's end, at an error, or when more than `room` bytes came out."""
    out: list[bytes] = []
    size = 0
    position = start
    try:
        while position < len(data) and not decoder.eof and size <= room:
            for got in _pump(decoder, data[position : position + step]):
                out.append(got)
                size += len(got)
                if size > room:
                    break
            position = min(position + step, len(data))
    except (zlib.error, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError) as error:
        return out, position, error
    return out, position, None


def _pump(decoder: Any, piece: bytes) -> Iterator[bytes]:
    """What comes out for a piece, some `_OUT` bytes at a time; zstd has no such bound, it is fed in smaller pieces instead."""
    if isinstance(decoder, bz2.BZ2Decompressor | lzma.LZMADecompressor):
        yield decoder.decompress(piece, _OUT)
        while not decoder.eof and not decoder.needs_input:
            yield decoder.decompress(b"", _OUT)
    elif isinstance(decoder, _ZLIB):
        while (got := decoder.decompress(piece, _OUT)) or decoder.unconsumed_tail:
            yield got
            piece = decoder.unconsumed_tail
    else:
        yield decoder.decompress(piece)


def _begins_stream(data: bytes, at: int, encoding: Encoding) -> bool:
    return any(data.startswith(magic, at) for magic, found in _MAGIC if found == encoding)


def _decoder(encoding: Encoding) -> Any:
    if encoding == "gzip":
        return zlib.decompressobj(31)
    if encoding == "bzip2":
        return bz2.BZ2Decompressor()
    if encoding == "xz":
        return lzma.LZMADecompressor()
    return zstandard.ZstdDecompressor().decompressobj()


def _looks_like_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in head)
