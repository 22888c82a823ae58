"""What AWS's own APIs tell beside the objects: keys of digests, the trail's status, who may do what to the bucket, its life cycle.

Belongs here: the calls, and their answers in our words. Not here: objects (`_cloudtrail_layout`), which answer matters when
(`cloudtrail`). Through botocore, the vendor's own client, which comes with the extra `s3`: it signs requests and finds credentials
where every tool of the vendor does. Sources: the CloudTrail and S3 API references.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
from collections.abc import Iterator, Mapping
from typing import Any

from audit_pipeline.clock import UTC, rfc3339
from audit_pipeline.lake.manifest import Remark
from audit_pipeline.sources._answers import date_of
from audit_pipeline.sources._cloudtrail_keys import named
from audit_pipeline.sources.base import Grant, Right, SourceError

_DENIED = ("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation", "403")
_ABSENT = ("NoSuchBucketPolicy", "NoSuchLifecycleConfiguration")
_RIGHTS: dict[Right, tuple[str, ...]] = {
    "read": ("s3:getobject", "s3:getobjectversion"),
    "write": ("s3:putobject",),
    "delete": ("s3:deleteobject", "s3:deleteobjectversion", "s3:deletebucket"),
    "retention": ("s3:putlifecycleconfiguration", "s3:putbucketpolicy", "s3:deletebucketpolicy", "s3:putbucketversioning", "s3:putobjectretention", "s3:bypassgovernanceretention"),
}  # fmt: skip
"""Actions that give a right; what ends logging (`cloudtrail:StopLogging`) is granted in IAM and not visible at the bucket."""


class Api:
    """The clients of one region; made when they are first needed."""

    def __init__(self, region: str | None, storage: Mapping[str, Any]) -> None:
        self.region, self._storage = region, storage
        self._clients: dict[str, Any] = {}
        self.date: dt.datetime | None = None
        """AWS's clock at the last answer"""

    def public_keys(self, start: dt.datetime, end: dt.datetime) -> dict[str, bytes]:
        """Keys that were valid in that span, by fingerprint."""
        answer = self._call("cloudtrail", "list_public_keys", "cloudtrail:ListPublicKeys", StartTime=start, EndTime=end)
        found = named(answer)
        while token := answer.get("NextToken"):
            answer = self._call("cloudtrail", "list_public_keys", "cloudtrail:ListPublicKeys", StartTime=start, EndTime=end, NextToken=token)  # fmt: skip
            found |= named(answer)
        return found

    def status(self, trail: str) -> dict[str, Any]:
        """`GetTrailStatus`."""
        return self._call("cloudtrail", "get_trail_status", "cloudtrail:GetTrailStatus", Name=trail)

    def selectors(self, trail: str) -> str:
        """What the trail selects, in words, by `GetEventSelectors`."""
        answer = self._call("cloudtrail", "get_event_selectors", "cloudtrail:GetEventSelectors", TrailName=trail)
        said = [_selector(one) for one in answer.get("EventSelectors") or []]
        said += [f"{one.get('Name') or 'unnamed'}: {', '.join(_condition(c) for c in one.get('FieldSelectors', []))}" for one in answer.get("AdvancedEventSelectors") or []]  # fmt: skip
        return "; ".join(said) or "nothing"

    def grants(self, bucket: str) -> list[Grant]:
        """What the bucket's policy grants; nothing where it has none."""
        text = self._call("s3", "get_bucket_policy", "s3:GetBucketPolicy", Bucket=bucket).get("Policy") or "{}"
        statements = json.loads(text).get("Statement", [])
        found = {
            Grant(who, right, via)
            for statement in (statements if isinstance(statements, list) else [statements])
            if statement.get("Effect") == "Allow"
            for who in _principals(statement)
            for right, via in _given(statement)
        }
        return sorted(found, key=lambda grant: (grant.principal, grant.right, grant.via))

    def horizon_s(self, bucket: str, folder: str) -> float | None:
        """Seconds after which the bucket's life cycle deletes what lies below `folder`; null where it does not."""
        answer = self._call("s3", "get_bucket_lifecycle_configuration", "s3:GetLifecycleConfiguration", Bucket=bucket)
        days = []
        for rule in answer.get("Rules") or []:
            within = rule.get("Filter") or {}
            prefix = rule.get("Prefix") or within.get("Prefix") or (within.get("And") or {}).get("Prefix") or ""
            touches = prefix.startswith(folder) or folder.startswith(prefix) or not prefix
            if rule.get("Status") == "Enabled" and touches and (rule.get("Expiration") or {}).get("Days"):
                days.append(int(rule["Expiration"]["Days"]))
        return min(days) * 86_400.0 if days else None

    def identity(self) -> str:
        """As whom we ask."""
        return str(self._call("sts", "get_caller_identity", "sts:GetCallerIdentity").get("Arn"))

    def _call(self, service: str, method: str, right: str, **given: Any) -> dict[str, Any]:
        """One call; what the service says that it does not have is an empty answer.

        Raises:
            SourceError: refused (names the right), unreachable, or botocore is not installed.
        """
        client = self._client(service)
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        try:
            answer = dict(getattr(client, method)(**given))
        except ClientError as error:
            self.date = _date(error.response) or self.date
            code, words = (error.response.get("Error", {}).get(part, "") for part in ("Code", "Message"))
            if code in _ABSENT:
                return {}
            if code in _DENIED:
                raise SourceError(f"{right} is not granted ({code}). Add it to the policy that `audit-pipeline check` prints.") from None  # fmt: skip
            raise SourceError(f"{right}: AWS answers {code}: {str(words)[:200]}") from None
        except BotoCoreError as error:
            raise SourceError(f"{right}: AWS cannot be asked ({error}). Check credentials, options.region and the network.") from None  # fmt: skip
        self.date = _date(answer) or self.date
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            try:
                from botocore.config import Config  # type: ignore[import-untyped]
                from botocore.exceptions import BotoCoreError
                from botocore.session import Session  # type: ignore[import-untyped]
            except ImportError as error:
                raise SourceError("AWS's APIs are asked by botocore, which is not installed: install audit-pipeline[s3].") from error  # fmt: skip
            given = self._storage.get("endpoint_url") or (self._storage.get("client_kwargs") or {}).get("endpoint_url")
            endpoint = given if service == "s3" else None
            config = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=10, read_timeout=30)
            try:
                session = Session(profile=self._storage.get("profile"))
                self._clients[service] = session.create_client(service, region_name=self.region, endpoint_url=endpoint, config=config)  # fmt: skip
            except BotoCoreError as error:
                raise SourceError(f"AWS cannot be asked ({error}). Set options.region to the trail's home region.") from None  # fmt: skip
        return self._clients[service]


