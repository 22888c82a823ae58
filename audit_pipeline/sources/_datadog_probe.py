"""What `check` tries at Datadog: site, keys, rights by name, clock, newest event, horizon, what to ask an administrator for.

Belongs here: one probe a question. Not here: collecting (`datadog`). A right that Datadog does not tell of is tried.
"""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlsplit

from audit_pipeline.clock import rfc3339
from audit_pipeline.sources import _datadog_access
from audit_pipeline.sources._clocks import clock
from audit_pipeline.sources._datadog import Api, DatadogSettings, Edge
from audit_pipeline.sources.base import Probe, SourceError
from audit_pipeline.sources.http import Http, PermissionRefusedError

SITES = (
    "datadoghq.com", "us3.datadoghq.com", "us5.datadoghq.com", "datadoghq.eu", "ap1.datadoghq.com", "ap2.datadoghq.com",
    "uk1.datadoghq.com", "ddog-gov.com", "us2.ddog-gov.com",
)  # fmt: skip
"""docs.datadoghq.com/api/latest/audit lists them with their addresses."""
SCOPES = {"audit": "audit_logs_read", "logs": "logs_read_data"}
_LOCAL = ("localhost", "127.0.0.1", "::1")


def wanted(settings: DatadogSettings) -> str:
    """The least that an administrator has to grant."""
    scopes = ", ".join(SCOPES[kind] for kind in settings.reads)
    return f"Ask for a service account with a role that has {scopes} (for who may do what also {_datadog_access.RIGHT}), and an application key of it with these scopes"


def probes(http: Http, settings: DatadogSettings, now: dt.datetime) -> list[Probe]:
    """All questions; a later one is asked also when an earlier one fails, unless Datadog cannot be reached.

    Args:
        http: the conversation.
        settings: what is to be read.
        now: this machine's time.

    Raises:
        SourceError: it cannot be reached.
    """
    api = Api(http, settings)
    found = [_site(http)]
    try:
        answer = api.validate()
    except PermissionRefusedError as error:
        return [*found, Probe("identity", False, f"the API key is refused: {error} Is it a key of this site?")]
    found.append(Probe("identity", True, f"{http.url} answers, the API key is valid; whose the application key is, Datadog does not tell"))  # fmt: skip
    if answer.date is not None:
        found.append(clock(answer.date, now, "Datadog's"))
    edges, lacking = _newest(api, settings, now)
    held = [scope for kind in settings.reads if (scope := SCOPES[kind]) not in lacking]
    said = f"held: {', '.join(held) or 'none'}"
    found.append(Probe("rights", not lacking, f"{said}; lacking: {'; '.join(lacking.values())}. {wanted(settings)}" if lacking else said))  # fmt: skip
    found += [_seen(name, edge, now) for name, edge in edges.items()]
    return [*found, _horizon(settings), _access(api, settings)]


def _site(http: Http) -> Probe:
    host = urlsplit(http.url).hostname or ""
    if host in _LOCAL or (host.removeprefix("api.") in SITES and host.startswith("api.")):
        plain = http.unencrypted
        return Probe("reach", not plain, f"{http.url}; keys and logs go unencrypted: use https" if plain else http.url)
    return Probe("reach", False, f"{http.url} is none of Datadog's sites: set http.url to https://api.SITE, with one of {', '.join(SITES)}")  # fmt: skip


def _newest(api: Api, settings: DatadogSettings, now: dt.datetime) -> tuple[dict[str, Edge | str], dict[str, str]]:
    """By part the newest event or why there is none; by scope the refusal."""
    edges: dict[str, Edge | str] = {}
    lacking: dict[str, str] = {}
    for part in settings.parts:
        try:
            edges[part.name] = api.edge(part, "-timestamp", now)
        except PermissionRefusedError as error:
            lacking[SCOPES[part.kind]] = f"{SCOPES[part.kind]} ({error})"
        except SourceError as error:
            edges[part.name] = str(error)
    return edges, lacking


def _seen(name: str, edge: Edge | str, now: dt.datetime) -> Probe:
    what = f"newest record of {name}"
    if isinstance(edge, str):
        return Probe(what, False, edge)
    if edge.value is None:
        return Probe(what, False, "there is none: check options.query, options.indexes and options.storage_tiers; is Audit Trail enabled?")  # fmt: skip
    return Probe(what, True, f"{rfc3339(edge.value)}, {(now - edge.value).total_seconds() / 3600:.1f} h before this machine's now")  # fmt: skip


def _horizon(settings: DatadogSettings) -> Probe:
    days = settings.kept.total_seconds() / 86_400
    given = (
        "by options.retention" if settings.retention else "as it is usual: Datadog does not tell; set options.retention"
    )
    return Probe("horizon", True, f"{days:g} days, {given}. What is older cannot be had: collect in half that time at the latest")  # fmt: skip


def _access(api: Api, settings: DatadogSettings) -> Probe:
    try:
        found = _datadog_access.grants(api, settings.reads)
    except SourceError as error:
        return Probe("access review", True, f"not collected: {error}. {_datadog_access.RIGHT} would allow it")
    return Probe("access review", True, f"{len({one.principal for one in found})} roles and users have rights to what is read")  # fmt: skip
