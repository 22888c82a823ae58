"""A report without people's names, and without anything that looks like a secret.

Belongs here: putting tokens into a report. Not here: the token and its key (`privacy.pseudonyms`), who is a person (`asked.people`
lists the accounts).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from audit_pipeline.lake.store import Lake
from audit_pipeline.privacy.masks import masked
from audit_pipeline.privacy.names import UNLISTED
from audit_pipeline.privacy.pseudonyms import key, token
from audit_pipeline.settings import Settings

__all__ = ["hide", "key", "published", "token"]
SHOWN = 100
"""characters of a name that a title shows (`detections.run.SHOWN`)"""
_SECTIONS = (
    "findings",
    "decisions",
    "changes",
    "not_judged",
    "failures",
    "sources",
    "corrections",
    "effects",
    "releases",
    "anomalies",
    "set_aside",
    "access",
)
"""parts of a report that may hold text of a log; the others hold numbers, and names from the configuration"""
_TEXT = frozenset(
    {
        "title", "explanation", "owner", "actor", "target", "group_key", "detail", "phrase", "uid", "details", "fix", "reason", "why",
        "proposed_by", "principal", "approved_by", "approver", "risk_terms",
    }
)  # fmt: skip


def published(report: dict[str, Any], settings: Settings, lake: Lake) -> dict[str, Any]:
    """The report as it is stored: secrets masked, and tokens in place of names where the configuration asks for them.

    Raises:
        UserError: the key of the tokens cannot be read or made.
    """
    clean: dict[str, Any] = masked(report)
    return hide(clean, key(settings, lake)) if report["method"]["people"]["page"] == "pseudonyms" else clean


def hide(report: dict[str, Any], secret: bytes) -> dict[str, Any]:
    """The report with a token wherever a text names one of `report["people"]`; numbers, states and identifiers stay as they are.

    The result names nobody, so that hiding it once more changes nothing.
    """
    replace = _replacer(report["people"], secret)
    hidden = {name: _walk(report[name], replace) if name in _SECTIONS else report[name] for name in report}
    if "kpis" in report:  # only what explains a number is text of a log
        details = [_walk(row.get("details", []), replace, inside=True) for row in report["kpis"]]
        hidden["kpis"] = [{**row, "details": found} for row, found in zip(report["kpis"], details, strict=True)]
    return {**hidden, "people": []}


def _replacer(people: list[str], secret: bytes) -> Callable[[str], str]:
    """Longest form first; a name inside a longer word is another name, so word characters may not touch it."""
    named = [name for name in people if not name.startswith(UNLISTED)]  # such a one is a token already
    tokens = {form.casefold(): token(name, secret) for name in named for form in _forms(name)}
    if not tokens:
        return str
    forms = sorted(tokens, key=lambda form: (-len(form), form))
    pattern = re.compile("|".join(_bounded(form) for form in forms), re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: tokens.get(match[0].casefold(), "user-withheld"), text)


def _forms(name: str) -> set[str]:
    """A name as it is, as titles and explanations show it (no control characters, cut to one line), and as JSON has it."""
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return {name, printable, printable[:SHOWN], json.dumps(name, ensure_ascii=False)[1:-1]}


def _bounded(name: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", name) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", name) else ""
    return before + re.escape(name) + after


def _walk(value: Any, replace: Callable[[str], str], inside: bool = False) -> Any:
    if isinstance(value, dict):
        return {name: _walk(item, replace, inside or name in _TEXT) for name, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, replace, inside) for item in value]
    return replace(value) if inside and isinstance(value, str) else value
