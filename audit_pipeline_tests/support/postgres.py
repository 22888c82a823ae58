"""A real PostgreSQL server on loopback for one test, as the person who may run one: never root, which PostgreSQL refuses.

Belongs here: initdb, start, stop. Not here: what is stored in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ABSENT = "no PostgreSQL server is installed"


def _program(name: str) -> str:
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    if found is None:
        pytest.skip(ABSENT)
    return found


def _as_nobody() -> list[str]:
    """The words before a command that shed root's rights."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("neither root nor setpriv: PostgreSQL refuses to be run by root")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def server() -> Iterator[str]:
    """URL (`postgresql://…/postgres`) of a server that lives as long as the block."""
    postgres, initdb, before = _program("postgres"), _program("initdb"), _as_nobody()
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        if before:
            os.chown(folder, 65534, 65534)
        data, port = folder / "data", _free_port()
        subprocess.run([*before, initdb, "-D", str(data), "-U", "audit", "-A", "trust", "-E", "UTF8", "--no-sync"], check=True, capture_output=True, cwd="/")  # fmt: skip
        running = subprocess.Popen(
            [*before, postgres, "-D", str(data), "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        try:
            _wait(port, running)
            yield f"postgresql://audit@127.0.0.1:{port}/postgres"
        finally:
            running.terminate()
            running.wait(timeout=20)


def _wait(port: int, running: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if running.poll() is not None:
            raise RuntimeError("PostgreSQL ended at once")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL does not answer")
