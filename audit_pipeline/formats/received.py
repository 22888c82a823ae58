"""How many of a store's own records of a day were received, where these become events of other identities and times (`routed`).

Belongs here: one small file a segment and day of the store, beside the index: the hashes of the records' identities. Not here: what is
made of the number (`quality`). The store counts its documents by its own time; stages that are one event, and events of the day before
that it stored after midnight, must not look like a loss, nor hide one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_128_digest

from audit_pipeline.formats.rows import MemberRows
from audit_pipeline.lake.manifest import Entry
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import index_folder

_EPOCH = dt.date(1970, 1, 1)
_DAY_US = 86_400_000_000
_KEY = "key_hash"


def write(lake: Lake, entry: Entry, members: Sequence[MemberRows]) -> list[str] | None:
    """Keep them by day of the store; returns these days, or nothing where the format's events are the store's records."""
    if not any(member.own is not None for member in members):
        return None
    found: dict[str, set[bytes]] = {}
    for member in members:
        for key, time in member.own or ():
            if time is not None:  # the store's count by time has not counted it either
                found.setdefault(str(_EPOCH + dt.timedelta(days=time // _DAY_US)), set()).add(xxh3_128_digest(key))
    for day, hashes in found.items():
        table = pa.table({_KEY: pa.array(sorted(hashes), pa.binary(16))})
        with lake.staged(_file(entry.source, day, entry.sequence)) as temporary:
            pq.write_table(table, temporary, use_dictionary=False, compression="none", write_statistics=False)
    return sorted(found)


def count(lake: Lake, source: str, day: str, sequences: Sequence[int]) -> int:
    """How many different ones of a day of the store these entries hold; a file that was lost counts for nothing."""
    present = set(lake.names(f"{index_folder(source)}/own={day}"))
    tables = []
    for path in (_file(source, day, number) for number in sequences):
        if path.rsplit("/", 1)[1] in present:
            with lake.fs.open(lake.path(path), "rb") as file:
                tables.append(pq.read_table(file))
    return int(pc.count_distinct(pa.concat_tables(tables)[_KEY]).as_py()) if tables else 0


def _file(source: str, day: str, sequence: int) -> str:
    return f"{index_folder(source)}/own={day}/{sequence:08d}.parquet"
