"""CloudTrail: what identifies a record, when it happened, how it lies in files."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_pipeline.formats.cloudtrail import FORMAT

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EVENT = {
    "eventID": "a-1",
    "eventTime": "2021-07-29T23:55:00Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
}


def _bytes(**fields: Any) -> bytes:
    return json.dumps(_EVENT | fields).encode()


def _micros(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


@given(
    moment=st.datetimes(dt.datetime.fromisoformat("2000-01-02"), dt.datetime.fromisoformat("2099-12-30")),
    minutes=st.integers(-14 * 60, 14 * 60),
    digits=st.integers(0, 9),
)
@settings(max_examples=200, deadline=None)
def test_time_is_the_true_instant(moment: dt.datetime, minutes: int, digits: int) -> None:
    """Any offset and fraction; nothing finer than a microsecond is kept. DuckDB reads the same instant."""
    fraction = f"{moment.microsecond:06d}000"[:digits]
    moment = moment.replace(microsecond=int((fraction or "0").ljust(6, "0")[:6]))
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "Z"
    text = moment.isoformat(timespec="seconds") + (f".{fraction}" if digits else "") + zone
    expected = _micros(moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes))))
    keys = FORMAT.keys([_bytes(eventTime=text)])
    assert (keys.time_us, keys.reason) == ([expected], [None])
    assert duckdb.execute("SELECT epoch_us(CAST(? AS TIMESTAMPTZ))", [text]).fetchone() == (expected,)


@pytest.mark.parametrize(
    "text", ["2021-10-19 04:50:27", "2021-10-19T04:50:27", "2021-10-19t04:50:27z", "2021-10-19 04:50:27.000000000"]
)
def test_a_time_without_a_zone_is_utc(text: str) -> None:
    assert FORMAT.keys([_bytes(eventTime=text)]).time_us == [
        _micros(dt.datetime(2021, 10, 19, 4, 50, 27, tzinfo=dt.UTC))
    ]


@pytest.mark.parametrize(
    "value", [None, "", "yesterday", "2021-02-30T00:00:00Z", "2021-07-29T24:00:00Z", "2021-07-29", "infinity", 1627602900, ["2021"], "٢٠٢١-07-29T00:00:00Z", "2021-07-29T00:00:00Z" * 9]
)  # fmt: skip
def test_no_time(value: object) -> None:
    keys = FORMAT.keys([_bytes(eventTime=value), _bytes()])
    assert (keys.time_us[0], keys.reason) == (None, ["no_time", None])
    assert keys.key == [b"a-1", b"a-1"]


@pytest.mark.parametrize(
    "value", ["1999-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_bad_time(value: str) -> None:
    assert FORMAT.keys([_bytes(eventTime=value)]).reason == ["bad_time"]


def test_keys_of_odd_records() -> None:
    digest = b'{"awsAccountId":"1","digestStartTime":"2020-09-11T18:36:49Z","digestEndTime":"2020-09-11T19:36:49Z"}'
    nameless = b'{"eventTime":"2021-07-29T23:55:00Z"}'
    numbered = _bytes(eventID=7)
    deep = b'{"eventTime":"2021-07-29T23:55:00Z","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    keys = FORMAT.keys([digest, nameless, numbered, b"[1]", b'"x"', b"{", b'\xff{"eventID":"a"}', deep, _bytes()])
    assert keys.key[:3] == [digest, nameless, numbered]
    assert keys.time_us[0] == _micros(dt.datetime(2020, 9, 11, 19, 36, 49, tzinfo=dt.UTC))
    assert keys.reason == [None, None, None, "not_an_object", "not_an_object", "not_json", "not_json", "too_deep", None]
    assert all((reason is None) == (detail is None) for reason, detail in zip(keys.reason, keys.detail, strict=True))


@given(
    records=st.lists(
        st.binary(max_size=60) | st.builds(lambda t: _bytes(eventTime=t), st.text(max_size=40)), max_size=8
    )
)
@example([b"\x00", b"", b"null", b'{"eventID":"\\ud800","eventTime":"2021-07-29T23:55:00Z"}'])
@settings(max_examples=200, deadline=None)
def test_keys_never_raise_and_tell_the_fate_of_each(records: list[bytes]) -> None:
    keys = FORMAT.keys(records)
    assert len(keys.key) == len(keys.time_us) == len(keys.reason) == len(keys.detail) == len(records)
    assert all(reason is not None or time is not None for reason, time in zip(keys.reason, keys.time_us, strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("123456789012_CloudTrail_us-east-1_20210729T2355Z_mv98.json.gz", dt.datetime(2021, 7, 29, 23, 55, tzinfo=dt.UTC)),
        ("AWSLogs/1/CloudTrail/x/2021/07/29/1_CloudTrail_us-gov-west-1_20210729T2355Z_A.json", dt.datetime(2021, 7, 29, 23, 55, tzinfo=dt.UTC)),
        ("1_CloudTrail-Insight_us-east-1_20210729T2355Z_A.json.gz", dt.datetime(2021, 7, 29, 23, 55, tzinfo=dt.UTC)),
        ("1_CloudTrail_us-east-1_20210230T2355Z_A.json.gz", None),
        ("1_CloudTrail_us-east-1_20210729T9955Z_A.json.gz", None),
        ("1_CloudTrail_us-east-1_20210729T2355Z_A/part-000.json.gz", None),
        ("part-000001.json.gz", None),
        ("", None),
    ],
)  # fmt: skip
def test_delivery_time(name: str, expected: dt.datetime | None) -> None:
    assert FORMAT.delivery_time(name) == expected


@given(name=st.from_regex(r"\d{1,3}_CloudTrail_[a-z]{1,3}_\d{8}T\d{4}Z_[^/\\]{0,5}") | st.text(max_size=50))
@settings(max_examples=100, deadline=None)
def test_delivery_time_never_raises(name: str) -> None:
    found = FORMAT.delivery_time(name)
    assert found is None or found.tzinfo is dt.UTC


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (_bytes() + b"\n" + _bytes(), "lines"),
        (b"\xef\xbb\xbf\r\n" + _bytes() + b"\r\n", "lines"),
        (b'{"EventId":"a","CloudTrailEvent":"{}"}\n', "lines"),
        (_bytes(), "lines"),
        (_bytes()[:-5], "document"),
        (b'{"Records":[' + _bytes() + b"]}", "document"),
        (b'{"Records":[\n' + _bytes() + b"\n]}", "document"),
        (b'{"Events":[{"CloudTrailEvent":"{}"}]}', "document"),
        (b"[" + _bytes() + b"]", "document"),
        (json.dumps(_EVENT, indent=2).encode(), "document"),
        (b'{"digestStartTime":"2020-09-11T18:36:49Z","digestEndTime":"2020-09-11T19:36:49Z"}', "document"),
        (_bytes(insightDetails={"state": "Start"}), "document"),
        (b"", "document"),
        (b"\xff\xfe", "document"),
        (b"[" * 100_000, "document"),
    ],
)
def test_framing(head: bytes, expected: str) -> None:
    assert FORMAT.framing(head) == expected


@pytest.mark.parametrize(
    "wrap", [lambda e: {"Events": e, "NextToken": "x"}, lambda e: e], ids=["lookup-events", "array"]
)
def test_split_unwraps_the_event_history(wrap: Any) -> None:
    inner = [
        json.dumps(_EVENT | {"eventID": f"é{n}", "userAgent": '"CloudTrailEvent"'}, ensure_ascii=False)
        for n in range(3)
    ]
    outer = [{"EventId": "x", "EventTime": 1644272617.0, "CloudTrailEvent": text} for text in inner]
    data = json.dumps(wrap(outer), indent=1).encode()
    assert FORMAT.split(data, True).records == [text.encode() for text in inner]


def test_split_keeps_an_entry_that_holds_no_record() -> None:
    data = b'{"CloudTrailEvent": 7, "EventId": "a"}\n{"CloudTrailEvent": "\\ud800", "EventId": "b"}\n'
    records = FORMAT.split(data, True).records
    assert records == data.splitlines()
    assert FORMAT.keys(records).reason == ["no_time", "no_time"]


def test_real_files_have_their_delivery_time_and_keys() -> None:
    folder = Path(
        os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared/data"), "cloudtrail_sans504"
    )
    if not folder.is_dir():
        pytest.skip("shared data is absent")
    import gzip

    files = sorted(folder.glob("**/*.json.gz"))[::100]
    assert files
    for file in files:
        records = FORMAT.split(gzip.decompress(file.read_bytes()), True).records
        delivered = FORMAT.delivery_time(file.name)
        keys = FORMAT.keys(records)
        assert delivered is not None
        assert keys.key == [json.loads(record)["eventID"].encode() for record in records]
        # 608 s is the longest lag of the set; the stamp is cut to the minute
        assert all(-60e6 <= _micros(delivered) - (time or 0) <= 700e6 for time in keys.time_us)
