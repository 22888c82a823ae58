"""`python -m audit_pipeline_tests.stubs NAME [--port 9200] [--fault page:503 ...]`: try a collector by hand.

A stub's module has `BY_HAND`: name to a function of the time and how many records to invent, which gives the stub and words to try it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from audit_pipeline_tests import stubs
from audit_pipeline_tests.stubs.wire import serve

Made = Callable[[dt.datetime, int], tuple[Any, str]]


def by_hand() -> dict[str, Made]:
    """All stubs that can be tried by hand."""
    modules = [importlib.import_module(f"{stubs.__name__}.{found.name}") for found in pkgutil.iter_modules(stubs.__path__) if found.name[0] != "_"]  # fmt: skip
    return {name: made for module in modules for name, made in getattr(module, "BY_HAND", {}).items()}


def main() -> None:
    known = by_hand()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(known))
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--documents", type=int, default=5000, help="one a minute, up to now")
    parser.add_argument("--fault", action="append", default=[], help="KIND:FAULT, such as page:503; the stub's module lists them")  # fmt: skip
    given = parser.parse_args()
    stub, words = known[given.name](dt.datetime.now(dt.UTC), given.documents)
    stub.before = lambda _: setattr(stub, "now", dt.datetime.now(dt.UTC))
    stub.plan = [(kind, fault) for kind, _, fault in (one.partition(":") for one in given.fault)]
    server = serve(stub, given.port)
    print(f"{given.name} on http://127.0.0.1:{server.server_port}, {words}; end with Ctrl-C", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
