"""Who watches: the rules that could not judge, and those that look for changes to logging itself, with what they found.

Belongs here: which rules looked at what. Not here: silences and failures (`coverage`), findings (`asked`).
"""

from __future__ import annotations

from audit_pipeline.reports import text
from audit_pipeline.reports.inputs import Inputs, Row

DETECTOR = "detector"
"""kind of a row of what could not be judged: a rule or model that lacked what it needs. Alone it does not change a report's state:
where a source is to blame the source does, and a rule for what a company does not log would ask for attention for ever."""


def logging_changes(inputs: Inputs, findings: list[Row]) -> Row:
    """`rules` that look for changes to logging, the `unwatched` sources, and ids of `findings` of those rules.

    Without a rule over a source, that nothing is shown of it says nothing.
    """
    from audit_pipeline.detections.rule import LOGGING, about_logging
    from audit_pipeline.detections.sigma import load  # reads rule files: not needed to import this package

    rules = [rule for rule in load(inputs.settings)[0] if about_logging(rule.attack)]
    watched = {source for rule in rules for source in rule.sources}
    ids = {rule.id for rule in rules if rule.sources}
    return {
        "techniques": list(LOGGING),
        "rules": sorted(rule.title for rule in rules if rule.sources),
        "unwatched": sorted(set(inputs.settings.sources) - watched),
        "findings": [row["finding_id"] for row in findings if row["rule_id"] in ids],
    }


def rules_not_judged(inputs: Inputs) -> list[Row]:
    """The rules that were not evaluated on the day (or on some day of the period), as one row with a line a reason.

    Those that cannot be run at all have no version; they are told of as errors (`coverage.not_judged`).
    """
    lacking = [row for row in inputs.rule_states if row["state"] == "not_evaluated" and row["rule_version"]]
    if not lacking:
        return []
    by_reason: dict[str, dict[str, set[str]]] = {}
    for row in lacking:
        by_reason.setdefault(row["reason"] or "no reason recorded", {}).setdefault(row["title"], set()).add(row["day"])
    rules = {row["rule_id"] for row in lacking}
    of = {row["rule_id"] for row in inputs.rule_states if row["state"] != "not_applicable"}
    ordered = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "subject": text.count(len(rules), "rule", capital=True),
            "kind": DETECTOR,
            "verdict": "unknown",
            "phrase": f"{len(rules)} of {len(of)} not evaluated: {ordered[0][0]}"
            + (f", and {text.count(len(ordered) - 1, 'more reason')}" if len(ordered) > 1 else ""),
            "detail": [_line(reason, titles, inputs) for reason, titles in ordered],
        }
    ]


def _line(reason: str, titles: dict[str, set[str]], inputs: Inputs) -> str:
    """`source linux_edge missing: Sudo refused, New admin (2 of 7 days)`."""
    names = ", ".join(sorted(titles))
    days = sorted({day for of in titles.values() for day in of})
    return f"{reason}: {names}" + (f" ({text.spans(days)})" if inputs.of_period else "")
