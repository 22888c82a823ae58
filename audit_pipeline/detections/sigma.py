"""Rule files: Sigma documents (https://sigmahq.io/sigma-specification/) become rules that can be run.

Belongs here: finding and reading rule files, what a rule says about itself, errors that name the file. Not here: how a condition
becomes SQL (`dialect`), running (`run`). One file holds one rule: a detection, or base detections and one `event_count`
correlation over them. Beside Sigma's own keys ours are `owner` (a team, used where nobody owns source or service), `runbook`
(what to do first), `counts` (what the events are, for the explanation) and `group_by` (what makes one detection of a rule
without correlation; else the actor), and `noise: exclude` (events that a noise rule marks are no hits; else they are seen like all others).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
)
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from audit_pipeline import formats
from audit_pipeline.detections.dialect import DuckDBBackend
from audit_pipeline.errors import UserError
from audit_pipeline.lake.views import quote
from audit_pipeline.settings import Settings

SHIPPED = Path(__file__).parent / "rules"
FOLDER = "rules"
TESTS = ".tests.yml"
LEVELS = ("informational", "low", "medium", "high", "critical")
MAX_TIMESPAN = dt.timedelta(days=7)
_ACTOR = "coalesce(x_actor, actor_user_name, user_name, src_endpoint_ip)"
_MALFORMED = (SigmaError, NotImplementedError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError)
"""What pySigma raises for rule files of the wrong shape; a broken file must not stop the others."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""the one in C reads the shipped rules in a tenth of the time"""


