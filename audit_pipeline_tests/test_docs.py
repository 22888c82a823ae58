"""The documentation is true: links lead somewhere, examples load and run, commands are commands."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from audit_pipeline.cli import main
from audit_pipeline.clock import SimulatedClock
from audit_pipeline.detections import rule_tests
from audit_pipeline.detections.run import rules
from audit_pipeline.kpis import catalogue
from audit_pipeline.kpis.compute import compute
from audit_pipeline.lake.roots import daily_root
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect
from audit_pipeline.starter import init

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
)
_SHELL = ("", "console", "sh", "bash")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page below docs/."""
    return [
        text for kind, text in _FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")) if kind == language
    ]


def commands(page: Path) -> list[list[str]]:
    """The arguments of each `audit-pipeline …` line in fenced blocks of a shell."""
    text = "\n".join(found for kind, found in _FENCE.findall(page.read_text(encoding="utf-8")) if kind in _SHELL)
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
    for folder in ("formats", "decisions"):
        (tmp_path / folder).mkdir()
    for file in ("sample.json", "trail.json.gz", "formats/shop.yaml", "shop.log", "decisions/2026-11.yaml"):
        (tmp_path / file).write_text("{}")
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
    (mine,) = [row for row in rows if (row["kpi_id"], row["scope"]) == ("root_use", "all")]
    assert (mine["value"], mine["state"]) == (None, "no_data")


@pytest.mark.parametrize(
    "page",
    [
        "how-to/add-a-source.md",
        "how-to/production.md",
        "how-to/mail.md",
        "how-to/privacy.md",
        "how-to/sources/elasticsearch.md",
    ],
)
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
    from audit_pipeline.lake.tables import VERDICTS
    from audit_pipeline.quality.reasons import LOWERING

    page = (ROOT / "docs" / "explanation" / "completeness.md").read_text(encoding="utf-8")
    assert [verdict for verdict in VERDICTS if f"`{verdict}`" not in page] == []
    assert [code for code in LOWERING if code not in page] == []


@pytest.fixture
def collected(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A folder whose source `cloudtrail` was collected three times, and the entries as plain JSON."""
    (tmp_path / "pipeline.yaml").write_text(
        "start: 2026-01-01\nsources: {cloudtrail: {type: files, format: cloudtrail, paths: ['logs/*.json']}}\n"
    )
    settings = Settings.load(tmp_path / "pipeline.yaml")
    lake = Lake.open(settings.lake_url)
    (tmp_path / "logs").mkdir()
    for night in range(3):
        for file in range(night + 1):
            record = {"eventID": f"{night}-{file}", "eventTime": "2026-01-01T10:00:00Z"}
            (tmp_path / "logs" / f"{night}-{file}.json").write_text(json.dumps({"Records": [record]}))
        now = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=night)
        collect(settings, lake, "cloudtrail", dt.date(2026, 1, 1), SimulatedClock(now))
    files = sorted((tmp_path / "lake" / "raw" / "cloudtrail" / "manifest").glob("*.json"))
    return tmp_path, [json.loads(file.read_text()) for file in files]


def test_documented_script_gives_the_collected_file_back(collected: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, _ = collected
    (script,) = re.findall(
        r"python3 - <<'PY'\n(.*?)\nPY\n", "".join(blocks("how-to/read-the-evidence.md", "")), re.DOTALL
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=60)
    assert (folder / "0-0.json").read_bytes() == (folder / "logs" / "0-0.json").read_bytes()


def canonical(value: Any) -> bytes:
    """RFC 8785 for what entries hold (no floats, ASCII keys), written from the RFC."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, written from the RFC: the largest power of two below n goes left."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:left]) + merkle_root(leaves[left:])).digest()


def test_documented_proof_needs_none_of_our_code(collected: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, entries = collected
    assert [len(entry["members"]) for entry in entries] == [1, 2, 3]
    previous = "0" * 64
    for number, entry in enumerate(entries, 1):
        told = {key: value for key, value in entry.items() if key != "hash"}
        assert hashlib.sha256(canonical(told)).hexdigest() == entry["hash"]
        assert entry["previous"] == previous
        assert merkle_root([bytes.fromhex(member["sha256"]) for member in entry["members"]]).hex() == entry["root"]
        previous = hashlib.sha256((folder / f"lake/raw/cloudtrail/manifest/{number:08d}.json").read_bytes()).hexdigest()
    root = daily_root(Lake.open(str(folder / "lake")), ["cloudtrail"])
    assert hashlib.sha256(canonical([["cloudtrail", entries[-1]["hash"]]])).hexdigest() == root
