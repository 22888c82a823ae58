"""Shipped rules: each part of a condition is there because a test event of the rule needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from audit_pipeline.detections import rule_tests, sigma
from audit_pipeline.settings import Settings

FORMATS = {"aws": "cloudtrail", "cluster": "kubernetes_audit", "hosts": "linux_auth", "gate": "hoop"}
SINGLE = [file for file in sigma.rule_files(sigma.SHIPPED) if len(documents := list(yaml.safe_load_all(file.read_text(encoding="utf-8")))) == 1 and "history" not in documents[0]]  # fmt: skip
NEVER = {"x_source": "no source of that name"}


def changed(rule: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rule as often as its condition has parts, one of them never true each time."""
    parts = rule["detection"]
    return {name: {**rule, "detection": {**parts, name: NEVER}} for name in parts if name != "condition"}


@pytest.mark.parametrize("file", SINGLE, ids=lambda file: file.stem)
def test_every_part_of_a_condition_is_needed_by_a_test_event(file: Path, tmp_path: Path) -> None:
    listed = ", ".join(f"{name}: {{type: files, format: {form}}}" for name, form in FORMATS.items())
    settings = Settings.from_text(f"start: 2026-01-01\nsources: {{{listed}}}", tmp_path / "pipeline.yaml")
    rule = sigma.read(file, settings)
    conditions = [rule.where]
    variants = changed(yaml.safe_load(file.read_text(encoding="utf-8")))
    for name, variant in variants.items():
        other = tmp_path / f"{name}.yml"
        other.write_text(yaml.safe_dump(variant), encoding="utf-8")
        conditions.append(sigma.read(other, settings).where)
    cases = yaml.safe_load(rule.tests.read_text(encoding="utf-8"))
    told = []
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for case in (*cases["positive"], *cases["negative"]):
            con.register("events", rule_tests.events(case["events"], rule.sources[0]))
            columns = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
            told.append(con.execute(f"SELECT {columns} FROM events").fetchall()[0])
    as_it_is, *without = zip(*told, strict=True)
    assert [name for name, seen in zip(variants, without, strict=True) if seen == as_it_is] == []
