"""Decisions as files: `decisions/*.yaml` beside the configuration, for teams that decide by pull request.

Belongs here: reading entries, taking each in once, and signing them. Not here: what a decision must say (`payloads`).
A file is a list of entries: finding, action, person, reason, keys of the payload, and optionally effective_at and signature. An entry is
known by its content, wherever it stands: the log keeps it as it was written (payload, key `entry`), so that a file that is edited,
renamed or joined with another, or a run that was killed, takes nothing in twice. Who wants the same again says it in other words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785
import sqlalchemy as sa
import yaml

from audit_pipeline.clock import Clock
from audit_pipeline.errors import UsageError, UserError
from audit_pipeline.findings import commands, decisions, signing
from audit_pipeline.findings.course import AlreadyRecordedError
from audit_pipeline.findings.payloads import KEYS, read_payload
from audit_pipeline.findings.view import findings_table
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

LARGEST = 1_000_000
"""bytes of a file, at most"""
_BASE = ("finding", "action", "person", "reason", "effective_at", "signature")


@dataclass(frozen=True)
class Problem:
    """An entry that was not taken in: where it stands, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: not taken in: {self.reason}"


@dataclass(frozen=True)
class Entry:
    """One entry of a file: what it says without its signature."""

    file: str
    line: int
    content: dict[str, Any]
    signature: str | None


def take_in(settings: Settings, lake: Lake, engine: sa.Engine, clock: Clock) -> list[Problem]:
    """Record every entry that is not in the log yet; what could not be is told each time until it is mended.

    Entries are tried in the order of files and lines, and again while others succeed, so that an approval may stand before its proposal.
    """
    entries, problems = read(settings)
    rows = findings_table(settings, lake, engine, None).to_pylist() if entries else []
    failed: list[Problem] = []
    while entries:
        left, failed = [], []
        for entry in entries:
            try:
                _record(settings, lake, engine, clock, rows, entry)
            except AlreadyRecordedError:
                continue
            except UserError as error:
                left.append(entry)
                failed.append(Problem(entry.file, entry.line, str(error)))
        if len(left) == len(entries):
            break
        entries = left
    return sorted([*problems, *(failed if entries else [])], key=lambda one: (one.file, one.line))


def _record(
    settings: Settings, lake: Lake, engine: sa.Engine, clock: Clock, rows: list[dict[str, Any]], entry: Entry
) -> None:
    said = entry.content
    log = decisions.read(engine)
    if any(read_payload(one.payload).get("entry") == said for one in log):
        raise AlreadyRecordedError("it is in the log")
    action = str(said.get("action", "")).replace("-", "_")
    if action not in KEYS and action not in ("acknowledge", "comment", "false_positive", "reopen"):
        raise UsageError(f"action {said.get('action')!r} is none that a file can hold.")
    strange = sorted(set(said) - set(_BASE) - set(KEYS.get(action, ())))
    if strange:
        raise UsageError(
            f"{action}: {', '.join(strange)} does not belong to it. Keys: {', '.join([*_BASE, *KEYS.get(action, ())])}."
        )
    finding = commands.find(rows, str(said.get("finding", "")))
    payload = {name: value for name, value in said.items() if name not in _BASE}
    if "of" in payload:
        payload["of"] = commands.find(rows, str(payload["of"]))
    made = [one for one in log if one.finding_id == finding]
    decisions.record(
        engine,
        finding_id=finding,
        action=action,
        person=str(said.get("person", "")),
        identity="claimed",
        reason=str(said.get("reason", "")),
        clock=clock,
        payload={**payload, "entry": said},
        effective_at=_time(said.get("effective_at")),
        context=commands.context(settings, lake, rows, finding, made, clock.now()),
        sign=signing.Signed(entry.signature, signing.allowed_signers(settings)) if entry.signature else None,
    )


def _time(text: object) -> dt.datetime | None:
    try:
        return None if text is None else dt.datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError(f"effective_at {text!r} is no time; write it such as 2026-11-23T10:00:00Z.") from None


def read(settings: Settings) -> tuple[list[Entry], list[Problem]]:
    """The entries of all files, in order of files and lines, and what is none."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for file in sorted(Path(settings.resolve(settings.decisions.folder)).glob("*.y*ml")):
        try:
            for one in _entries(file):
                (entries if isinstance(one, Entry) else problems).append(one)  # type: ignore[arg-type]
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problems.append(Problem(file.name, mark.line + 1 if mark else 1, f"no valid YAML ({getattr(error, 'problem', error)}). Mend that line."))  # fmt: skip
        except (OSError, UnicodeError) as error:
            problems.append(Problem(file.name, 1, f"cannot be read ({error}). It must be a UTF-8 text file."))
    return entries, problems


def _entries(file: Path) -> Iterator[Entry | Problem]:
    if file.stat().st_size > LARGEST:
        yield Problem(file.name, 1, f"is larger than {LARGEST} bytes. Split it.")
        return
    text = file.read_text(encoding="utf-8")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        yield Problem(file.name, 1, "uses an alias (*name); write it out.")
        return
    loader = yaml.SafeLoader(text)
    while loader.check_node():
        document = loader.get_node()
        if document is None:
            continue
        if not isinstance(document, yaml.SequenceNode):
            yield Problem(
                file.name, document.start_mark.line + 1, "is no list of decisions. Begin each with `- finding: …`."
            )
            continue
        for node in document.value:
            yield _entry(file, node.start_mark.line + 1, loader.construct_object(node, deep=True))


def _entry(file: Path, line: int, said: object) -> Entry | Problem:
    if not isinstance(said, dict) or not all(isinstance(name, str) for name in said):
        return Problem(file.name, line, "is no entry of keys and values. Begin it with `- finding: …`.")
    content: dict[str, Any] = {
        name: _plain(value) for name, value in said.items() if name != "signature" and value is not None
    }
    missing = [name for name in ("finding", "action", "person") if not isinstance(content.get(name), str)]
    if missing:
        return Problem(file.name, line, f"lacks {', '.join(missing)} (text; put digits alone in quotes).")
    try:
        rfc8785.dumps(content)
    except (rfc8785.CanonicalizationError, UnicodeError):
        return Problem(file.name, line, "holds a value that JSON has not.")
    signature = said.get("signature")
    return Entry(file.name, line, content, None if signature is None else str(signature))


def _plain(value: object) -> object:
    """Dates and times as text; everything else as it is."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=value.tzinfo or dt.UTC).isoformat()
    return value.isoformat() if isinstance(value, dt.date) else value


def sign_file(settings: Settings, file: Path, person: str, key: str | None = None) -> int:
    """Sign the person's entries of a file that have no signature, in place; returns how many. Comments of the file are not kept.

    Raises:
        UserError: the file or an entry cannot be used, or the key does not sign.
    """
    found: list[Entry] = []
    for one in _entries(file):
        if isinstance(one, Problem):
            raise UsageError(str(one).replace("not taken in", "not signed"))
        found.append(one)
    mine = [one for one in found if one.content["person"] == person and not one.signature]
    maker = signing.signer(settings, key)
    made = {one.line: maker.over(rfc8785.dumps(one.content)) for one in mine}
    if made:
        signed = [one.content | ({"signature": made.get(one.line) or one.signature} if made.get(one.line) or one.signature else {}) for one in found]  # fmt: skip
        file.write_text(yaml.safe_dump(signed, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return len(made)
