"""What all tests share: a skip is shown with its reason, and one that is not on the short list (`skips.txt`) fails the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how fast a busy machine is says nothing about the code
settings.load_profile("untimed")
_SET_BY_US = ("DAGSTER_HOME", "AUDIT_PIPELINE_CONFIG")
_ALLOWED = Path(__file__).with_name("skips.txt")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What opening Dagster's history sets for this process and its children is no other test's."""
    before = {name: os.environ.pop(name) for name in _SET_BY_US if name in os.environ}
    yield
    for name in _SET_BY_US:
        os.environ.pop(name, None)
    os.environ.update(before)


def _allowed() -> list[str]:
    lines = [line.split("#", 1)[0].strip() for line in _ALLOWED.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def _reason(report: pytest.TestReport) -> str:
    return (
        str(report.longrepr[2]).removeprefix("Skipped: ")
        if isinstance(report.longrepr, tuple)
        else str(report.longrepr)
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    allowed = _allowed()
    strange = sorted(
        {_reason(report) for report in skipped if not any(_reason(report).startswith(text) for text in allowed)}
    )
    if strange and reporter:
        reporter.write_line(
            f"\nskipped for reasons that {_ALLOWED.name} does not allow: {'; '.join(strange)}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
