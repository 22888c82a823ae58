"""A trail's folder as it lives: what is new, what digests prove, and each way in which they show that something is wrong."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.clock import SimulatedClock
from audit_pipeline.formats.cloudtrail import FORMAT
from audit_pipeline.lake import manifest
from audit_pipeline.lake.verify import verify
from audit_pipeline.settings import Settings
from audit_pipeline.sources import cloudtrail
from audit_pipeline.sources._cloudtrail_days import delivered
from audit_pipeline.sources._cloudtrail_layout import Place
from audit_pipeline.sources.base import SourceError
from audit_pipeline.sources.collect import Collected, collect, source_of
from audit_pipeline_tests.sources.cloudtrail_world import MINUTE, TrailWorld, taken
from audit_pipeline_tests.sources.lives import BEGIN, DAY, HOUR
from audit_pipeline_tests.stubs.cloudtrail import ACCOUNT, Trail, der, event, published, signing_key

JUDGED = (BEGIN + 2 * DAY).date()
NOON = BEGIN + 2 * DAY + 12 * HOUR


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights done, and a third day and two hours delivered that nobody has read yet."""
    root = tmp_path_factory.mktemp("before") / "world"
    root.mkdir()
    world = TrailWorld(root)
    world.hours(28)
    world.night(0)
    world.hours(24)
    world.night(1)
    world.hours(23)
    return root


@pytest.fixture
def world(before: Path, tmp_path: Path) -> TrailWorld:
    """A copy; its trail goes on from where the other's stands."""
    return _opened(Path(shutil.copytree(before, tmp_path / "world")))


def _opened(root: Path, **options: Any) -> TrailWorld:
    world = TrailWorld(root, **options)
    world.trail.since = BEGIN + 3 * DAY + 2 * HOUR
    newest = max((root / "bucket").rglob("*CloudTrail-Digest*.json.gz"), key=lambda path: path.name)
    signature = json.loads(newest.with_name(newest.name + ".metadata.json").read_text())["Metadata"]["signature"]
    world.trail.last = (str(newest.relative_to(root / "bucket")), signature, "")
    return world


def _digests(world: TrailWorld) -> list[str]:
    found = world.folder.root.rglob("*CloudTrail-Digest_*.json.gz")
    return sorted((str(path.relative_to(world.folder.root)) for path in found), key=lambda key: key.rsplit("_", 1)[1])


def _noon(world: TrailWorld) -> str:
    return next(key for key in world.logs() if f"_{NOON:%Y%m%dT%H}" in key)


def _details(got: Collected) -> list[str]:
    return [one["detail"] for entry in got.entries for one in entry.request.get("unread", [])]


def test_a_day_is_proven_by_its_digests(world: TrailWorld) -> None:
    got = world.night(2)
    assert got.remarks == []
    assert world.verdict(JUDGED) == ("proven", {})
    assert got.entries[-1].request["attested"][JUDGED.isoformat()] == {"expected": 25, "received": 25, "of": "log files"}  # fmt: skip
    assert len(world.uids()) == 4 * (len(world.logs()) - 1) == 4 * 74, "all but those from before the start"
    member = taken(got)[-1]
    assert (member.visible_from, member.encoding, bool(member.etag)) == ("delivery", "gzip", True)


def test_what_is_known_is_not_taken_again(world: TrailWorld) -> None:
    assert taken(world.night(2))
    assert taken(world.collect(BEGIN + 3 * DAY + 4 * HOUR)) == []


def test_no_digest_proves_nothing_and_is_no_fault(tmp_path: Path) -> None:
    world = TrailWorld(tmp_path)
    world.hours(28, digests=False)
    for day in (0, 1, 2):
        assert world.night(day).remarks == []
        world.hours(24, digests=False)
    assert world.verdict(JUDGED)[0] == "no_gap_seen"
    assert "attested" not in manifest.entries(world.lake, "trail")[-1].request


