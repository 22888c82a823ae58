"""The demo's stories in a short form, seed by seed: `python -m benchmarks.stories [--seeds 1-20] [--placebo] [--write]`.

60 days of 50,000 events, the same stories, decoys and people; the boxes called one after the other without Dagster, all logs collected
at once, one report at the end; key figures of the last day only, as no fix of a story is judged by them. Printed a seed: stories found of those that can be found, what was missed, findings a day, findings that
no story explains, decoys that alarmed at high, fixes judged as they should be, seconds. With `--placebo` the same seeds without any
story, and ten fixes of nothing on dates drawn by the seed: findings of level critical, and how many fixes were judged `verified`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from audit_pipeline.clock import DAY, SimulatedClock, midnight
from audit_pipeline.demo import sources
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.config import write_config
from audit_pipeline.demo.gateway import Gateway, served
from audit_pipeline.demo.people import People
from audit_pipeline.demo.score import Score, score
from audit_pipeline.detections.run import detect
from audit_pipeline.findings import decisions
from audit_pipeline.findings.commands import list_findings
from audit_pipeline.findings.states import ACTIONS
from audit_pipeline.formats import indexing, unify
from audit_pipeline.kpis.compute import compute
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.quality.completeness import assess
from audit_pipeline.reports.daily import publish_daily
from audit_pipeline.reports.reviews import reviews
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of
from audit_pipeline.state import open_state
from benchmarks.tables import write_section

END = dt.date(2026, 11, 23)
DAYS, EVENTS, PLACEBOS = 60, 50_000, 10
COLLECTED = midnight(END) + 3 * DAY
GOAL_FOUND, GOAL_VERIFIED, GOAL_SECONDS = 0.9, 0.06, 60
_KPIS = (("failed_sign_ins", "all"), ("access_refused", "all"), ("error_rate_by_service", "service:checkout"), ("error_rate_by_service", "service:search"))  # fmt: skip


class Result(NamedTuple):
    """What one seed gave."""

    seed: int
    score: Score
    findings: int
    critical: int
    verified: int
    placebos: int
    seconds: float


def seed_run(seed: int, *, stories: bool) -> Result:
    """One seed in a folder of its own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="stories-") as folder:
        root = Path(folder)
        plot, _ = sources.make(root, days=DAYS, end=END, seed=seed, events=EVENTS, stories=stories)
        gateway = Gateway(root / "logs" / "hoop")
        gateway.now = COLLECTED
        with served(gateway) as url:
            settings = Settings.load(write_config(root, start=plot.start, plot=plot, url=url))
            lake, engine = Lake.open(settings.lake_url), open_state(settings.state_url_resolved)
            _collect(settings, lake)
        _events(settings, lake, plot.start)
        people = People(settings, plot, Company.make(seed))
        placebo = {} if stories else _placebos(seed, plot.start)
        for n in range(DAYS):
            day = plot.start + n * DAY
            people.work(day)
            for number in placebo.get(day, ()):
                _decide(engine, number, day)
            _night(settings, lake, engine, day, kpis=not stories or day == END)
        publish_daily(settings, lake, END, settings.clock_for(END))
        rows = list_findings(settings)
        found = score(settings, root, findings=rows)
        with connect(lake, tables=["effects"]) as con:
            verified = con.sql("SELECT count(DISTINCT subject_id) FILTER (verdict = 'verified'), count(DISTINCT subject_id) FROM effects WHERE subject = 'remediation'").fetchall()[0]  # fmt: skip
        engine.dispose()
    critical = sum(row["severity"] == "critical" for row in rows)
    return Result(seed, found, len(rows), critical, verified[0], verified[1], time.perf_counter() - started)


def _collect(settings: Settings, lake: Lake) -> None:
    clock = SimulatedClock(COLLECTED)
    for name in settings.sources:
        got = collect(settings, lake, name, END, clock)
        if got.failed:
            raise RuntimeError(f"{name}: {got.failed}")
        indexing.ensure(lake, name, format_of(settings, name))


def _events(settings: Settings, lake: Lake, start: dt.date) -> None:
    """All days' events; two sources at a time, since none depends on another."""

    def build(name: str) -> None:
        for n in range(DAYS):
            unify.build(lake, name, format_of(settings, name), start + n * DAY)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, settings.sources))


def _night(settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date, *, kpis: bool) -> None:
    """The tables of a day in the order of `docs/adr/0007`; key figures where something is judged by them."""
    assess(settings, lake, day)
    detect(settings, lake, day)
    for box in _boxes("audit_pipeline.anomaly.features", "actor_days"):
        box(settings, lake, day)
    for box in (*_boxes("audit_pipeline.anomaly.night", "anomalies"), *_boxes("audit_pipeline.effects.compute", "effects")):  # fmt: skip
        box(settings, lake, engine, day)
    if kpis:
        compute(settings, lake, day, tables={"reviews": reviews(settings, lake, engine, until=day)})


