"""Splunk: what was indexed since the last collection, by export searches over the second in which it was indexed.

Belongs here: which stretches are read, the second count, and what Splunk says about its own completeness. Not here: HTTP (`http`), the
searches (`_splunk`), what rows mean (`formats`). Sources: see `_splunk`; "Search results might be incomplete" and its kin are messages
beside the rows of a good answer.

The index time is the time from which an event can be seen, so an event of any age is new when it is indexed. Splunk prunes by the
event's own time, so each search bounds that too: widely, and one more search looks for what lies outside. Where a collection begins
stands in the chain's own entries: `request.checkpoint` of the newest one that was whole.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sources._clocks import earlier
from audit_pipeline.sources._splunk import Message, Search, SplunkSettings, Stretch, shown
from audit_pipeline.sources._splunk_access import grants, horizon_s, restrictions
from audit_pipeline.sources.base import Collection, Grant, Opening, Probe, SourceError, last_whole, selector
from audit_pipeline.sources.http import TooLargeError

Options = SplunkSettings
EXAMPLE = """\
  splunk_audit:
    type: splunk
    format: splunk_audit           # Splunk's own audit trail; other logs in Splunk are Base Events with their text
    http:
      url: https://splunk.example.com:8089   # change this: the management port of a search head
      auth:                        # a token, or username with password; a secret is read from env: NAME or file: PATH
        bearer: {env: AUDIT_SPLUNK_TOKEN}
      ca_file: null                # PEM file of a private authority; null: those that the system trusts
      timeout: 5m                  # how long one search may take
      budget: 1h                   # how long a collection may take, with all that is tried again
    options:
      index: _audit                # change this: index; several with commas
      search: null                 # a further filter, such as sourcetype=audittrail; no pipes
      look_back: 1h                # how far behind the last collection is read again by index time
      lag: 1m                      # how freshly indexed events are left for the next collection
      window: 1h                   # index time of one search, to begin with
      sweep_back: 30d              # how old an event may be when it is indexed, in the usual searches
      wide_sweep: 90d              # how old, or how far dated into the future, in one more search
    settles_after: 2h
"""
RECOUNTED_DAYS = 7
"""So many whole days before the end of a window are counted at Splunk."""
AHEAD_S = 86_400
"""Seconds by which an event may be dated into the future in the usual searches."""
LONGEST_STEP_S = 86_400
PART_S = 7 * 86_400
"""Index time of a long window that shares bounds of event time: with wider ones each search would have to look through more of the index."""
NAMED = 5
"""Messages of Splunk's that are kept as remarks; the others are counted."""
SMALL_BODY = 8 * 2**20
"""Bytes of an answer below which the next search asks for twice as much."""
_LACKING = re.compile(
    r"incomplete|partial|truncat|finali[sz]ed|peer|quota|limit|timed? ?out|unable to|could not|fail|not respond|skipp|missing", re.IGNORECASE
)  # fmt: skip
"""Words of a remark of Splunk's (INFO) that mean that rows may be missing."""
_HARMLESS = re.compile(
    r"configuration initialization .* took longer|^eventtype '|^field '.*' does not exist|^the (?:specified )?lookup|^could not load lookup", re.IGNORECASE
)  # fmt: skip
"""Warnings that have nothing to do with which rows come."""


@dataclass(frozen=True)
class _Past:
    """What the chain says of earlier collections with the same selection."""

    checkpoint: int | None = None
    """up to which second of index time everything was read"""
    since: dt.datetime | None = None
    settled: dict[str, int] = field(default_factory=dict)
    """events by day, of what had been indexed before `before` and would be read by no later window"""
    before: int = 0
    received: bool = False

    @classmethod
    def of(cls, entries: list[Entry], chosen: str) -> _Past:
        request = last_whole(entries, chosen)
        if request is None:
            return cls()
        settled = request.get("settled") or {}
        return cls(
            _seconds(request["checkpoint"]),
            dt.datetime.fromisoformat(request["from"]),
            settled.get("days") or {},
            _seconds(settled["before"]) if settled else 0,
            any(found.members for found in entries),
        )


def _seconds(moment: str | dt.datetime | dt.date) -> int:
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment)
    return int((moment if isinstance(moment, dt.datetime) else midnight(moment)).timestamp())


