"""A row of `events` as a nested OCSF 1.8.0 event that validates against the published schema (https://schema.ocsf.io/1.8.0).

Belongs here: from flat columns to the nested shape of the row's class: captions, profiles, what a class must have. Not here: which
class a record is (the format). A value that the class does not admit is kept in `unmapped`, and so is what of a JSON record no
column carries; what the class demands and the record does not say is `unknown`, in words.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import json
import math
from collections.abc import Mapping
from typing import Any

from audit_pipeline.ocsf.classes import BASE_ATTRIBUTES, CATEGORIES, CLASSES, PROFILES, SEVERITIES, STATUSES, EventClass
from audit_pipeline.ocsf.columns import COLUMNS, OCSF_VERSION

UNKNOWN = "unknown"
_OWN = ("x_actor", "x_actor_kind", "x_read_only", "x_source")
"""Our columns that go along in `unmapped`."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SHORT = 3
_DEEPEST = 100
_MAX_IP = 40  # the schema's bound for ip_t
_Object = dict[str, Any]

# What OCSF demands of an object, by the attribute that it stands in: one of several (the first is made up), and always.
_ENDPOINT = ("name", "ip", "uid", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name", "domain")
_NAME_OR_UID = ("name", "uid")
_ONE_OF = {
    "user": ("name", "account", "uid"),
    "actor": ("app_name", "process", "user", "invoked_by", "session", "app_uid"),
    "process": ("uid", "pid", "cpid"),
    "parent_process": ("uid", "pid", "cpid"),
    "policy": ("name", "type", "uid"),
    "entity": ("name", "uid", "device", "group", "org", "policy", "user"),
    **dict.fromkeys(("src_endpoint", "dst_endpoint", "device"), _ENDPOINT),
    **dict.fromkeys(
        ("account", "app", "database", "databucket", "group", "idp", "org", "product", "query_info", "resource", "resources", "service", "table", "web_resources"), _NAME_OR_UID
    ),
}  # fmt: skip
_ALWAYS: dict[str, _Object] = {
    "api": {"operation": UNKNOWN},
    "cloud": {"provider": UNKNOWN},
    "device": {"type_id": 0},
    "database": {"type_id": 0},
    "databucket": {"type_id": 0},
    "file": {"name": UNKNOWN, "type_id": 0},
    "finding_info": {"uid": UNKNOWN},
    "job": {"name": UNKNOWN},
    "query_info": {"query_string": UNKNOWN},
    "request": {"uid": UNKNOWN},
}
_LISTS = ("resources", "privileges", "web_resources")
_TEXTS = ("privileges", "log_name")


def nested(row: Mapping[str, Any]) -> _Object:
    """The event of a row of flat columns; absent columns are as good as null ones.

    Raises:
        ValueError: the row has no `time`: it is no event.
    """
    time = row.get("time")
    if not isinstance(time, dt.datetime):
        raise ValueError("a row without a time is no event")
    kind = CLASSES.get(row.get("class_uid") or 0, CLASSES[0])
    profiles = _profiles(row, kind)
    event, unmapped = _placed(row, kind, profiles)
    _base(event, row, kind, (time - _EPOCH) // dt.timedelta(milliseconds=1))
    _require(event, kind)
    for attribute, value in event.items():
        if isinstance(value, dict):
            _complete(attribute, value)
    for attribute in _LISTS:
        if attribute in event:
            event[attribute] = [event[attribute]]
    if profiles:
        event["metadata"]["profiles"] = profiles
    rest = _rest(row, _texts(event) | _texts(unmapped))
    rest |= {f"ocsf.{name}" if name in rest else name: value for name, value in unmapped.items()}
    if rest:
        event["unmapped"] = rest
    return event


def _placed(row: Mapping[str, Any], kind: EventClass, profiles: list[str]) -> tuple[_Object, _Object]:
    """The columns where the class admits them, and those that it does not."""
    event: _Object = {}
    unmapped: _Object = {name: row[name] for name in _OWN if row.get(name) is not None}
    admitted = BASE_ATTRIBUTES.union(kind.attributes, *(PROFILES[profile] for profile in profiles))
    for name, path in _paths():
        value = row.get(name)
        if value is None or value == "":
            continue
        root = "resources" if path[0] == "resource" and "resources" in kind.attributes else path[0]
        _put(event if root in admitted else unmapped, (root, *path[1:]), value)
    return event, unmapped


@functools.cache
def _paths() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Columns and where they stand; the numbers and captions of the class are set by `_base`."""
    made = {"time", "class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "status_id"}
    return tuple((c.name, tuple(c.path.split("."))) for c in COLUMNS if c.path and c.name not in made)


def _texts(value: Any) -> set[str]:
    """The texts of an object of ours, which is never deep."""
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values()))
    if isinstance(value, list):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) else set()


def _rest(row: Mapping[str, Any], told: set[str]) -> _Object:
    """What of a JSON record no column carries, under the record's own keys; nothing for text formats.

    A column carries a text if the export tells it; captions that happen to be the same word do not count.
    """
    raw = row.get("raw_data")
    if not isinstance(raw, str) or not raw.startswith("{"):
        return {}
    try:
        record = json.loads(raw, parse_float=_finite, parse_constant=str)
        carried = {value for name, value in row.items() if name != "raw_data" and isinstance(value, str)} & told
        rest: _Object = _left(record, carried) or {}
    except (ValueError, RecursionError):  # no JSON, or too deep: `raw_data` has it
        return {}
    return rest


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text  # 1e999 is JSON, infinity is not


def _left(value: Any, carried: set[str], depth: int = 0) -> Any:
    """The value without the texts that columns carry, without nulls and without what is empty then; None where nothing is left."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        return {k: left for k, item in value.items() if (left := _left(item, carried, depth + 1)) is not None} or None
    if isinstance(value, list):  # kept as it is: places in a list have a meaning
        for item in value:
            _left(item, carried, depth + 1)
        return value or None
    if isinstance(value, str):  # a short text says too little to be recognised by its value
        return None if not value or (len(value) > _SHORT and value in carried) else value
    return value


def _profiles(row: Mapping[str, Any], kind: EventClass) -> list[str]:
    """Profiles that the row needs: cloud where the provider is known (the profile demands it), host where one is told of."""
    found = ["cloud"] if row.get("cloud_provider") else []
    beyond = PROFILES["host"] - kind.attributes
    if any(row.get(name) not in (None, "") for name, path in _paths() if path[0] in beyond):
        found.append("host")
    return found


def _put(target: _Object, path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        target = target.setdefault(step, {})
    if isinstance(value, dt.datetime):
        value = (value - _EPOCH) // dt.timedelta(milliseconds=1)
    if path[-1] == "ip":
        address = _ip(value)
        if address is None:  # what is no address still names where it came from
            target.setdefault("name", value)
            return
        value = address
    target[path[-1]] = value


def _ip(text: str) -> str | None:
    """The address as given, or shortened where the schema's bound wants it; None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return text if len(text) <= _MAX_IP and "%" not in text else address.compressed.split("%")[0]


def _base(event: _Object, row: Mapping[str, Any], kind: EventClass, time_ms: int) -> None:
    """What every event has: numbers with their captions, time, metadata."""
    activity = row.get("activity_id") or 0
    activity = activity if activity in kind.activities else 99
    severity = row.get("severity_id") or 0
    status = row.get("status_id")
    caption = kind.activities[activity]
    own = row.get("api_operation") or row.get("metadata_event_code")
    event |= {
        "time": time_ms,
        "class_uid": kind.uid,
        "class_name": kind.name,
        "category_uid": kind.category_uid,
        "category_name": CATEGORIES[kind.category_uid],
        "activity_id": activity,
        "activity_name": own if activity == 99 and own else caption,
        "type_uid": kind.uid * 100 + activity,
        "type_name": f"{kind.name}: {caption}",
        "severity_id": severity if severity in SEVERITIES else 99,
        "severity": SEVERITIES.get(severity, "Other"),
    }
    if status is not None:
        event |= {"status_id": status if status in STATUSES else 99, "status": STATUSES.get(status, "Other")}
    metadata = event.setdefault("metadata", {})
    metadata["version"] = OCSF_VERSION
    metadata.setdefault("product", {})


def _require(event: _Object, kind: EventClass) -> None:
    """What the class demands and the record does not say."""
    if "service" in kind.one_of and "service" not in event and (service := event.get("api", {}).get("service")):
        event["service"] = dict(service)
    missing = [name for name in kind.required if name not in event]
    if kind.one_of and not any(name in event for name in kind.one_of):
        missing.append(kind.one_of[0])
    for name in missing:
        event[name] = UNKNOWN if name in _TEXTS else {}


def _complete(attribute: str, value: _Object) -> None:
    """Fill what the schema demands of an object, and of those inside it."""
    for name, default in _ALWAYS.get(attribute, {}).items():
        value.setdefault(name, default)
    one_of = _ONE_OF.get(attribute)
    if one_of and not any(name in value for name in one_of):
        value[one_of[0]] = UNKNOWN
    for name, inner in value.items():
        if isinstance(inner, dict):
            _complete(name, inner)
