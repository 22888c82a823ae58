"""Expectations as data: the suite that comes with the package and the user's own, from YAML.

Belongs here: form and loading. Not here: judging (`expectations`) or the frame that is judged (`checks`).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit_pipeline.errors import ConfigError
from audit_pipeline.settings import Settings

FOLDER = "expectations"
Check = Literal["accounting", "fields", "timeliness"]
CHECKS: dict[Check, str] = {
    "accounting": "Every collected record is an event, an extra copy or a reject, and few are rejects or copies.",
    "fields": "The columns that questions start from (time, actor, operation, outcome, address) are filled.",
    "timeliness": "Records came as fast as usual, and none carries a time that has not come yet.",
}
"""The named checks, with what each is about; shown beside the table `completeness`."""


class Expected(BaseModel):
    """One expectation: an expectation of Great Expectations with its arguments, and what it means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    check: Check
    expect: str = Field(pattern=r"^expect_[a-z0-9_]+$")
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    severity: Literal["error", "warning"] = "error"
    meaning: str = Field(min_length=1)

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        listed = self.with_.get("column_list") or self.with_.get("column_set") or []
        return [str(self.with_[key]) for key in ("column", "column_A", "column_B") if key in self.with_] + list(listed)


class _Suite(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    expectations: list[Expected]


def load(settings: Settings) -> list[Expected]:
    """The package's expectations, and the user's from `expectations/*.yaml` beside pipeline.yaml; a name there replaces one here.

    Raises:
        ConfigError: a file is no suite; names file, key and remedy.
    """
    found, errors = load_usable(settings)
    for error in errors.values():
        raise error
    return found


def load_usable(settings: Settings) -> tuple[list[Expected], dict[str, ConfigError]]:
    """The same without the files that are no suite, and what is wrong with each: one broken file must not cost a night its checks."""
    found: dict[str, Expected] = {}
    errors: dict[str, ConfigError] = {}
    with resources.as_file(resources.files(__package__) / "suites" / "completeness.yaml") as own:
        found.update({one.name: one for one in _read(own)})
    for file in sorted((settings.root / FOLDER).glob("*.yaml")):
        try:
            found.update({one.name: one for one in _read(file)})
        except ConfigError as error:
            errors[file.name] = error
    return list(found.values()), errors


def _read(file: Path) -> list[Expected]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        suite = _Suite.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML ({error}). Mend it, or take it out of {FOLDER}/.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise ConfigError(
            f"{file}: {key}: {first['msg']}. The suite of the package, quality/suites/completeness.yaml, shows the form."
        ) from None
    names = [one.name for one in suite.expectations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{file}: {', '.join(twice)} stands there twice. Give each expectation a name of its own.")
    return suite.expectations
