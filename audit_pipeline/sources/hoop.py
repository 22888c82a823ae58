"""hoop.dev: the gateway's sessions, followed until nothing more becomes of them, with their reviews; and its admin audit log.

Belongs here: the window, the second count, which sessions are followed, what says that something is missing. Not here: the requests
(`_hoop`), what records mean (`formats.hoop`), what `check` tries (`_hoop_probe`). Plain HTTP: there is no client by the vendor for Python.

A session is listed by its beginning and changes afterwards, so those that may still change stand in the chain's entry (`request.open`)
beside the checkpoint, and are asked for by their id at each collection until they are final. A review is part of its session, as the
gateway sends it; `/api/reviews` is not read: it has neither window nor pages, and says nothing that the sessions do not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.formats.hoop import is_final
from audit_pipeline.lake.manifest import Entry, Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sections import Duration, Section
from audit_pipeline.sources._clocks import earlier
from audit_pipeline.sources._hoop import ACTS, SECOND, SESSIONS, Gateway, Me, Page, moment_of
from audit_pipeline.sources.base import Collection, Grant, Opening, Probe, Right, SourceError, last_whole, selector
from audit_pipeline.sources.http import json_value

RECOUNTED_DAYS = 7
"""So many whole days before the end of a window are counted at the gateway: later records show in them."""
_RIGHTS: dict[str, tuple[Right, ...]] = {"admin": ("read", "stop"), "auditor": ("read",)}
"""An admin may change connections, rules and who is admin, and kill sessions; the API deletes no session, for nobody."""


class Options(Section):
    """What is read of a gateway."""

    audit_log: bool = Field(default=True, description="whether to read the admin audit log; false: sessions alone, for gateways without it")  # fmt: skip
    look_back: Duration = Field(default=dt.timedelta(hours=1), description="how far behind the last collection is read again, for sessions that were written late")  # fmt: skip
    lag: Duration = Field(default=dt.timedelta(minutes=2), description="how fresh records are left for the next collection")  # fmt: skip
    follow: Duration = Field(default=dt.timedelta(days=30), description="how long after its beginning a session that has not ended, or waits for its review, is asked for again")  # fmt: skip


EXAMPLE = """\
  hoop:
    type: hoop
    format: hoop
    http:
      url: https://hoop.example.com    # change this: the gateway, without /api
      auth:
        bearer: {env: AUDIT_HOOP_KEY, file: null}   # an API key (hpk_...) of the group auditor; a secret is read from env: NAME or file: PATH
        # headers: {Api-Key: {env: AUDIT_HOOP_KEY}}  # for the older key of a whole organisation
      ca_file: null                # PEM file of a private authority; null: those that the system trusts
      timeout: 60s                 # how long one answer may take
      budget: 30m                  # how long a collection may take, with all that is tried again
    options:
      audit_log: true              # false for a gateway that has no admin audit log
      look_back: 1h                # how far behind the last collection is read again, for sessions that were written late
      lag: 2m                      # how fresh records are left for the next collection
      follow: 30d                  # how long a session that has not ended, or waits for its review, is asked for again
    settles_after: 2h
"""


@dataclass(frozen=True)
class _Past:
    """What the chain says of earlier collections with the same selection."""

    checkpoint: dt.datetime | None = None
    """up to where everything was read"""
    since: dt.datetime | None = None
    """from where on everything was read"""
    counted: dict[str, int] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    """session to its beginning, of those that were not final"""
    seen: frozenset[str] = frozenset()
    """the lists that had anything"""

    @classmethod
    def of(cls, entries: list[Entry], chosen: str) -> _Past:
        request = last_whole(entries, chosen)
        if request is None:
            return cls()
        return cls(
            dt.datetime.fromisoformat(request["checkpoint"]),
            dt.datetime.fromisoformat(request["from"]),
            request.get("counted") or {},
            request.get("open") or {},
            frozenset(request.get("seen") or ()),
        )


@dataclass
class _Heard:
    """What the pages of this collection say."""

    open: dict[str, str] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    oldest: dict[str, dt.datetime] = field(default_factory=dict)
    """list to the beginning of its oldest record"""

    def page(self, kind: str, page: Page) -> None:
        """Records of a list; one without a readable beginning becomes a reject, and nothing more is asked about it."""
        for row in page.rows:
            start = moment_of(row.get("start_date" if kind == SESSIONS else "created_at"))
            if start is None:
                continue
            self.oldest[kind] = min(self.oldest.get(kind, start), start)
            if kind == SESSIONS:
                self.state(str(row.get("id")), rfc3339(start), row)

    def state(self, uid: str, start: str, row: dict[str, Any]) -> None:
        """A session's newest state."""
        self.sessions.add(uid)
        if is_final(row):
            self.open.pop(uid, None)
        else:
            self.open[uid] = start


