"""A store's records that are other systems' records: each is read by the format whose condition it meets.

Belongs here: conditions on what the store says of a record (`Envelope`), and which keys count. Not here: any format.
A record that meets no condition is a Base Event of the store's own format, and `x_format` says so; where the list names that format
itself (the entry without `when`), it is an event of it like any other.

Identity is the inner record's own, where its format finds one (an audit id, an event id): so stages merge, and a record that was shipped
twice under two ids of the store is one event. Where it finds none, identity is the store's. A record is `raw_data` as the system that
wrote it had it, so that rules find its fields; what the store had around it is in the segment, under the same line.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate

from audit_pipeline import formats
from audit_pipeline.errors import UsageError
from audit_pipeline.formats._hits import fields_of
from audit_pipeline.formats._stamps import EPOCH
from audit_pipeline.formats.base import Envelope, Format, Framing, Keys, Split
from audit_pipeline.sections import FormatRule

OWN = {"elasticsearch": "ecs", "opensearch": "ecs", "splunk": "splunk_audit", "datadog": "datadog_audit"}
"""Type of source to the format of its own records, where a list of formats names none."""
UNMATCHED = "unmatched"
"""What `x_format` ends with where no condition fits."""
_BASE_EVENT = {"class_uid": "0", "category_uid": "0", "activity_id": "99", "type_uid": "99"}
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Reading:
    """How records become events: what `x_format` says, and the format's SQL."""

    label: str
    record: str
    columns: Mapping[str, str]

    @classmethod
    def by(cls, form: Format) -> Reading:
        """As the format itself says."""
        return cls(f"{form.name}/{form.version}", form.record, form.columns)


@dataclass(frozen=True)
class Part:
    """The records of a batch that are read alike."""

    reading: Reading
    rows: list[int]
    """their places in the batch"""
    records: list[bytes]
    """as the system that wrote them had them"""


class _Route:
    """A condition, and the format of what meets it."""

    def __init__(self, when: Mapping[str, Sequence[str]], form: Format) -> None:
        self.form = form
        self.when = {fact: sorted(patterns) for fact, patterns in sorted(when.items())}
        self._tests = [
            (fact, re.compile("|".join(map(translate, patterns))).match) for fact, patterns in self.when.items()
        ]

    def fits(self, facts: Mapping[str, str]) -> bool:
        """Whether all its facts match a pattern; a fact that the record does not say matches none."""
        return all((value := facts.get(fact)) and test(value) for fact, test in self._tests)


