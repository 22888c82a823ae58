"""Who may read, change or end an API server's log by the cluster's own rights; used by `kubernetes`.

Belongs here: the rights that reach the node's files, and who is bound to them. Not here: who may log in to the node, which no API tells.
Sources: kubernetes.io, "Using RBAC Authorization", "RBAC Good Practices" (creating workloads, `nodes/proxy`), "Kubelet authorization".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audit_pipeline.sources.base import Grant, Right, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError

RBAC = "/apis/rbac.authorization.k8s.io/v1"
NAMESPACE = "kube-system"
"""Where a control plane that runs as static pods has its API servers."""
_FILES: tuple[Right, ...] = ("read", "write", "delete")
RIGHTS: dict[tuple[str, str], tuple[Right, ...]] = {
    ("nodes/log", "get"): ("read",),
    ("nodes/proxy", "get"): ("read",),
    ("nodes/proxy", "create"): (*_FILES, "stop"),
    ("pods/exec", "create"): _FILES,
    ("pods/exec", "get"): _FILES,
    ("pods", "create"): (*_FILES, "stop", "retention"),
}
"""Resource and verb, and what they come to: the kubelet shows /var/log and runs commands, a shell in the API server's pod has its log
folder, a new pod may mount the node's folders, also that of the server's own manifest with its flags."""


def grants(http: Http) -> list[Grant]:
    """All that the role bindings of the cluster, and of the control plane's namespace, give.

    Raises:
        SourceError: they cannot be read; names the right that is lacking.
    """
    inside = f"{RBAC}/namespaces/{NAMESPACE}"
    roles = {("ClusterRole", _name(role)): role for role in _listed(http, f"{RBAC}/clusterroles")}
    roles |= {("Role", _name(role)): role for role in _listed(http, f"{inside}/roles")}
    found: set[Grant] = set()
    for binding in [*_listed(http, f"{RBAC}/clusterrolebindings"), *_listed(http, f"{inside}/rolebindings")]:
        ref = binding.get("roleRef") or {}
        role = roles.get((ref.get("kind", ""), ref.get("name", "")), {})
        via = f"{ref.get('kind')} {ref.get('name')} by binding {_name(binding)}"
        for right in _rights(role.get("rules") or []):
            found.update(Grant(who, right, via) for who in _subjects(binding))
    return sorted(found, key=lambda grant: (grant.principal, grant.right, grant.via))


def _listed(http: Http, path: str) -> list[dict[str, Any]]:
    try:
        data = http.request("GET", path).data
    except PermissionRefusedError as error:
        raise SourceError(f"{error} Lacking: list on {path.rsplit('/', 1)[1]} of rbac.authorization.k8s.io.") from None
    items = data.get("items")
    if not isinstance(items, list) or (data.get("metadata") or {}).get("continue"):
        raise SourceError(f"GET {path}: the answer is no whole list. Is a proxy in between?")
    return [item for item in items if isinstance(item, dict)]


def _name(found: Mapping[str, Any]) -> str:
    return str((found.get("metadata") or {}).get("name"))


def _rights(rules: list[dict[str, Any]]) -> set[Right]:
    return {
        right
        for rule in rules
        for (resource, verb), rights in RIGHTS.items()
        if _any(rule.get("apiGroups"), "") and _any(rule.get("verbs"), verb) and _resource(rule.get("resources"), resource)
        for right in rights
    }  # fmt: skip


def _any(given: list[str] | None, wanted: str) -> bool:
    return bool({"*", wanted} & set(given or []))


def _resource(given: list[str] | None, wanted: str) -> bool:
    """By name, by `*`, or `*/exec`, which is that subresource of everything."""
    _, slash, part = wanted.partition("/")
    return _any(given, wanted) or (bool(slash) and f"*/{part}" in (given or []))


def _subjects(binding: Mapping[str, Any]) -> Iterator[str]:
    for subject in binding.get("subjects") or []:
        kind, name = str(subject.get("kind")), str(subject.get("name"))
        yield (
            f"serviceaccount:{subject.get('namespace')}/{name}"
            if kind == "ServiceAccount"
            else f"{kind.lower()}:{name}"
        )