def open_source(opening: Opening) -> HoopSource:
    """The configured gateway."""
    return HoopSource(opening)


class HoopSource:
    """A hoop.dev gateway; see the module."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._options: Options = opening.options
        self._start = opening.start

    @property
    def _selector(self) -> str:
        """What is read: with another selection nothing of it was read yet."""
        return selector(list(self._kinds))

    @property
    def _kinds(self) -> list[str]:
        return [SESSIONS, ACTS] if self._options.audit_log else [SESSIONS]

    def collect(self, collection: Collection) -> Iterator[Item]:
        """The lists of the window from the last whole collection, less `look_back`, up to `lag` before now; then sessions that were not final.

        Raises:
            SourceError: the gateway cannot be read to the end; the pages before are kept, and read again next time.
        """
        past, heard = _Past.of(collection.known, self._selector), _Heard()
        with self._opening.http() as http:
            gateway = Gateway(http)
            me = gateway.me()
            until = self._until(collection, me.date)
            kinds = self._kinds if me.sees_all else [SESSIONS]
            gateway.trouble += self._limited(me)
            counted = self._count(gateway, until) if me.sees_all else {}
            first = self._widened(past, counted, self._first(past, until))
            since = min(past.since or self._start, self._start)
            collection.request.update({
                "from": rfc3339(since), "to": rfc3339(until), "window": [rfc3339(first), rfc3339(until)], "selector": self._selector,
                "counted": counted, "read": kinds,
            })  # fmt: skip
            for kind in kinds:
                for page in gateway.sessions(first, until) if kind == SESSIONS else gateway.acts(first, until):
                    heard.page(kind, page)
                    if page.rows:
                        yield _item(page)
            for page in self._followed(gateway, past, heard, collection):
                yield _item(page)
            self._lost(gateway, past, heard, until, collection)
            if me.sees_all:  # whoever lost the role while the lists were read got short ones without a word
                gateway.trouble += self._limited(gateway.me())
            collection.remarks += [Remark("source_partial", detail) for detail in gateway.trouble]
            if not gateway.trouble:
                seen = sorted(past.seen | set(heard.oldest))
                collection.request.update({"checkpoint": rfc3339(until), "open": heard.open, "seen": seen})

    def _limited(self, me: Me) -> list[str]:
        """Why not everybody's sessions are shown."""
        if me.sees_all:
            return []
        return [f"the key of {me.name} has the role {me.role}: the gateway shows it its own sessions and those that it may review, and nothing else. Put it into the group auditor"]  # fmt: skip

    def _until(self, collection: Collection, theirs: dt.datetime | None) -> dt.datetime:
        """The end of the window in whole seconds: `lag` before now, by the clock that is behind."""
        return (earlier(collection, theirs, "the gateway's") - self._options.lag).replace(microsecond=0)

    def _first(self, past: _Past, until: dt.datetime) -> dt.datetime:
        """The begin of the window: all where nothing was read yet, or where `start` was moved back."""
        if past.checkpoint is None or past.since is None or self._start < past.since:
            return min(self._start, until)
        return min(until, max(self._start, past.checkpoint - self._options.look_back).replace(microsecond=0))

    def _count(self, gateway: Gateway, until: dt.datetime) -> dict[str, int]:
        """The gateway's own count of the last whole days, as of just before they are read."""
        days = [until.date() - n * DAY for n in range(RECOUNTED_DAYS, 0, -1)]
        return {
            day.isoformat(): sum(gateway.count(kind, day) for kind in self._kinds)
            for day in days
            if midnight(day) >= self._start
        }

    def _widened(self, past: _Past, counted: dict[str, int], first: dt.datetime) -> dt.datetime:
        """Back to a day that has more records than when it was counted last: they came later than `look_back` allows for."""
        grown = [day for day, n in counted.items() if n > past.counted.get(day, n)]
        return min([first, *(midnight(dt.date.fromisoformat(day)) for day in grown)])

    def _followed(self, gateway: Gateway, past: _Past, heard: _Heard, collection: Collection) -> Iterator[Page]:
        """The sessions that were not final when they were seen last, and not in the window."""
        oldest = collection.now - self._options.follow
        gone, given_up = [], 0
        for uid, start in past.open.items():
            if uid in heard.sessions:
                continue
            if dt.datetime.fromisoformat(start) < oldest:
                given_up += 1
                continue
            page = gateway.session(uid)
            if page is None:
                gone.append((uid, start))
                continue
            heard.state(uid, start, page.rows[0])
            yield page
        collection.request["given_up"] = given_up
        for uid, start in gone:
            detail = f"session {uid} of {start} is no longer at the gateway (404): what became of it was not seen"
            collection.remarks.append(Remark("source_partial", detail))
            begun = dt.datetime.fromisoformat(start)
            _unread(collection, begun, begun + SECOND, detail)

    def _lost(self, gateway: Gateway, past: _Past, heard: _Heard, until: dt.datetime, collection: Collection) -> None:
        """The stretch behind the last collection that may have been deleted unread: nothing older is left to show that it was not."""
        if past.checkpoint is None:
            return
        for kind in sorted(past.seen & set(self._kinds)):
            if not gateway.any_before(kind, past.checkpoint):
                oldest = max(heard.oldest.get(kind, until), past.checkpoint + SECOND)
                detail = (
                    f"{kind}: nothing of before {rfc3339(past.checkpoint)}, where the collection before ended, is left at the gateway: what came then "
                    f"up to {rfc3339(oldest)} may have been deleted unread. Collect more often than its database is pruned"
                )
                _unread(collection, past.checkpoint, oldest, detail)

    def access(self) -> list[Grant]:
        """Who sees everybody's sessions, and who may change what is recorded: the users of the groups admin and auditor.

        Raises:
            SourceError: the key may not list users.
        """
        with self._opening.http() as http:
            users = http.request("GET", "/api/users", read=json_value).data
        if not isinstance(users, list):
            raise SourceError("GET /api/users: the answer is no list of users.")
        active = [user for user in users if isinstance(user, dict) and user.get("status") != "inactive"]
        return sorted(
            (
                Grant(f"user:{user.get('email') or user.get('id')}", right, f"group {user['role']}")
                for user in active
                for right in _RIGHTS.get(str(user.get("role")), ())
            ),
            key=lambda grant: (grant.principal, grant.right),
        )

    def probe(self) -> list[Probe]:
        """Whether it can be reached and read, as whom, what is lacking, and what to ask for."""
        from audit_pipeline.sources._hoop_probe import probes

        try:
            with self._opening.http() as http:
                return probes(http, self._opening.clock.now(), audit_log=self._options.audit_log)
        except SourceError as error:
            return [Probe("reach", False, str(error))]


def _item(page: Page) -> Item:
    return Item(page.body, Member(name=page.name, offset=0, length=0, sha256=""))


def _unread(collection: Collection, start: dt.datetime, end: dt.datetime, detail: str) -> None:
    """A loss that no later collection heals."""
    found = {"from": rfc3339(start), "to": rfc3339(end), "detail": detail}
    collection.request.setdefault("unread", []).append(found)
