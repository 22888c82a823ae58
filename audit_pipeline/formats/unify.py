"""The events of a day: the records that the index gives it, without extra copies, as OCSF columns, streamed into one file.

Belongs here: the plan (which record wins), the stream, the one DuckDB statement. Not here: what the columns mean (the format).
Only members that hold a winner are read; only winning records are parsed; memory is bounded by a batch and one member.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from audit_pipeline import __version__
from audit_pipeline.errors import LakeError
from audit_pipeline.formats import indexing
from audit_pipeline.formats.base import Format, trusting
from audit_pipeline.formats.inflate import Inflated, inflate
from audit_pipeline.formats.places import Places, Placing, column
from audit_pipeline.formats.records import harmless, texts
from audit_pipeline.formats.routed import Reading, Routed
from audit_pipeline.lake import computed, manifest, raw
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import INDEX_SCHEMA, TABLES
from audit_pipeline.lake.views import add_view, connect, protocol, quote
from audit_pipeline.ocsf.columns import COLUMNS, DRIVER, EVENT_SCHEMA

BATCH_BYTES = 8 * 2**20
ROW_GROUP = 8_192
"""Rows; small enough that the buffers of a group stay in the processor's cache while it is encoded."""

_PLAN = """
WITH good AS (SELECT key_hash, content_hash, version, sequence, line, visible_time, time FROM idx WHERE reason IS NULL),
keyed AS (SELECT key_hash, count(*) AS n, any_value(sequence) AS sequence, any_value(line) AS line, any_value(time) AS time, any_value(visible_time) AS visible_time FROM good GROUP BY key_hash),
several AS (
  SELECT key_hash, sequence, line, time, visible_time, count(*) OVER same AS n, dense_rank() OVER (same ORDER BY content_hash) AS content,
         row_number() OVER (same ORDER BY version DESC NULLS LAST, visible_time DESC NULLS LAST, content_hash DESC, sequence, line) AS place
  FROM good SEMI JOIN (SELECT key_hash FROM keyed WHERE n > 1) USING (key_hash) WINDOW same AS (PARTITION BY key_hash)),
versions AS (SELECT key_hash, max(content) AS versions FROM several GROUP BY key_hash)
SELECT sequence, line, time, visible_time, 1::INTEGER AS records, 0::INTEGER AS duplicates FROM keyed WHERE n = 1
UNION ALL
SELECT sequence, line, time, visible_time, n::INTEGER, (n - versions)::INTEGER FROM several JOIN versions USING (key_hash) WHERE place = 1
"""


@dataclass(frozen=True)
class Built:
    """What a day's build gave."""

    events: int
    records: int
    duplicates: int
    rejects: int
    input_hash: str


@dataclass(frozen=True)
class _Winners:
    """The winning records of one segment, by line."""

    line: npt.NDArray[np.int64]
    time: pa.Array
    visible: pa.Array
    records: pa.Array
    duplicates: pa.Array


def build(lake: Lake, source: str, form: Format, day: dt.date) -> Built:
    """Make `events` and `rejects` of a source and day from raw and index; replaces what was there.

    Raises:
        LakeError: raw or index cannot be read, or the result cannot be written; says where and what to do.
    """
    con = _engine(lake)
    trouble: list[OSError] = []
    try:
        _index_view(con, lake, source, form, day)
        wanted = indexing.input_hash(lake, source, day)
        winners = _plan(con)
        with lake.staged(TABLES["events"].file(day, source)) as temporary:
            read = functools.partial(_remembering, trouble=trouble)
            for schema, select, batches in _attempts(lake, source, form, day, winners):
                con.register("batch", pa.RecordBatchReader.from_batches(schema, read(batches)))
                if _written(con, _copy(select, str(temporary), wanted), trouble):
                    break
            events, records, duplicates = _counts(con, str(temporary))
        planned = sum(len(found.line) for found in winners.values())
        if events != planned:
            raise LakeError(
                f"{source} {day}: {planned} events were planned and {events} written. Run `audit-pipeline verify`: raw and index disagree."
            )
        rejects = con.sql(
            "SELECT source, day, segment, member, line, reason, detail, raw FROM idx WHERE reason IS NOT NULL ORDER BY sequence, member, line, detail"
        ).to_arrow_table()
        lake.write_table("rejects", rejects, day, source, {"input_hash": wanted})
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.InvalidInputException) as error:
        if isinstance(error, duckdb.InvalidInputException) and not trouble:
            raise
        why = trouble[0] if trouble else str(error).splitlines()[0]
        raise LakeError(
            f"lake {lake.root}: events of {source} {day} cannot be made ({why}). Make room or mend the rights, then run again: nothing is lost."
        ) from error
    finally:
        con.close()
    return Built(events, records, duplicates, rejects.num_rows, wanted)


