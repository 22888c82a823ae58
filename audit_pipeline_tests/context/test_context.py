"""The view `events` with inventory, hours and releases: nothing doubled, nothing lost, as of the event's time."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from audit_pipeline.context import connect
from audit_pipeline.context.hours import off_hours, working_days
from audit_pipeline.context.tables import ADDED
from audit_pipeline.errors import ConfigError
from audit_pipeline.lake.store import Lake
from audit_pipeline.ocsf.columns import EVENT_SCHEMA
from audit_pipeline.settings import Settings
from benchmarks import context as context_benchmark

DAY = dt.date(2026, 3, 2)
HEADER = "source,account,person,role,kind,zone,team,from,to\n"
BASE = """
start: 2026-03-01
sources:
  one: {type: files, format: cloudtrail, paths: [x]}
  two: {type: files, format: cloudtrail, paths: [x]}
teams: {cloud: {owns: ["source:one", "service:s3.amazonaws.com"]}}
"""


def configured(root: Path, more: str = "", **files: str) -> Settings:
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
        if name != "holidays":
            more += f"{name}: {name}.csv\n"
    return Settings.from_text(BASE + more, root / "pipeline.yaml")


def lake_with(root: Path, rows: list[dict[str, object]], source: str = "one") -> Lake:
    lake = Lake.open(str(root / "lake"))
    for row in rows:
        row.setdefault("day", DAY)
        row.setdefault("x_source", source)
        row.setdefault("time", dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC))
    table = pa.Table.from_pylist([{name: row.get(name) for name in EVENT_SCHEMA.names} for row in rows], schema=EVENT_SCHEMA)  # fmt: skip
    lake.write_table("events", table, DAY, source, {"input_hash": "x"})
    return lake


def ask(settings: Settings, lake: Lake, sql: str) -> list[tuple[object, ...]]:
    con = connect(settings, lake, tables=["events"])
    try:
        return con.execute(sql).fetchall()
    finally:
        con.close()


def at(hour: int) -> dt.datetime:
    return dt.datetime(2026, 3, 2, hour, tzinfo=dt.UTC)


def test_who_is_behind_an_account_is_as_of_the_events_time(tmp_path: Path) -> None:
    listed = HEADER + "one,dora,Dora Old,admin,human,Europe/Berlin,cloud,,2026-03-02T10:00:00Z\n*,dora,Dora New,dev,human,,cloud,2026-03-02T10:00:00Z,\n"  # fmt: skip
    settings = configured(tmp_path, identities=listed)
    lake = lake_with(tmp_path, [{"x_actor": "dora", "time": at(h), "metadata_uid": str(h), "x_actor_kind": "unknown"} for h in (9, 10, 11)])  # fmt: skip
    lake_with(tmp_path, [{"x_actor": "dora", "time": at(11)}, {"x_actor": "eve", "time": at(9)}], "two")
    found = ask(settings, lake, "SELECT x_source, x_account, x_actor, x_actor_kind, x_actor_team, x_listed FROM events ORDER BY x_source, time")  # fmt: skip
    assert found == [
        ("one", "dora", "Dora Old", "human", "cloud", True),
        ("one", "dora", "dora", "unknown", None, False),
        ("one", "dora", "dora", "unknown", None, False),
        ("two", "eve", "eve", None, None, False),
        ("two", "dora", "Dora New", "human", "cloud", True),
    ], "a source's own rows for an account replace those of *"


def test_a_zone_counts_as_of_the_events_time(tmp_path: Path) -> None:
    listed = (
        HEADER
        + "one,a,A,r,human,Asia/Tokyo,,,2026-03-02T10:00:00Z\none,a,A,r,human,Europe/Berlin,,2026-03-02T10:00:00Z,\n"
    )
    settings = configured(tmp_path, 'hours: {zone: UTC, from: "07:00", to: "19:00"}\n', identities=listed)
    lake = lake_with(tmp_path, [{"x_actor": name, "time": at(hour)} for name in "ab" for hour in (9, 10, 17, 18)])
    found = ask(settings, lake, "SELECT x_account, hour(time), x_actor_zone, x_off_hours FROM events ORDER BY ALL")
    assert found == [
        ("a", 9, "Asia/Tokyo", False),
        ("a", 10, "Europe/Berlin", False),
        ("a", 17, "Europe/Berlin", False),
        ("a", 18, "Europe/Berlin", True),
        *[("b", hour, None, False) for hour in (9, 10, 17, 18)],
    ]


def test_of_an_event_without_an_account_nothing_is_said(tmp_path: Path) -> None:
    settings = configured(tmp_path, identities=HEADER + "one,a,A,r,human,,,,\n")
    lake = lake_with(tmp_path, [{"x_actor": None}, {"x_actor": "a"}, {"x_actor": "b"}])
    assert ask(settings, lake, "SELECT x_account, x_listed FROM events ORDER BY ALL") == [("a", True), ("b", False), (None, None)]  # fmt: skip


@pytest.mark.parametrize("account", ["dora", "Dora", "DORA"])
def test_accounts_are_compared_as_recorded(tmp_path: Path, account: str) -> None:
    settings = configured(tmp_path, identities=HEADER + "one,Dora,Dora Doe,r,human,,,,\n")
    lake = lake_with(tmp_path, [{"x_actor": account}])
    assert ask(settings, lake, "SELECT x_listed FROM events") == [(account == "Dora",)]


@budget(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 23)), max_size=30), st.lists(st.integers(0, 23), unique=True, max_size=6))  # fmt: skip
def test_no_event_is_doubled_or_lost_whatever_the_inventory(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]], cuts: list[int]
) -> None:
    root = tmp_path_factory.mktemp("w")
    ends = [at(hour).isoformat() for hour in sorted(cuts)]
    rows = [f"*,{name},{name}{n},r,human,,,{since},{until}" for name in "ab" for n, (since, until) in enumerate(zip(["", *ends], [*ends, ""], strict=True))]  # fmt: skip
    settings = configured(root, identities=HEADER + "\n".join(rows))
    lake = lake_with(root, [{"x_actor": name, "time": at(hour), "metadata_uid": str(n)} for n, (name, hour) in enumerate(events)])  # fmt: skip
    found = ask(settings, lake, "SELECT metadata_uid, x_account, x_actor, hour(time) FROM events")
    with connect(settings, lake, since=DAY, until=DAY, tables=["events"]) as con:
        assert sorted(con.execute("SELECT metadata_uid, x_account, x_actor, hour(time) FROM events").fetchall()) == sorted(found)  # fmt: skip
    assert sorted(str(row[0]) for row in found) == sorted(str(n) for n in range(len(events)))
    for _, account, actor, hour in found:
        listed = f"{account}{sum(cut <= int(str(hour)) for cut in cuts)}"
        assert actor == (account if account == "c" else listed)


def test_only_the_files_and_columns_that_a_query_needs_are_read(tmp_path: Path) -> None:
    settings = configured(
        tmp_path, "hours: {zone: UTC}\n", identities=HEADER + "*,a,A,r,human,,,2026-03-02T10:00:00Z,\n"
    )
    later = DAY + dt.timedelta(days=1)
    lake = lake_with(tmp_path, [{"x_actor": "a"}])
    lake_with(tmp_path, [{"x_actor": "a"}], "two")
    table = pa.Table.from_pylist([{"day": later, "x_source": "one", "time": at(12) + dt.timedelta(days=1), "x_actor": "a"}], schema=EVENT_SCHEMA)  # fmt: skip
    lake.write_table("events", table, later, "one", {"input_hash": "x"})
    count = "SELECT count(*), count(x_actor_person), count(x_off_hours) FROM events"
    for source, day in (("one", later), ("two", DAY)):  # the data of these files are spoiled, their statistics are not
        file = Path(lake.path(f"events/source={source}/day={day}/events.parquet"))
        data = file.read_bytes()
        footer = 8 + int.from_bytes(data[-8:-4], "little")
        file.write_bytes(b"PAR1" + b"\xff" * (len(data) - 4 - footer) + data[-footer:])
    assert ask(settings, lake, f"{count} WHERE day = DATE '2026-03-02' AND x_source = 'one'") == [(1, 1, 1)]
    with pytest.raises(duckdb.Error):
        ask(settings, lake, f"{count} WHERE day = DATE '2026-03-02'")
    with connect(settings, lake, since=DAY, until=DAY, tables=["events"]) as con:
        scanned = con.execute("EXPLAIN SELECT x_source, count(*) FROM events GROUP BY 1").fetchall()[0][1]
    assert "Join" not in scanned, "a query without the inventory's columns does not pay for them"
    assert "raw_data" not in scanned


def test_without_files_the_columns_are_there_and_say_nothing(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    lake = lake_with(tmp_path, [{"x_actor": "a", "x_actor_kind": "human"}])
    names = ", ".join(ADDED)
    (row,) = ask(settings, lake, f"SELECT x_actor, x_actor_kind, {names} FROM events")
    assert row == ("a", "human", "a", *[None] * (len(ADDED) - 1))
    con = connect(settings, lake, tables=["events"])
    assert con.execute("SELECT team, kind, name FROM teams_owned ORDER BY ALL").fetchall() == [("cloud", "service", "s3.amazonaws.com"), ("cloud", "source", "one")]  # fmt: skip
    assert con.execute("SELECT count(*) FROM releases").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source,account,person,role,kind,zone,taem\n", "line 1: unknown column 'taem'; did you mean 'team'"),
        ("source,account\n", "line 1: the column 'person' is missing"),
        ("", "is empty"),
        (HEADER + "three,a,A,r,human,,,,\n", "line 2: source 'three' is not configured"),
        (HEADER + "one,a,A,r,robot,,,,\n", "line 2: kind is 'robot'"),
        (HEADER + "one,a,A,r,human,Europe/Berln,,,\n", "did you mean 'Europe/Berlin'"),
        (HEADER + "one,a,A,r,human,,red,,\n", "line 2: team 'red' stands not under teams"),
        (HEADER + "one,,A,r,human,,,,\n", "line 2: account is empty"),
        (HEADER + "one,a,A,r,human,,,soon,\n", "line 2: from is 'soon'"),
        (HEADER + "one,a,A,r,human,,,9999-12-31T23:59:59-05:00,\n", "line 2: from is '9999-12-31"),
        (HEADER + "one,a,A,r,human,,,2026-02-01,2026-01-01\n", "from is not before to"),
        (HEADER + "# note\none,a,A,r,human,,,,\none,a,B,r,human,,,2026-01-01,\n", "line 4: account 'a' of one counts at the same time as in line 3"),
        (HEADER + "one,a,A,r,human,,,,,more\n", "line 2: has 10 cells, the header 9"),
        (HEADER + 'one,"a,A,r,human,,,,\n', "is no CSV"),
    ],
)  # fmt: skip
def test_an_error_of_the_inventory_names_line_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    settings = configured(tmp_path, identities=text)
    with pytest.raises(ConfigError) as error:
        connect(settings, Lake.open(str(tmp_path / "lake")), tables=["events"])
    assert said in str(error.value)
    assert str(tmp_path / "identities.csv") in str(error.value)


def test_semicolons_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    settings = configured(tmp_path, identities="\ufeff" + (HEADER + "one,a,A,r,human,,,,\n").replace(",", ";"))
    lake = lake_with(tmp_path, [{"x_actor": "a"}])
    assert ask(settings, lake, "SELECT x_actor FROM events") == [("A",)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,service,version,change_id\n,s,1,c\n", "line 2: time is empty"),
        ("time,service,version,change_id\n2026-03-01,,1,c\n", "line 2: service is empty"),
        ("time,service,version,change_id\n2026-03-01,s,1,c\n2026-03-01T00:00:00Z,s,2,d\n", "as in line 2"),
    ],
)
def test_an_error_of_the_releases_names_line_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        connect(configured(tmp_path, releases=text), Lake.open(str(tmp_path / "lake")), tables=[])


def test_releases_are_a_table_by_time(tmp_path: Path) -> None:
    text = "time,service,version,change_id\n2026-03-04T10:00:00+01:00,b,2,\n2026-03-04,a,1,CHG-1\n"
    con = connect(configured(tmp_path, releases=text), Lake.open(str(tmp_path / "lake")), tables=[])
    assert con.execute("SELECT epoch(time)::BIGINT, service, version, change_id FROM releases").fetchall() == [
        (1772582400, "a", "1", "CHG-1"),
        (1772614800, "b", "2", None),
    ]


def test_what_a_spreadsheet_or_an_odd_name_puts_into_a_file(tmp_path: Path) -> None:
    header = ",".join(f'"{name}"' for name in HEADER.strip().split(","))
    odd = "Zoë\u2028A\x85\x1cB"  # not the end of a line: only \r and \n are
    settings = configured(tmp_path, identities=f'# who is who\r\n{header}\r\none,"a,b","{odd}",r,human,,,,\r\n\r\n')
    lake = lake_with(tmp_path, [{"x_actor": "a,b"}])
    assert ask(settings, lake, "SELECT x_actor FROM events") == [(odd,)]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    settings = configured(tmp_path, identities=HEADER + "one,a,First,r,human,,,,\n")
    lake = lake_with(tmp_path, [{"x_actor": "a"}])
    assert ask(settings, lake, "SELECT x_actor FROM events") == [("First",)]
    (tmp_path / "identities.csv").write_text(HEADER + "one,a,Second,r,human,,,,\n", encoding="utf-8")
    assert ask(settings, lake, "SELECT x_actor FROM events") == [("Second",)]


def test_the_benchmark_compares_the_same_queries() -> None:
    found = context_benchmark.main(events=400, repeat=1)
    assert {name for name, figures in found.items() if "ratio" in figures} == {"connect", *context_benchmark.QUERIES}
    assert all(value > 0 for figures in found.values() for value in figures.values())


def judged(settings: Settings, moment: dt.datetime, zone: str | None = None) -> bool | None:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        sql = f'SELECT {off_hours(settings, "z")} FROM (SELECT $t::TIMESTAMPTZ AS "time", $z::VARCHAR AS z)'
        return con.execute(sql, {"t": moment, "z": zone}).fetchall()[0][0]  # type: ignore[no-any-return]


@budget(max_examples=60)
@given(st.integers(0, 364 * 86_400).map(lambda s: dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=s)), st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", None]))  # fmt: skip
def test_hours_are_those_of_the_wall_whatever_the_season(moment: dt.datetime, zone: str | None) -> None:
    settings = Settings.from_text(
        BASE + 'hours: {zone: Europe/Berlin, from: "07:00", to: "19:00"}\n', Path("/x/p.yaml")
    )
    local = moment.astimezone(zoneinfo.ZoneInfo(zone or "Europe/Berlin"))
    outside = local.isoweekday() > 5 or not dt.time(7) <= local.time() < dt.time(19)
    assert judged(settings, moment, zone) is outside


def test_the_change_of_the_clock_moves_the_hours(tmp_path: Path) -> None:
    settings = configured(tmp_path, 'hours: {zone: Europe/Berlin, from: "07:00", to: "19:00"}\n')
    friday, monday = dt.date(2026, 3, 27), dt.date(2026, 3, 30)
    six_utc = [dt.datetime.combine(day, dt.time(5, 30), dt.UTC) for day in (friday, monday)]
    assert [judged(settings, moment) for moment in six_utc] == [True, False], "05:30 UTC is 06:30, then 07:30"


def test_a_shift_over_midnight_belongs_to_the_day_on_which_it_begins(tmp_path: Path) -> None:
    settings = configured(tmp_path, 'hours: {zone: UTC, days: "fri", from: "22:00", to: "06:00"}\n')
    friday = dt.datetime(2026, 3, 6, tzinfo=dt.UTC)
    hours = {3: True, 21: True, 23: False, 27: False, 29: False, 31: True, 47: True}
    assert {h: judged(settings, friday + dt.timedelta(hours=h)) for h in hours} == hours


def test_holidays_are_off_where_they_hold(tmp_path: Path) -> None:
    text = "date,zone,name\n2026-03-02,Europe/Berlin,x\n2026-03-03,,y\n"
    settings = configured(tmp_path, "hours: {zone: UTC, holidays: holidays.csv}\n", holidays=text)
    noon = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
    assert [judged(settings, noon, zone) for zone in ("Europe/Berlin", None)] == [True, False]
    assert judged(settings, noon + dt.timedelta(days=1)) is True


@pytest.mark.parametrize(("text", "days"), [("mon-fri", [1, 2, 3, 4, 5]), ("sun-thu", [1, 2, 3, 4, 7]), ("mon, wed", [1, 3]), ("sat", [6])])  # fmt: skip
def test_days(tmp_path: Path, text: str, days: list[int]) -> None:
    assert working_days(text, configured(tmp_path)) == days


@pytest.mark.parametrize("keys", ["zone: Nowhere/Land", 'days: "mon-"', "days: weekdays"])
def test_wrong_hours_are_named(tmp_path: Path, keys: str) -> None:
    with pytest.raises(ConfigError, match="hours"):
        off_hours(configured(tmp_path, f"hours: {{{keys}}}\n"), "NULL")
