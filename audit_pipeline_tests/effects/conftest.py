"""Hundreds of small partitions are written by these tests: nothing here needs to survive a power cut."""

import pytest

from audit_pipeline.lake import store


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_sync", lambda _path: None)
