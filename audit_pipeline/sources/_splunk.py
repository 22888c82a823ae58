"""The searches that Splunk is asked: rows of a stretch, counts by day, the edges of what is there; and what an answer says.

Belongs here: endpoints, SPL, reading exported lines. Not here: which stretch is read (`splunk`), HTTP (`http`). Plain HTTP and not
`splunk-sdk`: its reader shows only the last of several messages and does not tell that the last row is missing.

An export is lines of JSON: rows, messages, previews. The last row of a whole one carries `lastrow`; without it the answer was cut and
is asked for again. Sources: Splunk, REST API Reference, "search/v2/jobs/export"; Search Reference, "tstats" and "Time modifiers";
splunk/splunk-sdk-python (v2 paths since 9.0.1, POST only).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field

from audit_pipeline.sections import Duration, Section
from audit_pipeline.sources.base import SourceError
from audit_pipeline.sources.http import Http, PassingError, RefusedError, decoded

V2, V1 = "/services/search/v2/jobs/export", "/services/search/jobs/export"
FIELDS = "event_time, _time, _indextime, _raw, host, source, sourcetype, index, _cd, _bkt"
SPAN = "15m"
"""Counts are made in pieces of a day's quarter hours, which are the same in every zone that the reader may have set, and added up to UTC days."""
_KINDS = ("application/json", "application/x-ndjson", "text/json")
_SHOWN = 300
_NAME = re.compile(r"[a-z0-9_*][a-z0-9_*-]{0,254}")
_FORBIDDEN = re.compile(r"[|\[\]`]")
_TIMES = re.compile(r"\b(?:_?index_?)?(?:earliest|latest)(?:_time)?\s*=", re.IGNORECASE)
_WAITS = re.compile(r"quota|maximum number|concurren|queued|disk usage", re.IGNORECASE)
"""Words of a refused search that another time may allow."""


def _indexes(value: str) -> str:
    if not all(_NAME.fullmatch(name.strip()) for name in value.split(",")):
        raise ValueError("write names of indexes as Splunk has them (lower-case letters, digits, _ - and * for any text), several with commas")  # fmt: skip
    return ",".join(name.strip() for name in value.split(","))


def _filter(value: str | None) -> str | None:
    if value is None or not value.strip():
        return None
    if _FORBIDDEN.search(value):
        raise ValueError("a filter only, such as sourcetype=audittrail: no pipes, subsearches in brackets or macros, since they would hide events unnoticed")  # fmt: skip
    if _TIMES.search(value):
        raise ValueError("leave out earliest and latest: the collector sets the time, and another one would hide events unnoticed")  # fmt: skip
    if value.count('"') % 2 or value.count("(") != value.count(")"):
        raise ValueError("quotes and parentheses must come in pairs")
    return value.strip()


class SplunkSettings(Section):
    """What is read of Splunk."""

    index: Annotated[str, AfterValidator(_indexes)] = Field(description="index, such as _audit; several with commas, * for any text")  # fmt: skip
    search: Annotated[str | None, AfterValidator(_filter)] = Field(
        default=None, description="a further filter in SPL, such as sourcetype=audittrail; no pipes"
    )
    look_back: Duration = Field(
        default=dt.timedelta(hours=1),
        description="how far behind the last collection is read again by index time, for what became searchable late",
    )
    lag: Duration = Field(
        default=dt.timedelta(minutes=1), description="how freshly indexed events are left for the next collection"
    )
    window: Duration = Field(
        default=dt.timedelta(hours=1),
        ge=dt.timedelta(seconds=1),
        description="index time of one search, to begin with: halved where an answer is too large, doubled up to a day where it is small",
    )
    sweep_back: Duration = Field(
        default=dt.timedelta(days=30), description="how old an event may be when it is indexed, in the usual searches"
    )
    wide_sweep: Duration = Field(
        default=dt.timedelta(days=90),
        description="how old, or how far dated into the future, in one more search of each collection",
    )
    harmless: list[str] = Field(
        default_factory=list, description="parts of warnings of Splunk's that do not mean that events are missing"
    )


@dataclass(frozen=True)
class Stretch:
    """Events by the second in which they were indexed, and by their own time; half open, seconds since 1970."""

    name: str
    low: int
    high: int
    earliest: int
    latest: int
    step: int
    """seconds of index time that are asked for at once, to begin with"""


class Message(msgspec.Struct, frozen=True):
    """What Splunk says beside the rows."""

    type: str = ""
    text: str = ""


class _Row(msgspec.Struct):
    """What is needed of a row; the rest of it is kept as it came, and not decoded."""

    day: Any = None
    count: Any = None
    oldest: Any = None
    newest: Any = None


class _Line(msgspec.Struct):
    preview: bool = False
    lastrow: bool = False
    result: _Row | None = None
    messages: list[Message] = []


_LINES = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Exported:
    """A whole answer: its final rows, and what was said beside them."""

    rows: list[_Row]
    messages: list[Message]


