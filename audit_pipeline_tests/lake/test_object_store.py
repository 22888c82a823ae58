"""Logs and lake on an object store: the same promises as on a disk, over real requests to an S3 server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import s3fs
from botocore.exceptions import EndpointConnectionError  # type: ignore[import-untyped]

from audit_pipeline.errors import UsageError
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.lake.verify import verify
from audit_pipeline.lake.views import connect
from audit_pipeline.query import run
from audit_pipeline_tests.lake.s3 import BUCKET, server
from audit_pipeline_tests.sources.world import DAY, HOUR, SOURCE, World, document, packed, record

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore", "ignore::DeprecationWarning:moto")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with server() as found:
        yield found


@pytest.fixture
def lake(client: Any, request: pytest.FixtureRequest) -> Lake:
    return Lake.open(f"s3://{BUCKET}/{request.node.name.split('[')[0]}")


def test_what_is_written_is_read_listed_and_removed(lake: Lake, client: Any) -> None:
    assert not lake.local
    assert (lake.names("a"), lake.exists("a/b.txt")) == ([], False)
    lake.write("a/b.txt", b"0123456789")
    assert (lake.names("a"), lake.exists("a/b.txt")) == (["b.txt"], True)
    assert (lake.read("a/b.txt"), lake.read("a/b.txt", 3, 6), lake.read("a/b.txt", 7)) == (
        b"0123456789",
        b"345",
        b"789",
    )
    lake.write("a/b.txt", b"replaced")
    assert lake.read("a/b.txt") == b"replaced"
    assert client.get_object(Bucket=BUCKET, Key=lake.path("a/b.txt").split("/", 1)[1])["Body"].read() == b"replaced"
    lake.remove("a/b.txt")
    lake.remove("a/b.txt")
    assert lake.names("a") == []


def test_only_the_first_creates(lake: Lake) -> None:
    lake.create("x.json", b"first")
    with pytest.raises(FileExistsError):
        lake.create("x.json", b"second")
    assert lake.read("x.json") == b"first"


def test_a_table_comes_back_through_duckdb(lake: Lake) -> None:
    schema = TABLES["rejects"].schema
    rows = [{"source": "s", "day": DAY, "reason": "not_json", "raw": "' \" ; \n \U0001f600", "line": 7}]
    table = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
    lake.write_table("rejects", table, DAY, "s", {"input_hash": "abc"})
    assert (lake.table_metadata("rejects", DAY, "s") or {})["input_hash"] == "abc"
    assert lake.days("rejects", "s") == [DAY]
    with connect(lake, tables=["rejects", "events"]) as con:
        assert con.execute("SELECT raw, line FROM rejects").fetchall() == [(rows[0]["raw"], 7)]
        assert con.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_logs_and_lake_lie_in_buckets(client: Any, tmp_path: Path) -> None:
    """Collected from objects into objects, indexed, unified, verified; a change of one byte is named with its member."""
    logs = {
        "AWSLogs/1_CloudTrail_x_20250602T1205Z_a.json.gz": packed(record(1), record(2)),
        "AWSLogs/odd [1]?#%25 é.json": document(record(2), b'{"eventID":"undated"}'),
    }
    for key, data in logs.items():
        client.put_object(Bucket=BUCKET, Key=f"logs/{key}", Body=data)
    world = World(tmp_path, glob=f"s3://{BUCKET}/logs/**/*.json*", lake_url=f"s3://{BUCKET}/whole")
    # moto stamps objects with the machine's time, so the night is one after it
    now = max(item["LastModified"] for item in client.list_objects_v2(Bucket=BUCKET)["Contents"])
    (built,) = [b for day, b in world.night(now + HOUR).items() if day == DAY]
    assert (built.events, built.records, built.duplicates) == (2, 3, 1)
    assert (world.uids(), world.account()) == (["e-1", "e-2"], (3, 1, 4))
    (entry,) = manifest.entries(world.lake, SOURCE)
    assert [member.visible_from for member in entry.members] == ["delivery", "modified"]
    assert [world.lake.read(str(entry.segment))[m.offset : m.offset + m.length] for m in entry.members] == list(logs.values())  # fmt: skip
    assert world.collect(now + HOUR).members == 0
    assert verify(world.lake)[0] == []

    stored = world.lake.read(str(entry.segment))
    second = entry.members[1]
    at = second.offset + 5
    world.lake.write(str(entry.segment), stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])
    assert [(p.problem, p.file, p.member) for p in verify(world.lake)[0]] == [("changed_member", entry.segment, second.name)]  # fmt: skip
    world.lake.write(str(entry.segment), stored)

    later = Lake.open(f"s3://{BUCKET}/whole")  # a second collector of the same sequence
    with pytest.raises(FileExistsError):
        manifest.append(later, entry)


def test_a_bucket_that_is_not_there_is_a_failed_collection(client: Any, tmp_path: Path) -> None:
    world = World(tmp_path, glob="s3://nosuchbucket/logs/*.json")
    assert "nosuchbucket" in (world.collect().failed or "")


def test_a_store_that_goes_away_is_a_failed_collection(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The vendor's client has an error of its own for it, which is no `OSError`."""

    def away(*_: object, **__: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    s3fs.S3FileSystem.clear_instance_cache()  # one that is there has its methods bound already
    monkeypatch.setattr(s3fs.S3FileSystem, "glob", away)
    world = World(tmp_path, glob=f"s3://{BUCKET}/*")
    assert "cannot be listed (Could not connect" in (world.collect().failed or "")


def test_a_query_over_a_remote_lake_reads_no_file_of_this_machine(client: Any, tmp_path: Path) -> None:
    client.put_object(Bucket=BUCKET, Key="logs3/a.json", Body=document(record(1)))
    world = World(tmp_path, glob=f"s3://{BUCKET}/logs3/*", lake_url=f"s3://{BUCKET}/asked")
    now = client.head_object(Bucket=BUCKET, Key="logs3/a.json")["LastModified"]
    world.night(now + HOUR)
    (tmp_path / "secret.txt").write_text("hunter2")
    assert list(run(world.settings, "SELECT metadata_uid FROM events")[1]) == [("e-1",)]
    outside = [f"{tmp_path}/secret.txt", f"s3://{BUCKET}/logs3/a.json"]
    for sql in [*(f"FROM read_text('{path}')" for path in outside), f"FROM glob('{tmp_path}/*')"]:
        with pytest.raises(UsageError):
            list(run(world.settings, sql)[1])
    assert list(run(world.settings, f"FROM read_text('s3://{BUCKET}/asked/../logs3/a.json')")[1]) == []
