"""All of `verify`: raw chains, the heads that reports printed, and the decisions' chain.

Belongs here: bringing the three together. Not here: how each is checked.
"""

from __future__ import annotations

import json
from typing import Any

from audit_pipeline.errors import LakeError
from audit_pipeline.findings import decisions
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.verify import verify
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state


def verify_all(
    settings: Settings, since: str | None = None, until: str | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Every problem as one flat object, and a sentence on what was checked."""
    lake = Lake.open(settings.lake_url)
    found, summary = verify(lake, since, until)
    problems = [problem.as_dict() for problem in found]
    heads, reports = printed_heads(lake)
    problems += heads
    engine = open_state(settings.state_url_resolved)
    try:
        problems += decisions.verify(engine)
        problems += decisions.verify_signatures(engine, settings)
        decided = decisions.count(engine)
    finally:
        engine.dispose()
    checked = f"{summary.entries} entries of {summary.sources} sources, {summary.segments} segments, {summary.members} members, {summary.bytes} bytes, {reports} reports, {decided} decisions"
    if not summary.entries:
        return problems, f"nothing to verify: {lake.root} holds no evidence yet"
    return problems, f"{'verified' if not problems else f'{len(problems)} problems'}: {checked}"


def printed_heads(lake: Lake) -> tuple[list[dict[str, Any]], int]:
    """Entries that a report named as head of a chain and that are not there any more, or not with that hash: a rewritten or cut chain."""
    problems: list[dict[str, Any]] = []
    reports = 0
    entries: dict[tuple[str, int], str | None] = {}
    for path in report_files(lake):
        reports += 1
        try:
            chains = json.loads(lake.read(path))["evidence"]["chains"]
            heads = [(str(h["source"]), h["head_sequence"] and int(h["head_sequence"]), h["head_hash"]) for h in chains]
        except (ValueError, KeyError, TypeError):
            problems.append(_problem("unreadable_report", path, "", None, "its report.json cannot be read"))
            continue
        for source, sequence, printed in heads:
            if not sequence:
                continue
            if (source, sequence) not in entries:
                entries[source, sequence] = _hash(lake, source, sequence)
            if entries[source, sequence] != printed:
                problems.append(
                    _problem(
                        "head_differs",
                        manifest.file(source, sequence),
                        source,
                        sequence,
                        f"{path} printed another hash for this entry",
                    )
                )
    return problems, reports


def report_files(lake: Lake) -> list[str]:
    """All report.json files, in order."""
    found = []
    for kind in lake.names("reports"):
        for period in lake.names(f"reports/{kind}"):
            for edition in lake.names(f"reports/{kind}/{period}"):
                path = f"reports/{kind}/{period}/{edition}/report.json"
                if lake.exists(path):
                    found.append(path)
    return found


def _hash(lake: Lake, source: str, sequence: int) -> str | None:
    try:
        return manifest.read(lake, source, sequence).hash
    except (FileNotFoundError, LakeError):
        return None


def _problem(problem: str, file: str, source: str, sequence: int | None, detail: str) -> dict[str, Any]:
    return {
        "problem": problem,
        "file": file,
        "source": source,
        "segment": None,
        "sequence": sequence,
        "member": None,
        "position": None,
        "detail": detail,
    }
