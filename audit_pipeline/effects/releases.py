"""Releases: errors per request in the 24 hours and 7 days after, against the weekdays of the four weeks before, hour by hour the same.

Belongs here: the table `service_hours` of a day, and which days a release is compared with. Not here: the arithmetic (`release_model`),
remediations (`compute`).

Days of 24 hours are counted back and forth from the first whole hour after the release, so that each holds the same hours. What services
without a release did on a day, of what they usually do, is taken out of it (difference in differences).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from audit_pipeline.clock import DAY
from audit_pipeline.context import connect
from audit_pipeline.effects.release_model import change
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.privacy.masks import mask
from audit_pipeline.settings import Settings

WEEKS = 4
SPANS = {"24h": 24, "7d": 168}
LEAST_DAYS = 21
"""days before that are needed"""
_LEAST_SHARE = 0.9
"""of the hours with requests on the fullest day, that a day must have to be compared"""
_CALM = 5.0
"""errors that are added to both what other services had and what was expected of them: few errors say little"""
P = 0.05
_SQL = """
    SELECT day, api_service_name AS service, date_trunc('hour', "time") AS hour, count(*)::BIGINT AS requests,
        count(*) FILTER (status_id = 2 AND coalesce(http_response_code, 500) >= 500)::BIGINT AS errors, list_sort(list(DISTINCT x_source)) AS sources
    FROM events WHERE day = ? AND api_service_name IS NOT NULL AND class_uid = 6003 AND status_id IN (1, 2)
    GROUP BY ALL ORDER BY service, hour"""

Hours = Mapping[dt.datetime, tuple[int, int]]
"""Requests and errors by hour of one service."""
Days = dict[int, tuple[int, int]]
"""Requests and errors by day, counted from the release."""


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
    after = span // 24
    own = _days(hours.get(service, {}), first, after)
    now = {day: one for day, one in own.items() if day >= 0}
    past = {day: one for day, one in own.items() if day < 0}
    if len(now) < after:
        return Compared("inconclusive", "the hours after are not all on record")
    rates = {"rate_before": _rate(past.values()), "rate_after": _rate(now.values())}
    if len(past) < LEAST_DAYS:
        return Compared("inconclusive", f"{len(past)} of the {WEEKS * 7} days before are on record, {LEAST_DAYS} are needed", **rates)  # fmt: skip
    controls = [one for name in unreleased if own.keys() <= (one := _days(hours.get(name, {}), first, after)).keys()]
    return _compared(own, len(past), controls, rates)


def _compared(own: Days, before: int, controls: list[Days], rates: dict[str, float | None]) -> Compared:
    beside = _beside(own, controls)
    errors, exposure = [one[1] for one in own.values()], [one[0] * beside[day] for day, one in own.items()]
    found = change(errors, exposure, [day % 7 for day in own], before)
    seen = found.p < P and found.beyond
    verdict = "no_change_seen" if not seen else "worse" if found.ratio > 1 else "better"
    among = f"beside {len(controls)} services without a release" if controls else "without a service to compare it with"
    reason = f"errors per request {(found.ratio - 1) * 100:+.0f} % against {before} days before, {among}"
    if found.p < P and not found.beyond:
        reason += "; one of them was as far from the usual, without this release"
    return Compared(
        verdict, reason, rates["rate_before"], rates["rate_after"], found.ratio, found.low, found.high, found.p, found.detectable
    )  # fmt: skip


def _days(hours: Hours, first: dt.datetime, after: int) -> Days:
    """Requests and errors of each day of 24 hours, by its number (from 0 after the release, below it before); none where hours are lacking."""
    found = {day: [0, 0, 0] for day in range(-WEEKS * 7, after)}
    for hour, (requests, errors) in hours.items():
        if (one := found.get((hour - first) // DAY)) is not None:
            one[0] += 1
            one[1] += requests
            one[2] += errors
    most = max(count for count, _, _ in found.values())
    return {day: (requests, errors) for day, (count, requests, errors) in found.items() if requests and count >= _LEAST_SHARE * most}  # fmt: skip


def _beside(own: Days, controls: list[Days]) -> dict[int, float]:
    """What happened to the errors of the services without a release on each day: 1 is the usual of the days before."""
    had, expected = dict.fromkeys(own, 0.0), dict.fromkeys(own, 0.0)
    for control in controls:
        usual = _rate(one for day, one in control.items() if day < 0) or 0.0
        for day in own:
            had[day] += control[day][1]
            expected[day] += control[day][0] * usual
    return {day: (had[day] + _CALM) / (expected[day] + _CALM) for day in own}


def _rate(known: Iterable[tuple[int, int]]) -> float | None:
    found = list(known)
    requests = sum(one[0] for one in found)
    return sum(one[1] for one in found) / requests if requests else None


def by_service(rows: Iterable[tuple[str, dt.datetime, int, int]]) -> dict[str, dict[dt.datetime, tuple[int, int]]]:
    """Rows of `service_hours` as `compare` takes them."""
    found: dict[str, dict[dt.datetime, tuple[int, int]]] = defaultdict(dict)
    for service, hour, requests, errors in rows:
        before = found[service].get(hour, (0, 0))
        found[service][hour] = (before[0] + requests, before[1] + errors)
    return dict(found)
