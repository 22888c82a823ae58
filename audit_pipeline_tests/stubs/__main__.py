"""`python -m audit_pipeline_tests.stubs elasticsearch [--port 9200] [--fault page:503 ...]`: try a collector by hand."""

from __future__ import annotations

import argparse
import datetime as dt

from audit_pipeline_tests.stubs.elasticsearch import FAULTS, SECRET, Doc, Store
from audit_pipeline_tests.stubs.wire import serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["elasticsearch", "opensearch"])
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--documents", type=int, default=5000, help="one a minute, up to now")
    parser.add_argument("--fault", action="append", default=[], help=f"KIND:FAULT; kinds edge, count, open, page, close; faults {', '.join(FAULTS)}")  # fmt: skip
    given = parser.parse_args()
    now = dt.datetime.now(dt.UTC)
    store = Store(now, opensearch=given.name == "opensearch")
    store.before = lambda _: setattr(store, "now", dt.datetime.now(dt.UTC))
    store.plan = [(kind, fault) for kind, _, fault in (one.partition(":") for one in given.fault)]
    for n in range(given.documents):
        at = now - dt.timedelta(minutes=n)
        source = {"@timestamp": at.isoformat(timespec="milliseconds"), "event": {"category": ["authentication"], "type": ["start"], "outcome": "success"}, "user": {"name": f"person{n % 9}"}}  # fmt: skip
        store.docs.append(Doc("logs-audit", f"{n:08d}", source, at))
    server = serve(store, given.port)
    print(f"{given.name} on http://127.0.0.1:{server.server_port}, index logs-audit, api_key {SECRET}; end with Ctrl-C")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
