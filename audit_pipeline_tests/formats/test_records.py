"""Cutting JSON into records: each untouched record comes out, no record is invented, and what is lost is named with its byte."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_pipeline.formats.base import Split
from audit_pipeline.formats.cloudtrail import FORMAT as CLOUDTRAIL
from audit_pipeline.formats.records import MAX_DAMAGE, harmless, numbered, split_json, split_lines, texts


def _split(data: bytes, whole: bool = True) -> Split:
    return split_json(data, whole=whole, containers=("Records", "Events"), is_record=lambda value: "eventTime" in value)


def _record(n: int, **fields: object) -> bytes:
    return json.dumps({"eventID": f"e{n}", "eventTime": "2021-07-29T00:00:00Z", **fields}).encode()


A, B, C, D = map(_record, range(4))
WRAPS = {
    "document": (b'{"Records":[', b",", b"]}"),
    "spaced document": (b' { "Records" : [\n', b" ,\n  ", b"\n] }\n"),
    "events": (b'{"Events":[', b",", b"]}"),
    "array": (b"[", b",", b"]"),
    "lines": (b"", b"\n", b"\n"),
    "windows lines": (b"", b"\r\n", b"\r\n"),
    "concatenated": (b"", b"", b""),
    "documents on lines": (b'{"Records":[', b']}\n{"Records":[', b"]}\n"),
    "documents concatenated": (b'{"Records":[', b']}{"Records":[', b"]}"),
}
EVERY = pytest.mark.parametrize("wrap", list(WRAPS))


def _wrapped(wrap: str, records: list[bytes]) -> bytes:
    begin, between, end = WRAPS[wrap]
    return begin + between.join(records) + end


@EVERY
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_wrapping_gives_its_records_as_they_stand(wrap: str, bom: bytes, count: int) -> None:
    records = [_record(n, nested={"a": [1, {"b": "}],{"}]}, text='quote " and \\ and , {') for n in range(count)]
    split = _split(bom + _wrapped(wrap, records))
    assert (split.records, split.damaged) == (records, [])


@EVERY
def test_a_damaged_record_costs_itself_and_is_named_with_its_byte(wrap: str) -> None:
    bad = b'{"eventID": "bad", "eventTime" "2021-07-29T00:00:00Z"}'
    data = _wrapped(wrap, [A, B, bad, C, D])
    split = _split(data)
    assert split.records == [A, B, C, D]
    (damage,) = split.damaged
    assert damage.reason == "not_json"
    assert damage.position == data.index(bad)
    assert data[damage.position :].startswith(damage.raw)
    assert damage.raw.startswith(bad)
    colon = data.index(bad) + bad.index(b' "2021') + 1
    assert f"at byte {colon} of the inflated member" in damage.detail


def test_bytes_are_counted_in_the_member_and_not_in_characters() -> None:
    """A byte order mark, letters of several bytes and bytes that are no UTF-8 lie before the damage."""
    before = b"\xef\xbb\xbf" + '{"eventTime":"é😀","x":"'.encode() + b'\xff\xfe"}\n'
    data = before + b"{broken\n" + A
    split = _split(data)
    assert split.records == [before[3:].strip(), A]
    assert [damage.position for damage in split.damaged] == [len(before)]


def test_bad_utf8_nul_and_surrogates_cost_no_record() -> None:
    odd = [
        b'{"eventTime":"1","x":"\xff\xfe"}',
        b'{"eventTime":"2","x":"\\ud800"}',
        b'{"eventTime":"3","x":"a\\u0000b"}',
        b'{"eventTime":"4","x":"a\x00b"}',
    ]
    for wrap in ("document", "lines"):
        split = _split(_wrapped(wrap, [A, *odd, B]))
        assert (split.records, split.damaged) == ([A, *odd, B], [])
    assert [harmless(record) for record in [A, *odd]] == [True, False, False, False, False]
    for record, (parsed, kept) in zip(odd, texts(odd), strict=True):
        value = json.loads(parsed, strict=False)
        assert value["eventTime"] == json.loads(record.decode("utf-8", "replace"), strict=False)["eventTime"]
        assert "\x00" not in parsed + kept + value["x"]
        (parsed + value["x"] + kept).encode()  # raises where a surrogate is left


@given(text=st.text(st.characters(codec=None, exclude_categories=[]), max_size=30))
@settings(max_examples=150, deadline=None)
def test_texts_keep_what_the_engine_can_take(text: str) -> None:
    """What has neither NUL nor lone surrogate is unchanged; everything else becomes text that can be encoded."""
    record = json.dumps({"eventTime": "t", "x": text}).encode()
    ((parsed, kept),) = texts([record])
    value = json.loads(parsed)["x"]
    value.encode()
    clean = "\x00" not in text and not any(0xD800 <= ord(char) < 0xE000 for char in text)
    assert not clean or value == text
    assert kept == record.decode()


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_nothing_is_named(data: bytes) -> None:
    assert [damage.reason for damage in _split(data).damaged] == ["empty"]


@pytest.mark.parametrize(
    "data", [b"not json", b"<html></html>", b"]]]", b",,,", b"\x00\x00", b"{", b'"text"', b"\xff\xfe\x00", b"7"]
)
def test_what_holds_no_record_is_named(data: bytes) -> None:
    split = _split(data)
    assert split.records == []
    assert split.damaged
    assert split.damaged[0].position == 0


def test_a_document_of_no_records_holds_nothing_and_lacks_nothing() -> None:
    assert _split(b'{"Records":[]}') == Split()


def test_nested_deeper_than_any_record_is_named() -> None:
    deep = b'{"eventTime":"x","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    split = _split(_wrapped("lines", [A, deep, B]))
    assert split.records == [A, B]
    assert [damage.reason for damage in split.damaged] == ["too_deep"]
    assert len(split.damaged[0].raw) == MAX_DAMAGE


@EVERY
@pytest.mark.parametrize("whole", [True, False])
def test_a_cut_anywhere_keeps_the_records_before_it_and_names_the_rest(wrap: str, whole: bool) -> None:
    """`whole`: a plain file that ends too early; else an archive that did."""
    records = [A, B, C]
    data = _wrapped(wrap, records)
    tops = [data.index(record) + len(record) for record in records]
    for cut in range(1, len(data)):
        split = _split(data[:cut], whole)
        expected = [record for record, end in zip(records, tops, strict=True) if end <= cut]
        assert split.records == expected, cut
        if not whole or not _complete(wrap, data[:cut], tops):
            assert split.damaged, cut
        if split.damaged:
            last = split.damaged[-1]
            assert last.position <= cut
            assert not whole or last.reason in ("truncated", "not_json", "empty")


def _complete(wrap: str, data: bytes, tops: list[int]) -> bool:
    """Whether nothing tells that a plain file was cut: lines end with a record, documents with their last bracket."""
    text = data.strip()
    if wrap in ("lines", "windows lines", "concatenated"):
        return len(data.rstrip()) in tops
    if wrap == "array":
        return text.endswith(b"]")
    return text.endswith(b"}") and text.rstrip(b"}").rstrip().endswith(b"]")


def test_a_document_cut_between_two_records_is_named_though_all_its_records_are_whole() -> None:
    for data in (b'{"Records":[' + A + b"," + B, b"[" + A, b'{"Records":[', b'{"Records":[' + A + b"]"):
        (damage,) = _split(data).damaged
        assert (damage.reason, damage.position) == ("truncated", len(data))


def test_a_list_that_is_named_twice_loses_nothing_in_silence() -> None:
    for second in (b'"Records"', b'"Events"'):
        split = _split(b'{"Records":[' + A + b"]," + second + b":[" + B + b"]}")
        assert split.records == [A]
        assert B in b"".join(damage.raw for damage in split.damaged)
    named_inside = _record(9, requestParameters={"Records": ["Records", "Events"]})
    assert _split(b'{"Records":[' + named_inside + b"]}") == Split([named_inside])


def test_parts_of_a_damaged_record_are_no_records() -> None:
    """Lists and objects inside what cannot be read are not taken for records of their own."""
    bad = b'{"eventID" "bad",\n"resources":\n[{"ARN":"x"},{"ARN":"y"}],\n"more":\n[[{"z":1}]]\n}'
    split = _split(b'{"Records":[' + A + b"," + bad + b"," + B + b"]}")
    assert split.records == [A, B]
    assert len(split.damaged) == 1


_WRAP = st.sampled_from(list(WRAPS))
_FIELDS = st.dictionaries(st.sampled_from(["a", "b", "user"]), st.text(max_size=6) | st.integers() | st.none(), max_size=2)  # fmt: skip


@given(
    wrap=_WRAP,
    fields=st.lists(_FIELDS, min_size=1, max_size=6),
    place=st.floats(0, 1, exclude_max=True),
    cut=st.integers(0, 12),
    put=st.binary(max_size=8) | st.sampled_from([b'"', b"{", b"}", b"[", b"]", b"\n", b'{"', b"},{", b"\\"]),
)
@example(wrap="lines", fields=[{}, {}], place=0.0, cut=0, put=b'"')
@settings(max_examples=500, deadline=None)
def test_a_mutated_document_invents_nothing_and_keeps_what_was_not_touched(
    wrap: str, fields: list[dict[str, object]], place: float, cut: int, put: bytes
) -> None:
    records = [_record(n, **extra) for n, extra in enumerate(fields)]
    data = _wrapped(wrap, records)
    at = int(place * len(data))
    mutated = data[:at] + put + data[at + cut :]
    split = _split(mutated)
    for record in split.records:
        assert record in mutated, "a record that does not stand in the file"
        json.loads(record.decode("utf-8", "surrogateescape"), strict=False)
    ends = [0]
    for record in records:
        ends.append(data.index(record, ends[-1]) + len(record))
    first = [record for record, end in zip(records, ends[1:], strict=True) if end <= at]
    touched = [n for n, record in enumerate(records) if ends[n + 1] - len(record) <= at + cut and ends[n + 1] >= at]
    if mutated == data:
        assert (split.records, split.damaged) == (records, [])
    elif len(touched) == 1 and at > ends[touched[0] + 1] - len(records[touched[0]]) and at + cut < ends[touched[0] + 1] and not set(put) & set(b'"\\{}[]'):  # fmt: skip
        # inside one record, and not in what holds records together: all others come out
        others = [record for n, record in enumerate(records) if n != touched[0]]
        assert [record for record in split.records if record in others] == others
        assert split.damaged or len(split.records) == len(records)
    elif not split.damaged and split.records[: len(first)] != first:
        # the container's own name is gone: then the document is one record, whole, which the format rejects
        assert split.records == [mutated.removeprefix(b"\xef\xbb\xbf").strip()]
    assert split.records or split.damaged or json.loads(mutated) in ({"Records": []}, {"Events": []}, [])


@given(data=st.binary(max_size=200) | st.text('{}[]",:\n\\ aRecords', max_size=80).map(str.encode), whole=st.booleans())
@settings(max_examples=500, deadline=None)
def test_anything_is_cut_or_named(data: bytes, whole: bool) -> None:
    split = _split(data, whole)
    assert all(record in data for record in split.records)
    assert all(0 <= damage.position <= len(data) for damage in split.damaged)
    assert [damage.position for damage in split.damaged] == sorted(damage.position for damage in split.damaged)
    assert whole or split.damaged


@pytest.mark.parametrize(
    ("unit", "counts"),
    [
        (A + b"\n{broken\n", (4_000, 16_000)),
        ("{é broken\n".encode() + A + b"\n", (4_000, 16_000)),
        (b"}" + b" " * 20_000, (20, 80)),
        (b"{x\n\n\n\n\n\n\n\n", (20_000, 80_000)),
    ],
)
def test_time_grows_with_the_damage_and_not_with_its_square(unit: bytes, counts: tuple[int, int]) -> None:
    def seconds(count: int) -> float:
        begin = time.process_time()
        _split(b'{"Records":[{bad' + unit * count)
        return time.process_time() - begin

    small, large = (min(seconds(count) for _ in range(2)) for count in counts)
    assert large < 10 * max(small, 0.02), "four times the input: sixteen times the work would be quadratic"


@pytest.mark.parametrize("part", [b"eventID", b"e0", b"eventTime", b"2021-07", b"CloudTrailEvent"])
def test_bytes_that_are_no_utf8_stop_nothing_wherever_they_stand(part: bytes) -> None:
    """In a key, in the time, in the id: the other records are read, and this one has a fate of its own."""
    line = b'{"eventID": "e0", "eventTime": "2021-07-29T00:00:00Z", "CloudTrailEvent": "{}"}'
    odd = line.replace(part, b"\x80" + part[1:])
    for data in (odd, odd + b"\n" + B, b'{"Records":[' + odd + b"," + B + b"]}"):
        records = CLOUDTRAIL.split(data, True).records
        assert records
        assert CLOUDTRAIL.framing(data) in ("lines", "document")
        assert B not in data or records[-1] == B
        keys = CLOUDTRAIL.keys(records)
        assert B not in data or (keys.key[-1], keys.reason[-1]) == (b"e1", None)


@given(st.lists(st.binary(max_size=12), max_size=12), st.booleans())
def test_lines_are_all_there_and_blank_ones_are_none(parts: list[bytes], whole: bool) -> None:
    lines = [part.replace(b"\n", b" ") for part in parts]
    data = b"\n".join(lines)
    found = split_lines(data, whole=whole)
    wanted = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    expected = [line for line in wanted if line.strip()]
    last_is_unsure = not whole and bool(wanted[-1].strip())
    assert found.records == (expected[:-1] if last_is_unsure else expected)
    assert [damage.reason for damage in found.damaged] == (
        ["truncated"] if not whole else [] if expected else ["empty"]
    )


@given(st.lists(st.sampled_from([b"a", b"b", b"a\n1"]), max_size=20))
def test_equal_lines_are_told_apart_and_the_same_file_has_the_same_identities(records: list[bytes]) -> None:
    lines = [record.replace(b"\n", b" ") for record in records]
    assert len(set(numbered(lines))) == len(lines)
    assert numbered(lines) == numbered(list(lines))
    assert sorted(numbered(lines)) == sorted(numbered(lines[::-1])), "the order of a file's lines does not matter"
