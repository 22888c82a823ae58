"""The OCSF columns of a Kubernetes audit event, as SQL over `r` (the transformed record); used by `kubernetes_audit`.

Belongs here: who, what, on what, how it ended. Not here: framing, keys, times, stages. Sources: the audit API
(kubernetes.io/docs/reference/config-api/apiserver-audit.v1), user names of components and service accounts
(kubernetes.io/docs/reference/access-authn-authz/authentication), the OCSF project's mapping of EKS audit logs.
"""

from __future__ import annotations

_T, _J = "VARCHAR", "JSON"
_USER = {"username": _T, "uid": _T}
STRUCTURE: dict[str, object] = {
    "apiVersion": _T, "level": _T, "auditID": _T, "stage": _T, "requestURI": _T, "verb": _T, "userAgent": _T, "sourceIPs": [_T],
    "user": _USER | {"extra": _J}, "impersonatedUser": _USER,
    "objectRef": {"resource": _T, "namespace": _T, "name": _T, "uid": _T, "apiGroup": _T, "apiVersion": _T, "subresource": _T},
    "responseStatus": {"code": _T, "status": _T, "message": _T, "reason": _T},
    "requestReceivedTimestamp": _T, "stageTimestamp": _T, "annotations": _J,
}  # fmt: skip

_NAME = "r.user.username"
_CODE = "TRY_CAST(r.responseStatus.code AS INTEGER)"
_DECISION = """json_extract_string(r.annotations, '$."authorization.k8s.io/decision"')"""
_REASON = """nullif(json_extract_string(r.annotations, '$."authorization.k8s.io/reason"'), '')"""
_STAMP = r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z'"
# A Panic has no answer; without a response the authorizer's word decides, and a request that was only received has no outcome yet.
_STATUS = (
    f"CASE WHEN {_CODE} >= 400 THEN 2 WHEN {_CODE} > 0 THEN 1 WHEN r.stage = 'Panic' OR r.responseStatus.status = 'Failure' "
    f"OR {_DECISION} = 'forbid' THEN 2 WHEN r.responseStatus.status = 'Success' THEN 1 ELSE 0 END"
)
_ACTIVITY = (
    "CASE WHEN r.verb IN ('get', 'list', 'watch', 'head', 'options') THEN 2 WHEN r.verb IN ('create', 'post') THEN 1 "
    "WHEN r.verb IN ('update', 'patch', 'put') THEN 3 WHEN r.verb IN ('delete', 'deletecollection') THEN 4 ELSE 99 END"
)
# Reviews ask whether something is allowed and store nothing; a session inside a container is more than reading, whatever the verb.
_READ_ONLY = (
    "CASE WHEN r.objectRef.subresource IN ('exec', 'attach', 'portforward', 'proxy') THEN false "
    "WHEN r.verb IN ('get', 'list', 'watch', 'head', 'options') THEN true "
    "WHEN r.verb = 'create' AND ends_with(r.objectRef.resource, 'reviews') THEN true WHEN r.verb <> '' THEN false END"
)
_KIND = (
    f"CASE WHEN {_NAME} IN ('system:admin', 'system:anonymous', 'system:unauthenticated') THEN 'unknown' "
    f"WHEN starts_with({_NAME}, 'system:') OR starts_with({_NAME}, 'eks:') OR starts_with({_NAME}, 'aks:') "
    f"OR ends_with({_NAME}, '.gserviceaccount.com') THEN 'service' WHEN contains({_NAME}, '@') THEN 'human' ELSE 'unknown' END"
)


def _text(expression: str) -> str:
    return f"nullif({expression}, '')"


def _extra(name: str) -> str:
    return f"nullif(json_extract_string(r.\"user\".extra, '$.\"{name}\"[0]'), '')"


