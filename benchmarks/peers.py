"""What people write without this project: the same files to zstd Parquet with pandas, and in two processes with typed structs or orjson.

Both map columns that lie in a record as they are, plus class, outcome and operation kind by a vectorised rule, and keep the record's
text. They leave out what has no such short form: hash chain, index by day, removal of extra copies, rejects (a damaged file stops
them), accountable identity, targets, addresses told from host names. So they do less for their time.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

PATHS = {
    "time": "eventTime", "metadata_uid": "eventID", "metadata_event_code": "eventType", "metadata_log_name": "eventCategory",
    "metadata_log_version": "eventVersion", "status_code": "errorCode", "status_detail": "errorMessage", "actor_user_name": "userIdentity.userName",
    "actor_user_uid": "userIdentity.arn", "actor_user_uid_alt": "userIdentity.principalId", "actor_user_type": "userIdentity.type",
    "actor_user_account_uid": "userIdentity.accountId", "actor_user_credential_uid": "userIdentity.accessKeyId", "actor_invoked_by": "userIdentity.invokedBy",
    "actor_idp_name": "userIdentity.identityProvider", "actor_session_issuer": "userIdentity.sessionContext.sessionIssuer.arn",
    "actor_session_is_mfa": "userIdentity.sessionContext.attributes.mfaAuthenticated", "src_endpoint_ip": "sourceIPAddress", "src_endpoint_uid": "vpcEndpointId",
    "dst_endpoint_hostname": "tlsDetails.clientProvidedHostHeader", "http_request_user_agent": "userAgent", "http_request_uid": "requestID",
    "api_operation": "eventName", "api_service_name": "eventSource", "api_version": "apiVersion", "cloud_region": "awsRegion",
    "cloud_account_uid": "recipientAccountId", "x_read_only": "readOnly",
}  # fmt: skip
"""Column to the dotted path of its field."""

_FREE = ("requestParameters", "responseElements", "additionalEventData", "serviceEventDetails", "resources")
"""Fields of any shape: json_normalize makes a column of every key in them."""


def files_of(folder: str, share: int) -> list[Path]:
    """Every `share`-th file."""
    return sorted(Path(folder).rglob("*.json.gz"))[::share]


def pandas_path(files: list[Path], target: Path, *, free: bool) -> int:
    """`gzip`, `json.loads`, `json_normalize` over batches of files, one Parquet file; returns the rows that lie in it.

    `free`: fields of any shape go through json_normalize too, as in the usual three lines; else they are removed before it, by hand.
    """
    import pandas as pd

    frames = []
    for start in range(0, len(files), 25):
        records = [
            r for file in files[start : start + 25] for r in json.loads(gzip.decompress(file.read_bytes()))["Records"]
        ]
        raw = [json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in records]
        for record in records if not free else ():
            for name in _FREE:
                record.pop(name, None)
        flat = pd.json_normalize(records).reindex(columns=list(PATHS.values()))
        flat.columns = pd.Index(list(PATHS))
        flat["raw_data"] = raw
        frames.append(_derived(flat))
    pd.concat(frames, ignore_index=True).to_parquet(target, compression="zstd", index=False)
    return _rows(target)


def _derived(flat: Any) -> Any:
    import numpy as np
    import pandas as pd

    flat["time"] = pd.to_datetime(flat["time"], utc=True, format="ISO8601")
    flat["day"] = flat["time"].dt.date
    flat["actor_session_is_mfa"] = flat["actor_session_is_mfa"].map({"true": True, "false": False}).astype("boolean")
    flat["x_read_only"] = flat["x_read_only"].astype("boolean")
    reads = flat["x_read_only"].fillna(value=False).to_numpy(dtype=bool)
    flat["class_uid"], flat["category_uid"] = np.int32(6003), np.int32(6)
    flat["activity_id"] = np.where(reads, 2, 99).astype(np.int32)
    flat["status_id"] = np.where(flat["status_code"].notna(), 2, 1).astype(np.int32)
    flat["type_uid"] = flat["class_uid"].astype(np.int64) * 100 + flat["activity_id"]
    return flat


def structs_path(files: list[Path], target: Path, processes: int = 2) -> int:
    """Typed structs (msgspec) and lists a column, the files split over processes, one Parquet file each; returns the rows."""
    return _in_processes(_structs_reader, files, target, processes)


def orjson_path(files: list[Path], target: Path, processes: int = 2) -> int:
    """The same with orjson: dictionaries, lists a column, each record's text made anew; returns the rows.

    Raises:
        SystemExit: orjson is not installed; it is no dependency of the project.
    """
    if importlib.util.find_spec("orjson") is None:
        raise SystemExit("orjson is not installed (pip install orjson)")
    return _in_processes(_orjson_reader, files, target, processes)


Columns = dict[str, list[Any]]
Reader = Callable[[list[bytes]], tuple[Columns, list[bytes]]]
"""Inflated files to columns and to the text of each record."""


def _in_processes(make_reader: Callable[[], Reader], files: list[Path], target: Path, processes: int) -> int:
    parts = [(make_reader, files[n::processes], target.with_suffix(f".{n}.parquet")) for n in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(_part, parts)
        pool.close()
        pool.join()
    return sum(_rows(path) for _, _, path in parts)


def _part(job: tuple[Callable[[], Reader], list[Path], Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from isal import isal_zlib

    make_reader, files, target = job
    reader = make_reader()
    writer: Any = None
    for start in range(0, len(files), 25):
        columns, raws = reader([isal_zlib.decompress(file.read_bytes(), 31) for file in files[start : start + 25]])
        times = (
            pa.array([stamp.replace("Z", "") for stamp in columns.pop("time")])
            .cast(pa.timestamp("us"))
            .cast(pa.timestamp("us", "UTC"))
        )
        reads, failed = columns["x_read_only"], columns["status_code"]
        table = pa.table(
            {
                "time": times, "day": times.cast(pa.date32()),
                **{name: pa.array(found, pa.bool_() if name == "x_read_only" else pa.string()) for name, found in columns.items()},
                "class_uid": pa.array([6003] * len(raws), pa.int32()), "category_uid": pa.array([6] * len(raws), pa.int32()),
                "activity_id": pa.array([2 if read else 99 for read in reads], pa.int32()), "status_id": pa.array([2 if f else 1 for f in failed], pa.int32()),
                "type_uid": pa.array([600302 if read else 600399 for read in reads], pa.int64()),
                "raw_data": pa.array(raws, pa.binary()).cast(pa.string()),
            }
        )  # fmt: skip
        writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd", compression_level=1)
        writer.write_table(table)
    writer.close()


def _structs_reader() -> Reader:
    decoder, split = msgspec.json.Decoder(_types()), msgspec.json.Decoder(_Document)
    getters = {name: _getter(path) for name, path in PATHS.items()}

    def read(texts: list[bytes]) -> tuple[Columns, list[bytes]]:
        raws = [raw for text in texts for raw in split.decode(text).Records]
        records = [decoder.decode(raw) for raw in raws]
        return {name: list(map(get, records)) for name, get in getters.items()}, [bytes(raw) for raw in raws]

    return read


def _orjson_reader() -> Reader:
    orjson = importlib.import_module("orjson")
    paths = {name: path.split(".") for name, path in PATHS.items()}

    def value(record: Any, path: list[str]) -> Any:
        for name in path:
            if record is None:
                return None
            record = record.get(name)
        return record

    def read(texts: list[bytes]) -> tuple[Columns, list[bytes]]:
        records = [record for text in texts for record in orjson.loads(text)["Records"]]
        columns = {name: [value(record, path) for record in records] for name, path in paths.items()}
        return columns, [orjson.dumps(record) for record in records]

    return read


class _Document(msgspec.Struct):
    Records: list[msgspec.Raw]


def _types() -> Any:
    """A struct of exactly the fields in `PATHS`; everything else is skipped while decoding."""
    tree: dict[str, Any] = {}
    for path in PATHS.values():
        *outer, leaf = path.split(".")
        place = tree
        for name in outer:
            place = place.setdefault(name, {})
        place[leaf] = bool | str if leaf == "readOnly" else str
    return _struct("Record", tree)


def _struct(name: str, tree: dict[str, Any]) -> Any:
    fields: list[tuple[str, Any, None]] = [
        (key, (_struct(key, kind) if isinstance(kind, dict) else kind) | None, None) for key, kind in tree.items()
    ]
    return msgspec.defstruct(name, fields, gc=False)


def _getter(path: str) -> Callable[[Any], Any]:
    names = path.split(".")

    def get(record: Any) -> Any:
        for name in names:
            if record is None:
                return None
            record = getattr(record, name)
        return record

    return get


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)
