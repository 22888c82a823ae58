"""Turning a token back into the name it stands for: a recorded act, with a person and a reason.

Belongs here: finding the name, and the record of who asked. Not here: making tokens (`pseudonyms`).

There is no table of tokens: the names that the lake knows are tried with the key. The act is a decision in the log of decisions
(hash-chained, append-only), recorded before the name is given out (GDPR article 32(1)(a); NIST SP 800-53 AU-14, AC-6(9)).
"""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterator

import duckdb
import sqlalchemy as sa

from audit_pipeline.clock import Clock, SystemClock
from audit_pipeline.context import connect
from audit_pipeline.errors import UsageError
from audit_pipeline.findings import decisions
from audit_pipeline.lake.store import Lake
from audit_pipeline.privacy.names import NAME_COLUMNS
from audit_pipeline.privacy.pseudonyms import ALPHABET, LENGTH, key, token
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

ACTION = "reveal"
_COLUMNS = (*NAME_COLUMNS, "resource_uid", "resource_name", "device_hostname", "src_endpoint_ip")
"""columns of `events` whose values reports may print, and so have tokens"""
_TOKEN = re.compile(rf"(?i)user-[{ALPHABET}]{{{LENGTH}}}")


def reveal(
    settings: Settings, given: str, *, reason: str, person: str | None = None, clock: Clock | None = None
) -> list[str]:
    """The names that a token stands for, usually one; who asked, when and why is on record when this returns.

    Args:
        settings: the lake, the key and the database of decisions.
        given: a token such as `user-4T2QX`.
        reason: why; it is kept for ever.
        person: who asks, recorded as `claimed`; `None`: the operating system's user, recorded as `os`.
        clock: when; `None`: the machine's.

    Raises:
        UsageError: it is no token, or nobody or no reason is given; nothing was looked up.
        UserError: the key or the database cannot be used.
    """
    if _TOKEN.fullmatch(given) is None:
        raise UsageError(f"reveal {given!r}: is no token. One looks like user-4T2QX; mails and reports print them.")
    if not reason.strip():
        raise UsageError("reveal: needs a reason; it is what others read later. Say it with --reason.")
    wanted = "user-" + given[-LENGTH:].upper()
    lake, engine = Lake.open(settings.lake_url), open_state(settings.state_url_resolved)
    try:
        secret = key(settings, lake)
        names = sorted(
            name
            for name in _names(settings, lake, engine)
            if wanted in (token(name, secret), token(name, secret, exact=True))
        )
        decisions.record(
            engine, finding_id=wanted, action=ACTION, person=_user() if person is None else person,
            identity="os" if person is None else "claimed", reason=reason, clock=clock or SystemClock(),
            payload={"names": len(names)},
        )  # fmt: skip
    finally:
        engine.dispose()
    return names


def _names(settings: Settings, lake: Lake, engine: sa.Engine) -> set[str]:
    """Everything that a report may have put a token in place of."""
    with connect(settings, lake, tables=["events", "detections"]) as con:
        found = set(_recorded(con))
        for row in con.execute("SELECT account, person FROM identities").fetchall():
            found |= {str(value) for value in row if value is not None}
    for decision in decisions.read(engine):
        found |= {decision.person, str(json.loads(decision.payload).get("owner") or "")}
    return found - {""}


def _recorded(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    have = {row[0] for row in con.execute("SELECT column_name FROM (DESCRIBE events)").fetchall()}
    columns = " UNION ".join(f"SELECT {name} FROM events" for name in _COLUMNS if name in have)
    query = f"{columns} UNION SELECT x_actor FROM detections UNION SELECT x_target FROM detections"
    yield from (str(row[0]) for row in con.execute(query).fetchall() if row[0] is not None)
    for row in con.execute("SELECT DISTINCT group_key FROM detections").fetchall():
        group = json.loads(row[0])
        yield from (value for value in group.values() if isinstance(value, str))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name (OSError since Python 3.13)
        raise UsageError("the operating system does not say who you are. Say it with --as.") from None
