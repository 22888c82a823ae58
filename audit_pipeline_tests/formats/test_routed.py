"""Records of several systems in one store: each read by its own format, once, and visible to the rules of that format."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline import formats
from audit_pipeline.clock import UTC
from audit_pipeline.detections import commands
from audit_pipeline.detections.commands import find
from audit_pipeline.detections.run import detect
from audit_pipeline.errors import ConfigError, UserError
from audit_pipeline.formats import indexing
from audit_pipeline.formats.routed import OWN
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.quality.completeness import assess
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import format_of
from audit_pipeline_tests.formats.test_ecs import SIGN_IN, hit, page
from audit_pipeline_tests.sources.world import DAY, HOUR, NOON, SOURCE, World, record

RULES: list[dict[str, Any]] = [
    {"format": "kubernetes_audit", "when": {"index": "k8s-audit-*"}},
    {"format": "cloudtrail", "when": {"dataset": ["aws.cloudtrail", "aws.trail*"]}},
    {"format": "linux_auth", "when": {"module": "system", "service": "ssh?"}},
]


class Mixed(World):
    """The same folder, holding answer pages of a search store."""

    rules: tuple[dict[str, Any], ...] = (*RULES, {"format": "ecs"})

    def __post_init__(self) -> None:
        (self.root / "logs").mkdir(parents=True, exist_ok=True)
        source = {"type": "files", "format": list(self.rules), "paths": [self.glob]}
        text = json.dumps({"start": "2025-06-01", "sources": {SOURCE: source}})
        self.settings = Settings.from_text(text, self.root / "pipeline.yaml")
        self.lake = Lake.open(self.settings.lake_url)
        self.form = format_of(self.settings, SOURCE)


def k8s(n: int | str, stage: str = "ResponseComplete", **fields: Any) -> dict[str, Any]:
    fixed = {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": f"k-{n}", "stage": stage, "requestURI": "/api/v1/namespaces/shop/pods/web-1/exec", "verb": "create",
             "user": {"username": "ann@example.com"}, "sourceIPs": ["203.0.113.9"], "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "shop", "name": "web-1"},
             "responseStatus": {"code": 101}, "requestReceivedTimestamp": f"{NOON:%Y-%m-%dT%H:%M:%S.000000Z}", "stageTimestamp": f"{NOON:%Y-%m-%dT%H:%M:%S.500000Z}"}  # fmt: skip
    return fixed | fields


def stored(n: int | str, source: dict[str, Any], index: str = "logs", at: dt.datetime = NOON, **fields: Any) -> Any:
    return hit(0, {"@timestamp": at.isoformat()} | source, _index=index, _id=f"s{n}", **fields)


def of_k8s(n: int | str, event: dict[str, Any] | None = None, **fields: Any) -> Any:
    return stored(n, event or k8s(n), "k8s-audit-2025.06", **fields)


def of_trail(n: int | str, original: bytes | None = None, **fields: Any) -> Any:
    event = {"dataset": "aws.cloudtrail", "original": (original or record(n)).decode()}
    return stored(n, {"event": event}, **fields)


def of_ssh(n: int | str, line: str, **fields: Any) -> Any:
    return stored(n, {"event.module": "system", "service": {"name": "sshd"}, "message": line}, **fields)


LINE = "Jun  2 12:00:01 web-1 sshd[7]: Failed password for bob from 203.0.113.7 port 4711 ssh2"


@pytest.fixture
def world(tmp_path: Path) -> Mixed:
    return Mixed(tmp_path)


def test_each_record_is_read_by_the_format_whose_condition_it_meets(world: Mixed) -> None:
    world.put("page.json", page(of_k8s(1), of_trail(2), of_ssh(3, LINE), hit(4, SIGN_IN)))
    (built,) = world.night().values()
    assert (built.events, built.records, built.rejects) == (4, 4, 0)
    assert world.rows("SELECT x_format, class_uid, metadata_uid, coalesce(actor_user_name, user_name), api_operation FROM events ORDER BY ALL") == [
        ("cloudtrail/2", 6003, "e-2", None, "GetObject"), ("ecs/1", 3002, "d4", "ann", "user_login"),
        (f"kubernetes_audit/{formats.get('kubernetes_audit').version}", 6003, "k-1", "ann@example.com", "create"), ("linux_auth/1", 3002, None, "bob", None),
    ]  # fmt: skip


def test_the_same_columns_as_without_the_store_around_them(world: Mixed, tmp_path: Path) -> None:
    """An event of CloudTrail through a store is the event of CloudTrail, its raw record included."""
    records = [record(n, userAgent=f"agent {n} é", requestParameters={"bucketName": "b"}) for n in range(5)]
    alone = World(tmp_path / "alone")
    alone.put("plain.json", b'{"Records":[' + b",".join(records) + b"]}")
    alone.night()
    world.put("page.json", page(*[of_trail(n, one) for n, one in enumerate(records)]))
    world.night()
    shown = "SELECT * EXCLUDE (x_visible_time, x_collected_time, x_segment, x_line) FROM events ORDER BY metadata_uid"
    assert world.rows(shown) == alone.rows(shown)
    assert len(world.rows(shown)) == 5


@pytest.mark.parametrize("named", [True, False])
def test_what_meets_no_condition_is_a_base_event_unless_the_store_s_own_format_is_named(
    tmp_path: Path, named: bool
) -> None:
    rules = [*RULES, {"format": "ecs"}] if named else RULES
    text = json.dumps({"start": "2025-06-01", "sources": {SOURCE: {"type": "elasticsearch", "format": rules, "http": {"url": "http://localhost"}, "options": {"index": "*"}}}})  # fmt: skip
    world = World(tmp_path, form=format_of(Settings.from_text(text, tmp_path / "pipeline.yaml"), SOURCE))
    world.put("page.json", page(hit(1, SIGN_IN)))
    (built,) = world.night().values()
    assert built.events == 1
    want = ("ecs/1", 3002, 300201) if named else ("ecs/1 unmatched", 0, 99)
    assert world.rows("SELECT x_format, class_uid, type_uid, actor_user_name, metadata_uid FROM events") == [
        (*want, "ann", "d1")
    ]


def test_stages_of_a_request_are_one_event_and_a_record_shipped_twice_is_one(world: Mixed) -> None:
    received = k8s(1, "RequestReceived", responseStatus=None)
    twice = [of_trail("a", record(2)), of_trail("b", record(2))]
    world.put("page.json", page(of_k8s("x", received), of_k8s("y", k8s(1)), *twice))
    (built,) = world.night().values()
    assert (built.events, built.records, built.rejects) == (2, 4, 0)
    assert world.rows("SELECT metadata_uid, x_records, metadata_event_code FROM events ORDER BY 1") == [
        ("e-2", 2, None),
        ("k-1", 2, "ResponseComplete"),
    ]
    assert world.account() == (4, 0, 4)


def test_equal_lines_without_an_id_are_told_apart_by_the_store_s_and_a_page_read_again_adds_none(world: Mixed) -> None:
    world.put("a.json", page(of_ssh(1, LINE)))
    world.put("b.json", page(of_ssh(2, LINE), of_ssh(1, LINE)))
    (built,) = world.night().values()
    assert (built.events, built.records, built.duplicates) == (2, 3, 1)


def test_a_stamp_without_a_year_is_read_beside_the_store_s_own_time(world: Mixed) -> None:
    """The page was collected in June 2025; the line of March 2023 was stored then."""
    then = dt.datetime(2023, 3, 5, 10, tzinfo=UTC)
    eve = dt.datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC)
    line = LINE.removeprefix("Jun  2 12:00:01")
    world.put("a.json", page(of_ssh(1, "Mar  5 10:00:00" + line, at=then), of_ssh(2, "Dec 31 23:59:59" + line, at=eve)))
    world.night()
    assert world.rows('SELECT "time" FROM events ORDER BY 1') == [(then,), (eve - dt.timedelta(seconds=6),)]


@pytest.mark.parametrize(
    ("document", "reason"),
    [(of_trail(1, b"no record {"), "not_json"), (of_k8s(1, {"auditID": "x"}), "no_time"), (hit(1, ["text"], _index="k8s-audit-1"), "not_an_object"), (of_ssh(1, "no stamp"), "no_time")],
)  # fmt: skip
def test_what_its_format_cannot_read_is_a_reject_with_that_format_s_reason(
    world: Mixed, document: Any, reason: str
) -> None:
    world.put("page.json", page(document, of_trail(2)))
    built = world.night()
    assert [sum(one.events for one in built.values()), sum(one.rejects for one in built.values())] == [1, 1]
    ((why, raw),) = world.rows("SELECT reason, raw FROM rejects")
    assert why == reason
    assert json.loads(raw)["_index"] == document["_index"]
    assert world.account() == (1, 1, 2)


def test_hostile_documents_are_all_accounted_for(world: Mixed) -> None:
    """Random kinds, lone surrogates, NUL, huge numbers, twice, cut, shuffled: records = events + rejects + copies, and a rerun is equal."""
    rng = random.Random(5)
    odd = ["\ud800", "\x00", "<b>", "'; DROP TABLE events; --", "{}", "[]", "é" * 3, str(2**70)]
    hits: list[Any] = []
    for n in range(300):
        text = rng.choice(odd)
        kind = rng.randrange(7)
        hits.append(
            [
                of_k8s(n, k8s(n, userAgent=text)), of_trail(n, record(n, userAgent=text)), of_ssh(n, f"{LINE} {text}"), hit(n, SIGN_IN | {"message": text}),
                of_trail(n, text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()), of_k8s(n, {"number": 2**70}), hit(n, {"@timestamp": text, "event": {"dataset": text}}),
            ][kind]
        )  # fmt: skip
    hits += hits[:40]
    rng.shuffle(hits)
    for at in range(0, len(hits), 50):
        world.put(f"{at}.json", page(*hits[at : at + 50]), NOON - 3 * HOUR)
    world.put("cut.json", page(*hits[:5])[:-40], NOON - 3 * HOUR)
    world.night()
    records, rejects, indexed = world.account()
    assert records + rejects == indexed
    assert records >= 200
    before = world.content_hash()
    world.build()
    assert world.content_hash() == before


def test_a_condition_or_a_format_that_changes_makes_the_days_anew(world: Mixed, tmp_path: Path) -> None:
    world.put("page.json", page(of_trail(1)))
    world.night()
    assert world.rows("SELECT x_format FROM events") == [("cloudtrail/2",)]
    other = Mixed.rules[2:]
    changed = type("Changed", (Mixed,), {"rules": other})(tmp_path)
    assert indexing.ensure(changed.lake, SOURCE, changed.form) == [DAY]
    assert indexing.ensure(changed.lake, SOURCE, changed.form) == []
    changed.build()
    assert changed.rows("SELECT x_format FROM events") == [("ecs/1",)]


@pytest.mark.parametrize("name", ["datadog_audit", "ecs", "splunk_audit"])
def test_an_envelope_names_its_facts_and_reads_any_record(name: str) -> None:
    envelope = formats.envelope(name)
    assert name in OWN.values()
    assert envelope.names
    records: list[dict[str, Any]] = [{"_source": [1]}, {"_source": {"event": "text", "message": 3}}, {"_raw": None}, {"attributes": []}, {"message": "\ud800"}]  # fmt: skip
    for fields in records:
        facts = envelope.facts(fields)
        assert facts.keys() <= set(envelope.names)
        assert all(isinstance(value, str) for value in facts.values())
        assert isinstance(envelope.payload(fields), bytes | None)


@pytest.mark.parametrize(
    ("index", "want"),
    [
        (".ds-logs-aws.cloudtrail-default-2025.06.01-000001", "logs-aws.cloudtrail-default"),
        (".ds-audit-000012", "audit"),
        ("plain-2025.06.01", "plain-2025.06.01"),
    ],
)
def test_a_data_stream_s_own_index_has_the_stream_s_name(index: str, want: str) -> None:
    assert formats.envelope("ecs").facts({"_index": index, "_source": {}})["index"] == want


def _settings(kind: str, form: Any, tmp_path: Path) -> Settings:
    text = json.dumps({"start": "2025-06-01", "sources": {"store": {"type": kind, "format": form, "options": {} if kind == "files" else {"index": "*"}}}})  # fmt: skip
    return Settings.from_text(text, tmp_path / "pipeline.yaml")


@pytest.mark.parametrize(
    ("kind", "form", "words"),
    [
        ("files", [{"format": "ecs"}, {"format": "cloudtrail", "when": {"idnex": "x"}}], ["sources.store.format", "1.when.idnex", "did you mean 'index'"]),
        ("files", [{"format": "ecs"}, {"format": "cloudtrail", "when": {"zzz": "x"}}], ["when.zzz", "index, dataset, module, service"]),
        ("files", [{"format": "cloudtrail", "when": {"index": "x"}}], ["type files has no format of its own", "without `when`"]),
        ("files", [{"format": "ecs"}, {"format": "cloudtrail"}], ["ecs, cloudtrail", "one alone"]),
        ("files", [{"format": "linux_auth"}, {"format": "cloudtrail", "when": {"index": "x"}}], ["linux_auth carry no other system's records", "ecs"]),
        ("files", [{"format": "nothing"}, {"format": "cloudtrail", "when": {"index": "x"}}], ["unknown format 'nothing'"]),
        ("files", [{"format": "ecs", "whne": {}}], ["sources.store.format.0.whne", "did you mean 'when'"]),
        ("files", [{"when": {"index": "x"}}], ["sources.store.format.0.format", "is missing"]),
        ("files", [{"format": "ecs", "when": {"index": []}}], ["format.0.when.index"]),
        ("files", [{"format": "ecs", "when": {"index": [""]}}], ["a pattern is empty"]),
        ("files", [], ["sources.store.format"]),
        ("files", {"format": "ecs"}, ["sources.store.format", "string"]),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused_when_it_is_loaded(kind: str, form: Any, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _settings(kind, form, tmp_path)
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_inner_format_is_an_error_when_it_is_opened(tmp_path: Path) -> None:
    settings = _settings("files", [{"format": "ecs"}, {"format": "cloudtrial", "when": {"index": "x"}}], tmp_path)
    with pytest.raises(UserError, match="unknown format 'cloudtrial'"):
        format_of(settings, "store")


EXEC = "exec_into_pod"
BUCKET = "3f1ba0e8-8b4f-4f51-a0a0-5d0f7ac00b01"


def _bucket_rule(root: Path) -> None:
    """A rule about a field of CloudTrail's record that no column holds."""
    rule = {"title": "Bucket", "id": BUCKET, "level": "low", "logsource": {"product": "aws", "service": "cloudtrail"},
            "detection": {"wanted": {"requestParameters.bucketName": "secret"}, "condition": "wanted"}, "group_by": ["eventID"]}  # fmt: skip
    (root / "rules").mkdir()
    (root / "rules" / "bucket.yml").write_text(json.dumps(rule))


