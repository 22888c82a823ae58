"""Sigma conditions mean in DuckDB what the Sigma specification says."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from audit_pipeline import formats
from audit_pipeline.detections.dialect import CLOUDTRAIL, DuckDBBackend
from audit_pipeline.ocsf.columns import EVENT_SCHEMA

Rows = list[dict[str, Any]]


def matching(detection: dict[str, Any], rows: Rows, form: str | None = None) -> list[int]:
    """The numbers of the rows that a rule's detection section matches."""
    text = yaml.safe_dump({"title": "t", "logsource": {"product": "ocsf"}, "detection": detection})
    where = DuckDBBackend(form).where(SigmaRule.from_yaml(text))
    numbered = [{**row, "x_line": i} for i, row in enumerate(rows)]
    with duckdb.connect(config={"autoload_known_extensions": False}) as con:
        con.register("events", pa.Table.from_pylist(numbered, schema=EVENT_SCHEMA))
        return [line for (line,) in con.execute(f"SELECT x_line FROM events WHERE {where} ORDER BY 1").fetchall()]


def one(field: str, value: Any) -> dict[str, Any]:
    return {"s": {field: value}, "condition": "s"}


NAMES = [
    {"user_name": name}
    for name in ("alice", "ALICE", "al%ce", "alXce", None, "", "it's", "a\\b", "malice", "line\nalice")
]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("user_name", "Alice", [0, 1]),
        ("user_name|cased", "ALICE", [1]),
        ("user_name", "al?ce", [0, 1, 2, 3]),
        ("user_name", "al%ce", [2]),
        ("user_name|cased", "al*", [0, 2, 3]),
        ("user_name|contains", "ALICE", [0, 1, 8, 9]),
        ("user_name|startswith", "ali", [0, 1]),
        ("user_name|endswith", "lice", [0, 1, 8, 9]),
        ("user_name", "it's", [6]),
        ("user_name", "a\\b", [7]),
        ("user_name", None, [4]),
        ("user_name", "", [5]),
        ("user_name", ["alice", "it's"], [0, 1, 6]),
        ("user_name|contains|all", ["A", "'"], []),
        ("user_name|contains|all", ["m", "a"], [8]),
        ("user_name|exists", True, [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ("user_name|exists", False, [4]),
        ("user_name|re", "^al", [0, 2, 3]),
        ("user_name|re|i", "^al", [0, 1, 2, 3]),
        ("user_name|re", "it's", [6]),
        ("user_name|re", "a\\\\b", [7]),
        ("user_name", "' OR 1=1 --", []),
        ("user.name", "alice", [0, 1]),
    ],
)  # fmt: skip
def test_strings(field: str, value: Any, expected: list[int]) -> None:
    assert matching(one(field, value), NAMES) == expected


def test_an_absent_field_is_no_match_and_its_negation_is() -> None:
    rows: Rows = [{"user_name": "alice"}, {"user_name": "bob"}, {"user_name": None}]
    detection = {"s": {"user_name": "alice"}, "t": {"is_mfa": True}, "condition": "not s"}
    assert matching(detection, rows) == [1, 2]
    assert matching({**detection, "condition": "not (s and t)"}, rows) == [0, 1, 2]
    assert matching({**detection, "condition": "not (not s)"}, rows) == [0]
    assert matching({**detection, "condition": "not 1 of *"}, rows) == [1, 2]
    assert matching({**detection, "condition": "s or not t"}, rows) == [0, 1, 2]


def test_precedence_is_that_of_sigma() -> None:
    rows: Rows = [{"user_name": a, "src_endpoint_ip": b, "status_id": c} for a in "xy" for b in "xy" for c in (1, 2)]
    detection = {"a": {"user_name": "x"}, "b": {"src_endpoint_ip": "x"}, "c": {"status_id": 1}}
    for condition in ("a or b and not c", "not a and b or c", "not (a or b) and c", "(a or b) and c", "all of them"):
        words = condition if condition != "all of them" else "a and b and c"
        expected = [
            i
            for i, row in enumerate(rows)
            if eval(
                words, {"a": row["user_name"] == "x", "b": row["src_endpoint_ip"] == "x", "c": row["status_id"] == 1}
            )
        ]
        assert matching({**detection, "condition": condition}, rows) == expected


