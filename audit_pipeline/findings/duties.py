"""Separation of duties (NIST SP 800-53 AC-5): who approved is verifiably another than who proposed.

Belongs here: whether an approval may be recorded, and what it counts for. Not here: signatures (`signing`), states (`states`).
A name alone proves nothing: under another `USER` or `--as` anybody is somebody else. So only two verified signatures, of two people
and by two keys, count as `signed`; they are verified anew whenever it is asked, so that a row put into the database counts for nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audit_pipeline.clock import rfc3339
from audit_pipeline.errors import UserError
from audit_pipeline.findings import signing
from audit_pipeline.findings.payloads import read_payload
from audit_pipeline.settings import Settings

if TYPE_CHECKING:
    from audit_pipeline.findings.decisions import Decision

Approval = Literal["signed", "asserted", "self-approved"]


class DutiesError(UserError):
    """Somebody approves what they proposed themselves."""


def approval(made: Iterable[Decision], settings: Settings) -> Approval | None:
    """What the approval of a finding's proposal in force counts for; null where none is approved.

    Args:
        made: the finding's decisions, in their order.
        settings: whose keys count.

    Returns:
        `signed`: two people, two keys, both verified now; `asserted`: somebody else by name, not proven; `self-approved`: the same person.
    """
    found = in_force(made)
    if found is None or found[1] is None:
        return None
    proposed, approved = (row(one) for one in (found[0], found[1]))
    allowed = signing.allowed_signers(settings)
    if same_person(proposed, approved, allowed):
        return "self-approved"
    return "signed" if all(_identity(one, allowed) for one in (proposed, approved)) else "asserted"


def in_force(made: Iterable[Decision]) -> tuple[Decision, Decision | None] | None:
    """The proposal that is not rejected, and its approval."""
    proposed: Decision | None = None
    approved: Decision | None = None
    for one in made:
        if one.action == "propose":
            proposed, approved = one, None
        elif one.action in ("reject", "reopen", "accept", "false_positive", "duplicate"):
            proposed, approved = None, None
        elif one.action == "approve" and proposed and read_payload(one.payload).get("proposal") == proposed.seq:
            approved = one
    return None if proposed is None else (proposed, approved)


def refuse_own(
    proposed: Mapping[str, Any], approved: Mapping[str, Any], allowed: Path | None, settings: Settings | None, team: str | None
) -> None:  # fmt: skip
    """Refuse an approval by who proposed, but for the one person of a team of one.

    Raises:
        DutiesError: says who may approve.
    """
    if not same_person(proposed, approved, allowed) or _alone(str(approved["person"]), settings, team):
        return
    raise DutiesError(
        f"approve: proposal {proposed['seq']} is {approved['person']}'s own: somebody else approves it. "
        f"A team of one names that person under teams.{team or 'NAME'}.members. Nothing was recorded."
    )


def same_person(one: Mapping[str, Any], other: Mapping[str, Any], allowed: Path | None) -> bool:
    """Whether two rows are by one person: the same name, whatever its case, or the same verified key under two names."""
    if _plain(one["person"]) == _plain(other["person"]):
        return True
    if allowed is None:
        return False
    first, second = _identity(one, allowed), _identity(other, allowed)
    return first is not None and second is not None and first.key == second.key


def row(decision: Decision) -> dict[str, Any]:
    """A decision as it is stored."""
    return {
        **vars(decision),
        "recorded_at": rfc3339(decision.recorded_at),
        "effective_at": rfc3339(decision.effective_at),
    }


def bad_signatures(rows: Iterable[Mapping[str, Any]], settings: Settings) -> list[tuple[int, str]]:
    """Rows, by number, that say or bear a signature which does not verify, and why."""
    allowed = signing.allowed_signers(settings)
    found: list[tuple[int, str]] = []
    for one in rows:
        if not one["signature"] and one["identity"] != "ssh":
            continue
        try:
            good = signing.verified(one, allowed) if one["identity"] == "ssh" else None
        except signing.SigningError as error:
            return [*found, (int(one["seq"]), f"signatures cannot be checked: {error}")]
        if good is None:
            why = "there is none" if not one["signature"] else f"it does not verify for {one['person']} with {allowed}"
            found.append((int(one["seq"]), f"the signature: {why}"))
    return found


def _identity(one: Mapping[str, Any], allowed: Path) -> signing.Verified | None:
    return signing.verified(one, allowed) if one["identity"] == "ssh" else None


def _alone(person: str, settings: Settings | None, team: str | None) -> bool:
    """Whether the finding's team (where it has none, each team that lists the person) is this one person."""
    if settings is None:
        return False
    teams = [settings.teams[team]] if team in settings.teams else [
        one for one in settings.teams.values() if _plain(person) in map(_plain, one.members)
    ]  # fmt: skip
    return bool(teams) and all([_plain(one) for one in section.members] == [_plain(person)] for section in teams)


def _plain(name: object) -> str:
    return unicodedata.normalize("NFKC", str(name)).strip().casefold()
