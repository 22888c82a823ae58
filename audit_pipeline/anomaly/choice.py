"""Which sample size the night's forest has: measured on what people said so far.

Belongs here: the comparison and its figures. Not here: forests (`forest`), which verdicts count (`verdicts`).

Small samples win where anomalies are many and alike, large ones where they are rare and scattered; no data set tells which a company
has, its verdicts do. Judged rows are those that some forest told, so the comparison is among those; the larger average precision wins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audit_pipeline.anomaly.forest import SAMPLES, Forest, Matrix

LEAST_JUDGED, LEAST_EACH = 10, 2
"""verdicts below which the default serves, and how many of them must be of either kind"""
Card = dict[str, str | int | dict[str, float]]


def choose(train: Matrix, judged: Matrix, confirmed: npt.NDArray[np.bool_], seed: int) -> tuple[Forest, Card]:
    """A forest of the size that ranks the judged rows best, before it learns from them, and the choice for the model's card.

    Args:
        train: rows to grow on.
        judged: rows with a verdict recorded before the day's as-of.
        confirmed: the verdicts.
        seed: of the forests.
    """
    default = Forest(train, seed, SAMPLES[0])
    kinds = (int(confirmed.sum()), int((~confirmed).sum()))
    sizes = {min(size, len(train)): size for size in reversed(SAMPLES)}
    if len(sizes) == 1:
        return default, {"sample": len(train), "choice": f"every row: fewer than {min(SAMPLES)}"}
    if sum(kinds) < LEAST_JUDGED or min(kinds) < LEAST_EACH:
        why = f"default: {kinds[0]} confirmed and {kinds[1]} false of {LEAST_JUDGED} verdicts needed, {LEAST_EACH} of either kind"
        return default, {"sample": SAMPLES[0], "choice": why}
    forests = {size: default if size == SAMPLES[0] else Forest(train, seed, size) for size in SAMPLES}
    precision = {size: average_precision(one.score(judged), confirmed) for size, one in forests.items()}
    best = max(SAMPLES, key=lambda size: precision[size])  # the first of equals
    beside = {"largest z": average_precision(judged.max(axis=1), confirmed)}
    figures = {f"sample {size}": round(value, 3) for size, value in precision.items()} | {name: round(value, 3) for name, value in beside.items()}  # fmt: skip
    return forests[best], {"sample": best, "choice": f"by {sum(kinds)} verdicts", "average_precision": figures}


def average_precision(score: Matrix, confirmed: npt.NDArray[np.bool_]) -> float:
    """Mean of the precision at each confirmed row, from the highest score down; rows of one score stand together."""
    order = np.argsort(-score, kind="stable")
    hits, ranked = np.cumsum(confirmed[order]), score[order]
    last = np.searchsorted(-ranked, -ranked, side="right")  # how many rows lie at or above
    return float((hits[last - 1] / last)[confirmed[order]].mean())
