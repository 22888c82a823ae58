"""Places of records: exactly what `split` gives, or nothing; and columns that point at them say the same as copies."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.formats.cloudtrail import FORMAT
from audit_pipeline.formats.places import Places, column, json_places
from audit_pipeline.formats.records import split_json

NAMES = ("Records", "Events")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6)


def split(data: bytes) -> list[bytes]:
    return split_json(data, whole=True, containers=NAMES, is_record=lambda _: True).records


@given(RECORDS, st.sampled_from(NAMES), st.booleans())
def test_places_are_those_of_split(records: list[object], name: str, ascii_only: bool) -> None:
    data = json.dumps({name: records}, separators=(",", ":"), ensure_ascii=ascii_only).encode("utf-8", "replace")
    found = json_places(data, NAMES)
    assert found is not None
    assert found.records() == split(data)
    assert len(found.records()) == len(records)


@given(RECORDS, st.data())
def test_a_changed_byte_gives_what_split_gives_or_nothing(records: list[object], draw: st.DataObject) -> None:
    data = bytearray(json.dumps({"Records": records}, separators=(",", ":")).encode())
    data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    found = json_places(bytes(data), NAMES)
    assert found is None or found.records() == split(bytes(data))


@pytest.mark.parametrize(
    "text",
    [
        '{"Records": [{"a":1}]}',
        '{"Records":[{"a":1}, {"a":2}]}',
        '{"Records":[ {"a":1}]}',
        '{"Records":[{"a":1}]}\n',
        '{"Records":[{"a":1}],"Records":[{"a":2}]}',
        '{"Records":[{"a":1}],"Events":[{"a":2}]}',
        '{"Records":[{"a":1}]}{"Records":[{"a":2}]}',
        '{"Records":[{"a":1}',
        '{"Records":[{"a":1},]}',
        '{"Records":null}',
        '[{"a":1}]',
        '{"a":1}',
        "",
    ],
)
def test_whatever_is_not_compact_is_left_to_split(text: str) -> None:
    assert json_places(text.encode(), NAMES) is None


def test_records_inside_records_are_left_to_split() -> None:
    wrapped = json.dumps({"Events": [{"CloudTrailEvent": '{"eventID":"1"}'}]}, separators=(",", ":")).encode()
    assert json_places(wrapped, NAMES) is not None
    assert FORMAT.places(wrapped) is None
    assert FORMAT.split(wrapped, True).records == [b'{"eventID":"1"}']


TEXTS = st.lists(st.lists(st.text(max_size=40), min_size=1, max_size=8), min_size=1, max_size=4)


@given(TEXTS)
def test_a_column_says_what_the_records_say(parts: list[list[str]]) -> None:
    """Also for texts up to twelve bytes, which lie in the view, and for empty ones."""
    places = [Places.of([text.encode("utf-8", "replace") for text in part]) for part in parts]
    made = column(places)
    made.validate(full=True)
    expected = [record.decode() for part in places for record in part.records()]
    assert made.to_pylist() == expected
    assert made.cast(pa.string()).to_pylist() == expected


def test_some_of_them_in_any_order() -> None:
    places = Places.of([b"first of all", b"second record", b"3"])
    chosen = places.take(pa.array([2, 1]).to_numpy())
    assert chosen.records() == [b"3", b"second record"]
    assert column([chosen, places]).to_pylist() == ["3", "second record", "first of all", "second record", "3"]
