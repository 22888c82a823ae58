"""How far a day lies above what is usual for the actor: one-sided scores over a trailing baseline of its own, shrunk to its peers.

Belongs here: scores of features. Not here: features themselves (`features`), forests and thresholds (`forest`), days and tables (`night`).

Counts are compared as log1p among days of the same kind (working or weekend). The variance holds the noise of a Poisson count,
so that 1 after 0 is no surprise; the mean of an actor with few days is drawn towards that of its role, else of its kind. Only days
before the scored one enter, and none on which a source of the actor was not whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Matrix = npt.NDArray[np.float64]
PEERS, GROWN = 5.0, 14.0
"""Days that the peers' mean weighs beside none of one's own, and like days of one's own from which on it weighs nothing: whoever
always does ten times as much as their peers is no surprise."""
FLOOR = 0.02
"""least variance of log1p counts, beside the Poisson noise"""


@dataclass(frozen=True)
class Scored:
    """Rows in the order of the frame: `z` at least 0 (standard deviations above the usual), `usual` as a count, `days` of its own baseline."""

    z: Matrix
    usual: Matrix
    days: npt.NDArray[np.int64]


def scored(frame: pd.DataFrame, names: list[str]) -> Scored:
    """Score every row against the rows of days before it.

    Args:
        frame: rows of `actor_days` sorted by day, with `peer` (role, else kind), `free` (weekend) and `usable` beside them; index 0, 1, 2 ...
        names: the features.
    """
    logs = np.log1p(frame[names].fillna(0).to_numpy(dtype=float))
    usable = frame["usable"].to_numpy(dtype=float)
    own = np.asarray(frame.groupby(["x_actor", "free"], sort=False).ngroup(), np.int64)
    peer = np.asarray(frame.groupby(["peer", "free"], sort=False).ngroup(), np.int64)
    day = frame["day"].to_numpy("datetime64[D]").astype(np.int64)
    n, total, squares = _before(own, day, usable, logs)
    peer_n, peer_total, _ = _before(peer, day, usable, logs)
    peer_mean = peer_total / np.maximum(peer_n, 1)[:, None]
    weight = PEERS * np.clip(1 - n / GROWN, 0, 1)
    own_mean = total / np.maximum(n, 1)[:, None]
    both = np.maximum(n + weight, 1)[:, None]
    mean = (total + weight[:, None] * peer_mean) / both
    count = np.expm1(mean)
    noise = (count + 0.5) / (
        1 + count
    ) ** 2  # of log1p of a Poisson count, by the delta method; half an event more, as 0 has no noise
    spread = np.maximum(squares - n[:, None] * own_mean**2, 0) + weight[:, None] * (noise + FLOOR)
    apart = (
        (n * weight)[:, None] / both * (own_mean - peer_mean) ** 2
    )  # while it is open whether the peers are any guide
    variance = (spread + apart) / both
    z = (logs - mean) / np.sqrt(np.maximum(variance, noise) + FLOOR)
    known = (n + peer_n) > 0
    return Scored(np.where(known[:, None], np.maximum(z, 0), 0), count, n.astype(np.int64))


def _before(
    group: npt.NDArray[np.int64], day: npt.NDArray[np.int64], usable: Matrix, logs: Matrix
) -> tuple[Matrix, Matrix, Matrix]:
    """Number, sum and sum of squares of a row's group over usable rows of earlier days."""
    order = np.lexsort((day, group))
    weighted = logs[order] * usable[order][:, None]
    stacked = np.column_stack([usable[order], weighted, weighted * logs[order]])
    running = np.vstack([np.zeros(stacked.shape[1]), np.cumsum(stacked, axis=0)])
    g, d = group[order], day[order]
    begins_group = np.maximum.accumulate(np.where(np.concatenate([[True], g[1:] != g[:-1]]), np.arange(len(g)), 0))
    begins_day = np.maximum.accumulate(
        np.where(np.concatenate([[True], (g[1:] != g[:-1]) | (d[1:] != d[:-1])]), np.arange(len(g)), 0)
    )
    found = np.empty_like(stacked)
    found[order] = running[begins_day] - running[begins_group]
    features = logs.shape[1]
    return found[:, 0], found[:, 1 : 1 + features], found[:, 1 + features :]
