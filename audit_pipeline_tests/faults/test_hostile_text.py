"""Hostile text in every field that a log's writer chooses: a night takes it all in, and it is inert wherever a person or a program meets it.

Page and mail (markup), CSV (formulas), terminal (escapes, reversed text), Dagster's event log, file names. Every readable record is
in `events`, what is none is in `rejects`.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import html.parser
import io
import json
import os
import re
import unicodedata
from typing import Any

import dagster as dg
import pytest

from audit_pipeline.orchestration.home import instance
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import Mailbox, mailbox
from audit_pipeline_tests.support.project import Project, Said

pytestmark = pytest.mark.slow
DAY = trail.DAYS[0]
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>"
FORMULA = '=HYPERLINK("http://evil.example/","x")'
TERMINAL = "\x1b]0;owned\x07\x1b[31mred\x9b2J"
HIDDEN = "txt\u202egpj.exe\u200b\u2066\u061c"
PATHS = "../../../etc/x; rm -rf / `id` $(id) | cat\r\nBcc: evil@example.com"
TEMPLATE = "{{ 7*7 }}{% raw %}${7*7}%s%n"
SURROGATE = "lone \ud800 surrogate"
NUL = "nul \x00 inside"
ALL = [
    MARKUP,
    FORMULA,
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    TERMINAL,
    HIDDEN,
    PATHS,
    TEMPLATE,
    SURROGATE,
    NUL,
    "'; DROP TABLE events; --",
    "\U000e0041\U000e0042tags",
]
BIG = 10 * 2**20
DEEP = 100_000


def fields(text: str) -> dict[str, Any]:
    """A record's parts that whoever writes the log chooses."""
    return {
        "userAgent": text,
        "eventName": text,
        "errorCode": text,
        "errorMessage": text,
        "sourceIPAddress": text,
        "requestParameters": {"userName": text, text[:20]: [text]},
        "eventSource": text,
        "recipientAccountId": text,
        "awsRegion": text,
    }


def write_logs(project: Project) -> tuple[int, int]:
    """A day with all of it; returns how many records are readable, and how many things are not."""
    trail.write_days(project.logs, [DAY])
    base = trail.at(DAY, 10)
    records: list[dict[str, Any] | str] = []
    for number, text in enumerate(ALL):
        records.append(trail.record(f"hostile-{number}", base + dt.timedelta(seconds=number), text, **fields(text)))
        records.append(trail.record(f"known-{number}", base, text))  # a success: an account, whose name is printed
        records += trail.burst(f"burst-{number}", base + dt.timedelta(minutes=number), text, userAgent=text)
    records.append(trail.record(TERMINAL + MARKUP, base, "by-id"))
    records.append(trail.record("big", base, "big", requestParameters={"blob": "A" * BIG}))
    trail.write(project.logs, trail.at(DAY, 12), records, "Hostile00000000")
    deep = json.dumps(trail.record("deep", base)).replace(
        '"requestParameters": null', '"requestParameters": ' + "[" * DEEP + "]" * DEEP
    )
    timeless = {name: value for name, value in trail.record("timeless", base).items() if name != "eventTime"}
    trail.write(
        project.logs,
        trail.at(DAY, 13),
        [{**timeless, "userAgent": MARKUP}, deep, trail.record("after-deep", base)],
        "Odd000000000000",
    )
    names = [
        f"evil{TERMINAL}{MARKUP.replace('/', '')}.json.gz",
        "=cmd;rm -rf `id`.json.gz",
        f"{HIDDEN}.json.gz",
        "new\nline.json.gz",
    ]
    for number, name in enumerate(names):
        one = trail.record(f"name-{number}", base, "by-file-name")
        (project.logs / name).write_bytes(gzip.compress(trail.document([one, "{not json"]), mtime=0))
        os.utime(
            project.logs / name, (base.timestamp(), base.timestamp())
        )  # without a stamp in its name, when it is visible
    # 192 of which two come a day late, and one after the deep one; the deep one and the one without a time are rejects
    return 190 + len(records) + 1 + len(names), len(names) + 2


class Tags(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def inert_html(text: str) -> None:
    page = Tags()
    page.feed(text)
    assert page.tags & {"script", "iframe", "object", "embed", "form", "base"} == set()
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    assert [
        value
        for name, value in page.attributes
        if name in ("href", "src") and re.match(r"\s*(javascript|vbscript|http://evil)", value)
    ] == []
    assert not re.search(r"49(\{%|\$|raw|%s)", text), "a template was evaluated"
    no_moving_characters(text)


def no_moving_characters(text: str) -> None:
    found = {
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\r\t\u00ad"
    }
    assert found == set()


def inert_csv(text: str) -> None:
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert cells
    strange = [cell for cell in cells if re.match(r"\s*[=+@\t\r]|-[^\d.]|-\d+[^\d.eE-]", cell)]
    assert strange == []
    no_moving_characters(text)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Said, Mailbox, int, int]:
    """The night, through the command line."""
    with mailbox() as box:
        project = Project.make(
            tmp_path_factory.mktemp("hostile") / "project", {"trail": "logs/**/*.json.gz"}, **box.keys
        )
        readable, unreadable = write_logs(project)
        said = project.cli("run", "--date", DAY, "--send")
    return project, said, box, readable, unreadable