def test_numbers_and_booleans_in_typed_columns_and_in_text() -> None:
    rows: Rows = [
        {"status_id": 2, "is_mfa": True, "status_code": "443"},
        {"status_id": 10, "is_mfa": False, "status_code": "0443.0"},
        {"status_id": None, "is_mfa": None, "status_code": "x443"},
    ]
    assert matching(one("status_id", 2), rows) == [0]
    assert matching(one("status_id", "2"), rows) == [0]
    assert matching(one("status_id|gte", 2), rows) == [0, 1]
    assert matching(one("status_id|lt", 10), rows) == [0]
    assert matching(one("is_mfa", False), rows) == [1]
    assert matching(one("is_mfa", "true"), rows) == [0]
    assert matching(one("status_code", 443), rows) == [0, 1]
    assert matching(one("status_code|gt", 442.5), rows) == [0, 1]


def test_two_fields() -> None:
    rows: Rows = [
        {"user_name": "Bob", "actor_user_name": "bob"},
        {"user_name": "Bob", "actor_user_name": "alice"},
        {"user_name": "Bob"},
    ]
    assert matching(one("user_name|fieldref", "actor_user_name"), rows) == [0]


def test_keywords_look_into_the_record_as_it_came() -> None:
    rows: Rows = [
        {"raw_data": "Failed password for ROOT from 1.2.3.4"},
        {"raw_data": "Accepted 100% of it"},
        {"raw_data": None},
    ]
    assert matching({"keywords": ["failed", "for root"], "condition": "keywords"}, rows) == [0]
    assert matching({"keywords": ["100%"], "condition": "keywords"}, rows) == [1]
    assert matching({"keywords": ["pass*4"], "condition": "keywords"}, rows) == [0]
    assert matching({"keywords": {"|re": "A[c]{2}epted"}, "condition": "keywords"}, rows) == [1]
    assert matching({"keywords": ["failed"], "condition": "not keywords"}, rows) == [1, 2]


ADDRESSES = [
    "10.0.0.0", "10.15.255.255", "10.16.0.1", "9.255.255.255", "10.0.0.300", "110.0.0.1", "::ffff:10.1.2.3", "010.1.1.1x", "", "ec2.amazonaws.com",
    "2001:db8::", "2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:db8:8000::1", "2001:db7:ffff::", "::1", "::", "fe80::1%eth0", None, "1:2", "10.0.0.1; DROP",
]  # fmt: skip


@pytest.mark.parametrize(
    "network",
    [
        "10.0.0.0/12",
        "10.0.0.0/8",
        "10.0.0.0/32",
        "0.0.0.0/0",
        "10.15.255.254/31",
        "2001:db8::/33",
        "2001:db8::/128",
        "::/0",
        "::1/128",
    ],
)
def test_networks_as_the_standard_library_sees_them(network: str) -> None:
    def inside(text: str | None) -> bool:
        try:
            address = ipaddress.ip_address(text or "")
        except ValueError:
            return False
        wanted = ipaddress.ip_network(network)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        if mapped is not None and network != "::/0":
            address = mapped
        if network == "::/0":
            return "%" not in (text or "")  # every address is in it, IPv4 by its mapped form
        return "%" not in (text or "") and address in wanted

    rows: Rows = [{"src_endpoint_ip": address} for address in ADDRESSES]
    found = [ADDRESSES[i] for i in matching(one("src_endpoint_ip|cidr", network), rows)]
    assert found == [address for address in ADDRESSES if inside(address)]


