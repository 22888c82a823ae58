"""How a fix is verified, by its declared kind: `rate`, `recurrence` or `state`; a change that is no fix by its own words.

Belongs here: what each kind asks of the days after. Not here: the comparison of rates (`judge`).
"""

from __future__ import annotations

import datetime as dt

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.effects import adjustments
from audit_pipeline.effects.fixes import ADJUSTMENT, Fix
from audit_pipeline.effects.judge import INCONCLUSIVE, INEFFECTIVE, VERIFIED, Judgement
from audit_pipeline.effects.series import Series, detections
from audit_pipeline.effects.windows import Windows


def judged(con: duckdb.DuckDBPyConnection, fix: Fix, found: Series, spans: Windows, rate: Judgement) -> Judgement:
    """The verdict of the fix's kind; for one that is not judged by its rate only the two rates stand beside it."""
    if fix.kind == "rate":
        return rate
    if fix.kind == ADJUSTMENT:
        return adjustments.judged(spans.points(found, "before"), spans.points(found, "after"), fix.direction)
    days = [spans.after[0] + DAY * n for n in range((spans.after[1] - spans.after[0]).days + 1)]
    own = found if fix.kpi_id in ("detections", "recurring_errors") else detections(con, fix.finding_id, days)
    seen = {point.day: point.n for point in own.points if point.day in set(days)}
    verdict, reason = _recurrence(fix, seen) if fix.kind == "recurrence" else _state(fix, seen, found)
    return Judgement(verdict, reason, rate.rate_before, rate.rate_after)


def _recurrence(fix: Fix, seen: dict[dt.date, float]) -> tuple[str, str]:
    again = sorted(day for day, n in seen.items() if n > 0)
    if again:
        return INEFFECTIVE, f"it came back on {again[0]}, and on {len(again)} of {len(seen)} covered days in all"
    lacking = fix.covered_days - len(seen)
    if lacking > 0:
        return INCONCLUSIVE, f"none in {len(seen)} covered days; {fix.covered_days} are needed, so {lacking} more days that are covered would decide it"  # fmt: skip
    return VERIFIED, f"none in {len(seen)} covered days, {fix.covered_days} were asked for"


def _state(fix: Fix, seen: dict[dt.date, float], found: Series) -> tuple[str, str]:
    """The last covered days, up to as many as were asked for: no detection, and the KPI where it has to be."""
    last = sorted(seen)[-min(fix.covered_days, len(seen)) :] if seen else []
    after = [point for point in found.points if point.day > fix.fixed]
    if not last or not after:
        return INCONCLUSIVE, "no day after the fix is covered; one on which its rule can be evaluated would decide it"
    if again := [day for day in last if seen[day] > 0]:
        return INEFFECTIVE, f"the state was found again on {again[-1]}"
    value = after[-1].n / after[-1].exposure
    goal = found.target if found.target is not None else 0.0
    reached = value <= goal if fix.direction == "down" else value >= goal
    if not reached:
        return INEFFECTIVE, f"the last known value is {value:.4g} on {after[-1].day}, {goal:.4g} is the goal"
    return VERIFIED, f"nothing found on the last {len(last)} covered days; the last known value is {value:.4g} on {after[-1].day}"  # fmt: skip