class RuleError(UserError):
    """A rule that cannot be run; names its file and why."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: this rule was not run: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True)
class Rule:
    """A rule as SQL over `events`; `groups` maps the names of its group key to SQL."""

    id: str
    title: str
    level: str
    version: str
    """first 12 digits of the SHA-256 of its file: which text of the rule found something"""
    file: Path
    where: str
    groups: dict[str, str]
    sources: tuple[str, ...]
    """configured sources that it applies to; a rule for a format that no source has applies to none"""
    threshold: int | None = None
    """least number of events within `timespan`; null where each event is a hit"""
    timespan: dt.timedelta = dt.timedelta(0)
    attack: tuple[str, ...] = ()
    owner: str | None = None
    counts: str = "events"
    description: str = ""
    runbook: str = ""
    falsepositives: tuple[str, ...] = ()

    @property
    def tests(self) -> Path:
        """The file with its test events."""
        return self.file.with_name(self.file.name.rsplit(".", 1)[0] + TESTS)


def load(settings: Settings) -> tuple[list[Rule], list[RuleError]]:
    """Shipped rules and those in `rules/` beside the configuration, by id; and those that cannot be run.

    A rule of the user's with the id of a shipped one replaces it.
    """
    rules: dict[str, Rule] = {}
    errors: list[RuleError] = []
    for folder in (SHIPPED, settings.root / FOLDER):
        mine: dict[str, Rule] = {}
        for file in rule_files(folder):
            try:
                rule = read(file, settings)
            except RuleError as error:
                errors.append(error)
                continue
            if rule.id in mine:
                errors.append(
                    RuleError(file, f"its id {rule.id} is also that of {mine[rule.id].file}; give it its own")
                )
            mine.setdefault(rule.id, rule)
        rules.update(mine)
    return [rules[key] for key in sorted(rules)], errors


def rule_files(folder: Path) -> list[Path]:
    """The rule files below a folder, in order; test events are none."""
    return sorted(
        file for file in folder.rglob("*.y*ml") if file.suffix in (".yml", ".yaml") and not file.name.endswith(TESTS)
    )


def read(file: Path, settings: Settings) -> Rule:
    """One rule file.

    Raises:
        RuleError: it cannot be read, is no Sigma rule, or says something that cannot be run.
    """
    try:
        text = file.read_bytes()
        documents = [document for document in yaml.load_all(text, _LOADER) if document is not None]
        if not documents or not all(isinstance(document, dict) for document in documents):
            raise RuleError(file, "it holds no Sigma document (keys and values)")
        collection = SigmaCollection.from_dicts(documents)
        return _rule(file, hashlib.sha256(text).hexdigest()[:12], collection, settings)
    except OSError as error:
        raise RuleError(file, f"it cannot be read ({error.strerror})") from None
    except _MALFORMED as error:
        raise RuleError(file, " ".join(str(error).split()) or type(error).__name__) from None


def _rule(file: Path, version: str, collection: SigmaCollection, settings: Settings) -> Rule:
    final = [rule for rule in collection.rules if rule._output]
    if len(final) != 1:
        raise RuleError(file, f"it holds {len(final)} rules that stand for themselves; put each into a file of its own")
    top = final[0]
    bases = [top] if isinstance(top, SigmaRule) else [reference.rule for reference in top.referenced_rules]
    if not all(isinstance(base, SigmaRule) for base in bases):
        raise RuleError(file, "a correlation over correlations is not supported")
    parts = [_base(file, base, settings) for base in bases if isinstance(base, SigmaRule)]
    own = top.custom_attributes
    shape = (
        _window(file, top, parts[0][2]) if isinstance(top, SigmaCorrelationRule) else _single(file, own, parts[0][2])
    )
    return Rule(
        id=_id(file, top.id),
        title=" ".join(str(top.title or "").split()) or file.stem,
        level=top.level.name.lower() if top.level else "medium",
        version=version,
        file=file,
        where=_of_noise(file, own, " OR ".join(f"({where})" for where, _, _ in parts)),
        sources=tuple(sorted({source for _, sources, _ in parts for source in sources})),
        attack=_attack([*top.tags, *(tag for base in bases for tag in base.tags)]),
        owner=_text(own.get("owner")) or None,
        counts=_text(own.get("counts")) or "events",
        description=_text(top.description),
        runbook=_text(own.get("runbook")),
        falsepositives=tuple(_text(item) for item in top.falsepositives or []),
        **shape,
    )


def _of_noise(file: Path, own: dict[str, Any], where: str) -> str:
    """The condition, without the events that a noise rule marks where the rule says so."""
    said = own.get("noise", "include")
    if said not in ("include", "exclude"):
        raise RuleError(
            file, f"noise is {str(said)[:40]!r}; write `noise: exclude`, or nothing to see marked events too"
        )
    return where if said == "include" else f"x_noise_rule IS NULL AND ({where})"


def _id(file: Path, found: object) -> str:
    if found is None:
        raise RuleError(file, "it has no id; add one, such as the output of `uuidgen`")
    return str(found)


def _base(file: Path, rule: SigmaRule, settings: Settings) -> tuple[str, tuple[str, ...], DuckDBBackend]:
    """SQL, sources and dialect of a detection."""
    format_name = _format(file, rule, settings)
    backend = DuckDBBackend(format_name)
    sources = tuple(name for name, one in settings.sources.items() if format_name in (None, one.format))
    where = backend.where(rule)
    if format_name is not None:
        listed = ", ".join(quote(name) for name in sources) or "NULL"
        where = f"x_source IN ({listed}) AND ({where})"
    return where, sources, backend


def _format(file: Path, rule: SigmaRule, settings: Settings) -> str | None:
    """The record format that a log source names (`service`, else `product`); `ocsf` or none is every event."""
    source = rule.logsource
    named = [name for name in (source.service, source.product) if name]
    if not named or "ocsf" in named:
        return None
    known = {*formats.names(), *(one.format for one in settings.sources.values())}
    for name in named:
        if name in known:
            return name
    raise RuleError(
        file,
        f"no record format is named {' or '.join(named)} (logsource); write `product: ocsf` for a rule over OCSF columns, "
        f"or name one of {', '.join(sorted(known))}",
    )


def _single(file: Path, own: dict[str, Any], backend: DuckDBBackend) -> dict[str, Any]:
    """A rule whose every event is a hit."""
    named = own.get("group_by")
    if named is None:
        return {"groups": {"actor": _ACTOR}}
    if not isinstance(named, list) or not all(isinstance(field, str) for field in named):
        raise RuleError(file, "group_by must be a list of field names")
    return {"groups": {field: backend.text(field) for field in named}}


def _window(file: Path, rule: SigmaCorrelationRule, backend: DuckDBBackend) -> dict[str, Any]:
    """An `event_count` correlation: at least so many events of a group within a time span."""
    if rule.type is not SigmaCorrelationType.EVENT_COUNT:
        raise RuleError(file, f"correlation {rule.type.name.lower()} is not supported; event_count is")
    if len(rule.aliases):
        raise RuleError(file, "correlation aliases are not supported; group by a field that all its rules have")
    condition = rule.condition
    if not isinstance(condition, SigmaCorrelationCondition):
        raise RuleError(file, "an extended correlation condition is not supported")
    least = {
        SigmaCorrelationConditionOperator.GTE: math.ceil(condition.count),
        SigmaCorrelationConditionOperator.GT: math.floor(condition.count) + 1,
    }.get(condition.op)
    if least is None:
        raise RuleError(file, f"correlation condition {condition.op.name.lower()} is not supported; gt and gte are")
    timespan = dt.timedelta(seconds=rule.timespan.seconds)
    if timespan > MAX_TIMESPAN:
        raise RuleError(file, f"its timespan {rule.timespan.spec} is longer than {MAX_TIMESPAN.days} days")
    return {
        "groups": {field: backend.text(field) for field in rule.group_by or []},
        "threshold": max(least, 1),
        "timespan": timespan,
    }


def _attack(tags: Iterable[Any]) -> tuple[str, ...]:
    """ATT&CK ids and tactics: `T1110.001`, `credential-access`."""
    names = [tag.name for tag in tags if tag.namespace == "attack"]
    return tuple(
        sorted(
            {name.upper() if name[:1] in "tsg" and name[1:2].isdigit() else name.replace("_", "-") for name in names}
        )
    )


def _text(value: object) -> str:
    return " ".join(str(value).split()) if value is not None else ""
