"""Noise rules: `noise/*.yaml` beside the configuration. None is shipped: what is noise is the reader's own decision.

Belongs here: reading and checking the files. Not here: SQL over events (`view`).
`where` is a Sigma detection (https://sigmahq.io/docs/basics/rules.html): a map of fields, or selections and a `condition`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from audit_pipeline.errors import UserError
from audit_pipeline.lake.views import any_of, quote
from audit_pipeline.sections import Section
from audit_pipeline.settings import Settings

FOLDER = "noise"


class NoiseError(UserError):
    """A noise rule that marks nothing because it cannot be used; names its file and why."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: this noise rule marks nothing: {reason}")
        self.file = file


class NoiseRule(Section):
    """One rule as it stands in its file."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    title: str = Field(min_length=1)
    reason: str = Field(min_length=1, description="why these events do not deserve attention")
    owner: str = Field(min_length=1, description="the team or person who answers for it")
    created: dt.date = Field(description="first day on which it counts")
    expires: dt.date = Field(description="first day on which it counts no more")
    sources: list[str] | Literal["all"]
    where: dict[str, Any] = Field(min_length=1)

    def in_force(self, day: dt.date) -> bool:
        """Whether it counts on a day."""
        return self.created <= day < self.expires


@dataclass(frozen=True)
class Noise:
    """A rule that can be used: what it says and its SQL over the view `events`."""

    rule: NoiseRule
    file: Path
    sql: str
    """true for the events that it marks, sources included; validity is not in it"""
    from_record: tuple[tuple[str, str], ...] = ()
    """fields that are no event column and are looked up in the record as it came, each with its SQL"""


def load(settings: Settings) -> tuple[list[Noise], list[NoiseError]]:
    """The rules by id, and those that cannot be used."""
    folder = settings.root / FOLDER
    files = tuple((file, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.y*ml")))
    return _load(files, tuple((name, one.formats) for name, one in settings.sources.items()))


@lru_cache(maxsize=4)
def _load(
    files: tuple[tuple[Path, int], ...], sources: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[list[Noise], list[NoiseError]]:
    found: dict[str, Noise] = {}
    errors: list[NoiseError] = []
    for file, _ in files:
        try:
            noise = _read(file, dict(sources))
        except NoiseError as error:
            errors.append(error)
            continue
        first = found.setdefault(noise.rule.id, noise)
        if first is not noise:
            errors.append(NoiseError(file, f"its id {noise.rule.id} is also that of {first.file}. Give it its own."))
    return [found[key] for key in sorted(found)], errors


def _read(file: Path, formats: dict[str, tuple[str, ...]]) -> Noise:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        rule = NoiseRule.model_validate(data)
    except OSError as error:
        raise NoiseError(file, f"it cannot be read ({error.strerror}). Mend the rights.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NoiseError(file, f"it is no YAML ({' '.join(str(error).split())[:200]}). Mend that place.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = (
            ".".join(str(part) for part in first["loc"] if not str(part).startswith(("list[", "literal[")))
            or "the file"
        )
        raise NoiseError(file, f"{where}: {first['msg']}. A rule has {', '.join(NoiseRule.model_fields)}.") from None
    if rule.expires <= rule.created:
        raise NoiseError(file, "expires is not after created: it would never count. Mend one of them.")
    listed = list(formats) if rule.sources == "all" else rule.sources
    unknown = [name for name in listed if name not in formats]
    if unknown:
        raise NoiseError(file, f"source {unknown[0]!r} is not configured; known are {', '.join(formats)}.")
    sql, from_record = _sql(file, rule, listed, {form for name in listed for form in formats[name]})
    return Noise(rule, file, sql, from_record)


def _sql(file: Path, rule: NoiseRule, sources: list[str], formats: set[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The condition, bound once over no events so that a wrong field or pattern shows here and not in a night."""
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaRule

    from audit_pipeline.detections.dialect import DuckDBBackend
    from audit_pipeline.noise.view import bound

    detection = rule.where if "condition" in rule.where else {"selection": rule.where, "condition": "selection"}
    document = {"title": rule.title, "logsource": {"product": "ocsf"}, "detection": detection}
    try:
        backend, sigma = (
            DuckDBBackend(next(iter(formats)) if len(formats) == 1 else None),
            SigmaRule.from_dict(document),
        )
        condition = backend.where(sigma)
        from_record = {
            name: backend.text(name) for name in _fields(sigma.detection) if "raw_data" in backend.text(name)
        }
    except (SigmaError, NotImplementedError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoiseError(file, f"where: {' '.join(str(error).split()) or type(error).__name__}") from None
    of = "true" if rule.sources == "all" else any_of(map(quote, sources), "x_source")
    sql = f"{of} AND ({condition})"
    wrong = bound(sql)
    if wrong:
        raise NoiseError(file, f"where: {wrong}")
    return sql, tuple(sorted(from_record.items()))


def _fields(part: Any) -> set[str]:
    """The field names of a Sigma detection."""
    nested = part.detections.values() if hasattr(part, "detections") else getattr(part, "detection_items", ())
    own = {part.field} if getattr(part, "field", None) else set()
    return own.union(*map(_fields, nested))
