"""Fixtures: the synthetic company's lake, as it is, good throughout, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.reports.model import build_daily
from audit_pipeline_tests.reports.company import LAST, Company


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A lake with trouble and hostile names."""
    return Company(tmp_path).fill()


@pytest.fixture
def report(company: Company) -> dict[str, Any]:
    """Its report of the last day, as edition 1."""
    built = build_daily(company.settings, company.lake, company.engine, LAST, company.clock)
    return {**built, "edition": 1}
