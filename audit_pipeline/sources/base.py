"""What a source is: something that can be asked for what became visible, and says what it could not give.

Belongs here: the protocol and its small types. Not here: any system (one module each) or how members are stored (`lake.raw`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from audit_pipeline import sources as collectors
from audit_pipeline.clock import Clock, SystemClock, midnight
from audit_pipeline.errors import UserError
from audit_pipeline.formats.base import Format
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sections import Section, SourceSettings
from audit_pipeline.settings import Settings

if TYPE_CHECKING:
    from audit_pipeline.sources.http import Http


class SourceError(UserError):
    """The source could not be collected; says where, why, and what to do."""


def failures() -> tuple[type[Exception], ...]:
    """What a disk or object store that cannot be read raises; the vendor's client has errors of its own for one that cannot be reached."""
    try:
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError)


@dataclass
class Collection:
    """One asking: what was seen before, and what the source says while it is asked (`remarks`, `request`)."""

    known: list[Entry]
    now: dt.datetime
    simulated: bool = False
    """whether `now` is made up: what lies after it is then no surprise"""
    remarks: list[Remark] = field(default_factory=list)
    request: dict[str, Any] = field(default_factory=dict)


def selector(chosen: list[Any]) -> str:
    """What stands for a selection in an entry: with another one nothing of it was read yet."""
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def last_whole(known: list[Entry], chosen: str) -> dict[str, Any] | None:
    """The request of the newest collection of a selection that was whole; null where there is none."""
    requests = (entry.request for entry in reversed(known))
    return next((one for one in requests if one.get("selector") == chosen and one.get("checkpoint")), None)


@dataclass(frozen=True)
class Probe:
    """One thing that `check` tried at a source."""

    what: str
    ok: bool
    detail: str


Right = Literal["read", "write", "delete", "stop", "retention"]
"""What somebody may do to a source's logs: see them, add to them, delete them, end logging, change how long they are kept."""


@dataclass(frozen=True)
class Grant:
    """Somebody's right to a source's logs, at the source."""

    principal: str
    """user, group, role or key, with its kind: `user:ann`, `role:logs_admin`"""
    right: Right
    via: str
    """what gives it, in the source's own words, such as a role or a policy's statement"""


@runtime_checkable
class Reviewable(Protocol):
    """A source that tells who may do what to its logs."""

    def access(self) -> list[Grant]:
        """All grants that the source shows, sorted.

        Raises:
            SourceError: they cannot be read; names the right that is lacking.
        """
        ...


class Source(Protocol):
    """A configured source."""

    def collect(self, collection: Collection) -> Iterator[Item]:
        """What became visible by `collection.now` and is not known yet.

        Raises:
            SourceError: nothing more can be had; what was yielded before is kept.
        """
        ...

    def probe(self) -> list[Probe]:
        """Whether it can be read, and what is missing."""
        ...


@dataclass(frozen=True)
class Opening:
    """What a collector is made from; tests hand in time and transport of their own."""

    name: str
    """the source's name in the configuration"""
    source: SourceSettings
    options: Any
    """`source.options`, read by the collector's `Options`"""
    form: Format
    start: dt.datetime
    """from when on records are wanted"""
    resolve: Callable[[str], str]
    """a path of the configuration to one that can be opened"""
    waiting: Any = None
    """a `http.Waiting`, where time is not the machine's"""
    transport: Any = None
    """an `httpx.BaseTransport`, where there is no socket"""
    clock: Clock = field(default_factory=SystemClock)

    def http(self) -> Http:
        """A conversation with the source by `source.http`.

        Raises:
            SourceError: the section is missing, or a secret or certificate cannot be read.
        """
        from audit_pipeline.sources.http import Http

        if self.source.http is None:
            raise SourceError(f"sources.{self.name}: type {self.source.type} needs the section http: `audit-pipeline init FOLDER --source {self.source.type}` shows it.")  # fmt: skip
        return Http(self.source.http, self.resolve, waiting=self.waiting, transport=self.transport)


class Collector(Protocol):
    """What a module of `sources/` holds."""

    Options: type[Section]
    """the keys of `options` of a source of this type"""

    EXAMPLE: str
    """what stands under `sources` for one, commented: `audit-pipeline init --source TYPE` writes it"""

    def open_source(self, opening: Opening) -> Source:
        """The source.

        Raises:
            SourceError: something that it needs is missing or cannot be read.
        """
        ...


def open_source(settings: Settings, name: str, form: Format) -> Source:
    """The configured source of that name.

    Args:
        settings: the whole configuration: paths start from its folder, collection from its first day.
        name: the source's name.
        form: its record format.

    Raises:
        SourceError: there is no collector of that type, or it lacks something.
    """
    return collectors.get(settings.sources[name].type).open_source(opening(settings, name, form))


def opening(settings: Settings, name: str, form: Format) -> Opening:
    """What the collector of that source is made from."""
    source = settings.sources[name]
    options = collectors.get(source.type).Options.model_validate(source.options)
    return Opening(name, source, options, form, midnight(settings.start), settings.resolve)
