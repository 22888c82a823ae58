"""An anomaly in words and numbers, with the events behind it, and whether the forest sees it by the same features.

Belongs here: rows of the table `anomalies`. Not here: what is told at all (`night`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import rfc8785

from audit_pipeline.anomaly.baseline import Scored
from audit_pipeline.anomaly.features import Feature, features
from audit_pipeline.anomaly.forest import Forest, Matrix
from audit_pipeline.anomaly.verdicts import RULE
from audit_pipeline.detections.rule import noun
from audit_pipeline.detections.run import one_line, short_hash, worst

VERSION = "2"
HIGH_Z, HIGH_FEATURES = 8.0, 3
SHOWN, MAX_REFS = 3, 100


def row(about: pd.Series[Any], told: Scored, at: int, score: float, limit: float, day: dt.date) -> dict[str, Any]:
    """The row of an actor-day, without its references.

    Args:
        about: its row of `actor_days`.
        told: scores of all rows.
        at: which of them it is.
        score: of the forest, or the largest of a single feature.
        limit: the threshold that it passed.
        day: the day.
    """
    actor, z = str(about["x_actor"]), told.z[at]
    parts = [
        f"{about[features()[one].name]:,.0f} {noun(about[features()[one].name], features()[one].label)}, usual {_usual(told.usual[at][one])}"
        for one in shown(z)
    ]
    span = f"{told.days[at]} like days of its own" if told.days[at] else "no day of its own: compared with its peers"
    key = rfc8785.dumps({"actor": actor}).decode()
    return {
        "detection_id": short_hash(RULE, key, day.isoformat()),
        "day": day, "rule_id": RULE, "rule_version": VERSION, "kind": "anomaly",
        "level": "high" if int((z >= HIGH_Z).sum()) >= HIGH_FEATURES else "medium",
        "x_actor": actor, "x_target": None, "sources": list(about["sources"]),
        "first_time": about["first_time"].to_pydatetime(), "last_time": about["last_time"].to_pydatetime(), "n": int(about["n"]),
        "score": score, "threshold": limit,
        "explanation": f"{one_line(actor)}: {'; '.join(parts)} ({span})",
        "attack": [], "group_key": key, "verdict": worst([about["verdict"]]) if isinstance(about["verdict"], str) else None,
        "refs": [], "first": shown(z)[0],
    }  # fmt: skip


def shown(z: Matrix) -> list[int]:
    """The features that are told: the largest scores, above 1 where any is."""
    order = np.argsort(-z, kind="stable")[:SHOWN].tolist()
    return [at for at in order if z[at] > 1] or order[:1]


def _usual(count: float) -> str:
    return f"{count:,.0f}" if count >= 9.5 else f"{count:.1f}"


def refs(con: duckdb.DuckDBPyConnection, actor: str, feature: Feature, day: dt.date) -> list[dict[str, Any]]:
    """The first events that a feature counts; of one that tells values apart, the first event of each value."""
    each = (
        f"QUALIFY row_number() OVER (PARTITION BY {feature.value} ORDER BY time, x_source, x_segment, x_line) = 1"
        if feature.value
        else ""
    )
    query = f"""SELECT x_source AS source, x_segment AS segment, x_line AS line, metadata_uid AS uid FROM events
        WHERE day = $day AND x_actor = $actor AND ({feature.condition}) {each}
        ORDER BY time, x_source, x_segment, x_line LIMIT {MAX_REFS}"""
    return list(con.sql(query, params={"day": day, "actor": actor}).to_arrow_table().to_pylist())


def occlusion(forest: Forest, train: Matrix, rows: Matrix) -> str | None:
    """How often the forest's score falls most without a feature that is told: the feature set to its median among trained rows.

    A cross-check that needs no other library; on trees it agrees with exact Shapley values in most cases, at a fraction of the cost.
    """
    if not len(rows):
        return None
    n = rows.shape[1]
    without = np.repeat(rows, n, axis=0)
    places = np.tile(np.arange(n), len(rows))
    without[np.arange(len(without)), places] = np.median(train, axis=0)[places]
    first = forest.score(without).reshape(len(rows), n).argmin(axis=1).tolist()
    told = [shown(z) for z in rows]
    leads, among = sum(one == names[0] for one, names in zip(first, told, strict=True)), sum(one in names for one, names in zip(first, told, strict=True))  # fmt: skip
    return f"of {len(rows)} told, the feature that weighs most in the forest is the first told in {leads}, one of those told in {among}"
