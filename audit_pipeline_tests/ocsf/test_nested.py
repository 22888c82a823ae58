"""Whatever a row holds, its export validates against the published schema, and nothing of it is lost."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.ocsf.classes import CLASSES
from audit_pipeline.ocsf.columns import BY_NAME, COLUMNS, DRIVER
from audit_pipeline.ocsf.nested import nested
from audit_pipeline_tests.ocsf.published import faults

NOON = dt.datetime(2026, 11, 24, 12, 0, 0, 123456, dt.UTC)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": _TEXT | st.sampled_from(["", "10.0.0.1", "2001:db8::1", "fe80::1%eth0", "::ffff:1.2.3.4", "0000:0000:0000:0000:0000:ffff:255.255.255.255", "AWS Internal"]),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "timestamp[us, tz=UTC]": st.datetimes(dt.datetime.fromisoformat("1990-01-01"), dt.datetime.fromisoformat("2090-01-01"), timezones=st.just(dt.UTC)),
}  # fmt: skip
_FIXED = {"time", "class_uid", "day", *DRIVER}
_ROWS = st.fixed_dictionaries(
    {"time": _VALUES["timestamp[us, tz=UTC]"], "class_uid": st.sampled_from([*CLASSES, 4242, None]), "raw_data": _TEXT},
    optional={c.name: st.none() | _VALUES[str(c.kind)] for c in COLUMNS if c.name not in _FIXED},
)


@given(row=_ROWS)
@settings(max_examples=300, deadline=None)
def test_every_row_validates(row: dict[str, Any]) -> None:
    event = nested(row)
    assert faults(event) == []
    json.dumps(event)


@given(row=_ROWS)
@settings(max_examples=150, deadline=None)
def test_no_text_is_lost(row: dict[str, Any]) -> None:
    """Every text of a column is somewhere in the export, in the class's shape or in `unmapped`."""
    found = {value for value in _leaves(nested(row)) if isinstance(value, str)}
    for name, value in row.items():
        column = BY_NAME[name]
        if column.path and isinstance(value, str) and value and not name.endswith("_ip"):
            assert value in found, name


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


@pytest.mark.parametrize("uid", CLASSES)
def test_the_barest_row_of_each_class_validates(uid: int) -> None:
    event = nested({"time": NOON, "class_uid": uid})
    assert faults(event) == []
    assert event["type_uid"] == uid * 100


def test_shape_of_an_event() -> None:
    row = {
        "time": NOON, "class_uid": 6003, "activity_id": 4, "severity_id": 2, "status_id": 2, "api_operation": "DeleteTrail", "cloud_provider": "AWS",
        "cloud_account_uid": "1", "actor_user_name": "ann", "src_endpoint_ip": "10.0.0.9", "resource_uid": "arn:x", "user_name": "bob", "x_actor": "ann",
    }  # fmt: skip
    event = nested(row)
    assert faults(event) == []
    assert event["time"] == 1_795_521_600_123
    assert (event["class_name"], event["activity_name"], event["type_uid"]) == ("API Activity", "Delete", 600304)
    assert (event["severity"], event["status"]) == ("Low", "Failure")
    assert event["cloud"] == {"provider": "AWS", "account": {"uid": "1"}}
    assert event["metadata"]["profiles"] == ["cloud"]
    assert event["resources"] == [{"uid": "arn:x"}]
    assert event["unmapped"] == {"x_actor": "ann", "user": {"name": "bob"}}, (
        "API Activity has no user: kept, not dropped"
    )


def test_no_cloud_is_made_up() -> None:
    """`cloud` and `api` outside API Activity need a provider; without one they are kept in `unmapped`."""
    event = nested(
        {
            "time": NOON,
            "class_uid": 3002,
            "user_name": "ann",
            "api_operation": "user.login",
            "api_service_name": "github",
        }
    )
    assert faults(event) == []
    assert "cloud" not in event
    assert event["unmapped"]["api"] == {"operation": "user.login", "service": {"name": "github"}}


def test_missing_is_unknown_in_words() -> None:
    event = nested({"time": NOON, "class_uid": 3001, "user_type": "Role"})
    assert event["user"] == {"type": "Role", "name": "unknown"}
    assert "status_id" not in event


def test_an_address_that_is_none_keeps_its_text() -> None:
    event = nested({"time": NOON, "class_uid": 6003, "src_endpoint_ip": "999.1.1.1"})
    assert faults(event) == []
    assert event["src_endpoint"] == {"name": "999.1.1.1"}


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT.filter(bool),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(_TEXT, inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(
    record=st.dictionaries(_TEXT | st.sampled_from(["user", "api", "x_actor"]), _JSON, max_size=5),
    row=_ROWS,
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_the_export_says_all_that_the_record_says(
    record: dict[str, Any], row: dict[str, Any], data: st.DataObject
) -> None:
    """Also without `raw_data`: each value of a JSON record is in a column's place or in `unmapped`, whatever columns carry it."""
    texts = [leaf for leaf in _leaves(record) if isinstance(leaf, str)]
    if texts:
        names = st.sampled_from([c.name for c in COLUMNS if str(c.kind) == "string" and c.name != "raw_data"])
        row |= data.draw(st.dictionaries(names, st.sampled_from(texts), max_size=4))
    event = nested(row | {"raw_data": json.dumps(record)})
    assert faults(event) == []
    del event["raw_data"]
    found = _leaves(event)
    assert all(leaf in found for leaf in _leaves(record))


def test_what_columns_carry_is_not_told_twice() -> None:
    record = {
        "eventName": "DeleteTrail",
        "requestParameters": {"name": "main", "force": True, "none": None, "big": 1e300},
        "ok": "yes",
        "far": float("inf"),
    }
    raw = json.dumps(record).replace("Infinity", "1e999")
    event = nested(
        {"time": NOON, "class_uid": 6003, "api_operation": "DeleteTrail", "status_detail": "yes", "raw_data": raw}
    )
    assert event["unmapped"] == {
        "requestParameters": {"name": "main", "force": True, "big": 1e300},
        "ok": "yes",
        "far": "1e999",
    }


@pytest.mark.parametrize(
    "raw", ["type=LOGIN msg=audit(1.2:3)", "{", "{" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, "[1]"]
)
def test_a_record_that_is_no_json_object_has_no_rest(raw: str) -> None:
    assert "unmapped" not in nested({"time": NOON, "class_uid": 0, "raw_data": raw})


@pytest.mark.parametrize("depth", [99, 101, 300, 450, 900, 990])
@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_no_depth_breaks_the_export(depth: int, opening: str, closing: str) -> None:
    event = nested({"time": NOON, "class_uid": 0, "raw_data": '{"a":' + opening * depth + "1" + closing * depth + "}"})
    assert ("unmapped" in event) == (depth < 100)
    json.dumps(event)


def test_a_row_without_time_is_no_event() -> None:
    with pytest.raises(ValueError, match="without a time"):
        nested({"class_uid": 6003})
