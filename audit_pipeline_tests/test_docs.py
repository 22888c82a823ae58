"""The documentation is true: links lead somewhere, examples load and run, commands are commands."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from audit_pipeline.cli import main
from audit_pipeline.detections import rule_tests
from audit_pipeline.detections.run import rules
from audit_pipeline.kpis import catalogue
from audit_pipeline.kpis.compute import compute
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.starter import init

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page below docs/."""
    return [
        text for kind, text in _FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")) if kind == language
    ]


def commands(page: Path) -> list[list[str]]:
    """The arguments of each `audit-pipeline …` line in fenced blocks without a language."""
    text = "\n".join(found for kind, found in _FENCE.findall(page.read_text(encoding="utf-8")) if not kind)
    lines = [match[1] for match in re.finditer(r"^(?:.*&& )?(?:\S*/)?audit-pipeline (.*)$", text, re.MULTILINE)]
    return [shlex.split(re.sub(r"\$\([^)]*\)", "2026-11-23", line).split(" | ")[0], comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (page.parent / target.split("#")[0]).exists()] == []


@pytest.mark.parametrize(
    ("page", "args"),
    [(page.stem, args) for page in PAGES for args in commands(page)],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_commands_are_commands(page: str, args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.json").write_text("{}")
    command: click.Command = main
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(main.make_context("audit-pipeline", list(args)))
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None
            command, context = found, stack.enter_context(found.make_context(name, rest, parent=context))
    assert command is not main


def test_there_are_commands_to_test() -> None:
    found = {args[2] if args[0] == "-c" else args[0] for page in PAGES for args in commands(page)}
    assert {"init", "check", "run", "parse", "query", "verify", "findings", "status"} <= found


def started(tmp_path: Path) -> tuple[Path, Settings]:
    (file, _) = init(tmp_path)
    return tmp_path, Settings.load(file)


def test_example_rule_passes_its_example_cases(tmp_path: Path) -> None:
    folder, settings = started(tmp_path)
    rule, cases = blocks("how-to/add-a-rule.md", "yaml")
    (folder / "rules").mkdir()
    (folder / "rules" / "trail_stopped.yml").write_text(rule, encoding="utf-8")
    (folder / "rules" / "trail_stopped.tests.yml").write_text(cases, encoding="utf-8")
    (mine,) = [found for found in rules(settings) if found.file.parent == folder / "rules"]
    assert mine.title == "CloudTrail was stopped or deleted"
    assert rule_tests.failures(mine) == []


def test_example_kpi_is_computed(tmp_path: Path) -> None:
    folder, settings = started(tmp_path)
    (example,) = blocks("how-to/add-a-kpi.md", "yaml")
    (folder / "kpis").mkdir()
    (folder / "kpis" / "root_use.yaml").write_text(example, encoding="utf-8")
    assert catalogue(settings)["root_use"].target == 0
    rows = compute(settings, Lake.open(settings.lake_url), dt.date(2026, 1, 1)).to_pylist()
    (mine,) = [row for row in rows if row["kpi_id"] == "root_use"]
    assert (mine["value"], mine["state"]) == (None, "no_data")


@pytest.mark.parametrize("page", ["how-to/add-a-source.md", "how-to/production.md"])
def test_example_configuration_loads(page: str) -> None:
    examples = blocks(page, "yaml")
    assert examples
    for example in examples:
        given: dict[str, Any] = yaml.safe_load(example)
        base = {
            "start": dt.date(2026, 1, 1),
            "sources": {"a": {"type": "files", "format": "cloudtrail"}},
            "teams": {"cloud": {}},
        }
        Settings.model_validate(base | given)


def test_reason_codes_and_verdicts_stand_in_the_explanation() -> None:
    from audit_pipeline.quality import completeness

    page = (ROOT / "docs" / "explanation" / "completeness.md").read_text(encoding="utf-8")
    assert [verdict for verdict in completeness.USED if f"`{verdict}`" not in page] == []
