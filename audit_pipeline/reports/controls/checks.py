"""Checks that controls rest on: each says of every day of a period whether it operated, did not, or could not be evaluated.

Belongs here: the registry and the checks by name. Not here: which control rests on which (the YAML files), facts (`facts`).

"No data" is never `operated`: a day that nobody computed, or a source that nobody collected, is `not_evaluated`, with why.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from audit_pipeline.clock import DAY
from audit_pipeline.reports.controls.facts import Facts
from audit_pipeline.reports.coverage import FAILURES, NOT_COMPUTED
from audit_pipeline.reports.inputs import Row

FILLED = 0.995
"""share of a day's events that has to have a field"""
OPERATED, NOT_OPERATED, NOT_EVALUATED = "operated", "not_operated", "not_evaluated"


class Outcome(NamedTuple):
    """What a check says of one day."""

    state: str
    why: str = ""


Days = dict[str, Outcome]
Check = Callable[[Facts, str], Days]


class Entry(NamedTuple):
    """A check, what it tells in a few words, and the section of the report that shows its evidence."""

    run: Check
    words: str
    section: str


PENDING: Mapping[str, str] = {
    "permission_review": "who may read, change or delete logs is not read yet",
    "restore_drill": "a restored copy is not on record here",
    "change_approval": "changes are not matched to approvals yet",
    "fix_effect": "remediations and their effects are not on record yet",
}
"""checks that controls name and nobody computes yet: `not_evaluated`, with this reason"""


def evaluate(name: str, facts: Facts) -> Days:
    """A check by name (`name` or `name:argument`); one that does not exist is not evaluated, and said so."""
    base, _, argument = name.partition(":")
    entry = CHECKS.get(base)
    if entry is None:
        return _all(facts, Outcome(NOT_EVALUATED, PENDING.get(base, f"no check is named {base}")))
    return entry.run(facts, argument)


def _all(facts: Facts, outcome: Outcome) -> Days:
    return dict.fromkeys(facts.days, outcome)


def _by_source(facts: Facts, judge: Callable[[Row], Outcome]) -> Days:
    """The worst of a day's sources in scope."""
    found = {}
    for day in facts.days:
        outcomes = [
            Outcome(state, f"{source}: {why}" if why else "")
            for source in facts.sources
            for state, why in [judge(facts.completeness.get((source, day)) or {"verdict": NOT_COMPUTED})]
        ]
        found[day] = worst(outcomes) if outcomes else Outcome(NOT_EVALUATED, "no source is in scope")
    return found


def worst(outcomes: list[Outcome]) -> Outcome:
    """Not operated before not evaluated before operated; the first of its kind says why."""
    for state in (NOT_OPERATED, NOT_EVALUATED):
        for outcome in outcomes:
            if outcome.state == state:
                return outcome
    return outcomes[0]


def _unseen(row: Row) -> Outcome | None:
    """A day of which nobody knows whether there were records."""
    if row["verdict"] == NOT_COMPUTED:
        return Outcome(NOT_EVALUATED, "no run has computed the day")
    if row["verdict"] == "unknown" and "not_collected" in _codes(row):
        return Outcome(NOT_EVALUATED, "not collected")
    return None


def _codes(row: Row) -> list[str]:
    return [reason["code"] for reason in row["reasons"] or []]


def _systems_logged(facts: Facts, _: str) -> Days:
    lacking = [one.name for one in facts.scope.named if not set(one.sources) & set(facts.settings.sources)]
    why = f"no configured source tells of {', '.join(lacking[:5])}"
    return _all(facts, Outcome(NOT_OPERATED, why) if lacking else Outcome(OPERATED))


def _sources_live(facts: Facts, _: str) -> Days:
    def judge(row: Row) -> Outcome:
        if row["verdict"] == "missing":
            return Outcome(NOT_OPERATED, "nothing came")
        return _unseen(row) or Outcome(OPERATED)

    return _by_source(facts, judge)


def _sources_whole(facts: Facts, _: str) -> Days:
    def judge(row: Row) -> Outcome:
        if row["verdict"] in ("missing", "partial"):
            return Outcome(NOT_OPERATED, row["verdict"])
        if row["verdict"] == "unknown":
            return _unseen(row) or Outcome(NOT_EVALUATED, "first days, no history yet")
        return _unseen(row) or Outcome(OPERATED)

    return _by_source(facts, judge)