def _text(seconds: int) -> str:
    return rfc3339(dt.datetime.fromtimestamp(seconds, dt.UTC))


def open_source(opening: Opening) -> SplunkSource:
    """The configured Splunk."""
    return SplunkSource(opening)


class SplunkSource:
    """A search head; see the module."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._options: SplunkSettings = opening.options
        self._start = opening.start
        self._sweep, self._wide, self._look_back = (
            int(one.total_seconds())
            for one in (self._options.sweep_back, self._options.wide_sweep, self._options.look_back)
        )

    @property
    def _selector(self) -> str:
        """What is read: with another selection nothing of it was read yet."""
        chosen = [self._options.index, self._options.search]
        return selector(chosen)

    def collect(self, collection: Collection) -> Iterator[Item]:
        """The answers of all searches from the last whole collection, less `look_back`, up to `lag` before now.

        Raises:
            SourceError: Splunk cannot be read to the end; the answers before are kept, and read again next time.
        """
        past = _Past.of(collection.known, self._selector)
        with self._opening.http() as http:
            search = Search(http, self._options)
            oldest = self._oldest(search, past, _seconds(collection.now) + self._wide)
            until = self._until(collection, search.date)
            first = self._first(past, until)
            collection.request.update({
                "from": rfc3339(min(past.since or self._start, self._start)), "to": _text(until), "window": [_text(first), _text(until)],
                "selector": self._selector, "index": self._options.index,
            })  # fmt: skip
            if (horizon := horizon_s(http, self._options.index)) is not None:
                collection.request["horizon_s"] = horizon
            if unread := self._unread(past, oldest):
                collection.request["unread"] = unread
            counts = self._counts(search, until)
            for part in self._stretches(first, until, self._changed(search, past), past):
                yield from self._items(search, part)
            hidden = [Message("WARN", text) for text in restrictions(http)]
            remarks = self._trouble(search.messages + hidden) + self._silence(oldest)
            collection.remarks += remarks
            if not remarks:  # a count that lacks events would make a day look whole
                collection.request.update(counts, checkpoint=_text(until))

    def _oldest(self, search: Search, past: _Past, latest: int) -> int | None:
        """The time of the oldest event that is there; all of the index is asked only where a part of it does not tell what is needed."""
        near = past.checkpoint or _seconds(self._start)
        oldest, _ = search.edge(near - self._wide, latest)
        if oldest is None or (past.checkpoint is not None and oldest > past.checkpoint):
            oldest, _ = search.edge(0, latest)
        return oldest

    def _until(self, collection: Collection, theirs: dt.datetime | None) -> int:
        """The end of the window: `lag` before now, by the clock that is behind, in whole seconds as index times are."""
        return _seconds(earlier(collection, theirs, "Splunk's", "its index times are wrong") - self._options.lag)

    def _first(self, past: _Past, until: int) -> int:
        """The begin of the window: all where nothing was read yet, or where `start` was moved back; less `look_back`."""
        start = _seconds(self._start)
        if past.checkpoint is None or past.since is None or self._start < past.since:
            return min(start, until) - self._look_back
        return max(start, min(past.checkpoint, until)) - self._look_back

    def _unread(self, past: _Past, oldest: int | None) -> dict[str, str] | None:
        """The stretch behind the last collection that may have been frozen unread: nothing older is left to show that it was not."""
        if past.checkpoint is None or not past.received or oldest is None or oldest <= past.checkpoint:
            return None
        detail = (
            f"the oldest event is of {_text(oldest)}, the collection before ended at {_text(past.checkpoint)}: what lies between may have been "
            "frozen or deleted unread. Collect more often than Splunk freezes, or keep events longer (frozenTimePeriodInSecs, maxTotalDataSizeMB)"
        )
        return {"from": _text(past.checkpoint), "to": _text(oldest), "detail": detail}

    def _counts(self, search: Search, until: int) -> dict[str, object]:
        """Splunk's own count of the last whole days, and of what no later window reads, as of just before they are read."""
        today = dt.datetime.fromtimestamp(until, dt.UTC).date()
        days = [day for n in range(RECOUNTED_DAYS, -1, -1) if midnight(day := today - n * DAY) >= self._start]
        if not days:
            return {}
        bounds = _seconds(days[0]), _seconds(today + DAY)
        counted = search.counts(*bounds, until)
        before = until - self._look_back
        settled = search.counts(*bounds, before)
        return {
            "counted": {day.isoformat(): counted.get(day.isoformat(), 0) for day in days[:-1]},
            "settled": {"before": _text(before), "days": {day.isoformat(): settled.get(day.isoformat(), 0) for day in days}},
        }  # fmt: skip

    def _changed(self, search: Search, past: _Past) -> list[str]:
        """Days with other numbers of events behind the window than when they were counted.

        More: an indexer was away, slow, or its clock was behind. Fewer: some were frozen or deleted, which may hide that others came.
        """
        if not past.settled:
            return []
        days = sorted(past.settled)
        last = dt.date.fromisoformat(days[-1]) + DAY
        now = search.counts(_seconds(dt.date.fromisoformat(days[0])), _seconds(last), past.before)
        return [day for day in days if now.get(day, 0) != past.settled[day]]

    def _stretches(self, first: int, until: int, changed: list[str], past: _Past) -> Iterator[Stretch]:
        """What is asked for: the window by pieces of index time, days that changed behind it, and what is dated far away."""
        for low in range(first, until, PART_S):
            high = min(low + PART_S, until)
            early, ahead = low - self._sweep, high + AHEAD_S
            yield Stretch("window", low, high, early, ahead, int(self._options.window.total_seconds()))
            if self._wide > self._sweep:
                yield Stretch("late", low, high, low - self._wide, early, PART_S)
            yield Stretch("future", low, high, ahead, high + max(self._wide, 2 * AHEAD_S), PART_S)
        for day in changed:
            begin = _seconds(dt.date.fromisoformat(day))
            yield Stretch("again", begin - self._wide, past.before, begin, begin + 86_400, past.before)

    def _items(self, search: Search, part: Stretch) -> Iterator[Item]:
        """The answers that hold a stretch, each of bounded size."""
        at, step = part.low, part.step
        while at < part.high:
            end = min(at + step, part.high)
            try:
                page = search.rows(replace(part, low=at, high=end))
            except TooLargeError as error:
                if end - at <= 1:
                    raise SourceError(f"{error} A second of {_text(at)} has more than that: narrow options.search, or split options.index over several sources.") from None  # fmt: skip
                step = (end - at) // 2
                continue
            if page.said.rows:
                yield Item(page.body, Member(name=f"{part.name}/{_text(at)}/{_text(end)}", offset=0, length=0, sha256=""))  # fmt: skip
            at = end
            step = min(2 * step, LONGEST_STEP_S) if len(page.body) < SMALL_BODY else step

    def _trouble(self, messages: list[Message]) -> list[Remark]:
        """What Splunk says of its own completeness: errors, warnings that are not known to be harmless, and notes that tell of gaps."""
        found = list(dict.fromkeys(shown(one.text) for one in messages if self._lowers(one)))
        more = [f"{len(found) - NAMED} more such messages"] if len(found) > NAMED else []
        return [Remark("source_partial", text) for text in found[:NAMED] + more]

    def _lowers(self, message: Message) -> bool:
        if any(part in message.text for part in self._options.harmless) or message.type == "DEBUG":
            return False
        if message.type == "INFO":
            return bool(_LACKING.search(message.text))
        return message.type in ("ERROR", "FATAL") or not _HARMLESS.search(message.text)

    def _silence(self, oldest: int | None) -> list[Remark]:
        if oldest is not None:
            return []
        detail = (
            f"no event of {self._options.index} can be seen: it is not there, the role may not search it, or nothing was ever written. "
            "Check options.index and the role's srchIndexesAllowed"
        )
        return [Remark("silent", detail)]

    def access(self) -> list[Grant]:
        """Who may read, add to, delete or end the logs, by roles and users.

        Raises:
            SourceError: Splunk does not show them to us; names the capability that is lacking.
        """
        with self._opening.http() as http:
            return grants(http, self._options.index)

    def probe(self) -> list[Probe]:
        """Whether it can be reached and read, as whom, what is lacking, and what to ask for."""
        from audit_pipeline.sources._splunk_probe import probes

        try:
            with self._opening.http() as http:
                return probes(http, self._options, self._opening.clock.now())
        except SourceError as error:
            return [Probe("reach", False, str(error))]
