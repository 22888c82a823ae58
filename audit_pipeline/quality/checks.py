"""The quality checks of a day: profiles of all sources as one small frame, judged by the suite, with events that show a failure.

Belongs here: the frame and the examples. Not here: Great Expectations (`expectations`) or Dagster (`orchestration`).

Columns of the frame, one row a source; null where there is no data, so that nothing absent passes:
`source verdict records events duplicates rejects accounting_difference rejects_share duplicates_share null_share_time null_share_actor
null_share_operation null_share_outcome null_share_address longest_gap_ratio arrival_ratio lag_p95_s lag_ratio future future_share late_share`.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.formats import indexing
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.quality import words
from audit_pipeline.quality.expectations import EXAMPLES, Outcome, judge
from audit_pipeline.quality.profile import ARRIVAL, CONDITIONS, LAG, Profile, profile
from audit_pipeline.quality.suite import CHECKS, FOLDER, load_usable
from audit_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_EVENT = 'x_source AS source, metadata_uid AS uid, "time", x_segment AS segment, x_line AS line'
_BY_TIME = '"time", x_segment, x_line'


@dataclass(frozen=True)
class _About:
    """Which events, or rejects, are behind a column of the frame."""

    condition: str
    order: str = _BY_TIME
    table: str = "events"
    of: str = "x_source = $source AND day = $day"
    shown: str = _EVENT
    total: str = "count(*)"
    counted: bool = True
    """whether they are what is wrong, and not only what is beside it"""

    def examples(self, con: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> list[dict[str, Any]]:
        """Up to five of them."""
        query = f"SELECT {self.shown} FROM {self.table} WHERE {self.of} AND ({self.condition}) ORDER BY {self.order} LIMIT {EXAMPLES}"
        rows: list[dict[str, Any]] = con.sql(query, params=_used(query, given)).to_arrow_table().to_pylist()
        return rows

    def count(self, con: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> tuple[int, int]:
        """How many there are, of all that the table has of the source and day."""
        query = f"SELECT count(*) FILTER ({self.condition}), {self.total} FROM {self.table} WHERE {self.of}"
        ((bad, total),) = con.execute(query, _used(query, given)).fetchall()
        return int(bad), int(total)


def _used(query: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the query names; DuckDB refuses others."""
    return {name: value for name, value in given.items() if f"${name}" in query}


_REJECTS = _About(
    "true",
    "segment, member, line",
    "rejects",
    "source = $source AND day = $day",
    "source, segment, member, line, reason, detail",
    "count(*) + (SELECT coalesce(sum(x_records), 0) FROM events WHERE x_source = $source AND day = $day)",
)
_SILENCE = _About(
    '"time" IN (SELECT unnest([r."from", r."to"]) FROM (SELECT unnest(reasons) AS r FROM completeness WHERE source = $source AND day = $day) WHERE r.code = \'silent\')',
    counted=False,
)
_LATE = _About(f"{LAG} > $limit", f"{LAG} DESC, {_BY_TIME}")
_ABOUT: dict[str, _About] = {
    **{column: _About(condition) for column, condition in CONDITIONS.items()},
    "future_share": _About(CONDITIONS["future"]),
    "late_share": _About(CONDITIONS["late"]),
    "arrival_ratio": _About(f"{ARRIVAL} > $limit", f"{ARRIVAL} DESC, {_BY_TIME}"),
    "lag_ratio": _LATE,
    "lag_p95_s": _LATE,
    "rejects": _REJECTS,
    "rejects_share": _REJECTS,
    "longest_gap_ratio": _SILENCE,
}
"""Column of the frame to what is behind it; beside a silence, the last event before it and the first after."""


