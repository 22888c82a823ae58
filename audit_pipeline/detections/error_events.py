"""Which events are errors of a service, and the text by which two of them are known to be the same.

Belongs here: the definition, as SQL over the view `events`. Not here: templates (`_drain`), judging them (`templates`).

An error is what an application tells as one (OCSF Application Error) and a call or change that failed (status Failure). Not an error of
the service are: sign-ins that failed and connections that were not made (people and the internet do that; rules look at them), calls
that were refused for lack of rights, and calls that HTTP answers with 4xx because of what the caller sent (RFC 9110, 15.5), but for
408, 425 and 429, which tell of the service's own state. A code without an HTTP status (CloudTrail) is an error unless it is a refusal:
a job that asks each night for a bucket that is gone is worth knowing. A failed request without words of its own beside a line of the same
service and request that has some is that same error, told twice, and counts once. A line that stands for several counts as so many.
"""

from __future__ import annotations

import datetime as dt

import duckdb

from audit_pipeline.clock import DAY, midnight
from audit_pipeline.detections._drain import HINT, VARIABLES
from audit_pipeline.lake.views import quote

TABLE = "error_events"
TEXT_COLUMNS = ("service", "operation", "code", "text", "stack")
"""by which two errors are known to be the same"""
MESSAGES = 20_000
"""distinct texts of a day that are looked at, the most frequent first"""
_TEXT, _STACK, _NAME = 1_000, 16_000, 200
"""letters of a message, a stack trace (from both ends), and a name that are looked at"""
_REFUSED = (
    "(?i)denied|unauthori[sz]ed|forbidden|notauthorized|expiredtoken|invalidclienttokenid|signaturedoesnotmatch|"
    "authfailure|unrecognizedclient|optinrequired|mfa"
)
_CODE = "coalesce(api_response_error, status_code)"
SERVICE = "coalesce(nullif(api_service_name, ''), nullif(metadata_product_name, ''), x_source)"
_OWN_FAULT = (
    "http_response_code BETWEEN 400 AND 499 AND http_response_code NOT IN (408, 425, 429) "
    f"OR regexp_matches({_CODE}, {quote(_REFUSED)})"
)
IS_ERROR = (
    f"(class_uid = 6008 OR status_id = 2 AND class_uid IS DISTINCT FROM 3002 AND category_uid IS DISTINCT FROM 4 AND NOT coalesce({_OWN_FAULT}, false))"
)  # fmt: skip


def find(con: duckdb.DuckDBPyConnection, day: dt.date) -> None:
    """Make the temporary table `error_events` of a day: service, operation, code, text, stack, with time, place and noise."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {TABLE} AS {_statement()}", {"start": midnight(day), "end": midnight(day) + DAY})  # fmt: skip


def texts(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str, str, int]]:
    """The distinct texts (`TEXT_COLUMNS`) with how many events have them, the most frequent first, at most `MESSAGES`."""
    columns = ", ".join(TEXT_COLUMNS)
    query = f"SELECT {columns}, sum(times)::BIGINT AS n FROM {TABLE} GROUP BY ALL ORDER BY n DESC, {columns} LIMIT {MESSAGES}"
    return con.sql(query).fetchall()


def _statement() -> str:
    """Columns are cut before any regular expression sees them: a message may have 10 MB."""
    told = "coalesce(nullif(api_response_error_message, ''), nullif(message, ''), status_detail, '')"
    words = f"split_part(left({told}, {_TEXT}), chr(10), 1)"  # below the first line stands a stack trace
    return f"""
        WITH found AS (
            SELECT {SERVICE} AS service, left(coalesce(api_operation, ''), {_NAME}) AS operation,
                left(coalesce(CASE WHEN class_uid = 6008 THEN '' END, {_CODE}, http_response_code::VARCHAR, ''), {_NAME}) AS code,
                {_without_names(words)} AS words, {_stack()} AS trace, greatest(coalesce("count", 1), 1) AS times,
                time, x_source, x_segment, x_line, metadata_uid, x_noise_rule IS NULL AS loud,
                coalesce(api_request_uid, http_request_uid) AS request
            FROM events WHERE time >= $start AND time < $end AND {IS_ERROR}
        ), told AS (SELECT DISTINCT service, request FROM found WHERE words <> '' AND request IS NOT NULL)
        SELECT * EXCLUDE (words, trace, request), {_variables("words")} AS text,
            CASE WHEN regexp_matches(trace, {quote(HINT)}) THEN trace ELSE regexp_replace(trace, '\\d+', '0', 'g') END AS stack
        FROM found f WHERE words <> '' OR trace <> '' OR NOT EXISTS (
            SELECT 1 FROM told t WHERE t.service = f.service AND t.request = f.request)"""


def _stack() -> str:
    """The field that has a stack trace, its beginning and its end; empty where none has."""
    whole = "CASE WHEN contains(left(status_detail, 400), chr(10)) THEN status_detail WHEN contains(left(message, 1000), chr(10)) THEN message ELSE '' END"
    half = _STACK // 2
    return f"list_transform([{whole}], lambda s: CASE WHEN length(s) <= {_STACK} THEN s ELSE left(s, {half}) || chr(10) || right(s, {half}) END)[1]"


def _without_names(text: str) -> str:
    """The text without the names that the record itself gives to people: they are not what the error is about."""
    for name in ("user_name", "actor_user_name", "x_account"):
        text = f"CASE WHEN length({name}) BETWEEN 3 AND {_NAME} THEN replace({text}, {name}, '<user>') ELSE {text} END"
    return text


def _variables(text: str) -> str:
    """Variables masked already here, where no secret can stand: then few texts are left."""
    replaced = text
    for shape, put in VARIABLES:
        replaced = f"regexp_replace({replaced}, {quote(shape)}, {quote(put)}, 'g')"
    return f"CASE WHEN regexp_matches({text}, {quote(HINT)}) THEN {text} ELSE {replaced} END"
