"""Checks of the sources in scope: whether their logs came, whole, readable, in time, and with every field.

Belongs here: what completeness and events tell. Not here: what people and the pipeline did about it (`work_checks`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from audit_pipeline.access.snapshot import NOT_SHOWN, SEEN
from audit_pipeline.reports.controls.facts import Facts
from audit_pipeline.reports.controls.outcome import (
    NOT_EVALUATED,
    NOT_OPERATED,
    OPERATED,
    Days,
    Outcome,
    by_source,
    every,
    worst,
)
from audit_pipeline.reports.coverage import NOT_COMPUTED
from audit_pipeline.reports.inputs import Row

FILLED = 0.995
"""share of a day's events that has to have a field"""


def _unseen(row: Row) -> Outcome | None:
    """A day of which nobody knows whether there were records."""
    if row["verdict"] == NOT_COMPUTED:
        return Outcome(NOT_EVALUATED, "no run has computed the day")
    if row["verdict"] == "unknown" and "not_collected" in _codes(row):
        return Outcome(NOT_EVALUATED, "not collected")
    return None


def _codes(row: Row) -> list[str]:
    return [reason["code"] for reason in row["reasons"] or []]


def systems_logged(facts: Facts, _: str) -> Days:
    """Each system in scope has a configured source."""
    lacking = [one.name for one in facts.scope.named if not set(one.sources) & set(facts.settings.sources)]
    why = f"no configured source tells of {', '.join(lacking[:5])}"
    return every(facts, Outcome(NOT_OPERATED, why) if lacking else Outcome(OPERATED))


def sources_live(facts: Facts, _: str) -> Days:
    """Something came from every source in scope."""

    def judge(row: Row) -> Outcome:
        if row["verdict"] == "missing":
            return Outcome(NOT_OPERATED, "nothing came")
        return _unseen(row) or Outcome(OPERATED)

    return by_source(facts, judge)


def sources_whole(facts: Facts, _: str) -> Days:
    """No source in scope was partial or missing; one that cannot be judged yet is not evaluated."""

    def judge(row: Row) -> Outcome:
        if row["verdict"] in ("missing", "partial"):
            return Outcome(NOT_OPERATED, row["verdict"])
        if row["verdict"] == "unknown":
            return _unseen(row) or Outcome(NOT_EVALUATED, "first days, no history yet")
        return _unseen(row) or Outcome(OPERATED)

    return by_source(facts, judge)


def senders_heard(facts: Facts, _: str) -> Days:
    """No declared sender of a source in scope was silent."""
    if not any(facts.settings.sources[name].expected for name in facts.sources if name in facts.settings.sources):
        return every(facts, Outcome(NOT_EVALUATED, "no sender is declared (`expected` of the sources)"))
    return _without(facts, ("sender_silent",))


def records_kept(facts: Facts, _: str) -> Days:
    """No record was rejected, unreadable, corrupt or unaccounted for."""
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

    return by_source(facts, judge)


def fields_filled(facts: Facts, _: str) -> Days:
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


def lag_in_time(facts: Facts, _: str) -> Days:
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


def clocks_plausible(facts: Facts, _: str) -> Days:
    """No record came from the future."""
    return _without(facts, ("future",))


def permission_review(facts: Facts, _: str) -> Days:
    """Every source in scope showed on the day who may do what to its logs, and each principal is on the approved list."""
    found = {}
    for day in facts.days:
        told = facts.access.get(day)
        outcomes = [_reviewed(facts, source, (told or {}).get(source), day) for source in facts.sources]
        if told is None:
            found[day] = Outcome(NOT_EVALUATED, "no run has computed the day")
        else:
            found[day] = worst(outcomes) if outcomes else Outcome(NOT_EVALUATED, "no source is in scope")
    return found


def _reviewed(facts: Facts, source: str, row: Row | None, day: str) -> Outcome:
    if row is None or row["state"] == NOT_SHOWN:
        return Outcome(NOT_EVALUATED, f"{source}: does not show who may do what to its logs")
    if row["state"] != SEEN:
        return Outcome(NOT_EVALUATED, f"{source}: refused to show who may do what to its logs")
    if row["day"] != day:
        return Outcome(NOT_EVALUATED, f"{source}: last seen on {row['day']}")
    if not facts.approved_listed:
        return Outcome(NOT_EVALUATED, f"{source}: there is no approved list (approved_access)")
    if row["unapproved"]:
        return Outcome(NOT_OPERATED, f"{source}: {row['unapproved']} principals with rights that nobody approved")
    return Outcome(OPERATED)
