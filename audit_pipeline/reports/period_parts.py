"""What a week or month shows of its days: verdicts summed up, findings opened, closed and open by age, KPIs, reviews, editions.

Belongs here: summing up stored days, with the days that are left out named. Not here: a single day's parts (`coverage`, `asked`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter

import sqlalchemy as sa

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.reports import editions, text
from audit_pipeline.reports.coverage import NOT_COMPUTED, WHOLE, WORST_FIRST
from audit_pipeline.reports.inputs import TABLES, Inputs, Row, plain
from audit_pipeline.reports.reviews import reviews

STEPS = (
    ("opened", "detected_at"),
    ("acknowledged", "acknowledged_at"),
    ("proposed", "proposed_at"),
    ("approved", "approved_at"),
    ("implemented", "implemented_at"),
    ("verified", "verified_at"),
)
"""the way of a finding, and the column that tells when it took the step"""
AGES = ((7, "up to 7 days"), (30, "8 to 30 days"), (90, "31 to 90 days"), (None, "over 90 days"))
_SUMMED = ("events", "records", "rejects", "duplicates", "future")


def sources(rows: list[Row]) -> list[Row]:
    """The rows of `coverage.sources` with what the period shows in place of the last day: the worst verdict, and a tally."""
    return sorted((_source(row) for row in rows), key=lambda row: (_rank(row["today"]["verdict"]), row["name"]))


def _source(row: Row) -> Row:
    days = row["days"]
    worst = min(days, key=lambda day: _rank(day["verdict"]))["verdict"]
    whole = sum(day["verdict"] in WHOLE for day in days)
    tally = Counter(day["verdict"] for day in days)
    today = {
        **dict.fromkeys(days[-1]),
        "day": days[-1]["day"],
        "verdict": worst,
        "reasons": [reason for day in days for reason in day["reasons"]],
        **{name: _sum(days, name) for name in _SUMMED},
        "lag_p95_s": max((day["lag_p95_s"] for day in days if day["lag_p95_s"] is not None), default=None),
        "smallest_gap_s": max((day["smallest_gap_s"] for day in days if day["smallest_gap_s"] is not None), default=None),
    }  # fmt: skip
    shown = {word: tally[word] for word in WORST_FIRST if tally[word]}
    return {**row, "today": today, "whole_days": whole, "tally": shown}


def _sum(days: list[Row], name: str) -> int | None:
    found = [day[name] for day in days if day[name] is not None]
    return sum(found) if found else None


def _rank(verdict: str) -> int:
    return WORST_FIRST.index(verdict)


def not_judged(inputs: Inputs, rows: list[Row], kpis: list[Row], failed: int) -> list[Row]:
    """What the period's report cannot speak about: sources with the days that are not whole, tables and KPIs."""
    found = [
        {
            "subject": row["name"],
            "kind": "source",
            "verdict": row["today"]["verdict"],
            "phrase": f"whole on {row['whole_days']} of {len(row['days'])} days",
            "detail": [_days_of(row, verdict) for verdict in row["tally"] if verdict not in WHOLE],
        }
        for row in rows
        if row["whole_days"] < len(row["days"])
    ]
    for table, subject in (("detections", "Detections"), ("kpis", "KPIs")):
        lacking = [day for day in inputs.days if day not in computed(inputs, table)]
        if lacking:
            told = f"not computed on {len(lacking)} of {len(inputs.days)} days"
            found.append(_other(subject, NOT_COMPUTED, told, [text.spans(lacking)]))
    if failed:
        found.append(_other(text.count(failed, "KPI", capital=True), "unknown", "could not be run", []))
    lacking = [row["title"] for row in kpis if row["today"]["state"] == "no_data" and not row["today"]["days_used"]]
    if lacking:
        title = text.count(len(lacking), "KPI", capital=True)
        found.append(_other(title, "unknown", "no data: " + ", ".join(lacking), []))
    return found


def _other(subject: str, verdict: str, phrase: str, detail: list[str]) -> Row:
    return {"subject": subject, "kind": "table", "verdict": verdict, "phrase": phrase, "detail": detail}


def _days_of(row: Row, verdict: str) -> str:
    return (
        f"{verdict.replace('_', ' ')}: {text.spans([day['day'] for day in row['days'] if day['verdict'] == verdict])}"
    )


def computed(inputs: Inputs, table: str) -> set[str]:
    """The period's days of which a table has a partition."""
    if table not in TABLES:
        raise ValueError(f"no table {table} that a report rests on")
    return {day.isoformat() for day in inputs.lake.days(table)} & set(inputs.days)


