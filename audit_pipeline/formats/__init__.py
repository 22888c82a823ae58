"""One module (or YAML mapping) per record format: index and OCSF. Found by name: `formats.get("cloudtrail")`."""

from __future__ import annotations

import importlib
import pkgutil

from audit_pipeline.errors import UsageError
from audit_pipeline.formats.base import Format

_MACHINERY = {"base", "inflate", "records", "indexing", "unify", "parse"}


def names() -> list[str]:
    """The formats that exist, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _MACHINERY and m.name[0] != "_")


def get(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: there is none; lists those that exist.
    """
    if name not in names():
        raise UsageError(f"unknown format {name!r}: this version knows {', '.join(names())}.")
    found: Format = importlib.import_module(f"audit_pipeline.formats.{name}").FORMAT
    return found
