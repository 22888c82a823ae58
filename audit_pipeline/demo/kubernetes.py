"""The audit log of the company's cluster as the API server writes it: events of audit.k8s.io/v1, one a line, a file an hour.

Belongs here: requests, stages and rotation of `kubernetes_audit`. Not here: who the company is (`company`), or which days are special
(`plot`). Source: kubernetes.io, "Auditing": the policy keeps `Metadata`, leaves out `RequestReceived` of reads, and a `watch` has
`ResponseStarted` when it begins and `ResponseComplete` when it ends. Rotated files are named as the API server names them.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.demo import cloudtrail, rhythm
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.files import Files, moment
from audit_pipeline.demo.generate import DayTruth, Story
from audit_pipeline.demo.planted import Kubectl
from audit_pipeline.demo.plot import SERVICES, Plot

NAME = "kubernetes"
WEEKEND_SHARE = 0.75
PROBE = "system:anonymous"
NODES = tuple(f"ip-10-20-1-{n}.eu-central-1.compute.internal" for n in (11, 24, 37, 52, 68, 81))
_ROTATIONS_S = tuple(hour * 3600 + 35 * 60 for hour in range(24))
_LONGEST_WATCH_S = 480
_PEOPLE_SHARE = 0.06
_ROLES = ("sre", "engineer")
_REFUSED = 0.03
_PLANTED = 0.0
"""Weight of an act that a case adds: never drawn, never refused by chance"""


@dataclass(frozen=True)
class Act:
    """One kind of request: who does it, and what."""

    weight: float
    users: tuple[str, ...]
    """user names, `{node}` for each node's"""
    agent: str
    verb: str
    group: str
    resource: str
    """with its subresource; for `/` a path outside the API's resources"""
    namespace: str | None = None
    code: int = 200
    ms: float = 4.0


_V = "v1.31.2 (linux/amd64) kubernetes/5864a46"
_SA = "system:serviceaccount:"
_ACTS = (
    Act(14, ("{node}",), f"kubelet/{_V}", "update", "coordination.k8s.io", "leases", "kube-node-lease"),
    Act(7, ("{node}",), f"kubelet/{_V}", "patch", "", "nodes/status", ms=9),
    Act(5, ("{node}",), f"kubelet/{_V}", "get", "", "nodes"),
    Act(3, ("{node}",), f"kubelet/{_V}", "watch", "", "secrets", "shop", ms=300_000),
    Act(7, ("system:kube-scheduler",), f"kube-scheduler/{_V}/leader-election", "update", "coordination.k8s.io", "leases", "kube-system"),
    Act(7, ("system:kube-controller-manager",), f"kube-controller-manager/{_V}/leader-election", "get", "coordination.k8s.io", "leases", "kube-system"),
    Act(4, ("system:kube-controller-manager",), f"kube-controller-manager/{_V}/system:serviceaccount:kube-system:generic-garbage-collector", "list", "apps", "replicasets", ms=12),
    Act(6, (f"{_SA}monitoring:prometheus",), "Prometheus/2.54.1", "get", "", "nodes/proxy", ms=30),
    Act(3, (f"{_SA}monitoring:prometheus",), "Prometheus/2.54.1", "list", "", "endpoints", "shop", ms=15),
    Act(3, (f"{_SA}kube-system:coredns",), "coredns/v0.0.0 (linux/amd64)", "watch", "discovery.k8s.io", "endpointslices", ms=240_000),
    Act(5, (f"{_SA}argocd:argocd-application-controller",), "argocd-application-controller/v2.12.4", "get", "apps", "deployments", "shop", ms=7),
    Act(1.5, (f"{_SA}argocd:argocd-application-controller",), "argocd-application-controller/v2.12.4", "patch", "apps", "deployments", "shop", ms=18),
    Act(4, (f"{_SA}shop:checkout", f"{_SA}shop:payments", f"{_SA}shop:search"), "Go-http-client/2.0", "get", "", "configmaps", "shop"),
    Act(1.5, (f"{_SA}shop:payments",), "Go-http-client/2.0", "get", "", "secrets", "shop", ms=5),
    Act(0.6, (f"{_SA}shop:search",), "Go-http-client/2.0", "list", "", "secrets", "shop", code=403),
    Act(18, (PROBE,), "kube-probe/1.31", "get", "/", "readyz"),
    Act(12, (PROBE,), "kube-probe/1.31", "get", "/", "livez"),
)  # fmt: skip
_KUBECTL = f"kubectl/{_V}"
_BY_HAND = (
    Act(30, (), _KUBECTL, "list", "", "pods", "shop", ms=20),
    Act(18, (), _KUBECTL, "get", "", "pods", "shop", ms=6),
    Act(16, (), _KUBECTL, "get", "", "pods/log", "shop", ms=600),
    Act(8, (), _KUBECTL, "list", "", "events", "shop", ms=25),
    Act(7, (), _KUBECTL, "get", "apps", "deployments", "shop", ms=7),
    Act(3, (), _KUBECTL, "patch", "apps", "deployments/scale", "shop", ms=15),
    Act(3, (), _KUBECTL, "create", "", "pods/exec", "shop", code=101, ms=90_000),
    Act(2, (), _KUBECTL, "get", "", "secrets", "shop", ms=5),
    Act(1, (), _KUBECTL, "create", "rbac.authorization.k8s.io", "rolebindings", "shop", code=201, ms=14),
    Act(1, (), _KUBECTL, "delete", "", "pods", "shop", ms=30),
)  # fmt: skip
_EXEC = _BY_HAND[6]


