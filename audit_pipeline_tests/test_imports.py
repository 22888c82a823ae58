"""How the house is built: who may import whom, what a start costs, how large a room may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "audit_pipeline"
MODULES = sorted(ROOT.rglob("*.py"))
LEAVES = {"lake", "ocsf", "settings", "sections", "clock", "errors", "state"}


def _imports(file: Path, *, top_only: bool = False) -> set[str]:
    """Names of imported modules; TYPE_CHECKING blocks do not run."""
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _box(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_downward(file: Path) -> None:
    box, found = _box(file), _imports(file)
    if box not in ("orchestration", "definitions"):
        assert not {name for name in found if name.split(".")[0] == "dagster"}
    if box in ("lake", "ocsf", "settings"):
        ours = {name.split(".")[1] for name in found if name.startswith("audit_pipeline.") and len(name.split(".")) > 1}
        asked = (
            {"sources", "formats"} if box == "settings" else set()
        )  # a collector says itself which options are valid, a format what a condition may ask for, when it is known
        assert ours - {"__version__"} - asked <= LEAVES
        assert not {name for name in _imports(file, top_only=True) if name == "audit_pipeline.sources"}
    if box in ("sources", "formats", "quality", "detections", "anomaly", "findings", "effects", "kpis"):
        assert not {name for name in found if name.startswith(("audit_pipeline.reports", "audit_pipeline.mail"))}
    heavy = {"great_expectations", "sklearn", "scipy", "statsmodels", "drain3"}
    assert not {name for name in _imports(file, top_only=True) if name.split(".")[0] in heavy}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_rooms_are_small_and_say_what_belongs_in_them(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.count("\n") <= 350
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or node.lineno) - node.lineno < 60, node.name


def _child(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_definitions_load_without_the_heavy_libraries() -> None:
    loaded = _child("import audit_pipeline.definitions")
    assert "dagster" in loaded
    assert not loaded & {"great_expectations", "sklearn", "scipy"}


def test_help_loads_nothing_heavy() -> None:
    assert not _child("import audit_pipeline.cli") & {
        "dagster",
        "duckdb",
        "pandas",
        "pyarrow",
        "great_expectations",
        "sqlalchemy",
    }
