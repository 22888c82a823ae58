"""Two hundred random lives of each source hold the laws; collectors with one fault each do not."""

from __future__ import annotations

from collections import Counter

import pytest

from audit_pipeline_tests.sources.histories import NAMES, found, get
from audit_pipeline_tests.sources.lives import GREEN, Stage, caught

CHUNK = 40
_STAGES: dict[str, Stage] = {}


@pytest.fixture
def stage(name: str, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """One for each type and worker."""
    if name not in _STAGES:
        _STAGES[name] = Stage(get(name), tmp_path_factory.mktemp(f"{name}-lives"))
    return _STAGES[name]


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
@pytest.mark.parametrize("name", NAMES)
def test_laws_hold(stage: Stage, first: int) -> None:
    """A seed that fails is played again by `python -m audit_pipeline_tests.sources.histories TYPE 1 SEED`."""
    played = [stage.play(seed) for seed in range(first, first + CHUNK)]
    assert [(found.seed, found.broken) for found in played if found.broken] == []
    assert [(found.seed, found.verdict, found.reasons) for found in played if found.quiet and found.verdict not in GREEN] == []  # fmt: skip
    assert [found.seed for found in played if found.quiet]
    fired = sum((found.fired for found in played), Counter[str]())
    assert len(fired) >= 5, fired


@pytest.mark.parametrize(("name", "mutant"), [(name, mutant) for name in NAMES for mutant in sorted(get(name).mutants)])
def test_a_wrong_collector_is_found(name: str, stage: Stage, mutant: str) -> None:
    """Within 500 histories; the one that found it last is tried first."""
    assert caught(stage, mutant, 500, found().get(name, {}).get(mutant, 0)) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_history(stage: Stage) -> None:
    assert stage.play(5) == stage.play(5)