def _attempts(
    lake: Lake, source: str, form: Format, day: dt.date, winners: dict[int, _Winners]
) -> Iterator[tuple[pa.Schema, str, Iterator[pa.RecordBatch]]]:
    """What `batch` holds and what is selected of it: trusting the records first, then without trust.

    Records of several formats are mapped on the way to the statement.
    """
    if isinstance(form, Routed):
        yield EVENT_SCHEMA, "FROM batch", _mapped(lake, source, form, day, _stream(lake, source, form, winners))
        return
    reading = Reading.by(form)
    for record in (trusting(reading.record), reading.record):
        yield _BATCH, _select(reading, record, source, day), _stream(lake, source, form, winners)


def _mapped(
    lake: Lake, source: str, form: Routed, day: dt.date, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The same records as events, each by its own format, a batch at a time: a reader can be scanned only once."""
    with _engine(lake) as con:
        for batch in batches:
            for part in form.parts(text.encode() for text in batch["raw"].to_pylist()):
                pairs = list(texts(part.records))
                doc, raw_ = (pa.array(column_, pa.string_view()) for column_ in zip(*pairs, strict=True))
                about = [batch[name].take(pa.array(part.rows, pa.int64())) for name in _BATCH.names[2:]]
                con.register("batch", pa.table([doc, raw_, *about], schema=_BATCH))
                for record in (trusting(part.reading.record), part.reading.record):
                    if _written(con, f"CREATE OR REPLACE TEMP TABLE mapped AS {_select(part.reading, record, source, day)}", []):  # fmt: skip
                        break
                yield from con.table("mapped").to_arrow_table().cast(EVENT_SCHEMA).to_batches()


def _engine(lake: Lake) -> duckdb.DuckDBPyConnection:
    con = connect(lake, tables=(), alone=True)
    # This optimizer makes joins of the IN lists inside CASE: every row then pays for branches it never takes, in one thread.
    con.execute("SET disabled_optimizers = 'in_clause'")
    return con


def _written(con: duckdb.DuckDBPyConnection, statement: str, trouble: list[OSError]) -> bool:
    """Run the statement; false where it met a text that is no JSON, which only a guarded one passes over."""
    try:
        con.execute(statement)
    except duckdb.InvalidInputException as error:
        if trouble or "Malformed JSON" not in str(error):
            raise
        return False
    return True


def stale(lake: Lake, source: str) -> list[dt.date]:
    """Computed days whose report was not made from what raw and index give now: late or repeated records came since, or the run was killed."""
    known = indexing.markers(lake, source)
    return [
        day
        for day in lake.days("events", source)
        if computed.made_from(lake, day).get(source) != indexing.input_hash(lake, source, day, known)
    ]


def _index_view(con: duckdb.DuckDBPyConnection, lake: Lake, source: str, form: Format, day: dt.date) -> None:
    prefix = "" if lake.local else f"{protocol(lake)}://"
    files = [prefix + lake.path(path) for path in indexing.day_files(lake, source, form, day)]
    add_view(con, "idx", INDEX_SCHEMA, files)


def _plan(con: duckdb.DuckDBPyConnection) -> dict[int, _Winners]:
    """Winners by sequence: of equal keys the newest version (as the source counts, else by visible time), then the greatest content hash, so that order of collection does not matter."""
    table = con.sql(_PLAN).to_arrow_table().combine_chunks()
    table = table.sort_by([("sequence", "ascending"), ("line", "ascending")])
    sequences = table["sequence"].to_numpy()
    found: dict[int, _Winners] = {}
    for sequence in np.unique(sequences):
        start, end = np.searchsorted(sequences, [sequence, sequence + 1])
        part = table.slice(start, end - start).combine_chunks()
        arrays = {
            name: part[name].combine_chunks() if part.num_rows else part[name]
            for name in ("time", "visible_time", "records", "duplicates")
        }
        found[int(sequence)] = _Winners(
            part["line"].to_numpy(), arrays["time"], arrays["visible_time"], arrays["records"], arrays["duplicates"]
        )
    return found


_TIME = pa.timestamp("us", tz="UTC")
_BATCH = pa.schema(
    [
        ("doc", pa.string_view()), ("raw", pa.string_view()), ("line", pa.int64()), ("time", _TIME), ("visible_time", _TIME), ("collected_time", _TIME),
        ("segment", pa.string()), ("records", pa.int32()), ("duplicates", pa.int32()),
    ]
)  # fmt: skip


def _stream(lake: Lake, source: str, form: Format, winners: dict[int, _Winners]) -> Iterator[pa.RecordBatch]:
    """Winning records, in batches of bounded size."""
    markers = indexing.markers(lake, source)
    placing = form if isinstance(form, Placing) else None
    for sequence, found in winners.items():
        entry = manifest.read(lake, source, sequence)
        begins = np.concatenate([[0], np.cumsum(markers[sequence].counts, dtype=np.int64)])
        owners = np.searchsorted(begins, found.line, side="right") - 1
        numbers, starts = np.unique(owners, return_index=True)
        bounds = [*starts.tolist(), len(found.line)]
        collected = pa.scalar(dt.datetime.fromisoformat(entry.collected_at), _TIME)
        kept: list[Places] = []
        size = first = 0
        clean = True
        for place, (number, data) in enumerate(raw.members(lake, entry, numbers.tolist())):
            inflated = inflate(data, entry.members[number].name)
            placed = _placed(form, placing, inflated)
            local = found.line[bounds[place] : bounds[place + 1]] - begins[number]
            kept.append(placed if len(local) == len(placed.start) else placed.take(local))
            size += len(inflated.data)
            clean = clean and harmless(inflated.data)
            if size >= BATCH_BYTES:
                yield _batch(kept, clean, found, first, entry.segment, collected)
                first, kept, size, clean = bounds[place + 1], [], 0, True
        if kept:
            yield _batch(kept, clean, found, first, entry.segment, collected)


def _placed(form: Format, placing: Placing | None, inflated: Inflated) -> Places:
    """The member's records: as they lie in it where the format can tell, else split."""
    found = placing.places(inflated.data) if placing is not None and inflated.whole else None
    return found if found is not None else Places.of(form.split(inflated.data, inflated.whole).records)


def _remembering(batches: Iterator[pa.RecordBatch], trouble: list[OSError]) -> Iterator[pa.RecordBatch]:
    """The same batches; what could not be read is kept, since the engine would pass it on as text only."""
    try:
        yield from batches
    except OSError as error:
        trouble.append(error)
        raise


def _batch(
    kept: list[Places], clean: bool, found: _Winners, first: int, segment: str | None, collected: pa.Scalar
) -> pa.RecordBatch:
    n = sum(len(part.start) for part in kept)
    doc, text = _text_columns(kept, clean)
    zeros = pa.array(np.zeros(n, dtype=np.int64))
    columns = [
        doc, text, pa.array(found.line[first : first + n]), found.time.slice(first, n), found.visible.slice(first, n), pa.array([collected.as_py()], _TIME).take(zeros),
        pa.array([segment], pa.string()).take(zeros), found.records.slice(first, n), found.duplicates.slice(first, n),
    ]  # fmt: skip
    return pa.record_batch(columns, schema=_BATCH)


def _text_columns(kept: list[Places], clean: bool) -> tuple[pa.Array, pa.Array]:
    """Text to parse and text to keep; two different columns only where the engine would refuse a record as it is."""
    if clean:
        text = column(kept)
        return text, text
    pairs = [pair for part in kept for pair in texts(part.records())]
    return pa.array([doc for doc, _ in pairs], pa.string_view()), pa.array(
        [text for _, text in pairs], pa.string_view()
    )


def _select(reading: Reading, record: str, source: str, day: dt.date) -> str:
    """Transform and map what `batch` holds. An event that the engine cannot read stays, as Base Event with its raw text."""
    own = {
        "day": f"DATE {quote(day.isoformat())}", "time": '"time"', "x_source": quote(source), "x_format": quote(reading.label),
        "x_collected_time": "collected_time", "x_visible_time": "visible_time", "x_segment": "segment", "x_line": "line", "x_records": "records",
        "x_duplicates": "duplicates", "raw_data": "raw",
        **{name: f"coalesce({_with_kind(reading, name)}, 0)" for name in ("class_uid", "category_uid", "activity_id", "type_uid", "severity_id")},
    }  # fmt: skip
    chosen = ", ".join(
        f'({own.get(c.name) or reading.columns.get(c.name, "NULL")})::{_SQL[str(c.kind)]} AS "{c.name}"'
        for c in COLUMNS
    )
    kind = reading.columns["type_uid"]
    return f"SELECT {chosen} FROM (SELECT *, {kind} AS kind FROM (SELECT *, {record} AS r FROM batch))"


def _copy(select: str, target: str, wanted: str) -> str:
    """Write what is selected, with what it was made from."""
    note = {
        "table": "events",
        "schema_version": str(TABLES["events"].version),
        "code_version": __version__,
        "input_hash": wanted,
    }
    kv = ", ".join(f"{quote('audit_pipeline.' + key)}: {quote(value)}" for key, value in note.items())
    return f"COPY ({select}) TO {quote(target)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{kv}}})"


_LONG = 200


def _with_kind(reading: Reading, name: str) -> str:
    """A column that is made of the event's type, said by the name that it has in the inner select: the plan takes half the time."""
    kind = reading.columns["type_uid"]
    return reading.columns[name].replace(kind, "kind") if len(kind) > _LONG else reading.columns[name]


_SQL = {
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    "double": "DOUBLE",
}


def _counts(con: duckdb.DuckDBPyConnection, path: str) -> tuple[int, int, int]:
    query = "SELECT count(*), coalesce(sum(x_records), 0), coalesce(sum(x_duplicates), 0) FROM read_parquet(?)"
    ((events, records, duplicates),) = con.execute(query, [path]).fetchall()
    return int(events), int(records), int(duplicates)


assert set(DRIVER) <= {column.name for column in COLUMNS}  # noqa: S101 - two registries of one module's names
