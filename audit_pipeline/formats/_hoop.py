"""The OCSF columns of hoop.dev's sessions and admin acts, as SQL over `r`; used by `hoop`.

Belongs here: who, on what, how it ended, who let it happen. Not here: pages, keys, times, states. A session is API Activity on a
connection; in the admin log, acts on users and groups are Account Change and Group Management, others API Activity.

What a rule asks for is in `metadata_event_code`: `session` or `admin`, then what is remarkable about it, in the gateway's own words
(`forced_review`, `guardrail`, `rejected`, `revoked`) and `self_approved` (who approved is who asked), `unreviewed` (no review at all).
Source: the gateway's OpenAPI document (github.com/hoophq/hoop), schemas Session, Review, ReviewGroup, SecurityAuditLogResponse.
"""

from __future__ import annotations

_T = "VARCHAR"
_GROUP = {"group": _T, "status": _T, "forced_review": "BOOLEAN", "reviewed_by": {"id": _T, "name": _T, "email": _T}}
STRUCTURE: dict[str, object] = {
    "id": _T, "org_id": _T, "user": _T, "user_id": _T, "user_name": _T, "type": _T, "connection_subtype": _T, "connection": _T, "verb": _T, "status": _T,
    "exit_code": _T, "start_date": _T, "end_date": _T, "identity_type": _T, "machine_identity_id": _T, "correlation_id": _T,
    "review": {"id": _T, "status": _T, "access_request_rule_name": _T, "rejection_reason": _T, "review_groups_data": [_GROUP]},
    "guardrails_info": [{"rule_name": _T, "direction": _T, "message": _T}], "ai_analysis": {"risk_level": _T, "title": _T},
    "actor_subject": _T, "actor_email": _T, "actor_name": _T, "resource_type": _T, "action": _T, "http_method": _T, "http_status": _T, "http_path": _T,
    "client_ip": _T, "outcome": "BOOLEAN", "error_message": _T, "request_payload_redacted": "JSON",
}  # fmt: skip
SYSTEM = "hoop.dev"


def _text(expression: str) -> str:
    return f"nullif({expression}, '')"


def _payload(name: str) -> str:
    """What an admin sent, as far as the gateway keeps it."""
    return f"nullif(json_extract_string(r.request_payload_redacted, '$.{name}'), '')"


_OWNER = 'r."user"'
_ADMIN = "(r.action IS NOT NULL AND r.verb IS NULL)"
_GROUPS = "r.review.review_groups_data"
_LAST = r"nullif(regexp_extract(r.http_path, '/(?:users|groups)/([^/?]+)$', 1), '')"
_USER = f"CASE WHEN {_ADMIN} AND r.resource_type = 'users' THEN coalesce({_payload('email')}, {_payload('name')}, {_LAST}) END"
_GROUP_NAME = f"CASE WHEN {_ADMIN} AND r.resource_type = 'user_groups' THEN coalesce({_payload('name')}, {_LAST}) END"
_VERB = "CASE r.action WHEN 'create' THEN 1 WHEN 'update' THEN 3 WHEN 'delete' THEN 4 ELSE 99 END"
_ACCOUNT = "CASE r.action WHEN 'create' THEN 300101 WHEN 'delete' THEN 300106 ELSE 300199 END"
_GROUP_ACT = "CASE r.action WHEN 'create' THEN 300606 WHEN 'delete' THEN 300605 ELSE 300699 END"
_KIND = (
    f"CASE WHEN NOT {_ADMIN} THEN 600399 WHEN ({_USER}) IS NOT NULL THEN {_ACCOUNT} WHEN ({_GROUP_NAME}) IS NOT NULL THEN {_GROUP_ACT} "
    f"ELSE 600300 + {_VERB} END"
)
# an exit code of -100 is the gateway's "not known"
_FAILED = (
    "(r.review.status IN ('REJECTED', 'REVOKED') OR coalesce(TRY_CAST(r.exit_code AS INTEGER) NOT IN (0, -100), false))"
)
_STATUS = (
    f"CASE WHEN {_ADMIN} THEN CASE WHEN r.outcome THEN 1 WHEN NOT r.outcome THEN 2 ELSE 0 END "
    f"WHEN {_FAILED} THEN 2 WHEN r.status = 'done' THEN 1 ELSE 0 END"
)
_FORCED = f"list_filter({_GROUPS}, lambda g: coalesce(g.forced_review, false))"
_APPROVED = f"list_filter({_GROUPS}, lambda g: g.status = 'APPROVED')"
_SELF = (
    f"list_filter({_APPROVED}, lambda g: coalesce(lower(g.reviewed_by.email) = lower({_text(_OWNER)}), false) "
    "OR coalesce(g.reviewed_by.id = nullif(r.user_id, ''), false))"
)
_HIT = "coalesce(len(r.guardrails_info), 0) > 0"
_DONE = "r.review.status IN ('REJECTED', 'REVOKED')"


def _some(found: str) -> str:
    return f"coalesce(len({found}), 0) > 0"


