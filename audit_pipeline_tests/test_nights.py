"""What the command line says of a night, beside the verdicts that are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_pipeline import nights
from audit_pipeline_tests.access.world import FIRST, Keeping


def test_a_collection_that_failed_after_a_whole_one_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The day's verdict stands by the first; who ran the second reads that it failed."""
    world = Keeping(tmp_path)
    world.whole("elastic", FIRST)
    world.entry("shop", FIRST, failed=True)
    world.whole("shop", FIRST)
    assert not nights._tell_failed_collections(world.settings, world.lake, [FIRST])
    world.entry("elastic", FIRST, failed=True)
    assert nights._tell_failed_collections(world.settings, world.lake, [FIRST])
    said = capsys.readouterr()
    assert (said.out, said.err.strip()) == ("", f"{FIRST}  elastic: this collection FAILED: no answer")
