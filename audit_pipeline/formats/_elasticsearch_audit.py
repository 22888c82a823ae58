"""The OCSF columns of an audit event of Elasticsearch or OpenSearch, as SQL over `r`; used by `elasticsearch_audit`.

Belongs here: who, what, on what, how it ended. Not here: framing, keys, times. Sources: "Elasticsearch audit events" (elastic.co/docs) and
"Audit log field reference" (docs.opensearch.org). Granted means that it was allowed; whether it then worked, neither store says. A realm
that does not know a user, beside the failure of the sign-in itself, is Authentication with activity Other, so that an attempt counts once.
`put_user` makes or changes an account, which the event does not tell apart: activity Other.
"""

from __future__ import annotations

import json

from audit_pipeline.formats.base import json_record

_T = "VARCHAR"
_NAMED = {"name": _T}
_SERVICE = {"namespace": _T, "service": _T}
_KEY = {"id": _T, "name": _T}
_OF_USER = {"user": _NAMED}
ELASTIC = (
    "type", "event.type", "event.action", "node.id", "node.name", "host.name", "user.name", "user.realm", "user.run_by.name", "user.run_as.name", "authentication.type", "apikey.id",
    "origin.address", "request.id", "request.method", "url.path", "action", "realm", "rule",
)  # fmt: skip
OPEN = (
    "audit_category", "audit_node_host_name", "audit_node_name", "audit_request_effective_user", "audit_request_initiating_user", "audit_request_remote_address", "audit_request_privilege",
    "audit_rest_request_method", "audit_rest_request_path", "audit_trace_task_id", "audit_trace_doc_id", "audit_compliance_operation", "audit_request_exception_stacktrace", "audit_transport_request_type",
)  # fmt: skip
_STRUCTURE: dict[str, object] = {
    **dict.fromkeys((*ELASTIC, *OPEN), _T), "indices": [_T], "audit_trace_resolved_indices": [_T], "audit_trace_indices": [_T], "audit_rest_request_headers": {"User-Agent": [_T]},
    "put": {"user": _NAMED, "role": _NAMED, "role_mapping": _NAMED, "user_managed_service_account": _SERVICE},
    "delete": {"user": _NAMED, "role": _NAMED, "role_mapping": _NAMED, "service_token": _SERVICE | _NAMED, "user_managed_service_account": _SERVICE},
    "change": {"password": _OF_USER, "enable": _OF_USER, "disable": _OF_USER, "apikey": _KEY},
    "create": {"apikey": _KEY, "service_token": _SERVICE | _NAMED, "grant": _OF_USER}, "invalidate": {"apikeys": _NAMED | _OF_USER},
}  # fmt: skip
RECORD = json_record(json.dumps(_STRUCTURE))


def _f(name: str) -> str:
    return f"nullif(r.\"{name}\", '')"


def _in(path: str) -> str:
    return "nullif(r." + ".".join(f'"{step}"' for step in path.split(".")) + ", '')"


