"""Detection on labelled logs that other people made: what share is found, the rank of its findings, and how many there are a day.

Run: `python -m benchmarks.labelled DATA` (the folder that holds `cloudtrail_sans504`, `labelled_stratus` …). Writes its section of
`docs/measurements.md`. Belongs here: reading the labels, running the boxes (collect → index → events → completeness → detect) over a temporary
lake, the table. Not here: rules. Nothing is tuned here; the labels are read after the run.

An event is found where a detection of its day holds it (`refs`, by the source's id of the event); false is a detection that holds no
event whose label says attack, in a set that has labels for all of its events.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from audit_pipeline.anomaly.features import actor_days
from audit_pipeline.clock import UTC
from audit_pipeline.detections.run import detect
from audit_pipeline.detections.sigma import LEVELS
from audit_pipeline.findings.risk import severity_of
from audit_pipeline.findings.view import findings_table
from audit_pipeline.formats import indexing, unify
from audit_pipeline.lake.store import Lake
from audit_pipeline.quality.completeness import assess
from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import collect, format_of
from audit_pipeline.state import open_state
from benchmarks.tables import write_section

Event = dict[str, Any]
Shares = dict[bool, tuple[int, int, int]]
"""Attacks and harmless cases: found, found at medium or above, all of them."""
_NOON = "2024-01-01T12:00:00.000000Z"
"""of events that say no time"""


@dataclass
class Found:
    """What the boxes found in a set of logs."""

    detections: list[dict[str, Any]] = field(default_factory=list)
    days: int = 0
    seconds: float = 0.0

    @property
    def levels(self) -> dict[str, str]:
        """The worst level of the detections that hold an event, by the event's id."""
        held = [(LEVELS.index(one["level"]), ref["uid"]) for one in self.detections for ref in one["refs"]]
        return {uid: LEVELS[level] for level, uid in sorted(held)}

    def uids_of(self, finding: dict[str, Any]) -> set[str]:
        """The same of the detections of one finding."""
        key = finding["rule_id"], finding["group_key"]
        return {
            ref["uid"] for one in self.detections if (one["rule_id"], one["group_key"]) == key for ref in one["refs"]
        }


