"""The anomalies of a day: trained on days before it, scored on the day, cut by a budget, told in words; and the model's card.

Belongs here: which days and rows enter, and the table `anomalies`. Not here: scores (`baseline`), forests (`forest`).
A day's rows depend on `actor_days` and `completeness` up to it, on verdicts recorded before its as-of, on the configuration and on
a constant seed, and on nothing else: a backfill gives the same.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import rfc8785
import sqlalchemy as sa

from audit_pipeline.anomaly.baseline import Scored, scored
from audit_pipeline.anomaly.features import features
from audit_pipeline.anomaly.forest import SAMPLE, TREES, Forest, threshold
from audit_pipeline.clock import DAY
from audit_pipeline.context import connect
from audit_pipeline.detections.rule import noun
from audit_pipeline.detections.run import one_line, short_hash, worst
from audit_pipeline.findings import decisions
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings

RULE = "anomaly"
VERSION = "1"
HISTORY, HELD_OUT, LEAST_DAYS = 56, 7, 14
"""days of baseline; newest of them that only set the threshold; fewest usable ones"""
LEAST_Z = 4.0
"""standard deviations above the usual below which nothing is told, however dull the other days are"""
ALONE_Z = 5.0
"""standard deviations that a single feature must lie above the usual to be told by itself"""
HIGH_Z, HIGH_FEATURES = 8.0, 3
SHOWN, MAX_REFS = 3, 100
POPULATIONS = {"people": ("human", "unknown"), "services": ("service",)}
Verdicts = dict[tuple[str, dt.date], bool]
"""Actor and day of an anomaly to whether people confirmed it."""
CONFIRMED = frozenset({"propose", "approve", "implement", "accept"})


def anomalies(settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date) -> pa.Table:
    """Compute and write the table `anomalies` of a day; the model's card is in its metadata under `card`."""
    with connect(
        settings,
        lake,
        since=day - HISTORY * DAY,
        until=day,
        tables=["actor_days", "completeness", "events", "anomalies"],
    ) as con:
        frame = _frame(con)
        judged = _verdicts(con, settings, engine, day)
        cards, rows = {}, []
        for population, kinds in POPULATIONS.items():
            part = frame[frame["x_actor_kind"].isin(kinds)].reset_index(drop=True)
            found, cards[population] = _population(con, part, day, settings.budgets.anomalies_per_day, judged)
            rows += found
    rows.sort(
        key=lambda row: (-row["score"] / row["threshold"], row["group_key"])
    )  # scores of two forests have no common scale
    table = pa.Table.from_pylist(rows[: settings.budgets.anomalies_per_day], schema=TABLES["anomalies"].schema)
    lake.write_table("anomalies", table, day, metadata={"card": json.dumps(cards, sort_keys=True)})
    return table


