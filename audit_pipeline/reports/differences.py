"""What differs between two editions of a report, as a reader sees it: from → to, in printed words.

Belongs here: comparing two models. Not here: which editions there are (`editions`), where corrections are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from audit_pipeline.reports import text, wording
from audit_pipeline.reports.coverage import VERDICT_WORDS

Row = dict[str, Any]
ABSENT = "not there"


def between(before: Row, after: Row) -> list[Row]:
    """The changes of printed numbers, verdicts, findings and state: rows of `part`, `subject`, `from`, `to` (all strings).

    `part` is `state`, `verdict`, `events`, `kpi`, `finding`, `effect`; a finding and an effect have their `title` too. Days before the report's own are not listed.
    """
    return [
        *_state(before, after),
        *_sources(before, after),
        *_kpis(before, after),
        *_findings(before, after),
        *_effects(before, after),
    ]


def _change(part: str, subject: str, was: str, now: str, **more: str) -> Iterator[Row]:
    if was != now:
        yield {"part": part, "subject": subject, "from": was, "to": now, **more}


def _state(before: Row, after: Row) -> Iterator[Row]:
    words = wording.STATE_WORDS
    yield from _change("state", "State", words[before["state"]], words[after["state"]])


def _sources(before: Row, after: Row) -> Iterator[Row]:
    was, now = ({row["name"]: row["today"] for row in one["sources"]} for one in (before, after))
    for name in sorted(was.keys() | now.keys()):
        yield from _change("verdict", name, *(_word(one.get(name)) for one in (was, now)))
        yield from _change("events", name, *(text.number((one.get(name) or {}).get("events")) for one in (was, now)))


def _word(day: Row | None) -> str:
    return ABSENT if day is None else VERDICT_WORDS[day["verdict"]]


def _kpis(before: Row, after: Row) -> Iterator[Row]:
    was, now = ({row["id"]: row for row in one["kpis"]} for one in (before, after))
    for name in [*now, *sorted(was.keys() - now.keys())]:
        title = (now.get(name) or was[name])["title"]
        yield from _change("kpi", title, *(_reading(one.get(name)) for one in (was, now)), id=name)


def _reading(kpi: Row | None) -> str:
    """The value with its population: two numbers that print alike may be of another population."""
    if kpi is None:
        return ABSENT
    today = kpi["today"]
    shown = text.measure(today["value"], kpi["unit"])
    return shown if today["population"] is None else f"{shown} (of {text.number(today['population'])})"


def _findings(before: Row, after: Row) -> Iterator[Row]:
    was, now = ({row["finding_id"]: row for row in one["findings"]} for one in (before, after))
    for name in [*now, *sorted(was.keys() - now.keys())]:
        title = (now.get(name) or was[name])["title"]
        yield from _change("finding", name[:12], *(_finding(one.get(name)) for one in (was, now)), title=title)


def _finding(row: Row | None) -> str:
    return ABSENT if row is None else f"{row['state'].replace('_', ' ')}, {text.number(row['n'])} events"


def _effects(before: Row, after: Row) -> Iterator[Row]:
    """Fixes judged otherwise; reports of older versions have none, so what they lack is no change."""
    was, now = ({row["subject_id"]: row for row in one.get("effects", [])} for one in (before, after))
    for name in now if "effects" in before else []:
        title = now[name]["title"]
        yield from _change("effect", name[:12], *(_effect(one.get(name)) for one in (was, now)), title=title)


def _effect(row: Row | None) -> str:
    return ABSENT if row is None else f"fix {wording.EFFECT_WORDS.get(row['verdict'], row['verdict'])}"
