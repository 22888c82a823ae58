"""A report of a larger company over more days, made of the small one's rows: what the page's size and time are measured with."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

from audit_pipeline.clock import DAY
from audit_pipeline.reports import page

Report = dict[str, Any]


def grown(report: Report, *, days: int, sources: int, findings: int, kpis: int) -> Report:
    """The same report with so many days, sources, findings and KPIs."""
    other = copy.deepcopy(report)
    last = dt.date.fromisoformat(report["day"])
    other["days"] = [(last - DAY * step).isoformat() for step in reversed(range(days))]

    def stretched(rows: list[Report]) -> list[Report]:
        return [{**rows[index % len(rows)], "day": day} for index, day in enumerate(other["days"])]

    def repeated(part: str, number: int) -> list[Report]:
        return [report[part][index % len(report[part])] for index in range(number)]

    other["sources"] = [
        {**row, "name": f"{row['name']}_{index}", "days": stretched(row["days"])}
        for index, row in enumerate(repeated("sources", sources))
    ]
    for part in ("findings", "decisions"):
        other[part] = [{**row, "finding_id": f"{index:012x}"} for index, row in enumerate(repeated(part, findings))]
    groups = list(page.GROUPS)
    other["kpis"] = [
        {**row, "id": f"kpi_{index}", "group": groups[index % len(groups)], "history": stretched(row["history"])}
        for index, row in enumerate(repeated("kpis", kpis))
    ]
    for part in ("effects", "releases"):
        other[part] = [report[part][index % len(report[part])] for index in range(25)] if report[part] else []
    other["failures"] = repeated("failures", 200)
    other["evidence"]["chains"] = [report["evidence"]["chains"][index % 3] for index in range(sources)]
    return other