def test_paths_into_records_are_quoted_and_text_records_do_no_harm() -> None:
    hostile = {"a": {"b c": "1", 'q"t': {"it's": "X"}}, "l": {"n": 7}, "null": None, "a.b": "no"}
    rows: Rows = [{"raw_data": json.dumps(hostile)}, {"raw_data": "plain text, no JSON {"}, {"raw_data": None}]
    assert matching(one("a.b c", 1), rows, "cloudtrail") == [0]
    assert matching(one("a.q\"t.it's", "x"), rows, "cloudtrail") == [0]
    assert matching(one("l.n|gte", 7), rows, "cloudtrail") == [0]
    assert matching(one("a.none", None), rows, "cloudtrail") == [0, 1, 2]
    assert matching(one("null", None), rows, "cloudtrail") == [0, 1, 2]
    assert matching(one("a.b", "no"), rows, "cloudtrail") == []


def test_a_misspelt_column_is_an_error_and_no_silent_miss() -> None:
    with pytest.raises(SigmaError, match="'usr_name' is no event column"):
        matching(one("usr_name", "alice"), [])


@pytest.mark.parametrize("field", ["time|minute", "user_name|expand"])
def test_what_the_dialect_has_not_is_an_error(field: str) -> None:
    with pytest.raises(SigmaError):
        matching(one(field, 5 if "minute" in field else "%who%"), [])


_TEXT = st.text(alphabet="aA%_\\'\"*?.-;\n éß", max_size=6)


@given(value=_TEXT, names=st.lists(_TEXT, max_size=8))
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_value_matches_just_as_a_reader_of_the_specification_would(value: str, names: list[str]) -> None:
    expected = [i for i, name in enumerate([value, *names]) if _specification(value, name)]
    assert matching(one("user_name", value), [{"user_name": name} for name in [value, *names]]) == expected


def _specification(value: str, name: str) -> bool:
    """Sigma strings: `*` any, `?` one, backslash escapes these and itself, and stands for itself elsewhere."""
    pattern, i = "", 0
    while i < len(value):
        if value[i] == "\\" and value[i + 1 : i + 2] in ("*", "?", "\\") and value[i + 1 : i + 2]:
            pattern, i = pattern + re.escape(value[i + 1]), i + 2
            continue
        pattern += {"*": ".*", "?": "."}.get(value[i]) or re.escape(value[i])
        i += 1
    return re.fullmatch(pattern.lower(), name.lower(), re.DOTALL) is not None


def _cloudtrail_records() -> list[str]:
    root = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
    folder = root / "labelled_stratus"
    if not folder.is_dir():
        pytest.skip("shared data is absent")
    records: list[str] = []
    for file in sorted(folder.glob("aws.*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        records += [
            json.dumps(record) for record in (found if isinstance(found, list) else found.get("Records", [found]))
        ]
    return records


def test_cloudtrails_names_stand_for_columns_with_the_same_values() -> None:
    """The columns that the format fills, against the record itself: a drift of either side shows."""
    records = _cloudtrail_records()
    assert len(records) > 20
    form = formats.get("cloudtrail")
    columns = ", ".join(f'{sql} AS "{name}"' for name, sql in form.columns.items())
    with duckdb.connect(config={"autoload_known_extensions": False}) as con:
        con.register("raw", pa.table({"doc": records}))
        con.execute(f"CREATE TABLE events AS SELECT doc AS raw_data, {columns} FROM (SELECT doc, {form.record} AS r FROM raw)")  # fmt: skip
        mapped, plain = DuckDBBackend("cloudtrail"), DuckDBBackend("other")
        for field in CLOUDTRAIL:
            differing = con.execute(
                f"SELECT {mapped.text(field)}, {plain.text(field)} FROM events "
                f"WHERE {mapped.text(field)} IS DISTINCT FROM nullif({plain.text(field)}, '')"
            ).fetchall()
            assert differing == [], field
        seen = sum(
            con.execute(f"SELECT count({mapped.text(field)}) > 0 FROM events").fetchall()[0][0] for field in CLOUDTRAIL
        )
    assert seen > len(CLOUDTRAIL) / 2
