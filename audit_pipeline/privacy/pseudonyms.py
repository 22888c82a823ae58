"""Tokens in place of people's names: `user-4T2QX` for the same account in every report of this lake, and the key they are made with.

Belongs here: the key and the token. Not here: putting tokens into a report (`reports.pseudonyms`), turning one back (`reveal`).

A token is HMAC-SHA-256 (RFC 2104) of the name under a random key, cut to five characters. The key is kept apart from the lake
(GDPR article 4(5): "kept separately"), so that whoever gets a report, or a copy of the reports, can neither turn a token back nor
try out names.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from audit_pipeline.errors import ConfigError, LakeError
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

KEY_FILE = "pseudonyms.key"
ALPHABET = "23456789BCDFGHJKMNPQRSTVWXYZ"
LENGTH = 5
_SQLITE = "sqlite:///"


def key_path(settings: Settings) -> Path:
    """Where the key lies: `privacy.key_file`, else beside the state database, else (no SQLite file) beside the configuration."""
    if settings.privacy.key_file:
        return Path(settings.resolve(settings.privacy.key_file))
    url = settings.state_url_resolved
    file = url.removeprefix(_SQLITE) if url.startswith(_SQLITE) else ""
    return (Path(file).parent if file and file != ":memory:" else settings.root) / KEY_FILE


def key(settings: Settings, lake: Lake) -> bytes:
    """The key; made on first use, readable by its owner alone. A key that an earlier version left in the lake still serves.

    Raises:
        ConfigError: the file holds no key.
        LakeError: it cannot be read or made; says where and what to do.
    """
    file = key_path(settings)
    try:
        if not file.exists():
            if lake.exists(KEY_FILE):
                return _checked(lake.read(KEY_FILE), lake.path(KEY_FILE))
            with contextlib.suppress(FileExistsError):  # another process was first: its key holds
                _create(file)
        return _checked(file.read_bytes(), str(file))
    except OSError as error:
        raise LakeError(
            f"privacy.key_file {file}: the key of the pseudonyms cannot be read or made ({error.strerror or error}). "
            "Mend the rights, or name another file."
        ) from error


def _create(file: Path) -> None:
    """Whole or not at all, and never over a key that is there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(secrets.token_hex(32).encode())
            handle.flush()
            os.fsync(handle.fileno())
        os.link(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(found: bytes, where: str) -> bytes:
    found = found.strip()
    if len(found) < 32:
        raise ConfigError(
            f"privacy.key_file {where}: holds no key of at least 32 bytes. Restore it from a copy, or remove it to have another "
            "made: tokens that are printed already will then lead to nobody."
        )
    return found


def token(name: str, secret: bytes, *, exact: bool = False) -> str:
    """`user-` and five characters; upper and lower case of a name give the same token, unless it is to be exact."""
    same = name if exact else name.casefold()
    number = int.from_bytes(hmac.digest(secret, same.encode("utf-8", "surrogatepass"), hashlib.sha256), "big")
    characters = []
    for _ in range(LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "user-" + "".join(characters)
