"""Datadog's Audit Trail and logs: what became visible since the last collection, window by window.

Belongs here: the window, the second count, what may have been deleted unread. Not here: HTTP (`http`), the requests themselves
(`_datadog`), who may do what (`_datadog_access`), what events mean (`formats`). Plain HTTP and not `datadog-api-client`: that hides
headers, warnings and the bytes as they were sent.

No stamp tells when Datadog took an event in, so windows are of event time, and `look_back` is read again each time: Datadog refuses
logs that are more than 18 h old (docs.datadoghq.com/logs/log_configuration/processors/log_date_remapper). Where a collection begins
stands in the chain's own entries, as `elasticsearch` has it. An answer that says that it lacks events sets no checkpoint.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sources._clocks import earlier
from audit_pipeline.sources._datadog import Api, DatadogSettings, Page, Part, moment_of
from audit_pipeline.sources._datadog_access import grants
from audit_pipeline.sources.base import Collection, Grant, Opening, Probe, SourceError, last_whole, selector

Options = DatadogSettings
EXAMPLE = """\
  datadog_audit:
    type: datadog
    format: datadog_audit
    http:
      url: https://api.datadoghq.com # change this to your site: api.datadoghq.eu, api.us3.datadoghq.com, ...
      auth:
        headers:                   # an API key and an application key with the scope audit_logs_read (logs: logs_read_data)
          DD-API-KEY: {env: DD_API_KEY}
          DD-APPLICATION-KEY: {env: DD_APP_KEY}
      timeout: 60s                 # how long one answer may take
      budget: 30m                  # how long a collection may take, with all that is tried again
    options:
      reads: [audit]               # audit, logs; best a source of its own for each
      query: "*"                   # filter in Datadog's search syntax
      indexes: ["*"]               # log indexes
      storage_tiers: [indexes]     # where logs are kept: indexes, flex, online-archives
      retention: 7d                # change this: how long Datadog keeps these events (Audit Trail: 7d unless set)
      look_back: 24h               # how far behind the last collection is read again, for late events
      lag: 5m                      # how fresh events are left for the next collection
    settles_after: 2h
"""

RECOUNTED_DAYS = 7
"""So many whole days before the end of a window are counted at Datadog: later logs show in them."""


@dataclass(frozen=True)
class _Past:
    """What the chain says of earlier collections with the same selection."""

    checkpoint: dt.datetime | None = None
    """up to where everything was read"""
    since: dt.datetime | None = None
    """from where on everything was read"""
    tallies: dict[str, int] = field(default_factory=dict)
    oldest: dict[str, dt.datetime] = field(default_factory=dict)
    """by kind, the oldest event that there was"""

    @classmethod
    def of(cls, entries: list[Entry], chosen: str) -> _Past:
        request = last_whole(entries, chosen)
        if request is None:
            return cls()
        begin, end = (dt.datetime.fromisoformat(request[key]) for key in ("from", "checkpoint"))
        oldest = {kind: dt.datetime.fromisoformat(at) for kind, at in (request.get("oldest") or {}).items()}
        return cls(end, begin, request.get("tallies") or {}, oldest)


@dataclass
class _Reading:
    """What a collection learns from its pages."""

    shared_from: dt.datetime | None
    """from when on it matters that a log may come from several parts; null: never"""
    trouble: dict[str, None] = field(default_factory=dict)
    """what the answers say of their own completeness, each once"""
    shared: Counter[str] = field(default_factory=Counter)
    """logs that lie in several tiers and are one event: what a sum of the tiers' counts has too much, by day"""
    _seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """of the window that is read now: day and id to parts"""

    def take(self, part: Part, page: Page, low: dt.datetime, high: dt.datetime) -> None:
        """A page; events that it has of neighbouring windows are counted there."""
        self.trouble |= {f"{part.name}: {words}": None for words in page.trouble}
        if self.shared_from is not None:
            for event in page.events:
                at = moment_of(event)
                if at is not None and max(low, self.shared_from) <= at < high:
                    self._seen.setdefault((at.date().isoformat(), str(event.get("id"))), set()).add(part.name)

    def close(self) -> None:
        """The window was read in all parts."""
        for (day, _), parts in self._seen.items():
            self.shared[day] += len(parts) - 1
        self._seen = {}


