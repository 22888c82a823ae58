"""Two hundred random lives of a search store hold the laws; collectors with one fault each do not."""

from __future__ import annotations

from collections import Counter

import pytest

from audit_pipeline_tests.sources.histories import GREEN, MUTANTS, Stage, caught

CHUNK = 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("histories"))


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
def test_laws_hold(stage: Stage, first: int) -> None:
    """A seed that fails is played again by `python -m audit_pipeline_tests.sources.histories 1 SEED`."""
    played = [stage.play(seed) for seed in range(first, first + CHUNK)]
    assert [(found.seed, found.broken) for found in played if found.broken] == []
    assert [(found.seed, found.verdict, found.reasons) for found in played if found.quiet and found.verdict not in GREEN] == []  # fmt: skip
    assert [found.seed for found in played if found.quiet]
    fired = sum((found.fired for found in played), Counter[str]())
    assert len(fired) > 10, fired


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_wrong_collector_is_found(stage: Stage, name: str) -> None:
    assert caught(stage, name, 500) is not None


def test_a_seed_gives_the_same_history(stage: Stage) -> None:
    assert stage.play(5) == stage.play(5)
