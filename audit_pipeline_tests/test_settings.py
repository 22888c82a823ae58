"""Configuration: an error names file, key and remedy, and never a secret; paths start at the file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from audit_pipeline.clock import UTC, SimulatedClock, SystemClock
from audit_pipeline.errors import ConfigError, UsageError
from audit_pipeline.settings import CONFIG_ENV, Settings

FILE = Path("/etc/audit/pipeline.yaml")
GOOD = """
start: 2025-06-01
sources:
  trail: {type: files, format: cloudtrail, paths: ["logs/**/*.gz"], team: ops}
  mail: {type: files, format: cloudtrail}
teams: {ops: {mail: [ops@example.com]}, mail: {mail: []}}
"""


def _load(text: str) -> Settings:
    return Settings.from_text(text, FILE)


def _error(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        _load(text)
    assert str(raised.value).startswith(str(FILE))
    assert isinstance(raised.value, UsageError)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        (GOOD + "lakes: ./x\n", "lakes", "lake"),
        (GOOD.replace("paths:", "path:"), "sources.trail.path", "paths"),
        (GOOD + "smtp: {hosts: localhost}\n", "smtp.hosts", "host"),
        (GOOD + "smtp: {form: a@example.com}\n", "smtp.form", "from"),
        (GOOD + "hours: {zones: UTC}\n", "hours.zones", "zone"),
        (GOOD + "reports: {dayly: {to: []}}\n", "reports.dayly", "daily"),
        (GOOD + "reports: {daily: {too: []}}\n", "reports.daily.too", "to"),
        (GOOD + "retention: {event: 3d}\n", "retention.event", "events"),
        (GOOD.replace("ops: {mail", "ops: {mails"), "teams.ops.mails", "mail"),
        # names that are keys elsewhere lead nobody astray
        (GOOD.replace("mail: {mail: []}", "mail: {own: []}"), "teams.mail.own", "owns"),
        (GOOD.replace("mail: {type", "paths: {tipe: x, type"), "sources.paths.tipe", "type"),
        (GOOD.replace("mail: {type", "storage: {zome: x, type"), "sources.storage.zome", "zone"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_named_with_the_nearest_one_at_every_level(text: str, key: str, nearest: str) -> None:
    assert _error(text) == f"{FILE}: {key}: unknown key, did you mean {nearest!r}?"


def test_an_unknown_key_that_is_near_to_none_comes_with_those_that_exist() -> None:
    said = _error(GOOD + "smtp: {xyzzy: 1}\n")
    assert (
        "valid keys here: ca_file, from, host, password_env, password_file, port, retry_for, security, timeout_s, username"
        in said
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("400d", 34_560_000), (" 3 s ", 3), ("1w", 604_800)]
)
def test_durations(text: str, seconds: int) -> None:
    found = _load(GOOD.replace("team: ops", f"settles_after: '{text}'"))
    assert found.sources["trail"].settles_after == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["2", "h", "2x", "-2h", "1.5h", "2h30m", "٢h2"])
def test_a_duration_without_a_unit_is_no_duration(text: str) -> None:
    said = _error(GOOD.replace("team: ops", f"settles_after: '{text}'"))
    assert "sources.trail.settles_after: write a whole number and a unit" in said


def test_an_unquoted_time_is_no_number() -> None:
    """YAML 1.1 reads 13:00 as 780."""
    assert 'run_at: put the time in quotes, such as "03:00"' in _error(GOOD + "run_at: 13:00\n")
    assert _load(GOOD + 'run_at: "04:30"\n').as_of(dt.date(2025, 6, 30)) == dt.datetime(2025, 7, 1, 4, 30, tzinfo=UTC)
    assert "run_at" in _error(GOOD + 'run_at: "25:00"\n')


def test_a_team_that_does_not_exist_is_named_with_those_that_do() -> None:
    said = _error(GOOD.replace("team: ops", "team: opps"))
    assert "sources.trail.team is 'opps', which stands not under teams" in said
    assert "['mail', 'ops']" in said


@pytest.mark.parametrize("name", ["Trail", "1st", "a-b", "../x", "a b", "a" * 64, "';DROP", "é", ""])
def test_a_source_name_is_safe_in_paths_and_sql(name: str) -> None:
    text = f'start: 2025-06-01\nsources: {{"{name}": {{type: files, format: cloudtrail}}}}\n'
    assert "use a name of lower-case letters" in _error(text)


@pytest.mark.parametrize(
    "text",
    [
        "smtp: smtp://u:hunter2@mail\n",
        "smtp: {password: hunter2}\n",
        "smtp: {password_env: [hunter2]}\n",
        "state_url: [postgresql://u:hunter2@db/x]\n",
        "state_url: {postgresql: hunter2}\n",
        "heartbeat_url: {token: hunter2}\n",
        "heartbeat_url: [https://ping/hunter2]\n",
        "clock: postgresql://u:hunter2@db\n",
        "sources: {t: {type: files, format: cloudtrail, storage: hunter2}}\n",
        "sources: {t: {type: files, format: cloudtrail, secret_key: hunter2}}\n",
        "state_url: postgresql://u:hunter2@db\nstate_url: x\n",
        "smtp: {password: hunter2\n",
    ],
)
def test_no_secret_is_in_an_error(text: str) -> None:
    base = "start: 2025-06-01\n" + ("" if text.startswith("sources") else "sources: {t: {type: files, format: cloudtrail}}\n")  # fmt: skip
    assert "hunter2" not in _error(base + text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("  mail: {type", "  trail: {type"),
        GOOD + "start: 2025-06-02\n",
        GOOD.replace("{type: files, format: cloudtrail}", "{type: files, format: cloudtrail, type: files}"),
    ],
)
def test_a_key_that_stands_twice_is_an_error_and_not_the_last_one(text: str) -> None:
    said = _error(text)
    assert "stands twice" in said
    assert " line " in said


def test_a_wrong_value_is_shown() -> None:
    assert "clock: Input should be 'system' or 'simulated' (found 'sundial')" in _error(GOOD + "clock: sundial\n")
    assert "start: is missing" in _error("sources: {t: {type: files, format: cloudtrail}}\n")
    assert "smtp.port" in _error(GOOD + "smtp: {port: many}\n")
    assert "(found 'many')" in _error(GOOD + "smtp: {port: many}\n")


def test_several_mistakes_are_said_at_once() -> None:
    assert len(_error(GOOD + "lakes: 1\nclok: 2\n").splitlines()) == 2


def test_relative_paths_start_at_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/pipeline.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    for how in ("relative", "environment", "default"):
        monkeypatch.delenv(CONFIG_ENV, raising=False)
        if how == "environment":
            monkeypatch.setenv(CONFIG_ENV, "conf/pipeline.yaml")
        if how == "default":
            monkeypatch.chdir(tmp_path / "conf")
        found = Settings.load("conf/pipeline.yaml" if how == "relative" else None)
        assert found.lake_url == str(tmp_path / "conf/lake")
        assert found.state_url_resolved == f"sqlite:///{tmp_path}/conf/state.db"
        assert found.resolve("../logs/*.gz") == str(tmp_path / "logs/*.gz")
        monkeypatch.chdir("/")
        assert found.lake_url == str(tmp_path / "conf/lake")
        monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("url", ["s3://bucket/lake", "/var/lib/lake", "file:///x/y"])
def test_absolute_paths_and_urls_are_left_alone(url: str) -> None:
    assert _load(GOOD + f"lake: {url}\n").lake_url == url


@pytest.mark.parametrize("url", ["sqlite:////var/x.db", "sqlite:///:memory:", "postgresql://db/x"])
def test_absolute_databases_are_left_alone(url: str) -> None:
    assert _load(GOOD + f"state_url: '{url}'\n").state_url_resolved == url


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*audit-pipeline init"):
        Settings.load(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"start: \xe9\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        Settings.load(tmp_path / "latin.yaml")


def test_the_clock_is_the_machines_unless_said_otherwise() -> None:
    day = dt.date(2025, 6, 2)
    assert isinstance(_load(GOOD).clock_for(day), SystemClock)
    simulated = _load(GOOD + "clock: simulated\n").clock_for(day)
    assert isinstance(simulated, SimulatedClock)
    assert (simulated.now(), simulated.simulated) == (dt.datetime(2025, 6, 3, 3, tzinfo=UTC), True)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    target = tmp_path / "made"
    said = _error(f"start: !!python/object/apply:os.mkdir ['{target}']\n")
    assert "not valid YAML" in said
    assert not target.exists()
