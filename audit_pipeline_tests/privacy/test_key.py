"""The key of the pseudonyms: apart from the lake, made once, its owner's alone, and an older one still serves."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audit_pipeline.errors import UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.privacy.pseudonyms import KEY_FILE, key, key_path, token
from audit_pipeline.settings import Settings

BASE = "start: 2026-01-01\nsources: {a: {type: files, format: cloudtrail}}\n"


def configured(root: Path, more: str = "") -> tuple[Settings, Lake]:
    settings = Settings.from_text(BASE + more, root / "pipeline.yaml")
    return settings, Lake.open(settings.lake_url)


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ("", "pseudonyms.key"),
        ("state_url: sqlite:///db/state.db\n", "db/pseudonyms.key"),
        ("state_url: postgresql+psycopg://audit@db/x\n", "pseudonyms.key"),
        ("privacy: {key_file: secrets/names}\n", "secrets/names"),
    ],
)
def test_it_lies_apart_from_the_lake(tmp_path: Path, more: str, where: str) -> None:
    settings, lake = configured(tmp_path, more)
    made = key(settings, lake)
    assert key_path(settings) == tmp_path / where
    assert (tmp_path / where).read_bytes() == made
    assert stat.S_IMODE((tmp_path / where).stat().st_mode) == 0o600
    assert len(made) == 64
    assert key(*configured(tmp_path, more)) == made
    assert not [path for path in Path(lake.root).rglob("*") if path.is_file()], "nothing of it is in the lake"
    assert [path.name for path in (tmp_path / where).parent.iterdir() if path.name.startswith(".")] == []


def test_two_lakes_have_two_keys(tmp_path: Path) -> None:
    assert key(*configured(tmp_path / "a")) != key(*configured(tmp_path / "b"))


def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    settings, lake = configured(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: key(settings, lake), range(32)))) == 1


def test_a_key_that_an_earlier_version_left_in_the_lake_serves(tmp_path: Path) -> None:
    settings, lake = configured(tmp_path)
    lake.create(KEY_FILE, b"f" * 64)
    assert key(settings, lake) == b"f" * 64
    assert not (tmp_path / KEY_FILE).exists()
    (tmp_path / KEY_FILE).write_bytes(b"a" * 64 + b"\n")
    assert key(settings, lake) == b"a" * 64, "moved out of the lake, the file is what counts"


@pytest.mark.parametrize("content", [b"", b"short\n"])
def test_a_damaged_key_is_no_key(tmp_path: Path, content: bytes) -> None:
    settings, lake = configured(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"pseudonyms\.key: holds no key.*Restore it"):
        key(settings, lake)


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    settings, lake = configured(tmp_path)
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(UserError, match="cannot be read or made"):
        key(settings, lake)


def test_tokens_need_the_key() -> None:
    one = token("mara", b"k" * 32)
    assert one == token("MARA", b"k" * 32)
    assert one != token("mara", b"other")