_ACTION = f"coalesce({_f('event.action')}, {_f('audit_category')})"
_DONE = f"coalesce({_f('action')}, {_f('audit_request_privilege')})"
"""The store's own name of what was done, such as `indices:data/read/search`."""
_METHOD = f"coalesce({_f('request.method')}, {_f('audit_rest_request_method')})"
_CRUD = (
    rf"CASE WHEN regexp_matches({_DONE}, '^indices:data/read|^(?:indices|cluster):monitor|[/:](?:get|list|has_privileges|authenticate)(?:[/\[*]|$)') THEN 2 "
    rf"WHEN regexp_matches({_DONE}, '[/:](?:delete|remove|invalidate)') THEN 4 WHEN regexp_matches({_DONE}, '[/:](?:auto_)?create') THEN 1 "
    rf"WHEN regexp_matches({_DONE}, '^indices:data/write|^(?:indices|cluster):admin') THEN 3 WHEN {_DONE} IS NOT NULL THEN 99 "
    f"WHEN {_f('audit_compliance_operation')} = 'CREATE' THEN 1 WHEN {_f('audit_compliance_operation')} = 'DELETE' THEN 4 WHEN {_f('audit_compliance_operation')} IS NOT NULL THEN 3 "
    f"WHEN {_METHOD} IN ('GET', 'HEAD') THEN 2 WHEN {_METHOD} IN ('PUT', 'PATCH') THEN 3 WHEN {_METHOD} = 'DELETE' THEN 4 ELSE 99 END"
)
KINDS: dict[str, int] = {
    "authentication_success": 300201, "authentication_failed": 300201, "realm_authentication_failed": 300299, "run_as_granted": 300207, "run_as_denied": 300207,
    "connection_granted": 400101, "connection_denied": 400105, "delete_user": 300106, "change_enable_user": 300102, "change_disable_user": 300105, "change_password": 300103,
    "put_user": 300199, "put_user_managed_service_account": 300199, "delete_user_managed_service_account": 300106, "create_apikey": 300199, "change_apikey": 300199, "change_apikeys": 300199,
    "invalidate_apikeys": 300199, "create_service_token": 300199, "delete_service_token": 300199, "put_role": 300601, "delete_role": 300605, "put_role_mapping": 300699, "delete_role_mapping": 300699,
    "put_privileges": 600303, "delete_privileges": 600304,
    "FAILED_LOGIN": 300201, "AUTHENTICATED": 300201, "SSL_EXCEPTION": 400104, "COMPLIANCE_DOC_READ": 600302, "COMPLIANCE_INTERNAL_CONFIG_READ": 600302, "COMPLIANCE_INTERNAL_CONFIG_WRITE": 600303,
    "CLUSTER_SETTINGS_CHANGED": 600303, "INDEX_SETTINGS_CHANGED": 600303,
}  # fmt: skip
"""Actions of Elasticsearch and categories of OpenSearch to OCSF types."""
CALLS = (
    "access_granted", "access_denied", "system_access_granted", "anonymous_access_denied", "tampered_request",
    "GRANTED_PRIVILEGES", "MISSING_PRIVILEGES", "BAD_HEADERS", "OPENSEARCH_SECURITY_INDEX_ATTEMPT", "OPENDISTRO_SECURITY_INDEX_ATTEMPT", "INDEX_EVENT", "COMPLIANCE_DOC_WRITE",
)  # fmt: skip
"""Those that are API Activity, whose activity is that of what was done."""
_FAILED = ("FAILED_LOGIN", "SSL_EXCEPTION", "MISSING_PRIVILEGES", "BAD_HEADERS", "OPENSEARCH_SECURITY_INDEX_ATTEMPT", "OPENDISTRO_SECURITY_INDEX_ATTEMPT", "tampered_request")  # fmt: skip


