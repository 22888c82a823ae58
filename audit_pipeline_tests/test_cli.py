"""The command line as a user types it: help, exit codes, what `query` refuses, and that help is quick."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from audit_pipeline import query as reading
from audit_pipeline.cli import main
from audit_pipeline.errors import UsageError
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.project import Project, command
from audit_pipeline_tests.support.shared import done, mine

__all__ = ["done", "mine"]
LAST = trail.DAYS[-1]


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words."""
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


@pytest.mark.parametrize(
    ("words", "found"), list(commands()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_shows_an_example_of_itself(words: tuple[str, ...], found: click.Command) -> None:
    (line,) = [line.strip() for line in (found.help or "").splitlines() if line.strip().startswith("Example: ")]
    example = line.removeprefix("Example: ").split()
    assert example[0] == "audit-pipeline"
    assert [word for word in example if word in words] == list(words)


def test_help_is_quick(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom audit_pipeline.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    loaded = {name.split(".")[0] for name in ran.stderr.replace("'", "").strip("[]\n").split(", ")}
    assert "Commands:" in ran.stdout
    assert {"click", "audit_pipeline"} <= loaded
    assert (
        loaded & {"dagster", "duckdb", "pandas", "pyarrow", "numpy", "sqlalchemy", "great_expectations", "pydantic"}
        == set()
    )


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["run"], 2, "say --date D, or --from D --to D"),
        (["run", "--date", "2025-06-02", "--from", "2025-06-02", "--to", "2025-06-02"], 2, "say --date D"),
        (["run", "--from", "2025-06-03", "--to", "2025-06-02"], 2, "--to lies before --from"),
        (["run", "--date", "2025-02-30"], 2, "does not match"),
        (["run", "--date", "2025-06-01"], 2, "lies before `start`"),
        (["run", "--date", "9998-01-01"], 2, "has not ended yet"),
        (["nosuch"], 2, "No such command"),
        (["query"], 2, "Missing argument"),
        (["query", "SELECT 1", "--format", "xml"], 2, "'xml' is not one of"),
        (["parse", "nosuch", "pipeline.yaml"], 2, "nosuch"),
        (["parse", "cloudtrail", "nosuch.json"], 2, "nosuch.json"),
        (["findings", "show", "abc"], 2, "at least 6"),
        (["findings", "show", "abcdef"], 2, "There is: "),
        (["findings", "false-positive", "abcdef", "--reason", "x"], 2, "no finding's id begins with"),
        (["report", "yearly"], 2, "is not one of 'daily'"),
        (["report", "daily", "--date", "2025-05-01"], 1, "no run has computed that day"),
        (["status", "--max-age", "soon"], 2, "such as 26h"),
        (["init", "."], 1, "is there already"),
        (["demo", "."], 2, "is not empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_what_is_wrong_is_said(args: list[str], code: int, says: str, done: Project) -> None:
    said = done.cli(*args)
    assert (said.code, says in said.err) == (code, True), said.text
    assert said.out == ""


def test_what_is_right_ends_with_0(done: Project) -> None:
    assert done.cli("verify").err.startswith("verified: 3 entries")
    status = done.cli("status")
    assert (status.code, f"last good run: {LAST}" in status.out) == (0, True)
    assert done.query("SELECT count(*) AS n FROM events") == [{"n": "588"}]
    rows = [json.loads(line) for line in done.cli("query", "FROM completeness", "--format", "json").out.splitlines()]
    assert {row["day"] for row in rows} == {str(day) for day in trail.DAYS}
    (finding,) = done.query("SELECT finding_id, state FROM findings")
    assert finding["state"] == "open"
    shown = json.loads(done.cli("findings", "show", finding["finding_id"][:8]).out)
    assert shown["n"] == 12
    listed = done.cli("findings", "list").out
    assert "Burst of failed sign-ins: (unlisted name) user-" in listed
    assert trail.VICTIM not in listed, "a name that only failed to sign in may be a password"


def test_1_means_something_is_wrong_with_the_data(mine: Project) -> None:
    (segment, *_) = sorted(mine.lake.glob("raw/*/*/*.segment"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    said = mine.cli("verify")
    assert said.code == 1
    (problem,) = [json.loads(line) for line in said.out.splitlines()]
    assert problem["file"] == segment.relative_to(mine.lake).as_posix()
    (mine.root / "bad.json").write_text(
        '{"Records":[{"eventID":"1","eventTime":"2025-06-02T10:00:00Z"},{"eventID":"2"}]}'
    )
    parsed = mine.cli("parse", "cloudtrail", "bad.json")
    assert (parsed.code, len(parsed.out.splitlines())) == (1, 1)
    assert json.loads(parsed.err.splitlines()[-1]) == {"records": 2, "events": 1, "rejects": 1, "duplicates": 0}
    empty = Project.make(mine.root / "empty")
    assert empty.cli("status").code == 1
    assert empty.cli("verify").code == 0
    assert "nothing to verify" in empty.cli("verify").err


def test_a_decision_is_recorded_once(mine: Project) -> None:
    (finding,) = mine.query("SELECT finding_id FROM findings")
    done_ = mine.cli(
        "findings", "false-positive", finding["finding_id"][:8], "--reason", "a test we ordered", "--as", "kim"
    )
    assert (done_.code, "by kim (claimed)" in done_.out) == (0, True)
    again = mine.cli("findings", "false-positive", finding["finding_id"][:8], "--reason", "again", "--as", "kim")
    assert (again.code, "is not possible now" in again.err) == (1, True), again.text
    assert mine.query("SELECT person, identity, reason FROM decisions") == [
        {"person": "kim", "identity": "claimed", "reason": "a test we ordered"}
    ]
    assert mine.cli("findings", "list").out.strip() == "no open findings"
    assert mine.cli("verify").code == 0


REFUSED = [
    "COPY events TO 'written.csv'",
    "COPY (SELECT 1) TO '{lake}/written.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/written.csv'",
    "EXPORT DATABASE 'written.csv'",
    "INSERT INTO decisions SELECT * FROM decisions",
    "UPDATE events SET user_name = 'x'",
    "DELETE FROM events",
    "CREATE TABLE written AS SELECT 1",
    "DROP VIEW events",
    "ATTACH 'written.csv'",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "CALL pragma_version()",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY events TO 'written.csv'",
    "",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('{root}/pipeline.yaml')",
    "SELECT * FROM read_text('{lake}/../pipeline.yaml')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM sqlite_scan('{root}/state.db', 'decisions')",
    "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
    "SELECT nosuch FROM events",
    "SELECT api_operation::INT FROM events",
]  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED)
def test_query_only_reads_and_only_the_lake(sql: str, done: Project) -> None:
    before = snapshot(done.root)
    with pytest.raises(UsageError, match=r"^query: ") as refused:
        list(reading.run(done.settings, sql.format(lake=done.lake, root=done.root))[1])
    assert not re.search("root:|sources:", str(refused.value))
    assert snapshot(done.root) == before


@pytest.mark.parametrize("sql", ["COPY events TO 'written.csv'", "FROM read_text('/etc/passwd')"])
def test_what_query_refuses_ends_with_2(sql: str, done: Project) -> None:
    said = done.cli("query", sql)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("audit-pipeline: query: ")


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file with its bytes."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_reader_that_goes_away_is_no_error(done: Project) -> None:
    child = done.start("query", "SELECT raw_data FROM events, range(50)", "--format", "csv")
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    assert "Traceback" not in err, err
    assert "Exception ignored" not in err, err
    assert child.wait(60) == 0


def test_configuration_comes_from_the_environment_too(done: Project, tmp_path: Path) -> None:
    said = command(
        "query",
        "SELECT 1 AS one",
        "--format",
        "csv",
        cwd=tmp_path,
        AUDIT_PIPELINE_CONFIG=str(done.root / "pipeline.yaml"),
    )
    assert (said.code, said.out) == (0, "one\n1\n")
    said = command("-c", done.root / "pipeline.yaml", "verify", cwd=tmp_path)
    assert said.code == 0
    assert list(tmp_path.iterdir()) == []