def number(value: Any) -> int | None:
    """A whole number as Splunk writes it: text, perhaps with a fraction."""
    try:
        return None if value is None or isinstance(value, bool) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def read_export(kind: str, data: bytes) -> Exported:
    """The lines of an exported answer.

    Raises:
        PassingError: it is none, was cut, or the search was refused for want of room.
        SourceError: the search failed.
    """
    if kind not in _KINDS:
        raise PassingError(f"the answer is {kind or 'of no type'} and not JSON")
    lines = _lines(data)
    messages = [message for line in lines for message in line.messages]
    final = [line for line in lines if not line.preview and (line.result is not None or line.lastrow)]
    if not final or not final[-1].lastrow:
        fatal = next((one.text for one in messages if one.type in ("FATAL", "ERROR")), None)
        if fatal and not final and not _WAITS.search(fatal):
            raise SourceError(f"Splunk did not run the search: {shown(fatal)}. Check options.index, options.search and the role's capabilities.")  # fmt: skip
        raise PassingError(f"the answer is cut short: it has no last row{f' ({shown(fatal)})' if fatal else ''}")
    return Exported([line.result for line in final if line.result is not None], messages)


def _lines(data: bytes) -> list[_Line]:
    try:
        return _LINES.decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # with more patience: lone surrogates, blank lines
    found = [decoded(line) for line in data.split(b"\n") if line.strip()]
    try:
        return [msgspec.convert(line, _Line) for line in found]
    except msgspec.ValidationError as error:
        raise PassingError(f"the answer has a line that is none of an export: {error}") from None


def shown(text: str) -> str:
    """A message's text, bounded, on one line."""
    return "".join(c if c.isprintable() else " " for c in text[:_SHOWN])


@dataclass(frozen=True)
class Page:
    """One answer, as it was sent."""

    body: bytes
    said: Exported


class Search:
    """The searches of one collection; which version of the API answers is found out once."""

    def __init__(self, http: Http, settings: SplunkSettings) -> None:
        self._http, self._settings = http, settings
        self._path, self._sure = V2, False
        self.date: dt.datetime | None = None
        """the server's clock at the last answer"""
        self.messages: list[Message] = []
        """of all answers so far"""

    @property
    def _of(self) -> str:
        """The indexes, as a condition."""
        return "(" + " OR ".join(f'index="{name}"' for name in self._settings.index.split(",")) + ")"

    @property
    def _wanted(self) -> str:
        return f"{self._of} ({self._settings.search})" if self._settings.search else self._of

    def rows(self, part: Stretch) -> Page:
        """The events of a stretch.

        Raises:
            SourceError: they cannot be had; `TooLargeError`: not at once.
        """
        spl = (
            f"search {self._wanted} _index_earliest={part.low} _index_latest={part.high} "
            f'| eval event_time=strftime(_time, "%s.%6N") | fields {FIELDS}'
        )
        return self._export(spl, part.earliest, part.latest)

    def counts(self, earliest: int, latest: int, indexed_before: int) -> dict[str, int]:
        """Events by UTC day of their own time, of those that were indexed before a second.

        By `tstats` from the index files, beside the raw data that an export reads; with a filter by `stats`, since only a search
        knows fields that are extracted when it runs.

        Raises:
            SourceError: they cannot be counted.
        """
        if self._settings.search:
            spl = f"search {self._wanted} _index_latest={indexed_before} | eval day=floor(_time/86400) | stats count by day"  # fmt: skip
        else:
            spl = (
                f"| tstats count where {self._of} _index_latest={indexed_before} by _time span={SPAN} "
                "| eval day=floor(_time/86400) | stats sum(count) as count by day"
            )
        found: dict[str, int] = {}
        for row in self._export(spl, earliest, latest).said.rows:
            day, count = number(row.day), number(row.count)
            if day is None or count is None:
                raise SourceError("a count came without its day. Is a proxy in between?")
            found[(dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()] = count
        return found

    def edge(self, earliest: int, latest: int) -> tuple[int | None, int | None]:
        """The time of the oldest event in the indexes, and when the newest was indexed; seconds; null where there is none.

        Raises:
            SourceError: they cannot be asked for.
        """
        spl = f"| tstats min(_time) as oldest, max(_indextime) as newest where {self._of}"
        rows = self._export(spl, earliest, latest).said.rows
        return (number(rows[0].oldest), number(rows[0].newest)) if rows else (None, None)

    def _export(self, spl: str, earliest: int, latest: int) -> Page:
        form = {
            "search": spl, "earliest_time": str(earliest), "latest_time": str(latest), "output_mode": "json", "preview": "0", "segmentation": "none",
        }  # fmt: skip
        try:
            answer = self._http.request("POST", self._path, form=form, read=read_export)
        except RefusedError as error:
            if self._sure or error.status not in (400, 404):
                raise
            self._path = V1  # a server before 9.0 does not know the other
            answer = self._http.request("POST", self._path, form=form, read=read_export)
        self._sure = True
        self.date = answer.date
        said: Exported = answer.data
        self.messages += said.messages
        return Page(answer.body, said)
