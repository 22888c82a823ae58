"""Signatures of decisions by people's SSH keys: `ssh-keygen -Y sign` and `-Y verify` (OpenSSH, PROTOCOL.sshsig), as Git uses them.

Belongs here: what is signed, signing and verifying. Not here: what a verified signature counts for (`duties`).
Signed is the canonical JSON (RFC 8785) of the row's hashed columns; of a decision that came by a file, the entry as it stood there
(kept in the payload), and only where the row says the same as its entry.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import rfc8785

from audit_pipeline.errors import UserError
from audit_pipeline.findings.payloads import read_payload
from audit_pipeline.settings import Settings

NAMESPACE = "audit-pipeline-decision"
KEY_ENV = "AUDIT_PIPELINE_SIGNING_KEY"
HASHED = ("seq", "finding_id", "action", "person", "identity", "recorded_at", "effective_at", "reason", "payload", "previous")  # fmt: skip
"""columns that a row's hash and signature are made over"""
_BASE = frozenset({"finding", "action", "person", "reason", "effective_at"})
_VERIFY_S, _SIGN_S = 20, 120
_GOOD = re.compile(rb"^Good .* key (SHA256:\S+)\s*$", re.MULTILINE)


class SigningError(UserError):
    """A decision cannot be signed, or its signature cannot be checked."""


class Verified(NamedTuple):
    """Whose signature it is: the principal and the fingerprint of the key."""

    person: str
    key: str


class Signature(Protocol):
    """Where a signature comes from, and whose keys count."""

    @property
    def allowed(self) -> Path:
        """The file of keys that it is checked against."""
        ...

    def over(self, text: bytes) -> str:
        """The signature (armored) over a text."""
        ...


@dataclass(frozen=True)
class Signer:
    """Signs with a private key, or with a public one whose private half an agent holds."""

    key: Path
    allowed: Path

    def over(self, text: bytes) -> str:
        """The signature over a text; may ask for a passphrase on the terminal."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "decision")
            file.write_bytes(text)
            done = _run(["sign", "-f", str(self.key), "-n", NAMESPACE, str(file)], timeout=_SIGN_S)
            signed = Path(folder, "decision.sig")
            if done.returncode or not signed.exists():
                raise SigningError(
                    f"{self.key}: ssh-keygen did not sign with this key ({_last(done.stderr)}). Name another with --sign KEY, or start its agent. Nothing was recorded."
                )
            return signed.read_text(encoding="ascii")


@dataclass(frozen=True)
class Signed:
    """A signature that was made elsewhere, such as in a file."""

    signature: str
    allowed: Path

    def over(self, text: bytes) -> str:  # noqa: ARG002 - whether it fits the text is for `verified` to say
        """The signature as it is."""
        return self.signature


def signer(settings: Settings, key: str | None = None) -> Signer:
    """The signer of a person: a key file, else `AUDIT_PIPELINE_SIGNING_KEY`, else the usual ones in `~/.ssh`.

    Raises:
        SigningError: there is no such key.
    """
    usual = [Path.home() / ".ssh" / name for name in ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk")]
    named = key or os.environ.get(KEY_ENV)
    found = [Path(named).expanduser()] if named else usual
    for file in found:
        if file.is_file():
            return Signer(file, allowed_signers(settings))
    raise SigningError(
        f"no SSH key to sign with: {', '.join(map(str, found))} not there. Make one with `ssh-keygen -t ed25519`, or name it with --sign KEY."
    )


def allowed_signers(settings: Settings) -> Path:
    """The file of people and their keys (ssh-keygen(1), ALLOWED SIGNERS)."""
    return Path(settings.resolve(settings.decisions.allowed_signers))


def signed_text(row: Mapping[str, Any]) -> bytes | None:
    """What the signature of a row is made over; null where the row says something else than the entry that it came from."""
    payload = read_payload(row["payload"])
    entry = payload.pop("entry", None)
    if entry is None:
        return rfc8785.dumps({name: row[name] for name in HASHED})
    return rfc8785.dumps(entry) if isinstance(entry, dict) and _agrees(entry, row, payload) else None


def _agrees(entry: dict[str, Any], row: Mapping[str, Any], payload: dict[str, Any]) -> bool:
    more = {name: value for name, value in entry.items() if name not in _BASE}
    same = (
        str(entry.get("action")).replace("-", "_") == row["action"],
        entry.get("person") == row["person"],
        entry.get("reason", "") == row["reason"],
        len(str(entry.get("finding"))) >= 6 and row["finding_id"].startswith(str(entry.get("finding")).lower()),
        _moment(entry.get("effective_at") or row["recorded_at"]) == _moment(row["effective_at"]),
        set(more) == set(payload),
        all(_same(name, more[name], payload[name]) for name in payload if name in more),
    )
    return all(same)


def _same(name: str, written: object, kept: object) -> bool:
    if name == "of":
        return str(kept).startswith(str(written).lower())
    return str(written).strip() == str(kept) or written == kept


def _moment(text: object) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(str(text)).astimezone(dt.UTC)
    except ValueError:
        return None


def verified(row: Mapping[str, Any], allowed: Path) -> Verified | None:
    """Whose signature a row bears; null where it bears none, or one that does not verify for its person at its time.

    Raises:
        SigningError: `ssh-keygen` is not there, too old, or does not answer.
    """
    text = signed_text(row) if row.get("signature") else None
    if text is None or not allowed.is_file():
        return None
    at = _moment(row["recorded_at"])
    if at is None:
        return None
    return _verified(text, str(row["signature"]), str(row["person"]), f"{at:%Y%m%d%H%M%S}", allowed.read_bytes())


@functools.lru_cache(maxsize=4096)
def _verified(text: bytes, signature: str, person: str, at: str, allowed: bytes) -> Verified | None:
    """Cached, as findings are read many times a night; a changed file of keys is another question."""
    with tempfile.TemporaryDirectory() as folder:
        keys, file = Path(folder, "allowed"), Path(folder, "signature")
        keys.write_bytes(allowed)
        file.write_text(signature, encoding="utf-8")
        done = _run(
            ["verify", "-f", str(keys), "-I", person, "-n", NAMESPACE, "-s", str(file), "-O", f"verify-time={at}"],
            timeout=_VERIFY_S, text=text,
        )  # fmt: skip
    good = _GOOD.search(done.stdout)
    return Verified(person, good[1].decode()) if done.returncode == 0 and good else None


def _run(arguments: Sequence[str], *, timeout: float, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}  # times of `allowed_signers` without a zone are UTC
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    try:
        done = subprocess.run(  # noqa: S603 - no shell; a person's name is an argument of its own
            ["ssh-keygen", "-Y", *arguments],  # noqa: S607 - the system's own
            **given, capture_output=True, timeout=timeout, check=False, env=environment,
        )  # fmt: skip
    except FileNotFoundError:
        raise SigningError(
            "ssh-keygen is not installed: signatures need OpenSSH 8.9 or newer (openssh-client)."
        ) from None
    except subprocess.TimeoutExpired:
        raise SigningError(
            f"ssh-keygen did not answer within {timeout:.0f} s. Check the key's agent or token, then try again."
        ) from None
    if b"usage:" in done.stderr or b"nvalid option" in done.stderr or b"nsupported operation" in done.stderr:
        raise SigningError("this ssh-keygen is too old: signatures need OpenSSH 8.9 or newer (verify-time).")
    return done


def _last(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
