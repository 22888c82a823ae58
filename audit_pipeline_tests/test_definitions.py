"""Dagster's way in: the graph of a configuration, and a graph that says why where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.settings import CONFIG_ENV

GOOD = "start: 2025-06-01\nsources: {one: {type: files, format: cloudtrail, paths: [x]}, two: {type: files, format: cloudtrail, paths: [x]}}\n"
_ASK = """
import json, sys
from audit_pipeline.definitions import defs
specs = list(defs.resolve_all_asset_specs())
print(json.dumps({
    "assets": sorted(spec.key.to_user_string() for spec in specs),
    "told": [spec.key.to_user_string() for spec in specs if not spec.description],
    "texts": {spec.key.to_user_string(): spec.description for spec in specs},
    "jobs": sorted(job.name for job in defs.jobs or []),
    "schedules": sorted(s.name for s in defs.schedules or []),
    "sensors": sorted(s.name for s in defs.sensors or []),
    "heavy": sorted({"great_expectations", "sklearn", "scipy"} & set(sys.modules)),
}))
"""


def _ask(folder: Path, text: str | None) -> dict[str, Any]:
    """What a fresh process sees, as Dagster's code server does."""
    if text is not None:
        (folder / "pipeline.yaml").write_text(text)
    home = folder / "home"
    home.mkdir()
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(Path(__file__).parent.parent)}
    environment.pop(CONFIG_ENV, None)
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, cwd=folder, env=environment, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_source_has_its_pair_and_the_day_its_tables(tmp_path: Path) -> None:
    found = _ask(tmp_path, GOOD)
    wanted = {"raw/one", "raw/two", "events/one", "events/two", "completeness", "detections", "findings", "kpis", "report/daily", "mail/daily"}  # fmt: skip
    assert wanted <= set(found["assets"])
    assert {"nightly", "recompute"} <= set(found["jobs"])
    assert found["schedules"]
    assert len(found["sensors"]) >= 2
    assert (found["told"], found["heavy"]) == ([], [])


@pytest.mark.parametrize("text", [None, "", GOOD + "lakes: x\n"])
def test_without_a_configuration_the_graph_says_why_and_runs_nothing_by_itself(tmp_path: Path, text: str | None) -> None:  # fmt: skip
    found = _ask(tmp_path, text)
    assert "configuration_is_missing" in found["assets"]
    reason = {None: "no such file", "": "holds no keys"}.get(text, "did you mean 'lake'")
    assert reason in found["texts"]["configuration_is_missing"]
    assert (found["schedules"], found["sensors"]) == ([], [])
    assert len(found["assets"]) > 1
