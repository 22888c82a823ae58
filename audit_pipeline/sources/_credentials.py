"""Who we say that we are, and whom we believe: secrets from environment or file, trusted authorities; used by `http`.

Belongs here: reading them, with errors that name the place and never the value. Not here: sending them.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable
from pathlib import Path

from audit_pipeline.sections import AuthSettings, HttpSettings, Secret
from audit_pipeline.sources.base import SourceError


def trust(settings: HttpSettings, resolve: Callable[[str], str]) -> ssl.SSLContext:
    if settings.ca_file is None:
        if settings.url.startswith(
            "http:"
        ):  # nothing to verify; reading the system's authorities takes longer than a page
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return ssl.create_default_context()
    path = resolve(settings.ca_file)
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"http.ca_file {path}: cannot be used ({error}). It must be a readable PEM file.") from None


def credentials(auth: AuthSettings, resolve: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """The header, and what must never be shown."""
    if auth.username is not None and auth.password is not None:
        password = read_secret(auth.password, "http.auth.password", resolve)
        pair = base64.b64encode(f"{auth.username}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}, [password, pair]
    if auth.headers:
        named = {
            name: read_secret(secret, f"http.auth.headers.{name}", resolve) for name, secret in auth.headers.items()
        }
        return named, list(named.values())
    for word, given, key in (("ApiKey", auth.api_key, "api_key"), ("Bearer", auth.bearer, "bearer")):
        if given is not None:
            secret = read_secret(given, f"http.auth.{key}", resolve)
            return {"Authorization": f"{word} {secret}"}, [secret]
    return {}, []


def read_secret(secret: Secret, key: str, resolve: Callable[[str], str]) -> str:
    """The secret's value.

    Raises:
        SourceError: it is not there, or cannot be sent in a header; names key and place, never a value.
    """
    if secret.env is not None:
        value, place = os.environ.get(secret.env, ""), f"environment variable {secret.env}"
    else:
        place = f"file {resolve(secret.file or '')}"
        try:
            value = Path(resolve(secret.file or "")).read_text(encoding="utf-8").split("\n", 1)[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{key}: {place} cannot be read ({type(error).__name__}). Mend path or rights.") from None
    if not value or not value.isascii() or not value.isprintable():
        raise SourceError(f"{key}: {place} holds no usable secret (empty, or not printable ASCII). Put it there.")
    return value
