"""A trail's folder, a lake, and the pipeline's own steps between them: collect, index, unify, judge."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from audit_pipeline.formats.cloudtrail import FORMAT
from audit_pipeline.lake.manifest import Member
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Source
from audit_pipeline.sources.collect import Collected, source_of
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR, World
from audit_pipeline_tests.stubs.cloudtrail import Folder, Trail, event, published, signing_key

MINUTE = dt.timedelta(minutes=1)


class TrailWorld(World):
    """One source over one folder; a trail of one account and region delivers into it."""

    source = "trail"

    def __init__(self, root: Path, *, sidecars: bool = True, storage: dict[str, Any] | None = None, **options: Any) -> None:  # fmt: skip
        self.root = root
        keys = root / "keys.json"
        if not keys.exists():
            keys.write_text(json.dumps(published(signing_key())))
        given = {"url": "bucket", "public_keys": "keys.json"} | options
        source = {"type": "cloudtrail", "format": "cloudtrail", "options": given, "storage": storage or {}}
        text = json.dumps({"start": BEGIN.date().isoformat(), "sources": {self.source: source}})
        super().__init__(Settings.from_text(text, root / "pipeline.yaml"), FORMAT)
        self.folder = Folder(root / "bucket", sidecars)
        self.trail = Trail(self.folder, BEGIN - HOUR)

    def open(self) -> Source:
        return source_of(self.settings, self.source)

    def hours(self, n: int, *, digests: bool = True) -> None:
        """So many hours go by: a file at the end of each, with an event of each quarter; and its digest."""
        for _ in range(n):
            times = [self.trail.since + (k * 15 + 5) * MINUTE for k in range(4)]
            self.trail.deliver(self.trail.since + 55 * MINUTE, *(event(f"e-{at:%d%H%M}", at) for at in times))
            if digests:
                self.trail.digest()
            else:
                self.trail.since += HOUR

    def night(self, day: int) -> Collected:
        """The night of the day with this number, from 0: collected at three in the morning, computed, judged."""
        got = self.collect(BEGIN + (day + 1) * DAY + 3 * HOUR)
        self.build()
        self.verdict((BEGIN + day * DAY).date())
        return got

    def logs(self) -> list[str]:
        """Keys of all log files that lie there, sorted."""
        return sorted(str(path.relative_to(self.folder.root)) for path in self.folder.root.rglob("*_CloudTrail_*.gz"))


def taken(got: Collected) -> list[Member]:
    """What was kept."""
    return [member for entry in got.entries for member in entry.members]
