"""`identities.csv`: who is behind an account, of which kind, where, in which team, and from when to when.

Belongs here: reading and checking the inventory, and what it says of some days. Not here: the join with events (`tables`).
A row of source `*` holds for every source that has no rows of its own for that account. Accounts are compared exactly as recorded:
Linux, Kubernetes and AWS all tell `Root` from `root` in their records, and two accounts taken for one would hide somebody.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.context import csv_file
from audit_pipeline.context.csv_file import Row
from audit_pipeline.settings import Settings

NEEDED = ("source", "account", "person", "role", "kind", "zone", "team")
OPTIONAL = ("from", "to")
KINDS = ("human", "service")
EARLIEST, LATEST = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
_T = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in NEEDED),
        ("from", _T),
        ("to", _T),
    ]
)
"""Columns of the table `identities`: one row a source, account and time."""
KNOWN = ("person", "role", "kind", "zone", "team")
ACCOUNTS = pa.schema(
    [
        *((name, pa.string()) for name in NEEDED),
        ("spells", pa.list_(pa.struct([("from", _T), ("to", _T), *((name, pa.string()) for name in KNOWN)]))),
    ]
)
"""What holds all through some days; where it changes in them, `spells` has what holds when, and is null elsewhere."""


@dataclass(frozen=True)
class _Identity:
    row: Row
    source: str
    account: str
    since: dt.datetime
    until: dt.datetime

    @property
    def values(self) -> dict[str, object]:
        row = self.row
        return {
            "account": self.account, "person": row.text("person"), "role": row.text("role"), "kind": row.text("kind"), "zone": row.zone("zone"),
            "team": row.text("team"), "from": self.since, "to": self.until,
        }  # fmt: skip


def identities(settings: Settings) -> pa.Table | None:
    """The inventory by configured source; null where none is configured.

    Raises:
        ConfigError: the file is wrong; names file, line and remedy.
    """
    if settings.identities is None:
        return None
    file = Path(settings.resolve(settings.identities))
    try:
        found = file.stat()
        stamp = (found.st_mtime_ns, found.st_size)
    except OSError:
        stamp = (0, 0)  # the reader says what is wrong
    return _read(file, stamp, settings.file.name, tuple(settings.sources), tuple(settings.teams))


@functools.lru_cache(maxsize=4)
def _read(
    file: Path, _stamp: tuple[int, int], config: str, sources: tuple[str, ...], teams: tuple[str, ...]
) -> pa.Table:
    """Read once for each state of the file: a night asks for it fifteen times."""
    by_account: dict[tuple[str, str], list[_Identity]] = defaultdict(list)
    for row in csv_file.rows(file, NEEDED, OPTIONAL):
        found = _identity(row, config, sources, teams)
        by_account[found.source, found.account].append(found)
    for several in by_account.values():
        _refuse_overlap(several)
    rows = []
    for (source, account), listed in by_account.items():
        own = sources if source == "*" else [source]
        rows += [{"source": name, **one.values} for name in own for one in listed if source != "*" or (name, account) not in by_account]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _identity(row: Row, config: str, sources: tuple[str, ...], teams: tuple[str, ...]) -> _Identity:
    source, kind, team = row.needed("source"), row.needed("kind"), row.text("team")
    if source != "*" and source not in sources:
        raise row.error(f"source {source[:40]!r} is not configured; write * or one of {', '.join(sources)}.")
    if kind not in KINDS:
        raise row.error(f"kind is {kind[:40]!r}. Write human or service.")
    if team is not None and team not in teams:
        raise row.error(f"team {team[:40]!r} stands not under teams in {config}; known are {', '.join(teams) or 'none yet'}.")  # fmt: skip
    since, until = row.moment("from") or EARLIEST, row.moment("to") or LATEST
    if since >= until:
        raise row.error("from is not before to: the row would never count. Swap or remove one.")
    return _Identity(row, source, row.needed("account"), since, until)


def _refuse_overlap(found: list[_Identity]) -> None:
    found.sort(key=lambda one: one.since)
    for first, second in itertools.pairwise(found):
        if second.since < first.until:
            raise second.row.error(f"account {second.account[:60]!r} of {second.source} counts at the same time as in line {first.row.line}. Give both `from` and `to` that do not overlap.")  # fmt: skip


def accounts(listed: pa.Table, since: dt.date | None, until: dt.date | None) -> pa.Table:
    """One row for each source and account that counts at some time of these days (`ACCOUNTS`), so that a join doubles no event."""
    begin = midnight(since) if since else EARLIEST
    end = midnight(until) + DAY if until else LATEST
    throughout = pc.and_(pc.less_equal(listed["from"], begin), pc.greater_equal(listed["to"], end))
    always = listed.filter(throughout).select(NEEDED)
    spells: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in listed.filter(pc.invert(throughout)).to_pylist():
        if row["from"] < end and row["to"] > begin:
            spells[row["source"], row["account"]].append(row)
    changing = [{"source": source, "account": account, "spells": some} for (source, account), some in spells.items()]
    null = pa.nulls(always.num_rows, ACCOUNTS.field("spells").type)
    return pa.concat_tables([always.append_column("spells", null), pa.Table.from_pylist(changing, schema=ACCOUNTS)])
