"""The committed reference pages are what the code says, and name every key and column."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from audit_pipeline.detections.sigma import SHIPPED, rule_files
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.reference import PAGES, commands, configuration, tables, write
from audit_pipeline.reference_rules import rules
from audit_pipeline.sections import SourceSettings
from audit_pipeline.settings import Settings

COMMITTED = Path(__file__).parent.parent / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_committed_page_is_what_the_code_says(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    made = (tmp_path / name).read_text(encoding="utf-8")
    assert (COMMITTED / name).read_text(encoding="utf-8") == made, (
        "run: python -m audit_pipeline.reference docs/reference"
    )


def test_every_key_has_a_meaning() -> None:
    rows = [line.split(" | ") for line in configuration().splitlines() if line.startswith("| `")]
    assert all(len(row) == 4 for row in rows)
    assert [row[0] for row in rows if not row[3].strip(" |")] == []
    shown = {row[0].strip("| `") for row in rows}
    assert {f"sources.NAME.{name}" for name in SourceSettings.model_fields} <= shown
    for name, field in Settings.model_fields.items():
        leaf = not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
        assert name in shown or not leaf or any(key.startswith(f"{name}.") for key in shown), name
    assert "sources.NAME.settles_after | duration | `2h`" in configuration().replace("`sources", "sources").replace(
        "after`", "after"
    )


def test_every_table_and_column_is_named() -> None:
    page = tables()
    for table in TABLES.values():
        part = page[page.index(f"## {table.name}\n") :].split("\n## ")[0]
        assert [name for name in table.schema.names if f"| `{name}` |" not in part] == []


def test_every_shipped_rule_is_told_with_its_limit_and_its_blind_spots() -> None:
    page = rules()
    row = next(line for line in page.splitlines() if line.startswith("| [signin_burst]"))
    assert row.endswith("| high | T1110, T1110.001 | ocsf | event_count: 10 events in 10m |")
    assert "temporal_ordered: failed_signin_before, a_success in 30m |" in page
    for file in rule_files(SHIPPED):
        part = page[page.index(f"## {file.stem}\n") :].split("\n## ")[0]
        said = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))[-1]
        assert said["id"] in part
        assert [spot for spot in said["blind_spots"] if spot not in part] == []
        assert said["falsepositives"][0] in part


def test_every_command_has_a_sentence_and_an_example() -> None:
    page = commands()
    parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert {"demo", "run", "verify", "findings list", "findings acknowledge"} <= set(parts)
    assert [name for name, text in parts.items() if "```\naudit-pipeline " not in text] == []
    assert "`--max-age` | Oldest good run that is still fine. | `26h` |" in parts["status"]
