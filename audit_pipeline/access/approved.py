"""Who may do what to logs: the approved list, a YAML file beside the configuration.

Belongs here: reading it, and whether a grant is on it. Not here: what sources show (`snapshot`).

    - source: elastic_audit          # or "*"
      principal: "role:audit_*"      # as the source names it; * stands for any text
      rights: [read]
      reason: the auditors' role
      owner: cloud
      until: 2027-06-30              # looked at again by then; an entry that has run out approves nothing

The yearly or half-yearly review of such lists is what PCI DSS 7.2.4 and ISO 27001 A.5.18 ask for; `until` keeps it from being forgotten.
"""

from __future__ import annotations

import datetime as dt
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from audit_pipeline.errors import ConfigError
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Grant, Right


class Approval(BaseModel):
    """One line of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    principal: str = Field(min_length=1)
    rights: frozenset[Right]
    reason: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    until: dt.date

    @field_validator("principal")
    @classmethod
    def _not_everybody(cls, value: str) -> str:
        if not value.strip("*?"):
            raise ValueError("names everybody: write who it is, such as role:audit_*")
        return value

    def covers(self, source: str, grant: Grant, day: dt.date) -> bool:
        """Whether it approves the grant on that day."""
        named = self.source in ("*", source) and fnmatchcase(grant.principal, self.principal)
        return named and grant.right in self.rights and day <= self.until


def approvals(settings: Settings) -> list[Approval] | None:
    """The list; null where none is configured.

    Raises:
        ConfigError: naming file, line and what is wrong.
    """
    if settings.approved_access is None:
        return None
    file = Path(settings.resolve(settings.approved_access))
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"{file}: cannot be read ({said}). Mend the file, or leave out approved_access.") from None
    if not isinstance(found, list):
        raise ConfigError(f"{file}: holds no list. Write one entry for each principal: source, principal, rights, reason, owner, until.")  # fmt: skip
    try:
        made = [Approval.model_validate(one) for one in found]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "an entry"
        raise ConfigError(f"{file}: {where}: {first['msg'].removeprefix('Value error, ')} (rights are {', '.join(get_args(Right))})") from None  # fmt: skip
    if unknown := sorted({one.source for one in made} - {"*", *settings.sources}):
        raise ConfigError(f"{file}: no source is named {', '.join(unknown)}: there are {', '.join(settings.sources)}.")
    return made
