"""A KPI over a week or month from its stored days: counts are added, rates pooled, what days cannot give together is not given.

Belongs here: summing up stored rows. Not here: measuring events (`kpis`). Days that are incomplete are left out and named, except
for KPIs that count incompleteness itself.
"""

from __future__ import annotations

from audit_pipeline.reports.inputs import Row

LEFT_OUT = ("partial", "missing")


def period_kpi(kpi: Row) -> Row:
    """The KPI with `today` over the whole period, and `left_out`: the days that did not enter."""
    used = [row for row in kpi["history"] if row["value"] is not None and _counts(kpi, row)]
    left_out = [row["day"] for row in kpi["history"] if row not in used]
    today = {**dict.fromkeys(kpi["today"]), "unit": kpi["unit"], "target": kpi["today"]["target"]}
    today |= {"days_used": len(used), "days_left_out": len(left_out), "verdict": _verdict(left_out, used)}
    n, population = _added(used, "n"), _added(used, "population")
    value = {"count": n, "rate": _share(n, population), "share": _share(n, population)}.get(kpi["kind"] or "")
    state = "no_data" if not used else "not_evaluated" if value is None else _state(kpi, value, today["target"])
    return {
        **kpi,
        "today": {**today, "value": value, "n": n, "population": population, "state": state},
        "left_out": left_out,
        "detail": [],
    }


def _counts(kpi: Row, row: Row) -> bool:
    return kpi["incomplete"] == "counted" or row["verdict"] not in LEFT_OUT


def _verdict(left_out: list[str], used: list[Row]) -> str:
    return "unknown" if not used else "partial" if left_out else "no_gap_seen"


def _added(rows: list[Row], name: str) -> float | None:
    found = [row[name] for row in rows if row[name] is not None]
    return sum(found) if found else None


def _share(n: float | None, population: float | None) -> float | None:
    return None if n is None or not population else n / population


def _state(kpi: Row, value: float, target: float | None) -> str:
    if target is None:
        return "not_evaluated"
    return "good" if (value <= target if kpi["direction"] == "lower_is_better" else value >= target) else "bad"
