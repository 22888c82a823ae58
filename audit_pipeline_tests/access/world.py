"""A lake whose sources show who may do what to their logs, entry by entry."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.lake import manifest
from audit_pipeline.lake.manifest import Entry, Remark
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

FIRST = dt.date(2025, 6, 1)
READ, DELETE = ["role:auditor", "read", "role auditor"], ["user:eve", "delete", "role superuser"]


class Keeping:
    """Three sources; `elastic` tells, `shop` refuses where a test says so, `files` has no way to."""

    def __init__(self, root: Path, approved: list[dict[str, Any]] | None = None) -> None:
        sources = {name: {"type": "files", "format": "cloudtrail", "team": "cloud"} for name in ("elastic", "shop", "files")}  # fmt: skip
        text: dict[str, Any] = {"start": FIRST.isoformat(), "sources": sources, "teams": {"cloud": {}}}
        if approved is not None:
            (root / "approved.yaml").write_text(json.dumps(approved))
            text["approved_access"] = "approved.yaml"
        self.settings = Settings.from_text(json.dumps(text), root / "pipeline.yaml")
        self.lake = Lake.open(self.settings.lake_url)

    def entry(self, source: str, day: dt.date, *, at: dt.datetime | None = None, failed: bool = False, **request: Any) -> Entry:  # fmt: skip
        """One collection for a day; whole ones reach up to when they were made."""
        when = rfc3339(at or self.settings.as_of(day))
        sequence = len(manifest.sequences(self.lake, source)) + 1
        remarks = [Remark("collection_failed", "no answer")] if failed else []
        return manifest.append(
            self.lake,
            Entry(source=source, sequence=sequence, collected_at=when, clock="system", request={"day": day.isoformat(), **request}, remarks=remarks),
        )  # fmt: skip

    def whole(self, source: str, day: dt.date, horizon: dt.timedelta | None = None, **request: Any) -> Entry:
        """A collection that read everything up to its time."""
        known = request if horizon is None else request | {"horizon_s": horizon.total_seconds()}
        return self.entry(source, day, checkpoint=rfc3339(self.settings.as_of(day)), **known)


def approval(principal: str, *rights: str, source: str = "*", until: dt.date = FIRST + 30 * DAY) -> dict[str, Any]:
    """A line of the approved list."""
    return {"source": source, "principal": principal, "rights": list(rights), "reason": "their work", "owner": "cloud", "until": until.isoformat()}  # fmt: skip
