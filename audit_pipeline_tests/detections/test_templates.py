"""Recurring errors: the same templates whatever the order, on every day, and what is told of them."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.context import connect
from audit_pipeline.detections._drain import assign, line
from audit_pipeline.detections._recurring import surprise
from audit_pipeline.detections.run import detect
from audit_pipeline.detections.templates import LEFT_OUT, recurring_errors
from audit_pipeline.kpis.catalogue import catalogue
from audit_pipeline.kpis.compute import numbers
from audit_pipeline.lake.store import Lake
from audit_pipeline.lake.tables import TABLES
from audit_pipeline.settings import Settings
from audit_pipeline_tests.detections.helpers import DAY, at, make_settings, open_lake, write_completeness, write_events

ONE = dt.timedelta(days=1)
STACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/shop/orders.py", line {n}, in place\n    held = hold()\n'
    '  File "/usr/lib/python3.11/site-packages/requests/api.py", line 9, in get\n    x()\n'
    "shop.errors.Timeout: inventory {n}"
)


def error(text: str | None, time: dt.datetime, **more: Any) -> dict[str, Any]:
    """An error that an application tells of."""
    return {"time": time, "class_uid": 6008, "category_uid": 6, "activity_id": 1, "status_id": 2, "api_service_name": "shop", "message": text, "x_source": "app", **more}  # fmt: skip


def call(code: int | None, time: dt.datetime, **more: Any) -> dict[str, Any]:
    """A request and how it was answered."""
    return {"time": time, "class_uid": 6003, "category_uid": 6, "activity_id": 2, "status_id": 2, "api_service_name": "shop", "api_operation": "GET /x", "http_response_code": code, "x_source": "app", **more}  # fmt: skip


def make(root: Path, more: str = "") -> tuple[Settings, Lake]:
    return make_settings(root, "sources: {app: {type: files, format: cloudtrail}}\n" + more), open_lake(root)


def night(settings: Settings, lake: Lake, day: dt.date, events: list[dict[str, Any]], verdict: str = "no_gap_seen") -> list[dict[str, Any]]:  # fmt: skip
    """A day's events stored, and what is told of its errors."""
    write_events(lake, events, known=False)
    write_completeness(lake, day, {"app": verdict})
    return again(settings, lake, day)


def again(settings: Settings, lake: Lake, day: dt.date) -> list[dict[str, Any]]:
    with connect(settings, lake, since=day - ONE, until=day, tables=["events", "completeness"]) as con:
        return recurring_errors(settings, lake, con, day)


def stored(lake: Lake, day: dt.date = DAY) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return list(pq.read_table(lake.path(TABLES["error_templates"].file(day))).to_pylist())


def ordinary(day: dt.date, n: int = 6, text: str = "disk {i} is slow", hour: int = 5) -> list[dict[str, Any]]:
    return [error(text.format(i=100 + i), at(hour, i % 60, day=day)) for i in range(n)]


def history(settings: Settings, lake: Lake, days: int = 10, **more: Any) -> None:
    for back in range(days, 0, -1):
        night(settings, lake, DAY - back * ONE, ordinary(DAY - back * ONE, **more))