def stopped(trail: str, status: Mapping[str, Any], since: dt.datetime, now: dt.datetime) -> list[dict[str, str]]:
    """Stretches after `since` in which the trail did not log: of these there is nothing that could be collected later."""
    stop, start = _moment(status.get("StopLoggingTime")), _moment(status.get("StartLoggingTime"))
    if status.get("IsLogging") is False:
        begin, end = stop or since, now
    elif stop is not None and stop >= since and start is not None and start > stop:
        begin, end = stop, start
    else:
        return []
    detail = f"the trail {trail} did not log from {rfc3339(begin)} to {rfc3339(end)} (GetTrailStatus)"
    return [{"from": rfc3339(begin), "to": rfc3339(end), "detail": detail}] if begin < end else []


def troubles(trail: str, status: Mapping[str, Any]) -> list[Remark]:
    """What the trail says of its deliveries."""
    words = {"LatestDeliveryError": "log files", "LatestDigestDeliveryError": "digests"}
    return [Remark("source_partial", f"the trail {trail} cannot deliver {what}: {str(status[key])[:200]} (GetTrailStatus). Mend the bucket's policy; AWS tries again for some time") for key, what in words.items() if status.get(key)]  # fmt: skip


def _date(answer: Mapping[str, Any]) -> dt.datetime | None:
    """The `Date` of an answer."""
    headers = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    return date_of(headers.get("date"))


def _moment(value: object) -> dt.datetime | None:
    return value.astimezone(UTC) if isinstance(value, dt.datetime) else None


def _selector(one: Mapping[str, Any]) -> str:
    management = f"management events ({one.get('ReadWriteType', 'All')})" if one.get("IncludeManagementEvents", True) else "no management events"  # fmt: skip
    without = f" without {', '.join(one['ExcludeManagementEventSources'])}" if one.get("ExcludeManagementEventSources") else ""  # fmt: skip
    data = ", ".join(str(found.get("Type")) for found in one.get("DataResources") or []) or "none"
    return f"{management}{without}; data events: {data}"


def _condition(one: Mapping[str, Any]) -> str:
    rest = " ".join(f"{name} {value}" for name, value in sorted(one.items()) if name != "Field" and value)
    return f"{one.get('Field')} {rest}"


def _principals(statement: Mapping[str, Any]) -> Iterator[str]:
    if "NotPrincipal" in statement:
        yield f"everyone except {json.dumps(statement['NotPrincipal'], sort_keys=True)}"
        return
    principal = statement.get("Principal", "*")
    if principal == "*":
        yield "everyone"
        return
    for kind, names in sorted(principal.items()):
        for name in [names] if isinstance(names, str) else names:
            yield "everyone" if name == "*" else f"{kind.lower()}:{name}"


def _given(statement: Mapping[str, Any]) -> Iterator[tuple[Right, str]]:
    """The rights of a statement, each with what gives it; actions may have wildcards, in any case (IAM's own rule)."""
    negated = "NotAction" in statement
    actions = statement.get("NotAction" if negated else "Action", [])
    patterns = [str(action).lower() for action in ([actions] if isinstance(actions, str) else actions)]
    condition = ", under a condition" if statement.get("Condition") else ""
    for right, needed in _RIGHTS.items():
        for action in needed:
            matched = any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)
            if matched != negated:
                yield right, f"bucket policy, statement {statement.get('Sid') or 'without Sid'}{condition}"
                break
