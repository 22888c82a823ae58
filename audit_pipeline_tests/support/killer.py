"""A process that kills itself (SIGKILL, so no cleaning up) at a chosen write: `python -m … POINT night|cli ARGS`.

Belongs here: the kill points. The product has no hooks for this: the child wraps one function of its own before it begins.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Point:
    """The `nth` call of a function with an argument that matches; dies before the call, or when it has returned."""

    function: str
    """`module:name` or `module:Class.name`"""
    argument: str
    when: Literal["before", "after"]
    nth: int = 1


_PUBLISH, _CREATE, _WRITE = (f"audit_pipeline.lake.store:Lake.{name}" for name in ("publish", "create", "write"))
_SEND = "audit_pipeline.mail.smtp:send"

POINTS = {
    "segment staged": Point(_PUBLISH, r"^raw/.*\.segment$", "before"),
    "segment published, no entry": Point(_CREATE, r"^raw/.*/manifest/", "before"),
    "entry created": Point(_CREATE, r"^raw/.*/manifest/", "after"),
    "one index file of two": Point(_PUBLISH, r"^index/.*\.parquet$", "after"),
    "index marker": Point(_WRITE, r"^index/.*\.json$", "after"),
    "events staged": Point(_PUBLISH, r"^events/", "before"),
    "events published, rejects not": Point(_PUBLISH, r"^events/", "after"),
    "rejects published": Point(_PUBLISH, r"^rejects/", "after"),
    "completeness published": Point(_PUBLISH, r"^completeness/", "after"),
    "kpis published": Point(_PUBLISH, r"^kpis/", "after"),
    "page before report.json": Point(_WRITE, r"^reports/.*/report\.html$", "after"),
    "intent stored, mail not sent": Point(_SEND, r"@", "before"),
    "mail sent, outcome not stored": Point(_SEND, r"@", "after"),
    "late day: events published": Point(_PUBLISH, r"^events/", "after", nth=2),
}


def arm(point: Point) -> None:
    """Wrap the function."""
    module_name, _, path = point.function.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, _deadly(getattr(owner, name), point))


def _deadly(real: Callable[..., Any], point: Point) -> Callable[..., Any]:
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if not any(re.search(point.argument, str(one)) for one in args if isinstance(one, str | os.PathLike)):
            return real(*args, **kwargs)
        calls += 1
        if calls < point.nth:
            return real(*args, **kwargs)
        if point.when == "after":
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    return called


def main(point: str, way: str, *args: str) -> None:
    """Arm the point, then go one of the two ways."""
    arm(POINTS[point])
    if way == "cli":
        from audit_pipeline.cli import main as command

        command(list(args))
    else:
        from audit_pipeline_tests.support.night import main as night

        night(*args)


if __name__ == "__main__":
    main(*sys.argv[1:])
