"""All of `verify`: raw chains, the heads that reports printed, and the decisions' chain.

Belongs here: bringing the three together. Not here: how each is checked.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from audit_pipeline.errors import LakeError
from audit_pipeline.findings import decisions
from audit_pipeline.lake import manifest
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.verify import verify
from audit_pipeline.settings import Settings
from audit_pipeline.state import open_state

_DECISIONS_SINCE = 2
"""version of `report.json` from which it prints the head of the decisions (docs/adr/0007)"""


def verify_all(
    settings: Settings, since: str | None = None, until: str | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Every problem as one flat object, and a sentence on what was checked."""
    lake = Lake.open(settings.lake_url)
    found, summary = verify(lake, since, until)
    problems = [problem.as_dict() for problem in found]
    engine = open_state(settings.state_url_resolved)
    try:
        told, reports = chain_problems(lake, engine)
        problems += told + decisions.verify_signatures(engine, settings)
        decided = decisions.count(engine)
    finally:
        engine.dispose()
    checked = f"{summary.entries} entries of {summary.sources} sources, {summary.segments} segments, {summary.members} members, {summary.bytes} bytes, {reports} reports, {decided} decisions"
    if not summary.entries:
        return problems, f"nothing to verify: {lake.root} holds no evidence yet"
    return problems, f"{'verified' if not problems else f'{len(problems)} problems'}: {checked}"


def chain_problems(lake: Lake, engine: sa.Engine) -> tuple[list[dict[str, Any]], int]:
    """The chain of decisions, and each head that a report printed, of it and of the raw chains, that is not there any more or has another hash.

    A report older than version 2 printed no head of the decisions. A head that several reports printed is named once, with the first of them.

    Returns:
        the problems, and how many reports were read.
    """
    problems: list[dict[str, Any]] = []
    decided: dict[tuple[int, str], str] = {}
    entries: dict[tuple[str, int], str | None] = {}
    files = report_files(lake)
    for path in files:
        try:
            heads, decision = _printed(json.loads(lake.read(path)))
        except (ValueError, KeyError, TypeError):
            problems.append(_problem("unreadable_report", path, "", None, "its report.json cannot be read"))
            continue
        problems += _chains_differ(lake, path, heads, entries)
        if decision is not None:
            decided.setdefault(decision, path)
    return problems + decisions.verify(engine, decided), len(files)


def _printed(report: dict[str, Any]) -> tuple[list[tuple[str, int, str]], tuple[int, str] | None]:
    """The heads that a report printed: source, sequence and hash of each raw chain that has an entry; number and hash of the decisions'."""
    evidence = report["evidence"]
    heads = [(str(one["source"]), one["head_sequence"], one["head_hash"]) for one in evidence["chains"]]
    found = [(source, int(sequence), str(printed)) for source, sequence, printed in heads if sequence]
    if report["v"] < _DECISIONS_SINCE:
        return found, None
    return found, (int(evidence["decisions"]["seq"]), str(evidence["decisions"]["hash"]))


def _chains_differ(
    lake: Lake, path: str, heads: list[tuple[str, int, str]], entries: dict[tuple[str, int], str | None]
) -> list[dict[str, Any]]:
    """Entries that a report named as head of a chain and that are not there any more, or not with that hash."""
    problems = []
    for source, sequence, printed in heads:
        if (source, sequence) not in entries:
            entries[source, sequence] = _hash(lake, source, sequence)
        if entries[source, sequence] != printed:
            told = f"{path} printed another hash for this entry"
            problems.append(_problem("head_differs", manifest.file(source, sequence), source, sequence, told))
    return problems


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
