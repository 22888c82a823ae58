"""Checks that controls rest on: each says of every day of a period whether it operated, did not, or could not be evaluated.

Belongs here: the registry, and running a check by name. Not here: the checks (`source_checks`, `work_checks`), which control rests on
which (the YAML files), facts (`facts`).

"No data" is never `operated`: a day that nobody computed, or a source that nobody collected, is `not_evaluated`, with why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from audit_pipeline.reports.controls import source_checks, work_checks
from audit_pipeline.reports.controls.facts import Facts
from audit_pipeline.reports.controls.outcome import NOT_EVALUATED, Days, Outcome, every

Check = Callable[[Facts, str], Days]


class Entry(NamedTuple):
    """A check, what it tells in a few words, and the section of the report that shows its evidence."""

    run: Check
    words: str
    section: str


PENDING: Mapping[str, str] = {
    "log_reads": "who read the logs at their source is not read yet",
    "restore_drill": "a restored copy is not on record here",
}
"""checks that controls name and nobody computes yet: `not_evaluated`, with this reason"""


def evaluate(name: str, facts: Facts) -> Days:
    """A check by name (`name` or `name:argument`); one that does not exist is not evaluated, and said so."""
    base, _, argument = name.partition(":")
    entry = CHECKS.get(base)
    if entry is None:
        return every(facts, Outcome(NOT_EVALUATED, PENDING.get(base, f"no check is named {base}")))
    return entry.run(facts, argument)


CHECKS: dict[str, Entry] = {
    "systems_logged": Entry(source_checks.systems_logged, "every system in scope has a source", "sources"),
    "sources_live": Entry(source_checks.sources_live, "something came from every source", "sources"),
    "sources_whole": Entry(source_checks.sources_whole, "no source was partial or missing", "sources"),
    "senders_heard": Entry(source_checks.senders_heard, "no declared sender was silent", "failures"),
    "records_kept": Entry(
        source_checks.records_kept, "no record was rejected, unreadable or unaccounted for", "failures"
    ),
    "fields_filled": Entry(
        source_checks.fields_filled, "nearly every record told who, what, when, outcome and origin", "sources"
    ),
    "failures_told": Entry(work_checks.failures_told, "failures of logging stood in a report in time", "failures"),
    "review_on_time": Entry(work_checks.review_on_time, "the day's report was there in time", "reviews"),
    "rules_ran": Entry(work_checks.rules_ran, "all rules ran", "findings"),
    "rule_watches": Entry(work_checks.rule_watches, "a rule for the technique ran", "findings"),
    "findings_owned": Entry(work_checks.findings_owned, "new findings had an owner", "findings"),
    "findings_taken_up": Entry(work_checks.findings_taken_up, "findings were taken up by their date", "life"),
    "change_approval": Entry(
        work_checks.change_approval, "two people signed each fix that was put in place", "exceptions"
    ),
    "fix_effect": Entry(work_checks.fix_effect, "each fix was judged on its date", "effects"),
    "evidence_verified": Entry(
        work_checks.evidence_verified, "all hashes and chains held at the time of this report", "evidence"
    ),
    "retention": Entry(work_checks.retention, "evidence is kept, and there, for so many days", "evidence"),
    "lag_in_time": Entry(source_checks.lag_in_time, "records arrived in time", "sources"),
    "clocks_plausible": Entry(source_checks.clocks_plausible, "no record came from the future", "failures"),
    "report_delivered": Entry(work_checks.report_delivered, "the day's mail was accepted by a server", "reviews"),
    "permission_review": Entry(
        source_checks.permission_review, "nobody has rights to logs that no one approved", "access"
    ),
    "people_hidden": Entry(work_checks.people_hidden, "pseudonyms stand in mails and monthly reports", "method"),
    "kpi_good": Entry(work_checks.kpi_good, "the KPI reached its target", "kpis"),
}
"""Check names that control files may use."""
