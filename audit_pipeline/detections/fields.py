"""Field names of log sources, as the columns that hold them, and which columns a condition cannot do without.

Belongs here: names. Not here: how a condition becomes SQL (`dialect`), whether a day has the columns (`states`).
Names are those that SigmaHQ's rules use: the vendor's own names of a record (CloudTrail record contents, apiserver-audit.v1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.types import SigmaExists, SigmaExpansion, SigmaNull

from audit_pipeline.ocsf.columns import VIEW

Fields = Mapping[str, str]
Need = str | tuple[Literal["all", "any"], tuple["Need", ...]]
"""A column, or several of which all or any must hold values for a condition ever to be true."""

CLOUDTRAIL: Fields = {
    "apiVersion": "api_version",
    "awsRegion": "cloud_region",
    "errorCode": "api_response_error",
    "errorMessage": "api_response_error_message",
    "eventID": "metadata_uid",
    "eventName": "api_operation",
    "eventSource": "api_service_name",
    "eventType": "metadata_event_code",
    "eventVersion": "metadata_log_version",
    "readOnly": "x_read_only",
    "requestID": "http_request_uid",
    "sourceIPAddress": 'coalesce("src_endpoint_ip", "src_endpoint_hostname")',
    "userAgent": "http_request_user_agent",
    "userIdentity.accessKeyId": "actor_user_credential_uid",
    "userIdentity.accountId": "actor_user_account_uid",
    "userIdentity.arn": "CASE WHEN starts_with(actor_user_uid, 'arn:') THEN actor_user_uid END",
    "userIdentity.invokedBy": "actor_invoked_by",
    "userIdentity.principalId": "actor_user_uid_alt",
    "userIdentity.sessionContext.attributes.mfaAuthenticated": "actor_session_is_mfa",
    "userIdentity.sessionContext.sessionIssuer.arn": "actor_session_issuer",
    "userIdentity.type": "actor_user_type",
    "vpcEndpointId": "src_endpoint_uid",
}
"""CloudTrail's names to the columns (or SQL over columns) that hold just their value; all others are read from the record."""

KUBERNETES: Fields = {
    "auditID": "metadata_uid",
    "impersonatedUser.username": "user_name",
    "objectRef.resource": "nullif(split_part(resource_type, '/', 1), '')",
    "objectRef.subresource": "nullif(split_part(resource_type, '/', 2), '')",
    "responseStatus.code": "http_response_code",
    "stage": "metadata_event_code",
    "user.username": "actor_user_name",
    "userAgent": "http_request_user_agent",
    "verb": "api_operation",
}
"""Names of apiserver-audit.v1, likewise."""

FIELDS: dict[str, Fields] = {"cloudtrail": CLOUDTRAIL, "kubernetes_audit": KUBERNETES}
"""Names of each format; a format without an entry knows the event columns and paths into its JSON records."""

LOG_SOURCES: dict[tuple[str | None, str | None], str] = {
    ("kubernetes", "audit"): "kubernetes_audit",
    ("kubernetes", None): "kubernetes_audit",
    ("linux", "auth"): "linux_auth",
    ("linux", "sshd"): "linux_auth",
    ("linux", "sudo"): "linux_auth",
    ("linux", "syslog"): "linux_auth",
}
"""Sigma's log sources (product, service) that have another name than the format: https://sigmahq.io/docs/basics/log-sources.html"""

TEXT_FORMATS = frozenset({"linux_auth"})
"""Formats whose records are lines of text: no path leads into them."""

OUTCOME = frozenset({"status_code", "status_detail", "api_response_error", "api_response_error_message", "http_response_code"})  # fmt: skip
"""Columns that are filled only where something failed: empty on a good day, so that nothing follows from their being empty."""
_WORD = re.compile(r"[a-z][a-z0-9_]*")


def columns_in(expression: str) -> list[str]:
    """The event columns that a piece of SQL reads, in order."""
    without_literals = re.sub(r"'[^']*'", "", expression)
    return list(dict.fromkeys(word for word in _WORD.findall(without_literals) if word in VIEW))


def either(columns: Iterable[str]) -> Need:
    """Any of the columns."""
    return ("any", tuple(columns))


def needs(condition: Any, column: Callable[[str], str]) -> Need:
    """What a parsed Sigma condition needs; a negation needs nothing, since an absent field does not match.

    Args:
        condition: node of pySigma's condition tree.
        column: field name to SQL.
    """
    if isinstance(condition, ConditionAND):
        return ("all", tuple(needs(part, column) for part in condition.args))
    if isinstance(condition, ConditionOR):
        return ("any", tuple(needs(part, column) for part in condition.args))
    if isinstance(condition, ConditionNOT):
        return ("all", ())
    if not isinstance(condition, ConditionFieldEqualsValueExpression):
        return "raw_data"
    value = condition.value
    values = value.values if isinstance(value, SigmaExpansion) else [value]
    if any(isinstance(one, SigmaNull) or (isinstance(one, SigmaExists) and not one) for one in values):
        return ("all", ())
    return either(columns_in(column(condition.field)))


def unmet(need: Need, filled: Callable[[str], bool]) -> frozenset[str]:
    """The columns for want of which the condition can never be true; empty where it can."""
    if isinstance(need, str):
        return frozenset() if filled(need) else frozenset({need})
    word, parts = need
    found = [unmet(part, filled) for part in parts]
    if word == "any" and any(not one for one in found):
        return frozenset()
    return frozenset().union(*found)