Spoil = Callable[[TrailWorld], None]


def _rewrite(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(world: TrailWorld) -> None:
        key = _noon(world)
        world.folder.put(key, change(world.folder.get(key)), {}, NOON)

    return spoil


def _spoil_digest(change: Callable[[dict[str, object]], object], n: int = -10) -> Spoil:
    def spoil(world: TrailWorld) -> None:
        path = world.folder.root / _digests(world)[n]
        content = json.loads(gzip.decompress(path.read_bytes()))
        change(content)
        path.write_bytes(gzip.compress(json.dumps(content).encode()))

    return spoil


def _move(world: TrailWorld) -> None:
    key = _digests(world)[-10]
    for ending in ("", ".metadata.json"):
        path = world.folder.root / (key + ending)
        path.rename(path.with_name(path.name.replace("0000Z", "5930Z").replace("T17", "T16")))


def _unlist(world: TrailWorld) -> None:
    world.trail.deliver(NOON + MINUTE, event("planted", NOON), listed=False)


def _restart(world: TrailWorld) -> None:
    for key in _digests(world)[-10:]:
        world.folder.remove(key)
    world.trail.restart(NOON + 7 * HOUR)
    world.hours(7)


BROKEN: dict[str, tuple[Spoil, str]] = {
    "log file deleted": (lambda world: world.folder.remove(_noon(world)), "log file is missing"),
    "log file altered": (_rewrite(lambda data: gzip.compress(gzip.decompress(data).replace(b"ann", b"bob"))), "log file was altered"),
    "bytes after the log file": (_rewrite(lambda data: data + b"more"), "trailing data"),
    "second stream after the log file": (_rewrite(lambda data: data + gzip.compress(b"{}")), "trailing data"),
    "log file cut short": (_rewrite(lambda data: data[:-12]), "cut short"),
    "log file no gzip": (_rewrite(gzip.decompress), "it is no gzip"),
    "digest deleted": (lambda world: world.folder.remove(_digests(world)[-10]), "digest file is missing"),
    "digest altered": (_spoil_digest(lambda content: content.update(logFiles=[])), "signature verification failed"),
    "digest without a field": (_spoil_digest(lambda content: content.pop("previousDigestSignature")), "fields are missing"),
    "digest no gzip": (lambda world: world.folder.put(_digests(world)[-10], b"{}", {}, NOON), "digest file is invalid: it is no gzip"),
    "digest moved": (_move, "moved from its original location"),
    "logging stopped": (_restart, "first of a chain"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_named_and_lasts(world: TrailWorld, name: str) -> None:
    """With its hour, file and reason; the day is partial, also after it was collected again."""
    spoil, said = BROKEN[name]
    spoil(world)
    got = world.night(2)
    assert any(said in detail and "AWSLogs/" in detail and "2025-06-0" in detail for detail in _details(got)), _details(got)  # fmt: skip
    names = [member.name for member in taken(got)]
    assert len(names) == len(set(names)), "what is wrong is taken once"
    verdict, reasons = world.verdict(JUDGED)
    assert (verdict, said in reasons["source_partial"]) == ("partial", True)
    again = world.collect(BEGIN + 3 * DAY + 5 * HOUR)
    assert _details(again) == [], "a fact is stated once"
    assert world.verdict(JUDGED)[0] == "partial"
    assert world.verdict((BEGIN + DAY).date())[0] != "partial", "and of its own day only"


def test_a_log_file_in_no_digest_is_no_proof(world: TrailWorld) -> None:
    """It may be of a later digest, so it is a fact of tonight; collected again for the day it still is."""
    _unlist(world)
    got = world.night(2)
    assert [remark.code for remark in got.remarks] == ["source_partial"]
    assert "in no digest" in got.remarks[0].detail
    assert got.entries[-1].request["attested"][JUDGED.isoformat()] == {"expected": 26, "received": 25, "of": "log files (1 of them in no digest)"}  # fmt: skip
    assert world.verdict(JUDGED)[0] == "partial"
    key = next(key for key in world.logs() if "T1201Z" in key and "/06/03/" in key)
    world.trail.backfill(BEGIN + 3 * DAY + HOUR, BEGIN + 3 * DAY + 3 * HOUR, [world.trail.listed(key, gzip.decompress(world.folder.get(key)))])  # fmt: skip
    world.collect(BEGIN + 3 * DAY + 5 * HOUR)
    assert world.verdict(JUDGED)[0] == "proven", "a backfill digest names it"


def test_a_backfill_digest_needs_its_time(world: TrailWorld) -> None:
    key = world.trail.backfill(BEGIN + 3 * DAY, BEGIN + 3 * DAY, [])
    side = world.folder.root / (key + ".metadata.json")
    side.write_text(side.read_text().replace("backfill-generation-timestamp", "other"))
    assert "backfill-generation-timestamp" in " ".join(_details(world.night(2)))


def test_digests_that_are_due_and_not_there_make_the_day_partial_until_they_come(world: TrailWorld) -> None:
    late = {key: world.folder.get(key) for key in _digests(world)[-3:]}
    for key in late:
        world.folder.remove(key)
    got = world.night(2)
    assert [remark.code for remark in got.remarks] == ["source_partial"]
    assert "digests do not cover the day" in got.remarks[0].detail
    assert world.verdict(JUDGED)[0] == "partial"
    for key, data in late.items():
        (world.folder.root / key).write_bytes(data)
    assert world.collect(BEGIN + 3 * DAY + 5 * HOUR).remarks == []
    assert world.verdict(JUDGED)[0] == "proven"


def test_no_digest_any_more_is_not_the_same_as_never_one(world: TrailWorld) -> None:
    shutil.rmtree(world.folder.root / f"AWSLogs/{ACCOUNT}/CloudTrail-Digest")
    got = world.night(2)
    assert "(none)" in got.remarks[0].detail
    assert world.verdict(JUDGED)[0] == "partial"


def test_a_key_that_is_not_known_proves_nothing_until_it_is(world: TrailWorld) -> None:
    """A right or a key that is lacking is no damage: nothing lasts, and the same days are asked for again."""
    good = (world.root / "keys.json").read_text()
    (world.root / "keys.json").write_text(json.dumps(published(signing_key("another"))))
    got = world.night(2)
    assert any("public key not found" in remark.detail for remark in got.remarks)
    assert ("checkpoint" in got.entries[-1].request, _details(got), world.verdict(JUDGED)[0]) == (False, [], "partial")
    (world.root / "keys.json").write_text(good)
    world.collect(BEGIN + 3 * DAY + 5 * HOUR)
    assert world.verdict(JUDGED)[0] == "proven"


def test_a_forged_key_in_the_file_verifies_nothing(world: TrailWorld) -> None:
    forged = published(signing_key("another"))
    forged["PublicKeyList"][0]["Fingerprint"] = published(signing_key())["PublicKeyList"][0]["Fingerprint"]
    (world.root / "keys.json").write_text(json.dumps(forged))
    assert "signature verification failed" in " ".join(_details(world.night(2)))
    assert world.verdict(JUDGED)[0] == "partial"


@pytest.mark.parametrize("kind", ["der", "pem_pkcs1", "pem_spki"])
def test_keys_come_in_each_usual_file(world: TrailWorld, kind: str) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = signing_key().public_key()
    data = {
        "der": der(signing_key()),
        "pem_pkcs1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "pem_spki": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) * 2,
    }[kind]
    (world.root / "keys.json").write_bytes(data)
    world.night(2)
    assert world.verdict(JUDGED)[0] == "proven"


@pytest.mark.parametrize("content", [b"nothing", b"{}", b"-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----"])
def test_a_file_without_a_key_is_named(world: TrailWorld, content: bytes) -> None:
    (world.root / "keys.json").write_bytes(content)
    got = world.night(2)
    assert got.failed is not None
    assert "options.public_keys" in got.failed


def test_a_copy_without_metadata_is_proven_by_what_the_next_digest_states(tmp_path: Path) -> None:
    """All but the newest digest, whose signature no other states yet."""
    world = TrailWorld(tmp_path, sidecars=False)
    for day, hours in enumerate((28, 24, 24)):
        world.hours(hours)
        assert world.night(day).remarks == []
    assert not list(world.folder.root.rglob("*.metadata.json"))
    assert world.verdict(JUDGED)[0] == "proven"
    assert manifest.entries(world.lake, "trail")[-1].request["digests"][f"{ACCOUNT}/eu-central-1"]["to"] == "2025-06-04T02:00:00Z"  # fmt: skip


def test_a_file_of_the_same_minute_that_sorts_before_is_found(tmp_path: Path) -> None:
    world = TrailWorld(tmp_path)
    first = f"{world.trail.folder('CloudTrail', NOON)}{ACCOUNT}_CloudTrail_eu-central-1_{NOON:%Y%m%dT%H%MZ}_"
    world.trail.deliver(NOON, event("b", NOON), key=first + "B" * 16 + ".json.gz", listed=False)
    world.collect(NOON + HOUR)
    world.trail.deliver(NOON, event("a", NOON), key=first + "A" * 16 + ".json.gz", listed=False)
    assert [member.name for member in taken(world.collect(NOON + 2 * HOUR))] == [first + "A" * 16 + ".json.gz"]


def test_a_file_delivered_again_under_its_key_is_a_member_more(tmp_path: Path) -> None:
    world = TrailWorld(tmp_path)
    key = world.trail.deliver(NOON, event("a", NOON))
    first = taken(world.collect(NOON + HOUR))
    world.trail.deliver(NOON + 2 * HOUR, event("a", NOON), event("b", NOON), key=key)
    second = taken(world.collect(NOON + 3 * HOUR))
    assert [m.name for m in first] == [m.name for m in second] == [key]
    assert first[0].etag != second[0].etag
    world.build()
    assert world.uids() == ["a", "b"]


def test_a_file_rewritten_just_before_the_night_proves_nothing_until_a_digest_names_it(world: TrailWorld) -> None:
    """Read for the first time in a version that no digest can name yet: said that night, and healed by the next."""
    key = _noon(world)
    records = [event(f"noon-{n}", NOON) for n in range(3)]
    world.trail.deliver(BEGIN + 3 * DAY + 2 * HOUR + 50 * MINUTE, *records, key=key)
    got = world.night(2)
    assert [remark.code for remark in got.remarks] == ["source_partial"]
    assert world.verdict(JUDGED)[0] == "partial"
    world.hours(24)
    assert world.night(3).remarks == []
    assert world.verdict(JUDGED)[0] == "proven"


def test_once_a_week_thirty_days_are_listed_again(tmp_path: Path) -> None:
    """A file that comes six days late under the key of its own day, and without digests nobody names it."""
    world = TrailWorld(tmp_path, digests=False)
    world.trail.deliver(BEGIN, event("first", BEGIN))
    found = []
    for day in range(1, 9):
        if day == 6:
            world.trail.deliver(BEGIN, event("late", BEGIN))
        found.append(len(taken(world.collect(BEGIN + day * DAY))))
    assert found == [1, 0, 0, 0, 0, 0, 0, 1]


def test_a_late_file_that_a_digest_names_is_fetched_by_its_name(world: TrailWorld) -> None:
    """Its key's day is not listed any more."""
    world.night(2)
    world.hours(24)
    world.night(3)
    key = world.trail.deliver(BEGIN + HOUR, event("late", BEGIN + HOUR))
    world.hours(24)
    got = world.night(4)
    assert key in [member.name for member in taken(got)]
    assert (_details(got), world.uids().count("late")) == ([], 1)


def test_every_account_region_and_organisation_is_found_and_can_be_chosen(tmp_path: Path) -> None:
    world = TrailWorld(tmp_path)
    names = [("o-abcdefghij", "111111111111", "us-east-1"), ("", "222222222222", "eu-west-1"), ("", "222222222222", "us-east-1")]  # fmt: skip
    trails = [Trail(world.folder, BEGIN, organization=org, account=account, region=region, seed=n) for n, (org, account, region) in enumerate(names)]  # fmt: skip
    for n, trail in enumerate(trails):
        trail.deliver(NOON, event(f"e-{n}", NOON))
    assert len(taken(world.collect(NOON + HOUR))) == 3
    assert manifest.entries(world.lake, "trail")[-1].request["scopes"] == [
        "222222222222/eu-west-1", "222222222222/us-east-1", "o-abcdefghij/111111111111/us-east-1",
    ]  # fmt: skip
    chosen: list[tuple[dict[str, Any], int]] = [({"accounts": ["222222222222"]}, 2), ({"regions": ["us-east-1"]}, 2), ({"organization": "o-abcdefghij"}, 1)]  # fmt: skip
    for n, (options, wanted) in enumerate(chosen):
        other = tmp_path / str(n)
        other.mkdir()
        shutil.copytree(tmp_path / "bucket", other / "bucket")
        assert len(taken(TrailWorld(other, **options).collect(NOON + HOUR))) == wanted


def test_a_region_that_was_never_read_is_read_from_its_beginning(world: TrailWorld) -> None:
    Trail(world.folder, BEGIN, region="us-east-1").deliver(BEGIN + HOUR, event("other", BEGIN + HOUR))
    world.night(2)
    assert "other" in world.uids()


def test_a_region_without_digests_beside_one_with_them_is_not_proven(world: TrailWorld) -> None:
    Trail(world.folder, BEGIN, region="us-east-1").deliver(NOON, event("other", NOON))
    got = world.night(2)
    assert "us-east-1 (none)" in got.remarks[0].detail
    assert JUDGED.isoformat() not in got.entries[-1].request["attested"]
    assert world.verdict(JUDGED)[0] == "partial"


def test_insights_are_counted_and_strange_names_said_and_neither_is_a_record(world: TrailWorld) -> None:
    insight = world.trail.folder("CloudTrail-Insight", NOON) + "123456789012_CloudTrail-Insight_eu-central-1_20250603T1200Z_AAAAAAAAAAAAAAAA.json.gz"  # fmt: skip
    world.folder.put(insight, b"x", {}, NOON)
    world.folder.put(world.trail.folder("CloudTrail", NOON) + "notes.txt", b"x", {}, NOON)
    got = world.night(2)
    assert got.entries[-1].request["insights"] == 1
    assert [(remark.code, remark.detail[:9]) for remark in got.remarks] == [("foreign", "1 objects")]
    assert not {"Insight", "notes", "Digest"} & {part for member in taken(got) for part in ("Insight", "notes", "Digest") if part in member.name}  # fmt: skip


def test_what_may_not_be_read_is_a_remark_and_taken_the_next_time(world: TrailWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    refused = _noon(world)
    one = Place._one
    with monkeypatch.context() as patch:
        patch.setattr(Place, "_one", lambda self, key: PermissionError(13, "Permission denied") if key == refused else one(self, key))  # fmt: skip
        got = world.night(2)
    assert "s3:GetObject" in got.remarks[0].detail
    assert ("checkpoint" in got.entries[-1].request, _details(got)) == (False, [])
    assert world.verdict(JUDGED)[0] == "partial"
    assert [member.name for member in taken(world.collect(BEGIN + 3 * DAY + 5 * HOUR))] == [refused]
    world.build()
    assert world.verdict(JUDGED)[0] == "proven"


def test_a_folder_that_is_not_there_is_silent_and_never_no_events(tmp_path: Path) -> None:
    got = TrailWorld(tmp_path).collect(NOON)
    assert [remark.code for remark in got.remarks] == ["silent"]
    assert "options.url" in got.remarks[0].detail


def test_a_delivery_of_the_future_is_left_and_said_unless_time_is_simulated(tmp_path: Path) -> None:
    world = TrailWorld(tmp_path)
    world.trail.deliver(NOON + 5 * HOUR, event("a", NOON))
    got = world.collect(NOON)
    assert (taken(got), [remark.code for remark in got.remarks]) == ([], ["future"])
    simulated = collect(world.settings, world.lake, "trail", JUDGED, SimulatedClock(NOON))
    assert (taken(simulated), simulated.remarks) == ([], [])
    assert len(taken(world.collect(NOON + 6 * HOUR))) == 1


def test_another_selection_begins_anew_and_doubles_nothing(world: TrailWorld) -> None:
    world.night(2)
    other = _opened(world.root, accounts=[ACCOUNT])
    got = other.collect(BEGIN + 3 * DAY + 4 * HOUR)
    assert got.entries[-1].request["window"][0] == "2025-06-01T00:00:00Z"
    assert taken(got) == []


def test_a_killed_collection_is_done_again(world: TrailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def dies(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "append", dies)
        with pytest.raises(KilledError):
            world.collect(BEGIN + 3 * DAY + 3 * HOUR)
    world.night(2)
    assert world.verdict(JUDGED)[0] == "proven"
    assert len(world.uids()) == len(set(world.uids())) == 4 * 74


def test_entries_of_before_stay_valid_and_verify_says_so(world: TrailWorld) -> None:
    """The two fields of a member stand in an entry only where they have a value."""
    world.night(2)
    assert verify(world.lake)[0] == []
    old = manifest.Member(name="a", offset=0, length=0, sha256="")
    entry = manifest.Entry(source="s", sequence=1, collected_at="2025-06-01T00:00:00Z", members=[old])
    assert not {b"etag", b"inflated_sha256"} & set(manifest.encode(entry).replace(b":", b'"').split(b'"'))


def test_probe_says_what_is_there_and_what_is_lacking(world: TrailWorld, tmp_path: Path) -> None:
    said = {probe.what: (probe.ok, probe.detail) for probe in source_of(world.settings, "trail").probe()}
    assert said["reach"] == (True, f"{world.settings.resolve('bucket')}: 1 accounts, 1 account regions")
    assert said["newest"][0]
    assert "T0155Z" in said["newest"][1]
    assert (said["digests"][0], "2025-06-04T02:00:00Z" in said["digests"][1]) == (True, True)
    empty = source_of(TrailWorld(tmp_path).settings, "trail").probe()
    assert [(probe.what, probe.ok) for probe in empty] == [("reach", False)]
    shutil.rmtree(world.folder.root / f"AWSLogs/{ACCOUNT}/CloudTrail-Digest")
    (none,) = [probe for probe in source_of(world.settings, "trail").probe() if probe.what == "digests"]
    assert (none.ok, "--enable-log-file-validation" in none.detail) == (False, True)


def test_the_example_is_a_source(tmp_path: Path) -> None:
    settings = Settings.from_text("start: 2025-06-01\nsources:\n" + cloudtrail.EXAMPLE, tmp_path / "pipeline.yaml")
    assert isinstance(source_of(settings, "cloudtrail_prod"), cloudtrail.BucketSource)


def test_a_url_of_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"options\.url"):
        source_of(TrailWorld(tmp_path, url="nonsense://x").settings, "trail")


def test_delivery_is_told_by_the_name_as_the_format_tells_it() -> None:
    name = f"{ACCOUNT}_CloudTrail_eu-central-1_20250603T1200Z_AAAAAAAAAAAAAAAA.json.gz"
    assert delivered(name) == FORMAT.delivery_time(name) == dt.datetime(2025, 6, 3, 12, tzinfo=dt.UTC)
    assert delivered(name.replace("0603", "1345")) is None
