"""The reference page of the detection rules, and the words that all pages of `reference` share.

Belongs here: turning rules into Markdown. Not here: any fact of its own.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit_pipeline.settings import Settings

if TYPE_CHECKING:
    from audit_pipeline.detections.rule import Rule

MADE = "<!-- Made by `python -m audit_pipeline.reference docs/reference`; edit the code it is made from. -->"


def shown(value: Any) -> str:
    """A value as it would stand in YAML."""
    if value is None:
        return "null"
    if isinstance(value, dt.timedelta):
        seconds = int(value.total_seconds())
        unit, size = next(
            (unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if seconds % size == 0
        )
        return f"{seconds // size}{unit}"
    if isinstance(value, dt.time):
        return f'"{value:%H:%M}"'
    return str(value)


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def rules() -> str:
    """The page of the detection rules that are shipped."""
    from audit_pipeline.detections import sigma

    settings = Settings.from_text(
        "start: 2026-01-01\nsources: {any: {type: files, format: cloudtrail}}", Path("pipeline.yaml")
    )
    known = [sigma.read(file, settings) for file in sigma.rule_files(sigma.SHIPPED)]
    parts = [
        "# Detection rules",
        "",
        MADE,
        "",
        f"The {len(known)} rules that are shipped, by file name. `ocsf` is every source whose events have the columns. A rule of yours with the same id",
        "replaces one of them ([add a rule](../how-to/add-a-rule.md)); `audit-pipeline rules explain NAME` adds runbook and SQL.",
        "",
        "| rule | title | level | ATT&CK | sources | kind |",
        "|---|---|---|---|---|---|",
        *(f"| [{rule.name}](#{rule.name}) | {cell(rule.title)} | {rule.level} | {_techniques(rule)} | {_formats(rule)} | {_limit(rule)} |" for rule in known),
        "",
    ]  # fmt: skip
    for rule in known:
        parts += [f"## {rule.name}", "", f"`{rule.id}`", "", rule.description, ""]
        parts += [f"Harmless causes: {'; '.join(rule.falsepositives)}.", ""]
        parts += [f"Does not see: {'; '.join(rule.blind_spots)}.", ""]
    return "\n".join(parts)


def _techniques(rule: Rule) -> str:
    return ", ".join(tag for tag in rule.attack if tag[1:2].isdigit())


def _formats(rule: Rule) -> str:
    return ", ".join(sorted({base.format or "ocsf" for base in rule.bases}))


def _limit(rule: Rule) -> str:
    """What makes a hit, in words."""
    if rule.history is not None:
        from audit_pipeline.detections.history import words

        return f"each event {words(rule.history)}"
    if rule.kind == "single":
        return "each event"
    window = shown(rule.timespan)
    if rule.kind.startswith("temporal"):
        return f"{rule.kind}: {', '.join(cell(base.name) for base in rule.bases)} in {window}"
    return f"{rule.kind}: {rule.threshold} {f'different {rule.counted}' if rule.counted else 'events'} in {window}"
