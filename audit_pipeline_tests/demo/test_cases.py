"""The demo's stories: drawn from the seed, truly in the logs, told in `truth.json`, and none where none was asked for."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

from audit_pipeline.clock import DAY
from audit_pipeline.context.identities import identities
from audit_pipeline.demo import cases, config, plot, sources, truth
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.planted import Call, Case, Errors, HostLine, Kubectl, SignIn, Silence
from audit_pipeline.noise.rules import load as load_noise
from audit_pipeline.settings import Settings
from audit_pipeline_tests.demo.conftest import digest

END = dt.date(2026, 11, 23)
DAYS = 60
STORIES = {
    "guessing_that_succeeds", "privilege_escalation", "insider_at_night", "recurring_error_of_a_release", "fix_that_works", "fix_without_effect",
    "fix_nobody_can_judge", "accepted_risk_that_expires", "harmful_release", "logging_off", "logging_off_on_a_host", "signin_burst",
}  # fmt: skip
WEAK = {"guessing_that_looks_like_mistyping", "slow_reader", "rare_error"}
DECOYS = {"on_call_night", "penetration_test", "quarter_end", "new_hire", "load_test", "campaign_that_ends_by_itself"}


class Made(NamedTuple):
    root: Path
    plot: plot.Plot

    def case(self, kind: str) -> Case:
        (found,) = [one for one in self.plot.cases.all if one.kind == kind]
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Sixty days of few events."""
    root = tmp_path_factory.mktemp("cases")
    return Made(root, sources.make(root, days=DAYS, end=END, events=20_000)[0])


@lru_cache(maxsize=20)
def lines(root: Path, pattern: str) -> list[str]:
    files = sorted((root / "logs").glob(pattern))
    assert files
    return [line for file in files for line in gzip.decompress(file.read_bytes()).decode().splitlines()]


@lru_cache(maxsize=2)
def trail(root: Path) -> list[dict[str, object]]:
    return [record for line in lines(root, "AWSLogs/**/*.gz") for record in json.loads(line)["Records"]]


def drawn(seed: int, days: int = DAYS, *, stories: bool = True) -> plot.Plot:
    company, start = Company.make(seed), END - (days - 1) * DAY
    return cases.make(company, plot.make(company, start, days, seed, stories=stories), seed, 18_000, set())


def test_every_story_and_decoy_is_told_once(made: Made) -> None:
    told = truth.read(made.root)
    assert sorted(one.kind for one in told) == sorted(STORIES | WEAK | DECOYS)
    assert {one.kind for one in told if one.decoy} == DECOYS
    assert all(one.detectable == (one.kind in STORIES) or one.kind == "harmful_release" for one in told)
    assert all(one.why for one in told if one.decoy or not one.detectable)
    assert {one.verdict for one in told} == {None, "verified", "ineffective", "inconclusive", "not_verified"}


def test_calls_and_sign_ins_of_the_truth_are_records_of_the_trail(made: Made) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for record in trail(made.root):
        key = (record["eventTime"], record["eventName"], record["sourceIPAddress"], "errorCode" in record or "errorMessage" in record)  # fmt: skip
        seen[key] = seen.get(key, 0) + 1
    planted = [one for case in made.plot.cases.all for one in case.planted if isinstance(one, Call | SignIn)]
    assert len(planted) > 300
    for one in planted:
        name = one.operation.name if isinstance(one, Call) else "ConsoleLogin"
        failed = one.refused if isinstance(one, Call) else one.outcome != "success"
        assert (f"{one.at:%Y-%m-%dT%H:%M:%SZ}", name, one.address, failed) in seen, one


def test_nothing_is_logged_while_the_trail_is_stopped(made: Made) -> None:
    case = made.case("logging_off")
    first, last = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (case.first, case.last))
    during = [str(record["eventName"]) for record in trail(made.root) if first <= str(record["eventTime"]) <= last]
    assert sorted(during) == ["StartLogging", "StopLogging"]


def test_a_host_whose_log_is_off_is_silent_and_others_are_not(made: Made) -> None:
    (silence,) = [one for one in made.case("logging_off_on_a_host").planted if isinstance(one, Silence)]
    whole = [silence.first.date() + n * DAY for n in range(1, 7)]
    stamps = {f"{day:%b} {day.day:2d}" for day in whole}
    assert not [line for line in lines(made.root, f"linux/{silence.host}/*.gz") if line[:6] in stamps]
    assert {line[:6] for line in lines(made.root, "linux/bastion-01/*.gz")} >= stamps
    texts = lines(made.root, f"linux/{silence.host}/*.gz")
    for host in (one for one in made.case("fix_nobody_can_judge").planted if isinstance(one, HostLine)):
        assert any(line.endswith(f"{host.host} {host.text}") for line in texts)


