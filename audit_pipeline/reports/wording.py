"""The report in a sentence: state, verdict and the mail's subject. No text of a log enters here.

Belongs here: words made of counts. Not here: the counts.
"""

from __future__ import annotations

from audit_pipeline.reports import text
from audit_pipeline.reports.coverage import WHOLE
from audit_pipeline.reports.inputs import Row

STATE_WORDS = {"good": "Good", "attention": "Attention", "bad": "Bad"}


def state(report: Row) -> str:
    """`bad`: a day is missing, evidence is corrupt or a date has passed; `attention`: anything else that waits or was not judged.

    `good` needs all sources judged whole, all tables computed, no decision waiting and no KPI short of its target.
    """
    verdicts = [row["today"]["verdict"] for row in report["sources"]]
    corrupt = any(
        reason["code"] in ("corrupt", "mismatch") for row in report["sources"] for reason in row["today"]["reasons"]
    )
    broken = any(chain["problem"] for chain in report["evidence"]["chains"])
    if "missing" in verdicts or corrupt or broken or any(row["overdue"] for row in report["decisions"]):
        return "bad"
    if report["decisions"] or report["not_judged"] or _off_target(report):
        return "attention"
    return "good"


def verdict(report: Row) -> str:
    """One sentence that a director reads."""
    parts = [_decisions(report), _sources(report)]
    off = _off_target(report)
    if off:
        parts.append(f"{text.count(off, 'KPI')} {'misses its target' if off == 1 else 'miss their targets'}")
    sentence = ", ".join(parts[:-1]) + ", and " + parts[-1]
    return sentence[0].upper() + sentence[1:] + (", so far." if report["provisional"] else ".")


def _decisions(report: Row) -> str:
    asked = len(report["decisions"])
    if not asked:
        ran = "detections" not in report["not_computed"]
        return "nothing waits for a decision" if ran else "no rule has run"
    late = sum(row["overdue"] for row in report["decisions"])
    passed = (
        ""
        if not late
        else ", past its date"
        if late == asked == 1
        else f", {text.spelled(late)} past {'its' if late == 1 else 'their'} date"
    )
    return text.count(asked, "decision waits", "decisions wait") + passed


def _sources(report: Row) -> str:
    verdicts = [row["today"]["verdict"] for row in report["sources"]]
    lacking = sum(verdict not in WHOLE for verdict in verdicts)
    if not lacking:
        return (
            "the one source was judged whole"
            if len(verdicts) == 1
            else f"all {text.count(len(verdicts), 'source')} were judged whole"
        )
    if lacking == len(verdicts):
        return "the one source could not be judged whole" if lacking == 1 else "no source could be judged whole"
    return f"{text.spelled(lacking)} of {text.count(len(verdicts), 'source')} could not be judged whole"


def _off_target(report: Row) -> int:
    """KPIs short of their target; the sentence has told of completeness already."""
    return sum(row["today"]["state"] == "bad" and row["id"] != "completeness" for row in report["kpis"])


def subject(report: Row) -> str:
    """The mail's subject: state first, counts, no text of a log."""
    asked, lacking = len(report["decisions"]), sum(row["today"]["verdict"] not in WHOLE for row in report["sources"])
    total = len(report["sources"])
    facts = [f"{asked} decision{'' if asked == 1 else 's'}" if asked else "nothing waits"]
    facts.append(
        f"{lacking} source{'' if lacking == 1 else 's'} incomplete" if lacking else f"{total} of {total} sources whole"
    )
    simulated = "SIMULATED " if report["clock_note"] else ""
    return f"[{report['state'].upper()}] {simulated}Audit logs {report['day']}: {', '.join(facts)}"
