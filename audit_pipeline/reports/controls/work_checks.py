"""Checks of the work around logs: reports, rules, findings, evidence, privacy.

Belongs here: what people and the pipeline did. Not here: the logs themselves (`source_checks`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from audit_pipeline.clock import DAY
from audit_pipeline.reports.controls.facts import Facts
from audit_pipeline.reports.controls.outcome import NOT_EVALUATED, NOT_OPERATED, OPERATED, Days, Outcome, every
from audit_pipeline.reports.coverage import FAILURES
from audit_pipeline.reports.inputs import Row


def failures_told(facts: Facts, _: str) -> Days:
    """A failure of logging stands in a report that was there in time; on a day without one the detector must have run."""
    found = {}
    for day in facts.days:
        rows = [facts.completeness.get((source, day)) for source in facts.sources]
        codes = {reason["code"] for row in rows if row for reason in row["reasons"] or []} & set(FAILURES)
        if not rows or any(row is None for row in rows):
            found[day] = Outcome(NOT_EVALUATED, "no run has computed the day")
        elif codes:
            found[day] = _review(facts, day)
        else:
            found[day] = Outcome(OPERATED)
    return found


def _review(facts: Facts, day: str) -> Outcome:
    state = facts.reviews.get(day)
    if state is None:
        return Outcome(NOT_EVALUATED, "its review is not due yet")
    return Outcome(OPERATED) if state == "on_time" else Outcome(NOT_OPERATED, f"review {state}")


def review_on_time(facts: Facts, _: str) -> Days:
    """The day's review was on time."""
    return {day: _review(facts, day) for day in facts.days}


def rules_ran(facts: Facts, _: str) -> Days:
    """The rule set ran over the day, and no rule failed."""
    found = {}
    for day in facts.days:
        errors = facts.rule_errors.get(day)
        if errors is None:
            found[day] = Outcome(NOT_OPERATED if facts.reviews.get(day) else NOT_EVALUATED, "no rule has run")
        elif errors:
            found[day] = Outcome(NOT_OPERATED, f"{errors} rule{'s' if errors > 1 else ''} could not be run")
        else:
            found[day] = Outcome(OPERATED)
    return found


def rule_watches(facts: Facts, tag: str) -> Days:
    """A rule with the ATT&CK technique looks at a source in scope, and could judge the day. The rule set is today's."""
    wanted = tag.upper()
    watching = [
        rule
        for rule, attack, sources in facts.rules
        if any(one == wanted or one.startswith(f"{wanted}.") for one in attack) and set(sources) & set(facts.sources)
    ]
    if not watching:
        return every(facts, Outcome(NOT_EVALUATED, f"no rule for {wanted} looks at a source in scope"))
    ran = rules_ran(facts, "")
    return {day: _could_judge(facts, watching, day) or said for day, said in ran.items()}


def _could_judge(facts: Facts, rules: list[str], day: str) -> Outcome | None:
    """Not evaluated where none of the rules could judge the day; null where one did, or nothing is recorded of them."""
    states = [facts.rule_states[rule, day] for rule in rules if (rule, day) in facts.rule_states]
    if not states or any(state == "evaluated" for state, _ in states):
        return None
    return Outcome(NOT_EVALUATED, f"no rule for it could judge: {states[0][1]}")


def findings_owned(facts: Facts, _: str) -> Days:
    """The findings that were new with the day have an owner."""

    def judge(day: str) -> Outcome:
        lacking = [row for row in facts.findings if row["detected_at"][:10] == _next(day) and not row["owner"]]
        return Outcome(NOT_OPERATED, f"{len(lacking)} without an owner") if lacking else Outcome(OPERATED)

    return _where_rules_ran(facts, judge)


def findings_taken_up(facts: Facts, _: str) -> Days:
    """Findings whose date fell on a day were acknowledged or closed by then."""

    def judge(day: str) -> Outcome:
        due = [row for row in facts.findings if row["due_at"] and row["due_at"][:10] == _next(day)]
        late = [row for row in due if not _taken_up(row)]
        return (
            Outcome(NOT_OPERATED, f"{len(late)} of {len(due)} not taken up by the date") if late else Outcome(OPERATED)
        )

    return _where_rules_ran(facts, judge)


def _next(day: str) -> str:
    """The UTC day on which a day's as-of lies."""
    return (dt.date.fromisoformat(day) + DAY).isoformat()


def _taken_up(row: Row) -> bool:
    return any(row[name] and row[name] <= row["due_at"] for name in ("acknowledged_at", "closed_at"))


