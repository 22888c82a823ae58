"""What `check` tries at a trail's bucket or folder: reach, identity, rights, newest file, digests, trail, horizon, clock.

Belongs here: the trials and their words, and the least policy that is needed. Not here: collecting (`cloudtrail`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

from audit_pipeline.clock import rfc3339
from audit_pipeline.sources._clocks import clock
from audit_pipeline.sources._cloudtrail_api import Api
from audit_pipeline.sources._cloudtrail_days import delivered
from audit_pipeline.sources._cloudtrail_digests import HOUR, validate
from audit_pipeline.sources._cloudtrail_keys import PublicKeys
from audit_pipeline.sources._cloudtrail_layout import (
    DIGEST_NAME,
    DIGESTS,
    INSIGHTS,
    LOGS,
    DeniedError,
    Kind,
    Place,
    Scope,
    Stored,
)
from audit_pipeline.sources.base import Probe, SourceError

_VALIDATION = "Turn log file validation on: aws cloudtrail update-trail --name TRAIL --enable-log-file-validation"


def wanted(place: Place) -> str:
    """The least policy, to hand to an administrator."""
    if place.local:
        return f"Give the user that runs this the right to read {place.url}."
    bucket = f"arn:aws:s3:::{place.bucket}"
    actions = ["s3:ListBucket", "s3:GetBucketPolicy", "s3:GetLifecycleConfiguration"]
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": bucket},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": f"{bucket}/{place.folder}AWSLogs/*"},
        {"Effect": "Allow", "Action": ["cloudtrail:ListPublicKeys", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"], "Resource": "*"},
    ]}  # fmt: skip
    return f"Ask for this policy: {json.dumps(policy)} (and kms:Decrypt on the key of an encrypted bucket)"


def probes(
    place: Place,
    scopes: list[Scope],
    denied: list[str],
    keys: PublicKeys | None,
    api: Api,
    trail: str | None,
    now: dt.datetime,
) -> list[Probe]:
    """All trials; `keys` is null where digests are not to be held against."""
    regions, accounts = len(scopes), len({scope.account for scope in scopes})
    found = [Probe("reach", bool(scopes), f"{place.url}: {accounts} accounts, {regions} account regions")]
    if not scopes:
        found = [Probe("reach", False, f"{place.url}: no AWSLogs/…/CloudTrail below it. Check options.url, accounts and regions.")]  # fmt: skip
    found += [Probe("rights", False, f"{detail} {wanted(place)}") for detail in denied]
    if scopes:
        found += _newest(place, scopes, now)
        found += _digests(place, scopes, keys, api) if keys else []
    if not place.local:
        found += _asked(place, api)
    if trail:
        found += _trail(api, trail)
    if api.date is not None:
        found.append(clock(api.date, now, "AWS's"))
    return found


def _latest(place: Place, scope: Scope, kind: Kind) -> list[Stored]:
    """The objects of the newest day of a scope."""
    folder = scope.folder(kind)
    for _ in range(3):  # year, month, day
        below = place.folders(folder)
        if not below:
            return []
        folder = f"{folder}/{below[-1]}"
    return place.objects(folder)


def _newest(place: Place, scopes: list[Scope], now: dt.datetime) -> list[Probe]:
    """The newest log file, and whether it can be read."""
    try:
        logs = [one for scope in scopes for one in _latest(place, scope, LOGS) if delivered(one.name)]
        insights = sum(len(_latest(place, scope, INSIGHTS)) for scope in scopes)
        if not logs:
            return [Probe("newest", False, "no log file was ever delivered")]
        newest = max(logs, key=lambda one: delivered(one.name) or now)
        at = delivered(newest.name) or now
        place.read(newest.key)
    except (DeniedError, FileNotFoundError) as error:
        return [Probe("rights", False, f"{error} {wanted(place)}")]
    except SourceError as error:
        return [Probe("read", False, str(error))]
    said = f"{newest.key}, delivered {rfc3339(at)}, {(now - at).total_seconds() / 3600:.1f} h ago"
    more = [Probe("insights", True, f"{insights} Insight files on the newest day: counted, not read as records")] if insights else []  # fmt: skip
    return [Probe("newest", True, said), *more]


def _digests(place: Place, scopes: list[Scope], keys: PublicKeys, api: Api) -> list[Probe]:
    """Whether the newest digest of the first scope that has any can be verified."""
    try:
        for scope in scopes:
            listed = [one for one in _latest(place, scope, DIGESTS) if (match := DIGEST_NAME.fullmatch(one.name)) and not match["backfill"]]  # fmt: skip
            if not listed:
                continue
            newest = max(listed, key=lambda one: one.name)
            if (match := DIGEST_NAME.fullmatch(newest.name)) and api.region is None:
                api.region = match["home"]
            end = dt.datetime.strptime(newest.name.rsplit("_", 1)[1][:16], "%Y%m%dT%H%M%S%z")
            chain = validate(place, keys, end - HOUR / 2, [newest])
            if chain.until is None:
                return [Probe("digests", False, chain.breaks[0].detail)]
            return [Probe("digests", True, f"{scope}: the newest ends {rfc3339(chain.until)}; its signature is verified")]  # fmt: skip
    except SourceError as error:
        return [Probe("digests", False, f"{error} {wanted(place)}")]
    return [Probe("digests", False, f"there are none, so nothing proves that no log file is missing. {_VALIDATION}")]


def _tried(what: str, ask: Callable[[], str]) -> Probe:
    try:
        return Probe(what, True, ask())
    except SourceError as error:
        return Probe(what, False, str(error))


def _asked(place: Place, api: Api) -> list[Probe]:
    """As whom, who may do what, and how long objects are kept."""

    def horizon() -> str:
        seconds = api.horizon_s(place.bucket, f"{place.folder}AWSLogs/")
        return f"the bucket deletes after {seconds / 86_400:.0f} days: collect within half of it" if seconds else "no life cycle deletes log files"  # fmt: skip

    def access() -> str:
        return f"{len(api.grants(place.bucket))} grants in the bucket's policy; who may stop the trail is said in IAM and not visible here"  # fmt: skip

    return [_tried("identity", api.identity), _tried("horizon", horizon), _tried("access", access)]


def _trail(api: Api, trail: str) -> list[Probe]:
    """Whether the trail logs, and what."""
    try:
        status = api.status(trail)
    except SourceError as error:
        return [Probe("trail", False, str(error))]
    errors = [str(status[key]) for key in ("LatestDeliveryError", "LatestDigestDeliveryError") if status.get(key)]
    logs = status.get("IsLogging") is not False
    said = "it logs" if logs else "it does not log: aws cloudtrail start-logging"
    more = f"; it cannot deliver: {', '.join(errors)}" if errors else ""
    return [Probe("trail", logs and not errors, f"{trail}: {said}{more}"), _tried("selects", lambda: api.selectors(trail))]  # fmt: skip
