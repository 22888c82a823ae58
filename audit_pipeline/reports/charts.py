"""Small SVG charts: pure functions from rows to markup, the same bytes for the same rows (fixed decimals, no ids).

Belongs here: geometry and shapes. Not here: colours (classes, coloured by the page's style sheet or by `picture`), labels of axes
(HTML beside the chart, so that they keep their size when the drawing is stretched), numbers in words.

A verdict is never told by colour alone: partial is hatched, missing an outline with a cross-bar, unknown dotted, not computed empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from audit_pipeline.reports import text
from audit_pipeline.reports.coverage import VERDICT_WORDS, WHOLE
from audit_pipeline.reports.measures import INCOMPLETE

Row = dict[str, Any]
CELL, GAP, HEIGHT = 30, 4, 22
MOST_TITLED = 31
"""days up to which each cell of a strip has a title of its own"""
WIDTH, PLOT = 560, 150
_NOTHING = 1e-9  # below it a scale would be finer than a drawing shows, and its powers of ten run out
_NICE = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_NICE_SECONDS = (60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)


def strip(days: Sequence[Row], label: str) -> Markup:
    """One source's days as cells, oldest first; stretches to the width it is given."""
    width = len(days) * (CELL + GAP) - GAP
    if len(days) > MOST_TITLED:
        return _frame(width, label, _dense(days))
    cells = Markup("").join(
        Markup("<g><title>{}</title>{}</g>").format(_told(day), cell(day, index * (CELL + GAP), 0, CELL, HEIGHT))
        for index, day in enumerate(days)
    )
    return _frame(width, label, cells)


_OPERATION = {"operated": "no_gap_seen", "not_operated": "missing", "not_evaluated": "partial"}
"""a control's day is drawn as a source's: full, outlined with a bar, hatched"""


def operation(days: Sequence[str], grouped: dict[str, list[str]]) -> Markup:
    """A control's days as narrow cells, oldest first."""
    state = {day: _OPERATION[name] for name, members in grouped.items() for day in members}
    cells = [
        {"verdict": state[day], "events": None, "expected_low": None, "expected_high": None}
        for day in days
        if day in state
    ]
    told = ", ".join(f"{name.replace('_', ' ')} on {len(grouped[name])}" for name in _OPERATION)
    return _frame(len(cells) * (CELL + GAP) - GAP, f"{len(cells)} days: {told}", _dense(cells))


def _frame(width: int, label: str, cells: Markup) -> Markup:
    return Markup(
        '<svg class="strip" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(width, HEIGHT, label, cells)


def _dense(days: Sequence[Row]) -> Markup:
    """Many days: one path a shape instead of an element a day, and no words; the table beside it has them."""
    paths: dict[str, str] = {}
    for index, day in enumerate(days):
        x, verdict = index * (CELL + GAP), day["verdict"]
        if verdict in WHOLE:
            name, drawn = f"c-{level(day)}", f"M{x} 0h{CELL}v{HEIGHT}h-{CELL}z"
        elif verdict == "partial":
            name, drawn = "c-hatch", hatch(x, 0, CELL, HEIGHT, 18)
        elif verdict == "missing":
            name, drawn = (
                "c-missing",
                f"M{x + 1} 1h{CELL - 2}v{HEIGHT - 2}h-{CELL - 2}zM{x + CELL // 3} {HEIGHT // 2}h{CELL // 3}",
            )
        elif verdict == "unknown":
            name, drawn = "c-unknown", f"M{x + 1} 1h{CELL - 2}v{HEIGHT - 2}h-{CELL - 2}z"
        else:
            name, drawn = "c-blank", f"M{x + CELL // 2 - 3} {HEIGHT // 2}h6"
        paths[name] = paths.get(name, "") + drawn
    return Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(name, path) for name, path in sorted(paths.items())
    )


def _told(day: Row) -> str:
    events = "" if day["events"] is None else f", {day['events']:,} events"
    return f"{day['day']}: {VERDICT_WORDS[day['verdict']]}{events}"


