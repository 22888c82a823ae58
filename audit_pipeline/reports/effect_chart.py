"""One effect as a small SVG: the days before, the episode, the days after, and those left out, with the moment of the change.

Belongs here: geometry. Not here: colours (`page.css`), the numbers (`effects`), labels of axes (HTML beside the drawing).

Windows are told by shape too: days left out are hatched, the episode lies on a plate with an edge, the change is a full line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from audit_pipeline.reports.charts import PLOT, WIDTH, Row, ceiling, fixed, hatch

LEFT_OUT, EPISODE = "left_out", "episode"
_MARGIN = (16.0, 70.0)
"""per cent between which the label of the change may stand, so that it covers neither end of the axis"""


def effect(row: Row, title: str, description: str) -> Markup:
    """The series of a remediation; a day without a value is a gap."""
    days = _days(row)
    top = scale(row)
    grid = Markup("").join(
        Markup('<path class="k-grid" d="M0 {}H{}"/>').format(fixed(PLOT * share), WIDTH) for share in (0, 0.5, 1)
    )
    body = _plates(days) + grid + _levels(row, days, top) + _lines(days, top) + _change(row, days)
    return Markup(
        '<svg class="trend" viewBox="0 -6 {} {}" preserveAspectRatio="none" role="img"><title>{}</title><desc>{}</desc>{}</svg>'
    ).format(WIDTH, PLOT + 12, title, description, body)


def scale(row: Row) -> float:
    """The top of the scale, which begins at 0."""
    shown = [{"value": value, "high": None, "target": None, "unit": row["unit"]} for value in _values(row)]
    return ceiling(shown or [{"value": None, "high": None, "target": None, "unit": row["unit"]}])


def moment(row: Row) -> float:
    """Where the change lies, in per cent of the width; kept off both ends."""
    days = _days(row)
    return round(min(max(_at(row, days) * 100, _MARGIN[0]), _MARGIN[1]), 1)


def _values(row: Row) -> list[float]:
    return [
        value
        for value in (*(one["value"] for one in row["series"]), row["rate_before"], row["rate_after"])
        if value is not None
    ]


def _days(row: Row) -> list[Row]:
    """One entry a calendar day from first to last: a day that the series lacks has no window."""
    known = {one["day"]: one for one in row["series"]}
    if not known:
        return []
    first, last = (dt.date.fromisoformat(day) for day in (min(known), max(known)))
    listed = [(first + dt.timedelta(days=step)).isoformat() for step in range((last - first).days + 1)]
    return [known.get(day, {"day": day, "value": None, "window": None}) for day in listed]


def _at(row: Row, days: Sequence[Row]) -> float:
    """The change as a share of the width."""
    index = next((index for index, one in enumerate(days) if one["day"] >= (row["after_start"] or "9999")), len(days))
    return index / len(days) if days else 0.0


def _x(index: float, days: Sequence[Row]) -> float:
    return index * WIDTH / len(days)


def _runs(days: Sequence[Row], window: str) -> list[tuple[int, int]]:
    """First and last index of each run of days of a window."""
    found: list[tuple[int, int]] = []
    for index, one in enumerate(days):
        if one["window"] != window:
            continue
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


def _plates(days: Sequence[Row]) -> Markup:
    """The episode as a plate, days left out as hatched columns."""
    drawn = Markup("").join(
        Markup('<rect class="e-episode" x="{}" y="0" width="{}" height="{}"/>').format(
            fixed(_x(first, days)), fixed(_x(last + 1 - first, days)), PLOT
        )
        for first, last in _runs(days, EPISODE)
    )
    lines = "".join(
        hatch(_x(first, days), 0, _x(last + 1 - first, days), PLOT, 7) for first, last in _runs(days, LEFT_OUT)
    )
    return drawn + (Markup('<path class="k-hatch" d="{}"/>').format(lines) if lines else Markup(""))


def _lines(days: Sequence[Row], top: float) -> Markup:
    """Runs of days of one window that have values; left-out days are hollow dots."""
    paths = {"before": "", EPISODE: "", "after": ""}
    hollow = ""
    for index, (earlier, one) in enumerate(pairwise([{"value": None, "window": None}, *days])):
        if one["value"] is None:
            continue
        point = f"{fixed(_x(index + 0.5, days))} {fixed(_y(one['value'], top))}"
        if one["window"] in paths:
            joined = earlier["value"] is not None and earlier["window"] == one["window"]
            paths[one["window"]] += f"{'L' if joined else 'M'}{point}" + ("" if joined else "h0")
        else:
            hollow += f"M{point}h0"
    lines = Markup("").join(
        Markup('<path class="k-line e-{}" d="{}"/>').format(name, path) for name, path in paths.items() if path
    )
    return lines + (
        Markup('<path class="k-hollow" d="{0}"/><path class="k-core" d="{0}"/>').format(hollow)
        if hollow
        else Markup("")
    )


def _levels(row: Row, days: Sequence[Row], top: float) -> Markup:
    """The rate before and after as dashed lines over their windows."""
    path = ""
    for window, value in (("before", row["rate_before"]), ("after", row["rate_after"])):
        runs = _runs(days, window)
        if runs and value is not None:
            path += f"M{fixed(_x(runs[0][0], days))} {fixed(_y(value, top))}H{fixed(_x(runs[-1][1] + 1, days))}"
    return Markup('<path class="k-target" d="{}"/>').format(path) if path else Markup("")


def _change(row: Row, days: Sequence[Row]) -> Markup:
    """The moment of the change as a full line; nothing where it is not known."""
    if not days or not row["after_start"]:
        return Markup("")
    return Markup('<path class="e-change" d="M{} -6V{}"/>').format(fixed(_at(row, days) * WIDTH), PLOT)


def _y(value: float, top: float) -> float:
    return PLOT - PLOT * min(max(value / top, 0.0), 1.0)
