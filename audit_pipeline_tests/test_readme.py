"""Every command of the README, run as printed, in order, in a copy of the repository's files. Only the demo is made smaller, by DEMO."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    line
    for block in re.findall(
        r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for line in block.splitlines()
]
SERVES = "make ui"


def _copy(target: Path) -> Path:
    """The repository's files as git knows them, with their times (make compares them), and this environment as `.venv`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for name in ("requirements.lock", "pyproject.toml"):  # else make would install the copy into this very environment
        os.utime(target / name, (0, 0))
    (target / ".venv").symlink_to(sys.prefix)
    return target


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                return False
            time.sleep(0.5)
    return False


def _serve(command: str, folder: Path, environment: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = environment | {"AUDIT_PIPELINE_UI_PORT": str(port)}
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            command, shell=True, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            assert _answers(port, process), (folder / "ui.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


@pytest.mark.slow
def test_every_command_runs_as_printed(tmp_path: Path) -> None:
    assert len(COMMANDS) >= 7
    assert SERVES in COMMANDS
    folder = _copy(tmp_path)
    unset = ("AUDIT_PIPELINE_CONFIG", "DAGSTER_HOME", "MAKEFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {
        "DEMO": "--days 7 --events 4000",
    }
    for command in COMMANDS:
        if command == SERVES:
            _serve(command, folder, environment)
            continue
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        assert "Traceback" not in done.stdout + done.stderr
        assert done.stdout.strip() or done.stderr.strip(), command
