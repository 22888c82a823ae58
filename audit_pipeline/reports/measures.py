"""KPIs as a report shows them: the day's number with its population and interval, 14 days of history, and the detail by scope.

Belongs here: joining numbers with what they are called. Not here: how they are computed (`kpis`).
"""

from __future__ import annotations

from audit_pipeline.reports.coverage import NOT_COMPUTED
from audit_pipeline.reports.inputs import Inputs, Row

SHOWN = (
    "value",
    "unit",
    "n",
    "population",
    "low",
    "high",
    "previous",
    "trend",
    "target",
    "state",
    "verdict",
    "days_used",
    "days_left_out",
)
INCOMPLETE = ("partial", "missing", "unknown", NOT_COMPUTED)


def kpis(inputs: Inputs) -> list[Row]:
    """Every KPI of the catalogue, and any other that the table has, in the catalogue's order."""
    from audit_pipeline.kpis import catalogue  # reads files: not needed to import this package

    known = catalogue(inputs.settings)
    ids = [*known, *sorted({row["kpi_id"] for row in inputs.kpis} - set(known))]
    return [_kpi(inputs, kpi_id, known.get(kpi_id)) for kpi_id in ids]


def _kpi(inputs: Inputs, kpi_id: str, kpi: object | None) -> Row:
    rows = [row for row in inputs.kpis if row["kpi_id"] == kpi_id]
    by_day = {row["day"]: row for row in rows if row["scope"] == "all"}
    history = [{"day": day, **_shown(by_day.get(day))} for day in inputs.days]
    today = inputs.day.isoformat()
    detail = [{"scope": row["scope"], **_shown(row)} for row in rows if row["scope"] != "all" and row["day"] == today]
    unit = getattr(kpi, "unit", None) or next((row["unit"] for row in rows), None)
    return {
        "id": kpi_id,
        "title": getattr(kpi, "title", kpi_id),
        "unit": unit,
        **{
            name: getattr(kpi, name, None)
            for name in ("direction", "owner", "kind", "group", "explanation", "incomplete")
        },
        "today": history[-1],
        "history": history,
        "detail": sorted(detail, key=lambda row: (-(row["population"] or 0), row["scope"])),
        "details": inputs.kpi_details.get(kpi_id, []),
        "incomplete_days": [row["day"] for row in history if row["verdict"] in INCOMPLETE],
    }


def _shown(row: Row | None) -> Row:
    """The numbers of one row; a day without a row has no data, which is not 0."""
    if row is None:
        return {**dict.fromkeys(SHOWN), "state": "no_data", "verdict": NOT_COMPUTED}
    return {name: row[name] for name in SHOWN}
