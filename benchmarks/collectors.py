"""How fast the collectors are: `python -m benchmarks.collectors` writes the section `collectors` of `docs/measurements.md`.

Belongs here: each collector over HTTP against its stub, its CPU beside a bare client that fetches the same pages, decodes them (it has
to find the next page) and does nothing with them. Not here: formats (`benchmarks.run`), collectors of files. The stub runs in a process
of its own, so its work is not in the figures. The bare client sends what the collector was seen to send.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from audit_pipeline.clock import SystemClock
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.sources import collect as collecting
from audit_pipeline.sources import get
from audit_pipeline.sources.base import opening
from audit_pipeline_tests.stubs import datadog, elasticsearch, hoop, splunk
from benchmarks.tables import write_section

DOCUMENTS, ROUNDS, PORT, SOURCE = 10_000, 3, 19_233, "measured"
FOLDER = Path(__file__).parent.parent
GOAL = 1.5
SECRETS = {"ES": elasticsearch.SECRET, "SPLUNK": splunk.SECRET, "HOOP": hoop.SECRET, "DD_API": datadog.API_KEY, "DD_APP": datadog.APP_KEY}  # fmt: skip
TYPES: dict[str, dict[str, Any]] = {
    "elasticsearch": {"format": "ecs", "auth": {"api_key": {"env": "ES"}}, "options": {"index": "logs-audit"}},
    "opensearch": {"format": "ecs", "auth": {"api_key": {"env": "ES"}}, "options": {"index": "logs-audit"}},
    "splunk": {"format": "splunk_audit", "auth": {"bearer": {"env": "SPLUNK"}}, "options": {"index": "_audit"}},
    "datadog": {
        "format": "datadog_audit", "auth": {"headers": {"DD-API-KEY": {"env": "DD_API"}, "DD-APPLICATION-KEY": {"env": "DD_APP"}}},
        "options": {"reads": ["audit"]},
    },
    "hoop": {"format": "hoop", "auth": {"bearer": {"env": "HOOP"}}, "options": {}},
}  # fmt: skip


class Recorder(httpx.BaseTransport):
    """The real transport, and a list of what was sent through it."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Keeps and passes on."""
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
        self.sent.append((request.method, str(request.url), headers, request.read()))
        return self._real.handle_request(request)


def configured(name: str, url: str, folder: Path) -> Settings:
    """One source of that type; its first day lies so that all records of the stub are read, and little before them."""
    given = TYPES[name]
    start = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=DOCUMENTS // 1440 + 2)
    source = {"type": name, "format": given["format"], "http": {"url": url, "auth": given["auth"]}, "options": given["options"]}  # fmt: skip
    return Settings.from_text(json.dumps({"start": start.isoformat(), "sources": {SOURCE: source}}), folder / "pipeline.yaml")  # fmt: skip


def collected(name: str, url: str, folder: Path, recorder: Recorder | None = None) -> tuple[int, int]:
    """By the collector, into a new lake: pages and bytes."""
    settings = configured(name, url, folder)
    made = opening(settings, SOURCE, collecting.format_of(settings, SOURCE))
    source = get(name).open_source(replace(made, transport=recorder))
    today = dt.datetime.now(dt.UTC).date()
    got = collecting.gather(settings, Lake.open(settings.lake_url), SOURCE, today, SystemClock(), source)
    assert not got.failed, got.failed
    return got.members, got.bytes


def bare(sent: list[tuple[str, str, dict[str, str], bytes]]) -> None:
    """The same requests by the plainest client there is; a point in time is opened anew, so its id is put in place of the old one."""
    old = new = ""
    with httpx.Client() as client:
        for method, url, headers, body in sent:
            text = body.decode()
            if '"pit":{"id":"' in text:
                old = old or text.split('"pit":{"id":"', 1)[1].split('"', 1)[0].rsplit("-", 1)[0]
                body = text.replace(old, new).encode()
            answer = client.request(method, url, headers=headers | {"content-length": str(len(body))}, content=body)
            for line in answer.content.splitlines() if url.endswith("export") else [answer.content]:
                data = json.loads(line)
            if "/_pit" in url or url.partition("?")[0].endswith("point_in_time"):
                new = str(data.get("id") or data.get("pit_id") or new).rsplit("-", 1)[0]


def served(kind: str) -> Iterator[str]:
    """The stub in a process of its own, while the caller wants it."""
    argv = [sys.executable, "-m", "audit_pipeline_tests.stubs", kind, "--port", str(PORT), "--documents", str(DOCUMENTS)]  # fmt: skip
    process = subprocess.Popen(argv, cwd=FOLDER, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(100):
            try:
                httpx.get(url)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def measured(kind: str) -> str:
    """A row of the table: the least of several rounds."""
    ours, plain, wall, pages, size = [], [], [], 0, 0
    for url in served(kind):
        recorder = Recorder()
        with tempfile.TemporaryDirectory() as folder:
            collected(kind, url, Path(folder), recorder)
        for _ in range(ROUNDS + 1):  # the first warms up
            begin = time.process_time()
            bare(recorder.sent)
            plain.append(time.process_time() - begin)
            with tempfile.TemporaryDirectory() as folder:
                begin, clock = time.process_time(), time.monotonic()
                pages, size = collected(kind, url, Path(folder))
                ours.append(time.process_time() - begin)
                wall.append(time.monotonic() - clock)
    cpu, least, took = min(ours[1:]), min(plain[1:]), min(wall[1:])
    return f"| {kind} | {len(recorder.sent)} | {pages} | {size / 2**20:.1f} MB | {DOCUMENTS / took:,.0f} | {cpu * 1e3:.0f} ms | {least * 1e3:.0f} ms | {cpu / least:.2f} |"  # fmt: skip


def main() -> None:
    os.environ.update(SECRETS)
    rows = "\n".join(measured(kind) for kind in TYPES)
    text = f"""## Collectors

Each over loopback against its stub with {DOCUMENTS:,} records, pages into segments with their manifest entry, beside a bare client that sends the same
requests, decodes the answers and throws them away; the least of {ROUNDS} rounds. The stub answers slowly, so records a second are a lower bound;
what the collector costs is its CPU. Goal: at most {GOAL} times the bare client.

| source | requests | pages kept | bytes | records/s | CPU | bare client | ratio |
|---|---|---|---|---|---|---|---|
{rows}
"""
    write_section("collectors", text)
    print(text)


if __name__ == "__main__":
    main()
