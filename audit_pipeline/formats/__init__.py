"""One module (or YAML mapping) per record format: index and OCSF. Found by name: `formats.get("cloudtrail")`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from audit_pipeline.errors import UsageError
from audit_pipeline.formats.base import Configurable, Envelope, Format

_MACHINERY = {"base", "inflate", "records", "indexing", "unify", "parse", "places", "rows", "routed", "received"}


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


def envelope(name: str) -> Envelope:
    """How records of that format carry other systems' records.

    Raises:
        UsageError: there is no such format, or its records carry none; lists those that do.
    """
    get(name)
    found: Envelope | None = getattr(importlib.import_module(f"{__name__}.{name}"), "ENVELOPE", None)
    if found is None:
        able = [one for one in names() if hasattr(importlib.import_module(f"{__name__}.{one}"), "ENVELOPE")]
        raise UsageError(f"records of {name} carry no other system's records: those of {', '.join(able)} do.")
    return found


def open_format(name: str, *, year: int | None = None, zone: str = "UTC", mapping: Path | None = None) -> Format:
    """The format with its settings; a mapping file makes a format of any name (`jsonl`).

    Raises:
        UserError: there is no such format, it takes no mapping, or a setting is wrong.
    """
    form = get("jsonl" if mapping is not None and name not in names() else name)
    if isinstance(form, Configurable):
        return form.configured(year=year, zone=zone, mapping=mapping)
    if mapping is not None:
        raise UsageError(f"format {name} takes no mapping: leave out --mapping.")
    return form
