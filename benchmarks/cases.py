"""What is measured, one function a case; each runs in a fresh process: `python -m benchmarks.cases NAME ARGUMENTS-AS-JSON`.

A case prints one JSON line: what it handled (`n`, counted in its own output), the wall and CPU seconds of the work alone (imports
and preparation are outside), and figures of its own. The peak of memory is taken by whoever started the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import corpus, peers


class Timer:
    """Wall and CPU seconds of a block, the CPU of ended child processes included."""

    wall = cpu = 0.0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Add what the block takes."""
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += sum(os.times()[:4]) - cpu

    def result(self, n: int, **more: Any) -> dict[str, Any]:
        """What a case prints."""
        return {"n": n, "wall": self.wall, "cpu": self.cpu, **more}


def pipeline(folder: str, lake: str, records: int) -> dict[str, Any]:
    """Gz files to raw, chain, index and events; fails unless every record is accounted for."""
    from audit_pipeline.clock import SystemClock
    from audit_pipeline.formats import indexing, unify
    from audit_pipeline.lake.store import Lake
    from audit_pipeline.settings import Settings
    from audit_pipeline.sources.collect import collect, format_of

    text = json.dumps(
        {
            "lake": lake,
            "start": "2021-01-01",
            "sources": {"trail": {"type": "files", "format": "cloudtrail", "paths": [f"{folder}/**/*.json.gz"]}},
        }
    )
    settings = Settings.from_text(text, Path(lake).parent / "pipeline.yaml")
    store, form = Lake.open(lake), format_of(settings, "trail")
    phases = {"collect": Timer(), "index": Timer(), "events": Timer()}
    whole = Timer()
    with whole():
        with phases["collect"]():
            collect(settings, store, "trail", dt.date(2021, 8, 2), SystemClock())
        with phases["index"]():
            days = indexing.ensure(store, "trail", form)
        with phases["events"]():
            built = [unify.build(store, "trail", form, day) for day in days]
    found = sum(day.records + day.rejects for day in built)
    if found != records:
        raise SystemExit(f"{records} records went in, {found} are accounted for")
    return whole.result(
        found,
        events=sum(day.events for day in built),
        days=len(days),
        phases={name: {"wall": timer.wall, "cpu": timer.cpu} for name, timer in phases.items()},
    )


def make_corpora(work: str, copies: int) -> dict[str, Any]:
    """Preparation, in a process of its own so that its memory is nobody else's."""
    small = corpus.small(Path(work))
    big = corpus.big(Path(work, "big"), Path(small.folder), copies)
    return {"small": dataclasses.asdict(small), "big": dataclasses.asdict(big)}


def make_demo(root: str, days: int, events: int) -> dict[str, Any]:
    """Preparation: the demo's logs and configuration."""
    from audit_pipeline.demo.config import write_config
    from audit_pipeline.demo.generate import generate

    start = corpus.DEMO_END - dt.timedelta(days=days - 1)
    generate(Path(root), days=days, end=corpus.DEMO_END, events=events, stories=False)
    config = write_config(Path(root), start=start)
    return {"config": str(config), "days": [(start + dt.timedelta(days=n)).isoformat() for n in range(days)]}


def make_day(root: str, events: int) -> dict[str, Any]:
    """Preparation: a lake that holds one day of one source, of so many events, judged."""
    import numpy as np
    import pyarrow as pa

    from audit_pipeline.lake.store import Lake
    from audit_pipeline.ocsf.columns import EVENT_SCHEMA
    from audit_pipeline.quality.completeness import assess
    from audit_pipeline.settings import Settings

    day = corpus.DEMO_END
    config = Path(root, "pipeline.yaml")
    config.parent.mkdir(parents=True)
    config.write_text(f"lake: lake\nstart: {day}\nsources: {{app: {{type: files, format: cloudtrail}}}}\n")
    settings = Settings.load(config)
    rng = np.random.default_rng(1)
    zero = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1_000_000
    times = np.sort(rng.integers(0, 86_400_000_000, events)) + zero
    stamp = pa.timestamp("us", tz="UTC")
    given = {
        "time": pa.array(times).cast(stamp),
        "x_visible_time": pa.array(times + rng.integers(1, 900_000_000, events)).cast(stamp),
        "x_line": pa.array(np.arange(events)),
        "actor_user_name": pa.array(np.char.add("user", rng.integers(0, 500, events).astype(str))),
        "src_endpoint_ip": pa.array(np.char.add("192.0.2.", rng.integers(0, 250, events).astype(str))),
    }
    same = {
        "day": day,
        "x_source": "app",
        "api_operation": "GetObject",
        "status_id": 1,
        "x_records": 1,
        "x_duplicates": 0,
        "x_segment": "s",
    }
    columns = [
        given[field.name].cast(field.type) if field.name in given else pa.repeat(pa.scalar(same.get(field.name), field.type), events)
        for field in EVENT_SCHEMA
    ]  # fmt: skip
    lake = Lake.open(settings.lake_url)
    lake.write_table("events", pa.table(columns, schema=EVENT_SCHEMA), day, "app")
    assess(settings, lake, day)
    return {"config": str(config), "day": day.isoformat()}


