"""Who may do what to an index of Splunk, and how long it keeps events, as its REST API tells.

Belongs here: reading roles, users and the index's settings. Not here: the reader's own rights (`_splunk_probe`), what is approved
(`access`). Sources: authorize.conf.spec (capabilities), REST API Reference "authorization/roles", "authentication/users",
"data/indexes", "authentication/current-context". A role's own rights and those of roles that it imports stand side by side in an entry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from audit_pipeline.sources.base import Grant, Right, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError

_RIGHTS: Mapping[str, tuple[Right, ...]] = {
    "delete_by_keyword": ("delete",),
    "indexes_edit": ("retention", "stop"), "edit_index": ("retention", "stop"),
    "edit_monitor": ("stop", "write"), "edit_tcp": ("stop", "write"), "edit_splunktcp": ("stop", "write"), "edit_udp": ("stop", "write"),
    "edit_token_http": ("stop", "write"), "edit_scripted": ("stop", "write"), "edit_inputs": ("stop", "write"), "change_audit": ("stop",),
    "edit_forwarders": ("stop",), "edit_ingest_rulesets": ("stop",), "run_collect": ("write",), "input_file": ("write",), "edit_upload_and_index": ("write",),
}  # fmt: skip
"""Capabilities by what they allow; deleting needs the index to be searchable too."""
_NEEDS = {"/services/authorization/roles": "list_all_roles", "/services/authentication/users": "list_all_users"}


def entries(http: Http, path: str) -> list[dict[str, Any]]:
    """The entries of a list, each with `name` and `content`.

    Raises:
        SourceError: there is no good answer; `PermissionRefusedError`: a capability is lacking.
    """
    found = http.request("GET", path, params={"output_mode": "json", "count": "0"}).data.get("entry")
    if not isinstance(found, list) or not all(isinstance(one, dict) and isinstance(one.get("content"), dict) for one in found):  # fmt: skip
        raise SourceError(f"GET {path}: the answer holds no list of entries. Is a proxy in between?")
    return found


def texts(value: Any) -> list[str]:
    """A list as Splunk writes it: a list, a single word, or nothing."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one]


def searchable(patterns: Iterable[str], index: str) -> bool:
    """Whether a role that may search these patterns may search the index: `*` leaves out those that begin with `_`."""
    return any(fnmatchcase(index, one) and (not index.startswith("_") or one.startswith("_")) for one in patterns)


def grants(http: Http, index: str) -> list[Grant]:
    """Roles that reach the index, and the users that have them, sorted.

    Raises:
        SourceError: Splunk does not show them; names the capability to ask for.
    """
    held = {str(role.get("name")): _of_role(role["content"], index.split(",")) for role in _listed(http, "/services/authorization/roles")}  # fmt: skip
    found = {Grant(f"role:{name}", right, said) for name, rights in held.items() for right, said in rights}
    for user in _listed(http, "/services/authentication/users"):
        for name in texts(user["content"].get("roles")):
            found |= {Grant(f"user:{user.get('name')}", right, f"role {name}: {said}") for right, said in held.get(name, ())}  # fmt: skip
    return sorted(found, key=lambda grant: (grant.principal, grant.right, grant.via))


def _listed(http: Http, path: str) -> list[dict[str, Any]]:
    try:
        return entries(http, path)
    except PermissionRefusedError as error:
        raise SourceError(f"{error} The role needs the capability {_NEEDS[path]} (and rest_properties_get).") from None


def _of_role(role: Mapping[str, Any], indexes: list[str]) -> set[tuple[Right, str]]:
    """What a role may do to any of the indexes, and by what."""
    patterns = texts(role.get("srchIndexesAllowed")) + texts(role.get("imported_srchIndexesAllowed"))
    capabilities = {*texts(role.get("capabilities")), *texts(role.get("imported_capabilities"))}
    reach = sorted({index for index in indexes if searchable(patterns, index)})
    found: set[tuple[Right, str]] = set()
    if reach and "search" in capabilities:
        limit = f", only {role['srchFilter']}" if role.get("srchFilter") else ""
        found.add(("read", f"srchIndexesAllowed: {', '.join(reach)}{limit}"))
    for capability in capabilities & _RIGHTS.keys():
        if capability != "delete_by_keyword" or reach:
            found |= {(right, capability) for right in _RIGHTS[capability]}
    return found


def restrictions(http: Http) -> list[str]:
    """What hides events from the reader itself, where Splunk tells: its roles' search filters and limits of time. Counts are blind to it too."""
    found = []
    with contextlib.suppress(SourceError):
        for context in entries(http, "/services/authentication/current-context"):
            for name in texts(context["content"].get("roles")):
                for role in entries(http, f"/services/authorization/roles/{quote(name, safe='')}"):
                    found += [f"the reader's role {name} has {key} = {value}: other events are hidden from it, and from its counts" for key, value in _limits(role["content"])]  # fmt: skip
    return found


def _limits(role: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings of a role that limit what a search finds; -1 and 0 are no limit."""
    found = []
    for key in ("srchFilter", "imported_srchFilter", "srchTimeWin", "imported_srchTimeWin", "srchTimeEarliest", "imported_srchTimeEarliest"):  # fmt: skip
        value = str(role.get(key) if role.get(key) is not None else "").strip()
        if value not in ("", "*", "-1", "0"):
            found.append((key, value))
    return found


def horizon_s(http: Http, index: str) -> float | None:
    """Seconds after which the first of the indexes freezes events, where the search head tells; null where it does not."""
    found = []
    for name in index.split(","):
        if "*" in name:
            continue
        with contextlib.suppress(SourceError):  # on a search head of a cluster there may be none of that name
            path = f"/services/data/indexes/{quote(name, safe='')}"
            data = http.request("GET", path, params={"output_mode": "json"}, tries=1).data
            found += [float(text) for one in data.get("entry") or [] if (text := str((one.get("content") or {}).get("frozenTimePeriodInSecs"))).isdecimal()]  # fmt: skip
    return min(found, default=None)
