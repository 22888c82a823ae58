"""Isolation forests over scored actor-days, thresholds by budget, and people's verdicts as weights of leaves.

Belongs here: fitting, scoring, thresholds. Not here: what is scored (`baseline`), days and tables (`night`).

Isolation forest: Liu, Ting, Zhou 2008 (https://doi.org/10.1109/ICDM.2008.17). Verdicts move the leaves of the judged rows, in
every tree by the same step: the simple update of Siddiqui et al. 2018 (https://doi.org/10.1145/3219819.3220083) on a fitted forest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
TREES, SAMPLE = 100, 2048
STEP = 1.0
"""what a verdict adds to, or takes from, each leaf of the judged row, in units of a tree's depth"""
DEPTH = 0.02
"""how much of the score a unit is"""


class Forest:
    """A fitted forest; the same rows and seed give the same scores."""

    def __init__(self, rows: Matrix, seed: int) -> None:
        from sklearn.ensemble import IsolationForest

        self._forest: Any = IsolationForest(
            n_estimators=TREES, max_samples=min(SAMPLE, len(rows)), contamination="auto", random_state=seed
        ).fit(rows)
        self._weights: list[dict[int, float]] = [{} for _ in range(TREES)]
        self.verdicts = 0

    def learn(self, rows: Matrix, confirmed: npt.NDArray[np.bool_]) -> None:
        """Replay verdicts about rows: confirmed ones raise what looks like them, false positives lower it."""
        if not len(rows):
            return
        self.verdicts += len(rows)
        leaves = self._leaves(rows)
        for tree, weights in enumerate(self._weights):
            for leaf, good in zip(leaves[:, tree].tolist(), confirmed.tolist(), strict=True):
                weights[leaf] = weights.get(leaf, 0.0) + (STEP if good else -STEP)

    def score(self, rows: Matrix) -> Matrix:
        """Higher is more unlike the rest."""
        plain = -np.asarray(self._forest.score_samples(rows), dtype=float)
        if not self.verdicts:
            return plain
        leaves = self._leaves(rows)
        moved = np.zeros(len(rows))
        for tree, weights in enumerate(self._weights):
            moved += [weights.get(leaf, 0.0) for leaf in leaves[:, tree].tolist()]
        return np.asarray(plain + DEPTH * moved / TREES * 10, dtype=float)

    def _leaves(self, rows: Matrix) -> npt.NDArray[np.int64]:
        given = np.asarray(rows, dtype=np.float32)
        return np.column_stack([tree.apply(given) for tree in self._forest.estimators_]).astype(np.int64)


def threshold(held_out: Matrix, *, days: int, a_day: float) -> float:
    """The score that rows of days not trained on passed at most `a_day` times a day; infinite where there is nothing to go by."""
    allowed = int(a_day * days)
    ranked = np.sort(held_out)[::-1]
    if not len(ranked) or days < 1:
        return float("inf")
    return float(ranked[min(allowed, len(ranked) - 1)])