def test_rules_of_the_inner_formats_see_their_records_and_no_others(world: Mixed) -> None:
    """A shell in a pod, and a field that only CloudTrail's own record has; the same words in records of other systems are nothing."""
    _bucket_rule(world.root)
    wanted = record(1, requestParameters={"bucketName": "secret"})
    other = stored(9, {"requestParameters": {"bucketName": "secret"}, "event": {"dataset": "other"}})
    refused = k8s(5, responseStatus={"code": 403}, requestParameters={"bucketName": "secret"})
    world.put("page.json", page(of_k8s(1), of_k8s(5, refused), of_trail(1, wanted), of_trail(2), other))
    world.night(NOON + 15 * HOUR)
    assess(world.settings, world.lake, DAY)
    found = {row["rule_id"]: row for row in detect(world.settings, world.lake, DAY).to_pylist()}
    assert [(found[BUCKET]["n"], found[BUCKET]["sources"])] == [(1, [SOURCE])]
    assert json.loads(found[BUCKET]["group_key"]) == {"eventID": "e-1"}
    assert found[find(world.settings, EXEC).id]["n"] == 1


def test_a_rule_whose_format_did_not_come_is_not_evaluated(world: Mixed) -> None:
    world.put("page.json", page(of_trail(1)))
    world.night(NOON + 15 * HOUR)
    assess(world.settings, world.lake, DAY)
    detect(world.settings, world.lake, DAY)
    with connect(world.lake, tables=["rule_states"]) as con:
        query = "SELECT state, reason FROM rule_states WHERE rule_id = ?"
        told = con.execute(query, [find(world.settings, EXEC).id]).fetchall()
    assert told == [("not_evaluated", f"{SOURCE}: no event of 7 days is of the format kubernetes_audit")]


