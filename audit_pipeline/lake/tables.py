"""The one registry of tables: name, columns, partition, file (`contracts.md`). Parquet schema, views and reference docs come from it.

Belongs here: names and types. Not here: the OCSF columns themselves (`ocsf.columns`) or how a table is computed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa

from audit_pipeline.ocsf.columns import EVENT_SCHEMA

TIME = pa.timestamp("us", tz="UTC")
REASONS = pa.list_(
    pa.struct(
        [
            ("code", pa.string()),
            ("from", TIME),
            ("to", TIME),
            ("expected", pa.float64()),
            ("seen", pa.float64()),
            ("share", pa.float64()),
            ("detail", pa.string()),
        ]
    )
)
REFS = pa.list_(
    pa.struct([("source", pa.string()), ("segment", pa.string()), ("line", pa.int64()), ("uid", pa.string())])
)
LEFT_OUT = pa.list_(pa.struct([("day", pa.date32()), ("reason", pa.string())]))
SERIES = pa.list_(
    pa.struct([("day", pa.date32()), ("value", pa.float64()), ("population", pa.float64()), ("window", pa.string())])
)
"""What an effect was computed from, a day each; `window` is before, episode, after or left_out."""


@dataclass(frozen=True)
class Table:
    """A table: its columns and where its partitions lie."""

    name: str
    schema: pa.Schema
    by_source: bool = False
    version: int = 1
    with_files_of: tuple[str, ...] = ()
    """tables of the same columns whose rows its view shows too"""

    def folder(self, source: str | None = None) -> str:
        """The folder that holds the `day=` folders."""
        return f"{self.name}/source={source}" if self.by_source else self.name

    def file(self, day: dt.date, source: str | None = None) -> str:
        """The one file of a partition, relative to the lake's root."""
        return f"{self.folder(source)}/day={day.isoformat()}/{self.name}.parquet"


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name.rstrip("_"), kind) for name, kind in columns.items()])


_S, _I, _F, _D, _B = pa.string(), pa.int64(), pa.float64(), pa.date32(), pa.bool_()

_DETECTIONS = _schema(
    detection_id=_S, day=_D, rule_id=_S, rule_version=_S, kind=_S, level=_S, x_actor=_S, x_target=_S, sources=pa.list_(_S), first_time=TIME,
    last_time=TIME, n=_I, score=_F, threshold=_F, explanation=_S, attack=pa.list_(_S), group_key=_S, verdict=_S, refs=REFS,
)  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table
    for table in [
        Table("events", EVENT_SCHEMA, by_source=True),
        Table("rejects", _schema(source=_S, day=_D, segment=_S, member=_S, line=_I, reason=_S, detail=_S, raw=_S), by_source=True),
        Table(
            "completeness",
            _schema(
                day=_D, source=_S, verdict=_S, reasons=REASONS, records=_I, events=_I, duplicates=_I, rejects=_I, expected_low=_F, expected_high=_F,
                smallest_gap_s=_F, baseline_days=_I, lag_p50_s=_F, lag_p95_s=_F, lag_max_s=_F, future=_I, collected_until=TIME, edition=_I,
            ),
        ),
        Table("detections", _DETECTIONS, with_files_of=("anomalies",)),
        Table("anomalies", _DETECTIONS),
        Table(
            "actor_days",
            _schema(
                day=_D, x_actor=_S, x_actor_kind=_S, team=_S, role=_S, zone=_S, n=_I, first_time=TIME, last_time=TIME, hours=pa.list_(_I), networks=pa.list_(_S),
                sources=pa.list_(_S), events=_F, failures=_F, refusals=_F, errors=_F, sign_in_failures=_F, privileged=_F, changes=_F, deletes=_F, secret_reads=_F,
                data_reads=_F, off_hours=_F, operations=_F, services=_F, resources=_F, hosts=_F, network_count=_F,
            ),
        ),
        Table("access", _schema(day=_D, source=_S, principal=_S, right=_S, via=_S, approved=_B, seen_at=TIME)),
        Table("rule_states", _schema(day=_D, rule_id=_S, rule_version=_S, title=_S, level=_S, state=_S, reason=_S, n=_I, sources=pa.list_(_S))),
        Table("error_templates", _schema(day=_D, service=_S, template_id=_S, template=_S, n=_I, errors=_I, first_time=TIME, last_time=TIME, sources=pa.list_(_S), refs=REFS)),
        Table("service_hours", _schema(day=_D, service=_S, hour=TIME, requests=_I, errors=_I, sources=pa.list_(_S))),
        Table(
            "effects",
            _schema(
                effect_id=_S, subject=_S, subject_id=_S, finding_id=_S, kind=_S, kpi_id=_S, scope=_S, before_start=_D, before_end=_D, after_start=_D, after_end=_D,
                days_before=_I, days_after=_I, left_out=LEFT_OUT, rate_before=_F, rate_after=_F, unit=_S, ratio=_F, low=_F, high=_F, p=_F, p_weeks=_F, p_trend=_F,
                detectable=_F, promised=_F, verdict=_S, reason=_S, as_of=TIME, decision_date=_D, series=SERIES, recurred_at=TIME,
            ),
        ),
        Table(
            "kpis",
            _schema(
                period=_S, start=TIME, end=TIME, kpi_id=_S, scope=_S, value=_F, unit=_S, n=_I, population=_I, low=_F, high=_F, previous=_F, trend=_F, target=_F,
                state=_S, verdict=_S, days_used=_I, days_left_out=_I,
            ),
        ),
    ]
}  # fmt: skip

INDEX_SCHEMA = _schema(
    source=_S,
    day=_D,
    sequence=_I,
    segment=_S,
    member=_S,
    line=_I,
    key_hash=pa.binary(16),
    content_hash=pa.binary(16),
    version=_I,
    time=TIME,
    visible_time=TIME,
    reason=_S, detail=_S, raw=_S,
)  # fmt: skip
"""Columns of `index/source=S/day=D/<sequence>.parquet`; `version` is the source's own order among records of a key; `reason` is null for a good record, else why it is a reject (`raw`: its first bytes)."""


def index_folder(source: str) -> str:
    """Where a source's index lies: a marker `<sequence>.json` for each indexed entry, and a folder a day."""
    return f"index/source={source}"


FINDINGS_SCHEMA = _schema(
    finding_id=_S, rule_id=_S, group_key=_S, title=_S, team=_S, owner=_S, severity=_S, state=_S, first_time=TIME, detected_at=TIME, due_at=TIME,
    acknowledged_at=TIME, proposed_at=TIME, approved_at=TIME, implemented_at=TIME, verified_at=TIME, closed_at=TIME, reopened=_I, n=_I, effect_id=_S, identity=_S,
    kind=_S, x_actor=_S, x_actor_kind=_S, risk=_F, risk_terms=_S, shown=_B, held_back=_S, overdue=_B, expires_at=TIME, approved_by=_S, approval=_S, fix=_S,
)  # fmt: skip
"""Columns of the view `findings`."""

VERDICTS = ("missing", "partial", "unknown", "no_gap_seen", "proven")
"""Completeness verdicts, the worst first: what several sources show together is no better than the worst of them."""


def check_columns(name: str, table: pa.Table) -> pa.Table:
    """The table with exactly the registered columns, in order and type; a missing or foreign column is an error of ours."""
    schema = TABLES[name].schema
    if set(table.column_names) != set(schema.names):
        raise ValueError(
            f"table {name}: columns differ from the registry: {sorted(set(table.column_names) ^ set(schema.names))}"
        )
    return table.select(schema.names).cast(schema)