class Routed:
    """The format of a store's records that are other systems'; see `formats.base.Format`."""

    name = "routed"
    version = 1

    def __init__(
        self, own: Format, envelope: Envelope, routes: Sequence[tuple[Mapping[str, Sequence[str]], Format]], named: bool
    ) -> None:
        """Routes in the order in which they are tried; `named`: what meets none is an event of `own`, not an unmatched one."""
        self._own, self._envelope = own, envelope
        self._routes = [_Route(when, form) for when, form in routes]
        rest = Reading.by(own)
        if not named:
            rest = Reading(f"{rest.label} {UNMATCHED}", rest.record, {**rest.columns, **_BASE_EVENT})
        self._readings = [*(Reading.by(route.form) for route in self._routes), rest]
        made_of = [[own.name, own.version, own.variant, named]]
        made_of += [[route.form.name, route.form.version, route.form.variant, route.when] for route in self._routes]
        self.variant = json.dumps(made_of)

    @property
    def record(self) -> str:
        """That of the store's own records; what meets a condition is read by its own (`parts`)."""
        return self._own.record

    @property
    def columns(self) -> Mapping[str, str]:
        """Likewise."""
        return self._own.columns

    def framing(self, head: bytes) -> Framing:
        """As the store's records lie."""
        return self._own.framing(head)

    def delivery_time(self, name: str) -> dt.datetime | None:
        """As the store names its files."""
        return self._own.delivery_time(name)

    def split(self, data: bytes, whole: bool) -> Split:
        """The store's records."""
        return self._own.split(data, whole)

    def keys(self, records: Sequence[bytes], visible: dt.datetime | None = None) -> Keys:
        """Of each record what its format says; the store's identity where that has none.

        A stamp without a year is read beside the store's own time of the record, a day together, and not beside that of its page.
        """
        own = self._own.keys(records, visible)
        found = Keys([*own.key], [*own.time_us], [*own.reason], [*own.detail], [*(own.version or [0] * len(records))], list(zip(own.key, own.time_us, strict=True)))  # fmt: skip
        groups: dict[tuple[int, int | None], list[tuple[int, bytes]]] = {}
        for at, (route, payload) in enumerate(map(self._sorted, records)):
            if payload is None:
                continue
            time = own.time_us[at]
            groups.setdefault((route, None if time is None else time // _DAY_US), []).append((at, payload))
        for (route, day), members in groups.items():
            until = visible if day is None else EPOCH + dt.timedelta(days=day + 1)
            _fill(found, self._routes[route].form, members, until)
        return found

    def parts(self, records: Iterable[bytes]) -> list[Part]:
        """The records by what reads them; each is in exactly one part."""
        found = [Part(reading, [], []) for reading in self._readings]
        for at, record in enumerate(records):
            route, payload = self._sorted(record)
            found[route].rows.append(at)
            found[route].records.append(record if payload is None else payload)
        return [part for part in found if part.rows]

    def _sorted(self, record: bytes) -> tuple[int, bytes | None]:
        """Which route the record takes, and what it carries; the number of routes and nothing where it is the store's own."""
        fields = fields_of(record)
        facts = self._envelope.facts(fields) if isinstance(fields, dict) else {}
        number = next((at for at, route in enumerate(self._routes) if route.fits(facts)), len(self._routes))
        payload = self._envelope.payload(fields) if isinstance(fields, dict) and number < len(self._routes) else None
        return (number, payload.strip()) if payload is not None else (len(self._routes), None)


def _fill(found: Keys, form: Format, members: Sequence[tuple[int, bytes]], until: dt.datetime | None) -> None:
    """What the format says of these records, in their places; a key that is the record itself is none."""
    keys = form.keys([payload for _, payload in members], until)
    for n, (at, payload) in enumerate(members):
        found.time_us[at], found.reason[at], found.detail[at] = keys.time_us[n], keys.reason[n], keys.detail[n]
        if not keys.key[n].startswith(payload):
            found.key[at] = form.name.encode() + b"\n" + keys.key[n]
            if keys.version is not None and found.version is not None:
                found.version[at] = keys.version[n]


def routed(kind: str, rules: Sequence[FormatRule], opened: Callable[[str], Format]) -> Routed:
    """The format of a source with a list of formats.

    Args:
        kind: the type of the source.
        rules: the list, as configured.
        opened: a format by its name.

    Raises:
        UserError: see `check`; or a format cannot be opened.
    """
    check(kind, rules)
    name = own_of(kind, rules)
    routes = [(rule.when, opened(rule.format)) for rule in rules if rule.when is not None]
    named = any(rule.when is None for rule in rules)
    return Routed(opened(name), formats.envelope(name), routes, named)


def own_of(kind: str, rules: Sequence[FormatRule]) -> str:
    """The name of the store's own format: that of the entry without `when`, else what its type has.

    Raises:
        UsageError: neither says it, or several entries do.
    """
    named = [rule.format for rule in rules if rule.when is None]
    if len(named) > 1:
        raise UsageError(
            f"several entries have no `when` ({', '.join(named)}): one alone may be the store's own format."
        )
    if not named and kind not in OWN:
        raise UsageError(f"type {kind} has no format of its own: add an entry without `when`, such as {{format: ecs}}.")
    return named[0] if named else OWN[kind]


def check(kind: str, rules: Sequence[FormatRule]) -> None:
    """Whether the store's own format has what the conditions ask for.

    Raises:
        UsageError: it carries no other system's records, or a condition asks for a fact that it has not.
    """
    name = own_of(kind, rules)
    known = formats.envelope(name).names
    for number, rule in enumerate(rules):
        for fact in rule.when or {}:
            if fact not in known:
                near = difflib.get_close_matches(fact, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"{name} has {', '.join(known)}"
                raise UsageError(f"{number}.when.{fact}: is nothing that {name} says of a record, {hint}")
