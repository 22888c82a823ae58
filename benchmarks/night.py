"""A whole night by size: `python -m benchmarks.night [--sizes 100000,1000000] [--write]`.

The demo's company over 35 days of little traffic, whose tables are made beforehand; then one day of so many events, whose night is
measured in a process of its own, imports apart: collect, index, events, completeness, rules, actor-days, anomalies, effects, key figures,
report. One thing after the other as `orchestration` runs them, without Dagster. Beside it 20 of the rules over the day alone, and its peak
of memory. Not here: throughput of collection by kind of file (`run`), detectors (`anomaly`), what an effect takes (`effects`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit_pipeline.clock import DAY, SimulatedClock, midnight
from audit_pipeline.demo import sources
from audit_pipeline.demo.config import write_config
from audit_pipeline.detections import sieve
from audit_pipeline.detections.run import connected, detect, detections, rules
from audit_pipeline.formats import indexing, unify
from audit_pipeline.kpis.compute import compute
from audit_pipeline.lake.store import Lake
from audit_pipeline.quality.completeness import assess
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.reviews import reviews
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of
from audit_pipeline.state import open_state
from benchmarks.cases import Timer
from benchmarks.tables import write_section

END = dt.date(2026, 11, 23)
HISTORY, A_DAY = 35, 1_500
SOME_RULES = 20
GOAL_NIGHT_S, GOAL_MEMORY_MB, GOAL_RULES_S = 25, 1_500, 0.5
_HEAVY = ("sklearn.tree", "scipy.stats", "statsmodels.api", "drain3", "resvg_py")


def prepare(root: Path, events: int) -> Settings:
    """Logs of the history and of the day, and the tables of the history."""
    sources.make(root, days=HISTORY, end=END - DAY, events=HISTORY * A_DAY, stories=False)
    plot, _ = sources.make(root, days=1, end=END, events=events, stories=False)
    start = END - HISTORY * DAY
    settings = Settings.load(write_config(root, start=start, plot=plot))
    boxes = _boxes(settings)
    boxes["collect"](END - DAY)
    for n in range(HISTORY):
        for name in ("events", "completeness", "rules and recurring errors", "actor-days", "anomalies"):
            boxes[name](start + n * DAY)
    return settings


def _files(settings: Settings) -> list[str]:
    """The sources that are files: the demo's gateway does not run here."""
    return [name for name, source in settings.sources.items() if source.type == "files"]


def _boxes(settings: Settings) -> dict[str, Callable[[dt.date], Any]]:
    """A night's steps in their order, by name."""
    from audit_pipeline.anomaly.features import actor_days
    from audit_pipeline.anomaly.night import anomalies
    from audit_pipeline.effects.compute import effects

    lake, engine = Lake.open(settings.lake_url), open_state(settings.state_url_resolved)
    formats = {name: format_of(settings, name) for name in _files(settings)}
    return {
        "collect": lambda day: [collect(settings, lake, name, day, SimulatedClock(midnight(day + DAY) + DAY / 8)) for name in formats],
        "index": lambda _: [indexing.ensure(lake, name, form) for name, form in formats.items()],
        "events": lambda day: [
            (indexing.ensure(lake, name, form), unify.build(lake, name, form, day)) for name, form in formats.items()
        ],
        "completeness": lambda day: assess(settings, lake, day),
        "rules and recurring errors": lambda day: detect(settings, lake, day),
        "actor-days": lambda day: actor_days(settings, lake, day),
        "anomalies": lambda day: anomalies(settings, lake, engine, day),
        "effects": lambda day: effects(settings, lake, engine, day),
        "key figures": lambda day: compute(settings, lake, day, tables={"reviews": reviews(settings, lake, engine, until=day)}),
        "report": lambda day: publish_daily(settings, lake, day, settings.clock_for(day)),
    }  # fmt: skip