def check(settings: Settings, lake: Lake, day: dt.date) -> dict[str, list[Outcome]]:
    """Judge a day; outcomes by check (`accounting`, `fields`, `timeliness`), in the suite's order.

    A suite beside pipeline.yaml that cannot be used is a crashed outcome of each check, since nobody can tell which it was meant for.
    """
    suite, errors = load_usable(settings)
    con = connect(lake, since=day - DAY, until=day, tables=["events", "rejects", "completeness"])
    try:
        rows = frame(settings, lake, day, con)
        outcomes = judge(rows, suite)
        shown = {one.name: one.columns for one in suite}
        shown_outcomes = [_with_examples(con, settings, day, one, shown[one.name]) for one in outcomes]
    finally:
        con.close()
    broken = [
        Outcome(f"{FOLDER}/{file}", name, "error", "a suite that can be read", "crashed", exception=str(error))
        for name in CHECKS
        for file, error in errors.items()
    ]
    return {name: [one for one in [*shown_outcomes, *broken] if one.check == name] for name in CHECKS}


def frame(settings: Settings, lake: Lake, day: dt.date, con: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """The day's profile, one row a source.

    Args:
        settings: whose sources.
        lake: where the index lies.
        day: the UTC day.
        con: sees events, rejects and completeness of the day.
    """
    import pandas as pd

    query = "SELECT source, verdict FROM completeness WHERE day = $day"
    verdicts = dict(con.execute(query, {"day": day}).fetchall())
    note = lake.table_metadata("completeness", day) or {}
    ratios = json.loads(note.get("gap_ratio", "{}"))
    rows = [
        _row(
            profile(con, name, day),
            indexing.index_count(lake, name, day),
            settings.sources[name].settles_after,
            verdicts.get(name),
            ratios.get(name),
        )
        for name in sorted(settings.sources)
    ]
    return pd.DataFrame(rows)


def _row(
    day: Profile, indexed: int, settles_after: dt.timedelta, verdict: str | None, gap_ratio: float | None
) -> dict[str, Any]:
    received = day.records + day.rejects
    limit = settles_after.total_seconds()
    return {
        "source": day.source,
        "verdict": verdict,
        "records": day.records,
        "events": day.events,
        "duplicates": day.duplicates,
        "rejects": day.rejects,
        "accounting_difference": float(indexed - received) if indexed or received else None,
        "rejects_share": day.rejects_share,
        "duplicates_share": day.duplicates_share,
        **{f"null_share_{name}": share for name, share in day.null_shares.items()},
        "longest_gap_ratio": gap_ratio,
        "lag_p95_s": day.lag_p95_s,
        "arrival_ratio": max(day.arrival_p95_s, 0.0) / limit if day.arrival_p95_s is not None and limit else None,
        "lag_ratio": day.lag_p95_s / limit if day.lag_p95_s is not None and limit else None,
        "future": day.future,
        # without visible times nobody can tell
        "future_share": day.future / day.events if day.lag_p50_s is not None else None,
        "late_share": day.late / day.events if day.lag_p50_s is not None else None,
    }


def _with_examples(
    con: duckdb.DuckDBPyConnection, settings: Settings, day: dt.date, outcome: Outcome, columns: list[str]
) -> Outcome:
    """A failure with how many events, or rejects, make it, and up to five of them; without such, its rows of the frame stay."""
    shown: list[dict[str, Any]] = []
    bad = total = 0
    for source in outcome.failed:
        given = {"source": source, "day": day, "limit": settings.sources[source].settles_after.total_seconds()}
        for about in (_ABOUT[column] for column in columns if column in _ABOUT):
            shown += about.examples(con, given)
            if about.counted:
                of, all_of = about.count(con, given)
                bad, total = bad + of, total + all_of
    if not shown:
        return outcome
    if not bad:
        return replace(outcome, examples=shown[:EXAMPLES])
    told = f"{outcome.observed}; {words.count(bad, 'row')} of {total:,} ({words.share(bad / total)})"
    return replace(outcome, examples=shown[:EXAMPLES], observed=told, events=bad, events_share=bad / total)
