"""A configured folder and the command line as a child process.

Belongs here: what a user has on disk and types. Not here: logs (`trail`), kills (`killer`).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from audit_pipeline.evidence import verify_all
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.views import connect
from audit_pipeline.settings import Settings
from audit_pipeline_tests.support import child, trail

CONTENT = (
    "SELECT x_source, day, count(*) AS n, sum(hash(t)::HUGEINT)::VARCHAR AS content FROM "
    "(SELECT x_source, columns('^([^x]|x[^_])') FROM events) t GROUP BY ALL ORDER BY ALL"
)
"""What events say by source and day, whatever the order of rows, the place in raw and the time of collection."""
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True)
class Said:
    """What a child process said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + self.err


@dataclass(frozen=True)
class Project:
    """A folder with `pipeline.yaml`, logs and, after a run, a lake."""

    root: Path

    @classmethod
    def make(cls, root: Path, sources: Mapping[str, str] | None = None, /, **keys: Any) -> Project:
        """Write a configuration: sources by name with their glob, and other keys as given."""
        given = sources or {"trail": "logs/**/*.json.gz"}
        team = {"owns": [f"source:{name}" for name in given]}  # without `mail`, so that a night is one mail
        configured = {
            name: {"type": "files", "format": "cloudtrail", "paths": [glob], "team": "cloud"}
            for name, glob in given.items()
        }
        root.mkdir(parents=True, exist_ok=True)
        base = {"clock": "simulated", "start": trail.DAYS[0], "sources": configured, "teams": {"cloud": team}}
        (root / "pipeline.yaml").write_text(yaml.safe_dump({**base, **keys}, sort_keys=False), encoding="utf-8")
        return cls(root)

    @property
    def settings(self) -> Settings:
        """Its configuration."""
        return Settings.load(self.root / "pipeline.yaml")

    @property
    def logs(self) -> Path:
        """Where the default source's logs lie."""
        return self.root / "logs"

    @property
    def lake(self) -> Path:
        """The lake, by default."""
        return self.root / "lake"

    def cli(self, *args: object, before: Sequence[str] = (), timeout: float = 120, **environment: str) -> Said:
        """The command line with this configuration; fails the test on a traceback or on a character that moves a terminal."""
        return command(*args, cwd=self.root, before=before, timeout=timeout, **environment)

    def start(self, *args: object) -> subprocess.Popen[str]:
        """The same, not waited for."""
        return subprocess.Popen(
            _argv(args), cwd=self.root, env=_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def boxes(self, day: dt.date, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The night of a day without Dagster (`support.night`), mail sent, in a process of its own, not waited for."""
        argv = [
            *before,
            sys.executable,
            "-m",
            "audit_pipeline_tests.support.night",
            "pipeline.yaml",
            day.isoformat(),
            "send",
        ]
        return subprocess.Popen(
            argv, cwd=self.root, env=_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def query(self, sql: str) -> list[dict[str, str]]:
        """Rows of a statement, through the command line."""
        said = self.cli("query", sql, "--format", "csv")
        assert said.code == 0, said.text
        return list(csv.DictReader(io.StringIO(said.out)))

    def content(self) -> list[Any]:
        """What the events say, by source and day (`CONTENT`)."""
        con = connect(Lake.open(str(self.lake)), tables=["events"])
        try:
            return con.execute(CONTENT).fetchall()
        finally:
            con.close()

    def problems(self) -> list[dict[str, Any]]:
        """What `verify` finds."""
        return verify_all(self.settings)[0]

    def leftovers(self) -> list[str]:
        """Files of the lake that are not whole yet."""
        return sorted(path.name for path in (self.lake / ".tmp").rglob("*") if path.is_file())


def command(*args: object, cwd: Path, before: Sequence[str] = (), timeout: float = 120, **environment: str) -> Said:
    """`audit-pipeline ARGS` in a folder, in a process of its own; checked for tracebacks and characters that move a terminal."""
    if not before:
        code, out, err = child.run(child.command_line, tuple(map(str, args)), cwd, _environment(environment), timeout)
        return checked(code, out.decode("utf-8"), err.decode("utf-8"))
    done = subprocess.run(
        [*before, *_argv(args)],
        cwd=cwd,
        env=_environment(environment),
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return checked(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def checked(code: int, out: str, err: str) -> Said:
    """What was said, if it is fit for a person: no traceback, no control, no hidden or reversing character."""
    said = Said(code, out, err)
    assert "Traceback (most recent call last)" not in said.text, said.text
    unsafe = _UNSAFE.search(said.text)
    assert unsafe is None, (unsafe, said.text[max(0, unsafe.start() - 80) : unsafe.end() + 20])
    return said


def days(first: dt.date, last: dt.date) -> list[str]:
    """The options of `run` for a range."""
    return ["--from", first.isoformat(), "--to", last.isoformat()]


def _argv(args: Sequence[object]) -> list[str]:
    return [str(Path(sys.executable).with_name("audit-pipeline")), *map(str, args)]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "AUDIT_PIPELINE_"))}
    return {**kept, **more}
