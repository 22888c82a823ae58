"""What is said about changes to logging itself: which rules look for them, over which sources, and what they found.

Belongs here: ATT&CK techniques that weaken or remove logs. Not here: silences and failures (`coverage`), findings (`asked`).
"""

from __future__ import annotations

from audit_pipeline.reports.inputs import Inputs, Row

TECHNIQUES = ("T1562", "T1070")
"""Impair Defenses and Indicator Removal (https://attack.mitre.org/techniques/T1562/, /T1070/), sub-techniques included"""


def logging_changes(inputs: Inputs, findings: list[Row]) -> Row:
    """`rules` that look for changes to logging, the `unwatched` sources, and ids of `findings` of those rules.

    Without a rule over a source, that nothing is shown of it says nothing.
    """
    from audit_pipeline.detections.sigma import load  # reads rule files: not needed to import this package

    rules = [rule for rule in load(inputs.settings)[0] if any(_watches(tag) for tag in rule.attack)]
    watched = {source for rule in rules for source in rule.sources}
    ids = {rule.id for rule in rules if rule.sources}
    return {
        "techniques": list(TECHNIQUES),
        "rules": sorted(rule.title for rule in rules if rule.sources),
        "unwatched": sorted(set(inputs.settings.sources) - watched),
        "findings": [row["finding_id"] for row in findings if row["rule_id"] in ids],
    }


def _watches(tag: str) -> bool:
    return tag.upper().removeprefix("ATTACK.").partition(".")[0] in TECHNIQUES
