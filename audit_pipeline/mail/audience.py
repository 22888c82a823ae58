"""Who gets a mail, and what of a report is theirs.

Belongs here: recipients by team, and a report cut down to some teams. Not here: what a mail says (`message`), whether it was sent (`delivery`).

`reports.<kind>.to` gets the whole report; each team with `mail` gets its own findings and sources, daily and weekly. One address gets
one mail: the whole one where it stands in `to`, and one for all its teams where it belongs to several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit_pipeline.reports import text, wording
from audit_pipeline.settings import Settings

EVERYBODY = "all"
_FOR_TEAMS = ("daily", "weekly")
"""kinds of report that teams get; the monthly one is for compliance"""
Report = dict[str, Any]


@dataclass(frozen=True)
class Audience:
    """Some recipients who get the same mail: of some teams, or (no team) of everything."""

    teams: tuple[str, ...]
    recipients: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its copy in the lake is called."""
        return "+".join(self.teams) or EVERYBODY


def audiences(settings: Settings, kind: str) -> list[Audience]:
    """Everybody first, then each team with `mail` (its copy is written even where `to` has all its addresses), then mixed ones."""
    whole = tuple(dict.fromkeys(getattr(settings.reports, kind).to))
    found = [Audience((), whole)]
    if kind not in _FOR_TEAMS:
        return found
    teams: dict[str, list[str]] = {}
    for team, section in settings.teams.items():
        for address in dict.fromkeys(section.mail):
            teams.setdefault(address, []).append(team)
    mine: dict[tuple[str, ...], list[str]] = {(name,): [] for name, section in settings.teams.items() if section.mail}
    for address, names in teams.items():
        if address not in whole:
            mine.setdefault(tuple(names), []).append(address)
    return found + [Audience(names, tuple(addresses)) for names, addresses in mine.items()]


def cut(report: Report, settings: Settings, teams: tuple[str, ...]) -> Report:
    """The report with the findings and sources of these teams alone, and the sentence that is true of them; no team: as it is."""
    if not teams:
        return report
    sources = [row for row in report["sources"] if _is_theirs(row, settings, teams)]
    names = {row["name"] for row in sources}
    findings = [row for row in report["findings"] if row["team"] in teams]
    ids = {row["finding_id"] for row in findings}
    chains = [row for row in report["evidence"]["chains"] if row["source"] in names]
    theirs: Report = {
        **report,
        "teams": list(teams),
        "sources": sources,
        "findings": findings,
        "effects": [row for row in report.get("effects", []) if row["team"] in teams],
        "decisions": [row for row in report["decisions"] if row["finding_id"] in ids],
        "not_judged": [row for row in report["not_judged"] if row["kind"] != "source" or row["subject"] in names],
        "failures": [row for row in report["failures"] if row["source"] in names],
        "provisional": [name for name in report["provisional"] if name in names],
        "changes": _changes(report["changes"], ids, names),
        "kpis": [_kpi(row, teams) for row in report["kpis"]],
        "evidence": {**report["evidence"], "chains": chains, "segments": sum(row["segments"] for row in chains)},
    }
    if "life" in report:
        new, closed = (sum(row["change"] == word for row in findings) for word in ("new", "closed"))
        theirs["life"] = {**report["life"], "opened": new, "closed": closed}
    return {**theirs, "state": wording.state(theirs), "verdict": _verdict(theirs)}


def _is_theirs(row: Report, settings: Settings, teams: tuple[str, ...]) -> bool:
    owned = {name for team in teams for name in settings.teams[team].owns}
    return row["team"] in teams or f"source:{row['name']}" in owned


def _changes(changes: Report, ids: set[str], names: set[str]) -> Report:
    kept = {name: [row for row in changes[name] if row["finding_id"] in ids] for name in ("new", "closed", "reopened")}
    return {**changes, **kept, "verdicts": [row for row in changes["verdicts"] if row["source"] in names]}


def _kpi(kpi: Report, teams: tuple[str, ...]) -> Report:
    """The team's own number where there is one; else that of all, marked."""
    own = [row for row in kpi["detail"] if row["scope"] == f"team:{teams[0]}"] if len(teams) == 1 else []
    today = {**kpi["today"], **own[0]} if own else {**kpi["today"], "state": "not_evaluated"}
    return {**kpi, "today": today, "of_all_teams": not own}


def _verdict(report: Report) -> str:
    if report["sources"]:
        return wording.verdict(report)
    asked = len(report["decisions"])
    return (text.count(asked, "decision waits", "decisions wait", capital=True) if asked else "Nothing waits") + "."


def subject(report: Report) -> str:
    """The subject, with the teams it is for: `[GOOD] Audit logs 2026-11-23, cloud: nothing waits, 2 of 2 sources whole`."""
    whole = wording.subject(report)
    if not report.get("teams"):
        return whole
    head, _, facts = whole.partition(": ")
    if not report["sources"]:
        facts = facts.partition(", ")[0]
    return f"{head}, {' and '.join(report['teams'])}: {facts}"
