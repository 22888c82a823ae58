"""What Dagster shows of a source with a list of formats."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from audit_pipeline.orchestration.assets.sources import events_asset
from audit_pipeline.settings import Settings
from audit_pipeline_tests.formats.test_ecs import SIGN_IN, hit, page
from audit_pipeline_tests.formats.test_routed import RULES, Mixed, of_k8s, of_trail
from audit_pipeline_tests.sources.world import DAY, SOURCE


@pytest.mark.parametrize(("kind", "rest", "unmatched"), [("files", "ecs/1", 0), ("elasticsearch", "ecs/1 unmatched", 2)])  # fmt: skip
def test_how_many_events_each_format_read_and_how_many_records_met_no_condition(
    tmp_path: Path, kind: str, rest: str, unmatched: int
) -> None:
    world = Mixed(tmp_path)
    world.put("page.json", page(of_k8s(1), of_trail(2), of_trail(3), hit(4, SIGN_IN), hit(5, SIGN_IN)))
    world.collect()
    settings = world.settings
    if kind != "files":  # the same lake, read as a store's whose own format nobody named
        source = {"type": kind, "format": RULES, "http": {"url": "http://localhost"}, "options": {"index": "*"}}
        text = json.dumps({"start": "2025-06-01", "sources": {SOURCE: source}})
        settings = Settings.from_text(text, tmp_path / "pipeline.yaml")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([events_asset(settings, SOURCE)], partition_key=DAY.isoformat(), instance=instance)
    (told,) = result.asset_materializations_for_node(f"events__{SOURCE}")
    table = told.metadata["formats"]
    assert isinstance(table, dg.TableMetadataValue)
    shown = [(record.data["format"], record.data["events"]) for record in table.records]
    assert shown == [("cloudtrail/2", 2), (rest, 2), ("kubernetes_audit/1", 1)]
    assert told.metadata["met no condition"].value == unmatched