@dataclass(frozen=True)
class _Form:
    """An act by one user, rendered but for ids, stages and times."""

    act: Act
    body: str
    refused: str
    tail: str


class Kubernetes:
    """Writes a file at each rotation; stages after the day's last one wait for the next day's first."""

    name = NAME
    weekend = WEEKEND_SHARE

    def __init__(self, folder: Path, company: Company, plot: Plot, seed: int) -> None:
        self._files, self._plot, self._seed = Files(folder), plot, seed
        self._people = people_of(company)
        rng = random.Random(f"kubernetes {seed}")  # noqa: S311 - a demo, not a secret
        self._routine = [(act.weight / len(_users(act)), _form(act, user, rng)) for act in _ACTS for user in _users(act)]  # fmt: skip
        self._by_hand: dict[str, list[_Form]] = {}
        self._rng = rng
        self._missed = 0
        self._waiting: list[tuple[float, str]] = []
        self.stories: list[Story] = []

    @property
    def files(self) -> int:
        """Files written so far."""
        return self._files.count

    def day(self, number: int, day: dt.date, n: int) -> DayTruth:
        """Write what is rotated on one UTC day of about `n` requests; each has one or two stages."""
        rng = np.random.default_rng([self._seed, 7_000_000 + number])
        people = int(n * _PEOPLE_SHARE) if self._plot.calendar.is_working(day) else int(n * _PEOPLE_SHARE / 8)
        requests = (
            self._machines(n - people, rng) + self._kubectl(day, people, rng) + self._special(day) + self._planted(day)
        )
        lines: list[tuple[float, str]] = []
        ids = cloudtrail.uuids(rng, len(requests))
        luck = rng.random(len(requests)).tolist()
        factors = rng.lognormal(0, 0.5, len(requests)).tolist()
        for (at, form), chance, factor in zip(requests, luck, factors, strict=True):
            took = min(form.act.ms * factor / 1000, _LONGEST_WATCH_S)
            lines += _stages(
                day,
                at,
                took,
                form,
                next(ids),
                refused=chance < _REFUSED and form.act.agent == _KUBECTL and form.act.weight != _PLANTED,
            )
        self._rotate(day, lines)
        if day in self._plot.vanished:
            self._tell_vanished(day, len(requests))
        return DayTruth(day.isoformat(), len(lines), len(requests), 0, len(requests) if day in self._plot.vanished else 0)  # fmt: skip

    def close(self) -> None:
        """Write what waits for the rotation after the last day."""
        day = self._plot.last + DAY
        self._write(day, _ROTATIONS_S[0], [line for _, line in self._waiting])

    def _machines(self, n: int, rng: np.random.Generator) -> list[tuple[float, _Form]]:
        weights = np.array([weight for weight, _ in self._routine])
        counts = rng.multinomial(n, weights / weights.sum()).tolist()
        found: list[tuple[float, _Form]] = []
        for count, (_, form) in zip(counts, self._routine, strict=True):
            times = (np.arange(count) + rng.random()) * (rhythm.DAY_S / max(count, 1)) + rng.random(count) * 2
            found += [(min(at, rhythm.DAY_S - 0.001), form) for at in times.tolist()]
        return found

    def _kubectl(self, day: dt.date, n: int, rng: np.random.Generator) -> list[tuple[float, _Form]]:
        weights = np.array([self._plot.calendar.weight(person, day) for person in self._people])
        if weights.sum() == 0:
            return []
        shares = np.array([act.weight for act in _BY_HAND])
        found = []
        for person, count in zip(self._people, rng.multinomial(n, weights / weights.sum()).tolist(), strict=True):
            if count:
                times = rhythm.human_times(person, rhythm.session_start(person, day, rng), count, rng).tolist()
                forms = self._forms_of(person)
                found += [(float(at), forms[act]) for at, act in zip(times, rng.choice(len(forms), count, p=shares / shares.sum()).tolist(), strict=True)]  # fmt: skip
        return found

    def _forms_of(self, person: Actor) -> list[_Form]:
        if person.account not in self._by_hand:
            rng = random.Random(f"{self._seed} {person.account}")  # noqa: S311 - a demo, not a secret
            self._by_hand[person.account] = [_form(act, person.account, rng, person.addresses[0]) for act in _BY_HAND]
        return self._by_hand[person.account]

    def _special(self, day: dt.date) -> list[tuple[float, _Form]]:
        """On the bad night, sessions inside the pods of `payments`."""
        person = self._plot.on_call_person
        if day != self._plot.on_call or person is None:
            return []
        form = _form(_EXEC, person.account, self._rng, person.addresses[-1], "payments-6c9f7d-x2v8k")
        begin = 84 * 60.0
        self.stories.append(Story("on_call_night", day.isoformat(), rfc3339(moment(day, begin)), rfc3339(moment(day, begin + 600)), 3, person.account, person.person, source=NAME, detail="pods/exec"))  # fmt: skip
        return [(begin + 300 * step, form) for step in range(3)]

    def _planted(self, day: dt.date) -> list[tuple[float, _Form]]:
        """What the cases add."""
        found = []
        for one in self._plot.cases.of(Kubectl, day):
            if isinstance(one, Kubectl):
                act = Act(_PLANTED, (), _KUBECTL, one.verb, one.group, one.resource, one.namespace, one.code, 14)
                form = _form(act, one.actor.account, random.Random(f"{self._seed} {one.at}"), one.address, one.name)  # noqa: S311 - a demo, not a secret
                found.append(((one.at - moment(day, 0)).total_seconds(), form))
        return found

    def _tell_vanished(self, day: dt.date, n: int) -> None:
        """The story is told once, on its last day, with all that was not seen in its nights."""
        self._missed += n
        if day == self._plot.vanished[-1]:
            first = self._plot.vanished[0]
            self.stories.append(Story("path_vanished", first.isoformat(), rfc3339(moment(first, 0)), rfc3339(moment(day + DAY, 0)), self._missed, source=NAME))  # fmt: skip

    def _rotate(self, day: dt.date, lines: list[tuple[float, str]]) -> None:
        waiting = sorted(self._waiting + lines)
        done = 0
        for at in _ROTATIONS_S:
            upto = done
            while upto < len(waiting) and waiting[upto][0] < at:
                upto += 1
            self._write(day, at, [line for _, line in waiting[done:upto]])
            done = upto
        self._waiting = [(at - rhythm.DAY_S, line) for at, line in waiting[done:]]

    def _write(self, day: dt.date, at: int, lines: Sequence[str]) -> None:
        visible = moment(day, at)
        self._files.write(f"audit-{visible:%Y-%m-%dT%H-%M-%S}.{at % 997:03d}.log.gz", lines, visible)


