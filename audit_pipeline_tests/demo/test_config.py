"""The demo's configuration loads, and its identities are those that the logs name."""

from __future__ import annotations

import csv
import datetime as dt
import re
from pathlib import Path

from audit_pipeline.clock import SIMULATED_NOTE, UTC
from audit_pipeline.context.identities import identities
from audit_pipeline.demo.config import HEADER, write_config
from audit_pipeline.demo.generate import generate
from audit_pipeline.settings import Settings
from audit_pipeline_tests.demo.conftest import Demo


def test_settings_accept_the_demos_configuration(tmp_path: Path) -> None:
    settings = Settings.load(write_config(tmp_path, start=dt.date(2026, 11, 10)))
    assert settings.start == dt.date(2026, 11, 10)
    assert settings.run_at == dt.time(3)
    assert settings.clock_for(settings.start).simulated, SIMULATED_NOTE
    assert settings.clock_for(settings.start).now() == dt.datetime(2026, 11, 11, 3, tzinfo=UTC)
    assert list(settings.sources) == ["cloudtrail"]
    assert {"cloud", "identity"} <= set(settings.teams)
    assert identities(settings) is not None  # every team that it names is configured
    mails = [mail for team in settings.teams.values() for mail in team.mail] + settings.reports.daily.to
    assert mails
    assert all(mail.endswith("@example.com") for mail in mails)


def test_paths_of_the_configuration_find_the_logs(small: Demo, tmp_path: Path) -> None:
    settings = Settings.load(write_config(tmp_path, start=dt.date.fromisoformat(small.truth.start)))
    (pattern,) = settings.sources["cloudtrail"].paths
    assert len(list(small.root.glob(pattern))) == small.truth.files


def test_identities_name_everyone_in_the_logs(small: Demo, tmp_path: Path) -> None:
    write_config(tmp_path, start=dt.date(2026, 11, 10))
    with (tmp_path / "identities.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == HEADER
    assert {row["kind"] for row in rows} == {"human", "service"}
    assert len(rows) == len({row["account"] for row in rows}) == 301
    known = {row["account"] for row in rows}
    users = {one.user for one in small.unique.values() if one.user and not one.user.startswith("HIDDEN")}
    assert len(users) > 50
    assert users <= known


def test_identities_follow_the_seed_of_the_logs_beside_them(tmp_path: Path) -> None:
    generate(tmp_path / "logs-of-8", end=dt.date(2026, 11, 23), days=1, events=300, seed=8, stories=False)
    write_config(tmp_path / "logs-of-8", start=dt.date(2026, 11, 23))
    write_config(tmp_path / "asked-for-8", start=dt.date(2026, 11, 23), seed=8)
    write_config(tmp_path / "no-logs", start=dt.date(2026, 11, 23))
    of_8, asked, plain = (
        (tmp_path / name / "identities.csv").read_bytes() for name in ("logs-of-8", "asked-for-8", "no-logs")
    )
    assert of_8 == asked != plain


def test_configuration_explains_itself(tmp_path: Path) -> None:
    text = write_config(tmp_path, start=dt.date(2026, 11, 10)).read_text(encoding="utf-8")
    assert len(re.findall(r"#", text)) >= 8
    assert write_config(tmp_path, start=dt.date(2026, 11, 10)).read_text(encoding="utf-8") == text
