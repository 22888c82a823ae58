"""Somebody types his password where the user name belongs: after a whole night it stands in raw and events, and nowhere else.

Through the command line and Dagster, with mail: every file of lake, state and Dagster's home is searched, as it is and unpacked.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import Mailbox, mailbox
from audit_pipeline_tests.support.project import Project, Said

pytestmark = pytest.mark.slow
DAY = trail.DAYS[0]
TYPED = "Hunter2!secret"
KEY_ID, PASSWORD = "AKIAIOSFODNN7EXAMPLE", "correct-horse-battery"
SECRETS = (TYPED, KEY_ID, PASSWORD)
ALLOWED = ("raw", "events", "rejects", "index")
"""folders of the lake that hold the record as it came, or a hash of it"""
Night = tuple[Project, Said, Mailbox]


def write_edge(project: Project) -> None:
    """What sshd says of somebody who types his password as a name, a dozen times."""
    (project.root / "edge").mkdir()
    lines = [
        f"{DAY}T08:{minute:02}:00.000000+00:00 bastion sshd[7]: Server listening on 0.0.0.0 port 22."
        for minute in range(60)
    ]
    for second in range(0, 48, 4):
        head = f"{DAY}T09:00:{second:02}.000000+00:00 bastion sshd[{900 + second}]:"
        lines += [
            f"{head} Invalid user {TYPED} from 203.0.113.9 port 4{second:03}",
            f"{head} pam_unix(sshd:auth): check pass; user unknown",
            f"{head} pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user={TYPED}",
            f"{head} Failed password for invalid user {TYPED} from 203.0.113.9 port 4{second:03} ssh2",
            f"{head} Connection closed by invalid user {TYPED} 203.0.113.9 port 4{second:03} [preauth]",
            f"{head} input_userauth_request: invalid user {TYPED} [preauth]",
        ]
    lines += [
        f"{TYPED} on a line of its own",
        f"{DAY}T25:00:00 bastion sshd[1]: Invalid user {TYPED} from 203.0.113.9 port 1",
    ]
    file = project.root / "edge" / "auth.log"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    seen = trail.at(DAY, 23, 30).timestamp()
    os.utime(file, (seen, seen))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with mailbox() as box:
        teams = {"cloud": {"mail": ["cloud@example.com"], "owns": ["source:trail"]}}
        sources = {
            "trail": {"type": "files", "format": "cloudtrail", "paths": ["logs/**/*.json.gz"], "team": "cloud"},
            "edge": {"type": "files", "format": "linux_auth", "paths": ["edge/auth.log"]},
        }
        root = tmp_path_factory.mktemp("typed") / "project"
        project = Project.make(root, None, teams=teams, sources=sources, **box.keys)
        write_edge(project)
        trail.write_days(project.logs, [DAY])
        base = trail.at(DAY, 10)
        records = [
            *trail.burst("typed", base, TYPED),
            *trail.burst("listed", base, "alice"),
            *trail.burst("secret", base, f"svc?password={PASSWORD}"),
            *(trail.record(f"known-{user}", base, user) for user in ("alice", f"svc?password={PASSWORD}", KEY_ID)),
            *trail.burst("key", base, KEY_ID),
            trail.record("act", base, "alice", eventSource=f"{KEY_ID}.amazonaws.com", errorCode="AccessDenied"),
        ]
        unreadable: list[dict[str, Any] | str] = [
            f'{{"no JSON": {TYPED} password={PASSWORD}}}',
            {"eventID": TYPED, "userName": TYPED, "eventTime": KEY_ID},
        ]
        trail.write(project.logs, base + dt.timedelta(minutes=30), [*records, *unreadable], "Typed0000000000")
        said = project.cli("run", "--date", DAY, "--send")
        yield project, said, box


def texts(file: Path) -> Iterator[bytes]:
    """A file as it is, and what is packed in it."""
    data = file.read_bytes()
    yield data
    if file.suffix == ".parquet":
        yield str(pq.read_table(file).to_pydict()).encode()
        yield str(pq.read_schema(file).metadata).encode()
    if data.startswith(b"SQLite format 3"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as con:
            for (table,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in con.execute(f'SELECT * FROM "{table}"').fetchall():
                    yield from (unpacked(cell) for cell in row if isinstance(cell, bytes | str))
        con.close()
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (packed.read(name) for name in packed.namelist())


def unpacked(cell: bytes | str) -> bytes:
    data = cell.encode() if isinstance(cell, str) else cell
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data


def holding(root: Path, secret: str) -> set[str]:
    """Files below a folder that hold a secret."""
    wanted = secret.encode().lower()
    files = [file for file in root.rglob("*") if file.is_file()]
    return {str(file.relative_to(root)) for file in files if any(wanted in text.lower() for text in texts(file))}


def test_the_night_went_well_and_found_it(night: Night) -> None:
    project, said, box = night
    assert (said.code, "FAILED" in said.text) == (1, False), "it has rejects, which may quote what was typed"
    assert int(project.query("SELECT count(*) AS n FROM rejects")[0]["n"]) >= 3
    assert len(project.query("SELECT finding_id FROM findings")) == 4, (
        "the password at the console; at the bastion it is the name of no account, which is no finding by itself"
    )
    assert len(box.messages) == 2
    page = next(project.lake.glob("reports/daily/*/1/report.html")).read_text(encoding="utf-8")
    assert "(unlisted name) user-" in page, "the page tells of the burst"
    assert "alice" in page, "and names accounts that are known"


@pytest.mark.parametrize("secret", SECRETS)
def test_it_stands_where_evidence_is(night: Night, secret: str) -> None:
    found = holding(night[0].lake, secret)
    assert any(name.startswith("events/") for name in found), "the search below can find it"


@pytest.mark.parametrize("secret", SECRETS)
def test_it_stands_nowhere_else(night: Night, secret: str) -> None:
    project, said, box = night
    found = {
        name
        for name in holding(project.root, secret)
        if not name.startswith(("logs/", "edge/", *(f"lake/{one}/" for one in ALLOWED)))
    }
    assert found == set()
    assert secret not in said.text
    for mail, raw in zip(box.messages, box.raw, strict=True):
        bodies = [mail.get_body((kind,)) for kind in ("plain", "html")]
        assert all(secret not in part.get_content() for part in bodies if part)
        assert secret.encode() not in raw
    for args in (("findings", "list"), ("findings", "list", "--format", "json"), ("status",), ("check",), ("verify",)):
        assert secret not in project.cli(*args).text, args
    for row in project.query("SELECT finding_id FROM findings"):
        assert secret not in project.cli("findings", "show", row["finding_id"]).text
    for table in ("detections", "findings", "completeness", "kpis"):
        assert secret not in str(project.query(f"FROM {table}")), table


def test_dagster_was_searched(night: Night) -> None:
    """The search sees what Dagster keeps: a word that it surely has is found in its databases."""
    assert any(name.startswith(".dagster/") for name in holding(night[0].root, "Burst of failed sign-ins"))


def test_who_has_a_reason_can_know_it(night: Night) -> None:
    project = night[0]
    listed = project.cli("findings", "list").out
    (token,) = set(re.findall(r"\(unlisted name\) (user-[2-9A-Z]{5})", listed))
    assert project.cli("reveal", token).code == 2
    told = project.cli("reveal", token, "--reason", "is it a password?")
    assert (told.code, told.out.strip()) == (0, TYPED)
    assert project.problems() == []
