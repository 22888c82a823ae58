"""Charts: shapes tell the verdict, gaps stay gaps, drawings stay in their frame, pictures are the same bytes."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit_pipeline.reports import charts, picture

Row = dict[str, Any]


def day(verdict: str, events: int | None = 10, low: float | None = 8, high: float | None = 12) -> Row:
    return {"day": "2026-11-23", "verdict": verdict, "events": events, "expected_low": low, "expected_high": high}


def point(value: float | None, verdict: str = "no_gap_seen", **more: Any) -> Row:
    return {"value": value, "verdict": verdict, "unit": "share", "low": None, "high": None, "target": None, **more}


VERDICTS = ["proven", "no_gap_seen", "partial", "missing", "unknown", "not_computed"]


def test_every_verdict_has_a_shape_of_its_own() -> None:
    shapes = {verdict: re.sub(r'class="[^"]*"', "", charts.cell(day(verdict), 0, 0, 30, 22)) for verdict in VERDICTS}
    dotted = shapes.pop("unknown"), shapes.pop("missing")
    assert dotted[0] != dotted[1], "they differ by the cross-bar"
    assert len(set(shapes.values())) == len(shapes)
    assert shapes["partial"].count("M") > 5, "hatched"


def test_volume_tints_whole_days_alone() -> None:
    assert [charts.level(day("no_gap_seen", events)) for events in (7, 10, 13)] == ["below", "usual", "above"]
    assert charts.level(day("no_gap_seen", 7, None, None)) == "usual"
    drawn = [
        re.sub(r'class="[^"]*"', "", charts.cell(day("no_gap_seen", events), 0, 0, 30, 22)) for events in (7, 10, 13)
    ]
    assert len(set(drawn)) == 3, "told apart without colour"
    assert "c-below" not in charts.cell(day("partial", 1), 0, 0, 30, 22)


def test_a_strip_tells_its_days_in_words() -> None:
    drawn = charts.strip([day("partial", 1_234), day("not_computed", None)], "<b>")
    assert "<title>2026-11-23: partial, 1,234 events</title>" in drawn
    assert "<title>2026-11-23: not computed</title>" in drawn
    assert 'aria-label="&lt;b&gt;"' in drawn


@given(st.floats(1, 300), st.floats(1, 300), st.floats(2, 40))
def test_hatching_stays_in_its_frame(width: float, height: float, step: float) -> None:
    for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", charts.hatch(10, 20, width, height, step)):
        assert 9.9 <= float(x) <= 10.1 + width
        assert 19.9 <= float(y) <= 20.1 + height


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e12)), min_size=1, max_size=30))
@example([5e-324])
def test_a_line_stays_under_its_ceiling_and_a_gap_stays_a_gap(values: list[float | None]) -> None:
    history = [point(value) for value in values]
    assert all(value is None or value <= charts.ceiling(history) * 1.001 for value in values)
    drawn = charts.spark(history)
    runs = len(re.findall(r"(?:^|N)V+", "".join("N" if value is None else "V" for value in values)))
    line = re.search(r'class="k-line" d="([^"]*)"', drawn)
    assert (line.group(1).count("M") if line else 0) == runs
    for y in re.findall(r"[ML][\d.]+ ([\d.-]+)", line.group(1) if line else ""):
        assert 0 <= float(y) <= 36


def test_incomplete_days_are_hatched_and_hollow() -> None:
    whole, partial = charts.spark([point(0.5)] * 3), charts.spark([point(0.5), point(0.5, "partial"), point(0.5)])
    assert "k-hatch" not in whole
    assert "k-hatch" in partial
    assert re.search(r'class="k-hollow" d="M[^"]+h0"', partial)


def test_an_interval_of_another_quantity_is_not_drawn() -> None:
    assert "k-range" in charts.trend([point(0.5, low=0.4, high=0.6)], "t", "d")
    assert "k-range" not in charts.trend([point(412.0, low=0.011, high=0.013)], "t", "d")


@pytest.mark.parametrize(
    ("values", "unit", "top"),
    [
        ([0.98], "share", 1.0),
        ([0.0122], "share", 0.015),
        ([449.0], "count", 500.0),
        ([0.0], "count", 1.0),
        ([None], "s", 1.0),
        ([0.98], "s", 1.0),
        ([643.0], "s", 900.0),
        ([5_000.0], "s", 7_200.0),
    ],
)
def test_scales_end_at_round_numbers(values: list[float | None], unit: str, top: float) -> None:
    assert charts.ceiling([point(value, unit=unit) for value in values]) == pytest.approx(top)


def test_a_trend_is_told_in_words() -> None:
    assert charts.told([point(None)] * 3, "share") == "No data on any of 3 days."
    told = charts.told([point(0.5), point(None), point(0.25)], "share")
    assert told == "2 of 3 days have data: from 25 % to 50 %, on the last of them 25 %."


def pixels(png: bytes) -> tuple[int, int, set[bytes]]:
    """Width, height and the colours of an RGBA picture without row filters undone: enough to see what is drawn."""
    width, height = struct.unpack(">II", png[16:24])
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    rows = zlib.decompress(data)
    assert len(rows) == height * (width * 4 + 1)
    first = rows[1 : width * 4 + 1]
    return width, height, {first[i : i + 4] for i in range(0, 400, 4)}


def test_the_picture_is_592_wide_at_twice_the_size_and_white(report: Row) -> None:
    png = picture.png(picture.strips_svg(report))
    width, height, _ = pixels(png)
    assert (width, height) == (592 * 2, picture.size(3)[1] * 2)
    assert picture.size(3)[0] == 592
    assert len(png) < 60_000
    assert png == picture.png(picture.strips_svg(report))


def test_the_picture_has_its_letters_without_any_font_of_the_system(report: Row) -> None:
    svg = picture.strips_svg(report)
    nameless = re.sub(r"<text.*?</text>", "", str(svg))
    from markupsafe import Markup

    assert picture.png(Markup(nameless)) != picture.png(svg)
    assert "payments_db" in svg
    assert "partial" in svg


def test_a_picture_of_many_sources_stays_small(report: Row) -> None:
    report["sources"] = report["sources"] * 30
    assert pixels(picture.png(picture.strips_svg(report)))[1] == picture.size(90)[1] * 2 <= 800


def test_a_controls_days_have_a_shape_a_state_and_words() -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 6)]
    svg = str(charts.operation(days, {"operated": days[:3], "not_operated": [days[3]], "not_evaluated": [days[4]]}))
    assert "5 days: operated on 3, not operated on 1, not evaluated on 1" in svg
    assert svg.count('class="c-usual"') == svg.count('class="c-missing"') == svg.count('class="c-hatch"') == 1
    usual = svg.partition('class="c-usual" d="')[2].partition('"')[0]
    assert usual.count("M") == 3
    assert "<title>" not in svg, "31 of them a control would be heavy: the table beside it has the words"
