"""The anomalies of a day: trained on days before it, scored on the day, cut by a budget; and the model's card.

Belongs here: which days and rows enter, and the table `anomalies`. Not here: scores (`baseline`), forests (`forest`), words (`words`).
A day's rows depend on `actor_days` and `completeness` up to it, on verdicts recorded before its as-of, on the configuration and on
a constant seed, and on nothing else: a backfill gives the same.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from audit_pipeline.anomaly import words
from audit_pipeline.anomaly.baseline import Scored, scored
from audit_pipeline.anomaly.choice import choose
from audit_pipeline.anomaly.features import features
from audit_pipeline.anomaly.forest import TREES, Matrix, passes, threshold
from audit_pipeline.anomaly.verdicts import RULE as RULE
from audit_pipeline.anomaly.verdicts import Verdicts, verdicts
from audit_pipeline.clock import DAY
from audit_pipeline.context import connect
from audit_pipeline.context.hours import holidays, working_days
from audit_pipeline.lake import views
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings

HISTORY, HELD_OUT, LEAST_DAYS = 56, 7, 14
"""days of baseline; newest of them that only set the threshold; fewest usable ones"""
LEAST_Z = 4.0
"""standard deviations above the usual below which nothing is told, however dull the other days are"""
ALONE_Z = 5.0
"""standard deviations that a single feature must lie above the usual to be told by itself"""
SEED = 1
POPULATIONS = {"people": ("human", "unknown"), "services": ("service",)}


def anomalies(settings: Settings, lake: Lake, engine: sa.Engine, day: dt.date) -> pa.Table:
    """Compute and write the table `anomalies` of a day; the model's card is in its metadata under `card`."""
    with views.connect(
        lake, since=day - HISTORY * DAY, until=day, tables=["actor_days", "completeness", "anomalies"]
    ) as con:
        frame = _frame(con, settings)
        judged = verdicts(con, settings, engine, day)
    cards, rows = {}, []
    for population, kinds in POPULATIONS.items():
        part = frame[frame["x_actor_kind"].isin(kinds)].reset_index(drop=True)
        found, cards[population] = _population(part, day, settings.budgets.anomalies_per_day, judged)
        rows += found
    rows.sort(key=lambda row: (-row["score"] / row["threshold"], row["group_key"]))  # two forests have no common scale
    rows = _with_refs(settings, lake, day, rows[: settings.budgets.anomalies_per_day])
    table = pa.Table.from_pylist(rows, schema=TABLES["anomalies"].schema)
    lake.write_table("anomalies", table, day, metadata={"card": json.dumps(cards, sort_keys=True)})
    return table


