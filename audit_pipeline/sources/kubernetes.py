"""Kubernetes: the audit log of one API server with its rotated copies, beside what the server counts of its own auditing.

Belongs here: the order of a collection, deleted copies, the policy. Not here: the files (`_kubernetes_log`), the counters (`_kubernetes_metrics`,
`_kubernetes_account`), who may do what (`_kubernetes_access`), what events mean (`formats.kubernetes_audit`). No client library: a few GETs
need none. One source is one server: its counters can be held against its own log only.

Three things tell of loss. Copies that were deleted before they were read: the file that was the newest at the last whole collection is
there no more (`unread`). Events that the server could not keep, by its own counter (`unread`). Fewer lines than the server counted
events: that may be a queue (a batching backend), so it is a remark at first, and `unread` when they have not come by the next time.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from audit_pipeline.clock import rfc3339
from audit_pipeline.lake.manifest import Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sections import Section
from audit_pipeline.sources._clocks import earlier
from audit_pipeline.sources._kubernetes_account import Account, last, stretch
from audit_pipeline.sources._kubernetes_log import RotatedLog
from audit_pipeline.sources._kubernetes_metrics import Counters, reader
from audit_pipeline.sources.base import Collection, Grant, Opening, Probe, SourceError

EXAMPLE = """\
  kubernetes_audit:                # one source for each API server: its counters belong to its own log
    type: kubernetes
    format: kubernetes_audit
    paths: ["/var/log/kubernetes/audit/audit*.log*"]   # change this: the log and its rotated copies, packed ones too
    http:                          # that server itself, no load balancer; without this section events that it dropped go unseen
      url: https://10.0.0.10:6443  # change this
      auth:
        bearer: {file: kubernetes.token}   # of a service account that may read /metrics
      ca_file: kubernetes-ca.crt   # the cluster's own authority
    options:
      policy: null                 # the file of --audit-policy-file, so that a change of it is noticed
    settles_after: 2h
"""
METRICS_TRIES = 3
METRICS_FAILED = "source_partial"
"""It lowers the day: a drop would go unseen. The next reading of the same process heals a day that is collected again."""


class Options(Section):
    """What is known of the API server beside its log."""

    policy: str | None = Field(
        default=None, description="file of the audit policy, by which a change of what is logged is noticed"
    )


def open_source(opening: Opening) -> KubernetesSource:
    """The configured API server."""
    if not opening.source.paths:
        raise SourceError(
            f"sources.{opening.name}: type kubernetes needs paths: the globs of the API server's log and its rotated copies."
        )
    return KubernetesSource(opening)


class KubernetesSource:
    """An API server; see the module."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._options: Options = opening.options

    def collect(self, collection: Collection) -> Iterator[Item]:
        """New lines of the log and its copies; then what counters and policy say.

        Raises:
            SourceError: the folder cannot be listed.
        """
        log = self.log()
        before = self._counters(collection)
        yield from log.collect(collection)
        after = self._counters(collection) if before else None
        unread = _deleted(log, collection)
        if before and after:
            unread += Account(collection).held(before, after, log.lines)
        if unread:
            collection.request["unread"] = unread
        self._policy(collection)
        if log.whole:
            collection.request.update(_begins(log, collection), checkpoint=rfc3339(collection.now))
        else:
            detail = "files were renamed, packed or deleted while they were read, or cannot be read: the next collection tries them again"
            collection.remarks.append(Remark("source_partial", detail))

    def access(self) -> list[Grant]:
        """Who may read, change or end the log by the cluster's own rights; who may log in to the node is not seen here.

        Raises:
            SourceError: there is no `http`, or a right is lacking; names it.
        """
        from audit_pipeline.sources._kubernetes_access import grants

        with self._opening.http() as http:
            return grants(http)

    def probe(self) -> list[Probe]:
        """Files, oldest event, counters, rights, policy."""
        from audit_pipeline.sources._kubernetes_probe import probes

        return probes(self._opening, self.log())

    def log(self) -> RotatedLog:
        """The files."""
        source = self._opening.source
        paths = [self._opening.resolve(path) for path in source.paths]
        return RotatedLog(paths, self._opening.form, source.storage, source.settles_after)

    def _counters(self, collection: Collection) -> Counters | None:
        """The server's counters; null where there is no `http`, or they cannot be read."""
        if self._opening.source.http is None:
            return None
        try:
            with self._opening.http() as http:
                answer = http.request("GET", "/metrics", read=reader(collection.now), tries=METRICS_TRIES)
        except SourceError as error:
            detail = f"the API server's counters cannot be read, so it is not known whether it dropped events: {error}"
            collection.remarks.append(Remark(METRICS_FAILED, detail))
            return None
        found: Counters = answer.data
        if answer.date is None:
            return found
        if not collection.simulated and "clock" not in collection.request:
            # told by the first reading: the second one comes after the files, however long they take
            collection.request["clock"] = int((answer.date - collection.now).total_seconds())
            earlier(collection, answer.date, "the API server's")
        return replace(found, read=answer.date)

    def _policy(self, collection: Collection) -> None:
        """The audit policy's hash; what it leaves out is not logged, so a change of it explains other numbers."""
        if self._options.policy is None:
            return
        path = self._opening.resolve(self._options.policy)
        try:
            found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except OSError as error:
            detail = f"options.policy {path}: cannot be read ({error.strerror}), so a change of it goes unseen"
            collection.request["policy_refused"] = detail
            return
        collection.request["policy"] = found
        past = last(collection.known, "policy")
        if past and past.request["policy"] != found:
            detail = (
                f"the audit policy was changed between {past.request['to']} and {rfc3339(collection.now)} "
                f"(SHA-256 {past.request['policy'][:12]}… before, {found[:12]}… now): what is logged may differ"
            )
            collection.remarks.append(Remark("policy_changed", detail))


def _begins(log: RotatedLog, collection: Collection) -> dict[str, Any]:
    """First event of the oldest and of the newest file; and how long copies are kept, once one was seen to be gone."""
    if not log.firsts:
        return {}
    oldest = log.firsts[0]
    found: dict[str, Any] = {"oldest": rfc3339(oldest), "newest": rfc3339(log.firsts[-1])}
    past = last(collection.known, "oldest")
    if past and oldest > dt.datetime.fromisoformat(past.request["oldest"]):
        found["horizon_s"] = max(0, int((collection.now - oldest).total_seconds()))
    elif past and "horizon_s" in past.request:
        found["horizon_s"] = past.request["horizon_s"]
    return found


def _deleted(log: RotatedLog, collection: Collection) -> list[dict[str, str]]:
    """What was deleted unread: copies go oldest first, so all is there as long as the then newest file is."""
    past = last(collection.known, "newest")
    if not log.firsts and not log.whole:  # nobody knows which file is the oldest; the next collection asks again
        return []
    oldest = log.firsts[0] if log.firsts else None
    if past is None or (oldest is not None and oldest <= dt.datetime.fromisoformat(past.request["newest"])):
        return []
    since = dt.datetime.fromisoformat(past.request["to"])
    left = f"the oldest event in the files is of {rfc3339(oldest)}" if oldest else "no event is left in the files"
    detail = (
        f"{left}, and the file that was written at {rfc3339(since)} is gone: what lies between may have been deleted unread. "
        "Collect more often than the copies are deleted, or keep more (--audit-log-maxbackup, --audit-log-maxage)"
    )
    return [stretch(since, max(oldest or collection.now, since), detail)]
