"""`demo --score`: what was found of what was planted. Reads the truth after the run; nothing that finds anything does.

Belongs here: comparing findings and effects with the truth. Not here: making either.
A case is found where a finding of an expected rule is about one of its people or services and its detections meet the case in time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_pipeline.clock import DAY
from audit_pipeline.demo.truth import Told, read
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings

HIGH = ("critical", "high")
SCORE = "score.json"
_BEFORE, _AFTER = dt.timedelta(hours=1), DAY
"""A detection may begin before the case (a window's first events) and end the day after (a rate seen over a day)."""
_SQL = """
    SELECT rule_id, group_key, list_distinct(flatten(list([x_actor, x_target]))) AS who, list({'first': first_time, 'last': last_time}) AS spans
    FROM detections GROUP BY rule_id, group_key"""
Span = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True)
class Seen:
    """A finding, and what it is about."""

    finding_id: str
    rule: str
    """stem of the rule's file, or the kind of the detection"""
    title: str
    severity: str
    state: str
    who: frozenset[str]
    """people, services, hosts and resources that it names"""
    text: str
    """words that tell two errors of one service apart"""
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Score:
    """What was found, as `score.json` has it."""

    found: dict[str, list[str]]
    """case to the findings that show it"""
    missed: list[str]
    not_detectable: dict[str, list[str]]
    """case to the findings that show it all the same"""
    decoys_alarmed: dict[str, list[str]]
    """decoy to its findings of high or critical severity"""
    no_story: list[dict[str, str]]
    """findings that no case explains"""
    verdicts: dict[str, dict[str, str]]
    """case to what its fix should be judged as, and was"""

    @property
    def share(self) -> float:
        """Detectable stories found, of all detectable ones; 1 where there are none."""
        return len(self.found) / max(1, len(self.found) + len(self.missed)) if self.found or self.missed else 1.0


def score(settings: Settings, folder: Path, *, findings: list[dict[str, Any]] | None = None) -> Score:
    """Compare what a demo's lake holds with its truth.

    Args:
        settings: the demo's.
        folder: where `truth.json` is.
        findings: rows of the view; by default all of today.

    Raises:
        UsageError: there is no truth.
    """
    from audit_pipeline.findings.commands import list_findings

    cases = read(folder)
    rows = list_findings(settings) if findings is None else findings
    lake = Lake.open(settings.lake_url)
    return compare(cases, seen(settings, lake, rows), _effects(lake))


def compare(cases: Iterable[Told], findings: list[Seen], effects: dict[str, str]) -> Score:
    """The score of some findings and the verdicts of their effects, by finding."""
    cases = list(cases)
    shown = {case.id: [one for one in findings if shows(one, case)] for case in cases}
    explained = {one.finding_id for case in cases for one in findings if _explains(one, case)}
    names = {case.id: [one.finding_id for one in shown[case.id]] for case in cases}
    real = [case for case in cases if not case.decoy]
    return Score(
        found={case.id: names[case.id] for case in real if case.detectable and names[case.id]},
        missed=[case.id for case in real if case.detectable and not names[case.id]],
        not_detectable={case.id: names[case.id] for case in real if not case.detectable},
        decoys_alarmed=_alarmed(cases, findings),
        no_story=[{"finding_id": one.finding_id, "severity": one.severity, "rule": one.rule, "title": one.title} for one in findings if one.finding_id not in explained],
        verdicts={case.id: _judged(case, shown[case.id], effects) for case in cases if case.verdict},
    )  # fmt: skip


def _alarmed(cases: list[Told], findings: list[Seen]) -> dict[str, list[str]]:
    """Decoys with findings of high severity that no story explains."""
    stories = [case for case in cases if not case.decoy]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for one in findings:
        if one.severity in HIGH and not any(_explains(one, case) for case in stories):
            for case in cases:
                if case.decoy and meets(one, case):
                    found[case.id].append(one.finding_id)
    return dict(found)


def _judged(case: Told, findings: list[Seen], effects: dict[str, str]) -> dict[str, str]:
    verdicts = sorted({effects[one.finding_id] for one in findings if one.finding_id in effects})
    seen_as = verdicts[0] if len(verdicts) == 1 else "not judged" if not verdicts else "/".join(verdicts)
    wanted = case.verdict or ""
    right = seen_as in ("ineffective", "inconclusive") if wanted == "not_verified" else seen_as == wanted
    return {"expected": wanted, "judged": seen_as, "right": "yes" if right else "no"}


def shows(one: Seen, case: Told) -> bool:
    """Whether a finding is what the case should be found by."""
    return one.rule in case.expects and meets(one, case)


