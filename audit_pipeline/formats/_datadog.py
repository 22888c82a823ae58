"""The OCSF columns of Datadog's audit and log events, as SQL over `r`; used by `datadog_audit`.

Belongs here: classes, who, what, how it ended. Not here: pages, keys, times. Sources: docs.datadoghq.com/account_management/audit_trail/events
(`@evt.name`, `@asset.type`, `@action` of each event), the recorded answers of github.com/DataDog/datadog-api-client-python
(tests/v2/cassettes/test_scenarios/test_search_audit_logs_events_*), docs.datadoghq.com/standard-attributes for logs.
A role has members and permissions: it is OCSF's group. A log is a Base Event: what its message means is for the format of its own system.
"""

from __future__ import annotations

import json

from audit_pipeline.formats.base import json_record

_T = "VARCHAR"
_USER = {"name": _T, "email": _T, "id": _T, "uuid": _T}
STRUCTURE: dict[str, object] = {
    "id": _T, "type": _T,
    "attributes": {
        "message": _T, "service": _T, "host": _T, "status": _T,
        "attributes": {
            "usr": _USER, "evt": {"name": _T, "outcome": _T, "actor": {"type": _T}}, "action": _T, "auth_method": _T, "status": _T, "duration": _T,
            "asset": {"id": _T, "name": _T, "type": _T}, "network": {"client": {"ip": _T}}, "org": {"uuid": _T, "name": _T}, "request_id": _T,
            "http": {"method": _T, "status_code": _T, "useragent": _T, "request_id": _T, "url_details": {"path": _T, "host": _T}},
            "metadata": {"api_key": {"id": _T}, "application_key": {"id": _T}},
        },
    },
}  # fmt: skip
RECORD = json_record(json.dumps(STRUCTURE))


def _outer(name: str) -> str:
    return f'nullif(r."attributes"."{name}", \'\')'


def _field(path: str) -> str:
    """An attribute of the event as text, null where it is absent or empty."""
    quoted = ".".join(f'"{part}"' for part in path.split("."))
    return f'nullif(r."attributes"."attributes".{quoted}, \'\')'


AUDIT = "(r.\"type\" = 'audit')"
_ACTION = f"lower(coalesce({_field('action')}, ''))"
_ASSET = f"lower(coalesce({_field('asset.type')}, ''))"
_NAME = f"coalesce({_field('usr.email')}, {_field('usr.name')}, {_field('usr.id')})"
_SIGNS = f"({AUDIT} AND {_ACTION} IN ('login', 'logout'))"
_READS = f"{_ACTION} IN ('accessed', 'listed', 'viewed', 'read')"
_CHANGES = f"({AUDIT} AND NOT {_READS})"
_ACCOUNT = (
    f"CASE {_ASSET} WHEN 'password' THEN 300103 WHEN 'user' THEN CASE {_ACTION} WHEN 'created' THEN 300101 WHEN 'enabled' THEN 300102 "
    f"WHEN 'disabled' THEN 300105 WHEN 'deleted' THEN 300106 ELSE 300199 END ELSE 300199 END"
)
_ROLE = f"CASE {_ACTION} WHEN 'created' THEN 300606 WHEN 'deleted' THEN 300605 ELSE 300699 END"
_API = (
    f"CASE WHEN {_READS} THEN 600302 ELSE CASE {_ACTION} WHEN 'created' THEN 600301 WHEN 'modified' THEN 600303 WHEN 'updated' THEN 600303 "
    "WHEN 'deleted' THEN 600304 ELSE 600399 END END"
)
_ON_ACCOUNT = f"{_CHANGES} AND {_ASSET} IN ('user', 'password', 'application_key')"
_ON_ROLE = f"{_CHANGES} AND {_ASSET} = 'role' AND coalesce({_field('asset.name')}, {_field('asset.id')}) IS NOT NULL"
KIND = (
    f"CASE WHEN NOT coalesce({AUDIT}, false) THEN 99 WHEN {_SIGNS} THEN CASE {_ACTION} WHEN 'login' THEN 300201 ELSE 300202 END "
    f"WHEN {_ON_ACCOUNT} THEN {_ACCOUNT} WHEN {_ON_ROLE} THEN {_ROLE} ELSE {_API} END"
)
_CODE = f"TRY_CAST({_field('http.status_code')} AS INTEGER)"
_LEVEL = f"lower(coalesce({_field('status')}, {_outer('status')}, ''))"
_STATUS = (
    f"CASE WHEN lower({_field('evt.outcome')}) IN ('success', 'succeeded') THEN 1 WHEN lower({_field('evt.outcome')}) IN ('failure', 'failed', 'error') THEN 2 "
    f"WHEN NOT coalesce({AUDIT}, false) THEN 0 WHEN {_CODE} >= 400 THEN 2 WHEN {_CODE} >= 100 THEN 1 "
    f"WHEN {_LEVEL} = 'error' THEN 2 WHEN {_LEVEL} IN ('info', 'ok') THEN 1 ELSE 0 END"
)
_ACTOR_TYPE = f"upper(coalesce({_field('evt.actor.type')}, ''))"
_KEYS = f"upper(coalesce({_field('auth_method')}, '')) LIKE '%KEY%'"
_ACTOR_KIND = (
    f"CASE WHEN {_ACTOR_TYPE} LIKE '%SERVICE%' OR {_ACTOR_TYPE} IN ('DATADOG', 'SYSTEM') THEN 'service' WHEN {_KEYS} THEN 'unknown' "
    f"WHEN {_ACTOR_TYPE} IN ('USER', 'SUPPORT_USER') THEN 'human' ELSE 'unknown' END"
)


