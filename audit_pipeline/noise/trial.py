"""What noise rules mark: counts by day, shares, examples; for people who write or review a rule.

Belongs here: reading. Not here: printing (`cli_noise`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from audit_pipeline.context import connect
from audit_pipeline.errors import UsageError
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import quote
from audit_pipeline.noise.rules import load
from audit_pipeline.settings import Settings

EXAMPLES = 5
_SHOWN = ("time", "x_source", "x_actor", "api_operation", "message", "src_endpoint_ip", "x_segment", "x_line")


def trial(
    settings: Settings, lake: Lake, rule_id: str, since: dt.date, until: dt.date
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows a day (`day`, `marked`, `events`, `share`, `in_force`), as if the rule were in force on all of them; and a few examples.

    Raises:
        UsageError: there is no such rule, or it cannot be used; says why.
    """
    rules, errors = load(settings)
    found = next((one for one in rules if one.rule.id == rule_id), None)
    if found is None:
        known = ", ".join(one.rule.id for one in rules) or "none"
        raise UsageError(
            "\n".join([f"noise: no usable rule has the id {rule_id!r}; known: {known}.", *map(str, errors)])
        )
    con = connect(settings, lake, since=since, until=until, tables=["events"])
    try:
        counts = con.sql(
            f"SELECT day, count(*) FILTER ({found.sql}) AS marked, count(*) AS events FROM events WHERE {_of(found.rule.sources)} GROUP BY day ORDER BY day"
        ).to_arrow_table().to_pylist()  # fmt: skip
        columns = ", ".join(_SHOWN)
        examples = con.sql(
            f"SELECT {columns} FROM events WHERE {found.sql} ORDER BY time, x_segment, x_line LIMIT {EXAMPLES}"
        ).to_arrow_table().to_pylist()  # fmt: skip
    finally:
        con.close()
    days = [
        {**row, "share": row["marked"] / row["events"], "in_force": found.rule.in_force(row["day"])} for row in counts
    ]
    return days, examples


def absent(settings: Settings, lake: Lake, rule_id: str, since: dt.date, until: dt.date) -> list[str]:
    """Fields of the rule that no record of these days has, one sentence each: mistyped ones mark nothing and fail nowhere else."""
    (found,) = [one for one in load(settings)[0] if one.rule.id == rule_id]
    if not found.from_record:
        return []
    counts = ", ".join(f"count({sql})" for _, sql in found.from_record)
    with connect(settings, lake, since=since, until=until, tables=["events"]) as con:
        query = f"SELECT count(*), {counts} FROM events WHERE {_of(found.rule.sources)}"
        events, *have = con.execute(query).fetchone() or (0,)
    names = [name for (name, _), some in zip(found.from_record, have, strict=True) if not some]
    return [f"{found.file}: the field {name!r} is in none of the {events} events of these days" for name in names]


def _of(sources: list[str] | str) -> str:
    return "true" if isinstance(sources, str) else f"x_source IN ({', '.join(map(quote, sources))})"
