"""The synthetic company of the reports' tests, and SMTP servers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from audit_pipeline_tests.mail.smtp import Server
from audit_pipeline_tests.reports.conftest import built, company, filled, four_kpis, report

__all__ = ["built", "company", "filled", "four_kpis", "report"]


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts real SMTP servers, and stops them at the end."""
    running: list[Server] = []

    def start(**behaviour: object) -> Server:
        server = Server(**behaviour)  # type: ignore[arg-type]
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()