def test_the_fix_that_works_takes_away_more_than_was_promised_and_the_other_nothing(made: Made) -> None:
    shop = [json.loads(line) for line in lines(made.root, "app/*.gz")]

    def a_day(kind: str) -> tuple[float, float]:
        case = made.case(kind)
        assert case.fix is not None
        (errors,) = [one for one in case.planted if isinstance(one, Errors)]
        head = errors.message.split("{n}")[0]
        days = [one["ts"][:10] for one in shop if one["event"] == "error" and one["message"].startswith(head) and one["service"] == errors.service]  # fmt: skip
        fixed, first = case.fix.day.isoformat(), case.first.date()
        before, after = sum(day < fixed for day in days), sum(day >= fixed for day in days)
        return before / (case.fix.day - first).days, after / (END - case.fix.day).days

    before, after = a_day("fix_that_works")
    assert after / before < 0.5
    before, after = a_day("fix_without_effect")
    assert after / before > 0.75
    fix, other = made.case("fix_that_works").fix, made.case("fix_without_effect").fix
    assert fix
    assert other
    assert (fix.day, fix.decision_date) == (other.day, other.decision_date)
    before, after = a_day("campaign_that_ends_by_itself")
    assert before > 5
    assert after == 0


def test_an_error_begins_with_its_release_and_ends_with_the_next(made: Made) -> None:
    case = made.case("recurring_error_of_a_release")
    (errors,) = [one for one in case.planted if isinstance(one, Errors)]
    out = [one for one in made.plot.releases if one.service == errors.service and (one.day, one.second) <= (errors.first.date(), 86_400)]  # fmt: skip
    assert case.why == f"since {out[-1].service} {out[-1].version}"
    told = [json.loads(line) for line in lines(made.root, "app/*.gz") if errors.message.split("{n}")[0] in line]
    assert told
    assert all(f"{errors.first:%Y-%m-%dT%H:%M}" <= one["ts"] < f"{errors.last:%Y-%m-%dT%H:%M}" for one in told)
    assert {one["version"] for one in told} <= {one.version for one in made.plot.releases if one.service == errors.service}  # fmt: skip


def test_stories_move_with_the_seed() -> None:
    plots = [drawn(seed) for seed in range(1, 13)]
    moved = {kind: {(case.first - dt.datetime.combine(one.start, dt.time(), dt.UTC), case.actors, case.services) for one in plots for case in one.cases.all if case.kind == kind} for kind in (STORIES | DECOYS) - {"signin_burst"}}  # fmt: skip
    assert all(len(found) > 4 for kind, found in moved.items() if kind != "quarter_end"), {k: len(v) for k, v in moved.items()}  # fmt: skip
    ways = {type(case.planted[-1]) for one in plots for case in one.cases.all if case.kind == "privilege_escalation"}
    assert ways == {Call, Kubectl}, "in the cloud and in the cluster"
    strength = {sum(isinstance(one, SignIn) for one in case.planted) for one in plots for case in one.cases.all if case.kind == "guessing_that_succeeds"}  # fmt: skip
    assert len(strength) > 5


def test_same_seed_same_bytes(made: Made, tmp_path: Path) -> None:
    assert drawn(7) == drawn(7)
    for name in "ab":
        sources.make(tmp_path / name, days=30, end=END, events=4_000)
    assert (tmp_path / "a" / "truth.json").read_bytes() == (tmp_path / "b" / "truth.json").read_bytes()
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_without_stories_nothing_is_planted(tmp_path: Path) -> None:
    assert drawn(7, stories=False).cases.all == ()
    sources.make(tmp_path, days=30, end=END, events=4_000, stories=False)
    assert truth.read(tmp_path) == []


@pytest.mark.parametrize("days", [14, 30, 45, 90])
def test_other_lengths_have_what_they_have_room_for(days: int) -> None:
    kinds = {case.kind for case in drawn(7, days).cases.all}
    assert ("fix_that_works" in kinds) == (days >= 56)
    assert ("guessing_that_succeeds" in kinds) == (days >= 28)


def test_the_test_is_announced_for_its_day_and_its_account_is_known(made: Made) -> None:
    config.write_config(made.root, start=made.plot.start, plot=made.plot)
    settings = Settings.load(made.root / "pipeline.yaml")
    noise, errors = load_noise(settings)
    (rule,) = [one.rule for one in noise if one.rule.id == "penetration_test"]
    day = made.case("penetration_test").first.date()
    assert (errors, rule.created, rule.expires) == ([], day, day + DAY)
    listed = identities(settings)
    assert listed is not None
    assert "pentest" in listed["account"].to_pylist()
