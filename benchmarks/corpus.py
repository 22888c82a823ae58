"""Corpora for the benchmarks, made from the real CloudTrail set: more events, the same records, other ids."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from pathlib import Path

SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
REAL = SHARED / "cloudtrail_sans504"


def big(folder: Path, copies: int = 20, per_file: int = 200) -> int:
    """`copies` times the real set with fresh event ids, `per_file` events a gzip file; returns the number of events."""
    records = []
    for file in sorted(REAL.rglob("*.json.gz")):
        records += json.loads(gzip.decompress(file.read_bytes()))["Records"]
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    pending: list[str] = []
    for copy in range(copies):
        for place, record in enumerate(records):
            record["eventID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{copy}/{place}"))
            pending.append(json.dumps(record, separators=(",", ":"), ensure_ascii=False))
            if len(pending) == per_file:
                _write(folder, number, pending)
                number, pending = number + 1, []
    if pending:
        _write(folder, number, pending)
    return copies * len(records)


def _write(folder: Path, number: int, records: list[str]) -> None:
    name = f"111122223333_CloudTrail_eu-central-1_20210729T{number // 60 % 24:02d}{number % 60:02d}Z_{number:016d}.json.gz"
    (folder / name).write_bytes(gzip.compress(('{"Records":[' + ",".join(records) + "]}").encode(), 6, mtime=0))
