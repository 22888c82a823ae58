"""The report in a sentence: state, verdict and the mail's subject. No text of a log enters here.

Belongs here: words made of counts. Not here: the counts.
"""

from __future__ import annotations

from audit_pipeline.reports import text
from audit_pipeline.reports.coverage import WHOLE
from audit_pipeline.reports.inputs import Row
from audit_pipeline.reports.watching import DETECTOR

STATE_WORDS = {"good": "Good", "attention": "Attention", "bad": "Bad"}

CONTROL_WORDS = {
    "operated": "operated",
    "not_operated": "did not operate",
    "not_evaluated": "not evaluated",
    "not_applicable": "not applicable",
}


EFFECT_WORDS = {
    "verified": "verified",
    "ineffective": "ineffective",
    "inconclusive": "inconclusive",
    "pending": "pending",
    "better": "better",
    "worse": "worse",
    "no_change_seen": "no change seen",
}
EFFECT_MARKS = {"verified": "good", "better": "good", "ineffective": "bad", "worse": "bad", "inconclusive": "attention"}
"""shape and colour of a verdict; others have a shape of their own"""


def effect(row: Row) -> str:
    """What became of a fix, in a sentence: `It worked: −58 % (95 % interval −66 % to −49 %), promised −50 %: reached`."""
    if row["verdict"] == "pending":
        return _pending(row)
    parts = _lead(row)
    if row["ratio"] is not None:
        parts += f": {text.change(row['ratio'])}"
        if row["low"] is not None and row["high"] is not None:
            parts += f" (95 % interval {text.change(row['low'])} to {text.change(row['high'])})"
    if row["promised"] is not None and row["ratio"] is not None:
        word = {True: ": reached", False: ": not reached", None: ""}[row["reached"]]
        parts += f", promised {promise(row)}{word}"
    return parts + "."


def promise(row: Row) -> str:
    """The promised change: 0.5 is `−50 %` of a number that shall fall."""
    return text.change(1 + row["promised"] if row["direction"] == "up" else 1 - row["promised"])


def _pending(row: Row) -> str:
    if row["late"]:
        return f"Its decision date {row['decision_date']} has come, and nothing was judged."
    so_far = f"; {text.count(row['days_after'], 'day')} after the fix so far" if row["days_after"] else ""
    return f"Will be judged on {row['decision_date'] or 'a date that is not recorded'}, once{so_far}."


def _lead(row: Row) -> str:
    if row["verdict"] == "verified":
        return "It worked, less than promised" if row["reached"] is False else "It worked"
    if row["verdict"] != "ineffective":
        return "Not clear whether it worked"
    if row["low"] is None or row["high"] is None:
        return "It did not work"
    worse = row["high"] < 1 if row["direction"] == "up" else row["low"] > 1
    return "No effect" if row["low"] <= 1 <= row["high"] else "It got worse" if worse else "Less than promised"


def state(report: Row) -> str:
    """`bad`: a day is missing, evidence is corrupt or a date has passed; `attention`: anything else that waits or was not judged.

    For a week or month: of any of its days; a review that was missed is `bad` too. `good` needs all sources judged whole, all
    tables computed, no decision waiting and no KPI short of its target; rules and models that could not judge are named beside it.
    """
    verdicts = [row["today"]["verdict"] for row in report["sources"]]
    corrupt = any(
        reason["code"] in ("corrupt", "mismatch") for row in report["sources"] for reason in row["today"]["reasons"]
    )
    broken = any(chain["problem"] for chain in report["evidence"]["chains"])
    missed = any(row["state"] == "missed" for row in report.get("reviews", []))
    if "missing" in verdicts or corrupt or broken or missed or any(row["overdue"] for row in report["decisions"]):
        return "bad"
    lacking = [row for row in report["not_judged"] if row["kind"] != DETECTOR]
    if report["decisions"] or lacking or _off_target(report):
        return "attention"
    return "good"


def edition(report: Row) -> str:
    """`edition 2, settled`, or `edition 1, provisional until 2026-11-24 05:00`: late records may change it until then."""
    if not report["provisional"]:
        return f"edition {report['edition']}, settled"
    until = max(report["settles_at"][name] for name in report["provisional"])
    return f"edition {report['edition']}, provisional until {text.minute(until)}"


def verdict(report: Row) -> str:
    """One sentence that a director reads."""
    parts = [_decisions(report), _sources(report)] if report["kind"] == "daily" else _period(report)
    parts += _judged(report)
    off = _off_target(report)
    if off:
        parts.append(f"{text.count(off, 'KPI')} {'misses its target' if off == 1 else 'miss their targets'}")
    sentence = ", ".join(parts[:-1]) + ", and " + parts[-1]
    return sentence[0].upper() + sentence[1:] + "."


def _judged(report: Row) -> list[str]:
    """Fixes whose date fell on the report's days: `one fix worked and two did not`."""
    verdicts = [row["verdict"] for row in report.get("effects", []) if row["judged_today"]]
    worked, failed = verdicts.count("verified"), verdicts.count("ineffective")
    if not worked:
        return [f"{text.count(failed, 'fix', 'fixes')} did not work"] if failed else []
    return [f"{text.count(worked, 'fix', 'fixes')} worked" + (f" and {text.spelled(failed)} did not" if failed else "")]


def _period(report: Row) -> list[str]:
    """What a week or month has in place of a day's sources: findings opened and closed, days whole, reviews."""
    life, days = report["life"], len(report["days"])
    closed = text.spelled(life["closed"]) if life["closed"] else "none"
    parts = [
        f"{text.count(life['opened'], 'finding')} opened and {closed} closed",
        _decisions(report),
        _whole_days(report, days),
    ]
    lacking = sum(row["state"] in ("late", "missed") for row in report["reviews"])
    if lacking:
        parts.append(f"{text.count(lacking, 'review')} {'was' if lacking == 1 else 'were'} late or missed")
    return parts


def _whole_days(report: Row, days: int) -> str:
    whole = sum(row["whole_days"] == days for row in report["sources"])
    total = len(report["sources"])
    if whole == total:
        subject = "the one source was" if total == 1 else f"all {text.count(total, 'source')} were"
        return f"{subject} whole on {'the one day' if days == 1 else f'all {text.spelled(days)} days'}"
    if not whole:
        return "the one source was not whole on all days" if total == 1 else "no source was whole on all days"
    return f"{text.spelled(whole)} of {text.count(total, 'source')} {'was' if whole == 1 else 'were'} whole on all days"


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
    """KPIs of the period's events short of their target; the sentence has told of completeness already, and reviews have their section."""
    return sum(
        row["today"]["state"] == "bad" and row.get("incomplete") not in ("counted", "apart") for row in report["kpis"]
    )


def subject(report: Row) -> str:
    """The mail's subject: state first, counts, no text of a log."""
    asked, lacking = len(report["decisions"]), sum(row["today"]["verdict"] not in WHOLE for row in report["sources"])
    total = len(report["sources"])
    facts = [f"{asked} decision{'' if asked == 1 else 's'}" if asked else "nothing waits"]
    facts.append(
        f"{lacking} source{'' if lacking == 1 else 's'} incomplete" if lacking else f"{total} of {total} sources whole"
    )
    simulated = "SIMULATED " if report["clock_note"] else ""
    when = report["day"] if report["kind"] == "daily" else report["period"]
    return f"[{report['state'].upper()}] {simulated}Audit logs {when}: {', '.join(facts)}"
