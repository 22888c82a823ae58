"""A lake of stored KPIs, detections and verdicts, and decided fixes, for tests of `effects`.

Belongs here: rows as the other boxes store them. Not here: simulated series (`benchmarks.effects_families`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.effects.compute import effects
from audit_pipeline.effects.model import Point
from audit_pipeline.findings.decisions import NO_PREVIOUS
from audit_pipeline.findings.view import finding_id
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions, open_state

RULE, GROUP = "signin_burst", '{"user":"erin"}'
FINDING = finding_id(RULE, GROUP)
KPI, SCOPE = "failed_sign_ins", "source:idp"


@dataclass(frozen=True)
class Place:
    """A configuration, its lake and its database."""

    settings: Settings
    lake: Lake
    engine: sa.Engine

    @classmethod
    def make(cls, root: Path, more: str = "") -> Place:
        text = (
            f"start: 2026-01-01\nreleases: releases.csv\nsources:\n  idp: {{type: files, format: cloudtrail}}\n{more}"
        )
        (root / "releases.csv").write_text("time,service,version,change_id\n", encoding="utf-8")
        settings = Settings.from_text(text, root / "pipeline.yaml")
        return cls(settings, Lake.open(settings.lake_url), open_state(settings.state_url_resolved))

    def days(self, points: Iterable[Point], verdicts: Mapping[dt.date, str] | None = None) -> None:
        """Stored KPI values of some days, completeness (default: proven) and no detection."""
        for point in points:
            verdict = (verdicts or {}).get(point.day, "proven")
            self.kpi(point.day, point.n, verdict)
            self.write("completeness", point.day, source="idp", verdict=verdict, events=100, reasons=[])

    def kpi(self, day: dt.date, n: float, verdict: str = "proven") -> None:
        """One stored value, of the source and of all."""
        rows = [
            {
                "period": day.isoformat(),
                "start": midnight(day),
                "end": midnight(day) + DAY,
                "kpi_id": KPI,
                "scope": scope,
                "value": n,
                "unit": "count",
                "n": int(n),
                "population": 1000,
                "verdict": verdict,
            }
            for scope in ("all", SCOPE)
        ]
        self.lake.write_table("kpis", table("kpis", rows), day)

    def detection(self, day: dt.date, n: int = 12, rule: str = RULE, group: str = GROUP, **more: Any) -> None:
        """The finding, or something else, is detected on a day."""
        self.write(
            "detections",
            day,
            detection_id=f"{rule}{day}",
            rule_id=rule,
            group_key=group,
            kind="rule",
            level="high",
            n=n,
            first_time=midnight(day),
            last_time=midnight(day),
            **{"sources": ["idp"], **more},
        )

    def evaluated(self, days: Iterable[dt.date], state: str = "evaluated") -> None:
        """The finding's rule was evaluated, or not."""
        for day in days:
            self.write("rule_states", day, rule_id=RULE, state=state, reason=None if state == "evaluated" else "source missing", n=0, sources=["idp"])  # fmt: skip

    def write(self, name: str, day: dt.date, **row: Any) -> None:
        """A table of one row."""
        self.lake.write_table(name, table(name, [{"day": day, **row}]), day)

    def decide(self, action: str, at: dt.datetime, effective: dt.datetime | None = None, **payload: Any) -> int:
        """Record a decision as the log holds it; returns its number."""
        with self.engine.begin() as connection:
            seq = int(connection.execute(sa.select(sa.func.count()).select_from(decisions)).scalar_one()) + 1
            connection.execute(
                sa.insert(decisions).values(
                    seq=seq,
                    finding_id=FINDING,
                    action=action,
                    person="alice",
                    identity="os",
                    recorded_at=rfc3339(at),
                    effective_at=rfc3339(effective or at),
                    reason="because",
                    payload=json.dumps(payload),
                    previous=NO_PREVIOUS,
                    hash=f"{seq:064d}",
                )
            )
        return seq

    def fix(self, fixed: dt.date, decision: dt.date, **proposal: Any) -> str:
        """A fix proposed the day before `fixed` and implemented at its noon; returns its subject."""
        said = {"kind": "rate", "kpi_id": KPI, "scope": SCOPE, "direction": "down", "promised": 0.5, **proposal}
        noon = midnight(fixed) + dt.timedelta(hours=12)
        seq = self.decide("propose", noon - DAY, fix="block it", decision_date=decision.isoformat(), **said)
        self.decide("implement", noon, proposal=seq)
        return f"{FINDING}:{seq}"

    def effects(self, day: dt.date) -> list[dict[str, Any]]:
        """The rows of a day."""
        return list(effects(self.settings, self.lake, self.engine, day).to_pylist())


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with the registered columns; those not named are null."""
    schema = TABLES[name].schema
    return pa.Table.from_pylist([{**dict.fromkeys(schema.names), **row} for row in rows], schema=schema)
