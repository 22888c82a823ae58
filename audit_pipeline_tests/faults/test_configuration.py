"""A configuration that cannot be used: which file, which key, what to do; exit code 2, and nothing is made on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_pipeline_tests.support.project import Project, command

GOOD = "start: 2025-06-02\nsources:\n  trail: {type: files, format: cloudtrail, paths: ['logs/*.gz']}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "reprots: {}\n", ["reprots: unknown key", "did you mean 'reports'?"]),
        (GOOD.replace("paths", "path"), ["sources.trail.path: unknown key", "did you mean 'paths'?"]),
        (GOOD + "smtp: {hots: x}\n", ["smtp.hots: unknown key", "did you mean 'host'?"]),
        (GOOD + "zzz: 1\n", ["zzz: unknown key", "valid keys here: "]),
        (GOOD.replace("start: 2025-06-02\n", ""), ["start: is missing"]),
        (GOOD + "run_at: 13:00\n", ["run_at", "put the time in quotes"]),
        (GOOD + "lake: [\n", ["line ", "not valid YAML"]),
        ("lake:\t./lake\n\tbad: {", ["not valid YAML"]),
        ("- a\n- b\n", ["holds no keys"]),
        ("", ["holds no keys"]),
        ("start: 2025-06-02\nsources: {}\n", ["sources is empty"]),
        (GOOD.replace("format: cloudtrail", "format: nosuch"), ["nosuch", "cloudtrail"]),
        (GOOD.replace("type: files", "type: nosuch"), ["nosuch", "files"]),
        (GOOD.replace("paths", "team: ghosts, paths"), ["ghosts", "teams"]),
        (GOOD + 'run_at: "25:99"\n', ["run_at"]),
        ("\x00\x01", ["not valid YAML"]),
        (GOOD + "state_url: nosuch://x\n", ["nosuch"]),
        (GOOD + "lake: nosuch://x\n", ["nosuch://x"]),
        (GOOD + "evil\x1b]0;title\x07: 1\n", ["not valid YAML"]),
        (GOOD + '"evil\\e[31m\\u202e": 1\n', ["unknown key"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, says: list[str], tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(text, encoding="utf-8")
    said = command("check", cwd=tmp_path)
    assert said.code in (1, 2)
    assert [word for word in says if word not in said.text.replace("\n", " ")] == [], said.text
    if "FAILS" not in said.out:  # the file itself cannot be used
        assert (said.code, said.out) == (2, "")
        assert str(tmp_path / "pipeline.yaml") in said.err
        assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]


@pytest.mark.parametrize(
    "args",
    [["run", "--date", "2025-06-02"], ["check"], ["verify"], ["status"], ["query", "SELECT 1"], ["findings", "list"]],
)
def test_without_a_configuration_every_command_says_how_to_make_one(args: list[str], tmp_path: Path) -> None:
    said = command(*args, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "no such file" in said.err
    assert "audit-pipeline init" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_other_bytes_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_bytes(b"\xff\xfe\x00lake")
    said = command("check", cwd=tmp_path)
    assert (said.code, "UTF-8" in said.err) == (2, True)


def test_check_tells_of_a_path_that_is_not_there(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project", {"here": "logs/*.gz", "gone": "nosuch/folder/*.gz"})
    (project.root / "logs").mkdir()
    said = project.cli("check")
    assert said.code == 1
    flat = " ".join(said.out.split())
    assert "source gone" in flat
    assert "nosuch/folder: no such folder" in flat.replace("- ", "-")


def test_check_tells_of_a_mail_server_that_does_not_answer(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project", smtp={"host": "127.0.0.1", "port": 1})
    (project.root / "logs").mkdir()
    said = project.cli("check")
    assert (said.code, "127.0.0.1:1" in said.out) == (1, True)
