"""What people of the invented company decide about their findings, as scripted, while the nights pass.

Belongs here: who decides what on which day, in whose name and why. Not here: what a decision is (`findings.decisions`), or what was
planted (`cases`, `fixes`). People see a finding on the day after the night that found it, and work in the afternoon of their days: what
they record on day D is known to the night of D. A story that was not found is not decided about.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_pipeline.clock import DAY, SimulatedClock
from audit_pipeline.demo import truth
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.files import moment
from audit_pipeline.demo.fixes import ACCEPTED_DAYS
from audit_pipeline.demo.planted import Case
from audit_pipeline.demo.plot import Plot
from audit_pipeline.demo.review import review
from audit_pipeline.errors import UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

_PATIENCE = 5
"""Days after a case's end on which people still wait for a finding of it."""
_OWN = "fix_without_effect"
"""The fix whose proposer tries to approve it, which is refused"""
_ASSERTED = "fix_nobody_can_judge"
"""The fix that is approved without a signature"""
_SIGNED = ("propose", "approve", "implement", "accept")
_KEYS = "keys"
_WHY = {
    "guessing_that_succeeds": "Asked the account's owner by phone: it was not them. Sessions ended, password changed.",
    "insider_at_night": "The manager knows of no task that needs this; the person is asked together with HR.",
    "penetration_test": "The approved test: account, address and day are those that were announced.",
    "quarter_end": "The books are closed: finance reads more on these two days, every quarter.",
    "on_call_night": "On call: payments was down, the restart is in the incident.",
    "load_test": "Our own load test.",
    "new_hire": "First day; the accounts were ordered.",
    "accepted_risk_that_expires": "The campaign's pictures must be public until it ends; nothing else lies in the bucket.",
}
_SLOTS = {"review": 8, "acknowledge": 13, "comment": 14, "false_positive": 14, "accept": 15, "propose": 13, "approve": 14, "implement": 15}  # fmt: skip
"""Hour (UTC) at which each is decided."""


@dataclass
class _Matter:
    """One case on somebody's desk."""

    case: Case
    finding: str | None = None
    group_key: str = "{}"
    since: dt.date | None = None
    """day on which people first saw it"""
    done: list[str] = field(default_factory=list)
    proposal: int | None = None


@dataclass(frozen=True)
class Remark:
    """Something that could not be decided, and why."""

    day: dt.date
    case: str
    action: str
    reason: str


