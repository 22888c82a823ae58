"""The sample size is the one that ranks the judged rows best, and the default until there are verdicts enough."""

from __future__ import annotations

import numpy as np
import pytest

from audit_pipeline.anomaly import choice
from audit_pipeline.anomaly.choice import average_precision, choose
from audit_pipeline.anomaly.forest import SAMPLES

ROWS = 6000


def _clustered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Many alike: large samples fill the cluster with leaves of its own and take it for usual."""
    draw = np.random.default_rng(seed)
    rows = np.maximum(draw.normal(size=(ROWS, 6)), 0)
    rows[:60] = 4 + draw.normal(0, 0.05, (60, 6))
    rim = np.maximum(draw.normal(size=(12, 6)), 0)
    rim[:, 0] += 6
    return rows, np.vstack([rows[:12], rim])


def _scattered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rare and unlike each other, against rows that are only at the rim."""
    draw = np.random.default_rng(seed)
    rows = np.maximum(draw.normal(size=(ROWS, 12)), 0)
    odd = np.maximum(draw.normal(size=(12, 12)), 0)
    odd[np.arange(12), draw.integers(0, 12, 12)] += 7
    return rows, np.vstack([odd, rows[np.argsort(-rows.sum(axis=1))[:12]]])


@pytest.mark.parametrize(("made", "seed"), [(_clustered, 1), (_scattered, 2)])
def test_the_size_that_ranks_the_judged_rows_best_wins(made: object, seed: int) -> None:
    assert callable(made)
    rows, judged = made(seed)
    confirmed = np.arange(24) < 12
    forest, card = choose(rows, judged, confirmed, 1)
    figures = card["average_precision"]
    assert isinstance(figures, dict)
    by_size = {size: figures[f"sample {size}"] for size in SAMPLES}
    assert card["sample"] == max(SAMPLES, key=lambda size: by_size[size])
    assert by_size[SAMPLES[0]] != by_size[SAMPLES[1]]
    assert figures["largest z"] == pytest.approx(average_precision(judged.max(axis=1), confirmed), abs=0.001)
    assert figures[f"sample {card['sample']}"] == pytest.approx(average_precision(forest.score(judged), confirmed), abs=0.001)  # fmt: skip


def test_both_sizes_can_win() -> None:
    wins = {choose(*made(1), np.arange(24) < 12, 1)[1]["sample"] for made in (_clustered, _scattered)}
    assert wins == set(SAMPLES)


@pytest.mark.parametrize(("confirmed", "false"), [(0, 0), (4, 5), (20, 1), (1, 20)])
def test_with_few_verdicts_or_of_one_kind_the_default_serves(confirmed: int, false: int) -> None:
    rows, judged = _clustered(1)
    said = np.arange(confirmed + false) < confirmed
    _, card = choose(rows, judged[:12].repeat(2, axis=0)[: len(said)], said, 1)
    assert card["sample"] == SAMPLES[0]
    assert f"{confirmed} confirmed and {false} false" in str(card["choice"])
    assert "average_precision" not in card


def test_with_fewer_rows_than_the_small_sample_there_is_nothing_to_choose() -> None:
    rows, judged = _clustered(1)
    _, card = choose(rows[: min(SAMPLES) - 1], judged, np.arange(24) < 12, 1)
    assert card["sample"] == min(SAMPLES) - 1
    assert choice.LEAST_JUDGED <= 24


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import average_precision_score

    draw = np.random.default_rng(seed)
    score, said = draw.integers(0, 6, 40).astype(float), draw.random(40) < 0.4
    assert average_precision(score, said) == pytest.approx(average_precision_score(said, score))
