"""What `check` tries at a hoop.dev gateway: reach, identity, rights, clock, newest session, horizon, what to ask for.

Belongs here: one probe a question. Not here: collecting (`hoop`). A role that sees only its own sessions is a failure: the gateway
leaves the others out of its lists without a word.
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.sources._clocks import clock
from audit_pipeline.sources._hoop import ALL_SEEING, Gateway, Me
from audit_pipeline.sources.base import Probe, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError

ASK = "Ask an administrator for an API key with the group auditor, and no other (web application: Settings, API keys)"
_KEPT = "the gateway deletes nothing by itself: what is pruned in its database before a collection cannot be had"


def probes(http: Http, now: dt.datetime, *, audit_log: bool) -> list[Probe]:
    """All questions; a later one is asked also when an earlier one fails, unless the gateway cannot be reached.

    Args:
        http: the conversation.
        now: this machine's time.
        audit_log: whether the admin audit log is to be read.

    Raises:
        SourceError: it cannot be reached.
    """
    gateway, plain = Gateway(http), http.unencrypted
    try:
        me = gateway.me()
    except PermissionRefusedError as error:
        return [Probe("reach", not plain, f"{http.url} answers"), Probe("identity", False, f"{error} {ASK}.")]
    said = f"{http.url} answers" + ("; credentials and logs go unencrypted: use https" if plain else "")
    found = [Probe("reach", not plain, said), Probe("identity", True, f"{me.name}, role {me.role}")]
    found += [_rights(gateway, me, now, audit_log=audit_log)]
    if me.date is not None:
        found.append(clock(me.date, now, "the gateway's"))
    return [*found, _newest(gateway), Probe("horizon", True, _KEPT)]


def _rights(gateway: Gateway, me: Me, now: dt.datetime, *, audit_log: bool) -> Probe:
    if not me.sees_all:
        return Probe("rights", False, f"lacking: everybody's sessions (role {me.role}, and not {' or '.join(ALL_SEEING)}); days are partial. {ASK}")  # fmt: skip
    held = "everybody's sessions"
    if not audit_log:
        return Probe("rights", True, held)
    try:
        gateway.any_before("audit", now)
    except PermissionRefusedError:
        return Probe("rights", False, f"held: {held}; lacking: the admin audit log. {ASK}")
    except SourceError as error:
        return Probe("rights", False, f"{error} Set options.audit_log to false where the gateway has none.")
    more = " More than is needed: the group auditor is enough" if me.role == "admin" else ""
    return Probe("rights", True, f"{held}, the admin audit log.{more}")


def _newest(gateway: Gateway) -> Probe:
    try:
        found = gateway.newest()
    except SourceError as error:
        return Probe("newest record", False, str(error))
    if found is None:
        return Probe(
            "newest record", False, "the gateway shows no session: does anybody use it, and may this key see it?"
        )
    return Probe("newest record", True, f"session of {str(found.get('start_date'))[:64]}")
