"""`truth.json`: what was planted in the demo's logs and what should come of it. Only `demo --score` reads it, after the run.

Belongs here: writing and reading that file. Not here: drawing cases (`cases`, `fixes`), comparing them with what was found (`score`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_pipeline.clock import rfc3339
from audit_pipeline.demo.generate import Story
from audit_pipeline.demo.planted import Case
from audit_pipeline.demo.plot import Plot
from audit_pipeline.errors import UsageError

TRUTH = "truth.json"
_BURST = (
    "signin_burst",
    "signin_success_after_failures",
    "password_spraying",
    "internet_guessing",
    "anomaly",
    "new_network",
)


@dataclass(frozen=True)
class Told:
    """One case as the file has it; times in UTC."""

    id: str
    kind: str
    decoy: bool
    detectable: bool
    why: str
    first_time: dt.datetime
    last_time: dt.datetime
    actors: tuple[str, ...]
    services: tuple[str, ...]
    sources: tuple[str, ...]
    expects: tuple[str, ...]
    also: tuple[str, ...]
    about: tuple[str, ...]
    decisions: tuple[str, ...]
    verdict: str | None


def write(root: Path, plot: Plot, stories: Iterable[Story]) -> None:
    """Write the file below the demo's folder."""
    rows = [_burst(story) for story in stories if story.kind == "signin_burst"] + [_row(case) for case in plot.cases.all]  # fmt: skip
    rows.sort(key=lambda row: (row["first_time"], row["kind"]))
    for number, row in enumerate(rows, 1):
        row["id"] = f"{number:02d}-{row['kind']}"
    text = json.dumps({"start": plot.start.isoformat(), "end": plot.last.isoformat(), "cases": rows}, indent=2, ensure_ascii=False)  # fmt: skip
    (root / TRUTH).write_text(text + "\n", encoding="utf-8")


def read(root: Path) -> list[Told]:
    """The cases of a demo.

    Raises:
        UsageError: the folder has no truth; names the remedy.
    """
    file = root / TRUTH
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["cases"]
        return [_told(row) for row in rows]
    except FileNotFoundError:
        raise UsageError(f"demo: {file} is not there. Make a demo first: audit-pipeline demo {root}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"demo: {file} is not what the demo wrote ({error}). Make the demo again.") from None


def of(case: Case) -> Told:
    """A case in the form in which the file has it."""
    return _told({**_row(case), "id": case.kind})


def _told(row: dict[str, Any]) -> Told:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    values |= {name: dt.datetime.fromisoformat(row[name]) for name in ("first_time", "last_time")}
    return Told(**values)


def _row(case: Case) -> dict[str, Any]:
    return {
        "id": "", "kind": case.kind, "decoy": case.decoy, "detectable": case.detectable and not case.decoy, "why": case.why,
        "first_time": rfc3339(case.first), "last_time": rfc3339(case.last), "actors": case.actors, "services": case.services, "sources": case.sources,
        "expects": case.expects, "also": case.also, "about": case.about, "decisions": case.decisions, "verdict": case.verdict,
    }  # fmt: skip


def _burst(story: Story) -> dict[str, Any]:
    who = tuple(name for name in (story.actor, story.person) if name)
    return {
        "id": "", "kind": story.kind, "decoy": False, "detectable": True, "why": "", "first_time": story.start, "last_time": story.end, "actors": who,
        "services": ("signin.amazonaws.com",), "sources": (story.source,), "expects": ("signin_burst",), "also": _BURST, "about": (), "decisions": (), "verdict": None,
    }  # fmt: skip