def _listed(words: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


_KIND = (
    f"CASE {_ACTION} " + " ".join(f"WHEN '{word}' THEN {kind}" for word, kind in KINDS.items())
    + f" ELSE CASE WHEN {_ACTION} IN {_listed(CALLS)} THEN 600300 + ({_CRUD}) WHEN {_f('event.type')} = 'security_config_change' THEN 600399 ELSE 99 END END"
)  # fmt: skip
_BAD = f"({_ACTION} IN {_listed(_FAILED)} OR regexp_matches({_ACTION}, '_(failed|denied)$'))"
_STATUS = f"CASE WHEN {_BAD} THEN 2 WHEN {_f('event.type')} = 'security_config_change' OR regexp_matches({_ACTION}, '_(success|granted)$') OR {_ACTION} IN ('AUTHENTICATED', 'GRANTED_PRIVILEGES') THEN 1 ELSE 0 END"
_EFFECTIVE = f"coalesce({_f('user.name')}, {_f('audit_request_effective_user')})"
_ACTOR = f"coalesce({_f('user.run_by.name')}, {_f('audit_request_initiating_user')}, {_EFFECTIVE})"
_CHANGED = ", ".join(map(_in, ("put.user.name", "delete.user.name", "change.password.user.name", "change.enable.user.name", "change.disable.user.name", "invalidate.apikeys.user.name", "create.grant.user.name")))  # fmt: skip
_SERVICES = ", ".join(
    f"{_in(f'{at}.namespace')} || '/' || {_in(f'{at}.service')}"
    for at in ("create.service_token", "delete.service_token", "put.user_managed_service_account", "delete.user_managed_service_account")
)  # fmt: skip
_ADDRESS = f"coalesce({_f('origin.address')}, {_f('audit_request_remote_address')})"
_IP = rf"CASE WHEN starts_with({_ADDRESS}, '[') THEN nullif(regexp_extract({_ADDRESS}, '^\[([^\]]+)\]', 1), '') WHEN regexp_full_match({_ADDRESS}, '[^:]+:\d+') THEN split_part({_ADDRESS}, ':', 1) ELSE {_ADDRESS} END"
_OTHER = f"CASE WHEN {_f('user.run_as.name')} IS NOT NULL THEN {_f('user.run_as.name')} WHEN {_EFFECTIVE} <> {_ACTOR} THEN {_EFFECTIVE} END"
_INDEX = "coalesce(nullif(r.indices[1], ''), nullif(r.audit_trace_resolved_indices[1], ''), nullif(r.audit_trace_indices[1], ''))"
_APIKEY = f"coalesce({_in('create.apikey.name')}, {_in('change.apikey.id')}, {_in('invalidate.apikeys.name')})"


def columns() -> dict[str, str]:
    """Event column to SQL expression. Of one who acts as somebody else, the actor is who signed in."""
    open_ = f"{_f('audit_category')} IS NOT NULL"
    signing = f"(({_KIND}) // 100) = 3002"
    return {
        "class_uid": f"(({_KIND}) // 100)",
        "category_uid": f"(({_KIND}) // 100000)",
        "activity_id": f"(({_KIND}) % 100)",
        "type_uid": _KIND,
        "severity_id": "1",
        "status_id": _STATUS,
        "status_code": f"CASE WHEN {_BAD} THEN {_ACTION} END",
        "status_detail": f"coalesce({_f('rule')}, {_f('realm')}, nullif(split_part({_f('audit_request_exception_stacktrace')}, chr(10), 1), ''))",
        "message": f"nullif(concat_ws(' ', {_ACTION}, {_METHOD}, {_f('url.path')}, {_f('audit_rest_request_path')}, {_DONE}), '')",
        "metadata_event_code": _ACTION,
        "metadata_product_name": f"CASE WHEN {open_} THEN 'OpenSearch' ELSE 'Elasticsearch' END",
        "metadata_product_vendor_name": f"CASE WHEN {open_} THEN 'OpenSearch' ELSE 'Elastic' END",
        "metadata_log_name": "'audit'",
        "actor_user_name": _ACTOR,
        "actor_user_type": _f("authentication.type"),
        "actor_user_credential_uid": _f("apikey.id"),
        "actor_idp_name": _f("user.realm"),
        "user_name": f"coalesce({_CHANGED}, {_SERVICES}, {_OTHER}, CASE WHEN {signing} THEN {_EFFECTIVE} END)",
        "group_name": f"coalesce({_in('put.role.name')}, {_in('delete.role.name')}, {_in('put.role_mapping.name')}, {_in('delete.role_mapping.name')})",
        "src_endpoint_ip": _IP,
        "device_hostname": f"coalesce({_f('host.name')}, {_f('node.name')}, {_f('audit_node_host_name')}, {_f('audit_node_name')})",
        "http_request_uid": f"coalesce({_f('request.id')}, {_f('audit_trace_task_id')})",
        "http_request_user_agent": "nullif(r.audit_rest_request_headers.\"User-Agent\"[1], '')",
        "api_operation": f"coalesce({_f('event.action')}, {_DONE}, CASE WHEN {_ACTION} IN {_listed(CALLS)} THEN coalesce({_METHOD}, {_f('audit_compliance_operation')}) END, {_ACTION})",
        "api_service_name": f"CASE WHEN {open_} THEN 'opensearch' ELSE 'elasticsearch' END",
        "api_request_uid": f"coalesce({_f('request.id')}, {_f('audit_trace_task_id')})",
        "resource_name": f"coalesce({_INDEX}, {_APIKEY}, {_f('url.path')}, {_f('audit_rest_request_path')})",
        "resource_uid": _f("audit_trace_doc_id"),
        "resource_type": f"CASE WHEN {_INDEX} IS NOT NULL THEN 'index' WHEN {_APIKEY} IS NOT NULL THEN 'api key' WHEN coalesce({_f('url.path')}, {_f('audit_rest_request_path')}) IS NOT NULL THEN 'path' END",
        "x_read_only": f"CASE {_KIND} WHEN 600302 THEN true WHEN 600301 THEN false WHEN 600303 THEN false WHEN 600304 THEN false END",
        "x_actor": _ACTOR,
        "x_actor_kind": f"CASE WHEN starts_with({_ACTOR}, '_') OR contains({_ACTOR}, '/') OR {_f('authentication.type')} IN ('API_KEY', 'INTERNAL') OR regexp_full_match({_ACTOR}, '[a-z_]+_system|kibanaserver|logstash') THEN 'service' WHEN {_ACTOR} IS NOT NULL THEN 'unknown' END",
    }
