"""The benchmarks measure what they say: a tiny run of every throughput case, on made-up records."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks import cases, corpus, peers
from benchmarks.run import Bench


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of four records; two of the records have the same id."""
    folder = tmp_path_factory.mktemp("source")
    for file in range(3):
        records = [_record(f"id-{max(1, file * 4 + n)}", n) for n in range(4)]
        name = f"111122223333_CloudTrail_eu-central-1_20210729T00{file:02d}Z_x{file}.json.gz"
        (folder / name).write_bytes(gzip.compress(json.dumps({"Records": records}).encode(), mtime=0))
    return folder


def _record(uid: str, n: int) -> dict[str, Any]:
    return {
        "eventVersion": "1.08", "eventID": uid, "eventTime": f"2021-07-29T00:00:0{n}Z", "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
        "readOnly": n % 2 == 0, "userIdentity": {"type": "IAMUser", "userName": f"user{n}"}, "sourceIPAddress": "192.0.2.1",
        "requestParameters": {"bucketName": "b", f"key{n}": n}, **({"errorCode": "AccessDenied"} if n == 3 else {}),
    }  # fmt: skip


def test_corpus_multiplies_records_with_ids_of_their_own(source: Path, tmp_path: Path) -> None:
    made = corpus.big(tmp_path / "big", source, copies=3, per_file=5)
    records = [r for f in Path(made.folder).iterdir() for r in json.loads(gzip.decompress(f.read_bytes()))["Records"]]
    assert (made.records, made.files) == (36, 8)
    assert len({record["eventID"] for record in records}) == len(records) == 36


def test_pipeline_case_counts_its_own_output_and_refuses_another_number(source: Path, tmp_path: Path) -> None:
    found = cases.pipeline(str(source), str(tmp_path / "lake"), 12)
    assert (found["n"], found["events"]) == (12, 11)
    assert found["wall"] >= sum(phase["wall"] for phase in found["phases"].values()) > 0
    with pytest.raises(SystemExit, match="13 records went in, 12"):
        cases.pipeline(str(source), str(tmp_path / "other"), 13)


def test_peers_write_the_same_columns_with_the_same_content(source: Path, tmp_path: Path) -> None:
    files = peers.files_of(str(source), 1)
    assert peers.pandas_path(files, tmp_path / "p.parquet", free=True) == 12
    assert peers.pandas_path(files, tmp_path / "q.parquet", free=False) == 12
    assert peers.structs_path(files, tmp_path / "s.parquet", processes=1) == 12
    tables = [pq.read_table(tmp_path / name).to_pylist() for name in ("p.parquet", "q.parquet", "s.0.parquet")]
    first, *others = [[_comparable(row) for row in table] for table in tables]
    assert all(other == first for other in others)
    assert {"time", "day", "class_uid", "actor_user_name", "raw_data"} <= set(tables[0][0])


def test_the_peer_with_orjson_writes_the_same_or_says_that_it_is_not_installed(source: Path, tmp_path: Path) -> None:
    files = peers.files_of(str(source), 1)
    if importlib.util.find_spec("orjson") is None:
        with pytest.raises(SystemExit, match="orjson is not installed"):
            peers.orjson_path(files, tmp_path / "o.parquet", processes=1)
        return
    assert peers.orjson_path(files, tmp_path / "o.parquet", processes=1) == 12
    peers.structs_path(files, tmp_path / "s.parquet", processes=1)
    found, expected = (pq.read_table(tmp_path / name).to_pylist() for name in ("o.0.parquet", "s.0.parquet"))
    assert [_comparable(row) for row in found] == [_comparable(row) for row in expected]


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in row.items() if name != "raw_data" and value is not None}


def test_a_case_runs_in_a_process_of_its_own_and_a_failure_is_told(source: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path, repeat=1)
    found = bench.group(
        {
            "good": ("pipeline", {"folder": str(source), "lake": "{run}/lake", "records": 12}),
            "bad": ("pipeline", {"folder": str(source), "lake": "{run}/lake", "records": 99}),
        }
    )
    assert found["good"].n == 12
    assert found["good"].peak_mb > 50
    assert found["bad"].failed == "99 records went in, 12 are accounted for"
