"""The column `x_noise_rule`: the first rule, by id, that is in force on the event's day and marks it.

Belongs here: SQL from rules. Not here: reading rules (`rules`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from audit_pipeline.lake.views import quote
from audit_pipeline.ocsf.columns import VIEW_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit_pipeline.noise.rules import Noise


def column(rules: Sequence[Noise]) -> str:
    """SQL over the view `events`: the id of the rule, else null."""
    if not rules:
        return "NULL::VARCHAR"
    cases = " ".join(
        f"WHEN day >= DATE '{one.rule.created.isoformat()}' AND day < DATE '{one.rule.expires.isoformat()}' AND ({one.sql}) THEN {quote(one.rule.id)}"
        for one in rules
    )
    return f"CASE {cases} END"


def bound(condition: str) -> str | None:
    """Why the engine cannot use a condition over events; null where it can."""
    with duckdb.connect(":memory:", config={"autoload_known_extensions": False}) as con:
        marked = VIEW_SCHEMA.get_field_index("x_noise_rule")  # what a rule makes, no rule can read
        con.register("events", VIEW_SCHEMA.remove(marked).empty_table())
        try:
            con.execute(f"SELECT count(*) FROM events WHERE {condition}").fetchall()
            con.execute(f"SELECT ({condition}) FROM (SELECT * REPLACE ('{{}}' AS raw_data) FROM events UNION ALL BY NAME SELECT '{{}}' AS raw_data)").fetchall()  # fmt: skip
        except duckdb.Error as error:
            return " ".join(str(error).split())[:200]
    return None
