"""Tokens in place of people's names: `user-4T2QX` for the same account in every report of this lake.

Belongs here: the key, the token, putting tokens into a report. Not here: who is a person (`asked.people` lists the accounts).

A token is HMAC-SHA-256 (RFC 2104) of the name under a random key, cut to five characters. Whoever reads the lake can read names
anyway, so the key lies in the lake; whoever reads only a mail cannot turn a token back, nor try out names.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit_pipeline.lake.store import Lake

KEY_FILE = "pseudonyms.key"
_ALPHABET = "23456789BCDFGHJKMNPQRSTVWXYZ"
_LENGTH = 5
SHOWN = 100
"""characters of a name that a title shows (`detections.run.SHOWN`)"""
_SECTIONS = ("findings", "decisions", "changes", "not_judged", "failures", "sources", "corrections")
"""parts of a report that may hold text of a log; the others hold numbers, and names from the configuration"""
_TEXT = frozenset({"title", "explanation", "owner", "actor", "target", "group_key", "detail", "phrase", "uid"})


def key(lake: Lake) -> bytes:
    """The lake's key; made on first use, readable by its owner alone.

    Raises:
        LakeError: the lake cannot be written.
    """
    if not lake.exists(KEY_FILE):
        fresh = secrets.token_hex(32).encode()
        with contextlib.suppress(FileExistsError):  # another process was first: its key holds
            _create(lake, fresh)
    return lake.read(KEY_FILE)


def _create(lake: Lake, fresh: bytes) -> None:
    if not lake.local:
        lake.create(KEY_FILE, fresh)
        return
    temporary = Path(lake.temporary())
    with lake.explained("cannot be written"):
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(fresh)
            os.link(temporary, lake.path(KEY_FILE))
        finally:
            temporary.unlink(missing_ok=True)


def token(name: str, secret: bytes) -> str:
    """`user-` and five characters; upper and lower case of a name give the same token."""
    number = int.from_bytes(
        hmac.digest(secret, name.casefold().encode("utf-8", "surrogatepass"), hashlib.sha256), "big"
    )
    characters = []
    for _ in range(_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "user-" + "".join(characters)


def hide(report: dict[str, Any], secret: bytes) -> dict[str, Any]:
    """The report with a token wherever a text names one of `report["people"]`; numbers, states and identifiers stay as they are.

    The result names nobody, so that hiding it once more changes nothing.
    """
    replace = _replacer(report["people"], secret)
    hidden = {name: _walk(report[name], replace) if name in _SECTIONS else report[name] for name in report}
    return {**hidden, "people": []}


def _replacer(people: list[str], secret: bytes) -> Callable[[str], str]:
    """Longest form first; a name inside a longer word is another name, so word characters may not touch it."""
    tokens = {form.casefold(): token(name, secret) for name in people for form in _forms(name)}
    if not tokens:
        return str
    forms = sorted(tokens, key=lambda form: (-len(form), form))
    pattern = re.compile("|".join(_bounded(form) for form in forms), re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: tokens.get(match[0].casefold(), "user-withheld"), text)


def _forms(name: str) -> set[str]:
    """A name as it is, as titles and explanations show it (no control characters, cut to one line), and as JSON has it."""
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return {name, printable, printable[:SHOWN], json.dumps(name, ensure_ascii=False)[1:-1]}


def _bounded(name: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", name) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", name) else ""
    return before + re.escape(name) + after


def _walk(value: Any, replace: Callable[[str], str], inside: bool = False) -> Any:
    if isinstance(value, dict):
        return {name: _walk(item, replace, name in _TEXT) for name, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, replace, inside) for item in value]
    return replace(value) if inside and isinstance(value, str) else value