def _where_rules_ran(facts: Facts, judge: Callable[[str], Outcome]) -> Days:
    nothing = Outcome(NOT_EVALUATED, "no rule has run")
    return {day: nothing if facts.rule_errors.get(day) is None else judge(day) for day in facts.days}


def change_approval(facts: Facts, _: str) -> Days:
    """Each fix put in place in the period was proposed and approved by two people, both by verified signatures.

    An approval that is only asserted proves nothing either way; one by the person who proposed the fix, or none, did not operate.
    """
    found = facts.implemented
    if not found:
        return every(facts, Outcome(NOT_EVALUATED, "no fix was put in place in the period"))
    alone = sum(row["approval"] == "self-approved" for row in found)
    without = sum(row["approval"] is None for row in found)
    asserted = sum(row["approval"] == "asserted" for row in found)
    if alone or without:
        told = [
            f"{alone} approved by who proposed them" if alone else "",
            f"{without} without an approval" if without else "",
        ]
        return every(
            facts, Outcome(NOT_OPERATED, f"of {len(found)} fixes {' and '.join(part for part in told if part)}")
        )
    if asserted:
        return every(facts, Outcome(NOT_EVALUATED, f"{asserted} of {len(found)} approvals are asserted, not signed"))
    return every(facts, Outcome(OPERATED))


def fix_effect(facts: Facts, _: str) -> Days:
    """Each fix whose decision date lies in the period was judged: it worked, or it did not and the finding came back."""
    found = facts.fixes
    if not found:
        return every(facts, Outcome(NOT_EVALUATED, "no fix had its decision date in the period"))
    waiting = sum(row["verdict"] == "pending" for row in found)
    unclear = sum(row["verdict"] == "inconclusive" for row in found)
    if waiting:
        return every(facts, Outcome(NOT_OPERATED, f"{waiting} of {len(found)} fixes were not judged on their date"))
    if unclear:
        return every(
            facts, Outcome(NOT_EVALUATED, f"{unclear} of {len(found)} fixes could not be judged: inconclusive")
        )
    return every(facts, Outcome(OPERATED))


def evidence_verified(facts: Facts, _: str) -> Days:
    """Every segment collected in the period hashes to its entry, and every chain holds, at the time of this report."""
    if not facts.verified:
        return every(facts, Outcome(NOT_EVALUATED, "nothing was collected that could be verified"))
    found = facts.problems_in_scope
    if found:
        return every(facts, Outcome(NOT_OPERATED, f"{len(found)} problem{'s' if len(found) > 1 else ''}: {found[0]}"))
    return every(facts, Outcome(OPERATED))


def retention(facts: Facts, argument: str) -> Days:
    """Evidence is kept for so many days, and so many days of it are there."""
    if not argument.isdecimal():
        return every(facts, Outcome(NOT_EVALUATED, "the check needs a number of days, such as retention:365"))
    wanted = int(argument)
    kept = facts.settings.retention.raw.days
    if kept < wanted:
        return every(facts, Outcome(NOT_OPERATED, f"retention.raw is {kept} of {wanted} days"))
    if facts.history_days < wanted:
        why = f"{facts.history_days} of {wanted} days are on record so far"
        return every(facts, Outcome(NOT_EVALUATED, why))
    return every(facts, Outcome(OPERATED))


def report_delivered(facts: Facts, _: str) -> Days:
    """A mail server accepted the day's mail."""
    if not facts.settings.reports.daily.to:
        return every(facts, Outcome(NOT_EVALUATED, "the daily report has no recipients"))
    if facts.settings.smtp is None:
        return every(facts, Outcome(NOT_EVALUATED, "no mail server is configured"))
    no = Outcome(NOT_OPERATED, "no mail of the day was accepted by a server")
    return {day: Outcome(OPERATED) if day in facts.delivered else no for day in facts.days}


def people_hidden(facts: Facts, _: str) -> Days:
    """Mails and monthly reports show pseudonyms."""
    shown = [name for name in ("mail", "monthly") if getattr(facts.settings.privacy, name) == "names"]
    why = f"privacy: names stand in {' and '.join(shown)}"
    return every(facts, Outcome(NOT_OPERATED, why) if shown else Outcome(OPERATED))


def kpi_good(facts: Facts, kpi_id: str) -> Days:
    """The KPI of this id reached its target."""
    states = facts.kpi_states.get(kpi_id)
    if states is None:
        return every(facts, Outcome(NOT_EVALUATED, f"no KPI is named {kpi_id}"))
    told = {"good": Outcome(OPERATED), "bad": Outcome(NOT_OPERATED, "target missed")}
    return {day: told.get(states.get(day, ""), Outcome(NOT_EVALUATED, "no data or no target")) for day in facts.days}
