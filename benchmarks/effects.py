"""False positives and power of effects, ours beside what others would use: `python -m benchmarks.effects [--n 100]`.

Belongs here: the comparison and its tables in `docs/measurements.md`. Not here: the series (`effects_families`), our method (`audit_pipeline.effects`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audit_pipeline.clock import DAY
from audit_pipeline.effects.judge import judge
from audit_pipeline.effects.lasting import back
from audit_pipeline.effects.model import Point, estimate
from audit_pipeline.effects.releases import compare
from audit_pipeline.effects.series import Series
from audit_pipeline.effects.windows import windows
from benchmarks.effects_families import CAMPAIGNS, FAMILIES, Family, Traffic, draw, hours
from benchmarks.effects_published import published
from benchmarks.tables import write_section

EFFECTS = (0.0, 0.2, 0.4)
Method = Callable[[Sequence[Point], Sequence[Point]], bool]


def _counts(points: Sequence[Point]) -> list[float]:
    return [point.n for point in points]


def _ours(before: Sequence[Point], after: Sequence[Point]) -> bool:
    down = judge(before, after)
    rises = down.estimate is not None and down.estimate.ratio > 1
    return (judge(before, after, direction="up") if rises else down).verdict == "verified"


def _regression(before: Sequence[Point], after: Sequence[Point]) -> bool:
    return estimate(before, after).p < 0.05


def _t_test(before: Sequence[Point], after: Sequence[Point]) -> bool:
    from scipy.stats import ttest_ind

    return bool(ttest_ind(_counts(before), _counts(after), equal_var=False).pvalue < 0.05)


def _mann_whitney(before: Sequence[Point], after: Sequence[Point]) -> bool:
    from scipy.stats import mannwhitneyu

    return bool(mannwhitneyu(_counts(before), _counts(after)).pvalue < 0.05)


def _poisson_ratio(before: Sequence[Point], after: Sequence[Point]) -> bool:
    from scipy.stats import binomtest

    first, second = int(sum(_counts(before))), int(sum(_counts(after)))
    return bool(binomtest(second, first + second, len(after) / (len(before) + len(after))).pvalue < 0.05)


def _causal_impact(before: Sequence[Point], after: Sequence[Point]) -> bool:
    import pandas as pd
    from causal_impact import CausalImpact

    points = [*before, *after]
    frame = pd.DataFrame({"y": _counts(points)}, index=pd.to_datetime([point.day for point in points]))
    first: list[str | int | pd.Timestamp] = [str(before[0].day), str(before[-1].day)]
    last: list[str | int | pd.Timestamp] = [str(after[0].day), str(after[-1].day)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CausalImpact(frame, first, last)
    return bool(found.summary_stats["p_value"] < 0.025)  # one tail


METHODS: dict[str, Method] = {
    "ours (joint rule)": _ours,
    "our regression alone": _regression,
    "t-test": _t_test,
    "Mann-Whitney": _mann_whitney,
    "Poisson ratio": _poisson_ratio,
    "bsts-causalimpact": _causal_impact,
}


def rejected(family: Family, n: int, slow: int) -> dict[str, list[float]]:
    """By method: share of series found improved, in per cent, for each of `EFFECTS`; the slow method sees `slow` of them."""
    found: dict[str, list[float]] = {}
    for name, method in METHODS.items():
        seen = slow if method is _causal_impact else n
        if seen:
            found[name] = [
                100 * sum(method(*draw(family, seed, effect)) for seed in range(seen)) / seen for effect in EFFECTS
            ]
    return found


def campaign(family: Family, n: int, *, cut: bool) -> float:
    """Share, in per cent, of useless fixes on the last day of a campaign that look verified, with the episode cut out or not."""
    verified = 0
    for seed in range(n):
        before, after = draw(family, seed)
        fixed, opened = after[0].day, after[0].day - family.campaign * DAY
        if cut:
            spans = windows(Series([*before, *after]), opened=opened, fixed=fixed, decision=after[-1].day + DAY)
            before, after = spans.points(Series(before), "before"), spans.points(Series(after), "after")
        verified += judge(before, after, promised=None).verdict == "verified"
    return 100 * verified / n


RELEASES = {
    "quiet: noise of the day 0.2, of the hour 0.3": Traffic(),
    "heavy: noise of the day 0.5, of neighbouring days 0.5, of the hour 1": Traffic(day=0.5, rho=0.5, hour=1.0),
    "other trouble: 3 to 10 times as many for some hours on one day in ten": Traffic(trouble=0.1),
    "weekends three times as many a request": Traffic(weekend=3.0),
    "few: 30 requests an hour": Traffic(requests=30),
}


def release(traffic: Traffic, n: int, factor: float, span: int) -> dict[str, float]:
    """Share of verdicts, in per cent, of simulated releases with `factor` times as many errors after; two services as control."""
    time_ = dt.datetime(2026, 3, 18, 10, tzinfo=dt.UTC)
    found = {"worse": 0, "better": 0}
    for seed in range(n):
        rng = np.random.default_rng([seed, 31])
        known = {name: hours(traffic, rng, time_, factor if name == "shop" else 1.0) for name in ("shop", "pay", "search")}  # fmt: skip
        verdict = compare(known, "shop", time_, span, ["pay", "search"]).verdict
        if verdict in found:
            found[verdict] += 1
    return {name: 100 * count / n for name, count in found.items()}


def lasting(family: Family, n: int, returns: float = 1.0) -> tuple[float, float]:
    """Of verified rates (-60 %, half was promised): share, in per cent, said to be back within 84 days, and after how many days (median).

    The rate is `returns` times as high from 20 days after the decision date on; days are counted from then.
    """
    days = []
    for seed in range(n):
        _, after = draw(replace(family, before=28, after=28 + 84), seed, 0.6)
        points = [one if i < 48 else Point(one.day, float(round(one.n * returns))) for i, one in enumerate(after)]
        found = back(points, after[28].day, rate_before=family.mean, promised=0.5)
        days += [] if found is None else [(found - after[48].day).days + 1]
    return 100 * len(days) / n, float(np.median(days)) if days else math.nan


def _cost() -> float:
    """Milliseconds of a processor for one verdict, 84 days before."""
    before, after = draw(FAMILIES["H"], 1, 0.3)
    judge(before, after, promised=0.5)
    begin = time.process_time()
    for _ in range(20):
        judge(before, after, promised=0.5)
    return (time.process_time() - begin) / 20 * 1000


def _release_cost() -> float:
    """Milliseconds of a processor for one verdict of a release over 7 days."""
    begin = time.process_time()
    release(Traffic(), 10, 1.0, 168)
    drawn = time.process_time() - begin
    begin = time.process_time()
    for seed in range(10):
        for name in ("shop", "pay", "search"):
            hours(Traffic(), np.random.default_rng([seed, len(name)]), dt.datetime(2026, 3, 18, 10, tzinfo=dt.UTC), 1.0)
    return max(drawn - (time.process_time() - begin), 0.0) / 10 * 1000


def _published(folder: Path) -> list[str]:
    rows = [
        f"| {title} | {effect * 100:+.1f} | {(found.ratio - 1) * 100:+.1f} ({(found.low - 1) * 100:+.1f} to {(found.high - 1) * 100:+.1f}) |"
        for title, effect, found in published(folder)
    ]
    head = ["", "Published interrupted time series, our regression beside a trend: change in % with its 95 % interval", "", "| series | published | ours |", "|---|---|---|"]  # fmt: skip
    return [*head, *rows] if rows else ["", "Published series were not at hand."]


def markdown(n: int, slow: int, folder: Path) -> str:
    """The section."""
    lines = [
        "## Effects: false positives and power",
        "",
        f"Share (%) of {n} simulated series ({slow} for bsts-causalimpact) said to have changed, up or down: nothing done / −20 % / −40 %.",
        f"Standard error of an entry of 5 %: {100 * math.sqrt(0.05 * 0.95 / n):.1f} points.",
        "",
        f"| family | {' | '.join(name for name in METHODS if slow or METHODS[name] is not _causal_impact)} |",
        f"|---|{'---|' * (len(METHODS) - (0 if slow else 1))}",
    ]
    for family in FAMILIES.values():
        found = rejected(family, n, slow)
        cells = [" / ".join(f"{share:.0f}" for share in shares) for shares in found.values()]
        lines.append(f"| {family.title} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    lines += ["", "A useless fix on the last day of a campaign (84 days before, of which the last are twice as many; 28 after): verified, %", "", "| campaign | episode cut out | not cut out |", "|---|---|---|"]  # fmt: skip
    for family in CAMPAIGNS.values():
        lines.append(f"| {family.campaign} days | {campaign(family, n, cut=True):.0f} | {campaign(family, n, cut=False):.0f} |")  # fmt: skip
        print(lines[-1], flush=True)
    lines += ["", "A verified rate (−60 %, half was promised) said to be back within 84 days, %: nothing happens / all of it returns 20 days after the decision date, in brackets days until it is seen (median)", "", "| family | nothing happens | all returns |", "|---|---|---|"]  # fmt: skip
    for family in (FAMILIES[name] for name in "ABCE"):
        (by_chance, _), (seen, late) = lasting(family, n), lasting(family, n, 2.5)
        lines.append(f"| {family.title} | {by_chance:.0f} | {seen:.0f} ({late:.0f}) |")
        print(lines[-1], flush=True)
    lines += ["", "Releases (300 requests an hour, 1 % errors; two services as control), errors so many times as many from the release on: worse / better, %", "", "| | 24 h: × 1 | × 1.5 | × 2 | × 5 | 7 d: × 1 | × 1.5 | × 2 | × 5 |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for title, traffic in RELEASES.items():
        cells = [release(traffic, n, factor, span) for span in (24, 168) for factor in (1.0, 1.5, 2.0, 5.0)]
        lines.append(
            f"| {title} | {' | '.join(' / '.join(f'{share:.0f}' for share in one.values()) for one in cells)} |"
        )
        print(lines[-1], flush=True)
    lines += _published(folder)
    return "\n".join(
        [*lines, "", f"One verdict takes {_cost():.0f} ms of a processor, one of a release {_release_cost():.0f} ms."]
    )


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="series a cell")
    parser.add_argument("--slow", type=int, default=25, help="series a cell for bsts-causalimpact")
    parser.add_argument("--published", type=Path, default=Path("effect_published"), help="folder of published series")
    arguments = parser.parse_args()
    write_section("effects", markdown(arguments.n, arguments.slow, arguments.published))


if __name__ == "__main__":
    main()
