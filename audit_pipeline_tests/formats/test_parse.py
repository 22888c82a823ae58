"""Parse: every record is an event, a reject or a further copy; in order; printable."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.errors import UsageError
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline.ocsf.columns import EVENT_SCHEMA


def _event(n: int, **fields: Any) -> bytes:
    return json.dumps(
        {
            "eventID": str(n),
            "eventTime": f"2021-07-29T00:00:{n % 60:02d}Z",
            "eventSource": "s3.amazonaws.com",
            "eventName": "GetObject",
        }
        | fields
    ).encode()


def _uids(parsed: Parsed) -> list[str]:
    return [json.loads(line)["metadata"]["uid"] for line in parsed.lines]


_UNDATED = b'{"eventID":"x","eventTime":"never"}'
_KINDS = st.sampled_from(["good", "again", "undated", "rubbish"])


@given(kinds=st.lists(_KINDS, max_size=80), packed=st.booleans())
@settings(max_examples=8, deadline=None)
def test_every_record_has_one_fate(kinds: list[str], packed: bool) -> None:
    """The sum holds for any mixture, and the events are the good records in their order."""
    made = {"again": _event(0), "undated": _UNDATED, "rubbish": b'{"eventID": rubbish'}
    lines = [made.get(kind) or _event(n + 1) for n, kind in enumerate(kinds)]
    data = b"\n".join([_event(0), _event(999), *lines])
    parsed = parse("cloudtrail", gzip.compress(data) if packed else data)
    assert _uids(parsed) == ["0", "999", *(str(n + 1) for n, kind in enumerate(kinds) if kind == "good")]
    assert parsed.duplicates == kinds.count("again")
    found = Counter(reject.reason for reject in parsed.rejects)
    assert found["no_time"] == kinds.count("undated")
    assert bool(found["not_json"]) == ("rubbish" in kinds)
    summary = parsed.summary
    assert summary["records"] == summary["events"] + summary["rejects"] + summary["duplicates"]
    assert summary["events"] == 2 + kinds.count("good")


def test_a_reject_leads_back_to_its_bytes() -> None:
    data = b'{"Records":[' + b", ".join([_event(1), _UNDATED, _event(2), _UNDATED, b"[7]"]) + b"]}"
    parsed = parse("cloudtrail", data)
    assert [(reject.line, reject.reason) for reject in parsed.rejects] == [
        (1, "no_time"),
        (3, "no_time"),
        (4, "not_an_object"),
    ]
    for reject in parsed.rejects:
        assert reject.offset is not None
        assert data[reject.offset :].startswith(reject.raw.encode())
    assert parsed.rejects[0].offset != parsed.rejects[1].offset


def test_a_cut_archive_keeps_what_lies_before_the_cut() -> None:
    whole = b'{"Records":[' + b",".join(_event(n, userAgent=str(n * 7919)) for n in range(400)) + b"]}"
    packed = gzip.compress(whole)
    parsed = parse("cloudtrail", packed[: len(packed) // 2])
    uids = _uids(parsed)
    assert 100 < len(uids) < 400
    assert uids == [str(n) for n in range(len(uids))]
    assert [reject.reason for reject in parsed.rejects] == ["truncated"]


def test_no_record_of_a_corrupt_archive_is_an_event() -> None:
    packed = bytearray(gzip.compress(b'{"Records":[' + _event(1) + b"," + _event(2) + b"]}"))
    packed[-8] ^= 1  # the stored CRC
    parsed = parse("cloudtrail", bytes(packed))
    assert list(parsed.lines) == []
    assert [reject.reason for reject in parsed.rejects] == ["corrupt", "corrupt"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\n \n", b"not json at all", gzip.compress(b"not json at all", mtime=0), b"\x1f\x8brubbish", b"\x00" * 99],
)
def test_rubbish_is_a_reject(data: bytes) -> None:
    parsed = parse("cloudtrail", data)
    assert list(parsed.lines) == []
    assert parsed.rejects
    assert parsed.summary["events"] == 0


_HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "‮evil",
    "a\u2028b\x85c",
    "<script>alert(1)</script>",
    "'; DROP TABLE batch; --",
    "=cmd()",
    "\u0000",
    "é😀",
]


@pytest.mark.parametrize("mode", ["nested", "flat", "facets"])
def test_hostile_text_is_kept_and_cannot_act(mode: Any) -> None:
    events = [_event(n, userIdentity={"type": "IAMUser", "userName": text}) for n, text in enumerate(_HOSTILE)]
    lines = list(parse("cloudtrail", b"\n".join(events), mode=mode).lines)
    assert all(line.isascii() and line.isprintable() for line in lines)
    rows = [json.loads(line) for line in lines]
    names = {"nested": lambda row: row["actor"]["user"]["name"], "flat": lambda row: row["actor_user_name"], "facets": lambda row: row["actor"]}  # fmt: skip
    assert [names[mode](row) for row in rows] == [text.replace("\x00", "\ufffd") for text in _HOSTILE]


def test_what_the_engine_would_refuse_is_an_event_too() -> None:
    """A lone surrogate and bytes that are no UTF-8 are mended in the columns; they cost no record."""
    bad = _event(2)[:-1] + b', "userAgent": "\\ud800 \xff"}'
    parsed = parse("cloudtrail", _event(1) + b"\n" + bad + b"\n" + _event(3))
    assert _uids(parsed) == ["1", "2", "3"]


def test_flat_has_the_lakes_columns() -> None:
    data = _event(1) + b"\n" + _event(2) + b"\n" + _event(1)
    rows = [json.loads(line) for line in parse("cloudtrail", data, mode="flat").lines]
    assert all(list(row) == EVENT_SCHEMA.names for row in rows)
    assert [(row["x_line"], row["x_records"], row["x_duplicates"]) for row in rows] == [(0, 2, 1), (1, 1, 0)]
    assert [row["time"] for row in rows] == ["2021-07-29T00:00:01Z", "2021-07-29T00:00:02Z"]
    assert rows[0]["day"] == "2021-07-29"
    assert rows[0]["raw_data"] == _event(1).decode()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_days_are_utc_wherever_the_machine_stands(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    late = _event(1, eventTime="2021-07-29T23:59:59Z") + b"\n" + _event(2, eventTime="2021-07-29T00:00:00Z")
    rows = [json.loads(line) for line in parse("cloudtrail", late, mode="flat").lines]
    assert [(row["day"], row["time"]) for row in rows] == [
        ("2021-07-29", "2021-07-29T23:59:59Z"),
        ("2021-07-29", "2021-07-29T00:00:00Z"),
    ]


def test_facets() -> None:
    record = _event(1, eventSource="iam.amazonaws.com", eventName="CreateUser", requestParameters={"userName": "bob"}, errorCode="AccessDenied", sourceIPAddress="10.0.0.9",
                    userIdentity={"type": "IAMUser", "userName": "ann"})  # fmt: skip
    (line,) = parse("cloudtrail", record, mode="facets").lines
    assert json.loads(line) == {
        "time": 1_627_516_801_000,
        "actor": "ann",
        "target": "bob",
        "address": "10.0.0.9",
        "operation": "CreateUser",
        "outcome": "failure",
        "host": None,
    }


def test_more_events_than_a_batch_stay_in_order() -> None:
    parsed = parse("cloudtrail", b"\n".join(_event(n) for n in range(5000)))
    assert _uids(parsed) == [str(n) for n in range(5000)]


def test_wrong_use() -> None:
    with pytest.raises(UsageError, match="unknown format"):
        parse("nonsense", b"")
    with pytest.raises(UsageError, match="takes no mapping"):
        parse("cloudtrail", b"", mapping=Path("x.yaml"))
    assert UsageError.exit_code == 2


def test_summary_and_rejects_are_known_before_a_line_is_read() -> None:
    data = b"\n".join([_event(1), _UNDATED, _event(1), b'{"a": rubbish', _event(2)])
    parsed = parse("cloudtrail", data)
    assert [reject.reason for reject in parsed.rejects] == ["no_time", "not_json"]
    assert parsed.summary == {"records": 5, "events": 2, "rejects": 2, "duplicates": 1}
    assert list(vars(parsed.rejects[0])) == ["line", "offset", "reason", "detail", "raw"]
    assert _uids(parsed) == ["1", "2"]