def _who(groups: str) -> str:
    """The people of these groups, in words."""
    return f"array_to_string(list_transform({groups}, lambda g: coalesce(nullif(g.reviewed_by.email, ''), nullif(g.reviewed_by.name, ''), nullif(g.reviewed_by.id, ''), 'unknown')), ', ')"


_FLAGS = (
    f"concat_ws(' ', 'session', CASE WHEN r.review IS NULL THEN 'unreviewed' END, CASE WHEN {_some(_FORCED)} THEN 'forced_review' END, "
    f"CASE WHEN {_some(_SELF)} THEN 'self_approved' END, CASE WHEN {_HIT} THEN 'guardrail' END, CASE WHEN {_DONE} THEN lower(r.review.status) END)"
)
_WORDS = (
    f"nullif(concat_ws('; ', CASE WHEN r.review IS NOT NULL THEN 'review ' || coalesce(r.review.status, 'unknown') END, "
    f"CASE WHEN {_some(_APPROVED)} THEN 'approved by ' || {_who(_APPROVED)} END, CASE WHEN {_some(_FORCED)} THEN 'forced by ' || {_who(_FORCED)} END, "
    f"'reason: ' || {_text('r.review.rejection_reason')}, "
    f"CASE WHEN {_HIT} THEN 'guardrail ' || array_to_string(list_transform(r.guardrails_info, lambda g: coalesce(g.rule_name, 'unknown')), ', ') END, "
    f"'risk ' || {_text('r.ai_analysis.risk_level')}), '')"
)
_ELAPSED = "epoch_ms(TRY_CAST(r.end_date AS TIMESTAMPTZ)) - epoch_ms(TRY_CAST(r.start_date AS TIMESTAMPTZ))"
_STAMP = r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)'"
_TIMED = f"regexp_full_match(r.end_date, {_STAMP}) AND regexp_full_match(r.start_date, {_STAMP})"


def _either(admin: str, session: str) -> str:
    return f"CASE WHEN {_ADMIN} THEN {admin} ELSE {session} END"


def columns() -> dict[str, str]:
    """Event column to SQL expression; the actor is who opened the session or made the change, not who let it happen."""
    name = _either(f"coalesce({_text('r.actor_email')}, {_text('r.actor_name')})", f"coalesce({_text(_OWNER)}, {_text('r.user_name')})")  # fmt: skip
    return {
        "class_uid": f"(({_KIND}) // 100)",
        "category_uid": f"(({_KIND}) // 100000)",
        "activity_id": f"(({_KIND}) % 100)",
        "type_uid": _KIND,
        "severity_id": "1",
        "status_id": _STATUS,
        "status_code": _either("CASE WHEN NOT r.outcome THEN r.http_status END", f"CASE WHEN {_DONE} THEN r.review.status WHEN {_FAILED} THEN 'exit ' || r.exit_code END"),
        "status_detail": _either(_text("r.error_message"), _WORDS),
        "message": _either("nullif(concat_ws(' ', r.action, r.resource_type, r.http_path), '')", "nullif(concat_ws(' ', r.verb, r.connection, r.status), '')"),
        "duration": f"CASE WHEN {_TIMED} THEN CASE WHEN {_ELAPSED} >= 0 THEN {_ELAPSED} END END",
        "metadata_uid": "r.id",
        "metadata_event_code": _either("'admin'", _FLAGS),
        "metadata_product_name": f"'{SYSTEM}'",
        "metadata_product_vendor_name": f"'{SYSTEM}'",
        "metadata_log_name": _either("'audit_logs'", "'sessions'"),
        "actor_user_name": name,
        "actor_user_uid": _either(_text("r.actor_subject"), _text("r.user_id")),
        "actor_user_type": _text("r.identity_type"),
        "actor_session_uid": _either("NULL", "r.id"),
        "user_name": _USER,
        "group_name": _GROUP_NAME,
        "src_endpoint_ip": _text("r.client_ip"),
        "http_response_code": f"CASE WHEN {_ADMIN} THEN TRY_CAST(r.http_status AS INTEGER) END",
        "api_operation": _either(_text("r.action"), _text("r.verb")),
        "api_service_name": f"'{SYSTEM}'",
        "api_request_uid": "r.id",
        "api_response_error": f"CASE WHEN NOT {_ADMIN} AND {_FAILED} THEN coalesce(CASE WHEN {_DONE} THEN r.review.status END, 'exit ' || r.exit_code) END",
        "api_response_error_message": f"CASE WHEN NOT coalesce(r.outcome, true) THEN {_text('r.error_message')} END",
        "resource_type": _either(_text("r.resource_type"), f"nullif(concat_ws('/', {_text('r.type')}, {_text('r.connection_subtype')}), '')"),
        "resource_name": _either(_payload("name"), _text("r.connection")),
        "finding_info_title": f"CASE WHEN {_HIT} THEN array_to_string(list_transform(r.guardrails_info, lambda g: coalesce(g.rule_name, 'unknown')), ', ') END",
        "x_actor": name,
        "x_actor_kind": "CASE r.identity_type WHEN 'user' THEN 'human' WHEN 'machine' THEN 'service' ELSE 'unknown' END",
    }  # fmt: skip