def run(root: Path, kind: str, days: Iterable[dt.date]) -> Found:
    """All days of the logs in `root/logs`, in order, without Dagster."""
    found = Found()
    listed = sorted(days)
    config = {
        "start": listed[0],
        "clock": "simulated",
        "sources": {"log": {"type": "files", "format": kind, "paths": ["logs/**/*.json*"], "team": "cloud"}},
        "teams": {"cloud": {"owns": ["source:log"]}},
    }
    (root / "pipeline.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    settings = Settings.load(root / "pipeline.yaml")
    lake = Lake.open(settings.lake_url)
    began = time.perf_counter()
    with lake.lock():
        collect(settings, lake, "log", listed[-1], settings.clock_for(listed[-1]))
        indexing.ensure(lake, "log", format_of(settings, "log"))
        for day in listed:
            unify.build(lake, "log", format_of(settings, "log"), day)
            assess(settings, lake, day)
            actor_days(settings, lake, day)  # the risk of a finding asks whether its actor did privileged acts
            found.detections += detect(settings, lake, day).to_pylist()
    found.days, found.seconds = len(listed), time.perf_counter() - began
    return found


def apart(kind: str, events: Mapping[str, list[Event]], stamp: str) -> dict[str, list[dict[str, Any]]]:
    """Detections of each labelled case alone, by its name: every case has a day of its own, so that none helps another."""
    first = dt.date(2024, 1, 1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        day_of: dict[dt.date, str] = {}
        for number, (case, records) in enumerate(sorted(events.items())):
            day = first + dt.timedelta(days=number)
            day_of[day] = case
            write(root / "logs" / f"{number:04}.json", kind, [moved(record, day, stamp) for record in records], day)
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in run(root, kind, day_of).detections:
            found[day_of[one["day"]]].append(one)
        return found


def moved(record: Event, day: dt.date, stamp: str) -> Event:
    """The record on another day, at the same time of day."""
    text = str(record[stamp])
    keys = [stamp, *(["requestReceivedTimestamp"] if "requestReceivedTimestamp" in record else [])]
    at = text[11:].rstrip("Z") or "12:00:00"
    return {**record, **dict.fromkeys(keys, f"{day.isoformat()}T{at}Z")}


def write(file: Path, kind: str, records: list[Event], day: dt.date) -> None:
    """A file as the vendor writes it, delivered on its day."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = (
        json.dumps({"Records": records})
        if kind == "cloudtrail"
        else "\n".join(json.dumps(one) for one in records) + "\n"
    )
    file.write_text(text, encoding="utf-8")
    at = dt.datetime.combine(day, dt.time(23, 50), UTC).timestamp()
    os.utime(file, (at, at))


def account(data: Path) -> tuple[str, list[str]]:
    """The account under attack: its findings in the order in which people read them, and where the labelled events are."""
    labels = {row["eventID"]: row["label"] for row in csv.DictReader((data / "cloudtrail_sans504/labels_inferred.csv").open(encoding="utf-8"))}  # fmt: skip
    days = [dt.date(2021, 7, 28) + dt.timedelta(days=n) for n in range(6)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "logs").symlink_to(data / "cloudtrail_sans504")
        found = run(root, "cloudtrail", days)
        ranked = findings(root, days[-1])
    attack = {uid for uid, label in labels.items() if "attack" in label}
    held = [sorted(attack & found.uids_of(one)) for one in ranked]
    rows = [
        f"| {rank} | {one['detected_at']:%m-%d} | {one['severity']} | {one['risk']:.0f} ({one['risk_terms']}) | {one['n']} | {len(uids)} | {_cell(one['title'])} |"
        for rank, (one, uids) in enumerate(zip(ranked, held, strict=True), 1)
    ]
    first = {uid: rank for rank, uids in reversed(list(enumerate(held, 1))) for uid in uids}
    ranks = Counter(first.values())
    told = "; ".join(f"rank {rank}: {ranks[rank]}" for rank in sorted(ranks))
    text = (
        f"{len(ranked)} findings in {found.days} days ({len(ranked) / found.days:.1f} new a day, from {len(found.detections)} detections). "
        f"{len(first)} of {len(attack)} labelled events are references of a finding, by their best one ({told}); {found.seconds:.1f} s"
    )
    return text, rows


def findings(root: Path, until: dt.date) -> list[dict[str, Any]]:
    """The findings of a lake that `run` made, as people see them: grouped by cause over the days, the most urgent first."""
    settings = Settings.load(root / "pipeline.yaml")
    engine = open_state(settings.state_url_resolved)
    try:
        found: list[dict[str, Any]] = findings_table(settings, Lake.open(settings.lake_url), engine, until).to_pylist()
        return found
    finally:
        engine.dispose()


def stratus(data: Path) -> tuple[Shares, list[str]]:
    """Attack techniques, one file each."""
    events = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((data / "labelled_stratus").glob("*.json"))}  # fmt: skip
    levels = _worst(apart("cloudtrail", events, "eventTime"))
    return shares(dict.fromkeys(events, True), levels), [case for case in events if case not in levels]


def panther(data: Path, kind: str = "cloudtrail") -> tuple[Shares, list[str]]:
    """Unit-test events of rules of one format: found of those that a rule expects and of those that it does not; the rules that were missed."""
    file, stamp, uid = {
        "cloudtrail": ("AWS.CloudTrail", "eventTime", "eventID"),
        "kubernetes_audit": ("Amazon.EKS.Audit", "stageTimestamp", "auditID"),
    }[kind]
    lines = (data / f"labelled_panther/{file}.jsonl").read_text(encoding="utf-8").splitlines()
    usable = {}
    for n, line in enumerate(lines):
        one = json.loads(line)
        event = one["event"] if kind == "cloudtrail" else {stamp: _NOON, **one["event"]}
        if event.get(stamp) and (
            kind == "cloudtrail" or event.get("kind") == "Event"
        ):  # those of other vendors have no kind
            usable[f"{n:04} {one['rule']}: {one['name']}"] = (one["rule"], one["expected"], event)
    day = dt.date(2024, 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        records = [moved({**event, uid: name}, day, stamp) for name, (_, _, event) in usable.items()]
        write(root / "logs/all.json", kind, records, day)
        found = run(root, kind, [day]).levels
    return shares({name: expected for name, (_, expected, _) in usable.items()}, found), sorted(
        {rule for name, (rule, expected, _) in usable.items() if expected and name not in found}
    )


def shares(expected: Mapping[str, bool], levels: Mapping[str, str]) -> Shares:
    """Of the cases that are attacks, and of those that are not: how many were found, how many at medium or above, how many there are."""
    found: Shares = {}
    for kind in (True, False):
        cases = [name for name, said in expected.items() if said is kind]
        told = [LEVELS.index(levels[name]) for name in cases if name in levels]
        found[kind] = len(told), sum(level >= LEVELS.index("medium") for level in told), len(cases)
    return found


def _worst(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """The worst level of each case's detections."""
    return {name: severity_of(ones) for name, ones in found.items() if ones}


def falco(data: Path) -> tuple[Shares, list[str]]:
    """One Kubernetes audit event a file; an event is an attack where one of the project's own tests wants it detected."""
    folder = data / "labelled_falco_k8s"
    tests = yaml.load(
        (folder / "falco_k8s_audit_tests.yaml").read_text(encoding="utf-8").replace("!mux", ""), yaml.SafeLoader
    )
    wanted: dict[str, bool] = defaultdict(bool)
    for one in (tests.get("trace_files") or {}).values():
        file = str(one.get("addl_cmdline_opts", "")).rsplit("/", 1)[-1]
        wanted[file] |= bool(one.get("detect"))
    events = {file.name: list(_objects(file)) for file in sorted(folder.glob("*.json"))}
    found = apart("kubernetes_audit", events, "stageTimestamp")
    levels = _worst(found)
    return shares({name: wanted[name] for name in events}, levels), [
        name for name in events if wanted[name] and name not in levels
    ]


def _objects(file: Path) -> Iterator[Event]:
    text, at, decoder = file.read_text(encoding="utf-8").strip(), 0, json.JSONDecoder()
    while at < len(text):
        record, end = decoder.raw_decode(text, at)
        yield {"stageTimestamp": _NOON, **record}
        at = end + len(text[end:]) - len(text[end:].lstrip())


def _told(share: tuple[int, int, int]) -> str:
    found, medium, every = share
    return f"{found} of {every} ({medium})" if every else "-"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def report(data: Path) -> str:
    """The section, as Markdown."""
    said, rows = account(data)
    sets = {
        "attack techniques in CloudTrail (Stratus)": stratus(data),
        "unit tests of rules for CloudTrail (Panther; missed: rules)": panther(data),
        "unit tests of rules for Kubernetes audit (Panther, EKS; missed: rules)": panther(data, "kubernetes_audit"),
        "Kubernetes audit (Falco)": falco(data),
    }
    return "\n".join(
        [
            "## Detection on labelled logs",
            "",
            "`python -m benchmarks.labelled DATA`. Cases of Stratus and Falco have a day of their own each, those of Panther one day together (found: named by a detection); there is no history, so rules that compare with days before cannot fire. In brackets: found at medium or above; low and informational rules keep one standing finding an account or cluster. What is harmless to the rule of a unit test may be what another rule looks for.",
            "",
            "| set | found | detected though labelled harmless | missed |",
            "|---|---|---|---|",
            *(
                f"| {name} | {_told(counts[True])} | {_told(counts[False])} | {_cell(', '.join(missed)) or '-'} |"
                for name, (counts, missed) in sets.items()
            ),
            "",
            f"The account under attack (SANS 504): {said}.",
            "",
            "| rank | first detected | severity | risk | events | labelled events among its references | finding |",
            "|---|---|---|---|---|---|---|",
            *rows[:25],
        ]
    )


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    text = report(parser.parse_args().data)
    print(text)
    write_section("labelled", text)


if __name__ == "__main__":
    main()
