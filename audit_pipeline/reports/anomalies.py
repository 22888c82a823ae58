"""Unusual days of actors as the model saw them: what differed, why in words, who decides, and the model's card.

Belongs here: selecting the day's (or the period's) anomalies and telling why there are none. Not here: scores and explanations
(`anomaly`), the findings that they belong to (`asked`).
"""

from __future__ import annotations

from audit_pipeline.reports import text
from audit_pipeline.reports.asked import REFS_KEPT
from audit_pipeline.reports.inputs import Inputs, Row
from audit_pipeline.reports.watching import DETECTOR

KIND = "anomaly"
EVALUATED, NOT_EVALUATED, NOT_COMPUTED = "evaluated", "not_evaluated", "not_computed"


def anomalies(inputs: Inputs, findings: list[Row]) -> Row:
    """`items` (highest score first), and by day whether the model ran: `evaluated`, `not_evaluated` (`why`) or `not_computed`.

    `state` is that of the last day. None found means something only where it is `evaluated`.
    """
    days = inputs.days if inputs.of_period else inputs.days[-1:]
    by_id = {(row["rule_id"], row["group_key"]): row for row in findings}
    items = [
        _item(hit, by_id.get(key, {}))
        for key, hits in inputs.detections.items()
        for hit in hits
        if hit["kind"] == KIND and hit["day"] in days
    ]
    states = {day: _state(inputs.cards.get(day)) for day in days}
    return {
        "state": states[days[-1]],
        "why": why(inputs.cards.get(days[-1])),
        "days": states,
        "items": sorted(items, key=lambda row: (-(row["score"] or 0), row["day"], row["detection_id"])),
        "card": inputs.cards.get(days[-1]),
    }


def _state(card: Row | None) -> str:
    if card is None:
        return NOT_COMPUTED
    judged = any(part.get("state") == EVALUATED for part in _populations(card).values())
    return NOT_EVALUATED if why(card) and not judged else EVALUATED


def _populations(card: Row) -> dict[str, Row]:
    """The card's parts of people and of services, each with a `state`."""
    return {name: part for name, part in card.items() if isinstance(part, dict) and "state" in part}


def why(card: Row | None) -> str | None:
    """Why the model could not judge the day, or one of its populations; null where it judged or was not run."""
    if card and card.get(NOT_EVALUATED):
        return str(card[NOT_EVALUATED])
    told = {name: part for name, part in _populations(card or {}).items() if part["state"] == NOT_EVALUATED}
    reasons = {name: str(part.get("why") or "no reason recorded") for name, part in told.items()}
    return "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items())) or None


def _item(hit: Row, finding: Row) -> Row:
    refs = hit["refs"] or []
    kept = (
        "detection_id",
        "day",
        "level",
        "score",
        "threshold",
        "explanation",
        "n",
        "first_time",
        "last_time",
        "sources",
        "verdict",
    )
    return {
        **{name: hit[name] for name in kept},
        "actor": hit["x_actor"],
        "refs": refs[:REFS_KEPT],
        "refs_total": len(refs),
        **{
            name: finding.get(name) for name in ("finding_id", "title", "team", "owner", "state", "shown", "actor_kind")
        },
    }


def not_judged(found: Row) -> list[Row]:
    """What could not be judged for want of a model, as a row of `coverage.not_judged`; nothing where no model was ever run."""
    lacking = [day for day, state in found["days"].items() if state != EVALUATED]
    several = len(found["days"]) > 1
    if not (lacking or (found["why"] and not several)) or all(
        state == NOT_COMPUTED for state in found["days"].values()
    ):
        return []
    phrase = (
        f"not evaluated on {len(lacking)} of {len(found['days'])} days"
        if several
        else found["why"] or "no model has run"
    )
    detail = [text.spans(lacking)] if several else []
    return [{"subject": "Anomalies", "kind": DETECTOR, "verdict": "unknown", "phrase": phrase, "detail": detail}]
