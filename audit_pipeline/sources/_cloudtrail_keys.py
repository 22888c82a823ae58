"""Public keys that CloudTrail's digests are signed with, and whether a signature is right.

Belongs here: keys from a file or from the API, RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2). Not here: what is signed
(`_cloudtrail_digests`). Source: AWS CloudTrail User Guide, "Custom implementations of CloudTrail log file integrity validation";
`ListPublicKeys` gives PKCS #1 keys (DER, base64) with their fingerprint, for a span of time and in the trail's home region.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from audit_pipeline.sources.base import SourceError

Asked = Callable[[dt.datetime, dt.datetime], Mapping[str, bytes]]
"""Keys that were valid in a span of time, DER by fingerprint."""
_PEM_END = b"-----END"


class KeyMissingError(SourceError):
    """No key with the fingerprint that a digest names; getting it makes the digest verifiable."""


class PublicKeys:
    """Keys by fingerprint; those of a PEM or DER file have none and are tried in turn."""

    def __init__(self, *, file: str | None = None, ask: Asked | None = None) -> None:
        self._named: dict[str, bytes] = {}
        self._nameless: list[bytes] = []
        self._ask, self._asked = ask, set[tuple[dt.datetime, dt.datetime]]()
        if file is not None:
            self._read(file)

    def verified(
        self, text: bytes, signature: str, fingerprint: str, valid_from: dt.datetime, valid_to: dt.datetime
    ) -> bool:
        """Whether the signature (hexadecimal) over the text is of the key with that fingerprint, asked for in that span of time.

        Raises:
            KeyMissingError: there is no such key.
            SourceError: keys cannot be asked for, or `cryptography` is not installed.
        """
        if fingerprint not in self._named and self._ask is not None and (valid_from, valid_to) not in self._asked:
            self._named.update(self._ask(valid_from, valid_to))
            self._asked.add((valid_from, valid_to))
        keys = [self._named[fingerprint]] if fingerprint in self._named else self._nameless
        if not keys:
            raise KeyMissingError(f"public key not found for fingerprint {fingerprint[:64]}")
        return any(_verifies(key, text, signature) for key in keys)

    def _read(self, file: str) -> None:
        """JSON as `aws cloudtrail list-public-keys` prints it, PEM (one or more), or DER."""
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise SourceError(f"options.public_keys: {file}: cannot be read ({error.strerror or error}).") from error
        if data.lstrip().startswith(b"{"):
            try:
                self._named = named(json.loads(data))
            except (ValueError, KeyError, TypeError) as error:
                raise SourceError(f"options.public_keys: {file}: is not what `aws cloudtrail list-public-keys` prints ({error}).") from error  # fmt: skip
            return
        blocks = [part[part.index(b"-----BEGIN") :] + _PEM_END + b"-----" for part in data.split(_PEM_END) if b"-----BEGIN" in part]  # fmt: skip
        self._nameless = [_pem(block, file) for block in blocks] or [data]
        for key in self._nameless:
            if _loaded(key) is None:
                raise SourceError(f"options.public_keys: {file}: holds no RSA public key (JSON of `aws cloudtrail list-public-keys`, PEM or DER).")  # fmt: skip


def named(answer: Mapping[str, Any]) -> dict[str, bytes]:
    """The keys of a `ListPublicKeys` answer.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    found = {}
    for key in answer["PublicKeyList"]:
        value = key["Value"]
        found[str(key["Fingerprint"])] = value if isinstance(value, bytes) else base64.b64decode(value)
    return found


def _pem(block: bytes, file: str) -> bytes:
    """The DER inside a PEM block (RFC 7468)."""
    lines = [line for line in block.splitlines() if not line.startswith(b"-----")]
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error as error:
        raise SourceError(f"options.public_keys: {file}: a PEM block in it is damaged ({error}).") from error


def _loaded(der: bytes) -> Any:
    """The RSA key in DER (PKCS #1 or SubjectPublicKeyInfo); null where it is none."""
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_der_public_key
    except ImportError as error:
        raise SourceError("digests are verified by the package cryptography, which is not installed: install it, or set options.digests: false.") from error  # fmt: skip
    try:
        key = load_der_public_key(der)
    except ValueError:
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _verifies(der: bytes, text: bytes, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    key = _loaded(der)
    if key is None:
        return False
    try:
        key.verify(bytes.fromhex(signature), text, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
