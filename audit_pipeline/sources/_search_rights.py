"""Who may do what to the documents of a search store, and how long it keeps them, as its security and life-cycle APIs tell.

Belongs here: reading roles, users and life cycles. Not here: the reader's own rights (`_search_probe`), what is approved (`access`).

Sources: Elastic, "Security privileges", "Get roles", "Get users", "Get role mappings", "Get data stream", "Get lifecycle policy";
OpenSearch, "Security: access control API" and "Index State Management API". Elasticsearch needs the cluster privileges `read_security`
and `read_ilm`, OpenSearch the right to its security API; a store that refuses says so, and nothing else suffers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from audit_pipeline.sources._search import Dialect
from audit_pipeline.sources.base import Grant, Right, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError, RefusedError

_OF: Mapping[str, tuple[Right, ...]] = {
    "all": ("read", "write", "delete", "retention"), "manage": ("delete", "retention"), "manage_ilm": ("retention",), "manage_data_stream_lifecycle": ("retention",),
    "read": ("read",), "write": ("write", "delete"), "index": ("write",), "create": ("write",), "create_doc": ("write",), "delete": ("delete",), "delete_index": ("delete",),
    "*": ("read", "write", "delete", "retention"), "indices_all": ("read", "write", "delete", "retention"), "crud": ("read", "write", "delete"), "search": ("read",), "get": ("read",),
    "indices:admin/delete": ("delete",), "indices:data/write/*": ("write", "delete"), "indices:data/read/*": ("read",), "indices:*": ("read", "write", "delete", "retention"),
    "indices:admin/*": ("delete", "retention"), "indices:data/write/delete": ("delete",), "manage_aliases": (),
}  # fmt: skip
"""Index privileges of Elasticsearch, and OpenSearch's action groups and permissions, by what they allow."""
_CLUSTER: Mapping[str, tuple[Right, ...]] = {
    "all": ("stop", "retention"), "manage": ("stop", "retention"), "manage_ilm": ("retention",), "manage_pipeline": ("stop",), "manage_ingest_pipelines": ("stop",),
    "manage_index_templates": ("stop",), "*": ("stop", "retention"), "cluster_all": ("stop", "retention"), "cluster:admin/opendistro/ism/*": ("retention",),
}  # fmt: skip
"""Cluster privileges: an ingest pipeline or template that drops documents ends logging."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def overlap(one: str, other: str) -> bool:
    """Whether two patterns of names, with `*` for any text, can mean the same name."""
    return fnmatchcase(one, other) or fnmatchcase(other, one) or _prefixes(one, other)


def _prefixes(one: str, other: str) -> bool:
    left, right = one.split("*")[0], other.split("*")[0]
    return "*" in one and "*" in other and (left.startswith(right) or right.startswith(left))


def grants(http: Http, dialect: Dialect, index: str) -> list[Grant]:
    """Roles that reach the index, and the users that have them, sorted.

    Raises:
        SourceError: the store does not show its roles to us; names the right to ask for.
    """
    roles, users, mapped = _opensearch(http) if dialect.many else _elasticsearch(http)
    held = {name: _rights(dialect, role, index.split(",")) for name, role in roles.items()}
    found: set[Grant] = set()
    for name, rights in held.items():
        found |= {Grant(f"role:{name}", right, said) for right, said in rights}
    for user, of in users:
        found |= {Grant(f"user:{user}", right, f"role {name}: {said}") for name in of for right, said in held.get(name, ())}  # fmt: skip
    for who, of in mapped:
        found |= {Grant(f"mapping:{who}", right, f"role {name}: {said}") for name in of for right, said in held.get(name, ())}  # fmt: skip
    return sorted(found, key=lambda one: (one.principal, one.right, one.via))


_Found = tuple[dict[str, dict[str, Any]], list[tuple[str, list[str]]], list[tuple[str, list[str]]]]


def _elasticsearch(http: Http) -> _Found:
    asked = "Ask for the cluster privilege read_security."
    roles = _asked(http, "/_security/role", asked)
    users = _asked(http, "/_security/user", asked)
    mappings = _asked(http, "/_security/role_mapping", asked)
    return (
        roles,
        [(name, list(one.get("roles") or ())) for name, one in users.items() if one.get("enabled", True)],
        [(name, list(one.get("roles") or ())) for name, one in mappings.items() if one.get("enabled", True)],
    )


def _opensearch(http: Http) -> _Found:
    asked = "Ask for the right to read the security API (restapi:admin/roles, restapi:admin/rolesmapping)."
    roles = _asked(http, "/_plugins/_security/api/roles", asked)
    mapping = _asked(http, "/_plugins/_security/api/rolesmapping", asked)
    users = [(user, [role]) for role, one in mapping.items() for user in one.get("users") or ()]
    backend = [(name, [role]) for role, one in mapping.items() for name in one.get("backend_roles") or ()]
    return roles, users, backend


def _asked(http: Http, path: str, wanted: str) -> dict[str, dict[str, Any]]:
    try:
        found = http.request("GET", path, tries=1).data
    except (PermissionRefusedError, RefusedError):
        raise SourceError(f"GET {path}: the store does not show who may do what. {wanted}") from None
    return {name: one for name, one in found.items() if isinstance(one, dict)}


def _rights(dialect: Dialect, role: Mapping[str, Any], names: list[str]) -> set[tuple[Right, str]]:
    parts, patterns, allowed, cluster = (
        ("index_permissions", "index_patterns", "allowed_actions", "cluster_permissions") if dialect.many else ("indices", "names", "privileges", "cluster")
    )  # fmt: skip
    found: set[tuple[Right, str]] = set()
    for part in role.get(parts) or ():
        reach = [pattern for pattern in part.get(patterns) or () if any(overlap(str(pattern), name) for name in names)]
        if reach:
            found |= {(right, f"{one} on {reach[0]}") for one in part.get(allowed) or () for right in _OF.get(str(one), ())}  # fmt: skip
    found |= {(right, f"cluster {one}") for one in role.get(cluster) or () for right in _CLUSTER.get(str(one), ())}
    return found


def horizon_s(http: Http, dialect: Dialect, index: str) -> float | None:
    """Seconds after which the store deletes documents of the index, the shortest that it tells; null where it tells none, or not us."""
    try:
        found = _ism(http, index) if dialect.many else _lifecycles(http, index)
        told = [seconds for age in found if (seconds := seconds_of(age)) is not None]
    except SourceError:
        return None
    return min(told, default=None)


def _lifecycles(http: Http, index: str) -> Iterable[str]:
    """`data_retention` of data streams, and the `min_age` of the delete phase of their policies and of those of indices."""
    path = quote(index, safe=",*")
    streams = http.request("GET", f"/_data_stream/{path}", tries=1).data.get("data_streams") or []
    ages = [str(one["lifecycle"].get("effective_retention") or one["lifecycle"].get("data_retention") or "") for one in streams if one.get("lifecycle")]  # fmt: skip
    settings = http.request("GET", f"/{path}/_settings/index.lifecycle.name", tries=1).data
    names = {one["ilm_policy"] for one in streams if one.get("ilm_policy")}
    names |= {one["settings"]["index"]["lifecycle"]["name"] for one in settings.values() if one.get("settings")}
    for name in sorted(names):
        policy = http.request("GET", f"/_ilm/policy/{quote(name, safe='')}", tries=1).data
        phases = [one.get("policy", {}).get("phases", {}) for one in policy.values()]
        ages += [str(one["delete"].get("min_age", "")) for one in phases if "delete" in one]
    return ages


def _ism(http: Http, index: str) -> Iterable[str]:
    """`min_index_age` of transitions into a state that deletes."""
    told = http.request("GET", f"/_plugins/_ism/explain/{quote(index, safe=',*')}", tries=1).data
    names = {one["policy_id"] for one in told.values() if isinstance(one, dict) and one.get("policy_id")}
    ages: list[str] = []
    for name in sorted(names):
        policy = http.request("GET", f"/_plugins/_ism/policies/{quote(name, safe='')}", tries=1).data.get("policy") or {}  # fmt: skip
        states = policy.get("states") or []
        deletes = {one["name"] for one in states if any("delete" in action for action in one.get("actions") or ())}
        steps = [step for one in states for step in one.get("transitions") or () if step.get("state_name") in deletes]
        ages += [str((step.get("conditions") or {}).get("min_index_age", "")) for step in steps]
    return ages


def seconds_of(age: str) -> float | None:
    """`30d` in seconds; null where it is no age."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d)", age)
    return int(match[1]) * _UNITS[match[2]] if match else None