def columns() -> dict[str, str]:
    """Event column to SQL expression; the actor is who is accountable: of an impersonation the one who impersonates."""
    failed = f"({_STATUS}) = 2"
    elapsed = "epoch_us(TRY_CAST(r.stageTimestamp AS TIMESTAMPTZ)) - epoch_us(TRY_CAST(r.requestReceivedTimestamp AS TIMESTAMPTZ))"
    timed = f"regexp_full_match(r.stageTimestamp, {_STAMP}) AND regexp_full_match(r.requestReceivedTimestamp, {_STAMP})"
    # the name of what is created may stand in the body only
    created = """CASE WHEN r.verb = 'create' AND r.objectRef."name" IS NULL AND r.objectRef.resource IS NOT NULL THEN coalesce(json_extract_string(doc, '$.responseObject.metadata.name'), json_extract_string(doc, '$.requestObject.metadata.name')) END"""
    found = {
        "class_uid": "6003",
        "category_uid": "6",
        "activity_id": _ACTIVITY,
        "type_uid": f"600300 + {_ACTIVITY}",
        "severity_id": "1",
        "status_id": _STATUS,
        "status_code": f"CASE WHEN {failed} THEN coalesce({_text('r.responseStatus.reason')}, r.responseStatus.code) END",
        "status_detail": f"CASE WHEN {_DECISION} IS NOT NULL THEN concat_ws(': ', {_DECISION}, {_REASON}) END",
        "message": "nullif(concat_ws(' ', r.verb, r.requestURI), '')",
        "duration": f"CASE WHEN {timed} AND r.stage <> 'RequestReceived' THEN CASE WHEN {elapsed} >= 0 THEN ({elapsed}) // 1000 END END",
        "metadata_uid": "r.auditID",
        "metadata_event_code": "r.stage",
        "metadata_product_name": "'Kubernetes'",
        "metadata_product_vendor_name": "'Kubernetes'",
        "metadata_log_name": "'audit'",
        "metadata_log_version": "r.apiVersion",
        "actor_user_name": _text(_NAME),
        "actor_user_uid": _text("r.user.uid"),
        "actor_user_uid_alt": _extra("arn"),
        "actor_user_type": f"CASE WHEN starts_with({_NAME}, 'system:serviceaccount:') THEN 'ServiceAccount' WHEN starts_with({_NAME}, 'system:node:') THEN 'Node' END",
        "actor_user_credential_uid": f"coalesce({_extra('accessKeyId')}, {_extra('authentication.kubernetes.io/credential-id')})",
        "actor_session_uid": _extra("sessionName"),
        "actor_session_issuer": _extra("canonicalArn"),
        "user_name": _text("r.impersonatedUser.username"),
        "user_uid": _text("r.impersonatedUser.uid"),
        # "All but the last IP can be arbitrarily set by the client": the audit API on sourceIPs
        "src_endpoint_ip": _text("r.sourceIPs[-1]"),
        "http_request_user_agent": "r.userAgent",
        "http_response_code": _CODE,
        "api_operation": _text("r.verb"),
        "api_service_name": f"CASE WHEN r.objectRef.resource IS NULL THEN 'kube-apiserver' ELSE coalesce({_text('r.objectRef.apiGroup')}, 'core') END",
        "api_request_uid": "r.auditID",
        "api_response_error": f"CASE WHEN {failed} THEN {_text('r.responseStatus.reason')} END",
        "api_response_error_message": f"CASE WHEN {failed} THEN {_text('r.responseStatus.message')} END",
        "api_version": _text("r.objectRef.apiVersion"),
        "resource_uid": _text("r.objectRef.uid"),
        "resource_type": f"CASE WHEN r.objectRef.resource <> '' THEN concat_ws('/', r.objectRef.resource, {_text('r.objectRef.subresource')}) END",
        "resource_name": f"coalesce({_text('r.objectRef.name')}, {created}, CASE WHEN r.objectRef.resource IS NULL THEN {_text('''split_part(r.requestURI, '?', 1)''')} END)",
        "x_read_only": _READ_ONLY,
        "x_actor": _text(_NAME),
        "x_actor_kind": _KIND,
    }
    return {
        name: sql.replace("r.user.", 'r."user".').replace("objectRef.name", 'objectRef."name"')
        for name, sql in found.items()
    }
