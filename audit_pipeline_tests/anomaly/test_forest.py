"""The forest scores as scikit-learn's does on the same trees, and verdicts move what looks like the judged rows."""

from __future__ import annotations

import numpy as np
import pytest

from audit_pipeline.anomaly import forest as module
from audit_pipeline.anomaly.forest import Forest, path_length, threshold


def _rows(seed: int, n: int = 3000) -> np.ndarray:
    drawn: np.ndarray = np.random.default_rng(seed).poisson(2.0, (n, 6)).astype(float)
    return drawn


@pytest.mark.parametrize("sample", [2, 64, 256, 4096])
def test_scores_are_those_of_scikit_learn_on_the_same_trees(sample: int) -> None:
    from sklearn.ensemble import IsolationForest

    rows = _rows(3, 1000)
    known = IsolationForest(n_estimators=module.TREES, max_samples=min(sample, 1000), random_state=5).fit(rows)
    ours = Forest(rows, seed=1, sample=sample)
    ours._trees = [tree.tree_ for tree in known.estimators_]
    ours._paths = [tree.compute_node_depths() - 1 + path_length(tree.n_node_samples) for tree in ours._trees]
    ours._moved = [np.zeros(tree.node_count) for tree in ours._trees]
    assert np.allclose(ours.score(rows), -known.score_samples(rows), atol=1e-12)


@pytest.mark.parametrize("sample", [300])
def test_its_own_trees_are_grown_like_those_of_scikit_learn(sample: int) -> None:
    from sklearn.ensemble import IsolationForest

    rows = np.random.default_rng(4).normal(size=(3000, 5))
    rows[:30] += 4
    known = -IsolationForest(n_estimators=200, max_samples=sample, random_state=5).fit(rows).score_samples(rows)
    other = -IsolationForest(n_estimators=200, max_samples=sample, random_state=6).fit(rows).score_samples(rows)
    ours = Forest(rows, seed=1, sample=sample)
    got = ours.score(rows)
    noise = np.abs(known - other).mean()
    assert np.abs(got - known).mean() < 2 * noise
    assert max(tree.max_depth for tree in ours._trees) == np.ceil(np.log2(sample))
    assert {int(tree.n_node_samples[0]) for tree in ours._trees} == {sample}


def test_a_seed_gives_the_same_scores_and_another_one_others() -> None:
    rows = _rows(1)
    first, again, other = (Forest(rows, seed).score(rows) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_verdicts_move_what_looks_like_the_judged_row_and_add_up() -> None:
    rows = np.vstack([_rows(2), np.full((4, 6), [40.0, 0, 0, 0, 0, 0]), np.full((4, 6), [0, 0, 40.0, 0, 0, 0])])
    forest = Forest(rows, seed=1)
    plain = forest.score(rows)
    forest.learn(rows[-1:], np.array([True]))
    forest.learn(rows[-5:-4], np.array([False]))
    moved = forest.score(rows) - plain
    assert moved[-4:] == pytest.approx(module.STEP, abs=0.1)
    assert moved[-8:-4] == pytest.approx(-module.STEP, abs=0.1)
    assert np.abs(moved[:-8]).mean() < 0.02
    forest.learn(rows[-1:], np.array([False]))
    assert forest.score(rows)[-1] < plain[-1] + 0.1
    assert forest.verdicts == 3


@pytest.mark.parametrize(("a_day", "told"), [(1, 7), (3, 21), (0, 0)])
def test_a_threshold_lets_the_held_out_days_pass_as_often_as_the_budget_says(a_day: int, told: int) -> None:
    scores = np.random.default_rng(1).random(500)
    assert (scores > threshold(scores, days=7, a_day=a_day)).sum() == told


def test_without_days_held_out_nothing_passes() -> None:
    assert threshold(np.array([]), days=7, a_day=5) == float("inf")
    assert threshold(np.array([1.0]), days=0, a_day=5) == float("inf")


def test_one_row_is_enough_to_fit() -> None:
    assert np.isfinite(Forest(np.zeros((1, 3)), seed=1).score(np.ones((2, 3)))).all()
