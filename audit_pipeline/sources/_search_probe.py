"""What `check` tries at a search store: reach, identity, rights by name, clock, newest and oldest document, what to ask for.

Belongs here: one probe a question. Not here: collecting (`elasticsearch`). Sources: Elastic, "Has privileges" and "Authenticate" APIs;
OpenSearch Security, "Get account details"; a right that the store does not tell of is tried.
"""

from __future__ import annotations

import datetime as dt
import json

from audit_pipeline.clock import rfc3339
from audit_pipeline.sources._clocks import clock
from audit_pipeline.sources._search import Dialect, Search, SearchSettings
from audit_pipeline.sources._search_rights import grants, horizon_s
from audit_pipeline.sources.base import Probe, SourceError
from audit_pipeline.sources.http import Answer, Http, PermissionRefusedError, RefusedError

RIGHTS = ("read", "view_index_metadata")
"""Of the index: pages, counts and points in time; names of its data streams and their life cycle."""


def role(dialect: Dialect, search: SearchSettings) -> str:
    """The least that an administrator has to grant, as the body of the store's own API for roles."""
    names = search.index.split(",")
    if dialect.many:
        allowed = ["read", "indices:data/read/point_in_time/create", "indices:data/read/point_in_time/delete"]
        return json.dumps({"index_permissions": [{"index_patterns": names, "allowed_actions": allowed}]})
    return json.dumps({"indices": [{"names": names, "privileges": list(RIGHTS)}]})


def probes(http: Http, dialect: Dialect, search: SearchSettings, now: dt.datetime) -> list[Probe]:
    """All questions; a later one is asked also when an earlier one fails, unless the store cannot be reached.

    Args:
        http: the conversation.
        dialect: which of the two stores it is.
        search: what is to be read.
        now: this machine's time.

    Raises:
        SourceError: it cannot be reached.
    """
    wanted = f"Ask for this role: {role(dialect, search)}"
    found = [_reach(http), _identity(http, dialect), _rights(http, dialect, search, wanted), _review(http, dialect, search)]  # fmt: skip
    try:
        reader = Search(http, dialect, search)
        newest, oldest = reader.edge("desc"), reader.edge("asc")
    except PermissionRefusedError as error:
        return [*found, Probe("read", False, f"{error} {wanted}")]
    except SourceError as error:
        return [*found, Probe("read", False, str(error))]
    if newest.date is not None:
        found.append(clock(newest.date, now, "the store's"))
    if newest.value is None:
        said = (
            f"no document of {search.index} has {search.visible_field}: check options.index and options.visible_field"
        )
        return [*found, Probe("read", False, said)]
    found.append(Probe("newest record", True, _at(newest.value, newest.date)))
    return [*found, _horizon(http, dialect, search, _at(oldest.value or newest.value, newest.date))]


def _horizon(http: Http, dialect: Dialect, search: SearchSettings, oldest: str) -> Probe:
    """How long documents are kept, and the oldest that is there."""
    told = search.retention.total_seconds() if search.retention else horizon_s(http, dialect, search.index)
    kept = f"documents are kept for {told / 86_400:g} d" if told else "the store does not tell how long it keeps documents (options.retention says it)"  # fmt: skip
    return Probe("horizon", True, f"{kept}; the oldest is of {oldest}. Collect in half that time at the latest: a finding says when that was missed")  # fmt: skip


def _review(http: Http, dialect: Dialect, search: SearchSettings) -> Probe:
    """Whether the store shows who may do what; logs are collected without it too."""
    try:
        found = grants(http, dialect, search.index)
    except SourceError as error:
        return Probe("access review", True, f"not possible: {error} Without it the report cannot say who may read or delete these logs.")  # fmt: skip
    return Probe("access review", True, f"{len({one.principal for one in found})} principals reach {search.index}")


def _at(value: dt.datetime, theirs: dt.datetime | None) -> str:
    return rfc3339(value) + (
        f", {(theirs - value).total_seconds() / 3600:.1f} h before the store's now" if theirs else ""
    )


def _reach(http: Http) -> Probe:
    plain = http.unencrypted
    try:
        answer = http.request("GET", "/", tries=1)
    except (PermissionRefusedError, RefusedError):  # some roles may not ask for it
        return Probe("reach", not plain, f"{http.url} answers")
    version = answer.data.get("version")
    number = version.get("number") if isinstance(version, dict) else None
    said = f"{http.url} answers, version {number}"
    return Probe("reach", not plain, f"{said}; credentials and logs go unencrypted: use https" if plain else said)


def _identity(http: Http, dialect: Dialect) -> Probe:
    path = "/_plugins/_security/authinfo" if dialect.many else "/_security/_authenticate"
    try:
        data = http.request("GET", path, tries=1).data
    except PermissionRefusedError as error:
        return Probe("identity", False, str(error))
    except SourceError:
        return Probe("identity", True, "the store does not tell (security is not enabled, or not told of)")
    return Probe("identity", True, f"{data.get('username') or data.get('user_name') or 'unnamed'}")


def _rights(http: Http, dialect: Dialect, search: SearchSettings, wanted: str) -> Probe:
    names = search.index.split(",")
    if dialect.many:
        return _tried(http, dialect, search, wanted)
    body = {"index": [{"names": names, "privileges": list(RIGHTS)}]}
    try:
        answer: Answer = http.request("POST", "/_security/user/_has_privileges", body=body, tries=1)
    except SourceError:
        return _tried(http, dialect, search, wanted)
    held = answer.data.get("index") or {}
    lacking = sorted(
        f"{right} on {name}" for name in names for right in RIGHTS if not (held.get(name) or {}).get(right)
    )
    if lacking:
        return Probe("rights", False, f"lacking: {', '.join(lacking)}. {wanted}")
    return Probe("rights", True, f"{', '.join(RIGHTS)} on {search.index}")


def _tried(http: Http, dialect: Dialect, search: SearchSettings, wanted: str) -> Probe:
    try:
        Search(http, dialect, search).count({"match_all": {}})
    except PermissionRefusedError:
        return Probe("rights", False, f"{search.index} cannot be read. {wanted}")
    except SourceError as error:
        return Probe("rights", False, str(error))
    return Probe("rights", True, f"{search.index} can be read (tried; the store does not list rights)")
