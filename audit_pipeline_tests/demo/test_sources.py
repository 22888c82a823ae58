"""The other sources of the demo, read back by plain JSON and regular expressions and by the pipeline's own formats."""

from __future__ import annotations

import datetime as dt
import gzip
import ipaddress
import json
import re
from collections import Counter
from dataclasses import asdict
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from audit_pipeline import formats
from audit_pipeline.clock import DAY, UTC, midnight
from audit_pipeline.context.hours import holidays
from audit_pipeline.context.identities import identities
from audit_pipeline.context.releases import releases
from audit_pipeline.demo import application, config, sources
from audit_pipeline.demo.generate import Story
from audit_pipeline.demo.linux import account_of
from audit_pipeline.demo.plot import HOSTS, Plot
from audit_pipeline.demo.replay import _Stage
from audit_pipeline.noise.rules import load as load_noise
from audit_pipeline.reports.controls.catalogue import scopes
from audit_pipeline.settings import Settings
from audit_pipeline_tests.demo.conftest import digest
from audit_pipeline_tests.demo.test_generate import RESERVED

END = dt.date(2026, 11, 8)
DAYS = 35
"""From 5 October: the change of the clock is on 25 October."""
BERLIN = ZoneInfo("Europe/Berlin")
SYSLOG = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [a-z]+-\d\d (sshd|CRON|sudo|useradd|groupadd)(\[\d+\])?: .+")