def people_of(company: Company) -> list[Actor]:
    """Who uses `kubectl`."""
    return [person for person in company.people if person.role in _ROLES and person.identity == "sso"]


def machine_users() -> list[str]:
    """User names of components, nodes, service accounts and probes, sorted."""
    return sorted({user for act in _ACTS for user in _users(act)})


def _users(act: Act) -> list[str]:
    return [f"system:node:{node}" for node in NODES] if act.users == ("{node}",) else list(act.users)


def _form(act: Act, user: str, rng: random.Random, address: str | None = None, name: str | None = None) -> _Form:
    resource, _, sub = act.resource.partition("/")
    service = rng.choice(SERVICES)
    name = name or (f"{service}-{rng.getrandbits(24):06x}-{rng.getrandbits(20):05x}" if resource == "pods" else service)
    uri = f"/{resource}" if act.group == "/" else _uri(act, resource, sub, name)
    body: dict[str, object] = {"requestURI": uri, "verb": act.verb, "user": {"username": user, "groups": _groups(user)}}
    body["sourceIPs"] = [address or f"10.20.1.{rng.choice((11, 24, 37, 52, 68, 81))}"]
    body["userAgent"] = act.agent
    if act.group != "/":
        ref = {"resource": resource, "namespace": act.namespace, "name": None if act.verb in ("list", "watch") else name, "apiGroup": act.group or None, "apiVersion": "v1", "subresource": sub or None}  # fmt: skip
        body["objectRef"] = {key: value for key, value in ref.items() if value is not None}
    reason = "" if act.code == 403 else f'RBAC: allowed by ClusterRoleBinding "{_role(user)}" of ClusterRole "{_role(user)}" to User "{user}"'  # fmt: skip
    return _Form(
        act,
        cloudtrail.dumps(body)[1:-1],
        f'"responseStatus":{cloudtrail.dumps({"metadata": {}, "status": "Failure", "message": f"{resource} is forbidden: User {json.dumps(user)} cannot {act.verb} resource {json.dumps(resource)} in API group {json.dumps(act.group)}", "reason": "Forbidden", "code": 403})},',
        f'"annotations":{{"authorization.k8s.io/decision":"{"forbid" if act.code == 403 else "allow"}","authorization.k8s.io/reason":{cloudtrail.dumps(reason)}}}}}',
    )  # fmt: skip


