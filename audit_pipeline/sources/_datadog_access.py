"""Who may read, change, delete or stop a Datadog organisation's logs: permissions of roles, and who has the roles.

Belongs here: Datadog's permissions in our words. Not here: asking for pages (`_datadog`). Sources: docs.datadoghq.com/api/latest/roles,
/users, docs.datadoghq.com/logs/guide/logs-rbac-permissions and /account_management/rbac/permissions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from audit_pipeline.sources._datadog import Api, Kind
from audit_pipeline.sources.base import Grant, Right, SourceError
from audit_pipeline.sources.http import PermissionRefusedError

RIGHT = "user_access_read"
"""What it takes to list roles, permissions and users."""
GIVES: dict[Kind, dict[str, tuple[Right, ...]]] = {
    "audit": {"audit_logs_read": ("read",), "audit_logs_write": ("stop", "retention")},
    "logs": {
        "logs_read_data": ("read",), "logs_live_tail": ("read",), "logs_delete_data": ("delete",),
        "logs_write_exclusion_filters": ("stop",), "logs_modify_indexes": ("stop", "retention"), "logs_write_archives": ("retention",),
        "logs_write_pipelines": ("write",), "logs_write_processors": ("write",),
    },
}  # fmt: skip
"""An exclusion filter keeps logs out of an index; an index has its filter and its retention; pipelines and processors change what a
log says, its time too. Audit Trail's settings end it and say how long it keeps events."""


def grants(api: Api, kinds: list[Kind]) -> list[Grant]:
    """What roles and their members may do to what is read, sorted.

    Raises:
        SourceError: they cannot be read; names the right that is lacking.
    """
    try:
        names = {one["id"]: one["attributes"]["name"] for one in api.get("/api/v2/permissions").get("data") or []}
        roles = {one["id"]: one for one in api.listing("/api/v2/roles")}
        users = list(api.listing("/api/v2/users"))
        return sorted(set(_all(names, roles, users, kinds)), key=lambda one: (one.principal, one.right, one.via))
    except PermissionRefusedError as error:
        raise SourceError(f"roles and users cannot be listed: the application key lacks {RIGHT} ({error})") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"roles and users cannot be understood ({type(error).__name__}: {error})") from None


def _all(
    names: dict[str, str], roles: dict[str, Any], users: list[dict[str, Any]], kinds: list[Kind]
) -> Iterator[Grant]:
    held: dict[str, list[Grant]] = {}
    for uid, role in roles.items():
        principal = f"role:{role['attributes']['name']}"
        permissions = {names.get(ref["id"], "") for ref in _related(role, "permissions")}
        held[uid] = [
            Grant(principal, right, permission)
            for kind in kinds for permission, rights in GIVES[kind].items() if permission in permissions for right in rights
        ]  # fmt: skip
        yield from held[uid]
    for user in users:
        who = user["attributes"]
        if who.get("disabled"):
            continue
        kind = "service_account" if who.get("service_account") else "user"
        for ref in _related(user, "roles"):
            for grant in held.get(ref["id"], []):
                name = who.get("email") or who.get("handle") or user["id"]
                yield Grant(f"{kind}:{name}", grant.right, f"{grant.principal}, {grant.via}")


def _related(thing: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return ((thing.get("relationships") or {}).get(what) or {}).get("data") or []
