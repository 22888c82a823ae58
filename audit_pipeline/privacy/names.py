"""Which recorded names may be printed: people type their passwords where a user name belongs.

Belongs here: the rule, and putting something else in place of a name. Not here: pseudonyms of known accounts (`reports.pseudonyms`).

A name that only ever failed to sign in is not printed outside `raw` and `events`, unless the inventory (`identities.csv`) lists it:
it may be a password (OWASP Logging Cheat Sheet, "data to exclude"). In its place stands `(unlisted name)` with a token, so that two
of them stay two, and `audit-pipeline reveal` can tell.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Container, Iterable

import duckdb
import pyarrow as pa

from audit_pipeline.context.identities import identities
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.privacy.masks import mask
from audit_pipeline.privacy.pseudonyms import key, token
from audit_pipeline.settings import Settings

UNLISTED = "(unlisted name)"
NAME_COLUMNS = ("user_name", "actor_user_name", "x_actor", "x_account")
"""columns of `events` that hold what somebody gave as a name"""
LOOKED_BACK = dt.timedelta(days=30)
"""an account that nobody lists and that did nothing with success for so long is not known any more"""
_AUTHENTICATION = 3002
_TRIED = f"(class_uid = {_AUTHENTICATION} OR http_response_code = 401)"
"""events of signing in: there, other columns of the record may repeat what was typed"""


def failed_names(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Names that were given where somebody tried to sign in without success, in the view `events` of the connection."""
    query = f"SELECT DISTINCT {', '.join(_columns(con))} FROM events WHERE {_TRIED} AND status_id IS DISTINCT FROM 1"
    return frozenset(str(name) for row in con.sql(query).fetchall() for name in row if name is not None)


def shown_names(con: duckdb.DuckDBPyConnection, names: Iterable[str]) -> frozenset[str]:
    """Of names that failed to sign in, those that may be printed: listed in the inventory, or known to be an account.

    An account is known by a success: it signed in, or it did something else that succeeded.

    Args:
        con: has the view `events`, of all days that may tell, and the table `identities` where there is an inventory.
        names: what was given as a name.
    """
    wanted = sorted(set(names))
    if not wanted:
        return frozenset()
    con.register("wanted_names", pa.table({"name": pa.array(wanted, pa.string())}))
    try:
        proving = ", ".join(
            f"CASE WHEN class_uid = {_AUTHENTICATION} THEN user_name END" if column == "user_name" else column
            for column in _columns(con)
        )
        names_of = f"SELECT unnest([{proving}]) AS name FROM events WHERE status_id = 1"  # one scan for all columns
        known = f"SELECT DISTINCT name FROM ({names_of}) WHERE name IN (SELECT name FROM wanted_names)"
        shown = {str(row[0]) for row in con.sql(known).fetchall()}
    finally:
        con.unregister("wanted_names")
    return frozenset(shown | (_listed(con) & set(wanted)))


def _columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    have = {row[0] for row in con.execute("SELECT column_name FROM (DESCRIBE events)").fetchall()}
    return [column for column in NAME_COLUMNS if column in have]


def _listed(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Accounts and persons of the inventory; none without one."""
    tables = "SELECT 1 FROM information_schema.tables WHERE table_name = 'identities'"
    if not con.execute(tables).fetchall():
        return set()
    found = con.execute("SELECT account, person FROM identities").fetchall()
    return {str(value) for row in found for value in row if value is not None}


def conceal_for(settings: Settings, lake: Lake, con: duckdb.DuckDBPyConnection, until: dt.date) -> Callable[[str], str]:
    """What tables made from the events of `con` may hold of a recorded value: see `concealer`.

    An account is known by what it did on the `LOOKED_BACK` days up to `until`: later days change nothing of what is made of
    earlier ones.

    Raises:
        UserError: the key of the tokens cannot be read or made.
    """
    failed = failed_names(con)
    unproven = failed - shown_names(con, failed)

    @functools.cache
    def hidden() -> frozenset[str]:
        with connect(lake, since=until - LOOKED_BACK, until=until, tables=["events"]) as history:  # as stored
            if (listed := identities(settings)) is not None:
                history.register("identities", listed)
            return unproven - shown_names(history, unproven)

    return concealer(_Unproven(unproven, hidden), key(settings, lake))


class _Unproven(Container[str]):
    """Names that may not be printed. Most accounts show up on the day itself: the days before are read when another is asked for."""

    def __init__(self, names: frozenset[str], hidden: Callable[[], frozenset[str]]) -> None:
        self._names = names
        self._hidden = hidden

    def __contains__(self, name: object) -> bool:
        return name in self._names and name in self._hidden()


def concealer(hidden: Container[str], secret: bytes) -> Callable[[str], str]:
    """A function from a recorded value to what may be printed: hidden names and secret-shaped values give way to a token.

    Args:
        hidden: names that may not be printed.
        secret: the key of the tokens; different values keep different tokens, so that groups stay apart.
    """

    def conceal(value: str) -> str:
        if value in hidden:
            return f"{UNLISTED} {token(value, secret, exact=True)}"
        clean = mask(value)
        return value if clean == value else f"{clean} {token(value, secret, exact=True)}"

    return conceal
