"""KPIs over a week or month as the report shows them: measured again over the days that can be used, the others named.

Belongs here: joining the measured rows with what they are called. Not here: measuring (`kpis.period`), which days enter.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from audit_pipeline.reports.inputs import Inputs, Row, plain
from audit_pipeline.reports.measures import SHOWN
from audit_pipeline.reports.reviews import reviews


def period_kpis(inputs: Inputs, engine: sa.Engine, kpis: list[Row]) -> tuple[list[Row], int]:
    """The rows of `measures.kpis` with what the period shows as `today`, the days `left_out`, and `detail` by scope.

    Returns:
        the rows, and how many KPIs could not be run.
    """
    from audit_pipeline.kpis.period import measure_period  # runs SQL: not needed to import this package

    first = dt.date.fromisoformat(inputs.days[0])
    tables = {"reviews": reviews(inputs.settings, inputs.lake, engine, inputs.day)}
    found = measure_period(inputs.settings, inputs.lake, first, inputs.day, tables=tables)
    rows = [{name: plain(value) for name, value in row.items()} for row in found.table.to_pylist()]
    by_kpi: dict[str, list[Row]] = {}
    for row in rows:
        by_kpi.setdefault(row["kpi_id"], []).append(row)
    shown = [_shown(kpi, by_kpi.get(kpi["id"], []), inputs) for kpi in kpis]
    return [{**kpi, "details": found.details.get(kpi["id"], [])} for kpi in shown], len(found.errors)


def _shown(kpi: Row, rows: list[Row], inputs: Inputs) -> Row:
    whole = next((row for row in rows if row["scope"] == "all"), None)
    detail = [{"scope": row["scope"], **_numbers(row)} for row in rows if row["scope"] != "all"]
    nothing = {**dict.fromkeys(SHOWN), "state": "no_data", "verdict": "unknown"}
    return {
        **kpi,
        "today": _numbers(whole) if whole else nothing,
        "left_out": whole["left_out"] if whole else list(inputs.days),
        "detail": sorted(detail, key=lambda row: (-(row["population"] or 0), row["scope"])),
    }


def _numbers(row: Row) -> Row:
    return {name: row[name] for name in SHOWN}