def cell(day: Row, x: float, y: float, width: float, height: float) -> Markup:
    """One day: a shape for its verdict; whole days are tinted by their volume against the expected range."""
    verdict = day["verdict"]
    if verdict in WHOLE:
        return _whole(day, x, y, width, height)
    if verdict == "partial":
        lines = hatch(x, y, width, height, 6)
        return _rect("c-partial", x, y, width, height) + Markup('<path class="c-hatch" d="{}"/>').format(lines)
    if verdict == "missing":
        bar = Markup('<path class="c-cross" d="M{} {}h{}"/>').format(
            fixed(x + width / 3), fixed(y + height / 2), fixed(width / 3)
        )
        return _rect("c-missing", x + 1, y + 1, width - 2, height - 2) + bar
    if verdict == "unknown":
        return _rect("c-unknown", x + 1, y + 1, width - 2, height - 2)
    return Markup('<path class="c-blank" d="M{} {}h{}"/>').format(fixed(x + width / 2 - 3), fixed(y + height / 2), 6)


def _whole(day: Row, x: float, y: float, width: float, height: float) -> Markup:
    """Full for a usual volume, half full for less, with an arrow for more; underlined where a second count proves it."""
    found = level(day)
    drawn = _rect(f"c-{found}", x, y, width, height)
    if found == "below":
        drawn += _rect("c-usual", x, y + height / 2, width, height / 2)
    if found == "above":
        middle = x + width / 2
        left, right, foot, top = (
            fixed(middle - 4),
            fixed(middle + 4),
            fixed(y + height / 2 + 2),
            fixed(y + height / 2 - 3),
        )
        drawn += Markup('<path class="c-more" d="M{} {}L{} {}L{} {}"/>').format(
            left, foot, fixed(middle), top, right, foot
        )
    if day["verdict"] == "proven":
        drawn += Markup('<path class="c-proof" d="M{} {}h{}"/>').format(
            fixed(x + 3), fixed(y + height - 3), fixed(width - 6)
        )
    return drawn


def level(day: Row) -> str:
    """`below`, `usual` or `above` the expected range; `usual` where there is none yet."""
    events, low, high = day["events"], day["expected_low"], day["expected_high"]
    if events is None or low is None or high is None:
        return "usual"
    return "below" if events < low else "above" if events > high else "usual"


def hatch(x: float, y: float, width: float, height: float, step: float) -> str:
    """Path of diagonal lines inside a rectangle: no pattern, so no id that could clash."""
    parts = []
    offset = step
    while offset < width + height:
        left, bottom = (x, y + offset) if offset <= height else (x + offset - height, y + height)
        right, top = (x + offset, y) if offset <= width else (x + width, y + offset - width)
        parts.append(f"M{fixed(left)} {fixed(bottom)}L{fixed(right)} {fixed(top)}")
        offset += step
    return "".join(parts)


def spark(history: Sequence[Row]) -> Markup:
    """A KPI's days as a line without axes; a day without data is a gap, an incomplete one is hatched."""
    width, height = 150, 36
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}{}</svg>'
    ).format(width, height, _left_out(history, width, height), _line(history, width, height, ceiling(history)))


def trend(history: Sequence[Row], title: str, description: str) -> Markup:
    """A KPI's days against a scale from 0 to `ceiling`; whiskers are the 95 % interval."""
    top = ceiling(history)
    grid = Markup("").join(
        Markup('<path class="k-grid" d="M0 {}H{}"/>').format(fixed(PLOT * share), WIDTH) for share in (0, 0.5, 1)
    )
    body = _left_out(history, WIDTH, PLOT) + grid + _whiskers(history, top) + _target(history, top)
    return Markup(
        '<svg class="trend" viewBox="0 -6 {} {}" preserveAspectRatio="none" role="img"><title>{}</title><desc>{}</desc>{}{}</svg>'
    ).format(WIDTH, PLOT + 12, title, description, body, _line(history, WIDTH, PLOT, top))