def _with_refs(settings: Settings, lake: Lake, day: dt.date, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not rows:
        return []
    with connect(settings, lake, since=day, until=day, tables=["events"]) as con:
        return [row | {"refs": words.refs(con, row["x_actor"], features()[row["first"]], day)} for row in rows]


def _frame(con: duckdb.DuckDBPyConnection, settings: Settings) -> pd.DataFrame:
    """Actor-days with what scoring needs; usable where each of the actor's sources was whole that day."""
    names = ", ".join(f"a.{one.name}" for one in features())
    table = con.sql(f"""
        SELECT a.day, a.x_actor, a.x_actor_kind, a.zone, a.n, a.first_time, a.last_time, a.sources, coalesce(a.role, a.x_actor_kind) AS peer, {names},
            NOT coalesce(list_has_any(a.sources, c.lacking), false) AS usable,
            CASE WHEN usable THEN list_min(list_transform(a.sources, lambda source: c.verdicts[source])) ELSE 'partial' END AS verdict
        FROM actor_days a LEFT JOIN (
            SELECT day, list(source) FILTER (verdict IN ('partial', 'missing')) AS lacking, map(list(source), list(verdict)) AS verdicts
            FROM completeness GROUP BY day
        ) c ON c.day = a.day ORDER BY a.day, a.x_actor""").to_arrow_table()
    frame: pd.DataFrame = table.to_pandas(date_as_object=False)
    frame["free"] = _free(frame, settings)
    return frame


def _free(frame: pd.DataFrame, settings: Settings) -> npt.NDArray[np.bool_]:
    """Whether a day is one off for the actor: no working day of `hours.days`, or a holiday where the actor is."""
    days = frame["day"].to_numpy("datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7 + 1  # 1970-01-01 was a Thursday
    free = ~np.isin(weekday, working_days(settings.hours.days, settings))
    zones = frame["zone"].fillna(settings.hours.zone).to_numpy(dtype=object)
    for holiday, where in holidays(settings):
        free |= (days == np.datetime64(holiday)) & (True if where is None else zones == where)
    return np.asarray(free, dtype=bool)


def _population(
    frame: pd.DataFrame, day: dt.date, budget: int, judged: Verdicts
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    days, today = frame["day"].to_numpy("datetime64[D]"), np.datetime64(day)
    usable, before = frame["usable"].to_numpy(dtype=bool), days < today
    known = np.unique(days[usable & before])
    card: dict[str, Any] = {
        "actors": int(frame.loc[days == today, "x_actor"].nunique()), "usable_days": len(known), "budget_a_day": budget,
        "days_left_out": int(len(np.unique(days[before])) - len(known)), "trees": TREES, "version": words.VERSION,
    }  # fmt: skip
    if len(known) < LEAST_DAYS:
        return [], {**card, "state": "not_evaluated", "why": f"{len(known)} of {LEAST_DAYS} usable days of history"}
    held_out = usable & (days >= known[-HELD_OUT]) & before
    train = usable & (days < known[-HELD_OUT]) & (days > known[min(2, len(known) - HELD_OUT - 1)])
    at = np.flatnonzero(days == today)
    if not train.any() or not len(at):
        return [], {**card, "state": "not_evaluated", "why": "nobody acted on the day, or nothing is left to train on"}
    told = scored(frame, [feature.name for feature in features()])
    about, confirmed = _judged(frame, told, days, judged)
    forest, choice = choose(told.z[train], about, confirmed, SEED)
    forest.learn(about, confirmed)
    limit = threshold(forest.score(told.z[held_out]), days=HELD_OUT, a_day=budget)
    alone = max(threshold(told.z[held_out].max(axis=1), days=HELD_OUT, a_day=budget), ALONE_Z)
    rows_beyond = beyond(told.z[at], forest.score(told.z[at]), limit, alone)
    rows = [words.row(frame.iloc[at[one]], told, int(at[one]), score, passed, day) for one, score, passed in rows_beyond[:budget]]  # fmt: skip
    card |= choice | {
        "state": "evaluated", "threshold": limit, "threshold_alone": alone, "beyond_threshold": len(rows_beyond), "verdicts": forest.verdicts,
        "rows_trained": int(train.sum()),
    }  # fmt: skip
    checked = words.occlusion(forest, told.z[train], told.z[at[[one for one, *_ in rows_beyond[:budget]]]])
    return rows, card | ({"occlusion": checked} if checked else {})


def beyond(z: Matrix, scores: Matrix, limit: float, alone: float) -> list[tuple[int, float, float]]:
    """Rows that pass a threshold, the farthest first: row, score, the threshold it passed."""
    largest = z.max(axis=1)
    by_forest = np.where((scores > limit) & (largest >= LEAST_Z), scores, 0)
    by_itself = np.where(largest > alone, largest, 0)
    order = np.argsort(-passes(by_forest, by_itself, limit, alone), kind="stable")  # rows come by name
    found = []
    for row in order.tolist():
        if by_forest[row] > 0:
            found.append((row, float(scores[row]), limit))
        elif by_itself[row] > 0:
            found.append((row, float(largest[row]), alone))
    return found


def _judged(frame: pd.DataFrame, told: Scored, days: Any, judged: Verdicts) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Scores of the actor-days on record that people judged, and what they said."""
    some = np.flatnonzero(frame["x_actor"].isin({actor for actor, _ in judged})).tolist()
    place = {(str(frame.at[at, "x_actor"]), days[at].item()): at for at in some}
    said = [(place[one], confirmed) for one, confirmed in judged.items() if one in place]
    return told.z[[at for at, _ in said]], np.array([confirmed for _, confirmed in said], dtype=bool)
