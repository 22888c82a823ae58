"""The application's request log: a shop of three services, one JSON object a line.

Belongs here: wire format, traffic, errors, outages and releases of `app_requests`. Not here: who the company is (`company`), or which
days are special (`plot`). Keys: `ts service level event method route status duration_ms user client request_id version message stack`;
a key that does not apply is left out.
"""

from __future__ import annotations

import datetime as dt
import json
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.clock import rfc3339
from audit_pipeline.demo.files import Files, moment
from audit_pipeline.demo.generate import DayTruth, Story
from audit_pipeline.demo.planted import Broken, Errors
from audit_pipeline.demo.plot import SERVICES, Plot

NAME = "app"
WEEKEND_SHARE = 0.7
OUTAGE = (72 * 60, 109 * 60)
"""`payments` on the bad night: seconds from midnight UTC, down and up."""
_RETRIES = 12
LOAD_TEST = (10 * 3600, 10 * 3600 + 40 * 60)
LOAD_TEST_SHARE = 0.8
"""Requests of the load test, of an ordinary day's events."""
HEALTH_SHARE = 0.3
_HEALTH_ROUTE = "/healthz"
# method, route, weight, median duration in ms, what a refused one answers
_ROUTES = {
    "checkout": (("GET", "/api/cart", 30, 18, 404), ("POST", "/api/cart/items", 18, 35, 409), ("POST", "/api/orders", 9, 120, 422), ("GET", "/api/orders/{id}", 12, 24, 404), ("POST", "/login", 7, 90, 401)),
    "payments": (("POST", "/api/payments", 12, 240, 402), ("GET", "/api/payments/{id}", 9, 30, 404), ("POST", "/api/refunds", 1, 310, 403)),
    "search": (("GET", "/api/search", 45, 60, 400), ("GET", "/api/suggest", 38, 12, 400), ("GET", "/api/products/{id}", 40, 22, 404)),
}  # fmt: skip
_SERVICE_SHARES = (0.36, 0.16, 0.48)
_REFUSED, _BROKEN = 0.018, 0.0025
_STACKS = {
    "checkout": ("inventory did not answer within 2000 ms", 'Traceback (most recent call last):\n  File "/srv/checkout/orders.py", line 218, in place\n    held = inventory.hold(cart.items, timeout=2.0)\n  File "/srv/checkout/clients.py", line 64, in hold\n    raise UpstreamTimeout(self.host)\ncheckout.errors.UpstreamTimeout: inventory.internal'),
    "payments": ("connection pool exhausted (32 of 32 in use)", 'Traceback (most recent call last):\n  File "/srv/payments/capture.py", line 97, in capture\n    with pool.connection(timeout=5) as db:\n  File "/srv/payments/pool.py", line 41, in connection\n    raise PoolExhausted(self.size)\npayments.errors.PoolExhausted: 32'),
    "search": ("index shard 3 is read-only: disk watermark exceeded", 'Traceback (most recent call last):\n  File "/srv/search/query.py", line 152, in run\n    hits = index.search(query, shards=plan)\nsearch.errors.ShardUnavailable: 3'),
}  # fmt: skip
_CUSTOMERS = 4_000
_CLIENTS = tuple(f"198.51.100.{n}" for n in range(100, 250)) + tuple(f"203.0.113.{n}" for n in range(1, 200))
_HOURS = np.array([2, 1.3, 1, 1, 1.2, 2, 3.4, 5, 6, 6.4, 6.6, 6.8, 7, 6.6, 6.4, 6.4, 6.8, 7.4, 8, 8.2, 7.6, 6, 4.4, 3])
"""How much of its traffic the shop has in each hour UTC."""


def _dumps(value: str) -> str:
    return json.dumps(value, ensure_ascii=True)