def _frame(con: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Actor-days with what scoring needs; usable where each of the actor's sources was whole that day."""
    table = con.sql("""
        SELECT a.*, coalesce(a.role, a.x_actor_kind) AS peer, dayofweek(a.day) IN (0, 6) AS free,
            coalesce(w.lacking, 0) = 0 AS usable, w.verdict AS verdict
        FROM actor_days a LEFT JOIN (
            SELECT x.day, x.x_actor, count(*) FILTER (c.verdict IN ('partial', 'missing')) AS lacking,
                CASE WHEN count(*) FILTER (c.verdict IN ('partial', 'missing')) > 0 THEN 'partial' ELSE min(c.verdict) END AS verdict
            FROM (SELECT day, x_actor, unnest(sources) AS source FROM actor_days) x JOIN completeness c ON c.day = x.day AND c.source = x.source
            GROUP BY 1, 2
        ) w ON w.day = a.day AND w.x_actor = a.x_actor ORDER BY a.day, a.x_actor""").to_arrow_table()
    frame: pd.DataFrame = table.to_pandas(date_as_object=False)
    return frame


def _population(
    con: duckdb.DuckDBPyConnection,
    frame: pd.DataFrame,
    day: dt.date,
    budget: int,
    judged: Verdicts,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    days = frame["day"].to_numpy("datetime64[D]")
    usable = frame["usable"].to_numpy(dtype=bool)
    known = np.unique(days[usable & (days < np.datetime64(day))])
    card: dict[str, Any] = {
        "actors": int(frame.loc[days == np.datetime64(day), "x_actor"].nunique()), "usable_days": len(known), "budget_a_day": budget,
        "days_left_out": int(len(np.unique(days[days < np.datetime64(day)])) - len(known)), "trees": TREES, "sample": SAMPLE, "version": VERSION,
    }  # fmt: skip
    if len(known) < LEAST_DAYS:
        return [], {**card, "state": "not_evaluated", "why": f"{len(known)} of {LEAST_DAYS} usable days of history"}
    names = [feature.name for feature in features()]
    told = scored(frame, names)
    held_out = usable & (days >= known[-HELD_OUT]) & (days < np.datetime64(day))
    train = usable & (days < known[-HELD_OUT]) & (days > known[min(2, len(known) - HELD_OUT - 1)])
    today = days == np.datetime64(day)
    if not train.any() or not today.any():
        return [], {**card, "state": "not_evaluated", "why": "nobody acted on the day, or nothing is left to train on"}
    forest = Forest(told.z[train], seed=1)
    _replay(forest, frame, told, days, judged)
    limit = threshold(forest.score(told.z[held_out]), days=HELD_OUT, a_day=budget)
    alone = max(threshold(told.z[held_out].max(axis=1), days=HELD_OUT, a_day=budget), ALONE_Z)
    beyond = _beyond(told, np.flatnonzero(today), forest.score(told.z[today]), limit, alone)
    beyond.sort(key=lambda one: (-one[1] / one[2], frame.at[one[0], "x_actor"]))
    card |= {
        "state": "evaluated", "threshold": limit, "threshold_alone": alone, "beyond_threshold": len(beyond), "verdicts": forest.verdicts,
        "rows_trained": int(train.sum()),
    }  # fmt: skip
    return [_row(con, frame.iloc[row], told, row, score, passed, day) for row, score, passed in beyond[:budget]], card


def _beyond(told: Scored, at: Any, scores: Any, limit: float, alone: float) -> list[tuple[int, float, float]]:
    """Rows that pass the forest's threshold, or whose largest score passes one of its own: row, score, the threshold it passed.

    A feature that nobody ever had splits no tree, so that the forest cannot see the first one who has much of it.
    """
    found = []
    for row, score in zip(at.tolist(), scores.tolist(), strict=True):
        largest = float(told.z[row].max())
        if score > limit and largest >= LEAST_Z:
            found.append((row, score, limit))
        elif largest > alone:
            found.append((row, largest, alone))
    return found


def _replay(forest: Forest, frame: pd.DataFrame, told: Scored, days: Any, judged: Verdicts) -> None:
    """What people said about the actor-days that are on record."""
    place = {(actor, when): at for at, (actor, when) in enumerate(zip(frame["x_actor"], days.tolist(), strict=True))}
    said = [(place[one], confirmed) for one, confirmed in judged.items() if one in place]
    forest.learn(told.z[[at for at, _ in said]], np.array([confirmed for _, confirmed in said], dtype=bool))


def _verdicts(con: duckdb.DuckDBPyConnection, settings: Settings, engine: sa.Engine, day: dt.date) -> Verdicts:
    """Whether an anomaly of an actor and day was confirmed; the last word counts.

    A verdict is about the newest anomaly that was on record when it was given.
    """
    query = "SELECT group_key, x_actor, day FROM anomalies WHERE day < ? ORDER BY day"
    told: dict[str, list[tuple[str, dt.date]]] = {}
    for key, actor, when in con.execute(query, [day]).fetchall():
        told.setdefault(short_hash(RULE, key), []).append((actor, when))
    found: Verdicts = {}
    for one in decisions.read(engine, settings.as_of(day)):
        before = [about for about in told.get(one.finding_id, []) if settings.as_of(about[1]) <= one.recorded_at]
        if before and (one.action == "false_positive" or one.action in CONFIRMED):
            found[before[-1]] = one.action != "false_positive"
    return found


def _key(actor: str) -> str:
    return rfc8785.dumps({"actor": actor}).decode()


def _row(
    con: duckdb.DuckDBPyConnection,
    about: pd.Series[Any],
    told: Scored,
    row: int,
    score: float,
    limit: float,
    day: dt.date,
) -> dict[str, Any]:
    actor, z = str(about["x_actor"]), told.z[row]
    order = np.argsort(-z, kind="stable")[:SHOWN]
    top = [at for at in order.tolist() if z[at] > 1] or [int(order[0])]
    parts = [
        f"{about[features()[at].name]:,.0f} {noun(about[features()[at].name], features()[at].label)}, usual {_usual(told.usual[row][at])}"
        for at in top
    ]
    span = f"{told.days[row]} like days of its own" if told.days[row] else "no day of its own: compared with its peers"
    key = _key(actor)
    return {
        "detection_id": short_hash(RULE, key, day.isoformat()),
        "day": day, "rule_id": RULE, "rule_version": VERSION, "kind": "anomaly",
        "level": "high" if int((z >= HIGH_Z).sum()) >= HIGH_FEATURES else "medium",
        "x_actor": actor, "x_target": None, "sources": list(about["sources"]),
        "first_time": about["first_time"].to_pydatetime(), "last_time": about["last_time"].to_pydatetime(), "n": int(about["n"]),
        "score": score, "threshold": limit,
        "explanation": f"{one_line(actor)}: {'; '.join(parts)} ({span})",
        "attack": [], "group_key": key, "verdict": worst([about["verdict"]]) if isinstance(about["verdict"], str) else None,
        "refs": _refs(con, actor, features()[top[0]].condition, day),
    }  # fmt: skip


def _usual(count: float) -> str:
    return f"{count:,.0f}" if count >= 9.5 else f"{count:.1f}"


def _refs(con: duckdb.DuckDBPyConnection, actor: str, where: str, day: dt.date) -> list[dict[str, Any]]:
    query = f"""SELECT x_source AS source, x_segment AS segment, x_line AS line, metadata_uid AS uid FROM events
        WHERE day = $day AND x_actor = $actor AND ({where}) ORDER BY time, x_source, x_segment, x_line LIMIT {MAX_REFS}"""
    return list(con.sql(query, params={"day": day, "actor": actor}).to_arrow_table().to_pylist())
