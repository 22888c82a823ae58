"""Isolation forests over scored actor-days, thresholds by budget, and people's verdicts as weights of leaves.

Belongs here: fitting, scoring, thresholds. Not here: what is scored (`baseline`), which sample size (`choice`), days and tables (`night`).

Isolation forest: Liu, Ting, Zhou 2008 (https://doi.org/10.1109/ICDM.2008.17). Verdicts move the leaves of the judged rows, in
every tree by the same step: the simple update of Siddiqui et al. 2018 (https://doi.org/10.1145/3219819.3220083) on a fitted forest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
TREES = 200
SAMPLES = (4096, 256)
"""Rows a tree; the first serves until verdicts speak for the other. Large ones see what is rare and scattered, small ones what is
rare and alike."""
STEP = 0.2
"""what a verdict adds to, or takes from, the score of a row that ends in the judged row's leaf in every tree"""


class Forest:
    """A fitted forest; the same rows and seed give the same scores.

    Its trees are those that scikit-learn's IsolationForest is made of (extremely random ones on random targets, one feature a split,
    depth log2 of the sample); its own keeping of books takes four times as long as growing them on a small company's days.
    """

    def __init__(self, rows: Matrix, seed: int, sample: int = SAMPLES[0]) -> None:
        """Grow the trees.

        Args:
            rows: at least one.
            seed: of the samples and splits.
            sample: rows a tree; all, where there are fewer.
        """
        from sklearn import config_context
        from sklearn.tree import ExtraTreeRegressor

        draw, given, size = np.random.default_rng(seed), _given(rows), min(sample, len(rows))
        splits = np.random.RandomState(seed)  # one for all trees: making one takes as long as a small tree
        depth = math.ceil(math.log2(max(size, 2)))
        self._trees: list[Any] = []
        with config_context(skip_parameter_validation=True):
            for _ in range(TREES):
                tree = ExtraTreeRegressor(max_features=1, max_depth=depth, random_state=splits)
                chosen = given[draw.choice(len(given), size, replace=False, shuffle=False)]
                self._trees.append(tree.fit(chosen, draw.random(size), check_input=False).tree_)
        left = path_length(np.arange(size + 1))
        self._paths = [tree.compute_node_depths() - 1 + left[tree.n_node_samples] for tree in self._trees]
        self._usual = max(float(left[size]), 1.0)
        self._moved = [np.zeros(tree.node_count) for tree in self._trees]
        self.verdicts = 0

    def learn(self, rows: Matrix, confirmed: npt.NDArray[np.bool_]) -> None:
        """Replay verdicts about rows: confirmed ones raise what looks like them, false positives lower it."""
        if not len(rows):
            return
        self.verdicts += len(rows)
        given, steps = _given(rows), np.where(confirmed, STEP, -STEP)
        for tree, moved in zip(self._trees, self._moved, strict=True):
            np.add.at(moved, tree.apply(given), steps)

    def score(self, rows: Matrix) -> Matrix:
        """Higher is more unlike the rest: between 0 and 1, and what verdicts moved."""
        given, path, moved = _given(rows), np.zeros(len(rows)), np.zeros(len(rows))
        for at, tree in enumerate(self._trees):
            leaves = tree.apply(given)
            path += self._paths[at][leaves]
            moved += self._moved[at][leaves]
        return np.asarray(2.0 ** (-path / TREES / self._usual) + moved / TREES, dtype=float)


def _given(rows: Matrix) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(rows, dtype=np.float32)


def path_length(n: npt.NDArray[Any]) -> Matrix:
    """Mean path of an unsuccessful search among n rows, in edges (Liu et al., equation 1)."""
    counted = np.maximum(np.asarray(n, dtype=float), 3)
    long = 2 * (np.log(counted - 1) + np.euler_gamma) - 2 * (counted - 1) / counted
    return np.select([np.asarray(n) <= 1, np.asarray(n) == 2], [0.0, 1.0], long)


def threshold(held_out: Matrix, *, days: int, a_day: float) -> float:
    """The score that rows of days not trained on passed at most `a_day` times a day; infinite where there is nothing to go by."""
    allowed = int(a_day * days)
    ranked = np.sort(held_out)[::-1]
    if not len(ranked) or days < 1:
        return float("inf")
    return float(ranked[min(allowed, len(ranked) - 1)])


def passes(score: Matrix, largest: Matrix, limit: float, alone: float) -> Matrix:
    """How far a row passes a threshold, as a share of it: the forest's, or that of the largest single score; told above 1.

    A feature that nobody ever had splits no tree, so that the forest cannot see the first one who has much of it.
    """
    return np.maximum(score / limit, largest / alone)