def _boxes(module: str, name: str) -> Iterator[Callable[..., Any]]:
    """The function, where this version has it."""
    try:
        there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if there:
        yield getattr(importlib.import_module(module), name)


def _placebos(seed: int, start: dt.date) -> dict[dt.date, list[int]]:
    """Dates of fixes of nothing, with three weeks on either side."""
    rng = np.random.default_rng([seed, 12_000_000])
    found: dict[dt.date, list[int]] = {}
    for number, at in enumerate(rng.integers(28, DAYS - 24, PLACEBOS).tolist()):
        found.setdefault(start + at * DAY, []).append(number)
    return found


def _decide(engine: sa.Engine, number: int, day: dt.date) -> None:
    """A fix of nothing, proposed, approved and done on one day; none where this version knows no proposals."""
    if "propose" not in ACTIONS:
        return
    kpi, scope = _KPIS[number % len(_KPIS)]
    subject, at = f"{number:032x}", midnight(day)

    def record(hour: int, action: str, person: str, payload: dict[str, Any]) -> int:
        clock = SimulatedClock(at + dt.timedelta(hours=hour))
        return decisions.record(engine, finding_id=subject, action=action, person=person, identity="claimed", reason="placebo", clock=clock, payload=payload).seq  # fmt: skip

    record(8, "acknowledge", "a", {})
    told = {"fix": "nothing", "kind": "rate", "kpi_id": kpi, "scope": scope, "direction": "down", "promised": 0.3, "decision_date": (END - DAY).isoformat()}  # fmt: skip
    proposal = record(9, "propose", "a", told)
    record(10, "approve", "b", {"proposal": proposal})
    record(11, "implement", "a", {"proposal": proposal})


def table(results: list[Result]) -> str:
    """The stories' table in Markdown."""
    rows = [
        f"| {one.seed} | {len(one.score.found)} of {len(one.score.found) + len(one.score.missed)} | {', '.join(name[3:] for name in one.score.missed) or 'none'} | {one.findings / DAYS:.1f} | {len(one.score.no_story)} | {', '.join(name[3:] for name in one.score.decoys_alarmed) or 'none'} | {sum(fix['right'] == 'yes' for fix in one.score.verdicts.values())} of {len(one.score.verdicts)} | {one.seconds:.0f} |"
        for one in results
    ]  # fmt: skip
    found, missed = (sum(len(getattr(one.score, name)) for one in results) for name in ("found", "missed"))
    head = "| seed | found | missed | findings a day | of no story | decoys at high | fixes judged right | s |\n|---|---|---|---|---|---|---|---|"  # fmt: skip
    return f"""## Stories of the demo

{DAYS} days of {EVENTS:,} events; goal: {GOAL_FOUND:.0%} of the stories that can be found, at most {GOAL_SECONDS} s a seed.
Found: {found} of {found + missed} ({found / max(1, found + missed):.0%}).

{head}
""" + "\n".join(rows)


def placebo_table(results: list[Result]) -> str:
    """What was found where nothing was planted."""
    fixes, verified = sum(one.placebos for one in results), sum(one.verified for one in results)
    told = f"{verified} of {fixes} placebo fixes were judged `verified` ({verified / fixes:.1%}; goal: at most {GOAL_VERIFIED:.0%})" if fixes else "no placebo fix was judged"  # fmt: skip
    rows = [f"| {one.seed} | {one.critical} | {one.findings / DAYS:.2f} | {one.verified} of {one.placebos} | {one.seconds:.0f} |" for one in results]  # fmt: skip
    return f"""## The same seeds without stories

Findings of level critical: {sum(one.critical for one in results)} (goal: none). {told}.

| seed | critical | findings a day | placebo fixes verified | s |
|---|---|---|---|---|
""" + "\n".join(rows)


def main() -> None:
    """Run the seeds that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-3", help="first and last seed, such as 1-20")
    parser.add_argument("--placebo", action="store_true", help="without stories, with fixes of nothing")
    parser.add_argument("--write", action="store_true", help="put the table into docs/measurements.md")
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    results = []
    for seed in range(int(first), int(last or first) + 1):
        results.append(seed_run(seed, stories=not asked.placebo))
        print((placebo_table if asked.placebo else table)(results[-1:]).splitlines()[-1], flush=True)
    text = (placebo_table if asked.placebo else table)(results)
    print(text)
    if asked.write:
        write_section("stories-placebo" if asked.placebo else "stories", text)


if __name__ == "__main__":
    main()
