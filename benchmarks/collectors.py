"""How fast the collectors are: `python -m benchmarks.collectors` writes the section `collectors` of `docs/measurements.md`.

Belongs here: each collector over a socket against its stub, its CPU beside a bare client that fetches the same pages and does
nothing with them. Not here: formats (`benchmarks.run`). The stub runs in a process of its own, so its work is not in the figures.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from audit_pipeline.clock import SystemClock
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect
from audit_pipeline_tests.stubs.elasticsearch import SECRET
from benchmarks.tables import write_section

DOCUMENTS, ROUNDS, PORT = 10_000, 3, 19_233
FOLDER = Path(__file__).parent.parent
HEADERS = {"Authorization": f"ApiKey {SECRET}", "Content-Type": "application/json"}


def bare(url: str, kind: str, until: str) -> int:
    """The same pages by the plainest client there is; their bytes."""
    opened, key = ("_search/point_in_time", "pit_id") if kind == "opensearch" else ("_pit", "id")
    how: dict[str, Any] = {"order": "asc", "unmapped_type": "date"}
    if kind == "elasticsearch":
        how |= {"format": "strict_date_optional_time_nanos", "numeric_type": "date_nanos"}
    total, after = 0, None
    with httpx.Client(base_url=url, headers=HEADERS) as client:
        pit = client.post(f"/logs-audit/{opened}", params={"keep_alive": "5m"}).json()[key]
        while True:
            body: dict[str, Any] = {
                "query": {"range": {"@timestamp": {"gte": "2020-01-01T00:00:00Z", "lt": until}}},
                "sort": [{"@timestamp": how}, {"_shard_doc" if kind == "elasticsearch" else "_id": "asc"}],
                "pit": {"id": pit, "keep_alive": "5m"}, "track_total_hits": False, "version": True, "size": 1000,
            }  # fmt: skip
            answer = client.post("/_search", content=json.dumps(body if after is None else body | {"search_after": after}))  # fmt: skip
            total += len(answer.content)
            data = answer.json()
            if not data["hits"]["hits"]:
                return total
            pit, after = data["pit_id"], data["hits"]["hits"][-1]["sort"]


def collected(url: str, kind: str, folder: Path) -> int:
    """By the collector, into a new lake; documents that were asked for are all kept."""
    (folder / "key").write_text(SECRET)
    http = {"url": url, "auth": {"api_key": {"file": "key"}}}
    source = {"type": kind, "format": "ecs", "http": http, "options": {"index": "logs-audit"}}
    settings = Settings.from_text(
        json.dumps({"start": "2020-01-01", "sources": {"s": source}}), folder / "pipeline.yaml"
    )
    got = collect(settings, Lake.open(settings.lake_url), "s", dt.datetime.now(dt.UTC).date(), SystemClock())
    assert not got.remarks, got.remarks
    return got.bytes


def served(kind: str) -> Iterator[str]:
    """The stub in a process of its own, while the caller wants it."""
    argv = [
        sys.executable,
        "-m",
        "audit_pipeline_tests.stubs",
        kind,
        "--port",
        str(PORT),
        "--documents",
        str(DOCUMENTS),
    ]
    process = subprocess.Popen(argv, cwd=FOLDER, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(100):
            try:
                httpx.get(url, headers=HEADERS)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def measured(kind: str) -> str:
    """A row of the table: the least of several rounds."""
    ours, plain, wall, size = [], [], [], 0
    for url in served(kind):
        for _ in range(ROUNDS + 1):  # the first warms up
            begin = time.process_time()
            bare(url, kind, "2100-01-01T00:00:00Z")
            plain.append(time.process_time() - begin)
            with tempfile.TemporaryDirectory() as folder:
                begin, clock = time.process_time(), time.monotonic()
                size = collected(url, kind, Path(folder))
                ours.append(time.process_time() - begin)
                wall.append(time.monotonic() - clock)
    cpu, least, took = min(ours[1:]), min(plain[1:]), min(wall[1:])
    return f"| {kind} | {DOCUMENTS:,} | {size / 2**20:.1f} MB | {DOCUMENTS / took:,.0f} | {cpu * 1e3:.0f} ms | {least * 1e3:.0f} ms | {cpu / least:.2f} |"  # fmt: skip


def main() -> None:
    rows = "\n".join(measured(kind) for kind in ("elasticsearch", "opensearch"))
    text = f"""## Collectors

Each over loopback against its stub, pages of 1,000 documents into segments with their manifest entry, beside a bare client that fetches the same
pages and throws them away; the least of {ROUNDS} rounds. The stub answers slowly, so documents a second are a lower bound; what the
collector costs is its CPU.

| source | documents | pages | documents/s | CPU | bare client | ratio |
|---|---|---|---|---|---|---|
{rows}
"""
    write_section("collectors", text)
    print(text)


if __name__ == "__main__":
    main()
