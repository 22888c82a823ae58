"""Control files and `scope.yaml`: reading and checking them.

Belongs here: their shape, and errors that name the file. Not here: checks (`checks`) or the table (`table`). Shipped files lie
beside this module; a user's own lie in `controls/` beside the configuration, and one with a shipped framework's name replaces it.

The standards' texts are their owners'; the files hold ids and own words. What a framework asks is looked up in the standard itself.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from audit_pipeline.errors import UserError
from audit_pipeline.sections import Name, Section
from audit_pipeline.settings import Settings

SHIPPED = Path(__file__).parent
FOLDER = "controls"
_Model = TypeVar("_Model", bound=Section)


class ControlsError(UserError):
    """A control file or the scope cannot be used; names the file and why."""


class Control(Section):
    """One control: what it asks in own words, what our checks say about it, and what they do not."""

    id: str
    words: str = Field(description="what it asks, in own words")
    supports: str = Field(description="what an operated check says about it")
    checks: list[str] = Field(min_length=1, description="names of checks, some with an argument after a colon")
    not_shown: str = Field(description="what the checks do not show")


class Framework(Section):
    """One framework's controls that audit logs can support."""

    framework: Name
    title: str
    source: str = Field(description="where the standard itself is published")
    controls: list[Control]


class System(Section):
    """A system in scope and the sources that tell of it; without sources nothing is logged of it."""

    name: str
    sources: list[str] = Field(default_factory=list)


class Scope(Section):
    """What a framework applies to, who says so, and since when."""

    systems: list[System | str] = Field(min_length=1, description="a source's name, or a system with its sources")
    inventory: str = Field(description="where the list of systems in scope is kept")
    owner: str
    date: dt.date
    not_applicable: dict[str, str] = Field(default_factory=dict, description="control id to the reason")

    @property
    def named(self) -> list[System]:
        """The systems, each with its sources."""
        return [System(name=one, sources=[one]) if isinstance(one, str) else one for one in self.systems]

    @property
    def sources(self) -> list[str]:
        """The sources that tell of the systems in scope, by name."""
        return sorted({source for system in self.named for source in system.sources})


def frameworks(settings: Settings) -> tuple[list[Framework], list[ControlsError]]:
    """The frameworks by name, and what is wrong with files that are none."""
    found: dict[str, Framework] = {}
    errors: list[ControlsError] = []
    for folder in (SHIPPED, settings.root / FOLDER):
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            try:
                framework = _model(file, _read(file), Framework)
            except ControlsError as error:
                errors.append(error)
                continue
            found[framework.framework] = framework
    return [found[name] for name in sorted(found)], errors


def scopes(settings: Settings) -> dict[str, Scope]:
    """The declared scope of each framework; empty where the configuration names no file.

    Raises:
        ControlsError: the file cannot be read, or a key is missing, unknown or wrong; names both.
    """
    if settings.scope is None:
        return {}
    file = Path(settings.resolve(settings.scope))
    data = _read(file)
    if not isinstance(data, dict):
        raise ControlsError(
            f"{file}: holds no frameworks. Write one a key, such as `pci_dss: {{systems: [...], ...}}`."
        )
    return {str(name): _model(file, value, Scope, f"{name}.") for name, value in data.items()}


def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ControlsError(f"{file}: cannot be read ({' '.join(str(error).split())}). Mend or remove it.") from None


def _model(file: Path, data: Any, model: type[_Model], prefix: str = "") -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        wrong = (f"{prefix}{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ControlsError(f"{file}: {'; '.join(wrong)}") from None
