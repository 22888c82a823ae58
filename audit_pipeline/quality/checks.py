"""The quality checks of a day: profiles of all sources as one small frame, judged by the suite, with events that show a failure.

Belongs here: the frame and the examples. Not here: Great Expectations (`expectations`) or Dagster (`orchestration`).

Columns of the frame, one row a source; null where there is no data, so that nothing absent passes:
`source verdict records events duplicates rejects accounting_difference rejects_share duplicates_share null_share_time null_share_actor
null_share_operation null_share_outcome null_share_address longest_gap_ratio lag_p95_s lag_ratio future future_share`.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb

from audit_pipeline.clock import DAY
from audit_pipeline.formats import indexing
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.quality.expectations import EXAMPLES, Outcome, judge
from audit_pipeline.quality.profile import CONDITIONS, LAG, Profile, profile
from audit_pipeline.quality.suite import CHECKS, load
from audit_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_EVENT = 'x_source AS source, metadata_uid AS uid, "time", x_segment AS segment, x_line AS line'
_SHOWN: dict[str, tuple[str, str]] = {
    **{column: (condition, '"time", x_segment, x_line') for column, condition in CONDITIONS.items()},
    "future_share": (CONDITIONS["future"], '"time", x_segment, x_line'),
    "lag_ratio": (f"{LAG} > $limit", f'{LAG} DESC, "time", x_segment, x_line'),
    "lag_p95_s": (f"{LAG} > $limit", f'{LAG} DESC, "time", x_segment, x_line'),
}
"""Column of the frame to the events that show what is wrong: condition and order."""


def check(settings: Settings, lake: Lake, day: dt.date) -> dict[str, list[Outcome]]:
    """Judge a day; outcomes by check (`accounting`, `fields`, `timeliness`), in the suite's order.

    Raises:
        ConfigError: a suite beside pipeline.yaml cannot be used.
    """
    suite = load(settings)
    con = connect(lake, since=day - DAY, until=day, tables=["events", "rejects", "completeness"])
    try:
        rows = frame(settings, lake, day, con)
        outcomes = judge(rows, suite)
        shown = {one.name: one.columns for one in suite}
        shown_outcomes = [_with_examples(con, settings, day, one, shown[one.name]) for one in outcomes]
    finally:
        con.close()
    return {name: [one for one in shown_outcomes if one.check == name] for name in CHECKS}


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
        "lag_ratio": day.lag_p95_s / limit if day.lag_p95_s is not None and limit else None,
        "future": day.future,
        # without visible times nobody can tell
        "future_share": day.future / day.events if day.lag_p50_s is not None else None,
    }


def _with_examples(
    con: duckdb.DuckDBPyConnection, settings: Settings, day: dt.date, outcome: Outcome, columns: list[str]
) -> Outcome:
    """A failure with up to five events, or rejects, of the sources that failed; without such, its rows of the frame stay."""
    found: list[dict[str, Any]] = []
    for source in outcome.failed:
        for column in columns:
            found += _examples(con, settings, source, day, column)
    return replace(outcome, examples=found[:EXAMPLES]) if found else outcome


def _examples(
    con: duckdb.DuckDBPyConnection, settings: Settings, source: str, day: dt.date, column: str
) -> list[dict[str, Any]]:
    given: dict[str, Any] = {"source": source, "day": day}
    if column == "rejects_share":
        query = (
            "SELECT source, segment, member, line, reason, detail FROM rejects WHERE source = $source AND day = $day "
            f"ORDER BY segment, member, line LIMIT {EXAMPLES}"
        )
    elif column in _SHOWN:
        condition, order = _SHOWN[column]
        if "$limit" in condition:
            given["limit"] = settings.sources[source].settles_after.total_seconds()
        query = f"SELECT {_EVENT} FROM events WHERE x_source = $source AND day = $day AND ({condition}) ORDER BY {order} LIMIT {EXAMPLES}"
    else:
        return []
    rows: list[dict[str, Any]] = con.sql(query, params=given).to_arrow_table().to_pylist()
    return rows
