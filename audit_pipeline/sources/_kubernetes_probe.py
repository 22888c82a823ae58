"""What `check` tries at an API server: its files, counters, identity, rights by name, clock, and what its policy leaves out; used by `kubernetes`.

Belongs here: one probe a question. Not here: collecting (`kubernetes`). Sources: kubernetes.io, "SelfSubjectAccessReview",
"SelfSubjectReview", and "Auditing": the first rule that matches decides, and what no rule matches is not logged.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from audit_pipeline.clock import rfc3339
from audit_pipeline.sources._clocks import clock
from audit_pipeline.sources._kubernetes_access import NAMESPACE
from audit_pipeline.sources._kubernetes_log import RotatedLog
from audit_pipeline.sources._kubernetes_metrics import reader
from audit_pipeline.sources.base import Opening, Probe, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError

_GROUP = "rbac.authorization.k8s.io"
ROLES = f"""\
kind: ClusterRole, rules: [{{nonResourceURLs: [/metrics], verbs: [get]}}, {{apiGroups: [{_GROUP}], resources: [clusterroles, clusterrolebindings], verbs: [list]}}]; \
kind: Role in {NAMESPACE}, rules: [{{apiGroups: [{_GROUP}], resources: [roles, rolebindings], verbs: [list]}}]"""
"""The least that an administrator has to grant; the second and third part are for the review of access only."""
_NEEDED: dict[str, dict[str, Any]] = {"get /metrics": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}} | {
    f"list {name}": {"resourceAttributes": {"group": _GROUP, "resource": name, "verb": "list"} | where}
    for name, where in (
        ("clusterroles", {}), ("clusterrolebindings", {}), ("roles", {"namespace": NAMESPACE}), ("rolebindings", {"namespace": NAMESPACE}),
    )
}  # fmt: skip
_NARROWS = ("users", "userGroups", "verbs", "namespaces")


def probes(opening: Opening, log: RotatedLog) -> list[Probe]:
    """All questions; a later one is asked also when an earlier one fails, unless the server cannot be reached."""
    found = [*log.probe(), *_horizon(log)]
    if opening.source.http is None:
        found.append(Probe("counters", True, "not asked: without http events that the server dropped go unseen"))
    else:
        try:
            with opening.http() as http:
                found += _server(http, opening.clock.now(), bool(log.firsts))
        except SourceError as error:
            found.append(Probe("reach", False, str(error)))
    policy = opening.options.policy
    return found if policy is None else [*found, _policy(opening.resolve(policy))]


def _horizon(log: RotatedLog) -> list[Probe]:
    if not log.firsts:
        return []
    written = max((file.modified for file in log.files if file.modified), default=None)
    folders = {file.path.rsplit("/", 1)[0] for file in log.files}
    if len(folders) > 1:
        said = f"files of several folders match ({', '.join(sorted(folders)[:3])}): one source for each API server, whose counters and copies belong together"
        return [Probe("one server", False, said)]
    newest = f", the log was written last at {rfc3339(written)}" if written else ""
    said = f"the oldest event in the files is of {rfc3339(log.firsts[0])}{newest}: once copies are deleted, what is older cannot be had. Collect in half that time at the latest"
    return [Probe("horizon", True, said)]


def _server(http: Http, now: dt.datetime, logs: bool) -> Iterator[Probe]:
    answer = http.request("GET", "/version", tries=1)
    plain = "; credentials go unencrypted: use https" if http.unencrypted else ""
    yield Probe("reach", not plain, f"{http.url} answers, version {answer.data.get('gitVersion')}{plain}")
    yield _identity(http)
    yield _rights(http)
    if answer.date is not None:
        yield clock(answer.date, now, "the server's")
    yield _counters(http, now, logs)


def _identity(http: Http) -> Probe:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        data = http.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body, tries=1).data
    except PermissionRefusedError as error:
        return Probe("identity", False, str(error))
    except SourceError:
        return Probe("identity", True, "the server does not tell (older than 1.28)")
    user = ((data.get("status") or {}).get("userInfo") or {}).get("username")
    return Probe("identity", bool(user), str(user))


def _rights(http: Http) -> Probe:
    lacking = []
    for name, attributes in _NEEDED.items():
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": attributes}
        try:
            data = http.request(
                "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body, tries=1
            ).data
        except SourceError as error:
            return Probe("rights", False, f"{error} Ask for {ROLES}")
        if (data.get("status") or {}).get("allowed") is not True:
            lacking.append(name)
    if lacking:
        return Probe("rights", False, f"lacking: {', '.join(lacking)}. Ask for {ROLES}")
    return Probe("rights", True, ", ".join(_NEEDED))


def _counters(http: Http, now: dt.datetime, logs: bool) -> Probe:
    try:
        found = http.request("GET", "/metrics", read=reader(now), tries=1).data
    except SourceError as error:
        return Probe("counters", False, f"{error} Ask for {ROLES}")
    said = f"{found.events} events since {rfc3339(found.started)}, {found.dropped} dropped"
    if logs and not found.events:
        return Probe("counters", False, f"{said}: is http.url the API server that writes this log?")
    return Probe("counters", not found.dropped, said)


def _policy(path: str) -> Probe:
    try:
        policy = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        gaps = left_out(policy)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
        return Probe("policy", False, f"options.policy {path}: cannot be read as an audit policy ({type(error).__name__})")  # fmt: skip
    said = "; ".join(words for words, _ in gaps) or "no rule leaves out everything or secrets"
    return Probe("policy", all(narrowed for _, narrowed in gaps), said)


def left_out(policy: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """What an audit policy does not log of what an auditor asks for first, and whether that is narrowed to some users, verbs or namespaces.

    Rules of level None for everything or for secrets, and no rule for the rest.
    """
    found: list[tuple[str, bool]] = []
    rest = True
    for number, rule in enumerate(policy["rules"] or [], 1):
        resources = rule.get("resources") or []
        everything = not resources and not rule.get("nonResourceURLs")
        narrowed = ", ".join(f"{key} {rule[key]}" for key in _NARROWS if rule.get(key))
        if rule["level"] == "None" and (everything or any(_secrets(one) for one in resources)):
            what = "everything" if everything else "secrets"
            found.append(
                (f"rule {number} does not log {what}" + (f" where {narrowed}" if narrowed else ""), bool(narrowed))
            )
        if everything and not narrowed:
            rest = False
            break
    if rest:
        found.append(("no rule is for all the rest, so what no rule names is not logged", False))
    return found


def _secrets(resource: Mapping[str, Any]) -> bool:
    names = resource.get("resources") or ["*"]
    return not resource.get("group") and not resource.get("resourceNames") and bool({"*", "secrets"} & set(names))