def test_a_rule_holds_by_its_own_test_events_where_a_list_names_its_format(world: Mixed) -> None:
    assert find(world.settings, EXEC).sources == (SOURCE,)
    assert [row["problems"] for row in commands.test(world.settings, EXEC)] == [[]]


def _splunk(raw: str, n: int, sourcetype: str) -> bytes:
    """A line of `search/jobs/export`."""
    row = {"_bkt": "main~1~A", "_cd": f"1:{n}", "_raw": raw, "_time": f"{NOON:%Y-%m-%dT%H:%M:%S.000+00:00}", "index": "main", "sourcetype": sourcetype}  # fmt: skip
    return json.dumps({"preview": False, "result": row}).encode() + b"\n"


def test_rules_see_what_splunk_holds_of_other_systems(tmp_path: Path) -> None:
    rules = ({"format": "splunk_audit"}, {"format": "cloudtrail", "when": {"sourcetype": "aws:cloudtrail*"}}, {"format": "linux_auth", "when": {"sourcetype": "linux_secure"}})  # fmt: skip
    world = type("Splunk", (Mixed,), {"rules": rules})(tmp_path)
    _bucket_rule(world.root)
    wanted = record(1, requestParameters={"bucketName": "secret"}).decode()
    lines = [_splunk(wanted, 1, "aws:cloudtrail"), _splunk(wanted, 2, "other"), _splunk(LINE, 3, "linux_secure"), _splunk(LINE, 4, "linux_secure")]  # fmt: skip
    world.put("export.json", b"".join(lines))
    world.night(NOON + 15 * HOUR)
    assert world.rows("SELECT split_part(x_format, '/', 1), count(*) FROM events GROUP BY 1 ORDER BY 1") == [
        ("cloudtrail", 1),
        ("linux_auth", 2),
        ("splunk_audit", 1),
    ]
    assess(world.settings, world.lake, DAY)
    found = {row["rule_id"]: row for row in detect(world.settings, world.lake, DAY).to_pylist()}
    assert (found[BUCKET]["n"], found[BUCKET]["group_key"]) == (1, '{"eventID":"e-1"}')