class People:
    """Decides night by night what the script says."""

    def __init__(self, settings: Settings, plot: Plot, company: Company) -> None:
        self._settings, self._lake = settings, Lake.open(settings.lake_url)
        self._cases = plot.cases.all
        self._matters = [_Matter(case) for case in self._cases if case.decisions]
        self._who = _deciders(company)
        self._signers = _signers(settings, self._who)
        self.recorded = 0
        self.remarks: list[Remark] = []

    def work(self, day: dt.date) -> None:
        """What is decided on a day, before its night runs."""
        from audit_pipeline.state import open_state

        engine = open_state(self._settings.state_url_resolved)
        try:
            waiting = [matter for matter in self._matters if matter.finding is None and _awaited(matter.case, day)]
            if waiting or not day.weekday():
                self._look(engine, day, waiting)
            for number, matter in enumerate(self._matters):
                for action in _due(matter, day):
                    self._decide(engine, matter, action, day, number)
        finally:
            engine.dispose()

    def _look(self, engine: Any, day: dt.date, waiting: list[_Matter]) -> None:
        """Take up what the nights before found; on Mondays, review the rest."""
        from audit_pipeline.demo.score import meets, seen, shows
        from audit_pipeline.findings.view import findings_table

        rows = findings_table(self._settings, self._lake, engine, day - DAY).to_pylist()
        keys = {row["finding_id"]: row["group_key"] for row in rows}
        findings = seen(self._settings, self._lake, rows) if rows else []
        for matter in waiting:
            told = truth.of(matter.case)
            fits = [one for one in findings if shows(one, told) or (told.decoy and not told.expects and meets(one, told))]  # fmt: skip
            taken = {matter.finding for matter in self._matters}
            for one in fits:
                if one.finding_id not in taken and one.state == "open":
                    matter.finding, matter.group_key, matter.since = one.finding_id, keys[one.finding_id], day
                    break
        stories = [truth.of(case) for case in self._cases if not case.decoy]
        taken = {matter.finding for matter in self._matters}
        taken.update(one.finding_id for one in findings if any(meets(one, case) for case in stories))
        self._review(engine, day, rows, taken)

    def _review(self, engine: Any, day: dt.date, rows: list[dict[str, Any]], taken: set[str | None]) -> None:
        """What is open and has nothing to do with a story (`review`)."""
        from audit_pipeline.findings import decisions

        person = self._who[day.toordinal() // 7 % len(self._who)]
        for minute, one in enumerate(review(rows, day, taken)):
            clock = SimulatedClock(moment(day, _SLOTS["review"] * 3600 + minute * 30))
            decisions.record(
                engine, finding_id=one.finding_id, action=one.action, person=person.account, identity="claimed", reason=one.reason, clock=clock
            )  # fmt: skip
            self.recorded += 1

    def _decide(self, engine: Any, matter: _Matter, action: str, day: dt.date, number: int) -> None:
        own = self._who[number % len(self._who)]
        other = self._who[(number + 1) % len(self._who)]
        if action == "approve" and matter.case.kind == _OWN:
            self._record(engine, matter, action, own, day, 0, expected=True)  # refused, as it should be
        person = other if action == "approve" else own
        if self._record(engine, matter, action, person, day, 30, other=other):
            matter.done.append(action)

    def _record(self, engine: Any, matter: _Matter, action: str, person: Actor, day: dt.date, minute: int, *, other: Actor | None = None, expected: bool = False) -> bool:  # fmt: skip
        """One decision; whether it was taken. One that the rules refuse is kept as a remark."""
        from audit_pipeline.findings import decisions

        now = moment(day, _SLOTS[action] * 3600 + minute * 60)
        payload = self._payload(matter, action, day, other)
        unsigned = action not in _SIGNED or (action == "approve" and matter.case.kind == _ASSERTED)
        try:
            made = decisions.record(
                engine, finding_id=matter.finding or "", action=action, person=person.account, identity="claimed", reason=_reason(matter.case, action),
                clock=SimulatedClock(now), payload=payload, effective_at=_effective(matter.case, action, now), sign=None if unsigned else self._signers.get(person.account),
            )  # fmt: skip
        except UserError as error:
            self.remarks.append(Remark(day, matter.case.kind, action, str(error)))
            if not expected:
                matter.done.append(action)  # nobody tries the same thing every day
            return False
        if action == "propose":
            matter.proposal = made.seq
        self.recorded += 1
        return True

    def _payload(self, matter: _Matter, action: str, day: dt.date, other: Actor | None) -> dict[str, Any]:
        fix = matter.case.fix
        if action == "accept":
            return {"approver": other.account if other else "", "expires": (day + ACCEPTED_DAYS * DAY).isoformat()}
        if action == "propose" and fix is not None:
            key = json.loads(matter.group_key)
            scope = f"template:{key.get('template')}" if fix.kpi_id == "recurring_errors" else f"finding:{matter.finding}"  # fmt: skip
            told = {"fix": fix.words, "kind": fix.kind, "kpi_id": fix.kpi_id, "scope": scope, "direction": "down", "promised": fix.promised, "decision_date": fix.decision_date.isoformat()}  # fmt: skip
            more = {"covered_days": fix.covered_days, "change_id": fix.change_id}
            return told | {name: value for name, value in more.items() if value is not None}
        if action in ("approve", "implement"):
            return {"proposal": matter.proposal} if action == "approve" else {"proposal": matter.proposal, "change_id": fix.change_id if fix else None}  # fmt: skip
        return {}


def _awaited(case: Case, day: dt.date) -> bool:
    """Whether people still wait for a finding of it."""
    last = case.fix.day - 2 * DAY if case.fix is not None else case.last.date() + _PATIENCE * DAY
    return case.first.date() < day <= last


def _due(matter: _Matter, day: dt.date) -> Iterator[str]:
    """What is decided on this day, in order."""
    if matter.finding is None or matter.since is None:
        return
    fix = matter.case.fix
    dates = {"acknowledge": matter.since, "comment": matter.since, "false_positive": matter.since, "accept": matter.since}  # fmt: skip
    if fix is not None:
        dates |= {"propose": fix.day - 2 * DAY, "approve": fix.day - DAY, "implement": fix.day}
    for action in matter.case.decisions:
        if action not in matter.done and day >= dates[action]:
            yield action


def _effective(case: Case, action: str, now: dt.datetime) -> dt.datetime | None:
    """A fix took effect when its day began, so its day is the first with it."""
    if action == "implement" and case.fix is not None:
        return max(moment(case.fix.day, 0), now - DAY)
    return None


def _reason(case: Case, action: str) -> str:
    if action in ("comment", "false_positive", "accept") and case.kind in _WHY:
        return _WHY[case.kind]
    fix = case.fix
    if fix is not None and action in ("propose", "approve", "implement"):
        return {"propose": fix.words, "approve": "Reviewed; the risk of the change is small.", "implement": f"Done: {fix.change_id}."}[action]  # fmt: skip
    return {"acknowledge": "Looking into it."}.get(action, "")


def _deciders(company: Company) -> list[Actor]:
    """Six people of the teams that the pipeline mails."""
    return [person for person in company.people if person.role in ("sre", "admin")][:6]


def _signers(settings: Settings, people: list[Actor]) -> dict[str, Any]:
    """A new key for each, and the file that says so; none where the machine has no `ssh-keygen`."""
    program = shutil.which("ssh-keygen")
    if program is None:
        return {}
    from audit_pipeline.findings.signing import NAMESPACE, Signer, allowed_signers

    folder, allowed = settings.root / _KEYS, allowed_signers(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    found: dict[str, Any] = {}
    lines = []
    for person in people:
        key = folder / person.account
        if not key.exists():
            subprocess.run(  # noqa: S603 - our own arguments
                [program, "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)], check=True, timeout=30
            )
        public = Path(f"{key}.pub").read_text(encoding="ascii").split()
        lines.append(f'{person.account} namespaces="{NAMESPACE}" {public[0]} {public[1]}\n')
        found[person.account] = Signer(key, allowed)
    allowed.write_text("".join(lines), encoding="ascii")
    return found
