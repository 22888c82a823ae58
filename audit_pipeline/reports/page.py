"""The report as one self-contained HTML page: no script, nothing loaded from elsewhere, under 500 kB.

Belongs here: rendering and what fits on the first screen. Not here: numbers (`model`), shapes (`charts`), looks (`page.css`).

Autoescape is always on: `select_autoescape` would be off for names ending in .j2. Every printed string passes `text.finalize`
first, so that text of a log is inert even where a template forgets to think of it.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from audit_pipeline.reports import charts, coverage, effect_chart, effects, inputs, periods, tables, text, wording

WORDS_FIRST_SCREEN = 120
FINDINGS, DETECTIONS, FAILURES, SCOPES, STRIPS, DAY_TABLES, CORRECTIONS = 30, 3, 40, 8, 40, 25, 40
EFFECTS, MORE_EFFECTS, ANOMALIES, RELEASES, HELD, GRANTS = 6, 20, 10, 20, 20, 25
"""most rows of each table on the page; what is left out is counted there, and stands in the CSV files"""
_ALL, _PERIODS = ("daily", *periods.KINDS), periods.KINDS
_SECTIONS = (
    ("effects", "Fixes and effects", _ALL),
    ("changes", "Changes", _ALL),
    ("findings", "Findings", _ALL),
    ("anomalies", "Anomalies", _ALL),
    ("releases", "Releases", _ALL),
    ("life", "Life of findings", _PERIODS),
    ("failures", "Logging failures", _ALL),
    ("sources", "Sources", _ALL),
    ("kpis", "KPIs", _ALL),
    ("controls", "Controls", ("monthly",)),
    ("access", "Access to logs", _ALL),
    ("reviews", "Reviews", _PERIODS),
    ("corrections", "Corrections", _PERIODS),
    ("exceptions", "Exceptions", _ALL),
    ("method", "Method", _ALL),
    ("evidence", "Evidence", _ALL),
)
"""id (that of the template too), word in the navigation, and the kinds of report that have it; in the page's order"""
GROUPS = {
    "security": "Sign-ins, privileges and access",
    "reliability": "Reliability",
    "changes": "Changes and releases",
    "response": "Response to findings",
    "logging": "Logging itself",
}
_KPI_ROWS, _SOURCE_ROWS, _FEWEST_DAYS = 300, 360, 7
"""rows of days that all fold-outs of KPIs, or of sources, have room for together; each has the newest seven days at least"""
_HERE = Path(__file__).with_name("templates")
_FIRST_SCREENS = ((3, 3, 8), (3, 2, 6), (2, 2, 5), (2, 1, 4), (1, 1, 3), (1, 1, 1))
"""decisions, subjects not judged and sources on the first screen, tried in this order until the words fit"""


def environment(folder: Path, *, autoescape: bool = True) -> Environment:
    """Jinja with undefined names as errors and every printed string made visible; only plain text is made without escaping."""
    made = Environment(
        autoescape=autoescape,  # noqa: S701 - off for text/plain alone
        undefined=StrictUndefined,
        loader=FileSystemLoader(folder),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=text.finalize,
    )
    made.filters |= {
        "cut": text.visible,
        "measure": text.measure,
        "number": text.number,
        "duration": text.duration,
        "change": text.change,
        "size": text.size,
        "minute": text.minute,
        "spelled_or_none": lambda number: text.spelled(number) if number else "none",
        "technique": _technique,
        "spaced": lambda word: str(word).replace("_", " "),
    }
    made.globals |= {
        "VERDICTS": coverage.VERDICT_WORDS,
        "STATES": wording.STATE_WORDS,
        "GROUPS": GROUPS,
        "CONTROL_STATES": wording.CONTROL_WORDS,
        "WHOLE": coverage.WHOLE,
        "count": text.count,
        "edition": wording.edition,
        "charts": charts,
        "effect_chart": effect_chart,
        "EFFECT_WORDS": wording.EFFECT_WORDS,
        "EFFECT_MARKS": wording.EFFECT_MARKS,
        "effect_words": wording.effect,
        "promise": wording.promise,
        "left_out": effects.left_out,
        "phrase": coverage.phrase,
        "population": population,
        "span": text.span,
        "spans": text.spans,
    }
    return made