def pandas(folder: str, share: int, free: bool) -> dict[str, Any]:
    """See `peers`."""
    importlib.import_module("pandas")
    importlib.import_module("pyarrow.parquet")
    return _peer(lambda target: peers.pandas_path(peers.files_of(folder, share), target, free=free))


def structs(folder: str, share: int) -> dict[str, Any]:
    """See `peers`."""
    importlib.import_module("pyarrow.parquet")
    return _peer(lambda target: peers.structs_path(peers.files_of(folder, share), target))


def orjson(folder: str, share: int) -> dict[str, Any]:
    """See `peers`."""
    importlib.import_module("pyarrow.parquet")
    return _peer(lambda target: peers.orjson_path(peers.files_of(folder, share), target))


def _peer(path: Callable[[Path], int]) -> dict[str, Any]:
    timer = Timer()
    with tempfile.TemporaryDirectory() as folder, timer():
        n = path(Path(folder, "events.parquet"))
    return timer.result(n)


def verify(lake: str) -> dict[str, Any]:
    """`audit-pipeline verify` without the start of the interpreter; `n` is bytes."""
    from audit_pipeline.lake import verify as checks
    from audit_pipeline.lake.store import Lake

    store, timer = Lake.open(lake), Timer()
    with timer():
        problems, summary = checks.verify(store)
    if problems:
        raise SystemExit(f"verify found {problems[0]}")
    return timer.result(summary.bytes, members=summary.members)


def sha256sum(lake: str) -> dict[str, Any]:
    """Coreutils over the same segments; `n` is bytes."""
    files, timer = sorted(Path(lake, "raw").rglob("*.segment")), Timer()
    with timer():
        subprocess.run(["sha256sum", *map(str, files)], check=True, stdout=subprocess.DEVNULL)
    return timer.result(sum(file.stat().st_size for file in files))


def definitions(config: str) -> dict[str, Any]:
    """`import audit_pipeline.definitions`, what every Dagster process does first."""
    os.environ["AUDIT_PIPELINE_CONFIG"] = config
    timer = Timer()
    with timer():
        importlib.import_module("audit_pipeline.definitions")
    heavy = sorted({"great_expectations", "sklearn", "scipy"} & set(sys.modules))
    return timer.result(1, heavy=heavy)


def help_text() -> dict[str, Any]:
    """`audit-pipeline --help`, the whole process."""
    timer = Timer()
    with timer():
        subprocess.run(
            [Path(sys.executable).with_name("audit-pipeline"), "--help"], check=True, stdout=subprocess.DEVNULL
        )
    return timer.result(1)


def night(config: str, day: str) -> dict[str, Any]:
    """One night of the demo through Dagster, after the nights before it; `n` is events of that day."""
    from audit_pipeline.lake.store import Lake
    from audit_pipeline.lake.views import connect
    from audit_pipeline.orchestration.runner import Runner
    from audit_pipeline.settings import Settings

    settings, timer = Settings.load(config), Timer()
    runner, wanted = Runner(settings), dt.date.fromisoformat(day)
    with timer():
        runs = runner.run([wanted])
    if not runs[0].success:
        raise SystemExit(f"the night failed: {runs[0].failures}")
    con = connect(Lake.open(settings.lake_url), tables=("events",))
    ((n,),) = con.execute("SELECT count(*) FROM events WHERE day = ?", [wanted]).fetchall()
    return timer.result(int(n), runs=len(runs))


def gate(config: str, day: str) -> dict[str, Any]:
    """Great Expectations' judgement of a day, its import apart; `n` is expectations judged."""
    from audit_pipeline.lake.store import Lake
    from audit_pipeline.settings import Settings

    settings = Settings.load(config)
    imports, timer = Timer(), Timer()
    with imports():
        importlib.import_module("great_expectations")
        from audit_pipeline.quality.checks import check
    with timer():
        outcomes = check(settings, Lake.open(settings.lake_url), dt.date.fromisoformat(day))
    return timer.result(sum(len(found) for found in outcomes.values()), imports=imports.wall)


def page() -> dict[str, Any]:
    """The page of a report over 90 days, 20 sources, 50 findings and 19 KPIs; `n` is its bytes."""
    from audit_pipeline.reports import page as pages
    from audit_pipeline.reports.model import build_daily
    from audit_pipeline_tests.reports.company import LAST, Company
    from audit_pipeline_tests.reports.large import grown

    timer = Timer()
    with tempfile.TemporaryDirectory() as folder:
        company = Company(Path(folder)).fill()
        report = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    large = {**grown(report, days=90, sources=20, findings=50, kpis=19), "edition": 1, "corrects": None}
    with timer():
        html = pages.render(large)
    return timer.result(len(html.encode()))


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    case.__name__: case
    for case in (
        make_corpora,
        make_demo,
        make_day,
        pipeline,
        pandas,
        structs,
        orjson,
        verify,
        sha256sum,
        definitions,
        help_text,
        night,
        gate,
        page,
    )
}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](**json.loads(sys.argv[2]))))
