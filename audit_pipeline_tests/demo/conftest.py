"""One full demo for all tests and two thin ones, read back as a stranger would: by file name and JSON, with none of our readers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gc
import gzip
import hashlib
import re
from collections import Counter
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audit_pipeline.demo.generate import Truth, generate

END = dt.date(2026, 11, 23)
NAME = re.compile(
    r"AWSLogs/123456789012/CloudTrail/(?P<region>[a-z]+-[a-z]+-\d)/(?P<y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)/"
    r"123456789012_CloudTrail_(?P=region)_(?P<stamp>(?P=y)(?P=m)(?P=d)T\d{4}Z)_(?P<random>[A-Za-z0-9]{16})\.json\.gz"
)


@dataclasses.dataclass(slots=True, frozen=True)
class Delivered:
    """One record where it was found; `text` stands for its bytes."""

    event_id: str
    time: dt.datetime
    delivered: dt.datetime
    region: str
    text: bytes
    operation: str
    kind: str
    user: str | None
    address: str
    failed: bool

    @property
    def failed_sign_in(self) -> bool:
        return self.operation == "ConsoleLogin" and self.failed


@dataclasses.dataclass
class Demo:
    """A generated demo and what its files hold, in the order of their names."""

    root: Path
    truth: Truth
    files: int
    deliveries: list[Delivered]

    @cached_property
    def unique(self) -> dict[str, Delivered]:
        """The first delivery of each event."""
        found: dict[str, Delivered] = {}
        for one in sorted(self.deliveries, key=lambda one: one.delivered):
            found.setdefault(one.event_id, one)
        return found


@lru_cache(1 << 20)
def _time(text: str) -> dt.datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text), text
    return dt.datetime.fromisoformat(text)


class Found(msgspec.Struct):
    Records: list[msgspec.Raw]


def records_of(file: Path) -> list[msgspec.Raw]:
    """The raw records of one file, which holds nothing else."""
    data = gzip.decompress(file.read_bytes())
    assert data.startswith(b'{"Records":[{')
    return msgspec.json.decode(data, type=Found).Records


def log_files(root: Path) -> list[Path]:
    return sorted(path for path in (root / "logs").rglob("*") if path.is_file())


def read(root: Path, truth: Truth) -> Demo:
    """Read all files below `root/logs`; one out of the vendor's layout fails."""
    gc.disable()
    deliveries, files = [], log_files(root)
    for file in files:
        match = NAME.fullmatch(file.relative_to(root / "logs").as_posix())
        assert match, file
        stamp = dt.datetime.strptime(match["stamp"], "%Y%m%dT%H%M%z")
        deliveries += [_delivered(raw, match["region"], stamp) for raw in records_of(file)]
    gc.enable()
    return Demo(root, truth, len(files), deliveries)


def _delivered(raw: msgspec.Raw, region: str, delivered: dt.datetime) -> Delivered:
    record: dict[str, Any] = msgspec.json.decode(raw)
    return Delivered(
        event_id=record["eventID"],
        time=_time(record["eventTime"]),
        delivered=delivered,
        region=region,
        text=hashlib.blake2b(bytes(raw), digest_size=16).digest(),
        operation=record["eventName"],
        kind=record["userIdentity"]["type"],
        user=record["userIdentity"].get("userName"),
        address=record["sourceIPAddress"],
        failed="errorCode" in record or record["responseElements"] == {"ConsoleLogin": "Failure"},
    )


def digest(root: Path) -> str:
    """One hash over names and bytes of everything below a folder."""
    total = hashlib.sha256()
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        total.update(f"{file.relative_to(root)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def failed_sign_ins(demo: Demo) -> Counter[tuple[str | None, dt.date]]:
    """Failed console sign-ins by the name that was tried, and day."""
    return Counter((one.user, one.time.date()) for one in demo.unique.values() if one.failed_sign_in)


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as it is by default."""
    root = tmp_path_factory.mktemp("demo")
    return read(root, generate(root, end=END))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Eight thin days with stories."""
    root = tmp_path_factory.mktemp("small")
    return read(root, generate(root, end=END, days=8, events=12_000))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The same days without stories."""
    root = tmp_path_factory.mktemp("plain")
    return read(root, generate(root, end=END, days=8, events=12_000, stories=False))