def _of_audit(value: str) -> str:
    return f"CASE WHEN {AUDIT} THEN {value} END"


def columns() -> dict[str, str]:
    """Event column to SQL expression. A request by a key may be a person's or a program's: its actor's kind is not known."""
    account = f"CASE WHEN {_SIGNS} THEN {_NAME} WHEN {_ON_ACCOUNT} AND {_ASSET} = 'user' THEN coalesce({_field('asset.name')}, {_field('asset.id')}) END"
    account_uid = f"CASE WHEN {_SIGNS} THEN {_field('usr.uuid')} WHEN {_ON_ACCOUNT} AND {_ASSET} = 'user' THEN {_field('asset.id')} END"
    failed = f"({_STATUS}) = 2"
    return {
        "class_uid": f"(({KIND}) // 100)",
        "category_uid": f"(({KIND}) // 100000)",
        "activity_id": f"(({KIND}) % 100)",
        "type_uid": KIND,
        "severity_id": f"CASE {_LEVEL} WHEN 'warn' THEN 2 WHEN 'error' THEN 3 WHEN 'critical' THEN 5 WHEN 'alert' THEN 5 WHEN 'emergency' THEN 6 ELSE 1 END",
        "status_id": _STATUS,
        "status_code": f"CASE WHEN {failed} THEN {_field('http.status_code')} END",
        "message": _outer("message"),
        "duration": f"CAST(TRY_CAST({_field('duration')} AS DOUBLE) / 1000000 AS BIGINT)",
        "metadata_uid": "nullif(r.\"id\", '')",
        "metadata_event_code": _field("evt.name"),
        "metadata_product_name": _of_audit("'Audit Trail'"),
        "metadata_product_vendor_name": _of_audit("'Datadog'"),
        "metadata_log_name": f"CASE WHEN {AUDIT} THEN 'audit' ELSE {_outer('service')} END",
        "actor_user_name": _NAME,
        "actor_user_uid": f"coalesce({_field('usr.uuid')}, {_field('usr.id')})",
        "actor_user_type": _field("evt.actor.type"),
        "actor_user_credential_uid": f"coalesce({_field('metadata.application_key.id')}, {_field('metadata.api_key.id')})",
        "user_name": account,
        "user_uid": account_uid,
        "group_name": f"CASE WHEN {_ON_ROLE} THEN {_field('asset.name')} END",
        "group_uid": f"CASE WHEN {_ON_ROLE} THEN {_field('asset.id')} END",
        "src_endpoint_ip": _field("network.client.ip"),
        "device_hostname": _outer("host"),
        "http_request_user_agent": _field("http.useragent"),
        "http_request_uid": f"coalesce({_field('http.request_id')}, {_field('request_id')})",
        "http_response_code": _CODE,
        "api_operation": _of_audit(
            f"nullif(concat_ws('.', coalesce({_field('asset.type')}, {_field('evt.name')}), {_field('action')}), '')"
        ),
        "api_service_name": _of_audit("'datadog'"),
        "api_request_uid": f"coalesce({_field('http.request_id')}, {_field('request_id')})",
        "api_response_error": _of_audit(f"CASE WHEN {failed} THEN {_field('http.status_code')} END"),
        "cloud_account_uid": _field("org.uuid"),
        "resource_uid": _field("asset.id"),
        "resource_type": _field("asset.type"),
        "resource_name": f"coalesce({_field('asset.name')}, {_field('http.url_details.path')})",
        "x_read_only": _of_audit(f"{_READS} AND upper(coalesce({_field('http.method')}, 'GET')) IN ('GET', 'HEAD')"),
        "x_actor": _NAME,
        "x_actor_kind": _ACTOR_KIND,
    }
