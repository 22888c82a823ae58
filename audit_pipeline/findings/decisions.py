"""The log of decisions: append-only and chained by hash, in the database of `state_url`.

Belongs here: recording, reading and verifying decisions. Not here: what an action means for a state (`states`), findings (`view`).

Each decision holds the SHA-256 of the one before it, and its own over its canonical JSON (RFC 8785). `verify` sees a changed
row, a hole, and rows put in or reordered. It cannot see that the newest decisions were removed, nor that somebody with the
database in hand made the whole chain anew: for that, compare with a `head` that was kept elsewhere. Each report prints one; the
command `verify` holds the log to those of the stored reports (`evidence`), and whoever keeps a mail can hold it to that one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785
import sqlalchemy as sa

from audit_pipeline.clock import Clock, rfc3339
from audit_pipeline.errors import BusyError, LakeError, UsageError, UserError
from audit_pipeline.findings import course, duties, signing
from audit_pipeline.findings.payloads import Context, check
from audit_pipeline.findings.states import ACTIONS, words
from audit_pipeline.settings import Settings
from audit_pipeline.state import decisions as log

NO_PREVIOUS = "0" * 64
IDENTITIES = ("os", "claimed")
_LINKS = sa.select(log).where(log.c.action.in_(["duplicate", "reopen"])).order_by(log.c.seq)
_TRIES = 40


@dataclass(frozen=True)
class Decision:
    """Who decided what about which finding, when, why, and how we know who it was; times in UTC."""

    seq: int
    finding_id: str
    action: str
    person: str
    identity: str
    recorded_at: dt.datetime
    effective_at: dt.datetime
    reason: str
    payload: str
    """canonical JSON"""
    previous: str
    hash: str
    signature: str | None = None


def record(
    engine: sa.Engine,
    *,
    finding_id: str,
    action: str,
    person: str,
    identity: str,
    reason: str,
    clock: Clock,
    payload: Mapping[str, Any] | None = None,
    effective_at: dt.datetime | None = None,
    context: Context | None = None,
    sign: signing.Signature | None = None,
) -> Decision:
    """Append a decision; safe when several processes do so at once (the one that comes second tries again).

    Args:
        engine: the database of `state.open_state`.
        finding_id: the finding; whether it exists is the caller's to know.
        action: a name of `states.ACTIONS`.
        person: who decides.
        identity: how we know: `os` (the operating system's user) or `claimed`.
        reason: why, in the person's words.
        clock: tells when it is recorded.
        payload: what the action needs besides, such as `{"owner": "alice"}`.
        effective_at: when it took effect, where that was earlier.
        context: what the log does not know; without it KPIs, scopes and other findings are not checked, and no team is a team of one.
        sign: signs it; the identity is then `ssh`, and nothing is recorded unless the signature verifies.

    Raises:
        UsageError: the action is unknown, or lacks what it needs.
        UserError: the finding's state does not allow it, somebody approves their own, or a signature does not verify.
        BusyError: other writers did not let go.
    """
    given = dict(payload or {})
    _check_request(action, person, identity, reason, given)
    for attempt in range(_TRIES):
        values = _values(finding_id, action, person, identity if sign is None else "ssh", reason)
        values |= _times_and_payload(action, given, clock.now(), effective_at, context)
        try:
            with engine.begin() as connection:
                return _append(connection, values, context, sign)
        except sa.exc.IntegrityError:  # another writer took the number
            pass
        except sa.exc.OperationalError as error:
            if not any(word in str(error.orig) for word in ("locked", "busy", "deadlock", "serialize")):
                raise LakeError(
                    f"state_url: the decision cannot be written ({error.orig}). Check the database and your rights to it."
                ) from error
        time.sleep(random.uniform(0, 0.01 * (attempt + 1)))  # noqa: S311 - spreads the writers, nothing secret
    raise BusyError(
        f"decision about finding {finding_id}: other writers were faster {_TRIES} times. Nothing was recorded; try again."
    )


def _values(finding_id: str, action: str, person: str, identity: str, reason: str) -> dict[str, Any]:
    return {"finding_id": finding_id, "action": action, "person": person, "identity": identity, "reason": reason}


def _times_and_payload(
    action: str, given: Mapping[str, Any], now: dt.datetime, effective_at: dt.datetime | None, context: Context | None
) -> dict[str, Any]:
    return {
        "recorded_at": rfc3339(now),
        "effective_at": rfc3339(_effective(effective_at, now)),
        "payload": rfc8785.dumps(check(action, given, now, context)).decode(),
    }


def _check_request(action: str, person: str, identity: str, reason: str, payload: Mapping[str, Any]) -> None:
    known = ACTIONS.get(action)
    if known is None:
        raise UsageError(f"unknown action {action!r}: one of {words(sorted(ACTIONS))}.")
    if identity not in IDENTITIES:
        raise UsageError(f"unknown kind of identity {identity!r}: one of {', '.join(IDENTITIES)}.")
    try:
        text = "".join([person, reason, rfc8785.dumps(dict(payload)).decode()]).encode()
    except (UnicodeError, rfc8785.CanonicalizationError):
        text = b"\0"
    if b"\0" in text:  # PostgreSQL has no NUL in text; what is allowed must not depend on the database
        raise UsageError(f"{action}: what was given is no text in UTF-8. Check your terminal's encoding.")
    if not person.strip():
        raise UsageError(f"{action}: nobody decides. Say who with --as.")
    if known.needs_reason and not reason.strip():
        raise UsageError(f"{action}: needs a reason; it is what others read later. Say it with --reason.")


def _effective(given: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    if given is None:
        return now
    if given.tzinfo is None:
        raise UsageError(
            f"effective time {given.isoformat()} has no zone; write it with one, such as 2026-11-23T10:00:00Z."
        )
    if given > now:
        raise UsageError(
            f"effective time {rfc3339(given)} lies in the future (it is {rfc3339(now)}); a decision tells what is."
        )
    return given


def _append(
    connection: sa.Connection, values: dict[str, Any], context: Context | None, sign: signing.Signature | None
) -> Decision:
    # The last number first: whoever decides after this line takes the number that is wanted here, and this one starts again.
    last = connection.execute(sa.select(log.c.seq, log.c.hash).order_by(log.c.seq.desc()).limit(1)).first()
    wanted = sa.select(log).where(log.c.finding_id == values["finding_id"]).order_by(log.c.seq)
    made = [_decision(dict(one)) for one in connection.execute(wanted).mappings()]
    row = {
        **values,
        "seq": last.seq + 1 if last else 1,
        "previous": last.hash if last else NO_PREVIOUS,
        "signature": None,
    }
    course.check(row, made, context)
    if row["action"] == "duplicate":
        course.check_cycle([dict(one) for one in connection.execute(_LINKS).mappings()], row)
    row["hash"] = row_hash(row)
    if sign is not None:
        row["signature"] = sign.over(signing.signed_text(row) or b"")
        if signing.verified(row, sign.allowed) is None:
            raise UserError(
                f"{row['action']}: the signature does not verify for {row['person']!r} with {sign.allowed}. Say who signs with --as, and see "
                f'that the file has a line such as: {row["person"]} namespaces="{signing.NAMESPACE}" ssh-ed25519 AAAA… Nothing was recorded.'
            )
    if row["action"] == "approve":
        proposed, _ = duties.in_force(made) or (None, None)
        if proposed is not None:
            keys = sign.allowed if sign else signing.allowed_signers(context.settings) if context else None
            duties.refuse_own(
                duties.row(proposed),
                row,
                keys,
                context.settings if context else None,
                context.team if context else None,
            )
    connection.execute(sa.insert(log).values(**row))
    return _decision(row)


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 of the row's canonical JSON (RFC 8785) without `hash` and `signature`, as hexadecimal digits."""
    return hashlib.sha256(rfc8785.dumps({name: row[name] for name in signing.HASHED})).hexdigest()


def read(engine: sa.Engine, until: dt.datetime | None = None) -> list[Decision]:
    """The decisions recorded up to a moment (that moment included; `None` for all), in their order."""
    found = [_decision(row) for row in _rows(engine)]
    return [one for one in found if until is None or one.recorded_at <= until]


def count(engine: sa.Engine) -> int:
    """How many decisions there are, also where somebody spoilt some."""
    return len(_rows(engine))


def head(engine: sa.Engine, until: dt.datetime | None = None) -> tuple[int, str]:
    """Number and hash of the newest decision recorded up to a moment: what a report prints, so that `verify` can be held to it."""
    found = read(engine, until)
    return (found[-1].seq, found[-1].hash) if found else (0, NO_PREVIOUS)


def verify(engine: sa.Engine, heads: Mapping[tuple[int, str], str] | None = None) -> list[dict[str, Any]]:
    """What is wrong with the chain, a dict a problem: `problem`, `file` (always `decisions`), `seq`, `detail`.

    Args:
        engine: the database.
        heads: each `head` that was kept elsewhere, with where, such as in a report; without one removed newest decisions cannot be seen.
    """
    problems: list[dict[str, Any]] = []
    expected, previous, hashes = 1, NO_PREVIOUS, {0: NO_PREVIOUS}
    for row in _rows(engine):
        seq = row["seq"]
        if seq != expected:
            missing = f"decision {expected}" if seq == expected + 1 else f"decisions {expected} to {seq - 1}"
            problems.append(_problem("hole", seq, f"{missing} before this one: not there"))
        elif row["previous"] != previous:
            problems.append(
                _problem("broken_link", seq, f"previous is {row['previous']}, the decision before has {previous}")
            )
        if (digest := _digest(row)) != row["hash"]:
            problems.append(_problem("changed_row", seq, f"its content hashes to {digest}, it says {row['hash']}"))
        expected, previous, hashes[seq] = seq + 1, row["hash"], row["hash"]
    for (seq, kept), where in sorted((heads or {}).items()):
        if hashes.get(seq) != kept:
            there = f"the log has {hashes[seq]}" if seq in hashes else f"the log has no decision {seq}"
            problems.append(_problem("other_head", seq, f"{where} printed {kept} for decision {seq}: {there}"))
    return problems


def verify_signatures(engine: sa.Engine, settings: Settings) -> list[dict[str, Any]]:
    """Decisions that say or bear a signature which does not verify today, each as a problem `bad_signature`."""
    return [_problem("bad_signature", seq, why) for seq, why in duties.bad_signatures(_rows(engine), settings)]


def _digest(row: Mapping[str, Any]) -> str:
    try:
        return row_hash(row)
    except (rfc8785.CanonicalizationError, UnicodeError):  # such as a number that JSON has not: nothing we ever wrote
        return "nothing"


def _problem(problem: str, seq: int, detail: str) -> dict[str, Any]:
    return {"problem": problem, "file": "decisions", "seq": seq, "detail": detail}


def _rows(engine: sa.Engine) -> list[dict[str, Any]]:
    try:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.select(log).order_by(log.c.seq)).mappings()]
    except sa.exc.SQLAlchemyError as error:
        raise LakeError(
            f"state_url: decisions cannot be read ({type(error).__name__}). Check the database, then try again."
        ) from error


def _decision(row: Mapping[str, Any]) -> Decision:
    try:
        times = {
            name: dt.datetime.fromisoformat(row[name]).astimezone(dt.UTC) for name in ("recorded_at", "effective_at")
        }
    except ValueError:
        raise LakeError(
            f"decision {row['seq']} has a time that is none; somebody changed it. `audit-pipeline verify` tells the place."
        ) from None
    return Decision(**{**row, **times})
