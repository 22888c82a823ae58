"""Kubernetes, Linux and mapped logs through the lake: stages over several files, years by the file's time, mended settings."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_pipeline.settings import Settings
from audit_pipeline.sources.collect import format_of
from audit_pipeline_tests.sources.world import HOUR, NOON, SOURCE, World


class _Logs(World):
    """A world of another format, as a configuration says it."""

    def configure(self, **source: Any) -> None:
        fields = {"type": "files", "paths": [self.glob]} | source
        text = json.dumps({"start": "2025-01-01", "lake": self.lake_url, "sources": {SOURCE: fields}})
        self.settings = Settings.from_text(text, self.root / "pipeline.yaml")
        self.form = format_of(self.settings, SOURCE)


def _logs(root: Path, **source: Any) -> _Logs:
    world = _Logs(root)
    world.configure(**source)
    return world


def _stage(n: int, stage: str, **fields: Any) -> bytes:
    at = f"2025-06-02T23:59:{n:02}.000000Z"
    done = "2025-06-03T00:00:01.000000Z" if stage != "RequestReceived" else at
    event = {"kind": "Event", "auditID": f"a-{n}", "stage": stage, "verb": "create", "requestReceivedTimestamp": at, "stageTimestamp": done}  # fmt: skip
    return (
        json.dumps(event | {"user": {"username": "ann"}, "objectRef": {"resource": "pods"}} | fields).encode() + b"\n"
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_stages_over_several_files_and_nights_are_one_event(tmp_path: Path, order: tuple[int, ...]) -> None:
    files = [
        b"".join(_stage(n, "RequestReceived") for n in range(5)),
        b"".join(_stage(n, "ResponseStarted", responseStatus={"code": 200}) for n in range(5)),
        b"".join(_stage(n, "ResponseComplete", responseStatus={"code": 201}) for n in range(4)),
    ]
    world = _logs(tmp_path, format="kubernetes_audit")
    for night, number in enumerate(order):  # file times against the order of the stages: the stage decides
        world.put(f"audit-{number}.log", files[number], NOON + (14 - number) * HOUR)
        world.night(NOON + (15 + night) * HOUR)
    rows = world.rows("SELECT metadata_uid, metadata_event_code, http_response_code, day, x_records, x_duplicates FROM events ORDER BY 1")  # fmt: skip
    day = dt.date(2025, 6, 2)
    want: list[tuple[Any, ...]] = [(f"a-{n}", "ResponseComplete", 201, day, 3, 0) for n in range(4)]
    assert rows == [*want, ("a-4", "ResponseStarted", 200, day, 2, 0)]
    assert world.account() == (14, 0, 14)
    before = world.content_hash()
    world.put("again.log", b"".join(files), NOON + 20 * HOUR)
    world.night(NOON + 21 * HOUR)
    assert world.content_hash() == before
    assert world.account() == (28, 0, 28)


_LINE = "Jun  2 10:00:{:02} web1 sshd[7]: Failed password for root from 192.0.2.1 port 22 ssh2\n"


def test_lines_have_the_year_of_their_file_and_equal_ones_are_counted(tmp_path: Path) -> None:
    world = _logs(tmp_path, format="linux_auth")
    text = _LINE.format(1) + _LINE.format(2) + _LINE.format(2)
    world.put("auth.log", text.encode())
    world.night()
    assert world.rows("SELECT time::VARCHAR, x_duplicates FROM events ORDER BY time") == [
        ("2025-06-02 10:00:01+00", 0),
        ("2025-06-02 10:00:02+00", 0),
        ("2025-06-02 10:00:02+00", 0),
    ]
    before = world.content_hash()
    world.put("auth.log.1", text.encode())  # rotated: the same lines under another name
    world.night(NOON + 2 * HOUR)
    assert world.content_hash() == before
    assert world.account() == (6, 0, 6)


def test_a_mended_zone_brings_events_to_their_true_day(tmp_path: Path) -> None:
    world = _logs(tmp_path, format="linux_auth")
    world.put("auth.log", b"Jun  2 01:30:00 web1 sshd[7]: Invalid user x from 192.0.2.1 port 22\nno stamp\n")
    world.night()
    assert world.rows("SELECT day::VARCHAR FROM events") == [("2025-06-02",)]
    assert world.rows("SELECT reason, raw FROM rejects") == [("no_time", "no stamp")]
    world.configure(format="linux_auth", zone="Europe/Berlin")
    world.build(dt.date(2025, 6, 1), dt.date(2025, 6, 2))
    assert world.rows("SELECT day::VARCHAR, time::VARCHAR FROM events") == [("2025-06-01", "2025-06-01 23:30:00+00")]


def test_a_changed_mapping_computes_the_day_anew(tmp_path: Path) -> None:
    mapping: dict[str, Any] = {"name": "shop", "time": {"path": "t"}, "columns": {"user_name": {"path": "u"}}}
    (tmp_path / "formats").mkdir()
    file = tmp_path / "formats" / "shop.yaml"
    file.write_text(yaml.safe_dump(mapping))
    world = _logs(tmp_path, format="shop")
    world.put("shop.log", b'{"t": "2025-06-02T10:00:00Z", "u": "ann", "v": "bob"}\n')
    world.night()
    assert world.rows("SELECT user_name, x_format FROM events") == [("ann", "shop/1")]
    mapping["columns"]["user_name"]["path"] = "v"
    file.write_text(yaml.safe_dump(mapping | {"version": 2}))
    world.configure(format="shop")
    world.build()
    assert world.rows("SELECT user_name, x_format FROM events") == [("bob", "shop/2")]
