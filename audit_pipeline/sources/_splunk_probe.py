"""What `check` tries at Splunk: reach, identity, rights by name, clock, newest event, horizon, what to ask for.

Belongs here: one probe a question. Not here: collecting (`splunk`). Sources: Splunk, REST API Reference "server/info" and
"authentication/current-context"; authorize.conf.spec.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from audit_pipeline.clock import rfc3339
from audit_pipeline.sources._clocks import clock
from audit_pipeline.sources._splunk import Search, SplunkSettings
from audit_pipeline.sources._splunk_access import horizon_s, restrictions, texts
from audit_pipeline.sources.base import Probe, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError

NEEDED = ("search",)
HELPFUL = ("list_all_roles", "list_all_users", "rest_properties_get")
"""Without them nobody tells who else can reach the logs."""


def role(options: SplunkSettings) -> str:
    """The least that an administrator has to grant, as a stanza of authorize.conf on one line."""
    granted = "; ".join(f"{name} = enabled" for name in NEEDED + HELPFUL)
    return f"[role_audit_reader] srchIndexesAllowed = {options.index.replace(',', ';')}; srchJobsQuota = 2; {granted}"


def probes(http: Http, options: SplunkSettings, now: dt.datetime) -> list[Probe]:
    """All questions; a later one is asked also when an earlier one fails, unless Splunk cannot be reached.

    Args:
        http: the conversation.
        options: what is to be read.
        now: this machine's time.

    Raises:
        SourceError: it cannot be reached.
    """
    wanted = f"Ask for this role: {role(options)}"
    try:
        found = [_reach(http), *_identity(http, wanted)]
    except PermissionRefusedError as error:
        said = f"{error} 401 means that the token is wrong, expired or disabled: create a new one, with the user's role as its right. {wanted}"
        return [Probe("identity", False, said)]
    search = Search(http, options)
    wide = int(options.wide_sweep.total_seconds())
    at = int(now.timestamp())
    try:
        oldest, newest = search.edge(at - wide, at + wide)
    except PermissionRefusedError as error:
        return [*found, Probe("read", False, f"{error} {wanted}")]
    except SourceError as error:
        return [*found, Probe("read", False, str(error))]
    if search.date is not None:
        found.append(clock(search.date, now, "Splunk's"))
    if oldest is None or newest is None:
        said = f"no event of {options.index} of the last {options.wide_sweep.days} days can be seen: check options.index. {wanted}"
        return [*found, Probe("read", False, said)]
    found.append(Probe("newest record", True, f"indexed {_at(newest, search.date)}"))
    return [*found, _horizon(http, options, oldest, search.date)]


def _reach(http: Http) -> Probe:
    plain = http.unencrypted
    data = http.request("GET", "/services/server/info", params={"output_mode": "json"}, tries=1).data
    content = _content(data)
    said = f"{http.url} answers, version {content.get('version')}, {content.get('serverName')}"
    return Probe("reach", not plain, f"{said}; credentials and logs go unencrypted: use https" if plain else said)


def _identity(http: Http, wanted: str) -> list[Probe]:
    """Who we are, and which capabilities are held or lacking."""
    data = http.request("GET", "/services/authentication/current-context", params={"output_mode": "json"}, tries=1).data
    content = _content(data)
    name = f"{content.get('username')}, roles {', '.join(texts(content.get('roles'))) or 'none'}"
    held = set(texts(content.get("capabilities")))
    lacking = [one for one in NEEDED if one not in held]
    without = [one for one in HELPFUL if one not in held]
    if lacking:
        return [Probe("identity", True, name), Probe("rights", False, f"lacking: {', '.join(lacking)}. {wanted}")]
    if hidden := restrictions(http):
        return [Probe("identity", True, name), Probe("rights", False, f"{'; '.join(hidden)}. Take the limit from the role. {wanted}")]  # fmt: skip
    said = f"{', '.join(NEEDED)} held"
    if without:
        said += f"; without {', '.join(without)} nobody tells who else can reach the logs. {wanted}"
    return [Probe("identity", True, name), Probe("rights", True, said)]


def _content(data: dict[str, Any]) -> dict[str, Any]:
    entry = data.get("entry")
    content = entry[0].get("content") if isinstance(entry, list) and entry and isinstance(entry[0], dict) else None
    return content if isinstance(content, dict) else {}


def _at(seconds: int, theirs: dt.datetime | None) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return rfc3339(moment) + (f", {(theirs - moment).total_seconds() / 3600:.1f} h before Splunk's now" if theirs else "")  # fmt: skip


def _horizon(http: Http, options: SplunkSettings, oldest: int, theirs: dt.datetime | None) -> Probe:
    seconds = horizon_s(http, options.index)
    seen = f"the oldest event seen is of {_at(oldest, theirs)}"
    if seconds is None:
        return Probe("horizon", True, f"the search head does not tell how long {options.index} is kept; {seen} (of at most {options.wide_sweep.days} days looked back)")  # fmt: skip
    days = seconds / 86_400
    return Probe("horizon", True, f"events are frozen after {days:.1f} days (frozenTimePeriodInSecs), or earlier when the index is full; {seen}. Collect every {days / 2:.1f} days at the latest")  # fmt: skip
