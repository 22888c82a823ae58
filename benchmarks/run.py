"""All measurements in one run: `python -m benchmarks.run` (or `make bench`), written to `docs/benchmarks.md`.

Each case runs in a fresh process, three times, the cases of a group in turn, so that whatever else the machine does falls on all
of them; the median of each figure is shown. Beside wall time stands CPU time: it is what can be compared on a busy machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.corpus import Corpus

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "benchmarks.md"
GATE_EVENTS = 1_000_000
PACKAGES = ("duckdb", "pyarrow", "pandas", "msgspec", "isal", "great-expectations", "dagster")
_ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Figures:
    """Medians of a case's repetitions, or why there are none."""

    n: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0
    runs: tuple[dict[str, Any], ...] = ()
    failed: str | None = None

    @property
    def rate(self) -> float:
        """Units a second of wall time."""
        return self.n / self.wall

    @property
    def cpu_rate(self) -> float:
        """Units a CPU second."""
        return self.n / self.cpu


class Bench:
    """Runs cases and remembers the load that each met."""

    def __init__(self, work: Path, repeat: int) -> None:
        self.work, self.repeat = work, repeat
        self.loads: list[float] = []

    def group(self, cases: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Figures]:
        """Label to (case, arguments), measured in turn; `{run}` in a text argument becomes a fresh folder, removed afterwards."""
        runs: dict[str, list[dict[str, Any]]] = {label: [] for label in cases}
        failed: dict[str, str] = {}
        for number in range(self.repeat):
            for label, (case, arguments) in cases.items():
                if label in failed:
                    continue
                fresh = self.work / "run"
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir()
                filled = {k: v.replace("{run}", str(fresh)) if isinstance(v, str) else v for k, v in arguments.items()}
                filled = {k: v[number] if isinstance(v, list) else v for k, v in filled.items()}
                print(f"{label} {number + 1}/{self.repeat} ...", flush=True)
                found = self.one(case, filled)
                if "failed" in found:
                    failed[label] = str(found["failed"])
                runs[label].append(found)
        return {label: Figures(failed=failed[label]) if label in failed else _medians(runs[label]) for label in cases}

    def one(self, case: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One fresh process; its peak memory is that of the largest process below it."""
        self.loads.append(os.getloadavg()[0])
        command = [sys.executable, "-m", "benchmarks.cases", case, json.dumps(arguments)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(command, cwd=ROOT, env=_ENV, stdout=out, stderr=err)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            lines, errors = out.read().decode().splitlines(), err.read().decode("utf-8", "replace").splitlines()
        if child.returncode:
            return {"failed": errors[-1] if errors else f"exit code {child.returncode}"}
        found: dict[str, Any] = json.loads(lines[-1])
        return {**found, "peak": usage.ru_maxrss / 1024}


def _medians(runs: list[dict[str, Any]]) -> Figures:
    def median(key: str) -> float:
        return float(statistics.median(run[key] for run in runs))

    return Figures(runs[-1]["n"], median("wall"), median("cpu"), median("peak"), tuple(runs))


def measure(work: Path, repeat: int, copies: int, demo_events: int) -> str:
    """Everything; returns the page."""
    bench = Bench(work, repeat)
    print("making the corpora ...", flush=True)
    made = bench.one("make_corpora", {"work": str(work), "copies": copies})
    if "failed" in made:
        raise SystemExit(f"the corpora cannot be made: {made['failed']}")
    small, big = Corpus(**made["small"]), Corpus(**made["big"])
    rows = _throughput(bench, big, small) + _evidence(bench, big) + _daily(bench, demo_events)
    return _page(bench, big, small, rows)


def _throughput(bench: Bench, big: Corpus, small: Corpus) -> list[str]:
    share = 10
    lake = "{run}/lake"
    found = bench.group(
        {
            "big": ("pipeline", {"folder": big.folder, "lake": lake, "records": big.records}),
            "pandas": ("pandas", {"folder": big.folder, "share": share, "free": True}),
            "pandas, tuned": ("pandas", {"folder": big.folder, "share": share, "free": False}),
            "structs": ("structs", {"folder": big.folder, "share": 1}),
            "orjson": ("orjson", {"folder": big.folder, "share": 1}),
            "small": ("pipeline", {"folder": small.folder, "lake": lake, "records": small.records}),
        }
    )
    ours = found["big"]
    rows = [
        "## CloudTrail files to Parquet\n",
        "| path | records | records/s | records per CPU second | peak MB | target |",
        "|---|---|---|---|---|---|",
        _speed(
            "**this pipeline, files of 200 events**: raw, chain, index, events", ours, _throughput_target(ours, 120_000)
        ),
        _speed(
            f"**this pipeline, {small.files:,} small files**",
            found["small"],
            _throughput_target(found["small"], 80_000),
        ),
        _speed(
            f"pandas (`gzip`, `json.loads`, `json_normalize`), every {share}th file",
            found["pandas"],
            _target("ours ≥ 10 times as fast", (ours, found["pandas"]), lambda: ours.rate >= 10 * found["pandas"].rate),
        ),
        _speed("pandas, fields of any shape removed by hand first", found["pandas, tuned"], ""),
        _speed("msgspec structs and lists, two processes (peak is of one)", found["structs"], ""),
        _speed("orjson and lists, two processes (peak is of one)", found["orjson"], ""),
        "",
        _ratios(ours, found),
        "",
        "| phase, CPU µs a record | files of 200 | small files |",
        "|---|---|---|",
    ]
    return rows + [
        f"| {name} | {_phase(ours, name)} | {_phase(found['small'], name)} |" for name in ("collect", "index", "events")
    ]


def _throughput_target(found: Figures, rate: int) -> str:
    return _target(f"≥ {rate:,}/s, < 1,000 MB", (found,), lambda: found.rate >= rate and found.peak_mb < 1000)


def _target(text: str, sides: tuple[Figures, ...], met: Callable[[], bool]) -> str:
    """The target, and whether this run met it; nothing is said where a side was not measured."""
    if any(side.failed for side in sides):
        return text
    return f"{text}: {'met' if met() else '**missed**'}"


def _speed(name: str, found: Figures, target: str) -> str:
    if found.failed:
        return f"| {name} | not measured: {_cell(found.failed)} | | | | {target} |"
    return f"| {name} | {found.n:,} | {found.rate:,.0f} | {found.cpu_rate:,.0f} | {found.peak_mb:,.0f} | {target} |"


def _ratios(ours: Figures, found: dict[str, Figures]) -> str:
    parts = [
        f"{name}: {ours.rate / other.rate:.1f} times by wall time, {ours.cpu_rate / other.cpu_rate:.1f} times by CPU time"
        for name, other in found.items()
        if name not in ("big", "small") and not (ours.failed or other.failed)
    ]
    return "Ours against " + "; against ".join(parts) + "." if parts else "No ratio: a side is missing."


def _phase(found: Figures, name: str) -> str:
    if found.failed:
        return "not measured"
    return f"{statistics.median(run['phases'][name]['cpu'] for run in found.runs) / found.n * 1e6:.1f}"


def _evidence(bench: Bench, big: Corpus) -> list[str]:
    kept = str(bench.work / "kept")
    made = bench.one("pipeline", {"folder": big.folder, "lake": kept, "records": big.records})
    if "failed" in made:
        return ["", f"`verify`: not measured: {made['failed']}"]
    found = bench.group({"verify": ("verify", {"lake": kept}), "sha256sum": ("sha256sum", {"lake": kept})})
    ours, theirs = found["verify"], found["sha256sum"]
    goal = _target("≥ 80 % of sha256sum", (ours, theirs), lambda: ours.rate >= 0.8 * theirs.rate)
    rows = ["", "## Proving the evidence\n", "| | MB | MB/s | MB per CPU second | target |", "|---|---|---|---|---|"]
    for name, target in (("verify", goal), ("sha256sum", "")):
        one = found[name]
        if one.failed:
            rows.append(f"| `{name}` | not measured: {_cell(one.failed)} | | | {target} |")
        else:
            rows.append(
                f"| `{name}` | {one.n / 1e6:,.0f} | {one.rate / 1e6:,.0f} | {one.cpu_rate / 1e6:,.0f} | {target} |"
            )
    if not (ours.failed or theirs.failed):
        rows += ["", f"`verify` (two threads) runs at {ours.rate / theirs.rate:.0%} of the speed of coreutils' sha256sum (one thread), {ours.cpu_rate / theirs.cpu_rate:.0%} for each CPU second, on the same segments, {ours.runs[0]['members']:,} members."]  # fmt: skip
    return rows


def _daily(bench: Bench, events: int) -> list[str]:
    """Start-up, a night, the quality gate, on the demo's company."""
    made = bench.one(
        "make_demo", {"root": str(bench.work / "demo"), "days": bench.repeat + 1, "events": events * (bench.repeat + 1)}
    )
    if "failed" in made:
        return ["", f"Starting and a night: not measured: {_cell(made['failed'])}"]
    config, nights = made["config"], made["days"]
    million = bench.one("make_day", {"root": str(bench.work / "day"), "events": GATE_EVENTS})
    bench.one("definitions", {"config": config})  # fills the bytecode caches, as an installation would have them
    first = bench.one("night", {"config": config, "day": nights[0]})
    found = bench.group(
        {
            "definitions": ("definitions", {"config": config}),
            "help": ("help_text", {}),
            "night": ("night", {"config": config, "day": nights[1:]}),
            "gate": ("gate", {"config": million.get("config", "not made"), "day": million.get("day", nights[0])}),
            "page": ("page", {}),
        }
    )
    note = "" if "failed" not in first else f" (the first night failed: {_cell(str(first['failed']))})"
    loaded = [name for run in found["definitions"].runs for name in run["heavy"]]
    heavy = f"heavy libraries loaded: {', '.join(sorted(set(loaded))) or 'none'}"
    imports = [run["imports"] for run in found["gate"].runs]
    gate = f"Great Expectations itself takes {statistics.median(imports):.1f} s to import" if imports else ""
    return [
        "", "## Starting and a night\n", "| | wall s | CPU s | peak MB | remark | target |", "|---|---|---|---|---|---|",
        _seconds("import of `audit_pipeline.definitions`", found["definitions"], heavy, _target("no Great Expectations, no scikit-learn", (found["definitions"],), lambda: not loaded)),
        _seconds("`audit-pipeline --help`", found["help"], "the whole process", _target("< 0.5 s", (found["help"],), lambda: found["help"].wall < 0.5)),
        _seconds("one night of the demo", found["night"], f"{found['night'].n:,} events that day, Dagster included; {_runs(found['night'])}{note}", ""),
        _seconds("page over 90 days, 20 sources, 50 findings", found["page"], f"{found['page'].n / 1000:.0f} kB", _target("≤ 1.5 s and ≤ 500 kB", (found["page"],), lambda: found["page"].wall <= 1.5 and found["page"].n <= 500_000)),
        _seconds(f"quality gate of a day of {GATE_EVENTS:,} events after imports", found["gate"], gate, _target("≤ 0.5 s", (found["gate"],), lambda: found["gate"].wall <= 0.5)),
    ]  # fmt: skip


def _runs(night: Figures) -> str:
    """How many of Dagster's runs a night took: its own, and one for each day that late records touched."""
    return f"{'/'.join(str(run['runs']) for run in night.runs)} runs a night, those of days that late records touched included"


def _seconds(name: str, found: Figures, remark: str, target: str) -> str:
    if found.failed:
        return f"| {name} | not measured | | | {_cell(found.failed)} | {target} |"
    return f"| {name} | {found.wall:.2f} | {found.cpu:.2f} | {found.peak_mb:,.0f} | {remark} | {target} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")[:200]


