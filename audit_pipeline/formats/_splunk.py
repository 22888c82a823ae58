"""The OCSF columns of Splunk's own audit trail, as SQL over `r`; used by `splunk_audit`.

Belongs here: who, what, how it ended. Not here: rows, keys, times. Sources: Splunk, "Audit Splunk activity" and "About structured audit
trail logs" (help.splunk.com, Securing Splunk), authorize.conf.spec for what the actions (capabilities) mean. Two shapes lie in
`index=_audit`: text (`audittrail`: `Audit:[timestamp=…, user=…, action=…, info=…`) and JSON (`audittrailv2`, since 10.0). Text quotes
what people typed without escaping it: what stands behind a name or a user agent is anchored to the end, and a sign-in that can be
read in two ways has an unknown outcome.
"""

from __future__ import annotations

import json

_T = "VARCHAR"
_DOC = "CASE WHEN json_valid(doc) THEN doc ELSE NULL END"
_ROW = {"_raw": _T, "_bkt": _T, "_cd": _T, "host": _T, "sourcetype": _T}
_V2 = {
    "category": _T, "action": _T, "actor": {"name": _T}, "result": _T, "session_id": _T, "correlation_id": _T,
    "data": {"name": _T, "type": _T, "attributes": {"clientip": _T, "useragent": _T, "search": _T}},
}  # fmt: skip
_HEAD = r"^(?:\d\d-\d\d-\d{4} [^\n]{0,80}?AuditLogger[^\n]{0,80}? - )?Audit: ?\[timestamp=([^,]*), user=([^,]*), action=([^,\]]*)(?:, ?info=(\w+))?"
_PARTS = {
    "object": r'\bobject="([^"]*)"',
    "name": r", name=([^,\]]*)",
    "operation": r"\boperation=(\w+)",
    "reason": r"\breason=(.*?)(?: useragent=|,|\])",
    "run_time": r"\btotal_run_time=([0-9.]+)",
    "session": r"(?s).*\bsession=(\w+)",
    "address": r"(?s).*\b(?:clientip|src)=([0-9A-Fa-f.:]+)",
    "agent": r'\buseragent="?(.*?)"? clientip=',
    "search": r"(?s) search='(.*)', autojoin=",
}
"""What stands in the text of an event, by pattern."""
_WORDS = {
    "object": ("object=",), "name": (", name=",), "operation": ("operation=",), "reason": ("reason=",), "run_time": ("total_run_time=",),
    "session": ("session=",), "address": ("clientip=", "src="), "agent": ("useragent=",), "search": ("search='",),
}  # fmt: skip
"""One of these stands in a text in which the pattern of that name finds something."""
_OWN = "'', 'audittrail', 'audittrailv2'"
"""Source types of the trail; text without one is a line of `audit.log`."""
_CAPABILITY = {
    "edit_user": "account", "edit_roles": "role", "edit_roles_grantable": "role", "edit_index": "index", "indexes_edit": "index", "search": "search",
}  # fmt: skip
"""What an action of the text shape is about."""


_LOOKING = "IN ('list', 'get', 'view', 'read')"
_READING = f"z.done {_LOOKING}"
_MAKING = "z.done IN ('create', 'add', 'new')"
_ENDING = "z.done IN ('delete', 'remove')"
_CHANGING = "z.done IN ('edit', 'update', 'enable', 'disable')"
_API = f"CASE WHEN {_MAKING} THEN 600301 WHEN {_READING} THEN 600302 WHEN {_ENDING} THEN 600304 ELSE 600303 END"
_KIND = (
    "CASE WHEN z.signing THEN CASE WHEN contains(z.action, 'logout') THEN 300202 ELSE 300201 END "
    "WHEN z.action = 'change_own_password' AND z.account IS NOT NULL THEN 300103 "
    f"WHEN z.about = 'account' AND z.object IS NOT NULL AND NOT {_READING} THEN CASE WHEN {_MAKING} THEN 300101 WHEN {_ENDING} THEN 300106 ELSE 300199 END "
    f"WHEN z.about = 'role' AND z.object IS NOT NULL AND NOT {_READING} THEN CASE WHEN {_MAKING} THEN 300606 WHEN {_ENDING} THEN 300605 ELSE 300699 END "
    "WHEN z.about = 'search' AND NOT z.v2 OR z.action = 'search' THEN 600302 WHEN z.action = 'delete_by_keyword' THEN 600304 "
    f"WHEN z.about = 'index' OR {_MAKING} OR {_READING} OR {_ENDING} OR {_CHANGING} THEN {_API} ELSE 99 END"
)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _part(name: str, *words: str) -> str:
    """What a pattern finds; most lines hold none of its words, and looking for a word costs a tenth of looking for a pattern."""
    there = " OR ".join(f"contains(x.text, {_quote(word)})" for word in words)
    return f"CASE WHEN {there} THEN nullif(trim(regexp_extract(x.text, {_quote(_PARTS[name])}, 1)), '') END"


