"""The table `effects` of a day: each remediation that was implemented, each release and adjustment, with what is known by then.

Belongs here: putting series, windows, changes and verdict together into rows. Not here: any of them. A remediation is `pending` until
its decision date and is judged on it, once, with the days before it: later days show the row that the decision date's partition has, and
of a verified rate, in `recurred_at`, since when it is known to be back.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from audit_pipeline.clock import DAY
from audit_pipeline.context import connect
from audit_pipeline.detections.run import short_hash
from audit_pipeline.effects import adjustments, kinds
from audit_pipeline.effects.changes import changes
from audit_pipeline.effects.fixes import ADJUSTMENT, Fix, fixes
from audit_pipeline.effects.judge import INCONCLUSIVE, INEFFECTIVE, PENDING, VERIFIED, Judgement, judge
from audit_pipeline.effects.lasting import back, watched
from audit_pipeline.effects.release_rows import release_rows
from audit_pipeline.effects.releases import service_hours
from audit_pipeline.effects.series import TABLES as READ
from audit_pipeline.effects.series import Series, series, subject
from audit_pipeline.effects.windows import Windows, windows
from audit_pipeline.findings import decisions
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings

_EXPLAINABLE = (VERIFIED, INEFFECTIVE, adjustments.BETTER, adjustments.WORSE)
LOOK_BACK = 2 * 84 * DAY
"""days before a fix that are read: an episode and the time before it"""


def effects(settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date) -> pa.Table:
    """Compute and write the tables `service_hours` and `effects` of a day."""
    known = fixes(decisions.read(engine, settings.as_of(day)))
    service_hours(settings, lake, day)
    rows = [_row(settings, lake, fix, day) for fix in known]
    rows += [*release_rows(settings, lake, day), *_adjustments(settings, lake, day)]
    rows.sort(key=lambda row: (row["subject"], row["subject_id"], row["kind"]))
    table = pa.Table.from_pylist(rows, schema=TABLES["effects"].schema)
    lake.write_table("effects", table, day)
    return table


def _adjustments(settings: Settings, lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    """Rows of the declared adjustments that took effect by then, and one of each entry that cannot be used."""
    usable, errors = adjustments.load(settings)
    rows = []
    for one in (one for one in usable if one.at.date() <= day):
        row = _row(settings, lake, one.as_fix(), day)
        title = f"{one.title} ({one.owner}): "
        rows.append(row if day > one.decision_date else {**row, "reason": title + row["reason"]})
    for error in errors:
        place = str(error).partition(": ")[0]
        told = {"subject": ADJUSTMENT, "subject_id": place, "effect_id": short_hash("effect", place, ADJUSTMENT), "left_out": [], "series": []}  # fmt: skip
        rows.append({**dict.fromkeys(TABLES["effects"].schema.names), **told, "verdict": INCONCLUSIVE, "reason": str(error), "as_of": settings.as_of(day)})  # fmt: skip
    return rows


def _row(settings: Settings, lake: Lake, fix: Fix, day: dt.date) -> dict[str, Any]:
    if day > fix.decision and (stored := _stored(lake, fix)) is not None:
        return {**stored, "recurred_at": _recurred_at(settings, lake, fix, stored, day)}
    until = min(day, fix.decision)
    since = fix.fixed - LOOK_BACK
    with connect(settings, lake, since=since, until=until, tables=READ) as con:
        return compare(settings, con, fix, day, since)


def _recurred_at(settings: Settings, lake: Lake, fix: Fix, stored: dict[str, Any], day: dt.date) -> dt.datetime | None:
    """The as-of of the day on which it was first known that a verified rate is back (`lasting`)."""
    if (fix.kind, stored["verdict"]) != ("rate", VERIFIED) or not watched(fix.decision, day):
        return None
    with connect(settings, lake, since=fix.fixed, until=day, tables=READ) as con:
        found = series(settings, con, fix.kpi_id, fix.scope, fix.fixed + DAY, day - DAY)
    last = back(found.points, fix.decision, rate_before=stored["rate_before"] or 0.0, promised=fix.promised, direction=fix.direction)  # fmt: skip
    return None if last is None else settings.as_of(last + DAY)


def _stored(lake: Lake, fix: Fix) -> dict[str, Any] | None:
    """The row that the decision date made."""
    with connect_effects(lake, fix.decision) as con:
        query = "SELECT * FROM effects WHERE subject_id = ? AND subject <> 'release' AND verdict <> ?"
        rows = con.sql(query, params=[fix.subject_id, PENDING]).to_arrow_table().to_pylist()
    return dict(rows[0]) if rows else None


def connect_effects(lake: Lake, day: dt.date) -> duckdb.DuckDBPyConnection:
    """The table of one day."""
    from audit_pipeline.lake import views

    return views.connect(lake, since=day, until=day, tables=["effects"])


def compare(
    settings: Settings, con: duckdb.DuckDBPyConnection, fix: Fix, day: dt.date, since: dt.date
) -> dict[str, Any]:
    """The row of a remediation or adjustment as of a day."""
    last = min(day, fix.decision) - DAY
    found = series(settings, con, fix.kpi_id, fix.scope, since, last)
    spans = windows(found, opened=_opened(con, fix), fixed=fix.fixed, decision=last + DAY, direction=fix.direction)
    if day < fix.decision:
        judged = Judgement(PENDING, f"will be judged on {fix.decision}")
    else:
        judged = _judged(settings, con, fix, found, spans)
    return _told(settings, fix, found, spans, judged, day)


def _opened(con: duckdb.DuckDBPyConnection, fix: Fix) -> dt.date | None:
    """From when an episode is looked for: the finding's first detection; of an adjustment, the week before it."""
    if fix.adjustment is not None:
        return fix.fixed - 7 * DAY
    about = subject(con, fix.finding_id)
    return about.first_day if about else None


