"""The benchmark of anomalies measures what it says, on small made-up rows."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest

from audit_pipeline.anomaly.forest import Forest
from benchmarks import anomaly
from benchmarks.anomaly_data import Set, actor_frame, sets
from benchmarks.tables import write_section


def _made(n: int = 600) -> Set:
    draw = np.random.default_rng(3)
    rows, odd = draw.normal(size=(n, 4)), np.zeros(n, dtype=bool)
    odd[draw.permutation(n)[:30]] = True
    rows[odd, 0] += 7
    return Set("made", rows, odd, n)


def test_every_detector_finds_what_is_far_out_and_none_finds_labels_that_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(anomaly, "SEEDS", 2)
    held = _made()
    clear = anomaly.one_set(held)
    shuffled = anomaly.one_set(held._replace(odd=np.random.default_rng(1).permutation(held.odd)))
    assert set(clear) == {"ours, as a night merges", *anomaly.PLAIN}
    for name, (area, precision, *_) in clear.items():
        assert area > 0.85, name
        assert precision > 0.3, name
        assert 0.3 < shuffled[name][0] < 0.7, name


def test_ecod_is_the_sum_of_the_logs_of_tail_probabilities() -> None:
    train = np.array([[1.0], [2.0], [3.0], [10.0]])  # skewed to the right
    got = anomaly.ecod(train)(np.array([[10.0], [1.0], [2.0]]))
    assert got == pytest.approx([-np.log(1 / 4), -np.log(1 / 4), -np.log(2 / 4)])


@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_that_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(seed)
    score, odd = draw.integers(0, 9, 80).astype(float), draw.random(80) < 0.3
    assert anomaly.auroc(score, odd) == pytest.approx(roc_auc_score(odd, score))


def test_verdicts_find_more_than_none_and_nobody_answering_is_the_static_order() -> None:
    held = _made(400)
    static = held.odd[np.argsort(-Forest(held.rows, 1).score(held.rows), kind="stable")[: anomaly.ASKED]].sum()
    assert anomaly.hits(held.rows, held.odd, 1, None) == static
    rare = np.zeros(400, dtype=bool)
    rare[held.rows[:, 1] > 1.2] = True  # what is odd only by what people say
    assert anomaly.hits(held.rows, rare, 1, 0.0) > anomaly.hits(held.rows, rare, 1, None)


def test_simulated_anomalies_are_of_the_last_days_and_none_are_asked_for_where_there_are_none() -> None:
    frame, names, odd = actor_frame(1, 30, 40, 0.2)
    assert odd.any()
    assert frame.loc[odd, "day"].min() >= frame["day"].max() - np.timedelta64(13, "D")
    assert (frame[names].sum(axis=1) > 0).all()
    assert not actor_frame(1, 30, 40, 0)[2].any()


def test_a_set_is_cut_to_its_limit_by_a_constant_seed(tmp_path: Path) -> None:
    folder = tmp_path / "anomaly_adbench"
    folder.mkdir()
    np.savez(folder / "9_made.npz", X=np.arange(200.0).reshape(100, 2), y=np.arange(100) % 2)
    (first,), (again,) = sets(tmp_path, 10), sets(tmp_path, 10)
    assert (first.name, first.rows.shape, first.whole) == ("made", (10, 2), 100)
    assert np.array_equal(first.rows, again.rows)
    assert np.array_equal(first.odd, first.rows[:, 0] // 2 % 2 == 1)


def test_speed_says_events_and_seconds() -> None:
    lines = anomaly.speed(Path(), events=(2_000, 4_000), actors=40)
    rows = [line.split("|")[1:-1] for line in lines if line.startswith(("| 2,000", "| 4,000"))]
    assert len(rows) == 2
    for count, wall, _, rate, _ in rows:
        assert float(count.replace(",", "")) / float(rate.replace(",", "")) == pytest.approx(float(wall), abs=0.006)


def test_without_the_sets_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["anomaly", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        anomaly.main()
    assert ended.value.code == 2


def test_a_part_alone_replaces_its_own_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "measurements.md"
    file.write_text(
        "<!-- anomaly -->\nhead\n<!-- anomaly-budget -->\nold\n<!-- /anomaly-budget -->\ntail\n<!-- /anomaly -->\n"
    )
    monkeypatch.setattr(sys, "argv", ["anomaly", str(tmp_path), "--only", "budget", "--write"])
    monkeypatch.setattr(anomaly, "write_section", functools.partial(write_section, file=file))
    monkeypatch.setitem(anomaly.PARTS, "budget", lambda _: ["new"])
    anomaly.main()
    text = file.read_text()
    assert "old" not in text
    assert text.index("head") < text.index("new") < text.index("Taken in") < text.index("tail")
