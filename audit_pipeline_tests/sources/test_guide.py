"""The worked example of `docs/how-to/add-a-source.md` works as it stands there, and its tests find what they are there for."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline import sources
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Reviewable
from audit_pipeline.starter import init
from audit_pipeline_tests.test_docs import blocks

PAGE = "how-to/add-a-source.md"
CODE, TESTS = blocks(PAGE, "python")
(MAPPING,) = blocks(PAGE, "yml")
MODULE = "audit_pipeline.sources.doors"
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts the module of the guide where collectors are found, and its mapping where a source has it."""
    folder = tmp_path / "collectors"
    folder.mkdir()
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(folder)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "doors.yaml").write_text(MAPPING, encoding="utf-8")

    def put(code: str) -> None:
        (folder / "doors.py").write_text(code, encoding="utf-8")
        importlib.invalidate_caches()

    yield put
    sys.modules.pop(MODULE, None)
    vars(sources).pop("doors", None)


def guide_tests() -> dict[str, Callable[[Path], None]]:
    """The functions that the guide's test file has, by name."""
    module = types.ModuleType("test_doors")
    exec(compile(TESTS, PAGE, "exec"), vars(module))
    return {name: found for name, found in vars(module).items() if name.startswith("test_")}


NAMES = sorted(guide_tests())


@pytest.mark.parametrize("name", NAMES)
def test_the_guides_own_tests_pass(name: str, install: Install, tmp_path: Path) -> None:
    install(CODE)
    guide_tests()[name](tmp_path)


def test_the_guide_tests_what_it_says_must_hold() -> None:
    assert len(NAMES) == 5


def test_the_type_is_found_and_its_example_loads(install: Install, tmp_path: Path) -> None:
    install(CODE)
    assert "doors" in sources.names()
    (file, _) = init(tmp_path / "new", "doors")
    (tmp_path / "new" / "formats").mkdir()
    (tmp_path / "new" / "formats" / "doors.yaml").write_text(MAPPING, encoding="utf-8")
    assert Settings.load(file).sources["doors"].options == {"page_size": 500}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if ids != list(range(after + 1, after + 1 + len(ids))):", "if False:"),
        ('int(past.get("last_id", 0))', "0"),
        ("if past and oldest > after + 1:", "if False:"),
        ("        if whole:\n", "        if True:\n"),
        ("while after < newest:", "if after < newest:"),
        ('collection.request["counted"] = self._counted(http, until)', "pass"),
    ],
    ids=["missing ids", "no memory", "deletion", "checkpoint", "one page", "count"],
)
def test_a_wrong_collector_fails_the_guides_tests(right: str, wrong: str, install: Install, tmp_path: Path) -> None:
    assert right in CODE
    install(CODE.replace(right, wrong))
    failed = []
    for name, test in guide_tests().items():
        folder = tmp_path / name
        (folder / "formats").mkdir(parents=True)
        (folder / "formats" / "doors.yaml").write_text(MAPPING, encoding="utf-8")
        try:
            test(folder)
        except (AssertionError, KeyError):
            failed.append(name)
    assert failed


def test_every_key_that_an_entry_may_hold_is_in_the_guide() -> None:
    """What `completeness` and `collect` read of a request, and what a collection has to say."""
    page = (Path(__file__).parents[2] / "docs" / PAGE).read_text(encoding="utf-8")
    read: list[Any] = [importlib.import_module("audit_pipeline.quality.evidence"), importlib.import_module("audit_pipeline.lake.manifest")]  # fmt: skip
    text = "".join(inspect.getsource(module) for module in read)
    keys = [key for key in ("from", "to", "counted", "attested", "unread") if f'"{key}"' in text]
    assert len(keys) == 5
    assert [key for key in [*keys, "checkpoint", "selector", "horizon_s"] if f"`{key}`" not in page] == []
    assert {name for name in vars(Reviewable) if not name.startswith("_")} == {"access"}
    assert "`access()`" in page.replace("**", "")