def _judged(settings: Settings, con: duckdb.DuckDBPyConnection, fix: Fix, found: Series, spans: Windows) -> Judgement:
    if spans.after[1] < spans.after[0]:
        return Judgement(INCONCLUSIVE, f"implemented on {fix.fixed}, the decision date is {fix.decision}: no day lies between them")  # fmt: skip
    rate = judge(
        spans.points(found, "before"), spans.points(found, "after"), direction=fix.direction, promised=fix.promised
    )
    judged = kinds.judged(con, fix, found, spans, rate)
    others = changes(settings, con, fix.kpi_id, fix.scope, spans, found.sources, but=fix.adjustment)
    remarks = [spans.remark if fix.adjustment is None else None, *(change.words for change in others)]
    if spans.episode:
        which = "the episode that opened the finding" if fix.adjustment is None else "an episode"
        remarks.insert(0, f"the time before ends on {spans.before[1]}, where {which} began")
    reason = "; ".join([judged.reason, *(words for words in remarks if words)])
    explained = fix.kind in ("rate", ADJUSTMENT) and any(change.explains for change in others) and judged.verdict in _EXPLAINABLE  # fmt: skip
    if explained:
        reason = f"a change beside the {'fix' if fix.adjustment is None else 'adjustment'} could explain the difference: {reason}"
    return Judgement(**{**vars(judged), "verdict": INCONCLUSIVE if explained else judged.verdict, "reason": reason})


def _told(
    settings: Settings, fix: Fix, found: Series, spans: Windows, judged: Judgement, day: dt.date
) -> dict[str, Any]:
    estimate = judged.estimate
    left_out = [(one, why) for one, why in sorted(found.left_out.items()) if one >= spans.before[0]]
    after = spans.after if spans.after[0] <= spans.after[1] else (None, None)
    return {
        **dict.fromkeys(TABLES["effects"].schema.names),
        "effect_id": short_hash("effect", fix.subject_id, fix.kind),
        "subject": "remediation" if fix.adjustment is None else ADJUSTMENT,
        "subject_id": fix.subject_id,
        "finding_id": fix.finding_id or None,
        "kind": fix.kind if fix.adjustment is None else None,
        "kpi_id": fix.kpi_id,
        "scope": fix.scope,
        "before_start": spans.before[0],
        "before_end": spans.before[1],
        "after_start": after[0],
        "after_end": after[1],
        "days_before": len(spans.points(found, "before")),
        "days_after": len(spans.points(found, "after")),
        "left_out": [{"day": one, "reason": why} for one, why in left_out],
        "rate_before": judged.rate_before,
        "rate_after": judged.rate_after,
        "unit": found.unit,
        "ratio": _finite(estimate.ratio) if estimate else None,
        "low": _finite(estimate.low) if estimate else None,
        "high": _finite(estimate.high) if estimate else None,
        "p": estimate.p if estimate else None,
        "p_weeks": judged.p_weeks,
        "p_trend": judged.p_trend,
        "detectable": judged.detectable,
        "promised": fix.promised,
        "verdict": judged.verdict,
        "reason": judged.reason,
        "as_of": settings.as_of(min(day, fix.decision)),
        "decision_date": fix.decision,
        "series": _series(found, spans),
    }


def _series(found: Series, spans: Windows) -> list[dict[str, Any]]:
    points: dict[dt.date, dict[str, Any]] = {
        point.day: {"day": point.day, "value": point.n, "population": point.exposure, "window": spans.of(point.day)}
        for point in found.points
        if point.day >= spans.before[0]
    }
    lacking: dict[dt.date, dict[str, Any]] = {
        day: {"day": day, "value": None, "population": None, "window": "left_out"}
        for day in found.left_out
        if day >= spans.before[0]
    }
    rows = {**points, **lacking}
    return [{**rows[day], "window": rows[day]["window"] or "left_out"} for day in sorted(rows)]


def _finite(value: float) -> float | None:
    """A bound that does not exist is null."""
    return value if abs(value) < 1e9 else None
