"""Rule files: Sigma documents (https://sigmahq.io/sigma-specification/) become rules that can be run.

Belongs here: finding and reading rule files, what a rule says about itself, errors that name the file. Not here: how a condition
becomes SQL (`dialect`), running (`run`). One file holds one rule: a detection, or base detections and one `event_count`
correlation over them. Beside Sigma's own keys ours are `owner` (a team, used where nobody owns source or service), `runbook`
(what to do first), `blind_spots` (what the rule cannot see), `counts` (what the events are, for the explanation) and `group_by` (what makes one detection of a rule
without correlation; else the actor), and `noise: exclude` (events that a noise rule marks are no hits; else they are seen like all others).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from audit_pipeline import formats
from audit_pipeline.detections import correlation, history
from audit_pipeline.detections.dialect import DuckDBBackend
from audit_pipeline.detections.fields import LOG_SOURCES
from audit_pipeline.detections.guard import guard
from audit_pipeline.detections.rule import TESTS, Base, Rule, RuleError
from audit_pipeline.lake.views import quote
from audit_pipeline.settings import Settings

__all__ = ["LEVELS", "SHIPPED", "Rule", "RuleError", "load", "read"]
SHIPPED = Path(__file__).parent / "rules"
FOLDER = "rules"
LEVELS = ("informational", "low", "medium", "high", "critical")
_ACTOR = "coalesce(x_actor, actor_user_name, user_name, src_endpoint_ip)"
_MALFORMED = (SigmaError, NotImplementedError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError)
"""What pySigma raises for rule files of the wrong shape; a broken file must not stop the others."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""the one in C reads the shipped rules in a tenth of the time"""


_KEPT = 1000
_READ: dict[tuple[Path, bytes, str, tuple[tuple[str, tuple[str, ...]], ...]], Rule] = {}
"""Rules by all that they are made of: a night asks for them ten times, and reading them takes a tenth of a second."""


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
        key = (file, text, settings.hours.zone, _formats(settings))
        if key in _READ:
            return _READ[key]
        documents = [document for document in yaml.load_all(text, _LOADER) if document is not None]
        if not documents or not all(isinstance(document, dict) for document in documents):
            raise RuleError(file, "it holds no Sigma document (keys and values)")
        collection = SigmaCollection.from_dicts(documents)
        rule = _rule(file, hashlib.sha256(text).hexdigest()[:12], collection, settings)
    except OSError as error:
        raise RuleError(file, f"it cannot be read ({error.strerror})") from None
    except _MALFORMED as error:
        raise RuleError(file, " ".join(str(error).split()) or type(error).__name__) from None
    if len(_READ) >= _KEPT:
        _READ.clear()
    _READ[key] = rule
    return rule


def _formats(settings: Settings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each source with the formats of its records."""
    return tuple((name, one.formats) for name, one in settings.sources.items())


def _rule(file: Path, version: str, collection: SigmaCollection, settings: Settings) -> Rule:
    final = [rule for rule in collection.rules if rule._output]
    if len(final) != 1:
        raise RuleError(file, f"it holds {len(final)} rules that stand for themselves; put each into a file of its own")
    top = final[0]
    own = top.custom_attributes

    def base(rule: SigmaRule, named: dict[str, str] | None) -> tuple[Base, DuckDBBackend]:
        return _base(file, rule, settings, own, named)

    if isinstance(top, SigmaCorrelationRule):
        shape = correlation.parse(file, top, base)
    else:
        shape = {"bases": (base(top, None)[0],)}
    past = history.parse(own["history"], settings.hours.zone) if "history" in own else None
    if past is not None and isinstance(top, SigmaCorrelationRule):
        raise RuleError(file, "history is for a rule without correlation")
    tags = [*top.tags, *(tag for rule in collection.rules if rule is not top for tag in rule.tags)]
    return Rule(
        id=_id(file, top.id),
        title=" ".join(str(top.title or "").split()) or file.stem,
        level=top.level.name.lower() if top.level else "medium",
        version=version,
        file=file,
        history=past,
        attack=_attack(tags),
        owner=_text(own.get("owner")) or None,
        counts=_text(own.get("counts")) or "events",
        description=_text(top.description),
        runbook=_text(own.get("runbook")),
        falsepositives=tuple(_text(item) for item in top.falsepositives or []),
        blind_spots=_texts(file, "blind_spots", own.get("blind_spots")),
        **shape,
    )


def _texts(file: Path, key: str, said: object) -> tuple[str, ...]:
    """A list of sentences."""
    if not isinstance(said, list | None):
        raise RuleError(file, f"{key} must be a list of sentences")
    return tuple(_text(item) for item in said or [])


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


def _base(
    file: Path, rule: SigmaRule, settings: Settings, own: dict[str, Any], named: dict[str, str] | None
) -> tuple[Base, DuckDBBackend]:
    """A selection and its dialect; `named` is the group key (names to fields), without it as the rule itself says."""
    format_name = _format(file, rule, settings)
    backend = DuckDBBackend(format_name)
    sources = tuple(name for name, of in _formats(settings) if format_name is None or format_name in of)
    where, may = _of_noise(file, own, backend.where(rule)), guard(rule, format_name)
    if format_name is not None:
        listed = ", ".join(quote(name) for name in sources) or "NULL"
        mixed = "" if all(isinstance(settings.sources[name].format, str) for name in sources) else f"starts_with(x_format, {quote(f'{format_name}/')}) AND "  # fmt: skip
        where, may = f"x_source IN ({listed}) AND {mixed}({where})", f"x_source IN ({listed}) AND ({may})"
    groups = _single(file, own, backend) if named is None else {name: backend.text(to) for name, to in named.items()}
    return Base(rule.name or rule.title or "", where, groups, format_name, sources, backend.need(rule), may), backend


def _format(file: Path, rule: SigmaRule, settings: Settings) -> str | None:
    """The record format that a log source names (`service`, else `product`); `ocsf` or none is every event."""
    source = rule.logsource
    named = [name for name in (source.service, source.product) if name]
    if not named or "ocsf" in named:
        return None
    known = {*formats.names(), *(form for _, of in _formats(settings) for form in of)}
    for name in (LOG_SOURCES.get((source.product, source.service)), *named):
        if name is not None and name in known:
            return name
    raise RuleError(
        file,
        f"no record format is named {' or '.join(named)} (logsource); write `product: ocsf` for a rule over OCSF columns, "
        f"or name one of {', '.join(sorted(known))}",
    )


def _single(file: Path, own: dict[str, Any], backend: DuckDBBackend) -> dict[str, str]:
    """The group key of a rule whose every event is a hit."""
    named = own.get("group_by")
    if named is None:
        return {"actor": _ACTOR}
    if not isinstance(named, list) or not all(isinstance(field, str) for field in named):
        raise RuleError(file, "group_by must be a list of field names")
    return {field: backend.text(field) for field in named}


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
