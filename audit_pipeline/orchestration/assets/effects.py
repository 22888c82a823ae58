"""Day-level asset `effects`: whether fixes and releases did what they should.

Belongs here: a thin call of the box, and what a person wants to see of it. Not here: any number's meaning.
"""

import datetime as dt
from typing import Any

import dagster as dg
from markupsafe import Markup

from audit_pipeline.effects.compute import effects as compute_effects
from audit_pipeline.lake.store import Lake
from audit_pipeline.orchestration import metadata as md
from audit_pipeline.orchestration.partitions import daily, day_of
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

_SHOWN = ("subject", "subject_id", "kind", "kpi_id", "scope", "rate_before", "rate_after", "ratio", "low", "high", "verdict", "reason", "decision_date")  # fmt: skip
_WIDTH, _HEIGHT, _COLOURS = 640, 120, {"before": "#4a6785", "episode": "#c98a1b", "after": "#2f7d4f"}


def effects_asset(settings: Settings) -> dg.AssetsDefinition:
    """The one asset."""

    @dg.asset(
        deps=["completeness", "anomalies"],
        partitions_def=daily(settings),
        group_name="effects",
        kinds={"statistics", "parquet"},
        description="The time before and after each remediation and release, compared: ratio with interval, cross-check by whole weeks, trend guard, days left out, verdict. A remediation is judged once, on its decision date, with the days before it.",
        metadata={"dagster/column_schema": md.column_schema("effects")},
    )
    def effects(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        lake, day = Lake.open(settings.lake_url), day_of(context)
        engine = open_state(settings.state_url_resolved)
        try:
            with lake.lock():
                table = compute_effects(settings, lake, engine, day)
        finally:
            engine.dispose()
        found = table.to_pylist()
        drawn = _newest(found, day)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "effects": md.arrow_rows(table, _SHOWN),
                **({"series": md.picture(series_picture(drawn["series"]))} if drawn else {}),
            }
        )

    return effects


def _newest(rows: list[dict[str, Any]], day: dt.date) -> dict[str, Any] | None:
    """The comparison to draw: the one judged last, else the one that waits."""
    with_series = [row for row in rows if row["series"]]
    judged = [row for row in with_series if row["verdict"] != "pending" and (row["decision_date"] or day) <= day]
    return max(judged or with_series, key=lambda row: (row["decision_date"] or day, row["subject_id"]), default=None)


def series_picture(series: list[dict[str, Any]]) -> Markup:
    """A bar a day: before, episode and after in their colours; a day left out is a gap with a tick below."""
    rates = [None if one["value"] is None else one["value"] / (one["population"] or 1) for one in series]
    top = max((rate for rate in rates if rate is not None), default=0) or 1.0
    wide = _WIDTH / max(len(series), 1)
    bars = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"/>').format(
            i * wide,
            _HEIGHT if rate is None else _HEIGHT - rate / top * _HEIGHT,
            max(wide - 1, 0.5),
            4 if rate is None else max(rate / top * _HEIGHT, 0.5),
            "#999" if rate is None else _COLOURS.get(one["window"], "#bbb"),
        )
        for i, (one, rate) in enumerate(zip(series, rates, strict=True))
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" viewBox="0 0 {} {}"><rect width="100%" height="100%" fill="#fff"/>{}</svg>'
    ).format(_WIDTH, _HEIGHT + 6, _WIDTH, _HEIGHT + 6, bars)