class Application:
    """Writes a file an hour, complete two minutes after it."""

    name = NAME
    weekend = WEEKEND_SHARE

    def __init__(self, folder: Path, plot: Plot, seed: int) -> None:
        self._files, self._plot, self._seed = Files(folder), plot, seed
        self._versions = dict.fromkeys(SERVICES, "26.1.0")
        self.stories: list[Story] = []

    @property
    def files(self) -> int:
        """Files written so far."""
        return self._files.count

    def day(self, number: int, day: dt.date, n: int) -> DayTruth:
        """Write one UTC day of about `n` events."""
        rng = np.random.default_rng([self._seed, 5_000_000 + number])
        before = dict(self._versions)
        for release in self._plot.releases:
            if release.day == day:
                self._versions[release.service] = release.version
        lines = sorted(
            line
            for service, share in zip(SERVICES, _SERVICE_SHARES, strict=True)
            for line in self._service(service, day, int(n * share), rng, before[service])
        )
        times = [at for at, _ in lines]
        edges = [*(bisect_left(times, hour * 3600) for hour in range(24)), len(times)]
        for hour, (first, last) in enumerate(pairwise(edges)):
            texts = [line for _, line in lines[first:last]]
            self._files.write(f"requests-{day.isoformat()}T{hour:02d}.jsonl.gz", texts, moment(day, hour * 3600 + 3720))
        total = len(lines)
        return DayTruth(day.isoformat(), total, total, 0, 0)

    def close(self) -> None:
        """Nothing waits: each day is written whole."""

    def _service(self, service: str, day: dt.date, n: int, rng: np.random.Generator, before: str) -> list[tuple[float, str]]:  # fmt: skip
        healthy = int(n * HEALTH_SHARE)
        found = self._health(service, day, healthy, before)
        found += self._requests(service, day, n - healthy, rng, before)
        found += self._turns(service, day, before)
        found += self._planted(service, day, before)
        if day == self._plot.load_test and service == "search":
            found += self._load_test(day, n, rng)
        return found

    def _version(self, service: str, day: dt.date, before: str) -> tuple[float, str]:
        """Second of the day from which the newest version answers, and which."""
        when = next((one.second for one in self._plot.releases if one.day == day and one.service == service), 0)
        return float(when), self._versions[service] if when else before

    def _health(self, service: str, day: dt.date, n: int, before: str) -> list[tuple[float, str]]:
        """Probes of the cluster: evenly spaced, of no interest."""
        switch, newest = self._version(service, day, before)
        found = []
        for at in ((np.arange(n) + 0.5) * (86_400 / max(n, 1))).round(3).tolist():
            version = newest if at >= switch else before
            found.append((at, f'{{"ts":"{_stamp(day, at)}","service":"{service}","level":"info","event":"request","method":"GET","route":"{_HEALTH_ROUTE}","status":{503 if self._is_down(service, day, at) else 200},"duration_ms":1,"user":"kube-probe","client":"10.20.0.{1 + int(at) % 9}","request_id":"{_id("h" + service, day, at)}","version":"{version}"}}'))  # fmt: skip
        return found

    def _is_down(self, service: str, day: dt.date, at: float) -> bool:
        return service == "payments" and day == self._plot.on_call and OUTAGE[0] <= at < OUTAGE[1]

    def _requests(self, service: str, day: dt.date, n: int, rng: np.random.Generator, before: str) -> list[tuple[float, str]]:  # fmt: skip
        hour = rng.choice(24, n, p=_HOURS / _HOURS.sum())
        times: NDArray[np.float64] = hour * 3600 + rng.random(n) * 3600
        if self._is_down(service, day, OUTAGE[0]):  # customers try again and again
            times = np.append(times, rng.uniform(*OUTAGE, max(_RETRIES, n // 8)))
            n = len(times)
        times = np.sort(times).round(3)
        routes = _ROUTES[service]
        weights = np.array([route[2] for route in routes], float)
        picked = rng.choice(len(routes), n, p=weights / weights.sum())
        medians = np.array([route[3] for route in routes], float)[picked]
        took = np.maximum(1, medians * rng.lognormal(0, 0.6, n)).astype(int)
        fate = rng.random(n)
        harm, error = self._harm(service, day, times)
        heads = [f'"method":"{method}","route":"{route}","status":' for method, route, *_ in routes]
        good = [201 if method == "POST" and route != "/login" else 200 for method, route, *_ in routes]
        bad = [route[4] for route in routes]
        switch, newest = self._version(service, day, before)
        customers, clients = rng.zipf(1.3, n) % _CUSTOMERS, rng.integers(0, len(_CLIENTS), n)
        ids = rng.bytes(8 * n).hex()
        found: list[tuple[float, str]] = []
        drawn = zip(times.tolist(), picked.tolist(), took.tolist(), fate.tolist(), customers.tolist(), clients.tolist(), harm.tolist(), strict=True)  # fmt: skip
        for row, (at, route, duration, luck, customer, client, more) in enumerate(drawn):
            down = self._is_down(service, day, at)
            status = (
                503
                if down
                else 500
                if luck < _BROKEN + more
                else bad[route]
                if luck < _BROKEN + more + _REFUSED
                else good[route]
            )
            level = "error" if status >= 500 else "info"
            version = newest if at >= switch else before
            tail = f'"service":"{service}","level":"{level}"'
            request = f'"request_id":"{ids[16 * row : 16 * row + 16]}","version":"{version}"'
            stamp = _stamp(day, at)
            found.append((at, f'{{"ts":"{stamp}",{tail},"event":"request",{heads[route]}{status},"duration_ms":{duration},"user":"c-{customer + 10_000}","client":"{_CLIENTS[client]}",{request}}}'))  # fmt: skip
            if status == 500:
                message, stack = error if more and luck >= _BROKEN else _STACKS[service]
                found.append((at + 0.0005, f'{{"ts":"{stamp}",{tail},"event":"error",{request},"message":{_dumps(_numbered(message, at))},"stack":{_dumps(_numbered(stack, at))}}}'))  # fmt: skip
        return found

    def _harm(
        self, service: str, day: dt.date, times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], tuple[str, str]]:
        """The share of requests that a release breaks at each time, and the error that they fail with."""
        share, error = np.zeros(len(times)), _STACKS[service]
        for one in self._plot.cases.of(Broken, day):
            if isinstance(one, Broken) and one.service == service:
                first, last = (_second(day, at) for at in (one.first, one.last))
                share[(times >= first) & (times < last)] = one.share
                error = (one.message, one.stack)
        return share, error

    def _planted(self, service: str, day: dt.date, before: str) -> list[tuple[float, str]]:
        """The errors of the cases: a request that failed, and what the service says of it."""
        found: list[tuple[float, str]] = []
        for number, one in enumerate(self._plot.cases.of(Errors, day)):
            if not isinstance(one, Errors) or one.service != service:
                continue
            rng = np.random.default_rng([self._seed, 11_000_000 + number, day.toordinal()])
            quiet = 1.0 if self._plot.calendar.is_working(day) else WEEKEND_SHARE
            for low, high, a_day in ((_second(day, first), _second(day, last), n) for first, last, n in one.spans()):
                times = rng.choice(24, rng.poisson(a_day * quiet), p=_HOURS / _HOURS.sum()) * 3600.0
                times = np.sort(times + rng.random(len(times)) * 3600).round(3)
                for at in times[(times >= low) & (times < high)].tolist():
                    found += self._failure(one, day, at, before, number)
        return found

    def _failure(self, error: Errors, day: dt.date, at: float, before: str, number: int) -> list[tuple[float, str]]:
        service, stamp = error.service, _stamp(day, at)
        switch, newest = self._version(service, day, before)
        tail = f'"service":"{service}","level":"error"'
        request = f'"request_id":"{_id(f"e{number}", day, at)}","version":"{newest if at >= switch else before}"'
        method, route, *_ = _ROUTES[service][round(at * 1000) % len(_ROUTES[service])]
        client = _CLIENTS[round(at * 1000) % len(_CLIENTS)]
        return [
            (at, f'{{"ts":"{stamp}",{tail},"event":"request","method":"{method}","route":"{route}","status":500,"duration_ms":{40 + round(at * 1000) % 300},"user":"c-{10_000 + round(at * 1000) % _CUSTOMERS}","client":"{client}",{request}}}'),
            (at + 0.0005, f'{{"ts":"{stamp}",{tail},"event":"error",{request},"message":{_dumps(_numbered(error.message, at))},"stack":{_dumps(_numbered(error.stack, at))}}}'),
        ]  # fmt: skip

    def _turns(self, service: str, day: dt.date, before: str) -> list[tuple[float, str]]:
        """Deploys, starts and stops."""
        found = []
        for release in self._plot.releases:
            if release.day == day and release.service == service:
                at = float(release.second)
                found.append((at, _turn(day, at, service, "deploy", release.version, f"{service} {release.version} rolled out ({release.change_id})")))  # fmt: skip
        if day == self._plot.start:
            found.append((0.0, _turn(day, 0.0, service, "up", before, "started")))
        if service == "payments" and day == self._plot.on_call:
            down, up = (float(second) for second in OUTAGE)
            found.append((down, _turn(day, down, service, "down", before, "connection pool exhausted: stopped by its supervisor")))  # fmt: skip
            found.append((up, _turn(day, up, service, "up", before, "restarted by hand")))
            person = self._plot.on_call_person
            self.stories.append(
                Story("outage", day.isoformat(), rfc3339(moment(day, down)), rfc3339(moment(day, up)), 2, person.account if person else None, person.person if person else None, source=NAME, detail="payments")
            )  # fmt: skip
        return found

    def _load_test(self, day: dt.date, n: int, rng: np.random.Generator) -> list[tuple[float, str]]:
        n = int(n * LOAD_TEST_SHARE)
        times = np.sort(rng.uniform(*LOAD_TEST, n)).round(3).tolist()
        took = np.maximum(1, 260 * rng.lognormal(0, 0.7, n)).astype(int).tolist()
        slow = (rng.random(n) < 0.06).tolist()
        self.stories.append(Story("load_test", day.isoformat(), rfc3339(moment(day, LOAD_TEST[0])), rfc3339(moment(day, LOAD_TEST[1])), n, "loadtest", source=NAME, detail="search"))  # fmt: skip
        return [
            (at, f'{{"ts":"{_stamp(day, at)}","service":"search","level":"{"error" if shed else "info"}","event":"request","method":"GET","route":"/api/search","status":{503 if shed else 200},"duration_ms":{ms},"user":"loadtest","client":"10.30.0.7","request_id":"{_id("load", day, row)}","version":"{self._versions["search"]}"}}')
            for row, (at, ms, shed) in enumerate(zip(times, took, slow, strict=True))
        ]  # fmt: skip


def _numbered(text: str, at: float) -> str:
    """A message about one thing among many."""
    return text.replace("{n}", str(10_000 + round(at * 1000) % 89_999))


def _second(day: dt.date, at: dt.datetime) -> float:
    return (at - moment(day, 0)).total_seconds()


def _stamp(day: dt.date, at: float) -> str:
    second, ms = divmod(min(round(at * 1000), 86_399_999), 1000)
    return f"{day.isoformat()}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{ms:03d}Z"


def _id(kind: str, day: dt.date, at: float) -> str:
    return f"{kind}-{day:%y%m%d}-{round(at * 1000):x}"


def _turn(day: dt.date, at: float, service: str, event: str, version: str, message: str) -> str:
    level = "error" if event == "down" else "info"
    return f'{{"ts":"{_stamp(day, at)}","service":"{service}","level":"{level}","event":"{event}","version":"{version}","message":{_dumps(message)}}}'
