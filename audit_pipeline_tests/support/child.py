"""The command line, or a function, in a child process that is forked from one which has imported everything: an interpreter of its own
costs seconds each time, Great Expectations most of them.

Belongs here: starting such a child and what it said. The child has its own folder, environment, streams and end, and may be killed.
What a fresh interpreter proves (the entry point, lazy imports, rights) is tested with one: `Project.cli` starts one where `before` is
given, and `test_readme`, `test_imports` and `test_definitions` always do.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(
    ["great_expectations", "audit_pipeline.orchestration.runner", "audit_pipeline.cli", "audit_pipeline_tests.support.night", __name__]
)  # fmt: skip


def run(
    target: Callable[..., object], args: tuple[Any, ...], cwd: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    """Call `target(*args)` in a child: exit code (minus the signal's number where it was killed) and both streams.

    Raises:
        TimeoutError: it did not end within `timeout` seconds; it is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [str(Path(folder, name)) for name in ("out", "err")]
        child = _FORK.Process(target=_begin, args=(target, args, str(cwd), dict(environment), *streams))
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise TimeoutError(f"{args}: did not end within {timeout} s")
        out, err = (Path(name).read_bytes() if Path(name).exists() else b"" for name in streams)
        code = child.exitcode
        child.close()
    return code, out, err


def _begin(
    target: Callable[..., object], args: tuple[Any, ...], cwd: str, environment: dict[str, str], *streams: str
) -> None:
    """In the child: take folder, environment and streams, then go."""
    for number, name in enumerate(streams, start=1):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    target(*args)


def command_line(*args: str) -> None:
    """`audit-pipeline ARGS`."""
    from audit_pipeline.cli import main

    main(list(args), prog_name="audit-pipeline")