def _explains(one: Seen, case: Told) -> bool:
    return meets(one, case) and (case.decoy or one.rule in (*case.expects, *case.also))


def meets(one: Seen, case: Told) -> bool:
    """About the same people or services, in the same time, and in the same words where the case has words."""
    if not one.who & {*case.actors, *case.services}:
        return False
    if case.about and one.rule == "recurring_error" and not any(word in one.text for word in case.about):
        return False
    return any(first <= case.last_time + _AFTER and last >= case.first_time - _BEFORE for first, last in one.spans)


def seen(settings: Settings, lake: Lake, rows: Iterable[dict[str, Any]]) -> list[Seen]:
    """Rows of the view `findings` with what their detections tell."""
    from audit_pipeline.detections.sigma import load
    from audit_pipeline.lake.views import connect

    stems = {rule.id: rule.file.stem for rule in load(settings)[0]}
    with connect(lake, tables=["detections", "error_templates"]) as con:
        told = {(row["rule_id"], row["group_key"]): row for row in con.sql(_SQL).to_arrow_table().to_pylist()}
        templates = dict(con.sql("SELECT DISTINCT template_id, template FROM error_templates").fetchall())
    return [_seen(row, told.get((row["rule_id"], row["group_key"])), stems, templates) for row in rows]


def _seen(row: dict[str, Any], told: dict[str, Any] | None, stems: dict[str, str], templates: dict[str, str]) -> Seen:
    key = {name: value for name, value in json.loads(row["group_key"]).items() if isinstance(value, str)}
    # what is found by no detection (a release) lies between its first day and the night that judged it
    judged = ((row["first_time"], max(row["first_time"], row["detected_at"])),)
    spans = tuple((one["first"], one["last"]) for one in told["spans"]) if told else judged
    who = {*key.values(), *(name for name in (told["who"] if told else ()) if name), row.get("x_actor")}
    text = " ".join((row["title"], templates.get(key.get("template", ""), "")))
    rule = stems.get(row["rule_id"], row["rule_id"])
    return Seen(row["finding_id"], rule, row["title"], row["severity"], row["state"], frozenset(who - {None}), text, spans)  # fmt: skip


def _effects(lake: Lake) -> dict[str, str]:
    """Finding to the newest verdict of its fix."""
    from audit_pipeline.lake.views import connect

    sql = "SELECT finding_id, max_by(verdict, (verdict <> 'pending', as_of)) FROM effects WHERE subject = 'remediation' AND finding_id IS NOT NULL GROUP BY 1"
    with connect(lake, tables=["effects"]) as con:
        return dict(con.sql(sql).fetchall())


def write(folder: Path, result: Score) -> Path:
    """Write `score.json` into the demo's folder."""
    file = folder / SCORE
    text = json.dumps(dataclasses.asdict(result) | {"share": round(result.share, 4)}, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    return file


def words(result: Score, cases: Iterable[Told]) -> list[str]:
    """The score in lines for people."""
    why = {case.id: case.why for case in cases}
    lines = [f"stories found: {len(result.found)} of {len(result.found) + len(result.missed)} that can be found"]
    lines += [f"  found   {name}: {', '.join(one[:12] for one in found)}" for name, found in result.found.items()]
    lines += [f"  MISSED  {name}" for name in result.missed]
    lines += [f"  found all the same {name}: {why[name]}" if found else f"  too weak {name}: {why[name]}" for name, found in result.not_detectable.items()]  # fmt: skip
    lines += [f"fix {name}: judged {one['judged']}, expected {one['expected'].replace('_', ' ')}" for name, one in result.verdicts.items()]  # fmt: skip
    lines.append(f"decoys that alarmed at high: {len(result.decoys_alarmed)}")
    lines += [f"  {name}: {', '.join(one[:12] for one in found)}" for name, found in result.decoys_alarmed.items()]
    lines.append(f"findings that are no story: {len(result.no_story)}")
    lines += [f"  {one['finding_id'][:12]} ({one['severity']}) {one['title'][:90]}" for one in result.no_story]
    return lines


def run(folder: Path) -> int:
    """Everything of `audit-pipeline demo --score`; the exit code: 1 where a story was missed that can be found."""
    from audit_pipeline.demo.config import CONFIG
    from audit_pipeline.terminal import say

    cases = read(folder)
    result = score(Settings.load(folder / CONFIG), folder)
    for line in words(result, cases):
        say(line)
    say(f"as JSON: {write(folder, result)}")
    return 1 if result.missed else 0