def _senders_heard(facts: Facts, _: str) -> Days:
    if not any(facts.settings.sources[name].expected for name in facts.sources if name in facts.settings.sources):
        return _all(facts, Outcome(NOT_EVALUATED, "no sender is declared (`expected` of the sources)"))
    return _without(facts, ("sender_silent",))


def _records_kept(facts: Facts, _: str) -> Days:
    return _without(facts, ("rejects", "mismatch", "unreadable", "corrupt"))


def _without(facts: Facts, codes: tuple[str, ...]) -> Days:
    """Days on which no source in scope has one of these reasons."""

    def judge(row: Row) -> Outcome:
        unseen = _unseen(row)
        found = [] if unseen else [code for code in _codes(row) if code in codes]
        if found:
            return Outcome(NOT_OPERATED, found[0].replace("_", " "))
        if row["verdict"] == "missing":
            return Outcome(NOT_EVALUATED, "nothing came")
        return unseen or Outcome(OPERATED)

    return _by_source(facts, judge)


def _fields_filled(facts: Facts, _: str) -> Days:
    """Nearly every record tells who, what, when, how it ended and from where."""
    found = {}
    for day in facts.days:
        outcomes = [_filled(source, facts.filled.get((source, day))) for source in facts.sources]
        found[day] = worst(outcomes) if outcomes else Outcome(NOT_EVALUATED, "no source is in scope")
    return found


def _filled(source: str, shares: Mapping[str, float] | None) -> Outcome:
    if shares is None:
        return Outcome(NOT_EVALUATED, f"{source}: no events")
    lacking = [f"{name} in {math.floor(share * 1000) / 10:g} %" for name, share in shares.items() if share < FILLED]
    return Outcome(NOT_OPERATED, f"{source}: {', '.join(lacking)} of events") if lacking else Outcome(OPERATED)


def _failures_told(facts: Facts, _: str) -> Days:
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


def _review_on_time(facts: Facts, _: str) -> Days:
    return {day: _review(facts, day) for day in facts.days}


def _rules_ran(facts: Facts, _: str) -> Days:
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


def _rule_watches(facts: Facts, tag: str) -> Days:
    """A rule with the ATT&CK technique looks at a source in scope, and rules ran. The rule set is today's."""
    wanted = tag.upper()
    if not any(
        any(one == wanted or one.startswith(f"{wanted}.") for one in attack) and set(sources) & set(facts.sources)
        for attack, sources in facts.rules
    ):
        return _all(facts, Outcome(NOT_EVALUATED, f"no rule for {wanted} looks at a source in scope"))
    return _rules_ran(facts, "")


def _findings_owned(facts: Facts, _: str) -> Days:
    def judge(day: str) -> Outcome:
        lacking = [row for row in facts.findings if row["detected_at"][:10] == _next(day) and not row["owner"]]
        return Outcome(NOT_OPERATED, f"{len(lacking)} without an owner") if lacking else Outcome(OPERATED)

    return _where_rules_ran(facts, judge)


def _findings_taken_up(facts: Facts, _: str) -> Days:
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


def _evidence_verified(facts: Facts, _: str) -> Days:
    """Every segment collected in the period hashes to its entry, and every chain holds, at the time of this report."""
    if not facts.verified:
        return _all(facts, Outcome(NOT_EVALUATED, "nothing was collected that could be verified"))
    found = facts.problems_in_scope
    if found:
        return _all(facts, Outcome(NOT_OPERATED, f"{len(found)} problem{'s' if len(found) > 1 else ''}: {found[0]}"))
    return _all(facts, Outcome(OPERATED))


def _retention(facts: Facts, argument: str) -> Days:
    """Evidence is kept for so many days, and so many days of it are there."""
    if not argument.isdecimal():
        return _all(facts, Outcome(NOT_EVALUATED, "the check needs a number of days, such as retention:365"))
    wanted = int(argument)
    kept = facts.settings.retention.raw.days
    if kept < wanted:
        return _all(facts, Outcome(NOT_OPERATED, f"retention.raw is {kept} of {wanted} days"))
    if facts.history_days < wanted:
        why = f"{facts.history_days} of {wanted} days are on record so far"
        return _all(facts, Outcome(NOT_EVALUATED, why))
    return _all(facts, Outcome(OPERATED))