def night(config: str) -> dict[str, Any]:
    """The night of `END`, in this process; seconds by step, events, rules alone, peak of memory in MB."""
    for module in _HEAVY:
        importlib.import_module(module)
    settings = Settings.load(config)
    steps = {}
    for name, box in _boxes(settings).items():
        timer = Timer()
        with timer():
            box(END)
        steps[name] = [timer.wall, timer.cpu]
    lake = Lake.open(settings.lake_url)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counted = {name: unify.build(lake, name, format_of(settings, name), END).events for name in _files(settings)}
    return {"events": sum(counted.values()), "steps": steps, "peak": peak, "rules": _rules(settings, lake)}


def _rules(settings: Settings, lake: Lake) -> dict[str, float]:
    """Seconds that the first rules take, and all of them, over the day's events, once they are planned for the first time."""
    known = [rule for rule in rules(settings) if rule.sources]
    found = {}
    for name, some in ((str(SOME_RULES), known[:SOME_RULES]), (f"all {len(known)}", known)):
        with connected(settings, lake, some, END) as con:
            started = time.perf_counter()
            over = sieve.relations(con, some, END)
            for rule in some:
                if rule.id in over:
                    detections(con, rule, END, events=over[rule.id])
            found[name] = time.perf_counter() - started
    return found


def measured(events: int) -> dict[str, Any]:
    """One size: prepared here, measured in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="night-") as folder:
        settings = prepare(Path(folder), events)
        command = [sys.executable, "-m", "benchmarks.night", "--one", str(settings.root / "pipeline.yaml")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def markdown(results: list[dict[str, Any]]) -> str:
    """The section."""
    names = list(results[0]["steps"])
    machine = f"without Dagster; {os.cpu_count()} cores. Load average at the end: {os.getloadavg()[0]:.1f}."
    said = f"`python -m benchmarks.night`: {HISTORY} days of {A_DAY:,} events before, then one day; seconds of wall (of processor) after imports, one step after the other, {machine}"
    lines = [
        "## A night by size",
        "",
        said,
        "",
        "| events of the day | " + " | ".join(f"{one['events']:,}" for one in results) + " |",
        "|---|" + "---|" * len(results),
    ]
    lines += [
        _row(name, [f"{wall:.2f} ({cpu:.2f})" for wall, cpu in (one["steps"][name] for one in results)])
        for name in names
    ]
    total = [sum(step[0] for step in one["steps"].values()) for one in results]
    lines.append("| **whole night** | " + " | ".join(f"**{value:.1f}**" for value in total) + " |")
    lines.append("| µs an event | " + " | ".join(f"{value / one['events'] * 1e6:.0f}" for value, one in zip(total, results, strict=True)) + " |")  # fmt: skip
    lines.append("| peak MB | " + " | ".join(f"{one['peak']:,.0f}" for one in results) + " |")
    for n in range(len(results[0]["rules"])):
        named = [list(one["rules"].items())[n] for one in results]
        lines.append(f"| {named[0][0]} rules alone | " + " | ".join(f"{seconds:.2f}" for _, seconds in named) + " |")
    lines += ["", _goals(results, total)]
    return "\n".join(lines)


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _goals(results: list[dict[str, Any]], total: list[float]) -> str:
    """The goals, held to the size nearest to a million."""
    at = min(range(len(results)), key=lambda i: abs(results[i]["events"] - 1_000_000))
    one = results[at]
    some = one["rules"][str(SOME_RULES)]
    told = [
        (f"night {total[at]:.1f} s of {GOAL_NIGHT_S}", total[at] <= GOAL_NIGHT_S),
        (f"memory {one['peak']:,.0f} MB of {GOAL_MEMORY_MB:,}", one["peak"] < GOAL_MEMORY_MB),
        (f"{SOME_RULES} rules {some:.2f} s of {GOAL_RULES_S}", some <= GOAL_RULES_S),
    ]
    words = "; ".join(f"{text}: {'met' if met else '**missed**'}" for text, met in told)
    return f"Goals at {one['events']:,} events: {words}."


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100000,1000000", help="events of the day, separated by commas")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(night(arguments.one)))
        return
    text = markdown([measured(int(size)) for size in arguments.sizes.split(",")])
    print(text)
    if arguments.write:
        write_section("night", text)


if __name__ == "__main__":
    main()
