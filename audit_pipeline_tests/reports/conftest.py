"""Fixtures: the synthetic company's lake, as it is, good throughout, and its report."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline import kpis
from audit_pipeline.kpis import Kpi, period
from audit_pipeline.reports.model import build_daily
from audit_pipeline.settings import Settings
from audit_pipeline_tests.reports.company import LAST, Company

KPIS = ("failed_sign_ins", "error_rate_by_service", "completeness", "lag")


@pytest.fixture(scope="package", autouse=True)
def four_kpis() -> Iterator[None]:
    """A catalogue of the KPIs that the synthetic company has: what else is shipped is not these tests' business."""
    shipped = kpis.catalogue

    def few(settings: Settings | None = None) -> dict[str, Kpi]:
        return {name: one for name, one in shipped(settings).items() if name in KPIS}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kpis, "catalogue", few)
        patch.setattr(period, "load", lambda settings=None: (few(settings), []))
        yield


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake once written; tests work on copies of it."""
    root = tmp_path_factory.mktemp("company")
    Company(root).fill()
    return root


@pytest.fixture(scope="session")
def filled_good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that asks for nothing."""
    root = tmp_path_factory.mktemp("good")
    Company(root).fill(good=True)
    return root


@pytest.fixture(scope="package")
def built(filled: Path, four_kpis: None) -> dict[str, Any]:
    """The report of the last day, built once."""
    company = Company(filled)
    return build_daily(company.settings, company.lake, company.engine, LAST, company.clock)


@pytest.fixture
def good_company(filled_good: Path, tmp_path: Path) -> Company:
    """A copy of the lake that asks for nothing."""
    shutil.copytree(filled_good, tmp_path, dirs_exist_ok=True)
    return Company(tmp_path)


@pytest.fixture
def company(filled: Path, tmp_path: Path) -> Company:
    """A lake with trouble and hostile names."""
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    return Company(tmp_path)


@pytest.fixture
def report(built: dict[str, Any]) -> dict[str, Any]:
    """The report of the last day, as edition 1."""
    return {**copy.deepcopy(built), "edition": 1, "corrects": None}
