"""What was changed in a service before a moment: its last release, else a deployment or change of configuration that the logs tell of.

Belongs here: looking it up and saying it. Not here: whether it was the cause; that it came before is all that is said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from audit_pipeline.lake.views import quote

WEEK, HOURS = 7, 24
"""days before the moment in which a release is looked for, and hours in which a change is; for calls of the service itself one hour"""
_TIME = pa.timestamp("us", tz="UTC")
_SETTING = "^(?:Put|Update|Modify|Attach|Detach|Delete|Create|Set|Add|Remove|Enable|Disable|Start|Stop|Revoke|Authorize|Replace)[A-Z]"
_DATA = "(?:Objects?|Items?|Records?|LogEvents|MetricData|MultipartUpload|Messages?)$"
# Deployments that the service's own log tells of; changes of an object that is named like the service (a deployment, a config map);
# calls that change settings of a cloud's service, data left out.
_CHANGES = f"""
    SELECT w.key, max_by({{'time': e.time, 'actor': e.x_actor, 'what': coalesce(e.api_operation, e.metadata_event_code),
        'version': e.api_version, 'on': concat_ws(' ', e.resource_type, e.resource_name), 'deploy': e.class_uid = 6002}},
        (e.time, e.x_source, e.x_segment, e.x_line)) AS change
    FROM events e JOIN wanted_changes w ON e.time <= w.before AND e.time > w.before - INTERVAL {HOURS} HOURS AND (
        e.class_uid = 6002 AND e.activity_id IN (1, 8) AND coalesce(e.api_service_name, e.metadata_product_name) = w.service
        OR e.class_uid = 6003 AND e.activity_id IN (1, 3, 4) AND e.x_read_only IS NOT DISTINCT FROM false AND (
            length(w.service) >= 3 AND (e.resource_name = w.service OR starts_with(e.resource_name, w.service || '-'))
            OR e.api_service_name = w.service AND e.time > w.before - INTERVAL 1 HOUR
                AND regexp_matches(e.api_operation, {quote(_SETTING)}) AND NOT regexp_matches(e.api_operation, {quote(_DATA)})))
    WHERE e.status_id = 1 GROUP BY w.key"""
_RELEASES = f"""
    SELECT w.key, max_by({{'time': r.time, 'version': r.version, 'change_id': r.change_id}}, (r.time, r.version)) AS release
    FROM releases r JOIN wanted_changes w ON r.service = w.service AND r.time <= w.before AND r.time > w.before - INTERVAL {WEEK} DAYS
    GROUP BY w.key"""


@dataclass(frozen=True)
class Wanted:
    """A service and the moment before which its last change is looked for; `key` is handed back."""

    key: str
    service: str
    before: dt.datetime


def last_changes(
    con: duckdb.DuckDBPyConnection, wanted: Sequence[Wanted], conceal: Callable[[str], str] = str
) -> dict[str, str]:
    """The last change before each moment, in words, by key; where none is on record the key is missing.

    Args:
        con: has the views `events` (of the day and the day before) and `releases`.
        wanted: what is looked for.
        conceal: what may be printed of a recorded name.
    """
    if not wanted:
        return {}
    con.register("wanted_changes", _table(wanted))
    released, changed = dict(con.sql(_RELEASES).fetchall()), dict(con.sql(_CHANGES).fetchall())
    con.unregister("wanted_changes")
    said = {one.key: _say(one, released.get(one.key), changed.get(one.key), conceal) for one in wanted}
    return {key: text for key, text in said.items() if text}


def _table(wanted: Sequence[Wanted]) -> pa.Table:
    keys, services = [one.key for one in wanted], [one.service for one in wanted]
    return pa.table({"key": keys, "service": services, "before": pa.array([one.before for one in wanted], _TIME)})


def _say(
    one: Wanted, release: dict[str, object] | None, change: dict[str, object] | None, conceal: Callable[[str], str]
) -> str | None:
    """A release of the hours before, else a change that the logs tell of, else an older release."""
    if release and (change is None or _age(one, release) <= dt.timedelta(hours=HOURS)):
        named = _words(conceal, one.service, release["version"])
        return f"last release before: {named}{_by(conceal, ' (', release['change_id'], ')')}, {_earlier(one, release)}"
    if change is None:
        return None
    what = "deployment" if change["deploy"] else _words(conceal, change["what"], change["on"])
    version = _by(conceal, " of ", change["version"] if change["deploy"] else None, "")
    return f"last change before: {what}{version}{_by(conceal, ' by ', change['actor'], '')}, {_earlier(one, change)}"


def _words(conceal: Callable[[str], str], *values: object) -> str:
    from audit_pipeline.detections.run import one_line

    return " ".join(one_line(conceal(str(value))) for value in values if value)


def _by(conceal: Callable[[str], str], before: str, value: object, after: str) -> str:
    return f"{before}{_words(conceal, value)}{after}" if value else ""


def _age(one: Wanted, change: dict[str, object]) -> dt.timedelta:
    time = change["time"]
    assert isinstance(time, dt.datetime)  # noqa: S101 - the column's type
    return one.before - time


def _earlier(one: Wanted, change: dict[str, object]) -> str:
    from audit_pipeline.detections.run import length

    return f"{length(_age(one, change))} earlier"