def _page(bench: Bench, big: Corpus, small: Corpus, rows: list[str]) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    loads = f"{min(bench.loads):.1f} to {max(bench.loads):.1f}"
    busy = max(bench.loads) > 1.5 * (os.cpu_count() or 1)
    head = [
        "# Benchmarks\n",
        (
            "Made by `make bench`; not edited by hand. Each case in a fresh process, "
            f"{bench.repeat} runs in turn, the median of each figure; imports are outside, but where it says so.\n"
        ),
        f"- Commit {_commit()}, {dt.datetime.now(dt.UTC):%Y-%m-%d}, Python {platform.python_version()}, {versions}",
        f"- {os.cpu_count()} cores ({_processor()}); load average when a case began: {loads}"
        + (". **Other work ran on the machine: compare CPU time and ratios, not wall time.**" if busy else ""),
        f"- Files of 200: {big.records:,} records in {big.files:,} files ({big.what}); small files: {small.records:,} records in {small.files:,} files ({small.what})",
        "- What the peers leave out (chain, index, extra copies, rejects, accountable identity) stands in `benchmarks/peers.py`\n",
    ]
    return "\n".join(head + rows) + "\n"


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "--", "audit_pipeline", "benchmarks") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--copies", type=int, default=20, help="copies of the real set in the big corpus")
    parser.add_argument("--demo-events", type=int, default=23_000, help="events a day of the demo's nights")
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    if not corpus.REAL.exists():
        print(f"{corpus.REAL} is absent: the demo's synthetic company takes the place of the real logs.")
    with tempfile.TemporaryDirectory(prefix="audit-pipeline-bench-") as work:
        page = measure(Path(work), options.repeat, options.copies, options.demo_events)
    options.output.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
