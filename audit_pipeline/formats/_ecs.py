"""The OCSF columns of a document in the Elastic Common Schema, as SQL over `r`; used by `ecs`.

Belongs here: who, what, how it ended. Not here: pages, keys, times. Source: the ECS field reference, its categorisation fields above
all (elastic.co/docs/reference/ecs/ecs-category-field-values-reference). `event.category` and `event.type` are lists; a single word
is read as a list of one. `event.outcome` is success, failure or unknown.
"""

from __future__ import annotations

import json

from audit_pipeline.formats.base import json_record

_T = "VARCHAR"
_USER = {"name": _T, "id": _T, "email": _T, "domain": _T}
STRUCTURE: dict[str, object] = {
    "message": _T,
    "event": {"category": _T, "type": _T, "action": _T, "outcome": _T, "id": _T, "code": _T, "reason": _T, "duration": _T, "provider": _T, "module": _T, "dataset": _T, "severity": _T},
    "user": _USER | {"target": _USER, "effective": _USER}, "group": {"name": _T, "id": _T},
    "client": {"ip": _T}, "source": {"ip": _T, "domain": _T, "address": _T}, "destination": {"domain": _T, "address": _T}, "host": {"name": _T, "hostname": _T},
    "http": {"request": {"id": _T}, "response": {"status_code": _T}}, "user_agent": {"original": _T}, "error": {"code": _T, "message": _T},
    "service": {"name": _T}, "cloud": {"provider": _T, "region": _T, "account": {"id": _T}}, "url": {"path": _T}, "ecs": {"version": _T},
}  # fmt: skip
_GUARDED = "CASE WHEN json_valid(doc) THEN doc END"
RECORD = json_record(json.dumps(STRUCTURE)).replace(
    f"({_GUARDED},", f"(coalesce(json_extract({_GUARDED}, '$._source'), {_GUARDED}),", 1
)
"""Of a hit its document, else the record itself."""


def _hit(name: str) -> str:
    """What the hit around the document says of it."""
    return f"nullif(json_extract_string({_GUARDED}, '$.{name}'), '')"


def _field(path: str) -> str:
    """A field as text, null where it is absent or empty."""
    quoted = ".".join(f'"{part}"' for part in path.split("."))
    return f"nullif(r.{quoted}, '')"


def _has(path: str, word: str) -> str:
    """Whether a list (or a single word) of the record holds a word of the schema."""
    return f"""coalesce(contains({_field(path)}, '"{word}"') OR {_field(path)} = '{word}', false)"""


def _category(word: str) -> str:
    return _has("event.category", word)


def _type(word: str) -> str:
    return _has("event.type", word)


_ACTION = f"lower(coalesce({_field('event.action')}, ''))"
_OUTCOME = _field("event.outcome")
_TARGET = f"coalesce({_field('user.target.name')}, {_field('user.target.email')}, {_field('user.target.id')})"
_GROUP = f"coalesce({_field('group.name')}, {_field('group.id')})"
_NAME = f"coalesce({_field('user.name')}, {_field('user.email')})"
_LOGON = f"CASE WHEN {_type('end')} THEN 300202 WHEN {_type('start')} OR regexp_matches({_ACTION}, 'log.?in|log.?on|authenticat|sign.?in') THEN 300201 ELSE 300299 END"
_ACCOUNT = f"CASE WHEN {_type('creation')} THEN 300101 WHEN {_type('deletion')} THEN 300106 ELSE 300199 END"
_GROUPS = f"CASE WHEN {_type('creation')} THEN 300606 WHEN {_type('deletion')} THEN 300605 ELSE 300699 END"
_API = (
    f"CASE WHEN {_type('creation')} THEN 600301 WHEN {_type('change')} THEN 600303 WHEN {_type('deletion')} THEN 600304 "
    f"WHEN {_type('access')} THEN 600302 ELSE 600399 END"
)
_KIND = (
    f"CASE WHEN {_category('authentication')} THEN {_LOGON} "
    f"WHEN {_category('iam')} AND {_type('group')} AND {_GROUP} IS NOT NULL THEN {_GROUPS} "
    f"WHEN {_category('iam')} AND ({_type('user')} OR {_TARGET} IS NOT NULL) THEN {_ACCOUNT} "
    f"WHEN {_category('api')} THEN {_API} ELSE 99 END"
)
_STATUS = f"CASE {_OUTCOME} WHEN 'success' THEN 1 WHEN 'failure' THEN 2 ELSE 0 END"


def columns() -> dict[str, str]:
    """Event column to SQL expression. In Authentication `user` is who tried to sign in, and acted."""
    signing = _category("authentication")
    return {
        "class_uid": f"(({_KIND}) // 100)",
        "category_uid": f"(({_KIND}) // 100000)",
        "activity_id": f"(({_KIND}) % 100)",
        "type_uid": _KIND,
        "severity_id": "1",
        "status_id": _STATUS,
        "status_code": f"CASE WHEN {_OUTCOME} = 'failure' THEN {_field('error.code')} END",
        "status_detail": _field("event.reason"),
        "message": _field("message"),
        "duration": f"TRY_CAST({_field('event.duration')} AS BIGINT) // 1000000",
        "metadata_uid": f"coalesce({_hit('_id')}, {_field('event.id')})",
        "metadata_event_code": f"coalesce({_field('event.code')}, {_field('event.action')})",
        "metadata_product_name": f"coalesce({_field('event.module')}, {_field('event.provider')})",
        "metadata_log_name": f"coalesce({_field('event.dataset')}, {_hit('_index')})",
        "metadata_log_version": _field("ecs.version"),
        "actor_user_name": _NAME,
        "actor_user_uid": _field("user.id"),
        "user_name": f"CASE WHEN {signing} THEN coalesce({_TARGET}, {_NAME}) ELSE {_TARGET} END",
        "user_uid": f"CASE WHEN {signing} THEN coalesce({_field('user.target.id')}, {_field('user.id')}) ELSE {_field('user.target.id')} END",
        "group_name": _field("group.name"),
        "group_uid": _field("group.id"),
        "src_endpoint_ip": f"coalesce({_field('source.ip')}, {_field('client.ip')})",
        "src_endpoint_hostname": f"coalesce({_field('source.domain')}, CASE WHEN {_field('source.ip')} IS NULL THEN {_field('source.address')} END)",
        "dst_endpoint_hostname": f"coalesce({_field('destination.domain')}, {_field('destination.address')})",
        "device_hostname": f"coalesce({_field('host.name')}, {_field('host.hostname')})",
        "http_request_user_agent": _field("user_agent.original"),
        "http_request_uid": _field("http.request.id"),
        "http_response_code": f"TRY_CAST({_field('http.response.status_code')} AS INTEGER)",
        "api_operation": _field("event.action"),
        "api_service_name": f"coalesce({_field('service.name')}, {_field('event.provider')})",
        "api_response_error": f"CASE WHEN {_OUTCOME} = 'failure' THEN {_field('error.code')} END",
        "api_response_error_message": f"CASE WHEN {_OUTCOME} = 'failure' THEN {_field('error.message')} END",
        "cloud_provider": _field("cloud.provider"),
        "cloud_region": _field("cloud.region"),
        "cloud_account_uid": _field("cloud.account.id"),
        "resource_name": _field("url.path"),
        "x_actor": _NAME,
        "x_actor_kind": "'unknown'",
    }