def ceiling(history: Sequence[Row]) -> float:
    """The top of the scale: the next round number above value, interval and target; a share ends at 1."""
    found = [row[name] for row in history for name in ("value", "high", "target") if row[name] is not None]
    shares = all(row["unit"] in (None, "share", "ratio", "rate") for row in history)
    largest = max((value for value in found if math.isfinite(value)), default=1.0)
    if largest < _NOTHING:
        return 1.0
    if shares and 0.5 < largest <= 1:
        return 1.0
    if history[-1]["unit"] == "s" and 10 < largest <= _NICE_SECONDS[-1]:
        return float(next(limit for limit in _NICE_SECONDS if limit >= largest))
    power = 10.0 ** math.floor(math.log10(largest))
    return next(factor * power for factor in _NICE if factor * power >= largest * 0.9999)


def _x(index: int, days: int, width: float) -> float:
    return (index + 0.5) * width / days


def _y(value: float, top: float, height: float) -> float:
    return height - height * min(max(value / top, 0.0), 1.0)


def _line(history: Sequence[Row], width: float, height: float, top: float) -> Markup:
    """Runs of days with data as lines, each day a dot; the dot of an incomplete day is hollow."""
    path, whole, hollow, pen_down = "", "", "", False
    for index, row in enumerate(history):
        if row["value"] is None:
            pen_down = False
            continue
        point = f"{fixed(_x(index, len(history), width))} {fixed(_y(row['value'], top, height))}"
        path += f"{'L' if pen_down else 'M'}{point}"
        pen_down = True
        if row["verdict"] in INCOMPLETE:
            hollow += f"M{point}h0"
        else:
            whole += f"M{point}h0"
    return (
        Markup('<path class="k-line" d="{}"/>').format(path)
        + Markup('<path class="k-dot" d="{}"/>').format(whole)
        + Markup('<path class="k-hollow" d="{0}"/><path class="k-core" d="{0}"/>').format(hollow)
        if path
        else Markup("")
    )


def _left_out(history: Sequence[Row], width: float, height: float) -> Markup:
    """Incomplete days as hatched columns, in place."""
    column = width / len(history)
    lines = "".join(
        hatch(index * column, 0, column, height, 7)
        for index, row in enumerate(history)
        if row["value"] is not None and row["verdict"] in INCOMPLETE
    )
    return Markup('<path class="k-hatch" d="{}"/>').format(lines) if lines else Markup("")


def _whiskers(history: Sequence[Row], top: float) -> Markup:
    """Intervals that hold the value; one of another quantity (a rate's, beside a count) is not drawn."""
    path = "".join(
        f"M{fixed(_x(index, len(history), WIDTH))} {fixed(_y(row['low'], top, PLOT))}V{fixed(_y(row['high'], top, PLOT))}"
        for index, row in enumerate(history)
        if None not in (row["value"], row["low"], row["high"]) and row["low"] <= row["value"] <= row["high"]
    )
    return Markup('<path class="k-range" d="{}"/>').format(path) if path else Markup("")


def _target(history: Sequence[Row], top: float) -> Markup:
    target = history[-1]["target"]
    if target is None:
        return Markup("")
    return Markup('<path class="k-target" d="M0 {}H{}"/>').format(fixed(_y(target, top, PLOT)), WIDTH)


def _rect(name: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>').format(
        name, fixed(x), fixed(y), fixed(width), fixed(height)
    )


def fixed(value: float) -> str:
    """`12` or `12.5`: one decimal at most and no minus zero, so the same bytes on every machine."""
    shown = f"{value:.1f}"
    return "0" if shown in ("-0.0", "0.0") else shown.removesuffix(".0")


def told(history: Sequence[Row], unit: str | None) -> str:
    """A trend in words, for those who do not see it."""
    with_data = [row for row in history if row["value"] is not None]
    if not with_data:
        return f"No data on any of {len(history)} days."
    values = [row["value"] for row in with_data]
    return (
        f"{len(with_data)} of {len(history)} days have data: from {text.measure(min(values), unit)} to "
        f"{text.measure(max(values), unit)}, on the last of them {text.measure(values[-1], unit)}."
    )