def _lag_in_time(facts: Facts, _: str) -> Days:
    """95 % of a day's records arrived within the source's `settles_after`."""
    found = {}
    for day in facts.days:
        outcomes = [_lag(facts, source, day) for source in facts.sources]
        found[day] = worst(outcomes) if outcomes else Outcome(NOT_EVALUATED, "no source is in scope")
    return found


def _lag(facts: Facts, source: str, day: str) -> Outcome:
    row = facts.completeness.get((source, day))
    configured = facts.settings.sources.get(source)
    if row is None or configured is None or row["lag_p95_s"] is None:
        return Outcome(NOT_EVALUATED, f"{source}: its lag is not known")
    limit = configured.settles_after.total_seconds()
    why = f"{source}: p95 of the lag {row['lag_p95_s']:.0f} s, limit {limit:.0f} s"
    return Outcome(NOT_OPERATED, why) if row["lag_p95_s"] > limit else Outcome(OPERATED)


def _clocks_plausible(facts: Facts, _: str) -> Days:
    return _without(facts, ("future",))


def _report_delivered(facts: Facts, _: str) -> Days:
    if not facts.settings.reports.daily.to:
        return _all(facts, Outcome(NOT_EVALUATED, "the daily report has no recipients"))
    if facts.settings.smtp is None:
        return _all(facts, Outcome(NOT_EVALUATED, "no mail server is configured"))
    no = Outcome(NOT_OPERATED, "no mail of the day was accepted by a server")
    return {day: Outcome(OPERATED) if day in facts.delivered else no for day in facts.days}


def _people_hidden(facts: Facts, _: str) -> Days:
    shown = [name for name in ("mail", "monthly") if getattr(facts.settings.privacy, name) == "names"]
    why = f"privacy: names stand in {' and '.join(shown)}"
    return _all(facts, Outcome(NOT_OPERATED, why) if shown else Outcome(OPERATED))


def _kpi_good(facts: Facts, kpi_id: str) -> Days:
    states = facts.kpi_states.get(kpi_id)
    if states is None:
        return _all(facts, Outcome(NOT_EVALUATED, f"no KPI is named {kpi_id}"))
    told = {"good": Outcome(OPERATED), "bad": Outcome(NOT_OPERATED, "target missed")}
    return {day: told.get(states.get(day, ""), Outcome(NOT_EVALUATED, "no data or no target")) for day in facts.days}


CHECKS: dict[str, Entry] = {
    "systems_logged": Entry(_systems_logged, "every system in scope has a source", "sources"),
    "sources_live": Entry(_sources_live, "something came from every source", "sources"),
    "sources_whole": Entry(_sources_whole, "no source was partial or missing", "sources"),
    "senders_heard": Entry(_senders_heard, "no declared sender was silent", "failures"),
    "records_kept": Entry(_records_kept, "no record was rejected, unreadable or unaccounted for", "failures"),
    "fields_filled": Entry(_fields_filled, "nearly every record told who, what, when, outcome and origin", "sources"),
    "failures_told": Entry(_failures_told, "failures of logging stood in a report in time", "failures"),
    "review_on_time": Entry(_review_on_time, "the day's report was there in time", "reviews"),
    "rules_ran": Entry(_rules_ran, "all rules ran", "findings"),
    "rule_watches": Entry(_rule_watches, "a rule for the technique ran", "findings"),
    "findings_owned": Entry(_findings_owned, "new findings had an owner", "findings"),
    "findings_taken_up": Entry(_findings_taken_up, "findings were taken up by their date", "life"),
    "evidence_verified": Entry(_evidence_verified, "all hashes and chains held at the time of this report", "evidence"),
    "retention": Entry(_retention, "evidence is kept, and there, for so many days", "evidence"),
    "lag_in_time": Entry(_lag_in_time, "records arrived in time", "sources"),
    "clocks_plausible": Entry(_clocks_plausible, "no record came from the future", "failures"),
    "report_delivered": Entry(_report_delivered, "the day's mail was accepted by a server", "reviews"),
    "people_hidden": Entry(_people_hidden, "pseudonyms stand in mails and monthly reports", "method"),
    "kpi_good": Entry(_kpi_good, "the KPI reached its target", "kpis"),
}
"""Check names that control files may use."""