def population(row: dict[str, Any], kind: str | None) -> str:
    """What a number is of: `412 of 31,906`; a duration's n is how many were measured."""
    if (row["population"] is None and row["n"] is None) or (row["value"] is None and not row["population"]):
        return "nothing counted"
    if row["population"] is None or row["n"] is None or kind == "duration":
        return f"n {text.number(row['n'] if row['population'] is None else row['population'])}"
    return f"{text.number(row['n'])} of {text.number(row['population'])}"


def _technique(tag: str) -> str:
    """A Sigma tag as ATT&CK writes it: `attack.t1110.003` is T1110.003."""
    name = str(tag).removeprefix("attack.")
    return name.upper() if re.fullmatch(r"t\d{4}(\.\d{3})?", name) else name.replace("-", " ").replace("_", " ")


@cache
def _environment() -> Environment:
    return environment(_HERE)


def render(report: dict[str, Any]) -> str:
    """The page of a report that has its edition."""
    made = _environment()
    css = Markup((_HERE / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - our own style sheet
    common = {"r": report, "css": css, "four": four(report["kpis"]), "scale": charts.ceiling}
    common |= {"total": len(report["sources"]), "noun": periods.NOUNS[report["kind"]], "sections": sections(report)}
    common |= {"groups": groups(report["kpis"]), "shown": [name for name, _ in sections(report)]}
    common |= {"when": report["day"] if report["kind"] == "daily" else report["period"], "files": tables.names(report)}
    common |= {"FINDINGS": FINDINGS, "DETECTIONS": DETECTIONS, "FAILURES": FAILURES, "SCOPES": SCOPES}
    common |= {"KPI_DAYS": max(_FEWEST_DAYS, _KPI_ROWS // max(1, len(report["kpis"])))}
    common |= {"SOURCE_DAYS": max(_FEWEST_DAYS, _SOURCE_ROWS // max(1, min(DAY_TABLES, len(report["sources"]))))}
    common |= {
        "EFFECTS": EFFECTS,
        "MORE_EFFECTS": MORE_EFFECTS,
        "ANOMALIES": ANOMALIES,
        "RELEASES": RELEASES,
        "HELD": HELD,
        "GRANTS": GRANTS,
    }
    common |= {"EFFECT_DAYS": inputs.EFFECT_DAYS}
    common |= {"STRIPS": STRIPS, "DAY_TABLES": DAY_TABLES, "CORRECTIONS": CORRECTIONS}
    common |= {"on_page": {row["finding_id"][:12] for row in _listed(report)}, "card_rows": card_rows}
    first = Markup("")
    for decisions, subjects, sources in _FIRST_SCREENS:
        first = Markup(  # noqa: S704 - rendered with autoescape
            made.get_template("first.html.j2").render(**common, decisions=decisions, subjects=subjects, sources=sources)
        )
        if text.words(plain(first)) <= WORDS_FIRST_SCREEN:
            break
    return made.get_template("page.html.j2").render(**common, first=first)


def _listed(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings that the page has in full: those that the budget shows, the most urgent first."""
    return [row for row in report["findings"] if row["shown"] is not False][:FINDINGS]


def card_rows(card: dict[str, Any]) -> list[tuple[str, str]]:
    """A model's card as names and values that can be read: `people`, `actors 41 · usable days 28`."""
    return [(name, _card_value(value)) for name, value in card.items()]


def _card_value(value: Any) -> str:
    if isinstance(value, dict):
        return " · ".join(f"{name.replace('_', ' ')} {_card_value(one)}" for name, one in value.items())
    if isinstance(value, float):
        return text.number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def groups(kpis: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The KPIs below the first four, by group, in the order of `GROUPS`; those of no known group last."""
    rest = kpis[len(four(kpis)) :]
    names = [*GROUPS, *sorted({kpi["group"] or "other" for kpi in rest} - set(GROUPS))]
    found = [(name, [kpi for kpi in rest if (kpi["group"] or "other") == name]) for name in names]
    return [(name, members) for name, members in found if members]


def sections(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections of the page below its first screen, in order: id (that of the template too) and word in the navigation."""
    told = {"access"} - report.keys() if report["kind"] == "daily" else set()  # no source shows who may do what
    return [(name, title) for name, title, kinds in _SECTIONS if report["kind"] in kinds and name not in told]


def four(kpis: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The four KPIs for first screen and mail: the catalogue's first."""
    return kpis[:4]


def plain(markup: str) -> str:
    """The text that a reader of HTML sees: tags and drawings left out."""
    without = re.sub(r"<(style|svg|title)\b.*?</\1>", " ", markup, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", without))
