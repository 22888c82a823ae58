"""One module per system that logs are collected from, found by the configured `type`: `sources.get("files")`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from audit_pipeline.errors import UsageError

if TYPE_CHECKING:
    from audit_pipeline.sources.base import Collector

_MACHINERY = {"base", "collect", "http", "identity"}


def names() -> list[str]:
    """The types that exist, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _MACHINERY and m.name[0] != "_")


def get(name: str) -> Collector:
    """The collector of that type.

    Raises:
        UsageError: there is none; lists those that exist.
    """
    if name not in names():
        raise UsageError(f"unknown type of source {name!r}: this version collects from {', '.join(names())}.")
    return cast("Collector", importlib.import_module(f"audit_pipeline.sources.{name}"))