def test_what_datadog_holds_of_other_systems(tmp_path: Path) -> None:
    rules = ({"format": "datadog_audit"}, {"format": "kubernetes_audit", "when": {"source": "kubernetes.audit"}})
    world = type("Datadog", (Mixed,), {"rules": rules})(tmp_path)
    log = {"service": "apiserver", "tags": ["source:kubernetes.audit"], "timestamp": f"{NOON:%Y-%m-%dT%H:%M:%S.000Z}"}
    message = [{"id": f"A{n}", "type": "log", "attributes": log | {"message": json.dumps(k8s(n))}} for n in range(3)]
    other = {"id": "B", "type": "log", "attributes": log | {"tags": ["source:nginx"], "message": "GET /"}}
    world.put("page.json", json.dumps({"data": [*message, other], "meta": {}}).encode())
    world.night()
    assert world.rows(
        "SELECT split_part(x_format, '/', 1), class_uid, count(*) FROM events GROUP BY 1, 2 ORDER BY 1"
    ) == [
        ("datadog_audit", 0, 1),
        ("kubernetes_audit", 6003, 3),
    ]


@pytest.mark.parametrize("page_", ["add-a-format.md", "sources/elasticsearch.md"])
def test_the_lists_of_the_guides_can_be_used(page_: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/how-to" / page_).read_text(encoding="utf-8")
    (block,) = [part for part in text.split("```yaml\n")[1:] if "when: {index" in part]
    data = yaml.safe_load(block.partition("```")[0])
    rules = data["format"] if "format" in data else data["sources"]["elastic_audit"]["format"]
    form = format_of(_settings("elasticsearch", rules, tmp_path), "store")
    (part,) = form.parts([json.dumps(of_k8s(1)).encode()])  # type: ignore[attr-defined]
    assert part.reading.label == "kubernetes_audit/1"
