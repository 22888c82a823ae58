"""Configuration: `pipeline.yaml` and the environment, as pydantic models.

Belongs here: keys, defaults, and errors that name file, key and remedy. Not here: what the values do. Secrets never stand in
the file: a key ending in `_env` names the environment variable that holds one.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from audit_pipeline.clock import Clock, SimulatedClock, SystemClock, as_of
from audit_pipeline.errors import ConfigError, UsageError
from audit_pipeline.sections import (
    BudgetSettings,
    ClockTime,
    DecisionSettings,
    HoursSettings,
    Name,
    PrivacySettings,
    ReportSettings,
    RetentionSettings,
    Section,
    SmtpSettings,
    SourceSettings,
    TeamSettings,
)

CONFIG_ENV = "AUDIT_PIPELINE_CONFIG"
DEFAULT_FILE = "pipeline.yaml"


class _Loader(yaml.SafeLoader):
    """YAML without its silence about a key that stands twice: of two sources of one name, one would never be collected."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = next((key for n, key in enumerate(keys) if key in keys[:n]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice here", node.start_mark)
        return super().construct_mapping(node, deep)


class Settings(Section):
    """The whole configuration."""

    lake: str = Field(default="./lake", description="evidence, tables and reports: a folder or an object-store URL")
    state_url: str = Field(
        default="sqlite:///state.db", description="database of decisions and deliveries, as an SQLAlchemy URL"
    )
    clock: Literal["system", "simulated"] = Field(
        default="system", description="simulated is for demos: a run of a day sees what was there in the night after it"
    )
    run_at: ClockTime = Field(
        default=dt.time(3), description="UTC, in quotes; as-of of a day is the next midnight plus this"
    )
    start: dt.date = Field(description="first day; also the start of Dagster's partitions")
    sources: dict[Name, SourceSettings]
    teams: dict[Name, TeamSettings] = Field(default_factory=dict)
    identities: str | None = Field(
        default=None,
        description="CSV file: source (or *),account,person,role,kind (human or service),zone,team and optionally from,to",
    )
    hours: HoursSettings = HoursSettings()
    releases: str | None = Field(default=None, description="CSV file: time,service,version,change_id")
    scope: str | None = Field(
        default=None, description="YAML file: per framework systems in scope, inventory, owner, date"
    )
    approved_access: str | None = Field(
        default=None,
        description="YAML file: who may read, write, delete logs at their source, stop logging or change how long they are kept",
    )
    budgets: BudgetSettings = BudgetSettings()
    decisions: DecisionSettings = DecisionSettings()
    privacy: PrivacySettings = PrivacySettings()
    reports: ReportSettings = ReportSettings()
    smtp: SmtpSettings | None = Field(default=None, description="without it mails are written and not sent")
    retention: RetentionSettings = RetentionSettings()
    heartbeat_url: str | None = Field(default=None, description="called (GET) after each good night that is mailed")
    _file: Path = PrivateAttr(default=Path(DEFAULT_FILE))

    @model_validator(mode="after")
    def _teams_exist(self) -> Self:
        for name, source in self.sources.items():
            if source.team and source.team not in self.teams:
                raise ValueError(
                    f"sources.{name}.team is {source.team!r}, which stands not under teams: add it there, or name one of {sorted(self.teams) or 'none yet'}"
                )
        if not self.sources:
            raise ValueError("sources is empty: add one, `audit-pipeline init` shows how")
        return self

    @classmethod
    def load(cls, path: str | Path | None = None) -> Settings:
        """Read `path`, else `AUDIT_PIPELINE_CONFIG`, else `./pipeline.yaml`.

        Raises:
            ConfigError: naming file, key and remedy.
        """
        file = Path(path or os.environ.get(CONFIG_ENV) or DEFAULT_FILE).absolute()
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(
                f"{file}: no such file. Run `audit-pipeline init` to make one, or say where it is with -c or {CONFIG_ENV}."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: cannot be read ({error}). It must be a readable UTF-8 text file.") from None
        return cls.from_text(text, file)

    @classmethod
    def from_text(cls, text: str, file: Path) -> Settings:
        """Parse the text of `file`; see `load`."""
        try:
            data = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise ConfigError(
                f"{file}{where}: not valid YAML ({getattr(error, 'problem', error)}). Mend that line."
            ) from None
        if not isinstance(data, dict):
            raise ConfigError(f"{file}: holds no keys. Run `audit-pipeline init` to see what belongs there.")
        try:
            settings = cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError("\n".join(_explain(file, item) for item in error.errors(include_url=False))) from None
        if wrong := [line for name in settings.sources for line in settings._wrong_options(name, file)]:
            raise ConfigError("\n".join(wrong))
        settings._file = file
        return settings

    def _wrong_options(self, name: str, file: Path) -> list[str]:
        """What is wrong with a source's type and options, by its collector's own word."""
        from audit_pipeline import sources  # collectors read sections of this configuration themselves
        from audit_pipeline.formats import routed

        source = self.sources[name]
        try:
            if not isinstance(source.format, str):
                routed.check(source.type, source.format)
        except UsageError as error:
            return [f"{file}: sources.{name}.format: {error}"]
        try:
            model = sources.get(self.sources[name].type).Options
            model.model_validate(self.sources[name].options)
        except UsageError as error:
            return [f"{file}: sources.{name}.type: {error}"]
        except ValidationError as error:
            at = ("sources", name, "options")
            return [_explain(file, item, at, model) for item in error.errors(include_url=False)]
        return []

    @property
    def file(self) -> Path:
        """The file the configuration was read from."""
        return self._file

    @property
    def root(self) -> Path:
        """The folder that relative paths start from."""
        return self._file.parent

    def resolve(self, path: str) -> str:
        """A path relative to the configuration, or a URL as it is."""
        return path if "://" in path else os.path.normpath(self.root / path)

    @property
    def lake_url(self) -> str:
        """The lake's root: an absolute path or an object-store URL."""
        return self.resolve(self.lake)

    @property
    def state_url_resolved(self) -> str:
        """The database URL; a relative SQLite file starts from the configuration's folder."""
        prefix = "sqlite:///"
        if (
            self.state_url.startswith(prefix)
            and not self.state_url.startswith(prefix + "/")
            and self.state_url != "sqlite:///:memory:"
        ):
            return prefix + str(self.root / self.state_url.removeprefix(prefix))
        return self.state_url

    def as_of(self, day: dt.date) -> dt.datetime:
        """The as-of of a day: the next midnight UTC plus `run_at`."""
        return as_of(day, self.run_at)

    def clock_for(self, day: dt.date) -> Clock:
        """The clock of a run of `day`: the machine's, or (simulated) the night after it."""
        return SimulatedClock(self.as_of(day)) if self.clock == "simulated" else SystemClock()


_UNSAID = ("[key]", "[name]", "[list]")
"""Parts of a place that pydantic makes up: that a key is meant, and which kind of a value."""


def _explain(file: Path, item: Any, at: tuple[str, ...] = (), root: type[BaseModel] | None = None) -> str:
    """One pydantic error in words: file, key, what is wrong, what to do. `root` is the model of what stands under `at`."""
    where = [*at, *(str(part) for part in item["loc"] if part not in _UNSAID)]
    key = ".".join(where) or "(top level)"
    if item["type"] == "extra_forbidden":
        valid = _valid_keys(item["loc"][:-1], root or Settings)
        near = difflib.get_close_matches(where[-1], valid, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys here: {', '.join(sorted(valid)) or 'none'}"
        return f"{file}: {key}: unknown key, {hint}"
    if item["type"] == "missing":
        return f"{file}: {key}: is missing; add it (`audit-pipeline init` shows an example)"
    found = item["input"]
    simple = isinstance(found, str | int | float | bool | dt.date | None) and item["type"] != "value_error"
    shown = f" (found {str(found)[:60]!r})" if simple and not _may_hold_secret(key, str(found)) else ""
    return f"{file}: {key}: {item['msg'].removeprefix('Value error, ')}{shown}"


def _may_hold_secret(key: str, value: str) -> bool:
    """Errors go to terminals and logs: what may hold a password is left out of them."""
    return "@" in value or re.search(r"password|secret|token|storage|url", key) is not None


def _valid_keys(loc: tuple[str | int, ...], root: type[BaseModel]) -> list[str]:
    """The keys that are allowed below `loc`; names of sources and teams may be any, those of keys too."""
    model: Any = root
    named = False
    for part in loc:
        if isinstance(part, int) or part in _UNSAID:
            continue
        if named:
            named = False
            continue
        fields = {f.alias or name: f for name, f in model.model_fields.items()}
        if part not in fields:
            return []
        annotation = fields[str(part)].annotation
        named = get_origin(annotation) is dict
        model = next((a for a in _within(annotation) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if model is None:
            return []
    return [f.alias or name for name, f in model.model_fields.items()]


def _within(annotation: Any) -> list[Any]:
    """The annotation and all that it is made of."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _within(part))]
