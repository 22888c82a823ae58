"""Corpora for the benchmarks, made from the real CloudTrail set: more events, the same records, other ids.

Without the real set (`AUDIT_PIPELINE_SHARED_DATA`, else `../shared/data`) the demo's synthetic company takes its place.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
REAL = SHARED / "cloudtrail_sans504"
DEMO_END = dt.date(2026, 3, 15)


@dataclass(frozen=True)
class Corpus:
    """A folder of gzip files and what is in it."""

    folder: str
    files: int
    records: int
    what: str


def small(work: Path, demo_events: int = 60_000) -> Corpus:
    """The files as they were delivered, some ten events each: the real set, else the demo's."""
    if REAL.exists():
        folder, what = REAL, "the real set's own files"
    else:
        from audit_pipeline.demo.generate import generate

        generate(work / "company", days=6, end=DEMO_END, events=demo_events, stories=False)
        folder, what = work / "company" / "logs", "the demo's files (synthetic: the real set is absent)"
    files = sorted(folder.rglob("*.json.gz"))
    return Corpus(str(folder), len(files), sum(len(_records(file)) for file in files), what)


def big(folder: Path, source: Path, copies: int = 20, per_file: int = 200) -> Corpus:
    """`copies` times the records of `source` with fresh event ids, `per_file` events a gzip file."""
    records = [record for file in sorted(source.rglob("*.json.gz")) for record in _records(file)]
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
    made = sum(1 for _ in folder.iterdir())
    return Corpus(str(folder), made, copies * len(records), f"{copies} copies with fresh ids, {per_file} events a file")


def _records(file: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(gzip.decompress(file.read_bytes()))["Records"]
    return found


def _write(folder: Path, number: int, records: list[str]) -> None:
    name = (
        f"111122223333_CloudTrail_eu-central-1_20210729T{number // 60 % 24:02d}{number % 60:02d}Z_{number:016d}.json.gz"
    )
    (folder / name).write_bytes(gzip.compress(('{"Records":[' + ",".join(records) + "]}").encode(), 6, mtime=0))