class Made(NamedTuple):
    """A demo of all sources, and what was told about it."""

    root: Path
    plot: Plot
    whole: sources.Whole

    def story(self, kind: str, source: str | None = None) -> Story:
        (found,) = [one for one in self.whole.stories if one.kind == kind and source in (None, one.source)]
        return found

    def files(self, name: str) -> list[Path]:
        return sorted(path for path in (self.root / "logs" / name).rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Five weeks of few events."""
    root = tmp_path_factory.mktemp("wide")
    plot, whole = sources.make(root, days=DAYS, end=END, events=40_000)
    config.write_config(root, start=plot.start, plot=plot)
    return Made(root, plot, whole)


@lru_cache(maxsize=2_000)
def lines(file: Path) -> list[str]:
    return gzip.decompress(file.read_bytes()).decode("utf-8").splitlines()


def visible(file: Path) -> dt.datetime:
    return dt.datetime.fromtimestamp(file.stat().st_mtime, UTC)


def objects(made: Made, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for file in made.files(name) for line in lines(file)]


def is_day_off(made: Made, day: dt.date) -> bool:
    return day.weekday() >= 5 or day in made.plot.calendar.days_off


def test_truth_is_written_as_returned_and_every_source_has_its_share(made: Made) -> None:
    told = json.loads((made.root / "stories.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(asdict(made.whole)))
    assert sum(one["events"] for one in told["sources"].values()) == told["events"]
    for name, share in sources.SHARES.items():
        assert abs(told["sources"][name]["events"] / told["events"] - share) < 0.04, name
    assert {len(one["days"]) for one in told["sources"].values()} == {DAYS}


@pytest.mark.parametrize(
    ("source", "form"),
    [("kubernetes", "kubernetes_audit"), ("linux", "linux_auth"), ("app", "app_requests"), ("hoop", "hoop")],
)
def test_our_formats_reject_nothing_and_count_as_the_truth_does(made: Made, source: str, form: str) -> None:
    mapping = config.MAPPING if source == "app" else None
    reader = formats.open_format(form, zone="Europe/Berlin", mapping=mapping)
    records: Counter[str] = Counter()
    events: set[tuple[str, bytes]] = set()
    for at, file in enumerate(made.files(source)):
        split = reader.split(gzip.decompress(file.read_bytes()), True)
        assert split.damaged == []
        keys = reader.keys(split.records, visible(file))
        assert not any(keys.reason), (file, next(one for one in keys.detail if one))
        for key, time in zip(keys.key, keys.time_us, strict=True):
            assert time is not None
            day = dt.datetime.fromtimestamp(time / 1e6, UTC).date().isoformat()
            records[day] += 1
            events.add((day, key if source == "kubernetes" else key + b"%d" % at))
    days = made.whole.sources[source].days
    assert records == Counter({one.day: one.records for one in days})
    assert Counter(day for day, _ in events) == Counter({one.day: one.events for one in days})
    assert made.whole.sources[source].files == len(made.files(source))


def test_hosts_write_local_time_and_the_repeated_hour_twice(made: Made) -> None:
    change = dt.date(2026, 10, 25)
    assert made.plot.clock_changes == (change,)
    hours: Counter[int] = Counter()
    for host in HOSTS:
        file = made.root / f"logs/linux/{host}/auth.log-20261025.gz"
        assert visible(file) == dt.datetime(2026, 10, 25, 3, 30, tzinfo=BERLIN)
        stamps = [line[7:15] for line in lines(file) if line.startswith("Oct 25")]
        hours.update(int(stamp[:2]) for stamp in stamps)
        assert sum(after < before for before, after in pairwise(stamps)) <= 1, "at most one step back, by the clock"
    assert hours[2] > 1.5 * hours[1], "the hour from two to three is there twice"
    for file in made.files("linux"):
        assert all(SYSLOG.fullmatch(line) for line in lines(file)), file
        stamp = dt.datetime.strptime(file.name, "auth.log-%Y%m%d.gz").replace(hour=3, minute=30, tzinfo=BERLIN)
        late = made.story("late_delivery")
        held = file.parent.name == late.detail and file.name == f"auth.log-{dt.date.fromisoformat(late.day) + DAY:%Y%m%d}.gz"  # fmt: skip
        assert visible(file) == stamp.astimezone(UTC) + (2 * DAY if held else 0 * DAY)


def test_late_file_holds_what_the_story_says(made: Made) -> None:
    late = made.story("late_delivery")
    day = dt.date.fromisoformat(late.day)
    file = made.root / f"logs/linux/{late.detail}/auth.log-{day + DAY:%Y%m%d}.gz"
    assert len(lines(file)) == late.n > 0
    assert visible(file) > midnight(day) + 2 * DAY + dt.timedelta(hours=3), "two nights do not see it"
    told = {one.day: one.late for one in made.whole.sources["linux"].days if one.late}
    assert sum(told.values()) == late.n
    assert set(told) == {late.day, (day + DAY).isoformat()}


def test_every_other_night_sees_the_whole_day(made: Made) -> None:
    for name in ("kubernetes", "app"):
        for file in made.files(name):
            stamps = [
                json.loads(line).get("requestReceivedTimestamp") or json.loads(line)["ts"] for line in lines(file)
            ]
            first = min(dt.datetime.fromisoformat(stamp) for stamp in stamps)
            assert visible(file) <= midnight(first.date()) + DAY + dt.timedelta(hours=3), file
            assert visible(file) > max(dt.datetime.fromisoformat(stamp) for stamp in stamps)


def test_stages_of_a_request_agree(made: Made) -> None:
    requests: dict[str, list[dict[str, Any]]] = {}
    for event in objects(made, "kubernetes"):
        assert event["apiVersion"] == "audit.k8s.io/v1"
        assert event["stageTimestamp"] >= event["requestReceivedTimestamp"]
        requests.setdefault(event["auditID"], []).append(event)
    stages = Counter(tuple(sorted(one["stage"] for one in several)) for several in requests.values())
    assert set(stages) == {("ResponseComplete",), ("RequestReceived", "ResponseComplete"), ("ResponseComplete", "ResponseStarted")}  # fmt: skip
    for several in requests.values():
        assert len({one["requestReceivedTimestamp"] for one in several}) == 1
        done = next(one for one in several if one["stage"] == "ResponseComplete")
        code, decision = done["responseStatus"]["code"], done["annotations"]["authorization.k8s.io/decision"]
        assert (code == 403) == (decision == "forbid")
    assert len(requests) == made.whole.sources["kubernetes"].events


def test_people_rest_and_probes_do_not(made: Made) -> None:
    by_day: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    probes: Counter[str] = Counter()
    for event in objects(made, "kubernetes"):
        day = event["requestReceivedTimestamp"][:10]
        if event["userAgent"].startswith("kubectl/"):
            by_day[is_day_off(made, dt.date.fromisoformat(day))][day] += 1
        elif event["userAgent"].startswith("kube-probe/"):
            probes[day] += 1
    resting, working = (sum(by_day[off].values()) / sum(is_day_off(made, made.plot.start + n * DAY) == off for n in range(DAYS)) for off in (True, False))  # fmt: skip
    assert resting < working / 3
    assert len(probes) == DAYS
    assert sum(probes.values()) > 0.25 * made.whole.sources["kubernetes"].events, "noisy health checks"
    (holiday,) = [one.day for one in made.whole.stories if one.kind == "holiday"]
    assert dt.date.fromisoformat(holiday).weekday() < 5
    assert by_day[True][holiday] < working / 3


def test_nobody_works_before_they_are_hired(made: Made) -> None:
    hire = made.plot.new_hire
    assert hire is not None
    first = made.plot.calendar.hired[hire.account].isoformat()
    seen = [event["requestReceivedTimestamp"][:10] for event in objects(made, "kubernetes") if event["user"]["username"] == hire.account]  # fmt: skip
    cloud = [record["eventTime"][:10] for file in made.files("AWSLogs") for record in json.loads(gzip.decompress(file.read_bytes()))["Records"] if hire.account in json.dumps(record)]  # fmt: skip
    assert [*seen, *cloud]
    assert min([*seen, *cloud]) >= first
    name = account_of(hire)
    added = [file.parent.name for file in made.files("linux") for line in lines(file) if f"new user: name={name}," in line]  # fmt: skip
    assert sorted(added) == list(HOSTS)
    listed = [row for row in identities(_settings(made)).to_pylist() if row["account"] == hire.account]  # type: ignore[union-attr]
    assert {row["from"].date().isoformat() for row in listed} == {first}


def test_the_bad_night_and_the_load_test_are_in_the_logs(made: Made) -> None:
    outage, load = made.story("outage"), made.story("load_test")
    shop = objects(made, "app")
    turns = [one for one in shop if one["event"] in ("down", "up") and one["service"] == "payments" and one["ts"][:10] == outage.day]  # fmt: skip
    assert [(one["event"], one["ts"][:19] + "Z") for one in turns][-2:] == [("down", outage.start), ("up", outage.end)]
    during = [one["status"] for one in shop if one["service"] == "payments" and one["event"] == "request" and outage.start <= one["ts"] < outage.end]  # fmt: skip
    assert len(during) > 10
    assert set(during) == {503}
    tested = [one for one in shop if one.get("user") == "loadtest"]
    assert len(tested) == load.n
    assert {load.start <= one["ts"] < load.end for one in tested} == {True}
    execs = [event for event in objects(made, "kubernetes") if event["stage"] == "ResponseComplete" and event["user"]["username"] == outage.actor and event["requestReceivedTimestamp"][:13] == f"{outage.day}T01"]  # fmt: skip
    assert [event["objectRef"]["subresource"] for event in execs] == ["exec"] * made.story("on_call_night", "kubernetes").n  # fmt: skip


def test_the_shop_tells_of_each_release(made: Made) -> None:
    told = [(one["ts"][:19] + "Z", f"{one['service']} {one['version']}") for one in objects(made, "app") if one["event"] == "deploy"]  # fmt: skip
    assert sorted(told) == [(one.start, one.detail) for one in made.whole.stories if one.kind == "release"]
    assert len(told) == 5, "one a week"
    assert releases(_settings(made)).num_rows == 5


def test_errors_have_a_message_and_a_stack(made: Made) -> None:
    broken = [one for one in objects(made, "app") if one["event"] == "error"]
    assert broken
    assert all("\n" in one["stack"] and one["message"] and one["level"] == "error" for one in broken)
    failing = {one["request_id"] for one in objects(made, "app") if one["event"] == "request" and one["status"] == 500}
    assert {one["request_id"] for one in broken} == failing


def test_no_account_is_tried_often_enough_to_be_a_burst(made: Made) -> None:
    tried: Counter[tuple[str, str]] = Counter()
    for file in made.files("linux"):
        for line in lines(file):
            match = re.search(r"Failed password for (?:invalid user )?(\S+) from", line)
            if match:
                tried[match[1], line[:11]] += 3 if "message repeated" in line else 1
    assert tried
    assert max(tried.values()) < 10, "in one hour of all hosts together"


def test_addresses_are_reserved_for_examples(made: Made) -> None:
    found = {address for event in objects(made, "kubernetes") for address in event["sourceIPs"]}
    found |= {one["client"] for one in objects(made, "app") if "client" in one}
    found |= {one["client_ip"] for one in objects(made, "hoop") if "client_ip" in one}
    found |= {match[1] for file in made.files("linux") for line in lines(file) if (match := re.search(r"(?:from|user \S+) ([0-9a-f:.]+) port", line))}  # fmt: skip
    assert len(found) > 100
    assert all(any(ipaddress.ip_address(one) in net for net in RESERVED) for one in found)


def test_what_the_configuration_names_is_there_and_right(made: Made) -> None:
    settings = _settings(made)
    assert list(settings.sources) == ["cloudtrail", "kubernetes", "linux", "app", "hoop"]
    assert all(list(made.root.glob(pattern)) for one in settings.sources.values() for pattern in one.paths)
    assert len(settings.teams) == 3
    rules, errors = load_noise(settings)
    assert ([rule.rule.id for rule in rules], errors) == (["health_checks", "penetration_test"], [])
    assert set(scopes(settings)) == {"iso27001", "nist_au", "pci_dss", "soc2"}
    assert [day.isoformat() for day, _ in holidays(settings)] == [one.day for one in made.whole.stories if one.kind == "holiday"]  # fmt: skip
    inventory = identities(settings)
    assert inventory is not None
    listed = {(row["source"], row["account"]) for row in inventory.to_pylist()}
    users = {("kubernetes", event["user"]["username"]) for event in objects(made, "kubernetes")}
    users |= {("hoop", one.get("user") or one["actor_email"]) for one in objects(made, "hoop")}
    assert users <= listed
    assert all(name.isascii() for source, name in listed if source == "linux")


def _settings(made: Made) -> Settings:
    return Settings.load(made.root / "pipeline.yaml")


def test_same_seed_same_bytes_and_times(made: Made, tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        sources.make(tmp_path / name, days=8, end=END, events=6_000, seed=seed)
    first, second, other = (tmp_path / name for name in "abc")
    assert digest(first) == digest(second) != digest(other)
    assert [(file.name, visible(file)) for file in sorted((first / "logs/linux").rglob("*.gz"))] == [(file.name, visible(file)) for file in sorted((second / "logs/linux").rglob("*.gz"))]  # fmt: skip


def test_without_stories_nothing_bad_happens(tmp_path: Path) -> None:
    plot, whole = sources.make(tmp_path, days=30, end=END, events=9_000, stories=False)
    assert {one.kind for one in whole.stories} <= {"release", "clock_change", "holiday"}
    assert (plot.late, plot.vanished, plot.on_call, plot.load_test, plot.new_hire) == (None, (), None, None, None)


def test_the_path_is_away_in_the_storys_nights_only(made: Made, tmp_path: Path) -> None:
    config.write_config(tmp_path, start=made.plot.start, plot=made.plot)
    path = tmp_path / "logs" / "kubernetes"
    path.mkdir(parents=True)
    stage = _Stage(Settings.load(tmp_path / "pipeline.yaml"), made.plot)
    away = []
    for n in range(DAYS):
        stage.set(made.plot.start + n * DAY)
        if not path.exists():
            away.append(made.plot.start + n * DAY)
    assert tuple(away) == made.plot.vanished
    assert len(away) == 3
    assert made.story("path_vanished").day == away[0].isoformat()


def test_health_checks_are_a_third_of_the_shops_lines(made: Made) -> None:
    shop = objects(made, "app")
    share = sum(one.get("route") == "/healthz" for one in shop) / len(shop)
    assert abs(share - application.HEALTH_SHARE) < 0.08


def test_the_shops_mapping_is_the_example() -> None:
    example = Path(__file__).parents[2] / "examples" / "formats" / config.MAPPING.name
    assert config.MAPPING.read_bytes() == example.read_bytes()
