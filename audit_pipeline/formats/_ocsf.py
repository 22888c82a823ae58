"""The event columns of an OCSF event, as SQL over `r`; used by `ocsf`.

Belongs here: from OCSF's places to columns. Not here: framing, keys, times. Sources: schema.ocsf.io (the columns are named by their place
there), and `ocsf.nested`, which is undone: what our own export put into `unmapped` returns to its column, and the word `unknown`, which
stands where a class demands what no record said, is no value.
"""

from __future__ import annotations

import json
from typing import Any

from audit_pipeline.formats.base import json_record
from audit_pipeline.ocsf.columns import BY_NAME, COLUMNS

_T = "VARCHAR"
_OWN = ("x_actor", "x_actor_kind", "x_read_only")
_MADE = {"time", "class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "raw_data"}
_UNSAID = frozenset(
    ["actor_user_name", "user_name", "group_name", "api_operation", "cloud_provider", "finding_info_uid", "resource_name", "metadata_product_name"]
)  # fmt: skip
"""Columns at whose place the export writes `unknown` where the class demands something."""
_INTEGERS = {"int32": "INTEGER", "int64": "BIGINT"}


def _places() -> dict[str, dict[str, object] | str]:
    """The tree of places that columns are named after, by root."""
    tree: dict[str, Any] = {}
    for column in COLUMNS:
        if column.path and column.name not in _MADE:
            *parents, leaf = column.path.split(".")
            node = tree
            for step in parents:
                node = node.setdefault(step, {})
            node[leaf] = _T
    tree["actor"]["user"] |= {"email_addr": _T, "type_id": _T}
    for endpoint in ("src_endpoint", "dst_endpoint", "device"):
        tree[endpoint]["name"] = _T
    return tree


def _structure() -> dict[str, object]:
    places = _places()
    lost = places | {f"ocsf.{root}": below for root, below in places.items()} | dict.fromkeys(_OWN, _T)
    beside = {"resources": [places["resource"]], "service": {"name": _T}, "unmapped": lost}
    return {**places, **dict.fromkeys(sorted(_MADE - {"time", "raw_data"}), _T), **beside}


RECORD = json_record(json.dumps(_structure()))
_KIND = "nullif(r.unmapped.x_actor_kind, '')"
_OURS = f"{_KIND} IS NOT NULL"
"""Whether our own export wrote the event."""


def _at(path: str, under: str = "r") -> str:
    return f"nullif({under}." + ".".join(f'"{step}"' for step in path.split(".")) + ", '')"


def _text(name: str) -> str:
    """A column's text: from its place, or from the same place in `unmapped`, where it goes when the class has no such place."""
    path = BY_NAME[name].path
    root, dot, rest = path.partition(".")
    below = dot + ".".join(f'"{step}"' for step in rest.split(".") if step)
    lost = "coalesce({}, {})".format(*(f"nullif(r.unmapped.\"{key}\"{below}, '')" for key in (f"ocsf.{root}", root)))
    listed = f"{_at(rest, 'r.resources[1]')}, " if root == "resource" else ""
    found = f'coalesce({_at(path)}, {listed}CASE WHEN r."{root}" IS NULL THEN {lost} END)'
    return f"nullif({found}, 'unknown')" if name in _UNSAID else found


def _number(path: str) -> str:
    return f"TRY_CAST({_at(path)} AS BIGINT)"


def _small(path: str) -> str:
    return f"TRY_CAST({_at(path)} AS INTEGER)"


def columns() -> dict[str, str]:
    """Event column to SQL expression; an unknown class stays what it is."""
    kind = f"coalesce({_number('type_uid')}, TRY_CAST({_number('class_uid')} * 100 + coalesce({_number('activity_id')}, 0) AS BIGINT), 0)"
    class_ = f"coalesce({_small('class_uid')}, TRY_CAST({_number('type_uid')} // 100 AS INTEGER), 0)"
    found = {column.name: _typed(column.name) for column in COLUMNS if column.path and column.name not in _MADE}
    actor = f"coalesce({_text('actor_user_name')}, nullif({_at('actor.user.email_addr')}, ''))"
    # `user` tried to sign in in Authentication, and was acted on elsewhere
    user = f"coalesce(CASE WHEN {class_} = 3002 THEN {_text('user_name')} END, {actor})"
    said = f"CASE {_small('activity_id')} WHEN 2 THEN true WHEN 1 THEN false WHEN 3 THEN false WHEN 4 THEN false END"
    return found | {
        "class_uid": class_,
        "category_uid": f"coalesce({_small('category_uid')}, {class_} // 1000)",
        "activity_id": f"coalesce({_small('activity_id')}, TRY_CAST({_number('type_uid')} % 100 AS INTEGER), 0)",
        "type_uid": kind,
        "severity_id": f"coalesce({_small('severity_id')}, 0)",
        "actor_user_name": actor,
        "src_endpoint_hostname": _host("src_endpoint"),
        "dst_endpoint_hostname": _host("dst_endpoint"),
        "device_hostname": _host("device"),
        "api_service_name": f"coalesce({_text('api_service_name')}, nullif({_at('service.name')}, 'unknown'))",
        "x_actor": f"CASE WHEN {_OURS} THEN {_at('unmapped.x_actor')} ELSE {user} END",
        "x_actor_kind": f"coalesce({_KIND}, CASE WHEN {_small('actor.user.type_id')} IN (3, 4) THEN 'service' WHEN {user} IS NOT NULL THEN 'unknown' END)",
        "x_read_only": f"CASE WHEN {_OURS} THEN TRY_CAST({_at('unmapped.x_read_only')} AS BOOLEAN) WHEN {class_} = 6003 THEN {said} END",
    }


def _typed(name: str) -> str:
    kind = str(BY_NAME[name].kind)
    if kind in _INTEGERS:
        return f"TRY_CAST({_text(name)} AS {_INTEGERS[kind]})"
    return f"TRY_CAST({_text(name)} AS BOOLEAN)" if kind == "bool" else _text(name)


def _host(root: str) -> str:
    """The host's name, else what the endpoint is called."""
    return f"coalesce({_text(f'{root}_hostname')}, nullif({_at(f'{root}.name')}, 'unknown'))"
