"""Anomalies measured: `python -m benchmarks.anomaly DATA [--only detectors|budget|verdicts|speed] [--write]`.

DATA holds `anomaly_adbench/*.npz`. Detectors: the product's forests beside scikit-learn's defaults, ECOD and the largest |z|. Budget:
what a threshold lets through on later days. Verdicts: what sixty of them gain. Speed: features and a night. Nothing is tuned on labels.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audit_pipeline.anomaly import night
from audit_pipeline.anomaly.baseline import scored
from audit_pipeline.anomaly.choice import average_precision
from audit_pipeline.anomaly.features import actor_days
from audit_pipeline.anomaly.forest import SAMPLES, TREES, Forest, Matrix, passes, threshold
from audit_pipeline.state import open_state
from benchmarks.anomaly_data import FIRST, Set, actor_frame, project, sets, write_actor_days, write_events
from benchmarks.tables import write_section

MOST, SEEDS, SHARE = 8_000, 3, 0.02
"""rows of a set; splits; share of rows that the budget lets through"""
ACTORS, DAYS, HELD_OUT, LATER = 200, 56, 7, 14
ASKED, WRONG, JUDGED_ROWS = 60, 0.1, 2_500
EVENTS = (100_000, 1_000_000, 10_000_000)
GOAL_FEATURES, GOAL_NIGHT = 4.5, 3.0
Bools = npt.NDArray[np.bool_]
Detector = Callable[[Matrix, int], Callable[[Matrix], Matrix]]


def ecod(train: Matrix, _: int = 0) -> Callable[[Matrix], Matrix]:
    """ECOD (Li et al. 2022, https://arxiv.org/abs/2201.00382): tail probabilities by the empirical distribution of each feature.

    The largest of the sums of -log left, of -log right, and of the tail on whose side the feature is skewed.
    """
    ranked, n = np.sort(train, axis=0), len(train)
    middle, spread = train.mean(axis=0), train.std(axis=0)
    skew = ((train - middle) ** 3).mean(axis=0) / np.where(spread > 0, spread, 1) ** 3

    def score(rows: Matrix) -> Matrix:
        pairs = list(zip(ranked.T, rows.T, strict=True))
        left = np.column_stack([np.searchsorted(known, one, side="right") for known, one in pairs]) / n
        right = 1 - np.column_stack([np.searchsorted(known, one, side="left") for known, one in pairs]) / n
        tails = [-np.log(np.maximum(side, 1 / (2 * n))) for side in (left, right)]
        sums = [*(tail.sum(axis=1) for tail in tails), np.where(skew < 0, tails[0], tails[1]).sum(axis=1)]
        return np.asarray(np.max(sums, axis=0), dtype=float)

    return score


def largest(train: Matrix, _: int = 0) -> Callable[[Matrix], Matrix]:
    """The largest |z| of a row, by mean and standard deviation of the trained rows."""
    middle, spread = train.mean(axis=0), train.std(axis=0)
    return lambda rows: np.asarray(np.abs((rows - middle) / np.where(spread > 0, spread, 1)).max(axis=1), dtype=float)


def default(train: Matrix, seed: int) -> Callable[[Matrix], Matrix]:
    """scikit-learn's IsolationForest as it comes: 100 trees of 256 rows."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(random_state=seed).fit(train)
    return lambda rows: np.asarray(-forest.score_samples(rows), dtype=float)


def ours(sample: int) -> Detector:
    """The product's forest of one size."""
    return lambda train, seed: Forest(train, seed, sample).score


def merged(forest: Callable[[Matrix], Matrix], single: Callable[[Matrix], Matrix], held_out: Matrix, allowed: float) -> Callable[[Matrix], Matrix]:  # fmt: skip
    """Forest and largest single score, each over its own threshold of the held-out rows, as a night tells them."""
    limit, alone = (threshold(one(held_out), days=1, a_day=allowed) for one in (forest, single))
    return lambda rows: passes(forest(rows), single(rows), limit, alone)


def auroc(score: Matrix, odd: Bools) -> float:
    """Chance that an anomaly scores above an ordinary row; equal scores count half."""
    from scipy.stats import rankdata

    ranks, n = rankdata(score), int(odd.sum())
    return float((ranks[odd].sum() - n * (n + 1) / 2) / (n * (~odd).sum()))


def told(score: Matrix, held_out: Matrix, odd: Bools, allowed: float) -> tuple[int, int]:
    """Rows beyond the threshold that `allowed` held-out rows pass, and how many of them are anomalies."""
    beyond = score > threshold(held_out, days=1, a_day=allowed)
    return int(beyond.sum()), int((beyond & odd).sum())


PLAIN: dict[str, Detector] = {
    **{f"ours, {TREES} × {size}": ours(size) for size in SAMPLES}, "scikit-learn's default": default, "ECOD": ecod, "largest abs z": largest,
}  # fmt: skip


def one_set(held: Set) -> dict[str, list[float]]:
    """AUROC, average precision, precision at the budget, share told, of each detector, over the splits: 40 % trained, 20 % held out."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(held.rows))
        train, hold, test = np.split(held.rows[order], [int(0.4 * len(order)), int(0.6 * len(order))])
        odd = held.odd[order][-len(test) :]
        fitted = {name: fit(train, seed) for name, fit in PLAIN.items()}
        first, single = next(iter(fitted.values())), fitted["largest abs z"]
        for name, score in {"ours, as a night merges": merged(first, single, hold, SHARE * len(hold)), **fitted}.items():  # fmt: skip
            now = score(test)
            n, hits = told(now, score(hold), odd, SHARE * len(hold))
            found.setdefault(name, []).append([auroc(now, odd), average_precision(now, odd), hits / n if n else np.nan, n / len(test)])  # fmt: skip
    return {name: np.nanmean(rows, axis=0).tolist() for name, rows in found.items()}


def simulated(seed: int, share: float = 0.005) -> dict[str, Any]:
    """Simulated actor-days with the product's one-sided scores: where they lie, plain counts, labels."""
    frame, names, odd = actor_frame(seed, DAYS, ACTORS, share)
    day = (frame["day"].to_numpy("datetime64[D]") - np.datetime64(FIRST)).astype(int)
    parts = {"train": (day > 2) & (day < DAYS - LATER - HELD_OUT), "hold": (day >= DAYS - LATER - HELD_OUT) & (day < DAYS - LATER), "later": day >= DAYS - LATER}  # fmt: skip
    counts = np.log1p(frame[names].to_numpy(float))
    return {"z": scored(frame, names).z, "logs": counts, "odd": odd[parts["later"]], **parts}


def actor_table(budget: int = 5) -> list[str]:
    """The same figures on simulated actor-days, at a budget of so many a day, and how many anomalies are told."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        made = simulated(seed)
        train, hold, later = (made["z"][made[part]] for part in ("train", "hold", "later"))
        forest, single, odd = Forest(train, seed).score, lambda rows: rows.max(axis=1), made["odd"]
        ways = {"both, as a night merges": (merged(forest, single, hold, budget * HELD_OUT), hold, later)}
        ways |= {f"{name}, on our scores": (fit(train, seed), hold, later) for name, fit in list(PLAIN.items())[:3]}
        ways["largest of our scores"] = (single, hold, later)
        plain, hold_plain, later_plain = (made["logs"][made[part]] for part in ("train", "hold", "later"))
        ways |= {f"{name}, on log1p of counts": (fit(plain, seed), hold_plain, later_plain) for name, fit in list(PLAIN.items())[2:]}  # fmt: skip
        for name, (score, before, after) in ways.items():
            now = score(after)
            n, right = told(now, score(before), odd, budget * HELD_OUT)
            found.setdefault(name, []).append([auroc(now, odd), average_precision(now, odd), right / n if n else np.nan, right / odd.sum(), n / LATER])  # fmt: skip
        limit, alone = (threshold(one(hold), days=HELD_OUT, a_day=budget) for one in (forest, single))
        rows = [row for row, *_ in night.beyond(later, forest(later), limit, max(alone, night.ALONE_Z))]
        found.setdefault("the product", []).append([np.nan, np.nan, odd[rows].mean() if rows else np.nan, odd[rows].sum() / odd.sum(), len(rows) / LATER])  # fmt: skip
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # means of nothing are nothing
        means = {name: np.nanmean(rows, axis=0) for name, rows in found.items()}
    lines = [f"| {name} | {_cell(one[0])} | {_cell(one[1])} | {_cell(one[2])} | {one[3]:.0%} | {one[4]:.1f} |" for name, one in means.items()]  # fmt: skip
    return ["| detector | AUROC | average precision | precision of what is told | anomalies told | told a day |", "|---|---|---|---|---|---|", *lines]  # fmt: skip


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def detectors(data: Path) -> list[str]:
    """Part (a)."""
    held = sets(data, MOST)
    by_set = {one.name: one_set(one) for one in held}
    names = list(next(iter(by_set.values())))
    size = {one.name: f"{one.name} ({len(one.rows):,} of {one.whole:,} rows, {one.odd.mean():.1%})" for one in held}
    lines = ["### Detectors", "", f"ADBench: trained on 40 % without labels, threshold from 20 % held out (lets {SHARE:.0%} through), judged on 40 %; mean of {SEEDS} splits; at most {MOST:,} rows a set. AUROC / average precision / precision beyond the threshold. These rows have no actor and no day, so no detector has a baseline of one's own here.", ""]  # fmt: skip
    lines += [f"| set | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for name, found in by_set.items():
        lines.append(f"| {size[name]} | " + " | ".join(f"{one[0]:.3f} / {one[1]:.3f} / {one[2]:.2f}" for one in found.values()) + " |")  # fmt: skip
    means = [np.nanmean([found[name] for found in by_set.values()], axis=0) for name in names]
    lines.append("| mean | " + " | ".join(f"{one[0]:.3f} / {one[1]:.3f} / {one[2]:.2f}" for one in means) + " |")
    lines += ["", f"Simulated actor-days ({ACTORS} identities, {DAYS} days, {HELD_OUT} held out, judged on the last {LATER}; one in 200 is an anomaly; five a day as budget; {SEEDS} seeds; the simulation is ours, so the order of detectors is a hint and no proof). The product: with the standard deviations that it also asks for (see the budget below), which trade anomalies told for quiet days:", "", *actor_table()]  # fmt: skip
    return lines


def budget(_: Path) -> list[str]:
    """Part (b): days without any anomaly, so that every row told is a false one."""
    found: dict[int, dict[str, list[float]]] = {}
    for seed in range(6):
        made = simulated(seed, share=0)
        train, hold, later = (made["z"][made[part]] for part in ("train", "hold", "later"))
        forest = Forest(train, seed)
        before, held, after = (forest.score(rows) for rows in (train, hold, later))
        for target in (1, 5, 10, 20):
            limit = threshold(held, days=HELD_OUT, a_day=target)
            alone = max(threshold(hold.max(axis=1), days=HELD_OUT, a_day=target), night.ALONE_Z)
            trained = threshold(before, days=DAYS - LATER - HELD_OUT - 3, a_day=target)
            passed: dict[str, Any] = {"held out": (after > limit).sum(), "contamination": (after > trained).sum(), "product": len(night.beyond(later, after, limit, alone))}  # fmt: skip
            for name, n in passed.items():
                found.setdefault(target, {}).setdefault(name, []).append(float(n) / LATER / target)
    lines = ["### Budget", "", f"Told a day / budget, on {LATER} later days of {ACTORS} simulated identities without anomalies; mean (lowest to highest of 6 seeds). `contamination` is the share of the trained rows that may pass, which is what scikit-learn's setting does. The product, before it cuts a day at its budget: threshold from days held out and {night.LEAST_Z:.0f} standard deviations somewhere, or a single score beyond its own threshold and {night.ALONE_Z:.0f}.", "", "| budget a day | threshold from days held out | `contamination` | the product |", "|---|---|---|---|"]  # fmt: skip
    return lines + [f"| {target} | " + " | ".join(f"{np.mean(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in ways.values()) + " |" for target, ways in found.items()]  # fmt: skip


def hits(rows: Matrix, odd: Bools, seed: int, wrong: float | None) -> int:
    """Anomalies among the sixty rows that are shown one after the other, the highest first; `None`: nobody answers."""
    forest, draw = Forest(rows, seed), np.random.default_rng(seed)
    left, found = np.ones(len(rows), dtype=bool), 0
    score = forest.score(rows)
    for _ in range(ASKED):
        at = int(np.argmax(np.where(left, score, -np.inf)))
        left[at] = False
        found += int(odd[at])
        if wrong is not None:
            forest.learn(rows[at : at + 1], np.array([bool(odd[at]) != bool(draw.random() < wrong)]))
            score = forest.score(rows)
    return found


def verdicts(data: Path) -> list[str]:
    """Part (c)."""
    lines = ["### Verdicts", "", f"Anomalies among {ASKED} rows shown one after the other, the highest score first, each judged before the next is shown; mean of 2 seeds; at most {JUDGED_ROWS:,} rows a set; the larger sample. In brackets: ahead (+) or behind (−) no verdicts.", "", f"| set | anomalies | no verdicts | verdicts | {WRONG:.0%} of them wrong |", "|---|---|---|---|---|"]  # fmt: skip
    for held in sets(data, JUDGED_ROWS):
        means = [float(np.mean([hits(held.rows, held.odd, seed, wrong) for seed in (1, 2)])) for wrong in (None, 0.0, WRONG)]  # fmt: skip
        lines.append(f"| {held.name} ({len(held.rows):,} rows) | {held.odd.sum()} | {means[0]:.1f} | {means[1]:.1f} ({means[1] - means[0]:+.1f}) | {means[2]:.1f} ({means[2] - means[0]:+.1f}) |")  # fmt: skip
    return lines


def speed(_: Path, events: tuple[int, ...] = EVENTS, actors: int = 2_000) -> list[str]:
    """Part (d)."""
    lines = ["### Speed", "", f"Features of a day (`actor_days` whole: reading, concealing names, writing; 1,000 accounts, 5 sources, best of 2; goal for {EVENTS[-1]:,}: {GOAL_FEATURES} s):", "", "| events | s | s of a processor | events/s | times the row above |", "|---|---|---|---|---|"]  # fmt: skip
    before = None
    with tempfile.TemporaryDirectory(prefix="anomaly-") as folder:
        for n in events:
            settings, lake = project(Path(folder, str(n)), 5)
            write_events(lake, n, 5)
            wall, busy = min(_timed(functools.partial(actor_days, settings, lake, FIRST)) for _ in range(2))
            lines.append(f"| {n:,} | {wall:.2f} | {busy:.2f} | {n / wall:,.0f} | {'-' if before is None else f'{wall / before:.1f}'} |")  # fmt: skip
            before = wall
        settings, lake = project(Path(folder, "night"), 1)
        day = write_actor_days(lake, actors, night.HISTORY + 1)
        engine = open_state(f"sqlite:///{folder}/state.db")
        wall, busy = min(_timed(lambda: night.anomalies(settings, lake, engine, day)) for _ in range(2))
        engine.dispose()
    rows = actors * (night.HISTORY + 1)
    return [*lines, "", f"Anomalies of a night, {actors:,} identities, {rows:,} actor-days read, {TREES} trees of {SAMPLES[0]} rows for people and for services: {wall:.2f} s, {busy:.2f} s of a processor (goal {GOAL_NIGHT} s)."]  # fmt: skip


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    wall, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - busy


PARTS: dict[str, Callable[[Path], list[str]]] = {"detectors": detectors, "budget": budget, "verdicts": verdicts, "speed": speed}  # fmt: skip


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds anomaly_adbench/")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--write", action="store_true", help="put the section into docs/measurements.md")
    asked = parser.parse_args()
    if asked.only not in ("budget", "speed") and not list(asked.data.rglob("anomaly_adbench/*.npz")):
        parser.error(f"{asked.data} holds no anomaly_adbench/*.npz")
    lines = ["## Anomalies", "", "`python -m benchmarks.anomaly DATA --write`; a part alone by `--only`."]
    for name in [asked.only] if asked.only else PARTS:
        begun, load = time.perf_counter(), os.getloadavg()[0]
        part = PARTS[name](asked.data)
        part += ["", f"Taken in {time.perf_counter() - begun:.0f} s on {os.cpu_count()} processors; load over a minute {load:.1f} at the beginning, {os.getloadavg()[0]:.1f} at the end."]  # fmt: skip
        print("\n".join(part), flush=True)
        lines += ["", f"<!-- anomaly-{name} -->", *part, f"<!-- /anomaly-{name} -->"]
        if asked.write and asked.only:
            write_section(f"anomaly-{name}", "\n".join(part))
    if asked.write and not asked.only:
        write_section("anomaly", "\n".join(lines))


if __name__ == "__main__":
    main()