def record() -> str:
    """SQL over `doc`: the row around the event where there is one, its text, and its words in either shape; all null for other logs."""
    row = f"json_transform({_DOC}, {_quote(json.dumps(_ROW))})"
    named = f"lambda w: {{'row': w, 'raw': coalesce(w._raw, doc), 'own': coalesce(w.sourcetype, '') IN ({_OWN})}}"
    text = "CASE WHEN y.own AND NOT json_valid(y.raw) THEN y.raw ELSE '' END"
    v2 = f"json_transform(CASE WHEN y.own AND json_valid(y.raw) THEN y.raw ELSE NULL END, {_quote(json.dumps(_V2))})"
    head = f"regexp_extract({text}, {_quote(_HEAD)}, ['stamp', 'user', 'action', 'info'])"
    both = f"lambda y: {{'row': y.\"row\", 'raw': y.raw, 'text': {text}, 'head': {head}, 'v2': {v2}}}"
    words = ", ".join(f"'{name}': {sql}" for name, sql in _words().items())
    steps = f"list_transform(list_transform(list_transform([{row}], {named}), {both}), lambda x: {{{words}}})"
    return f"list_transform({steps}, lambda z: struct_insert(z, kind := {_KIND}))[1]"


def _words() -> dict[str, str]:
    """The words of an event, whichever shape it has, over `x`."""
    part = {name: _part(name, *words) for name, words in _WORDS.items()}
    action = "lower(nullif(trim(coalesce(x.v2.action, x.head.action)), ''))"
    user = "coalesce(x.v2.actor.name, trim(x.head.user))"
    kinds = " ".join(f"WHEN {_quote(name)} THEN {_quote(kind)}" for name, kind in _CAPABILITY.items())
    data = "x.v2.data.attributes"
    return {
        "raw": "x.raw", "host": 'x."row".host', "v2": "x.v2.action IS NOT NULL", "action": action,
        "log": """coalesce(x."row".sourcetype, CASE WHEN x.v2.action IS NOT NULL THEN 'audittrailv2' WHEN x.head.action <> '' THEN 'audittrail' END)""",
        "uid": """x."row"._bkt || '-' || x."row"._cd""",
        "info": "lower(nullif(coalesce(x.v2.result, x.head.info), ''))",
        "account": f"CASE WHEN {user} NOT IN ('n/a', 'N/A', '') THEN {user} END",
        "object": f"coalesce(x.v2.data.name, {part['object']}, {part['name']})",
        "done": f"coalesce(lower(x.v2.action), lower({part['operation']}), '')",
        "about": f"coalesce(lower(x.v2.data.type), CASE {action} {kinds} ELSE '' END)",
        "signing": f"coalesce({action} IN ('login attempt', 'login', 'logout') OR x.v2.category = 'authn', false)",
        "twice": "x.text LIKE '%, action=%, action=%'",
        "reason": part["reason"], "run_time": part["run_time"],
        "session": f"coalesce(x.v2.session_id, {part['session']})", "address": f"coalesce({data}.clientip, {part['address']})",
        "agent": f"coalesce({data}.useragent, {part['agent']})", "search": f"coalesce({data}.search, {part['search']})",
        "request": "x.v2.correlation_id",
    }  # fmt: skip


_STATUS = (
    "CASE WHEN r.signing AND r.twice THEN 0 WHEN r.info IN ('succeeded', 'success', 'completed', 'granted') THEN 1 "
    "WHEN r.info IN ('failed', 'failure', 'denied', 'refused') THEN 2 ELSE 0 END"
)


def columns() -> dict[str, str]:
    """Event column to SQL expression. In Authentication `user` is who tried to sign in, and acted. A row of another log has its text only."""
    return {
        "class_uid": "r.kind // 100",
        "category_uid": "r.kind // 100000",
        "activity_id": "r.kind % 100",
        "type_uid": "r.kind",
        "severity_id": "1",
        "status_id": _STATUS,
        "status_detail": "coalesce(r.reason, r.info)",
        "message": "coalesce(r.search, nullif(CASE WHEN r.v2 THEN concat_ws(' ', r.action, r.about, r.object) ELSE r.raw END, ''))",
        "duration": "TRY_CAST(round(TRY_CAST(r.run_time AS DOUBLE) * 1000) AS BIGINT)",
        "metadata_uid": "r.uid",
        "metadata_event_code": "r.action",
        "metadata_product_name": "'Splunk'",
        "metadata_product_vendor_name": "'Splunk'",
        "metadata_log_name": "r.log",
        "actor_user_name": "r.account",
        "actor_session_uid": "r.session",
        "user_name": "CASE WHEN r.signing OR r.action = 'change_own_password' THEN r.account WHEN r.about = 'account' THEN r.object END",
        "group_name": "CASE WHEN r.about = 'role' THEN r.object END",
        "src_endpoint_ip": "r.address",
        "device_hostname": "nullif(r.host, '')",
        "http_request_user_agent": "r.agent",
        "http_request_uid": "r.request",
        "api_operation": "r.action",
        "api_service_name": "CASE WHEN r.action IS NOT NULL THEN 'splunkd' END",
        "resource_name": "CASE WHEN r.about NOT IN ('account', 'role', 'search') THEN r.object END",
        "resource_type": "CASE WHEN r.object IS NOT NULL THEN nullif(r.about, '') END",
        "x_read_only": f"CASE WHEN r.done {_LOOKING} THEN true END",
        "x_actor": "r.account",
        "x_actor_kind": "CASE WHEN r.account IN ('splunk-system-user', 'nobody') THEN 'service' WHEN r.account IS NOT NULL THEN 'unknown' END",
    }