def _uri(act: Act, resource: str, sub: str, name: str) -> str:
    root = f"/apis/{act.group}/v1" if act.group else "/api/v1"
    space = f"/namespaces/{act.namespace}" if act.namespace else ""
    one = "" if act.verb in ("list", "watch") else f"/{name}"
    return f"{root}{space}/{resource}{one}{f'/{sub}' if sub else ''}{'?watch=true&timeoutSeconds=480' if act.verb == 'watch' else ''}"


def _groups(user: str) -> list[str]:
    if user == PROBE:
        return ["system:unauthenticated"]
    if user.startswith(_SA):
        return ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}", "system:authenticated"]
    return ["system:nodes", "system:authenticated"] if user.startswith("system:node:") else ["system:authenticated"]


def _role(user: str) -> str:
    if user == PROBE:
        return "system:public-info-viewer"
    return user.split(":")[-1].split("@")[0] if ":" in user else "shop-engineers"


def _stages(day: dt.date, at: float, took: float, form: _Form, uid: str, *, refused: bool) -> list[tuple[float, str]]:
    """The lines of one request."""
    act = form.act
    refused = refused or act.code == 403
    received, done = _stamp(day, at), _stamp(day, at + took)
    answer = form.refused if refused else f'"responseStatus":{{"metadata":{{}},"code":{act.code}}},'
    tail = form.tail.replace('"allow"', '"forbid"', 1) if refused else form.tail

    def line(stage: str, then: str, status: str, rest: str) -> str:
        return f'{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{uid}","stage":"{stage}",{form.body},{status}"requestReceivedTimestamp":"{received}","stageTimestamp":"{then}",{rest}'

    found = [(at + took, line("ResponseComplete", done, answer, tail))]
    if act.verb == "watch":
        found.append((at, line("ResponseStarted", received, '"responseStatus":{"metadata":{},"code":200},', tail)))
    elif act.verb not in ("get", "list"):
        found.append((at, line("RequestReceived", received, "", '"annotations":{}}')))
    return found


def _stamp(day: dt.date, at: float) -> str:
    if at >= rhythm.DAY_S:
        return _stamp(day + DAY, at - rhythm.DAY_S)
    second, micro = divmod(min(int(at * 1e6), rhythm.DAY_S * 10**6 - 1), 10**6)
    return f"{day.isoformat()}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{micro:06d}Z"