def life(inputs: Inputs, findings: list[Row]) -> Row:
    """Findings opened and closed in the period, and those open at its end by age since their detection."""
    begun = rfc3339(inputs.settings.as_of(dt.date.fromisoformat(inputs.days[0]) - DAY))
    ended = rfc3339(inputs.settings.as_of(inputs.day))
    left = [row for row in findings if not row["closed"]]
    opened = [row for row in inputs.findings if begun < row["detected_at"] <= ended]
    return {
        "funnel": [_step(inputs, opened, name, column, begun, ended) for name, column in STEPS],
        "open_before": sum(not _closed(row) for row in inputs.findings_before.values()),
        "opened": sum(row["change"] == "new" for row in findings),
        "closed": sum(row["closed"] and row["closed_at"] is not None and row["closed_at"] > begun for row in findings),
        "reopened": sum(row["change"] == "reopened" for row in findings),
        "open": len(left),
        "overdue": sum(row["overdue"] for row in left),
        "by_age": _by_age(left, ended),
        "by_team": [
            {"team": team, "open": n} for team, n in sorted(Counter(row["team"] or "no team" for row in left).items())
        ],
        "acknowledged_late": sum(_late(row) for row in findings if _due_within(row, begun, ended)),
        "due": sum(_due_within(row, begun, ended) for row in findings),
    }


def _step(inputs: Inputs, opened: list[Row], name: str, column: str, begun: str, ended: str) -> Row:
    """How many findings took a step in the period, and how many of those opened in it have taken it by its end."""
    taken = sum(row[column] is not None and begun < row[column] <= ended for row in inputs.findings)
    return {"step": name, "in_period": taken, "of_opened": sum(row[column] is not None for row in opened)}


def _closed(row: Row) -> bool:
    return row["closed_at"] is not None


def _due_within(row: Row, begun: str, ended: str) -> bool:
    return row["due_at"] is not None and begun < row["due_at"] <= ended


def _late(row: Row) -> bool:
    taken = min((row[name] for name in ("acknowledged_at", "closed_at") if row[name]), default=None)
    return taken is None or taken > row["due_at"]


def _by_age(rows: list[Row], ended: str) -> list[Row]:
    end = dt.datetime.fromisoformat(ended)
    ages = [(end - dt.datetime.fromisoformat(row["detected_at"])) / DAY for row in rows]
    found, low = [], -1.0
    for limit, name in AGES:
        high = float("inf") if limit is None else float(limit)
        found.append({"age": name, "open": sum(low < age <= high for age in ages)})
        low = high
    return found


def changes(inputs: Inputs, rows: list[Row]) -> Row:
    """New, closed and reopened findings against the end of the period before."""
    found: dict[str, list[Row]] = {"new": [], "closed": [], "reopened": []}
    for row in rows:
        brief = {name: row[name] for name in ("finding_id", "title", "severity", "state")}
        if row["shown"] is False:
            continue
        if row["change"]:
            found[row["change"]].append(brief)
        if row["change"] == "new" and row["closed"]:
            found["closed"].append(brief)
    since = (dt.date.fromisoformat(inputs.days[0]) - DAY).isoformat()
    return {"since": since, **found, "verdicts": []}


def calendar(inputs: Inputs, engine: sa.Engine) -> list[Row]:
    """The review of each day of the period."""
    rows = reviews(inputs.settings, inputs.lake, engine, inputs.day).to_pylist()
    return [
        {name: plain(value) for name, value in row.items()} for row in rows if row["day"].isoformat() in inputs.days
    ]


def reported(inputs: Inputs, calendar_rows: list[Row]) -> list[Row]:
    """The days of the period with their newest daily report: its edition, state, root, and where it lies; null where there is none."""
    state = {row["day"]: row["state"] for row in calendar_rows}
    return [_reported(inputs, day, state.get(day)) for day in inputs.days]


def corrections(inputs: Inputs) -> list[Row]:
    """Later editions of the period's daily reports: what they changed against the one before."""
    ever = dt.datetime.min.replace(tzinfo=dt.UTC)
    found = editions.corrections(inputs.lake, ever, kinds=("daily",), periods=inputs.days)
    for row in found:
        for change in row["changes"]:
            change.pop("title", None)  # an old title may name somebody whom no finding names any more
    return found


def _reported(inputs: Inputs, day: str, review: str | None) -> Row:
    edition = editions.latest(inputs.lake, "daily", day)
    base: Row = {"day": day, "review": review}
    if edition is None:
        return {**base, **dict.fromkeys(("edition", "state", "page", "root", "whole", "of", "end"))}
    verdicts = [row["today"]["verdict"] for row in edition.report["sources"]]
    return {
        **base,
        "edition": edition.number,
        "state": edition.report["state"],
        "page": f"{edition.folder}/report.html",
        "root": edition.report["evidence"]["root"],
        "whole": sum(verdict in WHOLE for verdict in verdicts),
        "of": len(verdicts),
        "end": rfc3339(midnight(dt.date.fromisoformat(day)) + DAY),
    }
