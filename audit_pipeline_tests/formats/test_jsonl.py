"""JSON lines by a mapping: what the file may say, what it may not, and that nothing in it is taken for SQL."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import gzip
import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_pipeline.errors import ConfigError, UsageError
from audit_pipeline.formats import _mapping, open_format
from audit_pipeline.formats.jsonl import JsonLines
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline.ocsf.columns import BY_NAME, DRIVER
from audit_pipeline_tests.ocsf.published import faults

_REPO = Path(__file__).parents[2]
_SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", _REPO.parent / "shared" / "data"))
_EXAMPLES = _REPO / "examples" / "formats"
_BASE: dict[str, Any] = {"name": "probe", "time": {"path": "t"}}
_T = "2026-03-01T10:00:00Z"


def _file(tmp_path: Path, mapping: Any) -> Path:
    path = tmp_path / "probe.yaml"
    path.write_text(mapping if isinstance(mapping, str) else yaml.safe_dump(mapping))
    return path


def _parse(path: Path, *records: Any, zone: str = "UTC") -> Parsed:
    data = "\n".join(json.dumps(record) for record in records).encode()
    return parse("jsonl", data, mode="flat", mapping=path, zone=zone)


def _rows(path: Path, *records: Any) -> list[dict[str, Any]]:
    parsed = _parse(path, *records)
    assert parsed.rejects == []
    return [json.loads(line) for line in parsed.lines]


_COLUMNS: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("user_name", {"path": "u"}, {"u": "ann"}, "ann"),
    ("user_name", {"path": "a.b.c"}, {"a": {"b": {"c": "ann"}}}, "ann"),
    ("user_name", {"path": 'l."x.y/z~"'}, {"l": {"x.y/z~": "ann"}}, "ann"),
    ("user_name", {"path": ["u", "v"]}, {"u": "", "v": "bob"}, "bob"),
    ("user_name", {"path": "u"}, {"u": {"x": 1}}, '{"x":1}'),
    ("user_name", {"path": "u.x"}, {"u": "text"}, None),
    ("user_name", {"value": "it's"}, {}, "it's"),
    ("user_name", {"path": "u", "default": "nobody"}, {}, "nobody"),
    ("user_name", {"path": "u", "pattern": "user=(\\w+)"}, {"u": "user=ann;"}, "ann"),
    ("user_name", {"path": "u", "pattern": "[a-z]+"}, {"u": "12ann"}, "ann"),
    ("user_name", {"path": "u", "pattern": "x"}, {"u": "12ann"}, None),
    ("user_name", {"path": "u", "map": {"0": "root"}}, {"u": 0}, "root"),
    ("user_name", {"path": "u", "map": {"0": "root"}}, {"u": "7"}, "7"),
    ("user_name", {"path": "u", "map": {"0": "root"}, "default": "other"}, {"u": "7"}, "other"),
    ("api_operation", {"join": ["m", "r"]}, {"m": "GET", "r": "/x"}, "GET /x"),
    ("api_operation", {"join": ["m", "r"]}, {"m": "GET"}, "GET"),
    ("http_response_code", {"path": "s"}, {"s": "404"}, 404),
    ("http_response_code", {"path": "s"}, {"s": "many"}, None),
    ("http_response_code", {"path": "s"}, {"s": 2**40}, None),
    ("is_mfa", {"path": "m"}, {"m": True}, True),
    ("is_mfa", {"path": "m"}, {"m": "No"}, False),
    ("is_mfa", {"path": "m"}, {"m": "perhaps"}, None),
    ("duration", {"path": "d", "type": "seconds"}, {"d": 1.5}, 1500),
    ("duration", {"path": "d", "type": "microseconds"}, {"d": "2500"}, 2),
    ("duration", {"path": "d", "type": "seconds"}, {"d": 1e300}, None),
    ("duration", {"path": "d", "type": "milliseconds"}, {"d": "Infinity"}, None),
    ("src_endpoint_ip", {"path": "i", "type": "address"}, {"i": "2001:db8::1"}, "2001:db8::1"),
    ("src_endpoint_ip", {"path": "i", "type": "address"}, {"i": "host"}, None),
]


@pytest.mark.parametrize(("column", "how", "record", "want"), _COLUMNS)
def test_columns(tmp_path: Path, column: str, how: dict[str, Any], record: dict[str, Any], want: Any) -> None:
    path = _file(tmp_path, _BASE | {"columns": {column: how}})
    (row,) = _rows(path, {"t": _T} | record)
    assert row[column] == want
    assert row["x_format"] == "probe/1"


def test_keys_that_differ_in_case_or_are_text_and_structure(tmp_path: Path) -> None:
    how = {"user_name": {"path": "User"}, "actor_user_name": {"path": "user"}, "message": {"path": "a"}, "status_detail": {"path": "a.b"}}  # fmt: skip
    (row,) = _rows(_file(tmp_path, _BASE | {"columns": how}), {"t": _T, "User": "A", "user": "b", "a": {"b": "deep"}})
    assert (row["user_name"], row["actor_user_name"], row["status_detail"], row["message"]) == ("A", "b", "deep", '{"b":"deep"}')  # fmt: skip


_WHEN: list[tuple[Any, dict[str, Any], bool]] = [
    ("x", {"f": "x"}, True), ("x", {"f": "y"}, False), ("x", {}, False), (["x", "y"], {"f": "y"}, True), (200, {"f": 200}, True), (200, {"f": "200"}, True),
    (200, {"f": 201}, False), (True, {"f": True}, True), (True, {"f": False}, False), ({"exists": True}, {"f": "x"}, True), ({"exists": False}, {}, True),
    ({"exists": False}, {"f": 0}, False), ({"prefix": "ab"}, {"f": "abc"}, True), ({"prefix": "%"}, {"f": "abc"}, False), ({"regex": "b+"}, {"f": "abbc"}, True),
    ({"ge": 400, "lt": 500}, {"f": 404}, True), ({"ge": 400, "lt": 500}, {"f": 500}, False), ({"gt": 1}, {"f": "text"}, False), ({"le": float("inf")}, {"f": 3}, True),
    ("it's", {"f": "it's"}, True), ([], {"f": "x"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "record", "fits"), _WHEN)
def test_conditions(tmp_path: Path, wanted: Any, record: dict[str, Any], fits: bool) -> None:
    rules = [{"when": {"f": wanted}, "class": 3002, "activity": "Logon", "status": "failure"}, {"class": 6003, "activity": 2, "severity": "High"}]  # fmt: skip
    (row,) = _rows(_file(tmp_path, _BASE | {"classes": rules}), {"t": _T} | record)
    got = (row["class_uid"], row["type_uid"], row["status_id"], row["severity_id"])
    assert got == ((3002, 300201, 2, 1) if fits else (6003, 600302, 0, 4))


def test_without_a_rule_that_fits_it_is_a_base_event(tmp_path: Path) -> None:
    rules = [{"when": {"f": "x"}, "class": 3002}]
    (row,) = _rows(_file(tmp_path, _BASE | {"classes": rules}), {"t": _T})
    assert (row["class_uid"], row["type_uid"], row["status_id"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("time", "value", "want"),
    [
        ({}, "2026-03-01T11:00:00+01:00", "2026-03-01T10:00:00Z"),
        ({}, "2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
        ({"zone": "Asia/Tokyo"}, "2026-07-01T12:00:00", "2026-07-01T03:00:00Z"),
        ({"format": "epoch_s"}, 1772359200, "2026-03-01T10:00:00Z"),
        ({"format": "epoch_s"}, 1772359200.25, "2026-03-01T10:00:00.250000Z"),
        ({"format": "epoch_ms"}, "1772359200123", "2026-03-01T10:00:00.123000Z"),
        ({"format": "epoch_us"}, 1772359200123456, "2026-03-01T10:00:00.123456Z"),
        ({"format": "epoch_ns"}, 1772359200123456789, "2026-03-01T10:00:00.123456Z"),
        ({"format": "%d/%b/%Y:%H:%M:%S %z"}, "01/Mar/2026:11:00:00 +0100", "2026-03-01T10:00:00Z"),
        ({"format": "%Y-%m-%d %H:%M"}, "2026-07-01 12:00", "2026-07-01T10:00:00Z"),
        ({"format": "epoch_s"}, True, None),
        ({"format": "epoch_s"}, "NaN", None),
        ({"format": "epoch_s"}, "1e400", None),
        ({"format": "epoch_ms"}, 1772359200, None),
        ({}, 1772359200, None),
        ({}, None, None),
    ],
)
def test_times(tmp_path: Path, time: dict[str, Any], value: Any, want: str | None) -> None:
    path = _file(tmp_path, {"name": "probe", "time": {"path": "a.t"} | time})
    parsed = _parse(path, {"a": {"t": value}}, zone="Europe/Berlin")
    rows = [json.loads(line) for line in parsed.lines]
    assert [row["time"] for row in rows] == ([want] if want else [])
    assert all(reject.reason in ("no_time", "bad_time") and "a.t" in reject.detail for reject in parsed.rejects)
    assert len(rows) + len(parsed.rejects) == 1


def test_a_key_makes_copies_of_a_record_one_event_and_without_one_lines_count(tmp_path: Path) -> None:
    record = {"t": _T, "id": "1"}
    keyed = _parse(_file(tmp_path, _BASE | {"key": ["id"]}), record, record, {"t": _T}, {"t": _T})
    assert (keyed.events, keyed.duplicates) == (3, 1)  # those without an id are lines again
    assert _parse(_file(tmp_path, _BASE), record, record).events == 2


_WRONG: list[tuple[dict[str, Any] | str, list[str]]] = [
    (_BASE | {"columns": {"user_nme": {"path": "u"}}}, ["columns", "user_nme", "did you mean user_name"]),
    (_BASE | {"columns": {"raw_data": {"path": "u"}}}, ["raw_data", "pipeline itself"]),
    (_BASE | {"columns": {"class_uid": {"path": "u"}}}, ["class_uid", "classes"]),
    (_BASE | {"columns": {"user_name": {"paht": "u"}}}, ["columns.user_name", "paht", "did you mean 'path'"]),
    (_BASE | {"columns": {"user_name": {"path": "a..b"}}}, ["columns.user_name.path", "a..b"]),
    (_BASE | {"columns": {"user_name": {}}}, ["one of path, join, value"]),
    (_BASE | {"columns": {"user_name": {"path": "u", "pattern": "(?=x)"}}}, ["pattern", "RE2"]),
    (_BASE | {"columns": {"user_name": {"path": "u", "type": "int"}}}, ["columns.user_name.type", "number"]),
    (_BASE | {"classes": [{"class": 3003000}]}, ["classes.0", "3003000", "3002"]),
    (_BASE | {"classes": [{"class": 3002, "activity": "Login"}]}, ["'Login'", "1 Logon"]),
    (_BASE | {"classes": [{"class": 3002}, {"class": 6003}]}, ["never reached"]),
    (_BASE | {"classes": [{"when": {"f": {}}, "class": 3002}]}, ["classes.0.when.f", "prefix"]),
    ({"name": "probe"}, ["time", "is missing"]),
    (_BASE | {"name": "../x"}, ["name"]),
    (_BASE | {"time": {"path": "t", "format": "iso"}}, ["time", "rfc3339"]),
    ("name: a\nname: b\n", ["probe.yaml:2", "stands twice"]),
    ("[", ["no YAML"]),
    ("just text", ["name, time, columns, classes"]),
]


@pytest.mark.parametrize(("mapping", "words"), _WRONG)
def test_errors_name_file_key_and_remedy(tmp_path: Path, mapping: Any, words: list[str]) -> None:
    path = _file(tmp_path, mapping)
    with pytest.raises(ConfigError) as caught:
        open_format("jsonl", mapping=path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_a_missing_mapping_or_zone_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--mapping"):
        open_format("jsonl")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_format("jsonl", mapping=tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="Mars"):
        open_format("jsonl", mapping=_file(tmp_path, _BASE), zone="Mars")
    assert open_format("probe", mapping=_file(tmp_path, _BASE)).name == "probe"


def test_the_variant_tells_what_index_and_columns_depend_on(tmp_path: Path) -> None:
    changed = [_BASE, _BASE | {"key": ["id"]}, _BASE | {"columns": {"user_name": {"path": "u"}}}]
    forms = [open_format("jsonl", mapping=_file(tmp_path, mapping), zone=zone) for mapping in changed for zone in ("UTC", "Asia/Tokyo")]  # fmt: skip
    assert len({form.variant for form in forms}) == len(forms)
    assert open_format("jsonl", mapping=_file(tmp_path, _BASE)).variant == forms[0].variant


_NASTY = st.sampled_from(["'", "''; DROP TABLE x; --", '"', 'a"b', "\\", "a.b", "$", "/~", "%s", "{0}", "r", "doc", "ü", " ", "${x}", "'||'", "(SELECT 1)"])  # fmt: skip
_WORDS = _NASTY | st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8)
_FREE = sorted(n for n, c in BY_NAME.items() if n not in {*DRIVER, "time", *_mapping.BY_CLASS} and str(c.kind) == "string")  # fmt: skip


def _quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    key=_WORDS.filter(str.isprintable), inner=_WORDS.filter(str.isprintable), value=_WORDS, word=_WORDS, column=st.sampled_from(_FREE)
)  # fmt: skip
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_words_in_mapping_and_record_stay_words(
    key: str, inner: str, value: str, word: str, column: str
) -> None:
    mapping = _mapping.Mapping.model_validate(
        {
            "name": "probe",
            "time": {"path": "t"},
            "columns": {column: {"path": f"{_quoted(key)}.{_quoted(inner)}", "map": {value: word, "\x01": "x"}}},
            "classes": [{"when": {f"{_quoted(key)}.{_quoted(inner)}": value}, "class": 3002, "activity": 1}],
        }
    )
    form = JsonLines(mapping)
    record = json.dumps({"t": _T, key: {inner: value}} if key != "t" else {"t": _T}).encode()
    (found,) = _evaluated(form, record, column)
    assert found == ((word, 300201) if key != "t" else (None, 0))


def _evaluated(form: JsonLines, record: bytes, column: str) -> list[Any]:
    with duckdb.connect() as con:
        sql = f"SELECT {form.columns[column]}, {form.columns['type_uid']} FROM (SELECT *, {form.record} AS r FROM (SELECT ?::VARCHAR AS doc))"
        return con.execute(sql, [record.decode()]).fetchall()


_GOOD: dict[str, Any] = yaml.safe_load((_EXAMPLES / "app_requests.yaml").read_text())


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path] * bool(path) + [place for key, item in items for place in _places(item, (*path, key))]


@given(place=st.sampled_from(_places(_GOOD)), junk=st.sampled_from([None, 0, -1, "", "'", "x y", [], {}, [[]], {"a": {"b": 1}}, True, 1e99, "\x00"]))  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_mapping_works_or_says_why(tmp_path_factory: pytest.TempPathFactory, place: tuple[Any, ...], junk: Any) -> None:  # fmt: skip
    mutant = copy.deepcopy(_GOOD)
    parent = mutant
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = junk
    path = _file(tmp_path_factory.mktemp("m"), mutant)
    try:
        form = open_format("jsonl", mapping=path)
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert str(path) in said
        return
    assert isinstance(form, JsonLines)
    (row,) = _evaluated(form, b'{"ts": "2026-03-01T10:00:00Z", "event": "request"}', "type_uid")
    assert row[0] == row[1]


def _app(**fields: Any) -> dict[str, Any]:
    return {
        "ts": "2026-03-01T10:00:00.123Z", "service": "shop", "level": "info", "event": "request", "method": "GET", "route": "/cart", "status": 200, "duration_ms": 12, "user": "ann",
        "client": "192.0.2.1", "request_id": "r1", "version": "1.2", "message": "", "stack": None,
    } | fields  # fmt: skip


def test_the_application_example() -> None:
    records = [_app(), _app(method="POST", status=503), _app(event="error", level="error", message="boom", stack="at x"), _app(event="down"), _app(event="up"), _app(event="deploy"), _app(event="other")]  # fmt: skip
    rows = _rows(_EXAMPLES / "app_requests.yaml", *records)
    assert [(row["type_uid"], row["status_id"]) for row in rows] == [(600302, 1), (600301, 2), (600801, 2), (600204, 1), (600203, 1), (600208, 1), (0, 0)]  # fmt: skip
    assert (rows[0]["api_operation"], rows[0]["api_service_name"], rows[0]["duration"], rows[0]["x_actor"], rows[0]["http_response_code"]) == ("GET /cart", "shop", 12, "ann", 200)  # fmt: skip
    assert rows[2]["status_detail"] == "at x"
    for line in parse("jsonl", "\n".join(map(json.dumps, records)).encode(), mapping=_EXAMPLES / "app_requests.yaml").lines:  # fmt: skip
        assert faults(json.loads(line)) == []


def test_two_requests_in_the_same_millisecond_are_two_events() -> None:
    parsed = _parse(_EXAMPLES / "app_requests.yaml", _app(), _app())
    assert (parsed.events, parsed.duplicates) == (2, 0)


def test_a_honeypot_counted_another_way() -> None:
    files = sorted((_SHARED / "cowrie_ssh").glob("*.json.*.gz"))
    if not files:
        pytest.skip("shared data is absent")
    for path in files[:3]:
        data = gzip.decompress(path.read_bytes())
        said = collections.Counter(json.loads(line)["eventid"] for line in data.splitlines() if line.strip())
        parsed = parse("jsonl", data, mapping=_EXAMPLES / "cowrie.yaml", mode="flat")
        rows = [json.loads(line) for line in parsed.lines]
        assert parsed.rejects == []
        assert collections.Counter(row["metadata_event_code"] for row in rows) == said
        assert sum((row["type_uid"], row["status_id"]) == (300201, 2) for row in rows) == said["cowrie.login.failed"]
        assert sum(row["class_uid"] == 0 for row in rows) == 0
    events = [json.loads(line) for line in parse("jsonl", data, mapping=_EXAMPLES / "cowrie.yaml").lines]
    assert [event for event in events[:300] if faults(event)] == []
    assert dt.datetime.fromtimestamp(events[0]["time"] / 1000, dt.UTC).year == 2018


def test_the_mapping_of_the_how_to_does_what_it_says(tmp_path: Path) -> None:
    page = (_REPO / "docs" / "how-to" / "add-a-format.md").read_text(encoding="utf-8")
    (shown,) = [block.split("```")[0] for block in page.split("```yaml\n")[1:] if block.startswith("name: shop")]
    login = {"ts": _T, "id": 1, "event": "login", "ok": False, "user": {"mail": "a@example.com"}, "took": 0.25, "kind": 1, "message": "reason=late"}  # fmt: skip
    rows = _rows(_file(tmp_path, shown), login, {"ts": _T, "id": 2, "status": 404, "kind": "9"}, {"ts": _T, "id": 3})
    assert [(row["type_uid"], row["status_id"], row["actor_user_type"]) for row in rows] == [(300201, 2, "staff"), (600302, 2, "unknown"), (600302, 1, "unknown")]  # fmt: skip
    assert (rows[0]["user_name"], rows[0]["duration"], rows[0]["status_detail"]) == ("a@example.com", 250, "late")
    assert {row["metadata_product_name"] for row in rows} == {"Shop"}