Night = tuple[Project, Said, Mailbox, int, int]


def test_every_readable_record_is_an_event_and_the_rest_is_named(night: Night) -> None:
    project, said, _, readable, unreadable = night
    assert said.code == 1, "rejects"
    assert "FAILED" not in said.text
    (events,) = project.query("SELECT sum(x_records)::BIGINT AS n FROM events")
    rejects = project.query("SELECT reason, member, line FROM rejects")
    assert int(events["n"]) == readable
    assert len(rejects) == unreadable
    assert {row["reason"] for row in rejects} == {"no_time", "too_deep", "not_json"}
    found = project.query(
        "SELECT metadata_uid AS uid FROM events WHERE starts_with(metadata_uid, 'hostile-') ORDER BY 1"
    )
    assert len(found) == len(ALL)
    (big,) = project.query("SELECT length(raw_data) AS n FROM events WHERE metadata_uid = 'big'")
    assert int(big["n"]) > BIG
    assert project.problems() == []


def test_page_and_mail_are_inert(night: Night) -> None:
    project, _, box, _, _ = night
    pages = list(project.lake.glob("reports/daily/*/*/report.html"))
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "alert(1)" in text, "the hostile names are shown, so that this test sees them"
        inert_html(text)
    (mail,) = box.messages
    assert mail["Bcc"] is None
    assert mail["To"] == "audit-readers@example.com"
    for kind in ("html", "plain"):
        part = mail.get_body((kind,))
        assert part is not None
        (inert_html if kind == "html" else no_moving_characters)(part.get_content())
    assert all(len(line) <= 998 for line in box.raw[0].split(b"\r\n"))
    assert b"\x1b" not in box.raw[0]


def test_csv_holds_no_formula(night: Night) -> None:
    project = night[0]
    files = list(project.lake.glob("reports/daily/*/*/*.csv"))
    assert files
    for file in files:
        inert_csv(file.read_text(encoding="utf-8"))
    said = project.cli(
        "query", "SELECT actor_user_name, api_operation, http_request_user_agent FROM events", "--format", "csv"
    )
    assert (said.code, "HYPERLINK" in said.out) == (0, True)
    inert_csv(said.out)


def test_terminal_sees_nothing_that_moves_it(night: Night) -> None:
    """`Project.cli` fails on any such character; here every command gets to print all of it."""
    project = night[0]
    columns = "actor_user_name, api_operation, http_request_user_agent, api_response_error_message, src_endpoint_hostname, metadata_uid"
    sql = [
        f"SELECT {columns} FROM events WHERE metadata_uid NOT IN ('big') AND actor_user_name NOT IN ('alice', 'bob', 'carol', 'dave')",
        "SELECT member, raw, detail FROM rejects",
    ]
    for form in ("table", "csv", "json"):
        for one in sql:
            said = project.cli("query", one, "--format", form)
            assert (said.code, bool(said.out)) == (0, True), said.text
    assert project.cli("query", f'SELECT 1 AS "{TERMINAL}{HIDDEN}"').code == 0
    assert project.cli("query", f"SELECT '{TERMINAL}{HIDDEN}'::INT").code == 2
    assert project.cli("findings", "show", f"{TERMINAL}{HIDDEN}").code == 2
    listed = project.cli("findings", "list")
    assert "alert(1)" in listed.out
    found = project.query("SELECT finding_id FROM findings")
    assert len(found) >= len(ALL) - 2
    for row in found[:2]:
        assert project.cli("findings", "show", row["finding_id"]).code == 0
    assert project.cli("status").out
    assert project.cli("check").out
    assert project.cli("verify").code == 0


def test_dagster_keeps_nothing_that_moves(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    seen: list[str] = []
    with instance(night[0].settings) as history:
        for run in history.get_runs():
            for entry in history.all_logs(run.run_id):
                seen += texts(json.loads(dg.serialize_value(entry)))
    assert any("alert(1)" in text for text in seen), "hostile names are shown there"
    for text in seen:
        no_moving_characters(text)
        assert len(text) < 100_000


def texts(value: Any) -> list[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = (
        [part for item in value.items() for part in item]
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )
    return [text for part in parts for text in texts(part)]


def test_nothing_is_written_outside(night: Night) -> None:
    project = night[0]
    top = {"pipeline.yaml", "logs", "lake", "state.db", "pseudonyms.key", ".dagster"}
    assert {path.name for path in project.root.iterdir()} == top
    names = [path.name for path in project.lake.rglob("*")]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9._=-]+", name)] == []
