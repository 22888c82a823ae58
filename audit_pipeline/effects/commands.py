"""What `audit-pipeline effects` tells: the newest row of each comparison, and one of them whole.

Belongs here: putting together what a person asks for. Not here: printing (`cli_effects`), computing (`compute`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings

_LISTED = ("effect_id", "subject", "subject_id", "kind", "kpi_id", "scope", "rate_before", "rate_after", "ratio", "low", "high", "promised", "verdict", "decision_date")  # fmt: skip
PLOT_HEIGHT, PLOT_WIDTH = 8, 100


def list_effects(settings: Settings, day: dt.date | None = None) -> list[dict[str, Any]]:
    """The comparisons as of a day (none: the last computed), without their series.

    Raises:
        UserError: no day was computed; says how to.
    """
    return [{name: row[name] for name in _LISTED} for row in _rows(settings, day)]


def explain(settings: Settings, wanted: str, day: dt.date | None = None) -> dict[str, Any]:
    """One comparison whole: its row, and a drawing of its series as text (`plot`).

    Args:
        settings: the configuration.
        wanted: the effect's id, its subject, or the beginning of either.
        day: as of which day; none: the last computed.

    Raises:
        UsageError: nothing or several begin so.
        UserError: no day was computed.
    """
    rows = _rows(settings, day)
    found = [row for row in rows if wanted in (row["effect_id"], row["subject_id"])]
    found = found or [
        row for row in rows if row["effect_id"].startswith(wanted) or row["subject_id"].startswith(wanted)
    ]
    if not wanted or len(found) != 1:
        what = "none begins" if not found else f"{len(found)} begin"
        raise UsageError(f"effect {wanted!r}: {what} so. See `audit-pipeline effects list`.")
    return {**found[0], "plot": plot(found[0]["series"] or [])}


def _rows(settings: Settings, day: dt.date | None) -> list[dict[str, Any]]:
    lake = Lake.open(settings.lake_url)
    days = lake.days("effects")
    if not days:
        raise UserError("effects: no day was computed yet. Run `audit-pipeline run --date YYYY-MM-DD` first.")
    if day is not None and day not in days:
        raise UserError(f"effects: {day} was not computed. Run `audit-pipeline run --date {day}` first.")
    last = day or days[-1]
    with connect(lake, since=last, until=last, tables=["effects"]) as con:
        rows = con.sql("SELECT * FROM effects ORDER BY subject, subject_id, kind").to_arrow_table().to_pylist()
    return list(rows)


def plot(series: list[dict[str, Any]]) -> list[str]:
    """Lines of text: a column a day (`#` before, `+` episode, `o` after, `?` left out), with the scale at the left."""
    shown = series[-PLOT_WIDTH:]
    rates = [None if one["value"] is None else one["value"] / (one["population"] or 1) for one in shown]
    top = max((rate for rate in rates if rate is not None), default=0.0)
    if not shown or not top:
        return []
    signs = {"before": "#", "episode": "+", "after": "o"}
    lines = []
    for level in range(PLOT_HEIGHT, 0, -1):
        columns = [
            " " if rate is None or rate <= top * (level - 1) / PLOT_HEIGHT else signs.get(str(one["window"]), ".")
            for one, rate in zip(shown, rates, strict=True)
        ]
        scale = f"{top:8.4g} " if level == PLOT_HEIGHT else " " * 9
        lines.append(scale + "".join(columns))
    left = "".join("?" if rate is None else "-" for rate in rates)
    return [*lines, f"       0 {left}", f"         {shown[0]['day']} to {shown[-1]['day']}"]
