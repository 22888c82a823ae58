"""Event columns: the OCSF 1.8 path with underscores, plus ours with `x_` (https://schema.ocsf.io/1.8.0).

Belongs here: each column once, with type and meaning. Not here: how a format fills it. Columns are only ever added.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

OCSF_VERSION = "1.8.0"
TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One event column; `path` is where it stands in nested OCSF, empty for our own columns."""

    name: str
    kind: pa.DataType
    path: str
    doc: str


def _ocsf(path: str, kind: pa.DataType, doc: str) -> Column:
    return Column(path.replace(".", "_"), kind, path, doc)


_S, _I, _B = pa.string(), pa.int32(), pa.bool_()

COLUMNS: tuple[Column, ...] = (
    Column("day", pa.date32(), "", "UTC day of `time`; the partition"),
    _ocsf("time", TIME, "when the event happened"),
    _ocsf("class_uid", _I, "OCSF class"),
    _ocsf("category_uid", _I, "OCSF category"),
    _ocsf("activity_id", _I, "OCSF activity within the class"),
    _ocsf("type_uid", pa.int64(), "class_uid * 100 + activity_id"),
    _ocsf("severity_id", _I, "OCSF severity; 1 informational"),
    _ocsf("status_id", _I, "1 success, 2 failure, 0 unknown"),
    _ocsf("status_code", _S, "the source's own code of a failure"),
    _ocsf("status_detail", _S, "the source's own words about the outcome"),
    _ocsf("message", _S, "the source's message"),
    _ocsf("count", _I, "how often the source says it happened"),
    _ocsf("duration", pa.int64(), "milliseconds the act took"),
    _ocsf("metadata.uid", _S, "the source's own id of the record"),
    _ocsf("metadata.event_code", _S, "the source's own word for the kind of record"),
    _ocsf("metadata.product.name", _S, "product that wrote the record"),
    _ocsf("metadata.product.vendor_name", _S, "its vendor"),
    _ocsf("metadata.log_name", _S, "log within the product"),
    _ocsf("metadata.log_version", _S, "version of the record's own format"),
    _ocsf("actor.user.name", _S, "who acted"),
    _ocsf("actor.user.uid", _S, "its id at the source"),
    _ocsf("actor.user.uid_alt", _S, "a second id at the source, such as AWS principalId"),
    _ocsf("actor.user.type", _S, "the source's word for the kind of user"),
    _ocsf("actor.user.account.uid", _S, "account it belongs to"),
    _ocsf("actor.user.credential_uid", _S, "credential it used (never a secret)"),
    _ocsf("actor.session.uid", _S, "session"),
    _ocsf("actor.session.issuer", _S, "who issued the session, such as the assumed role"),
    _ocsf("actor.session.is_mfa", _B, "whether the session had a second factor"),
    _ocsf("actor.invoked_by", _S, "service that acted for the user"),
    _ocsf("actor.idp.name", _S, "identity provider that vouched for it"),
    _ocsf("user.name", _S, "who was acted on; in Authentication, who tried to sign in"),
    _ocsf("user.uid", _S, "its id"),
    _ocsf("user.type", _S, "the source's word for its kind"),
    _ocsf("group.name", _S, "group that was changed"),
    _ocsf("group.uid", _S, "its id"),
    _ocsf("src_endpoint.ip", _S, "address the act came from"),
    _ocsf("src_endpoint.hostname", _S, "host or service it came from"),
    _ocsf("src_endpoint.uid", _S, "id of what it came from, such as a VPC endpoint"),
    _ocsf("dst_endpoint.hostname", _S, "host or service it went to"),
    _ocsf("device.hostname", _S, "host the record tells of"),
    _ocsf("http_request.user_agent", _S, "user agent as sent (hostile text)"),
    _ocsf("http_request.uid", _S, "the service's id of the request"),
    _ocsf("http_response.code", _I, "HTTP status"),
    _ocsf("api.operation", _S, "operation that was called"),
    _ocsf("api.service.name", _S, "service that was called"),
    _ocsf("api.request.uid", _S, "id of the request"),
    _ocsf("api.response.error", _S, "error code of the response"),
    _ocsf("api.response.error_message", _S, "its message (hostile text)"),
    _ocsf("api.response.message", _S, "message of the response"),
    _ocsf("api.version", _S, "version of the API"),
    _ocsf("cloud.provider", _S, "cloud"),
    _ocsf("cloud.region", _S, "region"),
    _ocsf("cloud.account.uid", _S, "account that the record belongs to"),
    _ocsf("resource.uid", _S, "first resource acted on"),
    _ocsf("resource.type", _S, "its type"),
    _ocsf("resource.name", _S, "its name"),
    _ocsf("is_mfa", _B, "whether a second factor was used at sign-in"),
    _ocsf("finding_info.uid", _S, "id of a finding that the source itself made"),
    _ocsf("finding_info.title", _S, "its title"),
    Column("x_read_only", _B, "", "whether the source says that nothing was changed"),
    Column("x_source", _S, "", "configured source"),
    Column("x_format", _S, "", "record format and parser version"),
    Column("x_actor", _S, "", "accountable identity (contracts.md)"),
    Column("x_actor_kind", _S, "", "human | service | unknown"),
    Column("x_collected_time", TIME, "", "when we collected it"),
    Column("x_visible_time", TIME, "", "delivery stamp of the source, else the file's time"),
    Column("x_segment", _S, "", "segment that holds the record"),
    Column("x_line", pa.int64(), "", "the record's number through the whole segment, from 0"),
    Column("x_records", _I, "", "records merged into this event, extra copies included"),
    Column("x_duplicates", _I, "", "extra copies among them"),
    Column("raw_data", _S, "raw_data", "the record as it came"),
)

CONTEXT: tuple[Column, ...] = (
    Column("x_account", _S, "", "the account as the source recorded it"),
    Column(
        "x_actor_person",
        _S,
        "",
        "the person behind it, by identities.csv as of the event's time; null where not listed",
    ),
    Column("x_actor_role", _S, "", "their role, likewise"),
    Column("x_actor_team", _S, "", "their team, likewise"),
    Column("x_actor_zone", _S, "", "their time zone, likewise"),
    Column(
        "x_listed",
        _B,
        "",
        "whether the account is in the inventory; null without an inventory, and where no account is recorded",
    ),
    Column(
        "x_off_hours", _B, "", "outside working hours in the actor's zone, else in `hours.zone`; null without `hours`"
    ),
    Column("x_noise_rule", _S, "", "the noise rule in force on the event's day that marks it; null where none does"),
)
"""Columns of the view `events` that depend on the configuration (`context`); never stored."""

BY_NAME = {column.name: column for column in COLUMNS}
EVENT_SCHEMA = pa.schema([pa.field(column.name, column.kind) for column in COLUMNS])
CIRCUMSTANCE = ("x_collected_time", "x_visible_time", "x_segment", "x_line", "x_records", "x_duplicates")
"""Columns that tell where and when we got a record: left out of the content hash."""
DRIVER = ("day", "x_source", "x_format", *CIRCUMSTANCE, "raw_data")
"""Columns that the streamed path fills; a format fills the others."""
VIEW = {column.name: column for column in (*COLUMNS, *CONTEXT)}
"""Columns of the view `events`, by name."""
VIEW_SCHEMA = pa.schema([pa.field(column.name, column.kind) for column in VIEW.values()])
