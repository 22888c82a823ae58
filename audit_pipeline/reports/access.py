"""Who can read, change or delete logs at their source, or stop logging (report section S16): as it was last seen, beside what was approved.

Belongs here: selecting and counting rows of the table `access`. Not here: asking sources (`sources`), the approved list (`access`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from audit_pipeline.access.snapshot import NOT_SHOWN, SEEN, states
from audit_pipeline.clock import DAY
from audit_pipeline.lake import views
from audit_pipeline.reports.inputs import Inputs, Row, plain

RIGHTS = ("read", "write", "delete", "stop", "retention")
_ROWS = 'SELECT source, principal, "right", via, approved, seen_at FROM access ORDER BY ALL'


def access(inputs: Inputs) -> Row | None:
    """The part `access` of a report; null in a daily one where the day was not computed, or no source shows or refuses anything.

    `sources`: how each stands, with the number of principals by right; `grants`: one row for each principal of a source; `listed`:
    whether there is an approved list; `since`: the day that `change` of a row compares with, null where none was computed.
    """
    told = states(inputs.lake, inputs.day) or {}
    if not inputs.of_period and all(found["state"] == NOT_SHOWN for found in told.values()):
        return None
    now = _read(inputs, inputs.day)
    earlier = dt.date.fromisoformat(inputs.days[0]) - DAY if inputs.of_period else inputs.day - DAY
    known = states(inputs.lake, earlier)
    before = _read(inputs, earlier) if known is not None else []
    compared = {name for name, found in (known or {}).items() if found["state"] == SEEN}
    listed = inputs.settings.approved_access is not None
    return {
        "sources": [_source(name, found, now, listed=listed) for name, found in sorted(told.items())],
        "grants": _principals(now, before, compared),
        "gone": _gone(now, before, {name for name, found in told.items() if found["state"] == SEEN}),
        "listed": listed,
        "since": None if known is None else earlier.isoformat(),
    }


def _read(inputs: Inputs, day: dt.date) -> list[Row]:
    with views.connect(inputs.lake, since=day, until=day, tables=("access",)) as con:
        return [{name: plain(value) for name, value in row.items()} for row in con.sql(_ROWS).to_arrow_table().to_pylist()]  # fmt: skip


def _source(name: str, found: dict[str, Any], rows: list[Row], *, listed: bool) -> Row:
    own = [row for row in rows if row["source"] == name]
    numbers = {right: len({row["principal"] for row in own if row["right"] == right}) for right in RIGHTS}
    return {
        "source": name, "state": found["state"], "seen_on": found["day"], "detail": found["detail"],
        "principals": numbers if found["state"] == SEEN else None,
        "unapproved": len({row["principal"] for row in own if row["approved"] is False}) if found["state"] == SEEN and listed else None,
    }  # fmt: skip


def _principals(now: list[Row], before: list[Row], compared: set[str]) -> list[Row]:
    """Unapproved first, then those that are new, then by name."""
    held = {(row["source"], row["principal"], row["right"]) for row in before}
    found: dict[tuple[str, str], Row] = {}
    for row in now:
        one = found.setdefault(
            (row["source"], row["principal"]),
            {"source": row["source"], "principal": row["principal"], "rights": [], "via": [], "approved": row["approved"], "change": None},
        )  # fmt: skip
        one["rights"] += [row["right"]] if row["right"] not in one["rights"] else []
        one["via"] += [row["via"]] if row["via"] not in one["via"] else []
        if row["approved"] is False:
            one["approved"] = False
        if row["source"] in compared and (row["source"], row["principal"], row["right"]) not in held:
            one["change"] = "new"
    for one in found.values():
        one["rights"].sort(key=RIGHTS.index)
    return sorted(found.values(), key=lambda one: (one["approved"] is not False, one["change"] is None, one["source"], one["principal"]))  # fmt: skip


def _gone(now: list[Row], before: list[Row], seen: set[str]) -> list[Row]:
    """Rights that were there before and are no more, of sources that show theirs now."""
    held = {(row["source"], row["principal"], row["right"]) for row in now}
    lost = sorted({(row["source"], row["principal"], row["right"]) for row in before if row["source"] in seen} - held)
    return [{"source": source, "principal": principal, "right": right} for source, principal, right in lost]