def test_messages_and_traces_become_templates_with_count_share_and_lines(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    night(settings, lake, DAY, [
        *[error(f"order {i} of cart ab12cd34ef{i} failed after {i * 7} ms at 10.0.0.{i}", at(9, i), status_detail=STACK.format(n=i)) for i in range(1, 31)],
        *[error(f"pool exhausted ({i} of 32 in use)", at(12, i)) for i in range(10)],
    ])  # fmt: skip
    trace, pool = sorted(stored(lake), key=lambda row: -row["n"])
    assert (
        trace["template"]
        == "shop.errors.Timeout@orders.py:place order <num> of cart <hex> failed after <num> ms at <ip>"
    )
    assert (trace["n"], trace["errors"], trace["first_time"], trace["last_time"]) == (30, 40, at(9, 1), at(9, 30))
    assert (pool["template"], pool["n"], pool["sources"]) == ("pool exhausted (<num> of <num> in use)", 10, ["app"])
    assert [ref["line"] for ref in trace["refs"]] == list(range(20))


def test_people_mistakes_refusals_and_an_error_told_twice_are_no_errors_of_the_service(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    aws = {"http_response_code": None, "api_service_name": "s3.amazonaws.com"}
    night(settings, lake, DAY, [
        *[call(code, at(8, code % 60)) for code in (400, 401, 403, 404, 409, 422)],
        call(200, at(8), status_id=1),
        {**call(None, at(8)), "class_uid": 3002, "category_uid": 3, "message": "bad password"},
        {**call(None, at(8)), "class_uid": 4007, "category_uid": 4, "message": "no identification"},
        call(None, at(9), **aws, api_response_error="AccessDenied", api_response_error_message="no"),
        call(None, at(9), **aws, api_response_error="Client.UnauthorizedOperation"),
        call(None, at(9), **aws, api_response_error="NoSuchBucket", api_response_error_message="The specified bucket does not exist"),
        call(500, at(10), api_request_uid="r1"), error("it broke", at(10), api_request_uid="r1"),
        call(503, at(10, 1), api_request_uid="r2"), call(429, at(10, 2)),
    ])  # fmt: skip
    assert {(row["service"], row["template"]): row["n"] for row in stored(lake)} == {
        ("s3.amazonaws.com", "GET:/x/NoSuchBucket The specified bucket does not exist"): 1,
        ("shop", "it broke"): 1,
        ("shop", "GET:/x/503"): 1,
        ("shop", "GET:/x/429"): 1,
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_events_changes_no_row(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    words = ["alpha", "beta", "gamma", "delta", "disk", "lost", "node", "reset"]
    events = [
        error(" ".join(rng.choices(words, k=rng.randint(2, 6))), at(1, i % 60), x_line=i, metadata_uid=f"e{i}")
        for i in range(300)
    ]
    rows = []
    for turn in range(2):
        settings, lake = make(tmp_path / str(turn))
        night(settings, lake, DAY, events)
        rows.append(stored(lake))
        rng.shuffle(events)
    assert rows[0] == rows[1]
    assert sum(row["n"] for row in rows[0]) == 300


def test_a_template_keeps_its_identity_on_later_days_and_a_day_again_gives_the_same_bytes(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    night(settings, lake, DAY, [error("region north lost contact with node", at(8))])
    (first,) = stored(lake)
    night(settings, lake, DAY + ONE, [error(f"region {name} lost contact with node", at(8, day=DAY + ONE)) for name in ("south", "east")])  # fmt: skip
    (second,) = stored(lake, DAY + ONE)
    assert (second["template_id"], second["n"]) == (first["template_id"], 2)
    files = [Path(lake.path(TABLES["error_templates"].file(day))) for day in (DAY, DAY + ONE)]
    before = [file.read_bytes() for file in files]
    for day in (DAY + ONE, DAY):  # the earlier day last: what is stored of later days does not enter it
        again(settings, lake, day)
    assert [file.read_bytes() for file in files] == before


def test_a_new_error_after_a_release_names_it_and_an_ordinary_one_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "releases.csv").write_text(
        f"time,service,version,change_id\n{DAY}T07:48:00Z,shop,26.2.0,CHG-104\n{DAY}T08:10:00Z,shop,26.2.1,CHG-105\n{DAY}T07:59:00Z,cart,9.9.9,CHG-1\n",
        encoding="utf-8",
    )
    settings, lake = make(tmp_path, "releases: releases.csv\n")
    history(settings, lake)
    (one,) = night(settings, lake, DAY, [*ordinary(DAY), *[error(f"cannot read price of item {i}", at(8, i % 60)) for i in range(1, 41)]])  # fmt: skip
    assert one["explanation"] == (
        "40 errors in shop: cannot read price of item <num>; 87% of the service's 46 errors; "
        "new: not seen on the 10 complete days before; first seen 2026-03-02 08:01 UTC; "
        "last release before: shop 26.2.0 (CHG-104), 13 min earlier"
    )
    template = next(row for row in stored(lake) if row["n"] == 40)
    assert json.loads(one["group_key"]) == {"service": "shop", "template": template["template_id"]}
    assert (one["kind"], one["rule_id"], one["level"], one["n"], one["verdict"]) == ("recurring_error", "recurring_error", "medium", 40, "no_gap_seen")  # fmt: skip
    assert one["refs"] == template["refs"] != []


def test_a_deployment_that_only_the_log_tells_of_is_named(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    history(settings, lake)
    deploy = {"time": at(7), "class_uid": 6002, "category_uid": 6, "activity_id": 8, "status_id": 1, "api_service_name": "shop", "api_version": "5.1", "x_source": "app"}  # fmt: skip
    (one,) = night(settings, lake, DAY, [deploy, *[error(f"cannot read price of item {i}", at(8, i)) for i in range(20)]])  # fmt: skip
    assert one["explanation"].endswith("last change before: deployment of 5.1, 1 h earlier")


def test_above_its_own_usual_is_told_and_days_that_lack_something_are_no_zeros(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    history(settings, lake, days=10, n=20)
    assert night(settings, lake, DAY, ordinary(DAY, n=24)) == []  # within its band
    (one,) = night(settings, lake, DAY, ordinary(DAY, n=120))
    assert "120 errors in shop: disk <num> is slow" in one["explanation"]
    assert "usual 20 a day; seen on 10 of the 10 complete days before, first 2026-02-20 05:00 UTC" in one["explanation"]
    assert one["explanation"].endswith("6.0 times the usual")
    for back in range(1, 5):  # six whole days are left: too few to say anything
        write_completeness(lake, DAY - back * ONE, {"app": "partial"})
    assert again(settings, lake, DAY) == []


def test_nothing_is_new_while_nearly_everything_is(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    history(settings, lake, days=6)
    assert night(settings, lake, DAY, [error(f"cannot read price of item {i}", at(8, i)) for i in range(50)]) == []


def test_a_lasting_error_is_told_once_and_not_every_day(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    told = []
    for back in range(20, -1, -1):
        day = DAY - back * ONE
        write_events(lake, ordinary(day, n=30), known=False)
        write_completeness(lake, day, {"app": "no_gap_seen"})
        told += [row["day"] for row in detect(settings, lake, day).to_pylist() if row["kind"] == "recurring_error"]
    assert told == [DAY - 6 * ONE]  # fourteen whole days lie before it


def test_noise_is_counted_and_not_told(tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "prices.yaml").write_text(
        "id: prices\ntitle: Prices\nreason: known\nowner: ops\ncreated: 2026-01-01\nexpires: 2026-12-31\nsources: all\n"
        "where: {a: {message|contains: price}, condition: a}\n",
        encoding="utf-8",
    )
    settings, lake = make(tmp_path)
    history(settings, lake)
    assert night(settings, lake, DAY, [error(f"cannot read price of item {i}", at(8, i)) for i in range(50)]) == []
    assert [row["n"] for row in stored(lake)] == [50]


SECRETS = (
    "hunter2hunter2",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0-12-34",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghij0123456789abcd",
)


def test_hostile_messages_neither_leak_nor_break(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    secret = [error(f"sign-in of service failed: password={SECRETS[0]} jwt {SECRETS[1]} key {SECRETS[2]} {SECRETS[3]}", at(8, 1))]  # fmt: skip
    stack = STACK.format(n=1).replace("inventory 1", f"token={SECRETS[0]} at https://u:{SECRETS[0]}@db/x")
    night(settings, lake, DAY, [
        *secret, error(None, at(8, 2), status_detail=stack), error("x" * 10_000_000, at(8, 3)), error("\x00\x1b[31m\u202eevil \x00", at(8, 4)),
        error("<script>alert(1)</script> <*> <*>", at(8, 5)), error("", at(8, 6)), error(None, at(8, 7)), error("user Ada Lovelace is gone", at(8, 8), user_name="Ada Lovelace"),
        error("odd", at(8, 9), api_service_name="\x1b[2Jpassword=hunter2hunter2"),
    ])  # fmt: skip
    rows = stored(lake)
    shown = [row["service"] + row["template"] for row in rows]
    assert sum(row["n"] for row in rows) == 9
    assert not [text for text in shown if any(secret in text for secret in SECRETS) or "12-34" in text]
    assert all(text.isprintable() and len(text) < 6_000 for text in shown)
    assert {"<script>alert(<num>)</script> <?> <?>", "user <user> is gone"} <= {row["template"] for row in rows}


def test_a_flood_of_texts_is_bounded_and_what_has_no_template_is_said(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    letters = "abcdefghijklmnopqrstuvwxyz"
    flood = [error(f"{letters[i % 26]}{letters[i // 26 % 26]}{letters[i // 676]}zz", at(1, i % 60)) for i in range(900)]
    night(settings, lake, DAY, [*flood, *ordinary(DAY)])
    rows = stored(lake)
    left = json.loads((lake.table_metadata("error_templates", DAY) or {})[LEFT_OUT])
    assert max(rows, key=lambda row: row["n"])["template"] == "disk <num> is slow"  # the frequent one has its template
    assert {row["errors"] for row in rows} == {906}
    assert sum(row["n"] for row in rows) + left["shop"] == 906
    assert len(rows) == 500


JAVA = (
    "java.lang.RuntimeException: order failed\n\tat com.shop.Web.place(Web.java:42)\nCaused by: java.sql.SQLException: refused by 10.0.0.1\n"
    "\tat org.postgresql.Driver.connect(Driver.java:99)\n\tat com.shop.Db.open(Db.java:12)\n\t... 12 more"
)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (
            JAVA,
            "java.sql.SQLException@Db.open refused by <ip>",
        ),
        (
            "TypeError: x is not a function\n    at getUser (/app/src/users.js:10:15)\n    at Layer.handle (/app/node_modules/express/layer.js:95:5)",
            "TypeError@users.js:getUser x is not a function",
        ),
        (
            "panic: index out of range\n\ngoroutine 1 [running]:\nmain.handle(0xc000)\n\t/srv/main.go:42 +0x1d",
            "panic@main.handle index out of range",
        ),
        (STACK.format(n=7), "shop.errors.Timeout@orders.py:place inventory <num>"),
    ],
    ids=["java", "node", "go", "python"],
)
def test_a_trace_is_known_by_its_exception_and_frames_of_own_code(stack: str, said: str) -> None:
    assert line("", "", "", stack) == said


def test_surprise_has_a_poisson_floor_and_grows_with_what_was_usual() -> None:
    import math

    assert surprise(0, [0] * 10) == 0
    exact = -math.log10(1 - sum(math.exp(-5.0) * 5.0**k / math.factorial(k) for k in range(20)))
    assert surprise(20, [5] * 2000) == pytest.approx(exact, rel=0.02)  # no dispersion, mean well known: Poisson
    assert surprise(20, [5] * 28) < exact  # a mean from few days is less certain
    assert surprise(40, [0, 60, 5, 0, 80, 3, 0, 2, 55, 1]) < 2  # bursts are its habit
    assert surprise(12, [0] * 10) > surprise(12, [2] * 10) > surprise(12, [8] * 10)


def test_the_kpi_is_the_share_of_errors_seen_on_two_days_before(tmp_path: Path) -> None:
    settings, lake = make(tmp_path)
    history(settings, lake, days=1, text="disk {i} is slow")
    kpi = {"recurring_error_share": catalogue()["recurring_error_share"]}

    def measured(day: dt.date) -> dict[str, tuple[Any, Any, Any]]:
        rows, _, errors = numbers(settings, lake, day, kpi)
        assert errors == []
        return {row["scope"]: (row["value"], row["n"], row["population"]) for row in rows}

    other = "region lost its contact"
    night(settings, lake, DAY, [*ordinary(DAY, n=6), error(other, at(7))])
    assert measured(DAY) == {"all": (0.0, 0, 7), "service:shop": (0.0, 0, 7)}  # one day before is not yet recurring
    nxt = DAY + ONE
    night(settings, lake, nxt, [*ordinary(nxt, n=6), error(other, at(7, day=nxt)), error(other, at(7, day=nxt), api_service_name="cart")])  # fmt: skip
    assert measured(nxt) == {"all": (0.75, 6, 8), "service:cart": (0.0, 0, 1), "service:shop": (6 / 7, 6, 7)}
    quiet = nxt + ONE
    night(settings, lake, quiet, [{**error("fine", at(7, day=quiet)), "class_uid": 6003, "status_id": 1}])
    assert measured(quiet)["all"] == (None, 0, 0)  # no error is no share of 0


@pytest.mark.parametrize("seed", [1, 2])
def test_neither_order_nor_counts_decide_how_lines_are_grouped(seed: int) -> None:
    rng = random.Random(seed)
    lines = sorted({"job " + " ".join(rng.choices("abcdef", k=4)) for _ in range(120)})
    wanted = assign(dict.fromkeys(lines, 1), [])
    assert len(set(wanted.values())) < len(lines)
    for _ in range(5):
        rng.shuffle(lines)
        assert assign({one: rng.randint(1, 50) for one in lines}, []) == wanted
