"""Releases: errors per request in the 24 hours and 7 days after, against the same hours of the four weeks before.

Belongs here: the table `service_hours` of a day and the comparison of releases. Not here: remediations (`compute`).

The logarithm of the error rate after a release, less that of the same weekday-hours in each of the four weeks before; of it is taken
what services that were not released did in the same hours (difference in differences). Its spread is that of the four weeks
themselves, never less than Poisson's, with t of three degrees of freedom: four weeks say little, and no more is claimed.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from audit_pipeline.clock import DAY
from audit_pipeline.context import connect
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.privacy.masks import mask
from audit_pipeline.settings import Settings

WEEKS = 4
SPANS = {"24h": 24, "7d": 168}
_LEAST_SHARE = 0.9
"""of the hours with requests before, that must have them in a week to be compared"""
P = 0.05
_SQL = """
    SELECT day, api_service_name AS service, date_trunc('hour', "time") AS hour, count(*)::BIGINT AS requests,
        count(*) FILTER (status_id = 2 AND coalesce(http_response_code, 500) >= 500)::BIGINT AS errors, list_sort(list(DISTINCT x_source)) AS sources
    FROM events WHERE day = ? AND api_service_name IS NOT NULL AND class_uid = 6003 AND status_id IN (1, 2)
    GROUP BY ALL ORDER BY service, hour"""

Hours = Mapping[dt.datetime, tuple[int, int]]
"""Requests and errors by hour of one service."""


@dataclass(frozen=True)
class Compared:
    """A release and what came after it."""

    verdict: str
    reason: str
    rate_before: float | None = None
    rate_after: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None


def service_hours(settings: Settings, lake: Lake, day: dt.date) -> pa.Table:
    """Compute and write the table `service_hours` of a day.

    An error is a failed call (of HTTP: from 500 on; a refused request is the caller's). A service's name is a log's text: what looks
    like a secret in it is masked.
    """
    with connect(settings, lake, since=day, until=day, tables=["events"]) as con:
        table = con.sql(_SQL, params=[day]).to_arrow_table()
    named = pa.array([mask(name) for name in table["service"].to_pylist()], pa.string())
    table = table.set_column(table.schema.get_field_index("service"), "service", named)
    schema = TABLES["service_hours"].schema
    table = table.select(schema.names).cast(schema)
    lake.write_table("service_hours", table, day)
    return table


def compare(
    hours: Mapping[str, Hours], service: str, time: dt.datetime, span: int, unreleased: Iterable[str] = ()
) -> Compared:
    """What a release did to the errors of its service.

    Args:
        hours: requests and errors by service and hour, of days that are whole.
        service: the released one.
        time: of the release; the first whole hour after it is the first that counts.
        span: hours after.
        unreleased: services that had no release in those hours nor in the weeks before.
    """
    first = time.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    own = _spans(hours.get(service, {}), first, span)
    if own[0] is None:
        return Compared("inconclusive", "the hours after are not all on record")
    known = [one for one in own[1:] if one is not None]
    rates = {"rate_before": _rate(known), "rate_after": own[0][1] / own[0][0]}
    if len(known) < WEEKS:
        return Compared("inconclusive", f"{len(known)} of the {WEEKS} weeks before are on record", **rates)
    logs = np.array([_log(one) for one in own if one is not None])
    controls = [row for name in unreleased if (row := _control(hours.get(name, {}), first, span)) is not None]
    if controls:
        logs = logs - np.mean(controls, axis=0)
    return _compared(logs, own[0], known, len(controls), rates)


def _compared(
    logs: np.ndarray[tuple[int], np.dtype[np.float64]],
    now: tuple[int, int],
    known: list[tuple[int, int]],
    controls: int,
    rates: dict[str, float | None],
) -> Compared:
    from scipy.stats import t

    before = logs[1:]
    effect = float(logs[0] - before.mean())
    sampling = 1 / (now[1] + 0.5) + 1 / (sum(one[1] for one in known) + 0.5)
    se = math.sqrt(max(float(before.var(ddof=1)) * (1 + 1 / WEEKS), sampling))
    free = WEEKS - 1
    p = float(2 * t.sf(abs(effect) / se, free))
    half = float(t.ppf(1 - P / 2, free)) * se
    detectable = math.expm1(min((float(t.ppf(1 - P / 2, free)) + 0.84) * se, 50.0))
    verdict = "no_change_seen" if p >= P else "worse" if effect > 0 else "better"
    beside = f"beside {controls} services without a release" if controls else "without a service to compare it with"
    reason = (
        f"errors per request {(math.exp(effect) - 1) * 100:+.0f} % against the same hours of {WEEKS} weeks, {beside}"
    )
    return Compared(
        verdict, reason, rates["rate_before"], rates["rate_after"], math.exp(effect), math.exp(effect - half),
        math.exp(min(effect + half, 700)), p, detectable,
    )  # fmt: skip


def _spans(hours: Hours, first: dt.datetime, span: int) -> list[tuple[int, int] | None]:
    """Requests and errors of the hours after, then of the same hours one to four weeks before; none where hours are lacking."""
    found = [_sum(hours, first - week * 7 * DAY, span) for week in range(WEEKS + 1)]
    most = max(found_hours for found_hours, _, _ in found)
    return [
        (requests, errors) if requests and count >= _LEAST_SHARE * most else None for count, requests, errors in found
    ]


def _sum(hours: Hours, first: dt.datetime, span: int) -> tuple[int, int, int]:
    found = [hours[hour] for n in range(span) if (hour := first + dt.timedelta(hours=n)) in hours]
    return len(found), sum(one[0] for one in found), sum(one[1] for one in found)


def _control(hours: Hours, first: dt.datetime, span: int) -> list[float] | None:
    spans = _spans(hours, first, span)
    known = [_log(one) for one in spans if one is not None]
    return known if len(known) == WEEKS + 1 else None


def _log(one: tuple[int, int]) -> float:
    return math.log((one[1] + 0.5) / (one[0] + 1))


def _rate(known: list[tuple[int, int]]) -> float | None:
    requests = sum(one[0] for one in known)
    return sum(one[1] for one in known) / requests if requests else None


def by_service(rows: Iterable[tuple[str, dt.datetime, int, int]]) -> dict[str, dict[dt.datetime, tuple[int, int]]]:
    """Rows of `service_hours` as `compare` takes them."""
    found: dict[str, dict[dt.datetime, tuple[int, int]]] = defaultdict(dict)
    for service, hour, requests, errors in rows:
        before = found[service].get(hour, (0, 0))
        found[service][hour] = (before[0] + requests, before[1] + errors)
    return dict(found)
