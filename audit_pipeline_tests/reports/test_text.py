"""Hostile text becomes inert, numbers keep what they mean."""

from __future__ import annotations

import csv
import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.reports import text
from audit_pipeline_tests.reports.company import PAYLOADS

ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


@given(ANY, st.integers(0, 400))
def test_visible_text_hides_nothing_and_keeps_its_limit(value: str, limit: int) -> None:
    shown = text.visible(value, limit)
    assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    shown.encode("utf-8")
    assert len(re.sub(r"…\(\+\d+\)\Z", "", shown)) <= limit


@given(
    st.text(
        alphabet=st.characters(categories=("L", "N", "P"), exclude_characters="\u115f\u1160\u3164\uffa0"), max_size=150
    )
)
def test_ordinary_text_is_left_alone(value: str) -> None:
    assert text.visible(value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b", "a␀b"),
        ("invoice\u202egnp.exe", "invoice\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("a\u2067b", "a\\u2067b"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("line\r\nbreak", "line␍␊break"),
        ("\x7f\x9b", "␡\\u009b"),
        ("half \ud800", "half \\ud800"),
        ("blank\u2800", "blank\\u2800"),
    ],
)
def test_what_hides_is_shown(value: str, shown: str) -> None:
    assert text.visible(value) == shown


def test_a_cut_counts_what_it_left_off() -> None:
    assert text.visible("x" * 500, 200) == "x" * 200 + "…(+300)"
    assert text.visible("\u202e" * 10, 13) == "\\u202e" * 2 + "…(+8)"


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", " =", "\u00a0="])
def test_no_cell_begins_like_a_formula(lead: str) -> None:
    assert str(text.csv_cell(lead + "1+1")).startswith("'")


def test_numbers_stay_numbers_and_nothing_stays_empty() -> None:
    out = io.StringIO()
    csv.writer(out).writerow([text.csv_cell(value) for value in (-5, 0, 1.5, None, "plain", True)])
    assert out.getvalue() == "-5,0,1.5,,plain,True\r\n"


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_payload_survives_csv_as_one_inert_cell(payload: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([text.csv_cell(payload), "next"])
    (row,) = csv.reader(io.StringIO(out.getvalue()))
    assert row[1] == "next"
    assert row[0][0] not in "=+-@\t\r\n＝＋－＠"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "count", "no data"),
        (float("nan"), "share", "no data"),
        (0.0, "count", "0"),
        (0.0, "share", "0 %"),
        (0.0122, "share", "1.22 %"),
        (1.0, "share", "100 %"),
        (0.99996, "share", "over 99.9 %"),
        (0.999, "share", "99.9 %"),
        (0.00001, "share", "0.001 %"),
        (1_184_302.0, "count", "1,184,302"),
        (-3.0, "count", "−3"),
        (12.0, "requests", "12 requests"),
        (540.0, "s", "9 min"),
        (32_460.0, "s", "9 h 1 min"),
        (59.97, "s", "60 s"),
        (3_599.7, "s", "1 h"),
        (180_000.0, "s", "2 d 2 h"),
        (4.21, "s", "4.2 s"),
    ],
)
def test_values_have_their_unit(value: float | None, unit: str, shown: str) -> None:
    assert text.measure(value, unit) == shown


@given(st.floats(0, 0.9999999))
def test_a_share_that_is_not_whole_does_not_read_as_whole(value: float) -> None:
    assert text.measure(value, "share") != "100 %"


@given(st.floats(1e-9, 1))
def test_a_share_that_is_not_none_does_not_read_as_none(value: float) -> None:
    assert text.measure(value, "share") not in ("0 %", "no data")


def test_words_and_counts() -> None:
    assert text.words("412 of 31,906 · n/a → ok ()") == 5
    assert text.count(2, "decision", capital=True) == "Two decisions"
    assert text.count(1, "source") == "one source"
    assert text.count(14, "finding") == "14 findings"
    assert text.count(0, "finding") == "no findings"


def test_spans_tell_the_day_only_where_it_differs() -> None:
    day = "2026-11-23"
    assert text.span("2026-11-23T08:02:00Z", "2026-11-23T17:03:00Z", day) == "08:02 to 17:03"
    assert text.span("2026-11-22T22:00:00Z", "2026-11-24T00:00:00Z", day) == "11-22 22:00 to 24:00"
    assert text.span(None, None, day) == ""


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_700_000_000, "1.7 GB")])
def test_sizes(size: int, shown: str) -> None:
    assert text.size(size) == shown
