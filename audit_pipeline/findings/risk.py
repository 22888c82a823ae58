"""How urgent a finding is: 0 to 100 points, a sum of few terms from stored facts, each shown in words.

Belongs here: the terms and the order of a list. Not here: who is shown what (`budget`), the facts themselves (`view`).
Severity sets the band (20 points each); all that raises it adds up to 20 at most, so that the order by points is an order by severity
first. Nothing here is learned: it is a sum that anybody can check.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from audit_pipeline.detections.sigma import LEVELS

TERM = " · "
"""between the terms in words"""
SEVERITY = {"critical": 80, "high": 60, "medium": 40, "low": 20, "informational": 5}
DAY_MORE, DAYS_AT_MOST = 2, 6
PRIVILEGED, SOURCES, REOPENED, OVERDUE, INCOMPLETE = 5, 3, 3, 3, -5
SERVICE = "service"


def severity_of(detections: Iterable[dict[str, Any]]) -> str:
    """The worst level of some detections."""
    return str(max((one["level"] for one in detections), key=LEVELS.index))


def risk(detections: list[dict[str, Any]], *, reopened: int = 0, overdue: bool = False) -> tuple[float, str]:
    """Points and their terms in words, joined by ` · `.

    Args:
        detections: those of the finding so far: `day`, `level`, `sources`, `privileged` (acts of the actor on that day), `verdict`.
        reopened: how often it came back after it was closed.
        overdue: whether its due date has passed.
    """
    severity, days = severity_of(detections), len({one["day"] for one in detections})
    sources = {source for one in detections for source in one["sources"] or []}
    incomplete = any(one["verdict"] in ("partial", "missing") for one in detections)
    terms = [
        (f"severity {severity}", SEVERITY[severity]),
        (f"seen on {days} days", min(DAY_MORE * (days - 1), DAYS_AT_MOST)),
        ("privileged acts of the actor", PRIVILEGED if any(one["privileged"] for one in detections) else 0),
        (f"{len(sources)} sources", SOURCES if len(sources) > 1 else 0),
        ("reopened", REOPENED if reopened else 0),
        ("overdue", OVERDUE if overdue else 0),
        ("incomplete day", INCOMPLETE if incomplete else 0),
    ]
    first, *more = [(name, points) for name, points in terms if points]
    words = [f"{first[0]} {first[1]}", *(f"{name} {points:+d}".replace("-", "−") for name, points in more)]
    return float(max(sum(points for _, points in terms), 0)), TERM.join(words)


def order(row: dict[str, Any]) -> tuple[Any, ...]:
    """Key of a list of findings: severity, people before services, points, age, id."""
    service = row["x_actor_kind"] == SERVICE
    return -LEVELS.index(row["severity"]), service, -row["risk"], row["detected_at"], row["finding_id"]