def open_source(opening: Opening) -> DatadogSource:
    """The configured Datadog organisation."""
    return DatadogSource(opening)


class DatadogSource:
    """A Datadog organisation; see the module."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._settings: DatadogSettings = opening.options
        self._start = opening.start

    @property
    def _selector(self) -> str:
        """What is read: with another selection nothing of it was read yet."""
        chosen = [self._opening.source.http and self._opening.source.http.url, self._settings.query, self._settings.indexes, [part.name for part in self._settings.parts]]  # fmt: skip
        return selector(chosen)

    def collect(self, collection: Collection) -> Iterator[Item]:
        """The pages from the last whole collection, less `look_back`, up to `lag` before now.

        Raises:
            SourceError: Datadog cannot be read to the end; the pages before are kept, and read again next time.
        """
        past = _Past.of(collection.known, self._selector)
        with self._opening.http() as http:
            api = Api(http, self._settings)
            oldest, theirs = self._oldest(api, collection.now, past)
            until = self._until(collection, theirs)
            tallies = self._tallies(api, until)
            first = self._first(past, tallies, until)
            since = min(past.since or self._start, self._start)
            unread = self._unread(past, collection.known, oldest, until)
            collection.request.update({
                "from": rfc3339(since), "to": rfc3339(until), "window": [rfc3339(first), rfc3339(until)], "selector": self._selector,
                "parts": [part.name for part in self._settings.parts], "horizon_s": int(self._settings.kept.total_seconds()),
                "oldest": {kind: rfc3339(at) for kind, at in oldest.items()},
            } | ({"unread": unread} if unread else {}))  # fmt: skip
            several = len(self._settings.parts) > 1
            reading = _Reading(min(map(_begin, tallies)) if several and tallies else None)
            yield from self._pages(api, first, until, reading)
            collection.remarks += [Remark("source_partial", detail) for detail in reading.trouble]
            counted = {day: n - reading.shared[day] for day, n in tallies.items() if _begin(day) >= first}
            collection.request.update({"begun_anew": api.begun_anew, "tallies": tallies, "counted": counted})
            if not reading.trouble:
                collection.request["checkpoint"] = rfc3339(until)

    def _pages(self, api: Api, first: dt.datetime, until: dt.datetime, reading: _Reading) -> Iterator[Item]:
        """The pages of all windows and parts that have events."""
        for low, high in self._windows(first, until):
            for part in self._settings.parts:
                for number, page in enumerate(api.pages(part, low, high)):
                    reading.take(part, page, low, high)
                    if page.events:
                        name = f"{part.name}/{rfc3339(low)}/{rfc3339(high)}/page-{number:06d}"
                        yield Item(page.body, Member(name=name, offset=0, length=0, sha256=""))
            reading.close()

    def _windows(self, first: dt.datetime, until: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
        """From `first` to `until`; what should be gone by `retention` is asked for at once, since it is mostly nothing."""
        low = first
        horizon = until - self._settings.kept
        while low < until:
            high = horizon if low < horizon else min(until, low + self._settings.window)
            yield low, high
            low = high

    def _until(self, collection: Collection, theirs: dt.datetime | None) -> dt.datetime:
        """The end of the window: `lag` before now, by the clock that is behind; whole seconds."""
        now = earlier(collection, theirs, "Datadog's", "windows are cut by it")
        return (now - self._settings.lag).replace(microsecond=0)

    def _first(self, past: _Past, tallies: dict[str, int], until: dt.datetime) -> dt.datetime:
        """The begin: all where nothing was read yet, or where `start` was moved back; days that grew since they were counted, or were not."""
        if past.checkpoint is None or past.since is None or self._start < past.since:
            return min(self._start, until)
        grown = [_begin(day) for day, n in tallies.items() if n > past.tallies.get(day, -1)]
        return max(self._start, min([past.checkpoint - self._settings.look_back, until, *grown]))

    def _tallies(self, api: Api, until: dt.datetime) -> dict[str, int]:
        """Datadog's own count of the last whole days, summed over tiers, as of just before they are read.

        None where the Audit Trail is read: it has no count, and a count of the logs alone would prove what it does not.
        """
        if "audit" in self._settings.reads:
            return {}
        found = {}
        for n in range(RECOUNTED_DAYS, 0, -1):
            day = until.date() - n * DAY
            counts = [api.count(part, day) for part in self._settings.parts] if midnight(day) >= self._start else [None]
            if None not in counts:
                found[day.isoformat()] = sum(count or 0 for count in counts)
        return found

    def _oldest(self, api: Api, now: dt.datetime, past: _Past) -> tuple[dict[str, dt.datetime], dt.datetime | None]:
        """By kind the oldest event that there still is, of those that should be there; and Datadog's clock.

        As it was before, where Datadog does not tell for sure.
        """
        found: dict[str, dt.datetime] = {}
        unsure: set[str] = set()
        theirs = None
        for part in self._settings.parts:
            edge = api.edge(part, "timestamp", now)
            theirs = edge.date or theirs
            if not edge.whole:
                unsure.add(part.kind)
            if edge.value is not None:
                found[part.kind] = min(edge.value, found.get(part.kind, edge.value))
        return found | {kind: at for kind, at in past.oldest.items() if kind in unsure}, theirs

    def _unread(
        self, past: _Past, entries: list[Entry], oldest: dict[str, dt.datetime], until: dt.datetime
    ) -> list[dict[str, str]]:
        """What may have been deleted before it was read: a fact that no later collection heals.

        What is older than `retention` is; and where the oldest event of the collection before is gone before its time, all that is
        older than what is the oldest now.
        """
        horizon = until - self._settings.kept
        days = f"options.retention is {self._settings.kept.total_seconds() / 86_400:g} days"
        ends = {horizon: f"{days}, so what is older than {rfc3339(horizon)}"}
        for kind, before in past.oldest.items():
            now = oldest.get(kind, until)
            if horizon < before < now:
                ends[now] = f"{days}, but an event of {kind} of {rfc3339(before)} is gone: set options.retention as it is at Datadog. What is older than {rfc3339(now)}"  # fmt: skip
        return [
            {"from": rfc3339(low), "to": rfc3339(min(high, end)), "detail": f"{words} may have been deleted unread. Collect more often, or keep events longer"}
            for end, words in ends.items() for low, high in self._new(past, entries, until) if low < end
        ]  # fmt: skip

    def _new(self, past: _Past, entries: list[Entry], until: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
        """What is read for the first time, or again for what came late. What another selection has read is not lost with it."""
        if past.checkpoint is None or past.since is None:
            others = [entry.request["checkpoint"] for entry in entries if entry.request.get("checkpoint")]
            yield max([self._start, *map(dt.datetime.fromisoformat, others)]), until
            return
        yield max(self._start, past.checkpoint - self._settings.look_back), until
        if self._start < past.since:
            yield self._start, past.since

    def access(self) -> list[Grant]:
        """Who may do what to what is read, by roles and their members.

        Raises:
            SourceError: roles and users cannot be listed; names the right that is lacking.
        """
        with self._opening.http() as http:
            return grants(Api(http, self._settings), self._settings.reads)

    def probe(self) -> list[Probe]:
        """Whether it can be reached and read, what is lacking, and what to ask for."""
        from audit_pipeline.sources._datadog_probe import probes

        try:
            with self._opening.http() as http:
                return probes(http, self._settings, self._opening.clock.now())
        except SourceError as error:
            return [Probe("reach", False, str(error))]


def _begin(day: str) -> dt.datetime:
    return midnight(dt.date.fromisoformat(day))
