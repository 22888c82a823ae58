"""Intervals and medians against published values and against their definitions."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from audit_pipeline.kpis.statistics import kaplan_meier_median, poisson

# Garwood's exact 95 % limits as printed in tables (such as https://doi.org/10.1093/biomet/28.3-4.437)
GARWOOD = {0: (0.0, 3.6889), 1: (0.0253, 5.5716), 2: (0.2422, 7.2247), 5: (1.6235, 11.6683), 10: (4.7954, 18.3904), 50: (37.1110, 65.9188), 100: (81.3640, 121.6268)}  # fmt: skip


@pytest.mark.parametrize("n", GARWOOD)
def test_poisson_has_the_published_limits(n: int) -> None:
    assert list(poisson(n)) == pytest.approx(list(GARWOOD[n]), abs=6e-5)


def at_most(n: int, mean: float) -> float:
    return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(n + 1))


@pytest.mark.parametrize("n", [7, 101, 160, 2000])
def test_poisson_leaves_two_and_a_half_percent_on_each_side(n: int) -> None:
    low, high = poisson(n)
    assert 1 - at_most(n - 1, low) == pytest.approx(0.025, rel=0.01)
    assert at_most(n, high) == pytest.approx(0.025, rel=0.01)


def test_poisson_grows_with_the_count_across_the_change_of_method() -> None:
    limits = [poisson(n) for n in range(90, 110)]
    assert all(first[0] < second[0] and first[1] < second[1] for first, second in itertools.pairwise(limits))


def test_the_median_of_a_published_trial() -> None:
    """Remission in weeks under 6-MP, Freireich et al. 1963: median 23, of 21 patients of whom 12 were still in remission."""
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    running = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    cases = [(float(one), True) for one in ended] + [(float(one), False) for one in running]
    random.Random(7).shuffle(cases)
    assert kaplan_meier_median(cases) == 23


def test_without_censoring_half_have_ended_at_the_median() -> None:
    for size in (1, 2, 3, 10, 11):
        values = random.Random(size).sample(range(1000), size)
        assert kaplan_meier_median([(float(one), True) for one in values]) == sorted(values)[(size - 1) // 2]


def test_open_cases_are_neither_dropped_nor_taken_as_ended() -> None:
    ended = [(1.0, True), (2.0, True)]
    assert kaplan_meier_median([*ended, (50.0, False), (60.0, False), (70.0, False)]) is None  # most still wait
    assert kaplan_meier_median([*ended, (0.5, False)]) == 1.0  # one that began lately says nothing yet
    assert kaplan_meier_median([(5.0, False)]) is None
    assert kaplan_meier_median([]) is None
